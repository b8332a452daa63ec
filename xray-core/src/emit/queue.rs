//! The queue to the emission thread: bounded in pieces and bytes, the newest
//! dropped, and nobody woken who will wake by himself.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::room::{Goal, Guest, Room};
use super::{Flush, Flushed, Piece};
use crate::ledger::Loss;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, thread};

/// A nap of the emission thread: short enough to be unnoticed in a console,
/// long enough that most closes wake nobody.
const NAP: Duration = Duration::from_millis(20);
/// Naps without work before the thread sleeps until it is woken.
const NAPS: u32 = if cfg!(loom) { 1 } else { 50 };
/// Pieces taken at once.
const BATCH: usize = 64;
/// Pieces that wake the thread from a nap: soon enough to be packed while they
/// are in the processor's caches, so many that the call is shared by enough.
const CROWD: usize = 64;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the emission thread: there is something to do.
    work: Condvar,
    /// Where those are who flush or shut down: something was done, or the
    /// emission thread is gone.
    room: Arc<Room>,
    /// The emission thread.
    thread: OnceLock<thread::ThreadId>,
    /// Somebody waits, or the time may be over: else the emission thread takes
    /// the lock once for a batch, and wakes nobody.
    is_watched: AtomicBool,
    max_pieces: usize,
    max_bytes: usize,
}

/// What the emission thread knows that the queue does not, and the other way
/// round, since it last held the lock.
#[derive(Debug, Default)]
pub(super) struct Progress {
    finished: u64,
    /// Of the finished ones, those lost because the time was over.
    left: u64,
    /// The queue was more than half full.
    hurry: bool,
}

impl Progress {
    /// Pieces are done with, whole unless the time was over.
    pub(super) fn finish(&mut self, pieces: u64, in_time: bool) {
        self.finished += pieces;
        self.left += if in_time { 0 } else { pieces };
    }

    /// Whether to send faster, as what comes next would be lost.
    pub(super) fn hurry(&self) -> bool {
        self.hurry
    }
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Pieces leave in the order in which they came: so many were taken out, and
    /// of these the first so many are finished.
    taken: u64,
    finished: u64,
    /// Those lost because the time was over.
    left: u64,
    mode: Mode,
    rest: Rest,
    /// Counts those who came to wait: nobody's time is spent on a long pause.
    waiters: u64,
    /// Those who wait now for something to be done.
    waiting: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Sends what is there until then; takes nothing more.
    Closing(Instant),
    /// The thread is gone.
    Closed,
    /// The thread is in the process this one was forked from.
    Elsewhere,
}

/// What the emission thread does while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Awake,
    /// Wakes by itself soon.
    Nap,
    Sleep,
}

/// What the emission thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send,
    End,
}

impl State {
    fn new(mode: Mode) -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            taken: 0,
            finished: 0,
            left: 0,
            mode,
            rest: Rest::Awake,
            waiters: 0,
            waiting: 0,
        }
    }

    /// So many pieces came, but for those lost from here when the time was over.
    fn came(&self) -> u64 {
        self.taken + self.pieces.len() as u64
    }

    /// Of the first so many pieces, those that are not finished.
    fn unfinished(&self, first: u64) -> u64 {
        first.min(self.came()).saturating_sub(self.finished)
    }

    /// What a shutdown that ends now leaves.
    fn left(&self) -> u64 {
        self.unfinished(u64::MAX) + self.left
    }
}

