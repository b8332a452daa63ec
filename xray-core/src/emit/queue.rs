//! The queue to the emission thread: bounded in pieces and bytes, the newest
//! dropped, and nobody woken who will wake by himself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Flushed, Piece};
use crate::ledger::Loss;
use crate::sync::{Condvar, Mutex};

/// A nap of the emission thread: short enough to be unnoticed in a console,
/// long enough that most closes wake nobody.
const NAP: Duration = Duration::from_millis(10);
/// Naps without work before the thread sleeps until it is woken.
const NAPS: u32 = if cfg!(loom) { 1 } else { 100 };
/// Pieces taken at once.
const BATCH: usize = 32;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the emission thread: there is something to do.
    work: Condvar,
    /// For those who flush: something was done.
    done: Condvar,
    max_pieces: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    pushed: u64,
    finished: u64,
    /// Of the finished ones, those lost because the time was over.
    left: u64,
    mode: Mode,
    /// The thread does not wake by itself soon.
    asleep: bool,
    /// Counts those who came to wait: nobody's time is spent on a long pause.
    waiters: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Sends what is there until then; takes nothing more.
    Closing(Instant),
    /// The thread is gone.
    Closed,
}

/// What the emission thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send,
    End,
}

impl Queue {
    pub(super) fn new(max_pieces: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                pieces: VecDeque::new(),
                bytes: 0,
                pushed: 0,
                finished: 0,
                left: 0,
                mode: Mode::Open,
                asleep: false,
                waiters: 0,
            }),
            work: Condvar::default(),
            done: Condvar::default(),
            max_pieces,
            max_bytes,
        }
    }

    pub(super) fn push(&self, mut piece: Piece) {
        let bytes = piece.estimated_bytes();
        let mut state = self.state.lock();
        let refused = if state.mode != Mode::Open {
            Some(Loss::Shutdown)
        } else if state.pieces.len() >= self.max_pieces || state.bytes + bytes > self.max_bytes {
            Some(Loss::QueueFull)
        } else {
            None
        };
        if let Some(reason) = refused {
            drop(state);
            piece.lose(reason);
            return;
        }
        let was_low = !self.is_filling(&state, 4);
        state.pieces.push_back(piece);
        state.bytes += bytes;
        state.pushed += 1;
        let wake = std::mem::take(&mut state.asleep) || (was_low && self.is_filling(&state, 4));
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Whether at least one part in `parts` is used.
    fn is_filling(&self, state: &State, parts: usize) -> bool {
        state.pieces.len() >= self.max_pieces.div_ceil(parts)
            || state.bytes >= self.max_bytes.div_ceil(parts)
    }

    /// Whether the emission thread should hurry.
    pub(super) fn is_half_full(&self) -> bool {
        let state = self.state.lock();
        self.is_filling(&state, 2)
    }

    /// For the emission thread: waits for pieces and moves some to `batch`; none
    /// of them when `at_most` is over.
    pub(super) fn take(&self, batch: &mut VecDeque<Piece>, at_most: Option<Duration>) -> Next {
        // No end where the clock cannot count as far as asked.
        let until = at_most.and_then(|time| Instant::now().checked_add(time));
        let mut naps = 0;
        let mut state = self.state.lock();
        loop {
            if !state.pieces.is_empty() {
                let count = state.pieces.len().min(BATCH);
                batch.extend(state.pieces.drain(..count));
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
            state.asleep = naps == NAPS;
            let nap = if state.asleep { left } else { Some(NAP) };
            naps = if state.asleep { 0 } else { naps + 1 };
            state = match nap {
                Some(nap) => self.work.wait_timeout(state, nap),
                None => self.work.wait(state),
            };
            state.asleep = false;
        }
    }

    /// For the emission thread: whether the time of a shutdown is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.lock().mode, Mode::Closing(end) if Instant::now() >= end)
    }

    /// For the emission thread: one piece is done with, whole unless the time
    /// was over.
    pub(super) fn finish(&self, in_time: bool) {
        let mut state = self.state.lock();
        state.finished += 1;
        state.left += u64::from(!in_time);
        drop(state);
        self.done.notify_all();
    }

    /// For the emission thread: waits while it may send nothing. `false` when
    /// the time of a shutdown is over.
    pub(super) fn pause(&self, time: Duration) -> bool {
        self.wait(time, false)
    }

    /// For the emission thread: waits while it can send nothing, or until
    /// somebody comes to wait for it. `false` when the time of a shutdown is
    /// over.
    pub(super) fn hold(&self, time: Duration) -> bool {
        self.wait(time, true)
    }

    fn wait(&self, time: Duration, impatient: bool) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        let waiters = state.waiters;
        loop {
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

    /// How much was pushed by now, to wait for.
    pub(super) fn target(&self) -> u64 {
        self.state.lock().pushed
    }

    /// Waits until that much is finished.
    pub(super) fn wait_for(&self, target: u64, deadline: Instant) -> Flushed {
        let mut state = self.state.lock();
        state.waiters += 1;
        self.work.notify_one();
        while state.finished < target && state.mode != Mode::Closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.done.wait_timeout(state, left);
        }
        Flushed::leaving(target.saturating_sub(state.finished))
    }

    /// Takes nothing more, and ends at `deadline` or the earlier one already
    /// set.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = self.state.lock();
        state.mode = match state.mode {
            Mode::Open => Mode::Closing(deadline),
            Mode::Closing(earlier) => Mode::Closing(earlier.min(deadline)),
            Mode::Closed => Mode::Closed,
        };
        state.waiters += 1;
        drop(state);
        self.work.notify_one();
    }

    /// Waits until the thread is gone; at the deadline books what is queued as
    /// lost.
    pub(super) fn wait_closed(&self, deadline: Instant) -> Flushed {
        let mut state = self.state.lock();
        while state.mode != Mode::Closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.done.wait_timeout(state, left);
        }
        let left = Self::empty(&mut state);
        let remaining = state.pushed - state.finished + state.left;
        drop(state);
        lose_all(left);
        self.done.notify_all();
        Flushed::leaving(remaining)
    }

    /// Takes out all pieces, as finished.
    fn empty(state: &mut State) -> VecDeque<Piece> {
        state.bytes = 0;
        state.finished += state.pieces.len() as u64;
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
        self.done.notify_all();
    }
}

fn lose_all(pieces: VecDeque<Piece>) {
    for mut piece in pieces {
        piece.lose(Loss::Shutdown);
    }
}
