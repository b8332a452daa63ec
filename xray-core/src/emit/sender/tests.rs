use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::Arc;

use super::*;
use crate::Recorder;
use crate::document::Document;
use crate::emit::resolve::Resolve;
use crate::emit::{Emitter, Pace};
use crate::sampling::Always;

/// The largest datagram of macOS.
const TAKES: usize = 9_216;

/// Keeps pieces as they cross the queue.
#[derive(Debug, Clone, Default)]
struct Keep(Arc<std::sync::Mutex<Vec<Piece>>>);

impl Emitter for Keep {
    fn emit(&self, piece: Piece) {
        self.0.lock().unwrap().push(piece);
    }
}

/// The pieces that leave a recorder, each when its segment closes.
fn pieces(record: impl FnOnce(&Recorder)) -> (Recorder, Vec<Piece>) {
    let kept = Keep::default();
    let recorder = Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .emitter(kept.clone())
        .build()
        .unwrap();
    record(&recorder);
    let pieces = std::mem::take(&mut *kept.0.lock().unwrap());
    (recorder, pieces)
}

/// Pieces of so many bytes of metadata each.
fn sized<const N: usize>(sizes: [usize; N]) -> (Recorder, Vec<Piece>) {
    pieces(|recorder| {
        for size in sizes {
            let segment = recorder.begin_segment("shop");
            segment.metadata("m", "m".repeat(size));
        }
    })
}

fn listen() -> (UdpSocket, Sender) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let timeout = Some(Duration::from_secs(10));
    socket.set_read_timeout(timeout).unwrap();
    let address = socket.local_addr().unwrap().into();
    let sender = Sender::new(&address, Resolver::default(), limits::DOCUMENT_BYTES);
    (socket, sender)
}

/// A bundle that is more than one call takes, and a socket that was sent the
/// first of it, so that it is known whether it takes many at all.
fn overfull() -> (UdpSocket, Sender, Recorder, Outbox) {
    let (socket, sender) = listen();
    let (recorder, pieces) = sized([8_000; 9]);
    let mut outbox = Outbox::default();
    let Outbox { packer, bundle } = &mut outbox;
    for mut piece in pieces {
        packer.plan(&mut piece, limits::DOCUMENT_BYTES);
        let packed = packer.next(&piece).unwrap();
        let entities = piece.hand_over(packed.entities);
        bundle.push(&piece.common, packed.datagram, entities);
        bundle.end_piece(true);
    }
    let first = Load::One(bundle.first().unwrap());
    sender.udp.lock().send(first);
    (socket, sender, recorder, outbox)
}

/// The next datagram's length, and the document it holds.
fn receive(socket: &UdpSocket) -> (usize, Document) {
    let mut datagram = vec![0; 65_536];
    let bytes = socket.recv(&mut datagram).unwrap();
    let line = datagram.iter().position(|byte| *byte == b'\n').unwrap();
    let document = Document::from_json(&datagram[line + 1..bytes]);
    (bytes, document.unwrap())
}

