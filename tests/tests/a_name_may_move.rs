//! The daemon's name is looked up again when it stops serving, nobody waits for
//! that, and each of its addresses is tried.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use xray_core::{Always, Loss, Recorder, RecorderBuilder, Resolve};
use xray_tests::{Daemon, balance, nobody};

const LONG: Duration = Duration::from_secs(20);
const SLACK: Duration = Duration::from_secs(1);

/// Answers what it was told to; counts who asks.
#[derive(Default)]
struct Names {
    answer: Mutex<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn of(addresses: &[SocketAddr]) -> Arc<Self> {
        let names = Arc::new(Self::default());
        names.point_to(addresses);
        names
    }

    /// No address: it cannot be resolved.
    fn point_to(&self, addresses: &[SocketAddr]) {
        *self.answer.lock().unwrap() = addresses.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("xray.test", 2000));
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        if answer.is_empty() {
            return Err(io::Error::other("no such name"));
        }
        Ok(answer)
    }
}

fn builder(resolver: Arc<dyn Resolve>) -> RecorderBuilder {
    Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .daemon_address(
            "xray.test:2000"
                .parse::<xray_core::DaemonAddress>()
                .unwrap(),
        )
        .resolver(resolver)
}

fn wait_until(done: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// T-73, A to B.
#[test]
fn a_name_that_points_elsewhere_is_followed_and_nothing_is_lost() {
    let old = Daemon::start().unwrap();
    let new = Daemon::start().unwrap();
    let names = Names::of(&[old.address().unwrap()]);
    let recorder = builder(names.clone()).build().unwrap();
    recorder.begin_segment("to the old one").close();
    assert_eq!(old.document().unwrap().name, "to the old one");
    assert_eq!(names.asked(), 1);
    names.point_to(&[new.address().unwrap()]);
    drop(old);
    for at in 0..20 {
        recorder.begin_segment(&format!("moved {at}")).close();
    }
    for at in 0..20 {
        assert_eq!(new.document().unwrap().name, format!("moved {at}"));
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.lost.len()), (21, 0));
}

/// T-73, A to nothing to A.
#[test]
fn addresses_stay_in_use_while_the_name_cannot_be_resolved() {
    let daemon = Daemon::start().unwrap();
    let address = daemon.address().unwrap();
    let names = Names::of(&[address]);
    let recorder = builder(names.clone()).build().unwrap();
    recorder.begin_segment("before").close();
    assert_eq!(daemon.document().unwrap().name, "before");
    names.point_to(&[]);
    drop(daemon);
    recorder.begin_segment("meanwhile").close();
    // It was asked about, and there was no answer.
    wait_until(|| names.asked() >= 3);
    assert_eq!(recorder.documents().queued, 1);
    let daemon = Daemon::at(address).unwrap();
    assert_eq!(daemon.document().unwrap().name, "meanwhile");
    recorder.begin_segment("after").close();
    assert_eq!(daemon.document().unwrap().name, "after");
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    assert_eq!(recorder.documents().lost.len(), 0);
}

/// Answers when it is let.
struct Slow(Mutex<mpsc::Receiver<SocketAddr>>);

impl Resolve for Slow {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let answer = self.0.lock().unwrap().recv();
        answer
            .map(|address| vec![address])
            .map_err(io::Error::other)
    }
}

/// T-73, a resolver that does not come back.
#[test]
fn nobody_waits_for_a_slow_resolver() {
    let daemon = Daemon::start().unwrap();
    let (answer, asked) = mpsc::channel();
    let recorder = builder(Arc::new(Slow(Mutex::new(asked)))).build().unwrap();
    let begun = Instant::now();
    for _ in 0..50 {
        recorder.begin_segment("early").close();
    }
    let flushed = recorder.flush(Duration::from_millis(50)).wait();
    assert_eq!(flushed.remaining, 50);
    assert!(begun.elapsed() < Duration::from_millis(50) + SLACK);
    assert_eq!(recorder.documents().lost.len(), 0);
    answer.send(daemon.address().unwrap()).unwrap();
    for _ in 0..50 {
        assert_eq!(daemon.document().unwrap().name, "early");
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
}

/// What was closed inline before the name was resolved used to be lost.
#[test]
fn what_is_sent_inline_waits_for_the_first_answer() {
    let daemon = Daemon::start().unwrap();
    let (answer, asked) = mpsc::channel();
    let slow = Arc::new(Slow(Mutex::new(asked)));
    let recorder = builder(slow).send_inline().build().unwrap();
    let address = daemon.address().unwrap();
    let resolved = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        answer.send(address).unwrap();
        answer
    });
    recorder.begin_segment("first").close();
    assert_eq!(recorder.documents().sent, 1);
    assert_eq!(daemon.document().unwrap().name, "first");
    drop(resolved.join().unwrap());
    balance(&recorder);
}

