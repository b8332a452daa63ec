//! The traces that are alive, so that any thread can look at them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::ledger::{stripe, stripes};
use crate::record::trace::{Place, Trace};

/// In stripes, so that threads do not wait for each other.
#[derive(Debug)]
pub(crate) struct Live(Vec<Mutex<LiveStripe>>);

#[derive(Debug, Default)]
#[repr(align(64))] // a stripe is one thread's, mostly
struct LiveStripe {
    traces: Vec<Option<Weak<Trace>>>,
    free: Vec<usize>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self((0..stripes()).map(|_| Mutex::default()).collect())
    }

    pub(crate) fn insert(&self, trace: Weak<Trace>) -> Place {
        let stripe = stripe();
        let mut live = self.0[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match live.free.pop() {
            Some(at) => {
                live.traces[at] = Some(trace);
                (stripe, at)
            }
            None => {
                live.traces.push(Some(trace));
                (stripe, live.traces.len() - 1)
            }
        }
    }

    pub(crate) fn remove(&self, (stripe, at): Place) {
        let mut live = self.0[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        live.traces[at] = None;
        live.free.push(at);
    }

    pub(crate) fn traces(&self) -> Vec<Arc<Trace>> {
        let mut traces = Vec::new();
        for stripe in &self.0 {
            let live = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            traces.extend(live.traces.iter().flatten().filter_map(Weak::upgrade));
        }
        traces
    }
}
