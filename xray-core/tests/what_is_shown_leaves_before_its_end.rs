//! Nothing is sent as in progress behind its finished form, whoever sends and
//! however long that takes.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::balance;
use xray_core::document::Document;
use xray_core::{
    Always, Decision, Emitter, Keep, Loss, Outcome, Piece, Recorder, RecorderBuilder, Sampler,
    SamplingRequest, Segment, TraceHeader,
};

const LONG: Duration = Duration::from_secs(20);

/// Sends each piece while it holds a lock of its own, as one that writes to a
/// file may.
#[derive(Debug, Clone, Default)]
struct Locked(Arc<Mutex<Vec<Document>>>);

impl Emitter for Locked {
    fn emit(&self, piece: Piece) {
        let mut written = self.0.lock().unwrap();
        piece.send_documents(64_000, |json| {
            written.push(Document::from_json(json).unwrap());
            Ok(())
        });
    }
}

/// What was sent so far, in its order: name, and whether it was in progress.
type Sent = Box<dyn Fn() -> Vec<(String, bool)>>;

fn names(documents: &[Document]) -> Vec<(String, bool)> {
    let documents = documents.iter();
    documents
        .map(|document| (document.name.clone(), document.in_progress))
        .collect()
}

fn inline(builder: RecorderBuilder) -> (RecorderBuilder, Sent) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let builder = builder.daemon_address(socket.local_addr().unwrap());
    let sent = Mutex::new(Vec::new());
    let read = move || {
        let (mut sent, mut datagram) = (sent.lock().unwrap(), vec![0; 65_536]);
        while let Ok(bytes) = socket.recv(&mut datagram) {
            let line = datagram.iter().position(|byte| *byte == b'\n').unwrap();
            sent.push(Document::from_json(&datagram[line + 1..bytes]).unwrap());
        }
        names(&sent)
    };
    (builder.send_inline(), Box::new(read))
}

fn custom(builder: RecorderBuilder) -> (RecorderBuilder, Sent) {
    let emitter = Locked::default();
    let builder = builder.emitter(emitter.clone());
    (builder, Box::new(move || names(&emitter.0.lock().unwrap())))
}

const WAYS: [fn(RecorderBuilder) -> (RecorderBuilder, Sent); 2] = [inline, custom];

fn builder() -> RecorderBuilder {
    let builder = Recorder::builder("test").ignore_environment();
    builder.sampler(Always)
}

/// A hook that waits in what is in progress until it is let go: it tells when
/// it is there.
fn waiting_hook() -> (impl Fn(&mut Document) -> Keep, Receiver<()>, Sender<()>) {
    let ((tell, entered), (let_go, go)) = (channel(), channel::<()>());
    let go = Mutex::new(go);
    let hook = move |document: &mut Document| {
        if document.in_progress {
            tell.send(()).unwrap();
            let _ = go.lock().unwrap().recv_timeout(LONG);
        }
        Keep::Send
    };
    (hook, entered, let_go)
}

fn both(name: &str) -> [(String, bool); 2] {
    [(name.to_owned(), true), (name.to_owned(), false)]
}

/// The finished document used to overtake the other, which then said for ever
/// that the work goes on.
#[test]
fn what_closes_while_it_is_shown_is_sent_afterwards() {
    for way in WAYS {
        let (hook, entered, let_go) = waiting_hook();
        let (builder, sent) = way(builder().hook(hook));
        let recorder = builder.build().unwrap();
        let segment = recorder.begin_segment("shop");
        let shows = recorder.clone();
        let shower = thread::spawn(move || shows.show_open(Duration::ZERO));
        entered.recv_timeout(LONG).unwrap();
        segment.close(); // waits for nobody
        let documents = recorder.documents();
        assert_eq!((documents.sent, documents.queued), (0, 1));
        // A flush knows of it.
        assert_eq!(recorder.flush(Duration::ZERO).wait().remaining, 1);
        let flush = recorder.flush(LONG);
        let_go.send(()).unwrap();
        assert!(flush.wait().is_complete());
        assert_eq!(recorder.documents().sent, 2);
        shower.join().unwrap();
        assert_eq!(sent(), both("shop"));
        balance(&recorder);
    }
}

/// Nothing waits for itself.
#[test]
fn a_hook_may_close_what_it_is_shown() {
    for way in WAYS {
        let open: Arc<Mutex<Option<Segment>>> = Arc::default();
        let own: Arc<Mutex<Option<Recorder>>> = Arc::default();
        let (of_hook, recorder_of_hook) = (open.clone(), own.clone());
        let remaining = Arc::new(Mutex::new(Vec::new()));
        let told = remaining.clone();
        let hook = move |_: &mut Document| {
            drop(of_hook.lock().unwrap().take());
            let recorder = recorder_of_hook.lock().unwrap().clone();
            let flushed = recorder.unwrap().flush(LONG * 180).wait();
            told.lock().unwrap().push(flushed.remaining);
            Keep::Send
        };
        let (builder, sent) = way(builder().hook(hook));
        let recorder = builder.build().unwrap();
        *own.lock().unwrap() = Some(recorder.clone());
        *open.lock().unwrap() = Some(recorder.begin_segment("shop"));
        let (shown, is_shown) = channel();
        let shows = recorder.clone();
        thread::spawn(move || {
            shows.show_open(Duration::ZERO);
            shown.send(()).unwrap();
        });
        is_shown.recv_timeout(LONG).unwrap();
        assert_eq!(*remaining.lock().unwrap(), [1, 1], "its own finished form");
        assert_eq!(sent(), both("shop"));
        balance(&recorder);
        *own.lock().unwrap() = None;
    }
}

