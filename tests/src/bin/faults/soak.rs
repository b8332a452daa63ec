//! Everything that goes wrong now and then, for long.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use xray_core::{Loss, Recorder, TraceExt};
use xray_local::Daemon;
use xray_tests::{Random, delivered, sends_to};

use crate::{Fault, process};

pub(crate) const FAULTS: &[Fault] = &[Fault {
    name: "soak",
    test: "T-06",
    what: "2,000 segments a second, 1 % panics, 1 % dropped futures, the daemon restarts ten times in all: memory, threads and descriptors stay as they are, books balance",
    amount: 10,
    unit: "minutes",
    minutes: 12,
    run: soak,
}];

const LONG: Duration = Duration::from_secs(120);
const THREADS: u64 = 4;
/// The first outage, before memory is looked at: the queue holds more then than
/// is kept for reuse, as it would sooner or later in an hour.
const FIRST: Duration = Duration::from_secs(1);
/// The outages after it.
const SHORT: Duration = Duration::from_millis(200);
/// Of each thread, for 2,000 a second in all.
const EVERY: Duration = Duration::from_millis(2);

/// One request: most end well.
fn request(recorder: &Recorder, random: &mut Random) {
    let segment = recorder.begin_segment("shop");
    segment.annotate("tenant", "t-42");
    for _ in 0..random.below(4) {
        segment.begin_subsegment("part").close();
    }
    match random.below(100) {
        0 => {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _segment = segment;
                resume_unwind(Box::new("on purpose"));
            }));
            assert!(panicked.is_err());
        }
        1 => {
            let entity = segment.clone();
            let mut future =
                Box::pin(entity.scope(std::future::pending::<()>().subsegment("never")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Future::poll(Pin::new(&mut future), &mut cx).is_pending());
            drop(future);
        }
        _ => segment.close(),
    }
}

fn soak(minutes: u64) -> String {
    let time = Duration::from_secs(60 * minutes);
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let recorder = sends_to(daemon.address()).build().expect("a thread");
    let end = Instant::now() + time;
    let mut samples = Vec::new();
    let mut restarts = 0;
    let constant = || (process::status("Threads"), process::descriptors());
    let mut before = None;
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let recorder = &recorder;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut next = Instant::now();
                while next < end {
                    request(recorder, &mut random);
                    // A thread that had to wait for its processor does not make
                    // up for it in one burst: that would be another load.
                    next = (next + EVERY).max(Instant::now());
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        let begun = Instant::now();
        let mut restart_at = time / 20;
        while Instant::now() + Duration::from_secs(2) < end {
            thread::sleep(Duration::from_secs(1));
            if begun.elapsed() >= restart_at {
                daemon.stop();
                thread::sleep(if restarts == 0 { FIRST } else { SHORT });
                daemon.restart().expect("its port is free");
                restart_at += time / 10;
                restarts += 1;
                thread::sleep(Duration::from_millis(200));
            }
            let now = begun.elapsed();
            if now > time / 5 {
                before.get_or_insert_with(constant);
                samples.push((now.as_secs_f64() / 3_600.0, process::status("VmRSS") as f64));
            }
        }
        assert_eq!(Some(constant()), before, "threads, descriptors");
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let documents = delivered(&recorder, daemon.received_count() as u64, drops);
    let full = documents.lost.get(&Loss::QueueFull).copied().unwrap_or(0);
    let lost: u64 = documents.lost.values().sum();
    assert_eq!(lost, full, "{documents:?}");
    let window = samples[samples.len() - 1].0 - samples[0].0;
    let slope = slope(&samples) / 1_024.0;
    // A page more or less in minutes is no slope of an hour.
    let grown = slope * window;
    assert!(
        slope <= 1.0 || grown <= 0.25,
        "memory grows by {slope:.2} MiB an hour"
    );
    let entities = recorder.entities();
    let rate = documents.created as f64 / time.as_secs_f64();
    format!(
        "{minutes} minutes, {} documents at {rate:.0}/s, {} entities, {restarts} restarts, {drops} dropped by the kernel, {full} lost (queue_full), 0 unaccounted for; {} kB resident, slope {slope:.2} MiB/h over {:.0} minutes; threads and descriptors constant",
        documents.created,
        entities.begun,
        process::status("VmRSS"),
        window * 60.0,
    )
}

/// Of the line with the least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let of_both: f64 = samples
        .iter()
        .map(|sample| (sample.0 - x) * (sample.1 - y))
        .sum();
    let of_time: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    of_both / of_time
}
