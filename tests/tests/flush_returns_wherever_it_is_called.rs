//! T-60: wherever `flush` and `shutdown` are called, whatever the daemon does,
//! and however full the queue is, they are back in time and say how much is
//! left. Where a process of its own is needed, see
//! `a_program_ends_as_it_would`.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::{Duration, Instant};

use xray_core::{Keep, Loss, Recorder};
use xray_tests::places::{PLACES, STATES, in_state};
use xray_tests::{accepted, balance};

const TIME: Duration = Duration::from_millis(60);
const SLACK: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// Everything in one table: 10 places, 4 states, 3 fillings, both calls.
#[test]
fn flush_and_shutdown_are_back_in_time_in_every_place_and_state() {
    for (place, at) in PLACES {
        for state in STATES {
            for documents in [0_u64, 3, 100] {
                let case = format!("{place}, {state:?}, {documents} documents");
                let (daemon, builder) = in_state(state).unwrap();
                // A hundred are more than the queue and its thread hold.
                let recorder = builder.queue_limits(8, 1 << 20).build().unwrap();
                for _ in 0..documents {
                    recorder.begin_segment("a").close();
                }
                // One that can send is not cut short.
                let time = if state.is_reachable() { LONG } else { TIME };
                let flush = {
                    let recorder = recorder.clone();
                    Box::new(move || recorder.flush(time))
                };
                let begun = Instant::now();
                let left = at(flush).remaining;
                assert!(begun.elapsed() < time + SLACK, "{case}");
                let after = recorder.documents();
                assert!(after.is_balanced(), "{case}: {after:?}");
                assert_eq!(after.created, documents, "{case}");
                assert_eq!(left, after.queued, "{case}: {after:?}");
                if state.is_reachable() {
                    assert_eq!(left, 0, "{case}: {after:?}");
                } else {
                    assert_eq!(after.sent, 0, "{case}: {after:?}");
                    assert_eq!(left == 0, documents == 0, "{case}: {after:?}");
                    assert!(left < 100, "{case}: {after:?}");
                }
                let shutdown = {
                    let recorder = recorder.clone();
                    Box::new(move || recorder.shutdown(time))
                };
                let begun = Instant::now();
                assert_eq!(at(shutdown).remaining, left, "{case}");
                assert!(begun.elapsed() < time + SLACK, "{case}");
                balance(&recorder);
                let after = recorder.documents();
                let lost = |reason| after.lost.get(&reason).copied().unwrap_or(0);
                assert_eq!(lost(Loss::Shutdown), left, "{case}: {after:?}");
                let full = documents - after.sent - left;
                assert_eq!(lost(Loss::QueueFull), full, "{case}: {after:?}");
                if state.is_reachable() {
                    daemon.resume();
                    accepted(&daemon, after.sent as usize);
                }
            }
        }
    }
}

/// The hook runs on the emission thread itself, which has to finish the very
/// document it would wait for.
#[test]
fn a_hook_may_flush_and_shut_down() {
    for state in STATES {
        for shuts_down in [false, true] {
            let (daemon, builder) = in_state(state).unwrap();
            let own = Arc::new(OnceLock::<Recorder>::new());
            let found = Arc::new(Mutex::new(Vec::new()));
            let hook = {
                let (own, found) = (own.clone(), found.clone());
                move |_: &mut xray_core::document::Document| {
                    let recorder = own.wait();
                    let begun = Instant::now();
                    let flush = if shuts_down {
                        recorder.shutdown(TIME)
                    } else {
                        recorder.flush(TIME)
                    };
                    let flushed = flush.wait();
                    found
                        .lock()
                        .unwrap()
                        .push((flushed.remaining, begun.elapsed()));
                    Keep::Send
                }
            };
            let recorder = builder.hook(hook).build().unwrap();
            recorder.begin_segment("one").close();
            recorder.begin_segment("two").close();
            own.set(recorder.clone()).unwrap();
            let time = if state.is_reachable() { LONG } else { TIME * 4 };
            let _ = recorder.flush(time).wait();
            let left = recorder.shutdown(time).wait();
            balance(&recorder);
            let found = found.lock().unwrap();
            assert!(!found.is_empty(), "{state:?}");
            for (remaining, elapsed) in &*found {
                assert!(*remaining >= 1, "{state:?}: its own at least");
                assert!(*elapsed < TIME + SLACK, "{state:?} {elapsed:?}");
            }
            let documents = recorder.documents();
            if state.is_reachable() && !shuts_down {
                assert_eq!((left.remaining, documents.sent), (0, 2), "{state:?}");
                daemon.resume();
                accepted(&daemon, 2);
            } else if !state.is_reachable() {
                assert_eq!(documents.lost[&Loss::Shutdown], 2, "{state:?}");
            }
        }
    }
}

/// T-61, small; the binary `faults` has a thousand.
#[test]
fn a_hundred_shutdowns_at_once_are_one_and_say_the_same() {
    const CALLS: usize = 100;
    for state in STATES {
        let (daemon, builder) = in_state(state).unwrap();
        let recorder = builder.build().unwrap();
        for _ in 0..10 {
            recorder.begin_segment("a").close();
        }
        let start = Barrier::new(CALLS);
        let time = if state.is_reachable() { LONG } else { TIME };
        let answers: Vec<u64> = std::thread::scope(|scope| {
            let shut_down = || {
                start.wait();
                let begun = Instant::now();
                let left = recorder.shutdown(time).wait().remaining;
                assert!(begun.elapsed() < time + SLACK, "{state:?}");
                left
            };
            let all: Vec<_> = (0..CALLS).map(|_| scope.spawn(shut_down)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        balance(&recorder);
        let left = if state.is_reachable() { 0 } else { 10 };
        assert_eq!(answers, [left; CALLS], "{state:?}");
        let documents = recorder.documents();
        assert_eq!(documents.sent, 10 - left, "{state:?}");
        let lost = documents.lost.get(&Loss::Shutdown).copied();
        assert_eq!(lost.unwrap_or(0), left, "{state:?}");
        daemon.resume();
    }
}