/// A trace that is shown twice at once waits for both.
#[test]
fn what_closes_waits_for_all_who_show_its_trace() {
    let (hook, entered, let_go) = waiting_hook();
    let (builder, sent) = inline(builder().hook(hook));
    let recorder = builder.build().unwrap();
    let segment = recorder.begin_segment("shop");
    let mut showers = Vec::new();
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(segment.begin_subsegment("part"));
        let shows = recorder.clone();
        showers.push(thread::spawn(move || shows.show_open(Duration::ZERO)));
        // The other of the two waits behind it for the hook's lock.
        if children.len() == 1 {
            entered.recv_timeout(LONG).unwrap();
        }
    }
    entered.recv_timeout(LONG).unwrap();
    drop((children, segment));
    assert_eq!(recorder.documents().sent, 0);
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    for shower in showers {
        shower.join().unwrap();
    }
    let sent = sent();
    let in_progress: Vec<bool> = sent.iter().map(|sent| sent.1).collect();
    assert_eq!(in_progress, [true, true, false], "{sent:?}");
    balance(&recorder);
}

/// An emitter that panics in between loses what it would have been given, and
/// the books say so.
#[test]
fn an_emitter_that_panics_leaves_nothing_waiting() {
    #[derive(Debug, Clone, Default)]
    struct Panics(Arc<Mutex<Option<Segment>>>);

    impl Emitter for Panics {
        fn emit(&self, piece: Piece) {
            piece.send_documents(64_000, |_| {
                drop(self.0.lock().unwrap().take());
                std::panic::resume_unwind(Box::new("no disk"));
            });
        }
    }

    let emitter = Panics::default();
    let recorder = builder().emitter(emitter.clone()).build().unwrap();
    *emitter.0.lock().unwrap() = Some(recorder.begin_segment("shop"));
    let shows = recorder.clone();
    assert!(
        thread::spawn(move || shows.show_open(Duration::ZERO))
            .join()
            .is_err()
    );
    assert!(recorder.flush(LONG).wait().is_complete());
    assert_eq!(recorder.documents().lost[&Loss::Discarded], 2);
    balance(&recorder);
}

/// Waits in the middle of sending what is in progress, and lets others send.
#[derive(Debug)]
struct Slow {
    sent: Arc<Mutex<Vec<Document>>>,
    entered: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Emitter for Slow {
    fn emit(&self, piece: Piece) {
        piece.send_documents(64_000, |json| {
            let document = Document::from_json(json).unwrap();
            if document.in_progress {
                self.entered.send(()).unwrap();
                self.go.lock().unwrap().recv_timeout(LONG).unwrap();
            }
            self.sent.lock().unwrap().push(document);
            Ok(())
        });
    }
}

/// Beyond the limit the finished document used to overtake the other.
#[test]
fn among_many_that_wait_only_the_shown_must() {
    const LIMIT: usize = 4_096;
    let ((entered, is_entered), (let_go, go)) = (channel(), channel());
    let sent = Arc::default();
    let slow = Slow {
        sent: Arc::clone(&sent),
        entered,
        go: Mutex::new(go),
    };
    let recorder = builder().emitter(slow).build().unwrap();
    let header = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    let facade = recorder.begin_facade(&TraceHeader::parse(header));
    let shown = facade.begin_subsegment("shown");
    let shows = recorder.clone();
    let shower = thread::spawn(move || shows.show_open(Duration::ZERO));
    is_entered.recv_timeout(LONG).unwrap();
    for _ in 0..LIMIT {
        facade.begin_subsegment("other").close();
    }
    assert_eq!(recorder.documents().sent, 0);
    facade.begin_subsegment("other").close();
    assert_eq!(recorder.documents().sent, 1, "there is room for no more");
    shown.close();
    assert_eq!(recorder.documents().sent, 1);
    let_go.send(()).unwrap();
    shower.join().unwrap();
    let mut sent = names(&sent.lock().unwrap());
    sent.retain(|(name, _)| name == "shown");
    assert_eq!(sent, both("shown"));
    balance(&recorder);
}

/// Records everything, and keeps it.
#[derive(Debug)]
struct Keeps;

impl Sampler for Keeps {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::recorded()
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        true
    }
}

#[test]
fn a_late_child_of_a_kept_trace_is_shown() {
    let (builder, sent) = custom(builder().sampler(Keeps));
    let recorder = builder.build().unwrap();
    let segment = recorder.begin_segment("shop");
    let late = segment.begin_subsegment("late");
    recorder.show_open(Duration::ZERO);
    assert_eq!(sent(), [], "nothing before the verdict");
    segment.close();
    recorder.show_open(Duration::ZERO);
    late.close();
    let shown = [vec![("shop".to_owned(), false)], both("late").into()].concat();
    assert_eq!(sent(), shown);
    balance(&recorder);
}
