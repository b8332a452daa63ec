//! Work of which nothing is recorded: the header for its calls, and what the
//! sampler of its root is to hear.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::clock::{Anchor, since_epoch};
use crate::header::{Sampled, TraceHeader};
use crate::ledger::{STRIPES, stripe};
use crate::process;
use crate::recorder::Core;
use crate::sampling::{Decision, Elapsed, Marks, Outcome};
use crate::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use crate::{SegmentId, TraceId};

/// A part of unsampled work.
#[derive(Debug, Clone)]
pub(crate) enum Unsampled {
    /// There is no segment of ours, or its sampler does not listen.
    Unheard(Work),
    Heard(Heard, Part),
}

/// Which part of a segment that is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The segment itself.
    Root,
    Below,
}

/// What all parts have in common.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// None of what belongs to no recorder.
    pub(crate) core: Option<Arc<Core>>,
    /// What is told to whoever is called.
    pub(crate) header: TraceHeader,
    pub(crate) silence: Silence,
}

/// How far nothing is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// In this trace.
    Trace,
    /// In new segments, too.
    Below,
    /// The same where no trace is: that of the header was made up for calls.
    Nowhere,
}

impl Unsampled {
    pub(crate) fn work(&self) -> &Work {
        match self {
            Self::Unheard(work) => work,
            Self::Heard(heard, _) => &heard.0.work,
        }
    }

    /// Another part of the same.
    pub(crate) fn part(&self, part: Part) -> Self {
        match self {
            Self::Unheard(work) => Self::Unheard(work.clone()),
            Self::Heard(heard, _) => Self::Heard(heard.clone(), part),
        }
    }

    /// Counts a subsegment, and gives it.
    pub(crate) fn begin(&self) -> Self {
        if let Some(core) = &self.work().core {
            let here = core.here(process::last_seen());
            here.common.ledger.begin_unsampled();
        }
        self.part(Part::Below)
    }

    /// What the sampler is to hear, if this is the segment.
    pub(crate) fn marks(&self) -> Option<&Marks> {
        match self {
            Self::Heard(heard, Part::Root) => Some(&heard.0.marks),
            _ => None,
        }
    }

    /// Keeps the segment open. None where nobody hears of it, or it closed.
    pub(crate) fn hold(&self) -> Option<Heard> {
        match self {
            Self::Unheard(_) => None,
            Self::Heard(heard, _) => heard.hold(),
        }
    }

    /// Closes the segment for its owner; not before all holds are gone.
    pub(crate) fn close(&self, end: Option<SystemTime>) {
        if let Self::Heard(heard, Part::Root) = self {
            if let Some(end) = end {
                heard.0.end.store(since_epoch(end), Ordering::Relaxed);
            }
            heard.release();
        }
    }
}

impl Work {
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        let is_real = self.silence != Silence::Nowhere;
        self.header.root().filter(|_| is_real)
    }

    pub(crate) fn id(&self) -> Option<SegmentId> {
        self.trace_id().and(self.header.parent())
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.header.sampled() == Sampled::Yes
    }

    /// Whether new segments are silent, too.
    pub(crate) fn is_suppressed(&self) -> bool {
        self.silence != Silence::Trace
    }
}

/// An unsampled segment as its sampler is to hear of it, shared by all handles.
///
/// Its memory comes from the recorder's [`Pool`] and goes back with the last
/// handle, so that a request allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Heard(Arc<State>);

#[derive(Debug)]
struct State {
    /// Without a recorder while it is in the pool.
    work: Work,
    decision: Decision,
    anchor: Anchor,
    start: i64,
    marks: Marks,
    /// The owner and all holds: it closes with the last of them.
    holders: AtomicU32,
    /// Nanoseconds since the Unix epoch, if the owner said when it ended.
    end: AtomicI64,
    /// Where it is given back, wherever its last handle goes.
    stripe: usize,
}

const NOT_GIVEN: i64 = i64::MIN;

impl Heard {
    pub(crate) fn begin(
        core: &Arc<Core>,
        work: Work,
        decision: Decision,
        start: Option<SystemTime>,
    ) -> Self {
        let anchor = core.clock.now();
        let stripe = stripe();
        let state = State {
            work,
            decision,
            anchor,
            start: anchor.start(start),
            marks: Marks::default(),
            holders: AtomicU32::new(1),
            end: AtomicI64::new(NOT_GIVEN),
            stripe,
        };
        let Some(mut shared) = core.unsampled.take(stripe) else {
            return Self(Arc::new(state));
        };
        match Arc::get_mut(&mut shared) {
            Some(place) => *place = state,
            None => shared = Arc::new(state), // never: the pool had the only handle
        }
        Self(shared)
    }

    fn hold(&self) -> Option<Self> {
        let one_more = |holders| (holders > 0).then_some(holders + 1);
        let holders = &self.0.holders;
        let held = holders.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        held.is_ok().then(|| self.clone())
    }

    /// One holder goes. The sampler hears of the segment when it was the last.
    pub(crate) fn release(&self) {
        // Whatever the others set is seen by the last.
        if self.0.holders.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(core) = &self.0.work.core
        {
            let outcome = self.0.outcome(core);
            core.sampler.closed(&outcome, &core.common.ledger);
        }
    }
}

impl State {
    fn outcome<'a>(&self, core: &'a Core) -> Outcome<'a> {
        let (class, status) = self.marks.read();
        let elapsed = match self.end.load(Ordering::Relaxed) {
            NOT_GIVEN => Elapsed::Since(self.start, &core.clock),
            end => Elapsed::between(self.start, self.anchor.tick_at(end)),
        };
        Outcome {
            trace_id: self.work.trace_id(),
            decision: self.decision.clone(),
            class,
            status,
            elapsed,
        }
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        // Of two that go at once neither may be the last: then it is freed.
        let Some(state) = Arc::get_mut(&mut self.0) else {
            return;
        };
        if let Some(core) = state.work.core.take() {
            core.unsampled.give(state.stripe, &self.0);
        }
    }
}

/// States that were let go of, for segments to come. In stripes, so that threads
/// do not wait for each other; none waits at all.
#[derive(Debug, Default)]
pub(crate) struct Pool([Stripe; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(Mutex<Vec<Arc<State>>>);

/// States kept at most, of a stripe.
const KEPT: usize = 256;

impl Pool {
    fn take(&self, stripe: usize) -> Option<Arc<State>> {
        self.0[stripe].0.try_lock().ok()?.pop()
    }

    fn give(&self, stripe: usize, state: &Arc<State>) {
        if let Ok(mut kept) = self.0[stripe].0.try_lock()
            && kept.len() < KEPT
        {
            kept.push(state.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::emit::capture::Capture;
    use crate::sampling::{Outcome, Sampler, SamplingRequest};

    #[derive(Debug)]
    struct Listens(#[allow(dead_code, reason = "it is kept alive")] Arc<()>);

    impl Sampler for Listens {
        fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
            Decision::unsampled()
        }

        fn listens(&self) -> bool {
            true
        }

        fn closed(&self, _: &Outcome<'_>) {}
    }

    #[test]
    fn a_state_in_the_pool_keeps_no_recorder() {
        let alive = Arc::new(());
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Listens(alive.clone()))
            .emitter(Capture::new(64_000))
            .build()
            .unwrap();
        recorder.begin_segment("test").close();
        drop(recorder);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
