//! Packs pieces and hands their documents to the socket.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::Piece;
use super::bundle::{self, Bundle};
use super::pace::Bucket;
use super::queue::{Progress, Queue};
use super::resolve::Resolver;
use super::udp::{Attempt, Load, Udp};
use crate::daemon_address::DaemonAddress;
use crate::encode::pack::{Packed, Packer};
use crate::ledger::{Ledger, Loss};
use crate::limits;
use crate::report::{Report, report};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Between two attempts while nobody listens.
const PROBE_MIN: Duration = Duration::from_millis(1);
const PROBE_MAX: Duration = Duration::from_secs(1);
/// Attempts, a millisecond apart, while the socket's buffer is full.
const FULL_ATTEMPTS: u32 = 100;

/// What whoever sends has of his own.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    packer: Packer,
    bundle: Bundle,
}

/// The way to the daemon.
#[derive(Debug)]
pub(super) struct Sender {
    /// Locked for one call at a time, and by nobody who runs hooks, writes a
    /// log line or waits.
    udp: Mutex<Udp>,
    /// Lowered where the network takes less than `full`.
    limit: AtomicUsize,
    full: usize,
    daemon: String,
}

/// Whether whoever sends may wait: the thread of ours, but not a caller's.
pub(super) enum Waits<'a> {
    Thread(&'a Queue, &'a mut Progress, &'a mut Bucket),
    Never,
}

impl Sender {
    pub(super) fn new(address: &DaemonAddress, resolver: Resolver, limit: usize) -> Self {
        let (host, port) = address.udp();
        Self {
            udp: Mutex::new(Udp::new(address, resolver)),
            limit: AtomicUsize::new(limit),
            full: limit,
            daemon: format!("{host}, UDP port {port}"),
        }
    }

    /// Has the daemon's name looked up, if it is one, before it is needed.
    pub(super) fn look_up(&self) {
        self.udp.lock().look_up();
    }

    /// Waits for the first answer about the daemon's name, at most until then.
    pub(super) fn wait_for_address(&self, until: Instant) {
        self.udp.lock().wait_for_address(until);
    }

    /// Packs and sends. What is small waits in the bundle for what follows, until
    /// `send_bundle`; but not while hooks run, however long they take, and not
    /// what is in progress, as its finished form may take a shorter way.
    pub(super) fn send(&self, outbox: &mut Outbox, mut piece: Piece, waits: &mut Waits<'_>) {
        let Outbox { packer, bundle } = outbox;
        let mut limit = self.limit.load(Ordering::Relaxed);
        packer.plan(&mut piece, limit);
        let may_wait = piece.is_finished() && piece.common.hooks.is_empty();
        while let Some(Packed {
            datagram,
            entities,
            hooked,
        }) = packer.next(&piece)
        {
            if hooked.is_err() {
                piece.decide(entities, hooked);
                packer.advance(&mut piece);
                continue;
            }
            let is_small = may_wait && datagram.len() <= bundle::LONGEST;
            let joins = is_small && self.udp.lock().joins();
            let mut verdict = Ok(());
            if !(joins && bundle.has_room(datagram.len(), waits.burst())) {
                verdict = self.send_rest(bundle, waits);
            }
            if joins && verdict.is_ok() {
                let entities = piece.hand_over(entities);
                bundle.push(&piece.common, datagram, entities);
                packer.advance(&mut piece);
                continue;
            }
            if verdict.is_ok() {
                verdict = self.deliver(Load::One(datagram), &piece.common.ledger, waits);
            }
            if verdict == Err(Loss::TooLarge) && limit > limits::DOCUMENT_BYTES_MIN {
                // The network takes less than was thought: pack again.
                let half = datagram.len() / 2;
                limit = half.clamp(limits::DOCUMENT_BYTES_MIN, limit - 1);
                self.limit.fetch_min(limit, Ordering::Relaxed);
                packer.plan(&mut piece, limit);
                continue;
            }
            piece.decide(entities, verdict);
            if verdict == Err(Loss::Shutdown) {
                // Its time is over: the rest goes the same way, at once.
                return Self::lose(bundle, piece, waits);
            }
            packer.advance(&mut piece);
        }
        Self::end_piece(bundle, waits, true);
    }

    /// Loses a piece for which there is no time, without packing it.
    pub(super) fn give_up(&self, outbox: &mut Outbox, piece: Piece, waits: &mut Waits<'_>) {
        Self::lose(&mut outbox.bundle, piece, waits);
    }

    fn lose(bundle: &mut Bundle, mut piece: Piece, waits: &mut Waits<'_>) {
        piece.lose(Loss::Shutdown);
        Self::end_piece(bundle, waits, false);
    }

