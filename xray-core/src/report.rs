//! Our own log lines: few, never traced, never in the way.
//!
//! Through `tracing` with the feature of that name, else through `log`.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::clock::Clock;

/// What a line is about. Each kind is limited on its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Report {
    ContextMissing,
    Environment,
    Lost,
    Refused,
    Resolve,
}

const KINDS: usize = Report::Resolve as usize + 1;

/// Nanoseconds between two lines of one kind.
const INTERVAL: i64 = 10_000_000_000;

/// When a kind was last written, and how often it was not since.
struct Limit {
    last: AtomicI64,
    silent: AtomicU64,
}

static LIMITS: [Limit; KINDS] = [const {
    Limit {
        last: AtomicI64::new(i64::MIN),
        silent: AtomicU64::new(0),
    }
}; KINDS];

thread_local! {
    /// A logger may itself be traced: what it says while we speak is not ours
    /// to report.
    static SPEAKING: Cell<bool> = const { Cell::new(false) };
}

/// Writes a warning, or counts it for the next one.
pub(crate) fn report(kind: Report, text: &dyn fmt::Display) {
    let limit = &LIMITS[kind as usize];
    let now = Clock::default().tick();
    let last = limit.last.load(Ordering::Relaxed);
    let due = last == i64::MIN || now.saturating_sub(last) >= INTERVAL;
    let won = || {
        let swap = limit
            .last
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        swap.is_ok()
    };
    if !due || !won() {
        limit.silent.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let speaking = SPEAKING
        .try_with(|speaking| speaking.replace(true))
        .unwrap_or(true);
    if speaking {
        return;
    }
    let silent = limit.silent.swap(0, Ordering::Relaxed);
    let spoken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        crate::context::suppressed_entity().run(|| write(text, silent));
    }));
    drop(spoken); // a logger that panics must not take us along
    let _ = SPEAKING.try_with(|speaking| speaking.set(false));
}

#[cfg(feature = "tracing")]
fn write(text: &dyn fmt::Display, silent: u64) {
    tracing::warn!(target: "xray", silent, "{text}");
}

#[cfg(not(feature = "tracing"))]
fn write(text: &dyn fmt::Display, silent: u64) {
    if silent == 0 {
        log::warn!(target: "xray", "{text}");
    } else {
        log::warn!(target: "xray", "{text} (and {silent} more like it since the last such line)");
    }
}
