//! The emission thread: takes finished pieces, packs them, sends them at a pace.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::pace::{Bucket, Pace};
use super::queue::{Next, Queue};
use super::resolve::Resolver;
use super::udp::{Attempt, Udp};
use super::{Emitter, Flush, Piece};
use crate::daemon_address::DaemonAddress;
use crate::encode::pack::Packer;
use crate::ledger::Loss;
use crate::limits;
use crate::recorder::{Core, Recorder};
use crate::report::{Report, report};

/// How long what is queued may still be sent after the last recorder is gone.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two attempts while nobody listens.
const PROBE_MIN: Duration = Duration::from_millis(1);
const PROBE_MAX: Duration = Duration::from_secs(1);
/// Attempts, a millisecond apart, while the socket's buffer is full.
const FULL_ATTEMPTS: u32 = 100;

/// Sends on a thread of its own.
#[derive(Debug)]
pub(crate) struct WorkerEmitter {
    queue: Arc<Queue>,
}

impl WorkerEmitter {
    pub(crate) fn start(
        (address, resolver): (&DaemonAddress, Resolver),
        limit: usize,
        (pieces, bytes): (usize, usize),
        pace: Pace,
        watched: Watched,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(pieces, bytes));
        let mut sender = Sender {
            udp: Udp::new(address, resolver),
            limit,
            packer: Packer::default(),
        };
        let of_thread = EndWithThread(queue.clone());
        let thread = thread::Builder::new().name("xray-emit".to_owned());
        thread.spawn(move || {
            let queue = &of_thread.0;
            let mut bucket = Bucket::new(pace);
            let mut batch = VecDeque::new();
            let mut looked = Instant::now();
            while queue.take(&mut batch, watched.interval()) == Next::Send {
                while let Some(mut piece) = batch.pop_front() {
                    let in_time = if queue.is_over() {
                        piece.lose(Loss::Shutdown); // not worth packing any more
                        false
                    } else {
                        sender.send(piece, &mut Waits::Thread(queue, &mut bucket))
                    };
                    queue.finish(in_time);
                }
                if watched
                    .interval()
                    .is_some_and(|interval| looked.elapsed() >= interval)
                {
                    watched.show_open();
                    looked = Instant::now();
                }
            }
        })?;
        Ok(Self { queue })
    }
}

/// The recorder whose open traces the thread looks after, once it is built. How
/// often to look is known before: the thread may be the first to go on.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    age: Option<Duration>,
    core: Arc<OnceLock<Weak<Core>>>,
}

impl Watched {
    /// Shows what has been open for `age`.
    pub(crate) fn new(age: Option<Duration>) -> Self {
        Self {
            age,
            core: Arc::default(),
        }
    }

    pub(crate) fn set(&self, recorder: &Recorder) {
        let _ = self.core.set(Arc::downgrade(&recorder.0));
    }

    /// How often to look.
    fn interval(&self) -> Option<Duration> {
        self.age.map(|age| age.max(Duration::from_millis(10)))
    }

    fn show_open(&self) {
        if let Some(age) = self.age
            && let Some(core) = self.core.get().and_then(Weak::upgrade)
        {
            Recorder(core).show_open(age);
        }
    }
}

/// Nobody waits for a thread that is gone, however it went.
struct EndWithThread(Arc<Queue>);

impl Drop for EndWithThread {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Emitter for WorkerEmitter {
    fn emit(&self, piece: Piece) {
        self.queue.push(piece);
    }

    fn flush(&self, timeout: Duration) -> Flush {
        let (queue, deadline) = (self.queue.clone(), deadline(timeout));
        let target = queue.target();
        Flush::by(move || queue.wait_for(target, deadline))
    }

    fn shutdown(&self, timeout: Duration) -> Flush {
        let (queue, deadline) = (self.queue.clone(), deadline(timeout));
        // The thread ends a little earlier, so that it has told what it lost.
        let margin = (timeout / 4).min(Duration::from_millis(100));
        queue.close(deadline.checked_sub(margin).unwrap_or(deadline));
        Flush::by(move || queue.wait_closed(deadline))
    }
}

impl Drop for WorkerEmitter {
    fn drop(&mut self) {
        self.queue.close(deadline(FAREWELL));
    }
}

/// A year where the clock cannot count as far as asked.
fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    now + timeout.min(year)
}

/// Whether whoever sends may wait: the thread of ours, but not a caller's.
pub(super) enum Waits<'a> {
    Thread(&'a Queue, &'a mut Bucket),
    Never,
}

/// Packs pieces and sends them.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) udp: Udp,
    pub(super) limit: usize,
    pub(super) packer: Packer,
}

