//! The traces of which something is open, so that any thread can look at them,
//! and so that those nobody closes are bounded.

use std::sync::{Arc, Weak};

use crate::ledger::{STRIPES, stripe};
use crate::record::trace::Trace;
use crate::sync::{Mutex, MutexGuard};

/// In stripes, so that threads do not wait for each other.
#[derive(Debug)]
pub(crate) struct Live {
    stripes: Vec<Mutex<Stripe>>,
    /// Traces in all stripes at most.
    limit: usize,
    /// While each stripe has fewer, the limit is far.
    share: usize,
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
        let limit = limit.max(1);
        let stripes = STRIPES.min(limit);
        Self {
            stripes: (0..stripes).map(|_| Mutex::default()).collect(),
            limit,
            share: limit / stripes,
        }
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe].lock_or(Stripe::default)
    }

    /// Traces that are listed in other stripes. Never asked for while a stripe is
    /// locked.
    fn beside(&self, stripe: usize) -> usize {
        let others = (0..self.stripes.len()).filter(|other| *other != stripe);
        others.map(|other| self.lock(other).len()).sum()
    }

    /// Lists a trace. Where the limit is reached, the oldest of the stripe are
    /// returned, to be given up: a thread alone has all of it, and stripes below
    /// their share look at no other, so that there may be more for a while, but
    /// never twice as many.
    pub(crate) fn insert(&self, trace: Weak<Trace>) -> (Place, Vec<Arc<Trace>>) {
        let stripe = stripe().min(self.stripes.len() - 1);
        let mut oldest = Vec::new();
        let mut live = self.lock(stripe);
        if live.len() >= self.share {
            drop(live);
            let beside = self.beside(stripe);
            live = self.lock(stripe);
            if live.len() + beside >= self.limit {
                oldest = live.take_oldest();
            }
        }
        live.begun += 1;
        let number = live.begun;
        let at = live.free.pop().unwrap_or_else(|| {
            live.entries.push(None);
            live.entries.len() - 1
        });
        live.entries[at] = Some(Entry { number, trace });
        (Place { stripe, at, number }, oldest)
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
    fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn take(&mut self, at: usize, number: u64) -> Option<Weak<Trace>> {
        let entry = self
            .entries
            .get_mut(at)?
            .take_if(|entry| entry.number == number)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::emit::capture::Capture;
    use crate::sampling::Always;

    /// As when a trace closes that another thread is about to give up.
    #[test]
    fn a_place_that_went_to_another_trace_is_left_alone() {
        let live = Live::new(100);
        let (first, _) = live.insert(Weak::new());
        live.lock(first.stripe).take_oldest();
        let (second, _) = live.insert(Weak::new());
        assert_eq!((first.stripe, first.at), (second.stripe, second.at));
        live.remove(first);
        assert_eq!(live.lock(second.stripe).len(), 1);
        live.remove(second);
        assert_eq!(live.lock(second.stripe).len(), 0);
    }

    #[test]
    fn threads_never_open_twice_what_may_be_open() {
        for limit in [1, 2, 3, 9, 20] {
            let live = Live::new(limit);
            let in_turn = 2 * STRIPES;
            for _ in 0..in_turn {
                let insert = || (0..2 * limit).for_each(|_| drop(live.insert(Weak::new())));
                std::thread::scope(|scope| scope.spawn(insert).join().unwrap());
            }
            let listed: usize = (0..live.stripes.len()).map(|at| live.lock(at).len()).sum();
            assert!(listed < 2 * limit, "{listed} of {limit}");
        }
    }

    #[test]
    fn one_thread_may_have_all_that_may_be_open() {
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .emitter(Capture::new(64_000))
            .open_limits(100, 10)
            .build()
            .unwrap();
        let open: Vec<_> = (0..100).map(|_| recorder.begin_segment("many")).collect();
        assert_eq!(recorder.open_entities(), open.len());
        let one_more = recorder.begin_segment("one more");
        assert!(recorder.open_entities() <= 100);
        assert!(recorder.entities().open > 90);
        drop((one_more, open));
        assert!(recorder.entities().is_balanced());
    }
}
