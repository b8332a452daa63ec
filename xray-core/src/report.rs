//! Our own log lines: few, never traced, never in the way.
//!
//! Through `tracing` with the feature of that name, else through `log`.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Clock;
use crate::guard::guarded;

/// What a line is about. Each kind is limited on its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Report {
    ContextMissing,
    Environment,
    Lost,
    Refused,
    RefusedLate,
    Resolve,
    Unreachable,
}

const KINDS: usize = Report::Unreachable as usize + 1;

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

/// Settings that are logged, in a process.
const SETTINGS: usize = 64;

/// Those that were.
static SETTINGS_SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Logs a setting of a layer that is wrong, for layers round this crate: at
/// target `xray`, each text once in the life of the process, and 64 texts at
/// most.
///
/// ```
/// xray_core::report_setting("no host pattern: \"https://a/\"");
/// ```
pub fn report_setting(text: &str) {
    let mut said = SETTINGS_SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() == SETTINGS || said.iter().any(|before| before == text) {
        return;
    }
    said.push(text.to_owned());
    drop(said);
    speak(|| write(&text, 0));
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
    let speaking = || SPEAKING.try_with(Cell::get).unwrap_or(true);
    if !due || speaking() || !won() {
        limit.silent.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let silent = limit.silent.swap(0, Ordering::Relaxed);
    speak(|| write(text, silent));
}

fn speak(write: impl FnOnce()) {
    let _ = SPEAKING.try_with(|speaking| speaking.set(true));
    // A logger that panics must not take us along.
    guarded(|| crate::context::suppressed_entity().run(write));
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

#[cfg(test)]
#[cfg(not(feature = "tracing"))]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Lines;

    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            LINES.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    /// T-09: the next line tells how many were not written.
    #[test]
    fn a_line_says_how_many_were_silent_before_it() {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        let kind = Report::Environment; // no other unit test writes one
        let limit = &LIMITS[kind as usize];
        for at in 0..1_000 {
            report(kind, &format_args!("kind: {at}"));
        }
        // Ten seconds go by.
        limit.last.fetch_sub(INTERVAL, Ordering::Relaxed);
        report(kind, &"kind: later");
        report(kind, &"kind: one more");
        limit.last.fetch_sub(INTERVAL, Ordering::Relaxed);
        report(kind, &"kind: last");
        let lines = LINES.lock().unwrap().clone();
        let mine = lines.iter().filter(|line| line.starts_with("kind: "));
        let mine: Vec<&String> = mine.collect();
        assert_eq!(
            mine,
            [
                "kind: 0",
                "kind: later (and 999 more like it since the last such line)",
                "kind: last (and 1 more like it since the last such line)",
            ]
        );
        assert_eq!(limit.silent.load(Ordering::Relaxed), 0);
    }
}