impl Sender {
    /// Packs and sends; `false` when a shutdown's time was over before.
    pub(super) fn send(&mut self, mut piece: Piece, waits: &mut Waits<'_>) -> bool {
        self.packer.plan(&mut piece, self.limit);
        while let Some(packed) = self.packer.next(&piece) {
            let (entities, bytes) = (packed.entities, packed.datagram.len());
            let verdict = match packed.hooked {
                Err(reason) => Err(reason),
                Ok(()) if !waits.pace(bytes) => Err(Loss::Shutdown),
                Ok(()) => {
                    match self.udp.deliver(packed.datagram, &piece, waits) {
                        // The network takes less than was thought: pack again.
                        Err(Loss::TooLarge) if self.limit > limits::DOCUMENT_BYTES_MIN => {
                            let half = bytes / 2;
                            self.limit = half.clamp(limits::DOCUMENT_BYTES_MIN, self.limit - 1);
                            self.packer.plan(&mut piece, self.limit);
                            continue;
                        }
                        verdict => verdict,
                    }
                }
            };
            piece.decide(entities, verdict);
            if verdict == Err(Loss::Shutdown) {
                // Its time is over: the rest goes the same way, at once.
                piece.lose(Loss::Shutdown);
                return false;
            }
            self.packer.advance(&mut piece);
        }
        true
    }
}

impl Udp {
    /// Sends one datagram. While nobody listens it is held, as long as that is
    /// worth it, and the queue takes what comes meanwhile.
    fn deliver(
        &mut self,
        datagram: &[u8],
        piece: &Piece,
        waits: &mut Waits<'_>,
    ) -> Result<(), Loss> {
        let mut probe = PROBE_MIN;
        let mut full = 0;
        loop {
            let attempt = self.send(datagram);
            let (pause, reason) = match attempt {
                Attempt::Sent => return Ok(()),
                Attempt::SentAfterRefusal => {
                    piece.common.ledger.refuse_sent_document();
                    return Ok(());
                }
                Attempt::TooLarge => return Err(Loss::TooLarge),
                Attempt::Failed => return Err(Loss::SendError),
                Attempt::Full if full == FULL_ATTEMPTS => return Err(Loss::WouldBlock),
                Attempt::Full => {
                    full += 1;
                    (PROBE_MIN, Loss::WouldBlock)
                }
                Attempt::Refused => {
                    report(Report::Refused, &format_args!("nobody listens at {self}"));
                    (probe, Loss::Refused)
                }
                Attempt::NoAddress => (probe, Loss::NoAddress),
                Attempt::NoSocket => (probe, Loss::SendError),
            };
            match waits.hold(pause) {
                Hold::Again => probe = (probe * 2).min(PROBE_MAX),
                Hold::GiveUp => return Err(reason),
                Hold::Shutdown => return Err(Loss::Shutdown),
            }
        }
    }
}

enum Hold {
    Again,
    GiveUp,
    Shutdown,
}

impl Waits<'_> {
    /// Waits until a datagram may follow; `false` when the time is over.
    fn pace(&mut self, bytes: usize) -> bool {
        let Self::Thread(queue, bucket) = self else {
            return true;
        };
        let pause = bucket.take(bytes, queue.is_half_full(), Instant::now());
        pause.is_zero() || queue.pause(pause)
    }

    fn hold(&mut self, pause: Duration) -> Hold {
        match self {
            Self::Thread(queue, _) if queue.hold(pause) => Hold::Again,
            Self::Thread(..) => Hold::Shutdown,
            Self::Never => Hold::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::UdpSocket;

    use super::*;
    use crate::document::Document;
    use crate::sampling::Always;

    /// Keeps pieces as they cross the queue.
    #[derive(Debug, Clone, Default)]
    struct Keep(Arc<std::sync::Mutex<Vec<Piece>>>);

    impl Emitter for Keep {
        fn emit(&self, piece: Piece) {
            self.0.lock().unwrap().push(piece);
        }
    }

    #[test]
    fn an_age_beyond_all_clocks_shows_nothing_and_loses_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(socket.local_addr().unwrap())
            .show_after(Some(Duration::MAX))
            .build()
            .unwrap();
        recorder.begin_segment("shop").close();
        let flushed = recorder.flush(Duration::from_secs(10)).wait();
        assert!(flushed.is_complete());
        assert_eq!(recorder.documents().sent, 1, "{:?}", recorder.documents());
    }

    /// T-14, a network whose largest datagram is that of macOS.
    #[test]
    fn a_network_that_takes_less_gets_smaller_documents_and_loses_none() {
        const TAKES: usize = 9_216;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let kept = Keep::default();
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .emitter(kept.clone())
            .build()
            .unwrap();
        let mut tree = BTreeMap::new();
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
        let mut sender = Sender {
            udp: Udp::new(&socket.local_addr().unwrap().into(), Resolver::default()),
            limit: limits::DOCUMENT_BYTES,
            packer: Packer::default(),
        };
        sender.udp.takes = TAKES;
        let mut seen = BTreeSet::new();
        let mut adapted = None;
        for piece in std::mem::take(&mut *kept.0.lock().unwrap()) {
            let before = recorder.documents().sent;
            // Inline: what does not go at once is lost.
            assert!(sender.send(piece, &mut Waits::Never));
            // Found out with the first datagram, and never again.
            assert_eq!(*adapted.get_or_insert(sender.limit), sender.limit);
            for _ in before..recorder.documents().sent {
                let mut datagram = vec![0; 65_536];
                let bytes = socket.recv(&mut datagram).unwrap();
                assert!(bytes <= TAKES, "{bytes}");
                let json = &datagram[limits::DATAGRAM_HEADER.len()..bytes];
                let document = Document::from_json(json).unwrap();
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
}