    /// A piece is done with, once all that came before it are.
    fn end_piece(bundle: &mut Bundle, waits: &mut Waits<'_>, in_time: bool) {
        if bundle.is_empty() {
            waits.finish(1, in_time);
        } else {
            bundle.end_piece(in_time);
        }
    }

    /// Sends what waits in the bundle.
    pub(super) fn send_bundle(&self, outbox: &mut Outbox, waits: &mut Waits<'_>) {
        // That the time is over is known to whoever asks next.
        let _ = self.send_rest(&mut outbox.bundle, waits);
    }

    /// Empties the bundle; an error if the time of a shutdown was over before.
    fn send_rest(&self, bundle: &mut Bundle, waits: &mut Waits<'_>) -> Result<(), Loss> {
        let mut result = Ok(());
        while let (Some(ledger), Some(first)) = (bundle.ledger(), bundle.first()) {
            let joins = bundle.len() > 1 && self.udp.lock().joins();
            let (load, count) = if joins {
                (Load::All(bundle), bundle.len())
            } else {
                (Load::One(first), 1)
            };
            let verdict = result.and_then(|()| self.deliver(load, ledger, waits));
            if joins && verdict == Err(Loss::TooLarge) {
                continue; // one by one from now on
            }
            if verdict == Err(Loss::Shutdown) {
                result = verdict;
            }
            let done = bundle.decide(count, verdict);
            waits.finish(done.count - done.late, result.is_ok());
            waits.finish(done.late, false);
        }
        result
    }

    /// Makes one call. Another address may take more than the last one did.
    fn attempt(&self, load: Load<'_>) -> Attempt {
        let mut udp = self.udp.lock();
        let attempt = udp.send(load);
        if udp.has_moved() {
            self.limit.store(self.full, Ordering::Relaxed);
        }
        attempt
    }

    /// Sends with one call, when its turn has come. While nobody listens, or there
    /// is no way to the daemon, it is held, as long as that is worth it, and the
    /// queue takes what comes meanwhile.
    fn deliver(&self, load: Load<'_>, ledger: &Ledger, waits: &mut Waits<'_>) -> Result<(), Loss> {
        if !waits.pace(load.kernel_bytes()) {
            return Err(Loss::Shutdown);
        }
        let mut probe = PROBE_MIN;
        let mut full = 0;
        loop {
            let (pause, reason) = match self.attempt(load) {
                Attempt::Sent => return Ok(()),
                Attempt::SentAfterRefusal { of } => {
                    ledger.refuse_late(of, &self.daemon);
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
                    let daemon = &self.daemon;
                    report(Report::Refused, &format_args!("nobody listens at {daemon}"));
                    (probe, Loss::Refused)
                }
                Attempt::NoAddress => (probe, Loss::NoAddress),
                Attempt::Unreachable(error) => {
                    let text = Unreachable(&self.daemon, &error);
                    report(Report::Unreachable, &text);
                    (probe, Loss::SendError)
                }
            };
            match waits.hold(pause) {
                Hold::Again => probe = (probe * 2).min(PROBE_MAX),
                Hold::GiveUp => return Err(reason),
                Hold::Shutdown => return Err(Loss::Shutdown),
            }
        }
    }
}

/// What is said while there is no way to the daemon.
struct Unreachable<'a>(&'a str, &'a io::Error);

impl fmt::Display for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be reached: {}", self.0, self.1)
    }
}

enum Hold {
    Again,
    GiveUp,
    Shutdown,
}

impl Waits<'_> {
    /// So many pieces are done with, whole unless the time was over.
    fn finish(&mut self, pieces: u64, in_time: bool) {
        if let Self::Thread(_, progress, _) = self {
            progress.finish(pieces, in_time);
        }
    }

    /// Bytes of the receiver's buffer that may be taken at once.
    fn burst(&self) -> usize {
        match self {
            Self::Thread(_, _, bucket) => bucket.burst(),
            Self::Never => usize::MAX,
        }
    }

    /// Waits until a datagram may follow; `false` when the time is over.
    fn pace(&mut self, bytes: usize) -> bool {
        let Self::Thread(queue, progress, bucket) = self else {
            return true;
        };
        let mut pause = bucket.take(bytes, progress.hurry(), Instant::now());
        while !pause.is_zero() {
            if !queue.pause(progress, pause) {
                return false;
            }
            pause = bucket.left(progress.hurry(), Instant::now());
        }
        true
    }

    fn hold(&mut self, pause: Duration) -> Hold {
        match self {
            Self::Thread(queue, progress, _) => {
                if queue.hold(progress, pause) {
                    Hold::Again
                } else {
                    Hold::Shutdown
                }
            }
            Self::Never => Hold::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests;
