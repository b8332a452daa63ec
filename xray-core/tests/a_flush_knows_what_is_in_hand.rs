//! A flush waits for what closed before it and is in the hands of another
//! thread: taken out of its trace, and not at the end of its emitter.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use xray_core::{
    Always, Decision, Emitter, Flush, Flushed, Keep, Outcome, Piece, Recorder, RecorderBuilder,
    Sampler, SamplingRequest, Segment,
};

const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

fn builder() -> RecorderBuilder {
    Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
}

/// Tells that it was entered, and goes on when it is let go.
#[derive(Debug)]
struct Gate(Sender<()>, Mutex<Receiver<()>>);

fn gate() -> (Arc<Gate>, Receiver<()>, Sender<()>) {
    let (entering, entered) = channel();
    let (let_go, released) = channel();
    (
        Arc::new(Gate(entering, Mutex::new(released))),
        entered,
        let_go,
    )
}

impl Gate {
    fn pass(&self) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv_timeout(LONG).unwrap();
    }
}

/// Sends each piece when the gate that stands last lets it.
#[derive(Debug)]
struct Gated(Mutex<Vec<Arc<Gate>>>);

impl Gated {
    fn by(gates: Vec<Arc<Gate>>) -> Self {
        Self(Mutex::new(gates))
    }
}

impl Emitter for Gated {
    fn emit(&self, piece: Piece) {
        let gate = self.0.lock().unwrap().pop();
        gate.unwrap().pass();
        piece.send_documents(64_000, |_| Ok(()));
    }
}

/// A segment with a child that closed long ago.
fn with_closed_child(recorder: &Recorder) -> Segment {
    let segment = recorder.begin_segment("shop");
    segment.begin_subsegment("cart").close();
    segment
}

fn poll(flush: &mut Flush) -> Poll<Flushed> {
    Pin::new(flush).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_another_thread_sends_is_waited_for() {
    for ends in [Recorder::flush, Recorder::shutdown] {
        let (gate, entered, let_go) = gate();
        let recorder = builder().emitter(Gated::by(vec![gate])).build().unwrap();
        let segment = with_closed_child(&recorder);
        let closer = thread::spawn(move || segment.close());
        entered.recv_timeout(LONG).unwrap();
        assert_eq!(ends(&recorder, Duration::ZERO).wait().remaining, 1);
        let mut flush = ends(&recorder, LONG);
        assert!(poll(&mut flush).is_pending());
        let_go.send(()).unwrap();
        assert!(flush.wait().is_complete());
        assert_eq!(recorder.documents().sent, 1);
        closer.join().unwrap();
    }
}

#[test]
fn what_an_inline_hook_holds_up_is_waited_for() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (gate, entered, let_go) = gate();
    let recorder = builder()
        .daemon_address(socket.local_addr().unwrap())
        .send_inline()
        .hook(move |_: &mut xray_core::document::Document| {
            gate.pass();
            Keep::Send
        })
        .build()
        .unwrap();
    let segment = with_closed_child(&recorder);
    let closer = thread::spawn(move || segment.close());
    entered.recv_timeout(LONG).unwrap();
    let mut flush = recorder.flush(LONG);
    assert!(poll(&mut flush).is_pending());
    let_go.send(()).unwrap();
    assert!(flush.wait().is_complete());
    assert_eq!(recorder.documents().sent, 1);
    closer.join().unwrap();
}

/// However many follow: what is taken in hand later is not waited for.
#[test]
fn what_closes_after_a_flush_is_not_waited_for() {
    let (first, first_entered, let_first_go) = gate();
    let (gate, entered, let_go) = gate();
    let mut gates = vec![gate; 20];
    gates.push(first);
    let recorder = builder().emitter(Gated::by(gates)).build().unwrap();
    let close = |segment: Segment| thread::spawn(move || segment.close());
    let first = close(with_closed_child(&recorder));
    first_entered.recv_timeout(LONG).unwrap();
    let mut flush = recorder.flush(LONG);
    assert!(poll(&mut flush).is_pending());
    let later: Vec<_> = (0..20)
        .map(|_| close(recorder.begin_segment("later")))
        .collect();
    for _ in 0..20 {
        entered.recv_timeout(LONG).unwrap();
    }
    let_first_go.send(()).unwrap();
    assert!(flush.wait().is_complete());
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.queued), (1, 20));
    first.join().unwrap();
    (0..20).for_each(|_| let_go.send(()).unwrap());
    later.into_iter().for_each(|later| later.join().unwrap());
    assert!(recorder.flush(LONG).wait().is_complete());
    assert_eq!(recorder.documents().sent, 21);
}

/// Flushes what it has in its own hands.
#[derive(Debug, Clone, Default)]
struct Flushes(Arc<Mutex<Option<Recorder>>>, Arc<Mutex<Vec<u64>>>);

impl Flushes {
    fn flush(&self) {
        let recorder = self.0.lock().unwrap().clone().unwrap();
        let left = recorder.flush(HOUR).wait().remaining;
        self.1.lock().unwrap().push(left);
    }
}

impl Emitter for Flushes {
    fn emit(&self, piece: Piece) {
        self.flush();
        piece.send_documents(64_000, |_| Ok(()));
    }
}

impl Sampler for Flushes {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::recorded()
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        self.flush();
        true
    }
}

#[test]
fn a_flush_does_not_wait_for_its_own_thread() {
    let flushes = Flushes::default();
    let recorder = builder()
        .sampler(flushes.clone())
        .emitter(flushes.clone())
        .build()
        .unwrap();
    *flushes.0.lock().unwrap() = Some(recorder.clone());
    let (done, is_done) = channel();
    let segment = with_closed_child(&recorder);
    thread::spawn(move || {
        segment.close();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG).unwrap();
    assert_eq!(*flushes.1.lock().unwrap(), [1, 1], "what it holds itself");
    assert!(recorder.flush(LONG).wait().is_complete());
    *flushes.0.lock().unwrap() = None;
}

#[test]
fn an_emitter_that_panicked_has_nothing_in_hand() {
    #[derive(Debug)]
    struct Panics;

    impl Emitter for Panics {
        fn emit(&self, _: Piece) {
            std::panic::resume_unwind(Box::new("no disk"));
        }
    }

    let recorder = builder().emitter(Panics).build().unwrap();
    let segment = with_closed_child(&recorder);
    assert!(thread::spawn(move || segment.close()).join().is_err());
    assert!(recorder.flush(HOUR).wait().is_complete());
    let entities = recorder.entities();
    assert_eq!((entities.open, entities.dropped.len()), (0, 1));
}