#[test]
fn what_is_sent_inline_waits_for_a_name_once() {
    let (_answer, asked) = mpsc::channel();
    let slow = Arc::new(Slow(Mutex::new(asked)));
    let recorder = builder(slow).send_inline().build().unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        recorder.begin_segment("early").close();
    }
    // A second in all, not one each.
    assert!(begun.elapsed() < Duration::from_secs(1) + SLACK);
    assert_eq!(recorder.documents().lost[&Loss::NoAddress], 20);
    balance(&recorder);
}

#[test]
fn a_shutdown_does_not_wait_for_a_slow_resolver() {
    let (_answer, asked) = mpsc::channel();
    let recorder = builder(Arc::new(Slow(Mutex::new(asked)))).build().unwrap();
    recorder.begin_segment("early").close();
    let begun = Instant::now();
    let left = recorder.shutdown(Duration::from_millis(50)).wait();
    assert_eq!(left.remaining, 1);
    assert!(begun.elapsed() < Duration::from_millis(50) + SLACK);
    balance(&recorder);
    assert_eq!(recorder.documents().lost[&Loss::Shutdown], 1);
}

/// A resolver is foreign code.
struct Panics;

impl Resolve for Panics {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        std::panic::resume_unwind(Box::new("no message"))
    }
}

#[test]
fn a_resolver_that_panics_counts_as_one_without_an_answer() {
    let recorder = builder(Arc::new(Panics)).build().unwrap();
    recorder.begin_segment("early").close();
    assert_eq!(
        recorder.flush(Duration::from_millis(50)).wait().remaining,
        1
    );
    assert_eq!(
        recorder
            .shutdown(Duration::from_millis(50))
            .wait()
            .remaining,
        1
    );
    balance(&recorder);
}

/// T-74.
#[test]
fn documents_reach_a_daemon_on_ipv6() {
    let Ok(daemon) = Daemon::at("[::1]:0".parse().unwrap()) else {
        return; // a machine without IPv6
    };
    for inline in [false, true] {
        let builder = xray_tests::sends_to(daemon.address().unwrap());
        let builder = if inline {
            builder.send_inline()
        } else {
            builder
        };
        let recorder = builder.build().unwrap();
        recorder.begin_segment("six").close();
        assert_eq!(daemon.document().unwrap().name, "six");
        assert!(recorder.flush(LONG).wait().is_complete());
        balance(&recorder);
        assert_eq!(recorder.documents().sent, 1);
    }
}

/// T-74, dual stack. Where there is no IPv6 the socket is refused, which must
/// come to the same.
#[test]
fn the_next_address_is_tried_where_nobody_listens_at_the_first() {
    let daemon = Daemon::start().unwrap();
    let address = daemon.address().unwrap();
    let six = SocketAddr::new("::1".parse().unwrap(), address.port());
    for first in [
        vec![six],
        vec![nobody().unwrap()],
        vec![six, six, nobody().unwrap()],
    ] {
        for inline in [false, true] {
            let names = Names::of(&[&first[..], &[address]].concat());
            let builder = builder(names.clone());
            let recorder = if inline {
                builder.send_inline()
            } else {
                builder
            }
            .build()
            .unwrap();
            recorder.begin_segment("next").close();
            assert!(recorder.flush(LONG).wait().is_complete());
            assert_eq!(recorder.documents().lost.len(), 0);
            assert_eq!(daemon.document().unwrap().name, "next");
            recorder.begin_segment("next").close();
            assert_eq!(daemon.document().unwrap().name, "next");
            assert!(recorder.flush(LONG).wait().is_complete());
            assert_eq!(recorder.documents().sent, 2);
            balance(&recorder);
            assert!(daemon.is_idle().unwrap());
        }
    }
}