/// The lengths of so many datagrams.
fn received(socket: &UdpSocket, count: usize) -> Vec<usize> {
    (0..count).map(|_| receive(socket).0).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn small_documents_leave_together_and_arrive_apart() {
    let (socket, sender) = listen();
    let sizes = [500, 500, 520, 560, 7_000, 540, 20_000, 530, 510];
    let (recorder, pieces) = sized(sizes);
    let mut outbox = Outbox::default();
    for piece in pieces {
        sender.send(&mut outbox, piece, &mut Waits::Never);
    }
    assert_eq!(recorder.documents().queued, 2, "the last two wait");
    sender.send_bundle(&mut outbox, &mut Waits::Never);
    let bytes = received(&socket, sizes.len());
    let mut expected = sizes.map(|size| size + bytes[0] - 500);
    // The first goes alone, as nothing is known of the socket; then three
    // together, whose last is the longest. The last two need no blanks.
    (expected[1], expected[2]) = (expected[3], expected[3]);
    assert_eq!(bytes, expected);
    assert_eq!(recorder.documents().sent, sizes.len() as u64);
    assert_eq!(recorder.entities().written, sizes.len() as u64);
}

/// The kernel refuses what is larger than a datagram may be.
#[test]
fn what_cannot_leave_together_leaves_one_by_one() {
    let (socket, sender, recorder, mut outbox) = overfull();
    assert_eq!(sender.udp.lock().joins(), cfg!(target_os = "linux"));
    sender.send_bundle(&mut outbox, &mut Waits::Never);
    assert!(!sender.udp.lock().joins());
    let bytes = received(&socket, 10);
    assert_eq!(bytes, [bytes[0]; 10]);
    assert_eq!(recorder.documents().sent, 9);
    assert_eq!(recorder.entities().written, 9);
}

/// Pieces that were sent used to count as left with the others.
#[test]
fn what_is_left_of_a_bundle_is_what_was_not_sent() {
    let (socket, sender, recorder, mut outbox) = overfull();
    // Too many for one call, at 120 kB a second: together, then one by one.
    let mut bucket = Bucket::new(Pace::new(120_000, 12_500));
    let (queue, mut progress) = (Queue::new(9, 1 << 20), Progress::default());
    queue.close(Instant::now() + Duration::from_millis(1_000));
    let mut waits = Waits::Thread(&queue, &mut progress, &mut bucket);
    sender.send_bundle(&mut outbox, &mut waits);
    let books = recorder.documents();
    let lost = books.lost[&Loss::Shutdown];
    assert!(books.is_balanced() && books.sent > 0, "{books:?}");
    received(&socket, 1 + books.sent as usize);
    let told = format!("{progress:?}");
    assert!(told.contains(&format!(" left: {lost},")), "{told}");
}

#[test]
fn what_is_refused_together_is_lost_together() {
    let (socket, sender) = listen();
    let (recorder, pieces) = sized([500; 5]);
    let mut outbox = Outbox::default();
    for (number, piece) in pieces.into_iter().enumerate() {
        sender.send(&mut outbox, piece, &mut Waits::Never);
        if number == 0 {
            received(&socket, 1);
        }
    }
    drop(socket);
    sender.send_bundle(&mut outbox, &mut Waits::Never);
    let books = recorder.documents();
    assert_eq!((books.sent, books.lost[&Loss::Refused]), (1, 4));
    assert!(books.is_balanced() && recorder.entities().is_balanced());
}

/// What is packed again used to be counted again.
#[test]
fn a_value_is_counted_as_trimmed_once_however_often_it_is_packed() {
    let (recorder, mut pieces) = pieces(|recorder| {
        let segment = recorder.begin_segment("shop");
        segment.metadata("too large for the limit", "m".repeat(60_000));
        segment.metadata("too large for this network", "m".repeat(20_000));
        for _ in 0..4 {
            let child = segment.begin_subsegment("part");
            child.metadata("fits", "m".repeat(2_000));
        }
    });
    let (_socket, sender) = listen();
    sender.udp.lock().takes = TAKES;
    let piece = pieces.pop().unwrap();
    sender.send(&mut Outbox::default(), piece, &mut Waits::Never);
    assert!(sender.limit.load(Ordering::Relaxed) < limits::DOCUMENT_BYTES);
    assert_eq!(recorder.events().trimmed, 2);
    assert_eq!(recorder.entities().written, 5);
    assert!(recorder.documents().is_balanced());
}

/// T-14.
#[test]
fn a_network_that_takes_less_gets_smaller_documents_and_loses_none() {
    let mut tree = BTreeMap::new();
    let (recorder, pieces) = pieces(|recorder| {
        for size in [100, 400] {
            let segment = recorder.begin_segment("shop");
            let id = |entity: &crate::Entity| entity.id().unwrap().to_string();
            tree.insert(id(&segment), None);
            for _ in 0..60 {
                let child = segment.begin_subsegment("part");
                tree.insert(id(&child), Some(id(&segment)));
                child.metadata("m", "m".repeat(size));
                child.in_subsegment("inner", |inner| {
                    tree.insert(id(inner), Some(id(&child)));
                });
            }
        }
    });
    let (socket, sender) = listen();
    sender.udp.lock().takes = TAKES;
    let mut outbox = Outbox::default();
    let mut seen = BTreeSet::new();
    let mut adapted = None;
    for piece in pieces {
        let before = recorder.documents().sent;
        // Inline: what does not go at once is lost.
        sender.send(&mut outbox, piece, &mut Waits::Never);
        // Found out with the first datagram, and never again.
        let limit = sender.limit.load(Ordering::Relaxed);
        assert_eq!(*adapted.get_or_insert(limit), limit);
        for _ in before..recorder.documents().sent {
            let (bytes, document) = receive(&socket);
            assert!(bytes <= TAKES, "{bytes}");
            let mut nested = vec![(document.parent_id.clone(), &document)];
            while let Some((parent, part)) = nested.pop() {
                assert_eq!(tree.get(&part.id), Some(&parent));
                assert!(seen.insert(part.id.clone()), "{} twice", part.id);
                let inner = part.subsegments.iter();
                nested.extend(inner.map(|inner| (Some(part.id.clone()), inner)));
            }
        }
    }
    assert_eq!(seen.len(), tree.len());
    assert!(
        (TAKES / 2..=TAKES).contains(&adapted.unwrap()),
        "{adapted:?}"
    );
    let documents = recorder.documents();
    assert!(documents.is_balanced(), "{documents:?}");
    assert_eq!((documents.lost.len(), documents.queued), (0, 0));
    assert_eq!(recorder.events().trimmed, 0);
    assert_eq!(recorder.entities().written, tree.len() as u64);
}

/// What was sent before an in-progress piece is planned again stays open, and
/// used to stand for what is left.
#[test]
fn what_closed_before_it_is_packed_again_is_no_loss() {
    let child = Arc::<std::sync::Mutex<Option<crate::Subsegment>>>::default();
    let of_hook = child.clone();
    let closes = move |document: &mut Document| {
        if document.name == "child" {
            drop(of_hook.lock().unwrap().take());
        }
        crate::Keep::Send
    };
    let kept = Keep::default();
    let builder = Recorder::builder("test").ignore_environment();
    let builder = builder.sampler(Always).emitter(kept.clone());
    let recorder = builder.hook(closes).build().unwrap();
    let segment = recorder.begin_segment("shop");
    segment.metadata("m", "m".repeat(40_000));
    let large = segment.begin_subsegment("child");
    large.metadata("m", "m".repeat(50_000));
    *child.lock().unwrap() = Some(large);
    recorder.show_open(Duration::ZERO);
    let (_socket, sender) = listen();
    sender.udp.lock().takes = 45_000;
    let piece = kept.0.lock().unwrap().pop().unwrap();
    sender.send(&mut Outbox::default(), piece, &mut Waits::Never);
    let documents = recorder.documents();
    assert_eq!((documents.created, documents.sent), (1, 1), "{documents:?}");
    assert_eq!(documents.lost, BTreeMap::new());
}

/// What finishes behind those in the bundle used to count for them.
#[test]
#[cfg(target_os = "linux")]
fn what_finishes_behind_a_bundle_waits_for_it() {
    let (_socket, sender) = listen();
    let kept = Keep::default();
    let builder = Recorder::builder("test").ignore_environment();
    let builder = builder.sampler(Always).emitter(kept.clone());
    let recorder = builder.build().unwrap();
    for _ in 0..2 {
        recorder.begin_segment("finished").close();
    }
    let shown = recorder.begin_segment("shown");
    recorder.show_open(Duration::ZERO);
    shown.close();
    let queue = Queue::new(9, 1 << 20);
    let mut bucket = Bucket::new(Pace::unlimited());
    let (mut outbox, mut progress) = (Outbox::default(), Progress::default());
    let mut pieces = std::mem::take(&mut *kept.0.lock().unwrap()).into_iter();
    let mut finished = |progress: &mut Progress, give_up: bool| {
        let mut waits = Waits::Thread(&queue, progress, &mut bucket);
        match pieces.next() {
            Some(piece) if give_up => sender.give_up(&mut outbox, piece, &mut waits),
            Some(piece) => sender.send(&mut outbox, piece, &mut waits),
            None => sender.send_bundle(&mut outbox, &mut waits),
        }
        format!("{progress:?}")
    };
    let told = |finished: u64, left: u64| {
        format!("Progress {{ finished: {finished}, left: {left}, hurry: false }}")
    };
    assert_eq!(finished(&mut progress, false), told(1, 0));
    // The second waits for others, so what is shown finishes behind it, and so
    // does what there is no time for.
    assert_eq!(finished(&mut progress, false), told(1, 0));
    assert_eq!(finished(&mut progress, false), told(1, 0));
    assert_eq!(finished(&mut progress, true), told(1, 0));
    assert_eq!(finished(&mut progress, false), told(4, 1));
    assert_eq!(recorder.documents().sent, 2);
}

/// `ENETDOWN`, `ENETUNREACH`, `EHOSTUNREACH` and `EPERM`.
#[cfg(target_os = "linux")]
const AWAY: [i32; 4] = [100, 101, 113, 1];
/// `ENOMEM`, which is no matter of the network.
#[cfg(target_os = "linux")]
const OTHER: i32 = 12;

/// Has the calls to come fail so.
#[cfg(target_os = "linux")]
fn fail(sender: &Sender, codes: impl IntoIterator<Item = i32>) {
    let udp = sender.udp.lock();
    udp.fails.lock().unwrap().extend(codes);
}

/// Each of them used to lose what was at hand.
#[test]
#[cfg(target_os = "linux")]
fn what_has_no_way_is_held_until_there_is_one() {
    for code in AWAY {
        let (socket, sender) = listen();
        let (recorder, pieces) = sized([500; 3]);
        fail(&sender, [code; 9]);
        let queue = Queue::new(9, 1 << 20);
        let mut progress = Progress::default();
        let mut bucket = Bucket::new(Pace::unlimited());
        let mut waits = Waits::Thread(&queue, &mut progress, &mut bucket);
        let mut outbox = Outbox::default();
        for piece in pieces {
            sender.send(&mut outbox, piece, &mut waits);
        }
        sender.send_bundle(&mut outbox, &mut waits);
        received(&socket, 3);
        let documents = recorder.documents();
        assert_eq!((documents.sent, documents.lost.len()), (3, 0), "{code}");
    }
    let error = io::Error::from_raw_os_error(101);
    let text = Unreachable("localhost, UDP port 2000", &error).to_string();
    let expected = "localhost, UDP port 2000 cannot be reached: Network is unreachable";
    assert!(text.starts_with(expected), "{text}");
}

/// Many that leave together are held together.
#[test]
#[cfg(target_os = "linux")]
fn what_has_no_way_together_is_held_one_by_one() {
    let (socket, sender, recorder, mut outbox) = overfull();
    received(&socket, 1);
    fail(&sender, [101; 5]);
    let queue = Queue::new(9, 1 << 20);
    let mut progress = Progress::default();
    let mut bucket = Bucket::new(Pace::unlimited());
    let mut waits = Waits::Thread(&queue, &mut progress, &mut bucket);
    sender.send_bundle(&mut outbox, &mut waits);
    received(&socket, 9);
    assert_eq!(recorder.documents().sent, 9);
}

/// Nobody waits there: once more at once, with a new socket.
#[test]
#[cfg(target_os = "linux")]
fn inline_what_has_no_way_is_tried_once_more() {
    let once = |code: i32, times: usize| {
        let (_socket, sender) = listen();
        let (recorder, pieces) = sized([500]);
        fail(&sender, std::iter::repeat_n(code, times));
        for piece in pieces {
            sender.send(&mut Outbox::default(), piece, &mut Waits::Never);
        }
        let documents = recorder.documents();
        (documents.sent, documents.lost)
    };
    let lost = BTreeMap::from([(Loss::SendError, 1)]);
    for code in AWAY {
        assert_eq!(once(code, 1), (1, BTreeMap::new()), "{code}");
        assert_eq!(once(code, 2), (0, lost.clone()), "{code}");
    }
    assert_eq!(once(OTHER, 1), (0, lost));
}

/// The kernel took it, so it stays sent; what is heard later is an event.
#[test]
#[cfg(target_os = "linux")]
fn a_refusal_that_is_heard_late_is_counted_apart() {
    let (socket, sender) = listen();
    let (recorder, mut pieces) = sized([500, 500]);
    let mut outbox = Outbox::default();
    let second = pieces.pop().unwrap();
    let mut send = |piece| {
        sender.send(&mut outbox, piece, &mut Waits::Never);
        sender.send_bundle(&mut outbox, &mut Waits::Never);
    };
    send(pieces.pop().unwrap());
    assert_eq!(recorder.events().refused_late, 0);
    fail(&sender, [111]); // as the next call is told of the one before
    send(second);
    received(&socket, 2);
    let documents = recorder.documents();
    assert_eq!((documents.created, documents.sent), (2, 2));
    assert_eq!(documents.lost, BTreeMap::new());
    assert_eq!(recorder.events().refused_late, 1);
    assert!(documents.is_balanced());
}

/// The rest of a piece for which there is no time goes the same way.
#[test]
fn what_the_end_comes_between_is_lost_by_it() {
    let (_socket, sender) = listen();
    let (recorder, pieces) = pieces(|recorder| {
        let segment = recorder.begin_segment("shop");
        for _ in 0..3 {
            let child = segment.begin_subsegment("part");
            child.metadata("m", "m".repeat(40_000));
        }
    });
    let queue = Queue::new(9, 1 << 20);
    queue.close(Instant::now());
    let mut progress = Progress::default();
    let mut bucket = Bucket::new(Pace::new(1, 0));
    let mut waits = Waits::Thread(&queue, &mut progress, &mut bucket);
    for piece in pieces {
        sender.send(&mut Outbox::default(), piece, &mut waits);
    }
    let (documents, entities) = (recorder.documents(), recorder.entities());
    assert_eq!(documents.lost, BTreeMap::from([(Loss::Shutdown, 4)]));
    assert_eq!(entities.dropped, BTreeMap::from([(Loss::Shutdown, 4)]));
    assert!(documents.is_balanced() && entities.is_balanced());
}

/// Two addresses of one name.
struct Two(Vec<std::net::SocketAddr>);

impl Resolve for Two {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<std::net::SocketAddr>> {
        Ok(self.0.clone())
    }
}

/// What one network took used to hold for every other.
#[test]
fn another_address_may_take_more() {
    let sockets = [0; 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap());
    let resolver = Resolver::new(Arc::new(Two(addresses.collect())));
    let address = "xray.test:2000".parse().unwrap();
    let sender = Sender::new(&address, resolver, limits::DOCUMENT_BYTES);
    sender.look_up();
    sender.wait_for_address(Instant::now() + Duration::from_secs(10));
    let (recorder, mut pieces) = sized([40_000; 3]);
    let mut outbox = Outbox::default();
    let mut send = || {
        let piece = pieces.pop().unwrap();
        sender.send(&mut outbox, piece, &mut Waits::Never);
        sender.send_bundle(&mut outbox, &mut Waits::Never);
        sender.limit.load(Ordering::Relaxed)
    };
    sender.udp.lock().takes = TAKES;
    assert!(send() < 40_000);
    sender.udp.lock().takes = usize::MAX;
    assert!(send() < 40_000, "the same address");
    let [first, _second] = sockets;
    drop(first);
    assert_eq!(send(), limits::DOCUMENT_BYTES);
    assert_eq!(recorder.documents().sent, 3);
}

/// What went out with its parent is not sent once more.
#[test]
fn what_is_sent_stays_sent_when_the_rest_is_packed_again() {
    let (recorder, pieces) = pieces(|recorder| {
        let segment = recorder.begin_segment("shop");
        segment.metadata("m", "m".repeat(20_000));
        for _ in 0..3 {
            let small = segment.begin_subsegment("small");
            small.in_subsegment("inner", |inner| inner.annotate("fits", true));
        }
        let large = segment.begin_subsegment("large");
        large.metadata("m", "m".repeat(50_000));
    });
    let (socket, sender) = listen();
    sender.udp.lock().takes = 30_000;
    for piece in pieces {
        sender.send(&mut Outbox::default(), piece, &mut Waits::Never);
    }
    let mut names = Vec::new();
    for _ in 0..recorder.documents().sent {
        let document = receive(&socket).1;
        names.push(
            document
                .walk()
                .map(|part| part.name.clone())
                .collect::<Vec<_>>(),
        );
    }
    let mut with_parent = vec!["shop"];
    with_parent.extend(["small", "inner"].repeat(3));
    names.iter_mut().for_each(|names| names.sort_unstable());
    with_parent.sort_unstable();
    assert_eq!(names, [with_parent, vec!["large"]]);
    assert_eq!(recorder.entities().written, 8);
    assert!(recorder.documents().is_balanced() && recorder.entities().is_balanced());
}

/// After a second it used to be sent all the same.
#[test]
fn what_cannot_be_paid_before_the_end_is_not_sent() {
    let (_socket, sender) = listen();
    let (recorder, mut pieces) = sized([500]);
    let queue = Queue::new(9, 1 << 20);
    queue.close(Instant::now() + Duration::from_millis(1_300));
    let mut progress = Progress::default();
    let mut bucket = Bucket::new(Pace::new(100, 0));
    let mut waits = Waits::Thread(&queue, &mut progress, &mut bucket);
    let mut outbox = Outbox::default();
    sender.send(&mut outbox, pieces.pop().unwrap(), &mut waits);
    sender.send_bundle(&mut outbox, &mut waits);
    let documents = recorder.documents();
    assert_eq!(documents.lost, BTreeMap::from([(Loss::Shutdown, 1)]));
    assert_eq!(documents.sent, 0);
}