impl Queue {
    pub(super) fn new(max_pieces: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State::new(Mode::Open)),
            work: Condvar::default(),
            room: Arc::default(),
            thread: OnceLock::new(),
            is_watched: AtomicBool::new(false),
            max_pieces,
            max_bytes,
        }
    }

    pub(super) fn push(&self, mut piece: Piece) {
        let bytes = piece.estimated_bytes();
        let mut state = self.state.lock_or(|| State::new(Mode::Elsewhere));
        let refused = if state.mode == Mode::Elsewhere {
            Some(Loss::Fork)
        } else if state.mode != Mode::Open {
            Some(Loss::Shutdown)
        } else if self.is_full(&state, bytes) {
            Some(Loss::QueueFull)
        } else {
            None
        };
        if let Some(reason) = refused {
            drop(state);
            piece.lose(reason);
            return;
        }
        state.pieces.push_back(piece);
        state.bytes += bytes;
        let wake = match state.rest {
            Rest::Awake => false,
            Rest::Nap => self.is_urgent(&state),
            Rest::Sleep => true,
        };
        if wake {
            state.rest = Rest::Awake; // nobody else needs to call
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Whether there is no room for so many bytes more. An empty queue takes
    /// anything: it could never be sent otherwise.
    fn is_full(&self, state: &State, bytes: usize) -> bool {
        let is_too_large = state.bytes.saturating_add(bytes) > self.max_bytes;
        state.pieces.len() >= self.max_pieces || (is_too_large && !state.pieces.is_empty())
    }

    /// Whether the emission thread is not to wait for more pieces.
    fn is_urgent(&self, state: &State) -> bool {
        state.pieces.len() >= CROWD
            || self.is_filling(state, 4)
            || state.waiting > 0
            || state.mode != Mode::Open
    }

    /// Whether at least one part in `parts` is used.
    fn is_filling(&self, state: &State, parts: usize) -> bool {
        state.pieces.len() >= self.max_pieces.div_ceil(parts)
            || state.bytes >= self.max_bytes.div_ceil(parts)
    }

    /// For the emission thread: waits for pieces and moves some to `batch`; none
    /// of them when `at_most` is over.
    pub(super) fn take(
        &self,
        batch: &mut VecDeque<Piece>,
        progress: &mut Progress,
        at_most: Option<Duration>,
    ) -> Next {
        // No end where the clock cannot count as far as asked.
        let until = at_most.and_then(|time| Instant::now().checked_add(time));
        let mut naps = 0;
        let mut state = self.state.lock();
        self.tell(&mut state, progress);
        loop {
            // A few wait for more to come: those who leave together cost less.
            let is_due = naps > 0 || self.is_urgent(&state);
            if is_due && !state.pieces.is_empty() {
                progress.hurry = self.is_filling(&state, 2);
                let count = state.pieces.len().min(BATCH);
                batch.extend(state.pieces.drain(..count));
                state.taken += count as u64;
                let bytes: usize = batch.iter().map(Piece::estimated_bytes).sum();
                state.bytes = state.bytes.saturating_sub(bytes);
                return Next::Send;
            }
            if state.mode != Mode::Open {
                return Next::End;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Next::Send;
            }
            let nap = if naps == NAPS {
                (state.rest, naps) = (Rest::Sleep, 1);
                left
            } else {
                (state.rest, naps) = (Rest::Nap, naps + 1);
                Some(left.map_or(NAP, |left| left.min(NAP)))
            };
            state = match nap {
                Some(nap) => self.work.wait_timeout(state, nap),
                None => self.work.wait(state),
            };
            state.rest = Rest::Awake;
        }
    }

    /// Adds what was done since to what is known of it.
    fn tell(&self, state: &mut State, progress: &mut Progress) {
        state.finished += std::mem::take(&mut progress.finished);
        state.left += std::mem::take(&mut progress.left);
        if state.waiting > 0 {
            self.room.ring();
        }
    }

    /// For the emission thread: whether the time of a shutdown is over.
    pub(super) fn is_over(&self, progress: &mut Progress) -> bool {
        if !self.is_watched.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.state.lock();
        self.tell(&mut state, progress);
        let is_closing = state.mode != Mode::Open;
        self.is_watched
            .store(state.waiting > 0 || is_closing, Ordering::Relaxed);
        matches!(state.mode, Mode::Closing(end) if Instant::now() >= end)
    }

    /// For the emission thread: waits while it may send nothing. `false` when
    /// the time of a shutdown is over.
    pub(super) fn pause(&self, progress: &mut Progress, time: Duration) -> bool {
        self.wait(progress, time, false)
    }

    /// For the emission thread: waits while it can send nothing, or until
    /// somebody comes to wait for it. `false` when the time of a shutdown is
    /// over.
    pub(super) fn hold(&self, progress: &mut Progress, time: Duration) -> bool {
        self.wait(progress, time, true)
    }

    fn wait(&self, progress: &mut Progress, time: Duration, impatient: bool) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        self.tell(&mut state, progress);
        let waiters = state.waiters;
        loop {
            progress.hurry = self.is_filling(&state, 2);
            let left = until.saturating_duration_since(Instant::now());
            let left = match state.mode {
                Mode::Open => left,
                Mode::Closing(end) if Instant::now() < end => {
                    left.min(end.saturating_duration_since(Instant::now()))
                }
                _ => return false,
            };
            if left.is_zero() || (impatient && state.waiters != waiters) {
                return true;
            }
            state = self.work.wait_timeout(state, left);
        }
    }

    /// The calling thread is the one that takes the pieces.
    pub(super) fn is_taken_here(&self) {
        let _ = self.thread.set(thread::current().id());
    }

    /// To wait until all pieces that came by now are finished.
    pub(super) fn flush(this: &Arc<Self>, deadline: Instant) -> Flush {
        let first = this.state.lock().came();
        let goal = Finished(this.clone(), first);
        Flush::of(Guest::new(this.room.clone(), Arc::new(goal), deadline))
    }

    /// Takes nothing more, and ends at `deadline` or the earlier one already
    /// set.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = self.state.lock();
        state.mode = match state.mode {
            Mode::Open => Mode::Closing(deadline),
            Mode::Closing(earlier) => Mode::Closing(earlier.min(deadline)),
            gone => gone,
        };
        state.waiters += 1;
        self.is_watched.store(true, Ordering::Relaxed);
        drop(state);
        self.work.notify_one();
    }

    /// To wait until the thread is gone; at the deadline what is queued is
    /// booked as lost.
    pub(super) fn wait_closed(this: &Arc<Self>, deadline: Instant) -> Flush {
        let goal = Gone(this.clone());
        Flush::of(Guest::new(this.room.clone(), Arc::new(goal), deadline))
    }

    fn is_taken_by_this_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    /// Takes out all pieces, to be lost.
    fn empty(state: &mut State) -> VecDeque<Piece> {
        state.bytes = 0;
        state.left += state.pieces.len() as u64;
        std::mem::take(&mut state.pieces)
    }

    /// The emission thread ends, for whatever reason.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.mode = Mode::Closed;
        let left = Self::empty(&mut state);
        drop(state);
        lose_all(left);
        self.room.ring();
    }
}

