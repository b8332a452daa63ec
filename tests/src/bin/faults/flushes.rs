//! Flush and shutdown, everywhere and at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xray_core::{Loss, Pace};
use xray_local::Daemon;
use xray_tests::places::{Call, PLACES, STATES, State, in_state};
use xray_tests::{balance, delivered, sends_to};

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "flush-matrix",
        test: "T-60",
        what: "flush and shutdown in 10 places, 4 states of the daemon, the queue empty, filled and full: back at most 50 ms after their time, and right about what is left",
        amount: 5,
        unit: "repeats",
        minutes: 10,
        run: flush_matrix,
    },
    Fault {
        name: "shutdown-crowd",
        test: "T-61",
        what: "so many calls of shutdown at once: one effect, one answer, all back at most 50 ms after their time",
        amount: 1_000,
        unit: "calls",
        minutes: 2,
        run: shutdown_crowd,
    },
    Fault {
        name: "flush-races",
        test: "T-63",
        what: "a flush while three threads close segments: none that was closed before it is missed",
        amount: 100_000,
        unit: "rounds",
        minutes: 10,
        run: flush_races,
    },
];

const LONG: Duration = Duration::from_secs(60);
const TIME: Duration = Duration::from_millis(60);
/// How much later than its time a call may be back.
const LATE: Duration = Duration::from_millis(50);

/// How late the call was, in the median of so many repeats: on a machine that is
/// busy otherwise any thread may wait for its processor.
struct Lateness {
    worst: Duration,
    worst_case: String,
    single: Duration,
}

fn flush_matrix(repeats: u64) -> String {
    let mut lateness = Lateness {
        worst: Duration::ZERO,
        worst_case: String::new(),
        single: Duration::ZERO,
    };
    let mut cases = 0;
    for (place, at) in PLACES {
        for state in STATES {
            for documents in [0, 3, 100] {
                let case = format!("{place}, {state:?}, {documents} documents");
                let mut late = [Vec::new(), Vec::new()];
                for _ in 0..repeats {
                    let [flush, shutdown] = flush_and_shutdown(at, state, documents, &case);
                    late[0].push(flush);
                    late[1].push(shutdown);
                }
                cases += 1;
                for late in late {
                    let most = late.iter().max().copied().unwrap_or_default();
                    lateness.single = lateness.single.max(most);
                    let median = median(late);
                    if median > lateness.worst {
                        (lateness.worst, lateness.worst_case) = (median, case.clone());
                    }
                }
            }
        }
    }
    let Lateness {
        worst,
        worst_case,
        single,
    } = lateness;
    assert!(worst <= LATE, "{worst:?} late: {worst_case}");
    format!(
        "{cases} cases, {repeats} repeats, two calls each: at most {worst:.1?} late by the median ({worst_case}), {single:.1?} at all; what they say is left is what the ledger has queued"
    )
}

/// How late both calls were.
fn flush_and_shutdown(
    at: fn(Call) -> xray_core::Flushed,
    state: State,
    documents: u64,
    case: &str,
) -> [Duration; 2] {
    let (daemon, builder) = in_state(state).expect("a socket");
    // A hundred are more than the queue and its thread hold.
    let recorder = builder.queue_limits(8, 1 << 20).build().expect("a thread");
    for _ in 0..documents {
        recorder.begin_segment("a").close();
    }
    let time = TIME;
    let flush = recorder.clone();
    let begun = Instant::now();
    let left = at(Box::new(move || flush.flush(time))).remaining;
    let flushed = begun.elapsed();
    let after = recorder.documents();
    assert!(after.is_balanced(), "{case}: {after:?}");
    assert_eq!(left, after.queued, "{case}: {after:?}");
    let shutdown = recorder.clone();
    let begun = Instant::now();
    let left = at(Box::new(move || shutdown.shutdown(time))).remaining;
    let shut_down = begun.elapsed();
    balance(&recorder);
    let after = recorder.documents();
    let lost = after.lost.get(&Loss::Shutdown).copied().unwrap_or(0);
    assert_eq!(lost, left, "{case}: {after:?}");
    assert_eq!(
        state.is_reachable(),
        after.sent > 0 || documents == 0 && state.is_reachable(),
        "{case}"
    );
    daemon.resume();
    [flushed, shut_down].map(|took| took.saturating_sub(time))
}

