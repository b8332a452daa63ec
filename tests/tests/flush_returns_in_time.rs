//! `flush` and `shutdown` are back when their time is over, wherever they are
//! called, whatever the daemon does, and say how much is left.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use xray_core::{Always, DaemonAddress, Flush, Flushed, Pace, Recorder};
use xray_tests::{Daemon, balance, nobody, sends_to};

const TIME: Duration = Duration::from_millis(300);
const DOCUMENTS: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Up,
    Down,
    Unresolvable,
}

const STATES: [State; 3] = [State::Up, State::Down, State::Unresolvable];

/// Flushes by `wait` in every state of the daemon, then shuts down so.
fn in_every_state(wait: impl Fn(Flush) -> Flushed) {
    for state in STATES {
        let daemon = Daemon::start().unwrap();
        let address: DaemonAddress = match state {
            State::Up => daemon.address().unwrap().into(),
            State::Down => nobody().unwrap().into(),
            State::Unresolvable => "nosuch.invalid:2000".parse().unwrap(),
        };
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(address)
            .build()
            .unwrap();
        for _ in 0..DOCUMENTS {
            recorder.begin_segment("a").close();
        }
        let left = if state == State::Up { 0 } else { DOCUMENTS };
        // One that is up is not waited for longer than it takes.
        let time = if state == State::Up { TIME * 30 } else { TIME };
        let begun = Instant::now();
        assert_eq!(wait(recorder.flush(time)).remaining, left, "{state:?}");
        assert!(begun.elapsed() < time + Duration::from_secs(1), "{state:?}");
        assert!(recorder.documents().is_balanced());
        let begun = Instant::now();
        assert_eq!(wait(recorder.shutdown(time)).remaining, left, "{state:?}");
        assert!(begun.elapsed() < time + Duration::from_secs(1), "{state:?}");
        balance(&recorder);
        assert_eq!(recorder.documents().sent, DOCUMENTS - left);
    }
}

#[test]
fn without_a_runtime() {
    in_every_state(Flush::wait);
}

#[test]
fn awaited_on_the_only_thread_of_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    in_every_state(|flush| runtime.block_on(flush));
}

#[test]
fn awaited_in_a_task_of_tokio() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build().unwrap();
    in_every_state(|flush| runtime.block_on(async { tokio::spawn(flush).await.unwrap() }));
}

#[test]
fn waited_for_where_blocking_is_fine() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    in_every_state(|flush| {
        runtime.block_on(async { tokio::task::spawn_blocking(|| flush.wait()).await.unwrap() })
    });
}

#[test]
fn waited_for_inside_block_on() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    in_every_state(|flush| runtime.block_on(async { flush.wait() }));
}

#[test]
fn awaited_on_smol() {
    in_every_state(smol::block_on);
}

#[test]
fn a_flush_that_was_polled_can_still_be_waited_for() {
    in_every_state(|mut flush| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut flush).poll(&mut cx) {
            std::task::Poll::Ready(flushed) => flushed,
            std::task::Poll::Pending => flush.wait(),
        }
    });
}

/// What left behind a document used to count for it.
#[test]
fn what_leaves_later_finishes_nothing_before_it() {
    let daemon = Daemon::start().unwrap();
    // So slow that all of it is closed before the first may be sent.
    let recorder = sends_to(daemon.address().unwrap())
        .pace(Pace::new(2_000, 1))
        .build()
        .unwrap();
    let shown = recorder.begin_segment("shown");
    recorder.begin_segment("first").close();
    recorder.begin_segment("second").close();
    let flush = recorder.flush(Duration::from_secs(20));
    recorder.show_open(Duration::ZERO);
    shown.close();
    assert!(flush.wait().is_complete());
    let sent = recorder.documents().sent;
    assert!(sent >= 2, "{sent} of the two before the flush");
    assert!(recorder.flush(Duration::from_secs(20)).wait().is_complete());
    assert_eq!(recorder.documents().sent, 3);
    balance(&recorder);
}
