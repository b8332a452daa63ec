//! A daemon that closes and opens its socket again and again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use xray_core::Loss;
use xray_local::Daemon;
use xray_tests::{Random, delivered, sends_to};

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "daemon-restarts",
        test: "T-02",
        what: "the daemon closes its socket at random moments, for up to 20 ms, while 8 threads record: no document is missing, none comes twice",
        amount: 1_000,
        unit: "restarts",
        minutes: 10,
        run: covered,
    },
    Fault {
        name: "daemon-restarts-overflow",
        test: "T-02",
        what: "the same with a queue of 8: every loss is a full queue, and counted",
        amount: 100,
        unit: "restarts",
        minutes: 5,
        run: overflow,
    },
];

const LONG: Duration = Duration::from_secs(120);

/// Restarts `daemon` so often while `work` runs, which is told when to end.
fn restart(daemon: &Daemon, restarts: u64, work: impl Fn(&AtomicBool) + Sync) {
    let enough = AtomicBool::new(false);
    let mut random = Random::new(42);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| work(&enough));
        }
        for _ in 0..restarts {
            std::thread::sleep(Duration::from_millis(random.below(40)));
            daemon.stop();
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            daemon.restart().expect("its port is free");
        }
        enough.store(true, Ordering::Relaxed);
    });
}

fn covered(restarts: u64) -> String {
    let received = Arc::new(Mutex::new(BTreeSet::new()));
    let (rejected, twice) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let hook = {
        let (received, rejected, twice) = (received.clone(), rejected.clone(), twice.clone());
        move |one: &xray_local::Received| match &one.verdict {
            Ok(document) => {
                let mut ids = received.lock().unwrap_or_else(PoisonError::into_inner);
                if !ids.insert(document.id.clone()) {
                    twice.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => {
                rejected.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let daemon = Daemon::builder().max_bytes(1 << 20).on_received(hook);
    let daemon = daemon.start().expect("a socket");
    let recorder = sends_to(daemon.address()).queue_limits(1_000_000, 1 << 30);
    let recorder = recorder.build().expect("a thread");
    let created = Mutex::new(BTreeSet::new());
    let begun = Instant::now();
    restart(&daemon, restarts, |enough| {
        let mut own = Vec::new();
        while !enough.load(Ordering::Relaxed) {
            let segment = recorder.begin_segment("shop");
            segment.begin_subsegment("part").close();
            own.push(segment.id().expect("recorded").to_string());
            segment.close();
            std::thread::sleep(Duration::from_millis(4));
        }
        let mut all = created.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(own);
    });
    let took = begun.elapsed().as_secs_f64();
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let documents = delivered(&recorder, daemon.received_count() as u64, drops);
    assert_eq!(drops, 0);
    assert_eq!(documents.lost.len(), 0, "{documents:?}");
    assert_eq!(documents.sent, documents.created);
    let created = created.into_inner().unwrap_or_else(PoisonError::into_inner);
    let received = received.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(created.len() as u64, documents.created);
    let missing = created.difference(&received).count();
    let twice = twice.load(Ordering::Relaxed);
    let rejected = rejected.load(Ordering::Relaxed);
    assert_eq!(
        (missing, twice, rejected),
        (0, 0, 0),
        "missing, twice, rejected"
    );
    let rate = documents.created as f64 / took;
    format!(
        "{restarts} restarts, {} documents created at {rate:.0}/s, all received, 0 missing, 0 twice, 0 lost",
        documents.created
    )
}

fn overflow(restarts: u64) -> String {
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let recorder = sends_to(daemon.address()).queue_limits(8, 1 << 20);
    let recorder = recorder.build().expect("a thread");
    restart(&daemon, restarts, |enough| {
        while !enough.load(Ordering::Relaxed) {
            recorder.begin_segment("shop").close();
        }
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let received = daemon.received_count() as u64;
    let documents = delivered(&recorder, received, drops);
    let reasons: Vec<Loss> = documents.lost.keys().copied().collect();
    assert_eq!(reasons, [Loss::QueueFull], "{documents:?}");
    format!(
        "{restarts} restarts, {} created, {received} received, {} lost (queue_full), {drops} dropped by the kernel",
        documents.created,
        documents.lost[&Loss::QueueFull]
    )
}
