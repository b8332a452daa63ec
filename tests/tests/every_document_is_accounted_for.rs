//! Under load, and while the daemon comes and goes: what was created was
//! received, or is counted as lost, or the kernel threw it away.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use xray_core::{Loss, Pace, Recorder};
use xray_local::Daemon;
use xray_tests::{Random, accepted, balance, delivered, record, sends_to};

const LONG: Duration = Duration::from_secs(30);

/// Records `segments` with 1 to 20 subsegments each from every thread.
fn load(recorder: &Recorder, threads: u64, segments: u64) -> u64 {
    std::thread::scope(|scope| {
        let all: Vec<_> = (1..=threads)
            .map(|seed| scope.spawn(move || record(recorder, seed, segments)))
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// T-01, small: the queue overflows, the kernel may, and nothing is unaccounted
/// for.
#[test]
fn created_is_received_and_lost_and_dropped_by_the_kernel() {
    let daemon = Daemon::builder().count_only().start().unwrap();
    let recorder = sends_to(daemon.address())
        .pace(Pace::unlimited())
        .build()
        .unwrap();
    let (threads, segments) = (8, 2_500);
    let entities = load(&recorder, threads, segments);
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let Some(dropped) = daemon.kernel_drops() else {
        return; // not Linux: the kernel does not tell
    };
    let documents = delivered(&recorder, daemon.received_count() as u64, dropped);
    assert_eq!(documents.created, threads * segments);
    assert_eq!(
        documents
            .lost
            .keys()
            .find(|reason| **reason != Loss::QueueFull),
        None
    );
    let of_entities = recorder.entities();
    assert_eq!(of_entities.begun, entities);
    assert_eq!(of_entities.open, 0);
}

/// Restarts the daemon at random moments while `work` runs; how often.
fn restart_while(daemon: &Daemon, at_least: u32, work: impl FnOnce(&AtomicBool) + Send) -> u32 {
    let enough = AtomicBool::new(false);
    let mut restarts = 0;
    let mut random = Random::new(42);
    std::thread::scope(|scope| {
        let working = scope.spawn(|| work(&enough));
        while !working.is_finished() {
            std::thread::sleep(Duration::from_millis(random.below(40)));
            daemon.stop();
            std::thread::sleep(Duration::from_millis(random.below(20)));
            daemon.restart().unwrap();
            restarts += 1;
            enough.store(restarts >= at_least, Ordering::Relaxed);
        }
        working.join().unwrap();
    });
    restarts
}

/// T-02, small.
#[test]
fn restarts_cost_nothing_while_the_queue_covers_them() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .queue_limits(100_000, 1 << 30)
        .build()
        .unwrap();
    let ids = Mutex::new(BTreeSet::new());
    let restarts = restart_while(&daemon, 6, |enough| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let segment = recorder.begin_segment("shop");
                        segment.begin_subsegment("part").close();
                        ids.lock()
                            .unwrap()
                            .insert(segment.id().unwrap().to_string());
                        segment.close();
                        std::thread::sleep(Duration::from_micros(500));
                    }
                });
            }
        });
        assert!(recorder.flush(LONG).wait().is_complete());
    });
    assert!(restarts >= 6);
    balance(&recorder);
    daemon.stop();
    let created = ids.into_inner().unwrap();
    let documents = recorder.documents();
    assert_eq!(documents.created, created.len() as u64);
    assert_eq!(
        (documents.sent, documents.lost.len()),
        (documents.created, 0)
    );
    assert_eq!(daemon.kernel_drops().unwrap_or(0), 0);
    let mut received = BTreeSet::new();
    for document in accepted(&daemon, created.len()) {
        assert!(received.insert(document.verdict.unwrap().id), "twice");
    }
    assert_eq!(received, created);
}

/// T-02, small.
#[test]
fn restarts_that_the_queue_does_not_cover_cost_what_it_could_not_hold() {
    let daemon = Daemon::builder().count_only().start().unwrap();
    let recorder = sends_to(daemon.address())
        .queue_limits(8, 1 << 20)
        .build()
        .unwrap();
    restart_while(&daemon, 6, |enough| {
        while !enough.load(Ordering::Relaxed) {
            recorder.begin_segment("shop").close();
        }
        assert!(recorder.flush(LONG).wait().is_complete());
    });
    daemon.stop();
    let dropped = daemon.kernel_drops().unwrap_or(0);
    let documents = delivered(&recorder, daemon.received_count() as u64, dropped);
    let reasons: Vec<&Loss> = documents.lost.keys().collect();
    assert_eq!(reasons, [&Loss::QueueFull], "{documents:?}");
}

/// T-02: the first datagram after a restart, however sent.
#[test]
fn the_first_document_after_a_restart_arrives() {
    for inline in [false, true] {
        let daemon = Daemon::start().unwrap();
        let builder = sends_to(daemon.address());
        let builder = if inline {
            builder.send_inline()
        } else {
            builder
        };
        let recorder = builder.build().unwrap();
        for round in 0..8 {
            // Down for a while in every other round, with losses if inline.
            daemon.stop();
            if round % 2 == 1 {
                recorder.begin_segment("meanwhile").close();
            }
            daemon.restart().unwrap();
            let before = Instant::now();
            recorder.begin_segment(&format!("first {round}")).close();
            assert!(recorder.flush(LONG).wait().is_complete());
            assert!(before.elapsed() < LONG);
            let name = format!("first {round}");
            assert!(
                daemon.wait_until(LONG, |all| all.iter().any(|one| one.name == name)),
                "{name}, inline: {inline}"
            );
        }
        balance(&recorder);
        let documents = recorder.documents();
        let refused = documents.lost.get(&Loss::Refused).copied();
        assert_eq!(refused, inline.then_some(4));
        daemon.stop();
        accepted(&daemon, documents.sent as usize);
    }
}

/// T-63: what was closed before a flush is waited for, whoever closed it.
#[test]
fn a_flush_misses_nothing_that_was_closed_before_it() {
    let daemon = Daemon::builder().count_only().start().unwrap();
    let recorder = sends_to(daemon.address())
        .pace(Pace::unlimited())
        .queue_limits(100_000, 1 << 30)
        .build()
        .unwrap();
    let rounds = 5_000;
    let closed = AtomicU64::new(0);
    let close = || {
        recorder.begin_segment("shop").close();
        closed.fetch_add(1, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..rounds).for_each(|_| close()));
        }
        for _ in 0..rounds {
            close();
            let before = closed.load(Ordering::SeqCst);
            assert!(recorder.flush(LONG).wait().is_complete());
            let sent = recorder.documents().sent;
            assert!(sent >= before, "{sent} of {before}");
        }
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    assert_eq!(recorder.documents().sent, 4 * rounds);
}
