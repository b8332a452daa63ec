//! T-09: a hundred thousand losses make a handful of log lines, which are never
//! traced and harm nobody.
//!
//! A binary of its own: there is one logger and one limit a process.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use xray_core::{Loss, Recorder};
use xray_tests::{balance, nobody, sends_to};

/// What a logger saw: the line, its target, whether a trace was current, and
/// whether it could record something.
#[derive(Debug)]
struct Line {
    text: String,
    target: String,
    is_traced: bool,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
static TRACED: OnceLock<Recorder> = OnceLock::new();

/// A logger that is itself traced, loses what it traces, and panics.
struct Traced;

impl log::Log for Traced {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let current = xray_core::current();
        let recorder = TRACED.get().unwrap();
        let segment = recorder.begin_segment("log line");
        let line = Line {
            text: record.args().to_string(),
            target: record.target().to_owned(),
            is_traced: current.is_recorded() || current.is_sampled() || segment.is_recorded(),
        };
        segment.close();
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        std::panic::resume_unwind(Box::new("a logger that panics"));
    }

    fn flush(&self) {}
}

#[test]
fn a_hundred_thousand_losses_make_one_line_of_each_kind_in_ten_seconds() {
    let begun = Instant::now();
    let recorder = sends_to(nobody().unwrap())
        .queue_limits(16, 1 << 20)
        .build()
        .unwrap();
    TRACED.set(recorder.clone()).unwrap();
    log::set_logger(&Traced).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let losses = 100_000_u64;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..losses / 4 {
                    recorder.begin_segment("lost").close();
                    // Another kind: no trace is current here.
                    xray_core::current().begin_subsegment("nowhere").close();
                }
            });
        }
    });
    let _ = recorder.flush(Duration::from_millis(50)).wait();
    let documents = recorder.documents();
    assert_eq!(documents.created, losses);
    assert!(
        documents.lost[&Loss::QueueFull] >= losses - 64,
        "{documents:?}"
    );
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    // One of a kind, and one more for each ten seconds that a slow machine took.
    let most = 1 + begun.elapsed().as_secs() as usize / 10;
    for (kind, least) in [
        ("documents lost as queue_full: 1", 1),
        ("nobody listens at", 1),
        ("no trace for subsegment \"nowhere\"", 1),
    ] {
        let of_kind = lines.iter().filter(|line| line.text.starts_with(kind));
        let count = of_kind.count();
        assert!(
            (least..=most).contains(&count),
            "{count} of {kind}: {lines:?}"
        );
    }
    assert!(lines.len() <= 3 * most, "{lines:?}");
    for line in &*lines {
        assert!(!line.is_traced, "{line:?}");
        assert_eq!(line.target, "xray");
        assert!(!line.text.contains('\n'), "{line:?}");
    }
    drop(lines);
    // What the logger did counts as unsampled, not as a loss that is told of.
    let entities = recorder.entities();
    assert_eq!(
        entities.unsampled,
        LINES.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    );
    let _ = recorder.shutdown(Duration::from_millis(50)).wait();
    balance(&recorder);
}