/// So many at once, each doing the same; what they say, and how late the last
/// of them is back.
fn crowd<T: Send>(calls: u64, time: Duration, work: impl Fn() -> T + Sync) -> (Vec<T>, Duration) {
    let start = Barrier::new(calls as usize);
    let answers: Vec<(T, Duration)> = thread::scope(|scope| {
        let one = || {
            start.wait();
            let begun = Instant::now();
            (work(), begun.elapsed())
        };
        let threads: Vec<_> = (0..calls)
            .map(|_| {
                let thread = thread::Builder::new().stack_size(128 << 10);
                thread.spawn_scoped(scope, one).expect("a thread")
            })
            .collect();
        let threads = threads.into_iter();
        threads
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let last = answers.iter().map(|(_, took)| *took).max();
    let answers = answers.into_iter().map(|(answer, _)| answer).collect();
    (answers, last.unwrap_or_default().saturating_sub(time))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn shutdown_crowd(calls: u64) -> String {
    const DOCUMENTS: u64 = 100;
    const REPEATS: usize = 5;
    let time = Duration::from_millis(500);
    // A thousand threads on two processors do not wake at one moment.
    let sleeping = || crowd(calls, time, || thread::sleep(time)).1;
    let usual = median((0..REPEATS).map(|_| sleeping()).collect());
    let mut told = Vec::new();
    for state in STATES {
        let mut late = Vec::new();
        for _ in 0..REPEATS {
            let (daemon, builder) = in_state(state).expect("a socket");
            let recorder = builder.build().expect("a thread");
            for _ in 0..DOCUMENTS {
                recorder.begin_segment("a").close();
            }
            let shut_down = || recorder.shutdown(time).wait().remaining;
            let (answers, last) = crowd(calls, time, shut_down);
            late.push(last);
            balance(&recorder);
            let documents = recorder.documents();
            let lost = documents.lost.get(&Loss::Shutdown).copied().unwrap_or(0);
            assert_eq!(documents.sent + lost, DOCUMENTS, "{documents:?}");
            let all = documents.sent == DOCUMENTS;
            assert_eq!(all, state.is_reachable(), "{state:?}: {documents:?}");
            let wrong = answers.iter().filter(|left| **left != lost).count();
            assert_eq!(wrong, 0, "{state:?}: not all said that {lost} are left");
            daemon.resume();
        }
        let late = median(late);
        assert!(
            late <= usual + LATE,
            "{state:?}: {late:?} late; threads that sleep: {usual:?}"
        );
        told.push(format!("{state:?} {late:.1?}"));
    }
    format!(
        "{calls} calls with 100 documents, {REPEATS} repeats: one answer; the last is late by {} (threads that sleep: {usual:.1?})",
        told.join(", ")
    )
}

fn flush_races(rounds: u64) -> String {
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let recorder = sends_to(daemon.address())
        .pace(Pace::unlimited())
        .queue_limits(1_000_000, 1 << 30);
    let recorder = recorder.build().expect("a thread");
    let closed = AtomicU64::new(0);
    let close = || {
        recorder.begin_segment("shop").close();
        closed.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for at in 0..rounds {
                    close();
                    if at % 16 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..rounds {
            close();
            let before = closed.load(Ordering::SeqCst);
            assert!(recorder.flush(LONG).wait().is_complete());
            let sent = recorder.documents().sent;
            assert!(sent >= before, "{sent} sent of {before} closed");
        }
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let documents = delivered(&recorder, daemon.received_count() as u64, drops);
    assert_eq!((documents.sent, documents.lost.len()), (4 * rounds, 0));
    format!("{rounds} flushes beside {} closes, none missed", 4 * rounds)
}
