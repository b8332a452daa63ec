//! Finished pieces that wait until what shows their trace as in progress has
//! left.
//!
//! Between the look at what is open and the end of sending it, what closes in
//! that trace is left with the trace, and the thread that sends what is in
//! progress sends it afterwards. The emission thread needs none of this: it
//! takes everything in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::room::{Goal, Guest, Room};
use super::{Flush, Flushed, Piece};
use crate::limits;
use crate::record::Record;
use crate::record::trace::Trace;
use crate::recorder::Common;
use crate::sync::{Mutex, MutexGuard, thread};

/// Those of a recorder, so that a flush knows of them.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    state: Mutex<State>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    unfinished: BTreeSet<u64>,
    /// The threads that will send them, and those who wait.
    senders: Vec<thread::ThreadId>,
    waiting: u32,
}

/// A finished piece that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    piece: Piece,
    mark: Mark,
}

/// Its number among those of the recorder; sent or lost when dropped.
#[derive(Debug)]
struct Mark {
    common: Arc<Common>,
    number: u64,
}

/// What a trace knows of those who show it.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    windows: usize,
    waiting: Vec<Waiting>,
}

/// The time in which a trace is shown, on one thread.
pub(crate) struct Window {
    trace: Arc<Trace>,
    thread: thread::ThreadId,
    is_open: bool,
}

impl Deferred {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock_or(State::default)
    }

    /// To wait until those that wait now are sent or lost, if there are any.
    pub(crate) fn flush(common: &Arc<Common>, deadline: Instant) -> Option<Flush> {
        let state = common.deferred.lock();
        let before = state.begun;
        let is_empty = state.unfinished.is_empty();
        drop(state);
        let room = common.deferred.room.clone();
        let goal = Before(common.clone(), before);
        (!is_empty).then(|| Flush::of(Guest::new(room, Arc::new(goal), deadline)))
    }
}

impl Waiting {
    fn new(piece: Piece) -> Self {
        let common = piece.common.clone();
        let mut state = common.deferred.lock();
        let number = state.begun;
        state.begun += 1;
        state.unfinished.insert(number);
        drop(state);
        let mark = Mark { common, number };
        Self { piece, mark }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let deferred = &self.common.deferred;
        let mut state = deferred.lock();
        state.unfinished.remove(&self.number);
        if state.waiting > 0 {
            deferred.room.ring();
        }
    }
}

impl Shown {
    /// Whether what closes now has to wait. Beyond what a queue holds only what
    /// was shown does: nothing is lost, and no more wait than were open.
    pub(crate) fn defers(&self, record: &Record) -> bool {
        self.windows > 0 && (self.waiting.len() < limits::QUEUE_PIECES || record.was_shown())
    }

    pub(crate) fn defer(&mut self, piece: Piece) {
        self.waiting.push(Waiting::new(piece));
    }

    pub(crate) fn open(&mut self) {
        self.windows += 1;
    }

    /// What is to be sent now; nothing while the trace is shown elsewhere, too.
    pub(crate) fn close(&mut self) -> Vec<Waiting> {
        self.windows = self.windows.saturating_sub(1);
        if self.windows > 0 {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting)
    }
}

impl Window {
    pub(super) fn open(trace: Arc<Trace>) -> Self {
        let thread = thread::current().id();
        trace.core.common.deferred.lock().senders.push(thread);
        trace.begin_showing();
        Self {
            trace,
            thread,
            is_open: true,
        }
    }

    /// What was in progress has left: gives what closed meanwhile to `send`.
    pub(super) fn finish(mut self, mut send: impl FnMut(Piece)) {
        self.is_open = false;
        for Waiting { piece, mark } in self.trace.end_showing() {
            send(piece);
            drop(mark);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.is_open {
            // An emitter panicked: what it would have been given is discarded.
            drop(self.trace.end_showing());
        }
        let senders = &mut self.trace.core.common.deferred.lock().senders;
        if let Some(at) = senders.iter().position(|thread| *thread == self.thread) {
            senders.swap_remove(at);
        }
    }
}

/// The first so many are sent or lost.
struct Before(Arc<Common>, u64);

impl Before {
    fn left(&self) -> usize {
        let state = self.0.deferred.lock();
        state.unfinished.range(..self.1).count()
    }
}

impl Goal for Before {
    fn reached(&self) -> Option<Flushed> {
        (self.left() == 0).then(|| Flushed::leaving(0))
    }

    fn stand(&self) -> Flushed {
        Flushed::leaving(self.left() as u64)
    }

    fn is_up_to_this_thread(&self) -> bool {
        let thread = thread::current().id();
        self.0.deferred.lock().senders.contains(&thread)
    }

    fn enter(&self) {
        self.0.deferred.lock().waiting += 1;
    }

    fn leave(&self) {
        self.0.deferred.lock().waiting -= 1;
    }
}
