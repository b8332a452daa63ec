//! From a finished piece of a record to the daemon.
//!
//! An [`Emitter`] never panics and books what becomes of every document. Ours
//! never block the thread that closes a segment; the one that sends there does
//! so on purpose.

mod bundle;
pub(crate) mod capture;
pub(crate) mod deferred;
pub(crate) mod flush;
mod gso;
pub(crate) mod hook;
pub(crate) mod in_hand;
mod inline;
mod pace;
mod piece;
mod queue;
pub(crate) mod resolve;
mod room;
mod sender;
mod udp;
pub(crate) mod way;
pub(crate) mod worker;

pub use flush::{Flush, Flushed};
pub use pace::Pace;
pub use piece::Piece;
pub(crate) use piece::PieceHead;

use std::fmt;
use std::time::Duration;

/// Sends finished pieces of traces somewhere.
///
/// Called on the thread that closes a segment: it must return soon, whatever
/// happens, and must not panic. A forked process calls the same one, which has
/// to cope with that. A piece that is dropped before all of its documents were
/// sent or lost books the rest as [`Loss::Discarded`](crate::Loss::Discarded),
/// so the ledgers balance even then.
pub trait Emitter: fmt::Debug + Send + Sync + 'static {
    /// Takes a finished piece.
    fn emit(&self, piece: Piece);

    /// Waits until everything taken so far was sent or lost; see
    /// [`Recorder::flush`](crate::Recorder::flush). By default there is nothing
    /// to wait for.
    fn flush(&self, timeout: Duration) -> Flush {
        let _ = timeout;
        Flush::done()
    }

    /// Sends what is queued and stops; see
    /// [`Recorder::shutdown`](crate::Recorder::shutdown). By default as
    /// [`flush`](Self::flush).
    fn shutdown(&self, timeout: Duration) -> Flush {
        self.flush(timeout)
    }
}
