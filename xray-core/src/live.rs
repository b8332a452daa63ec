//! The traces that are alive, so that any thread can look at them, and so that
//! those nobody closes are bounded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::ledger::{stripe, stripes};
use crate::record::trace::Trace;

/// In stripes, so that threads do not wait for each other.
#[derive(Debug)]
pub(crate) struct Live {
    stripes: Vec<Mutex<Stripe>>,
    /// Traces in one stripe at most.
    limit: usize,
}

#[derive(Debug, Default)]
#[repr(align(64))] // a stripe is one thread's, mostly
struct Stripe {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    begun: u64,
}

#[derive(Debug)]
struct Entry {
    /// Counts up, so that the oldest can be told.
    number: u64,
    trace: Weak<Trace>,
}

/// Where a trace is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    stripe: usize,
    at: usize,
    number: u64,
}

impl Live {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            stripes: (0..stripes()).map(|_| Mutex::default()).collect(),
            limit: limit.div_ceil(stripes()).max(1),
        }
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        let stripe = &self.stripes[stripe];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, trace: Weak<Trace>) -> Place {
        let stripe = stripe();
        let mut live = self.lock(stripe);
        if live.entries.len() - live.free.len() >= self.limit {
            let oldest = live.take_oldest();
            drop(live);
            for trace in oldest {
                trace.give_up();
            }
            live = self.lock(stripe);
        }
        live.begun += 1;
        let number = live.begun;
        let entry = Some(Entry { number, trace });
        let at = match live.free.pop() {
            Some(at) => {
                live.entries[at] = entry;
                at
            }
            None => {
                live.entries.push(entry);
                live.entries.len() - 1
            }
        };
        Place { stripe, at, number }
    }

    pub(crate) fn remove(&self, place: Place) {
        self.lock(place.stripe).take(place.at, place.number);
    }

    pub(crate) fn traces(&self) -> Vec<Arc<Trace>> {
        let mut traces = Vec::new();
        for stripe in 0..self.stripes.len() {
            let live = self.lock(stripe);
            let entries = live.entries.iter().flatten();
            traces.extend(entries.filter_map(|entry| entry.trace.upgrade()));
        }
        traces
    }
}

impl Stripe {
    fn take(&mut self, at: usize, number: u64) -> Option<Weak<Trace>> {
        let entry = self.entries[at].take_if(|entry| entry.number == number)?;
        self.free.push(at);
        Some(entry.trace)
    }

    /// Takes the oldest out: several at once, so that looking for them is paid
    /// by many that begin.
    fn take_oldest(&mut self) -> Vec<Arc<Trace>> {
        let entries = self.entries.iter().enumerate();
        let mut numbers: Vec<(u64, usize)> = entries
            .filter_map(|(at, entry)| entry.as_ref().map(|entry| (entry.number, at)))
            .collect();
        numbers.sort_unstable();
        numbers.truncate(numbers.len() / 16 + 1);
        let oldest = numbers
            .into_iter()
            .filter_map(|(number, at)| self.take(at, number));
        oldest.filter_map(|trace| trace.upgrade()).collect()
    }
}