/// The first so many pieces are finished.
struct Finished(Arc<Queue>, u64);

impl Goal for Finished {
    fn reached(&self) -> Option<Flushed> {
        let state = self.0.state.lock();
        let left = state.unfinished(self.1);
        (left == 0 || state.mode == Mode::Closed).then(|| Flushed::leaving(left))
    }

    fn stand(&self) -> Flushed {
        Flushed::leaving(self.0.state.lock().unfinished(self.1))
    }

    fn is_up_to_this_thread(&self) -> bool {
        self.0.is_taken_by_this_thread()
    }

    fn enter(&self) {
        let mut state = self.0.state.lock();
        state.waiters += 1;
        state.waiting += 1;
        self.0.is_watched.store(true, Ordering::Relaxed);
        drop(state);
        self.0.work.notify_one();
    }

    fn leave(&self) {
        self.0.state.lock().waiting -= 1;
    }
}

/// The emission thread is gone.
struct Gone(Arc<Queue>);

impl Goal for Gone {
    fn reached(&self) -> Option<Flushed> {
        let state = self.0.state.lock();
        (state.mode == Mode::Closed).then(|| Flushed::leaving(state.left()))
    }

    fn stand(&self) -> Flushed {
        Flushed::leaving(self.0.state.lock().left())
    }

    fn give_up(&self) -> Flushed {
        let mut state = self.0.state.lock();
        let lost = Queue::empty(&mut state);
        let left = state.left();
        drop(state);
        lose_all(lost);
        self.0.room.ring();
        Flushed::leaving(left)
    }

    fn is_up_to_this_thread(&self) -> bool {
        self.0.is_taken_by_this_thread()
    }

    fn enter(&self) {}

    fn leave(&self) {}
}

fn lose_all(pieces: VecDeque<Piece>) {
    for mut piece in pieces {
        piece.lose(Loss::Shutdown);
    }
}

#[cfg(all(test, loom))]
mod loom;
#[cfg(test)]
mod tests;
