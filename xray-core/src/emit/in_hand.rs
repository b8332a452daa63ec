//! Finished pieces between their trace and the end of their emitter: in the
//! hands of the threads that closed them.
//!
//! Each is held in a period, and counted apart for even and odd ones. A period
//! ends when nothing of the one before is held any more. A flush waits until its
//! own has passed: for no piece of a later one, however many there are.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::room::{Goal, Guest, Room};
use super::{Flush, Flushed};
use crate::ledger;
use crate::recorder::Common;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Those of a recorder, so that a flush knows of them.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    period: AtomicU64,
    stripes: [Stripe; STRIPES],
    room: Arc<Room>,
}

/// Pieces of even periods, and of odd ones; each with [`WAITER`] for everybody
/// who waits, so that whoever lets go of one sees both at once.
#[derive(Debug, Default)]
#[repr(align(64))] // a stripe is one thread's, mostly
struct Stripe([AtomicU64; 2]);

/// In a model each is one more thing that events are ordered by.
const STRIPES: usize = if cfg!(loom) { 1 } else { ledger::STRIPES };

const WAITER: u64 = 1 << 32;

#[cfg(not(loom))]
thread_local! {
    /// Pieces in the calling thread's hands.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}
#[cfg(loom)]
loom::thread_local! {
    static DEPTH: Cell<u32> = Cell::new(0);
}

/// A piece in the calling thread's hands.
#[must_use = "the piece is in nobody's hands once this is dropped"]
pub(crate) struct Held<'a> {
    count: &'a AtomicU64,
    room: &'a Arc<Room>,
}

impl InHand {
    /// To be called before the piece, or its trace, is gone from where a flush
    /// looks.
    #[inline]
    pub(crate) fn hold(&self) -> Held<'_> {
        loop {
            let period = self.period.load(SeqCst);
            let stripe = &self.stripes[ledger::stripe() % STRIPES];
            let count = &stripe.0[(period % 2) as usize];
            count.fetch_add(1, SeqCst);
            let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
            let room = &self.room;
            let held = Held { count, room };
            // Else it may have passed already.
            if self.period.load(SeqCst) == period {
                return held;
            }
        }
    }

    /// To wait until those that are held now are let go of, if there are any.
    pub(crate) fn flush(common: &Arc<Common>, deadline: Instant) -> Option<Flush> {
        let period = common.in_hand.period.load(SeqCst);
        let goal = Passed(common.clone(), period);
        if goal.reached().is_some() {
            return None;
        }
        let room = common.in_hand.room.clone();
        Some(Flush::of(Guest::new(room, Arc::new(goal), deadline)))
    }

    /// Ends the period, if nothing is held of the one before.
    fn end_period(&self) -> bool {
        let period = self.period.load(SeqCst);
        let next = period + 1;
        let is_over = self.held(next % 2) == 0;
        if is_over {
            // Unless another thread did, which is as good.
            let _ = self.period.compare_exchange(period, next, SeqCst, SeqCst);
        }
        is_over
    }

    fn held(&self, parity: u64) -> u64 {
        let counts = self.stripes.iter().map(|stripe| &stripe.0[parity as usize]);
        counts.map(|count| count.load(SeqCst) % WAITER).sum()
    }

    fn counts(&self) -> impl Iterator<Item = &AtomicU64> {
        self.stripes.iter().flat_map(|stripe| &stripe.0)
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
        if self.count.fetch_sub(1, SeqCst) >= WAITER {
            self.room.ring();
        }
    }
}

/// Nothing of that period, and of those before, is held.
struct Passed(Arc<Common>, u64);

impl Goal for Passed {
    fn reached(&self) -> Option<Flushed> {
        let hands = &self.0.in_hand;
        // The period after it has ended.
        while hands.period.load(SeqCst) < self.1 + 2 {
            if !hands.end_period() {
                return None;
            }
        }
        Some(Flushed::leaving(0))
    }

    fn stand(&self) -> Flushed {
        let hands = &self.0.in_hand;
        let held = || Flushed::leaving(hands.held(0) + hands.held(1));
        self.reached().unwrap_or_else(held)
    }

    /// An emitter, a hook or a sampler would wait for what it holds up itself.
    fn is_up_to_this_thread(&self) -> bool {
        DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0)
    }

    fn enter(&self) {
        for count in self.0.in_hand.counts() {
            count.fetch_add(WAITER, SeqCst);
        }
    }

    fn leave(&self) {
        for count in self.0.in_hand.counts() {
            count.fetch_sub(WAITER, SeqCst);
        }
    }
}
