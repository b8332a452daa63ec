//! Where a segment begins: whether it is recorded, and in which trace.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::Core;
use crate::TraceId;
use crate::clock::since_epoch;
use crate::context::suppression;
use crate::entity::{Entity, Inner};
use crate::entropy::IdSequence;
use crate::handle::Segment;
use crate::header::{Sampled, TraceHeader};
use crate::process;
use crate::record::trace::{Start, Trace};
use crate::sampling::{Decision, RequestFacts, SamplingRequest};
use crate::unsampled::{Heard, Part, Silence, Unsampled, Work};

/// A segment about to begin.
#[must_use = "nothing begins before `begin`"]
pub struct SegmentBuilder<'a> {
    core: &'a Arc<Core>,
    name: &'a str,
    header: Option<&'a TraceHeader>,
    decision: Option<Decision>,
    facts: &'a dyn RequestFacts,
    start: Option<SystemTime>,
}

impl<'a> SegmentBuilder<'a> {
    pub(super) fn new(core: &'a Arc<Core>, name: &'a str) -> Self {
        Self {
            core,
            name,
            header: None,
            decision: None,
            facts: &(),
            start: None,
        }
    }

    /// The caller's headers: its trace goes on, and its decision, if it made
    /// one, holds unless [`decide`](Self::decide) overrules it.
    pub fn header(mut self, header: &'a TraceHeader) -> Self {
        self.header = Some(header);
        self
    }

    /// Decides here and now, whatever the caller's header says and without
    /// asking the sampler: code beats header beats sampler. Only inside
    /// [`suppressed`](crate::suppressed), and where the SDK is switched off, is
    /// nothing recorded all the same. By default header and sampler decide.
    ///
    /// ```
    /// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
    /// use xray_core::Decision;
    ///
    /// let refund = recorder.segment("refund").decide(Decision::sampled()).begin();
    /// let probe = recorder.segment("probe").decide(Decision::unsampled()).begin();
    /// # assert!(refund.is_sampled() && !probe.is_sampled());
    /// ```
    pub fn decide(mut self, decision: Decision) -> Self {
        self.decision = Some(decision);
        self
    }

    /// What the sampler may look at.
    pub fn request(mut self, facts: &'a dyn RequestFacts) -> Self {
        self.facts = facts;
        self
    }

    /// The time it began, for what is reported after the fact. Now by default.
    pub fn start_at(mut self, start: SystemTime) -> Self {
        self.start = Some(start);
        self
    }

    /// Begins it: its start is the moment after the decision, unless it was
    /// given.
    pub fn begin(self) -> Segment {
        let core = self.core.here(process::last_seen());
        let absent = TraceHeader::default();
        let header = self.header.unwrap_or(&absent);
        if core.disabled {
            // As if it were not there.
            let decision = Decision::unsampled();
            return core.unrecorded(header.clone(), Silence::Trace, decision, self.start);
        }
        let [random, words @ ..] = core.entropy.draw::<4>();
        if let Some(around) = suppression() {
            let header = unsampled(&around.header, words, || core.clock.wall());
            return core.unrecorded(header, around.silence, Decision::unsampled(), self.start);
        }
        let name = core.name_for(self.name);
        let mut asked_at = None;
        let decision = match (self.decision, header.sampled()) {
            (Some(decision), _) => decision,
            (None, Sampled::Yes) => Decision::sampled(),
            (None, Sampled::No) => Decision::unsampled(),
            (None, _) => {
                let now = *asked_at.insert(core.clock.wall());
                let request = SamplingRequest {
                    service: name,
                    service_type: core.common.origin.as_deref(),
                    trace_id: header.root(),
                    facts: self.facts,
                    now,
                    random,
                };
                core.sampler.decide(&request, &core.common.ledger)
            }
        };
        if !(decision.record || decision.sampled) {
            let now = || asked_at.unwrap_or_else(|| core.clock.wall());
            let header = unsampled(header, words, now);
            return core.unrecorded(header, Silence::Trace, decision, self.start);
        }
        let [high, low, seed] = core.entropy.unique(words);
        // That looked at the process id.
        let core = core.here(process::last_seen());
        // One moment on both scales, whatever time the sampler took.
        let anchor = core.clock.now();
        let fresh = || TraceId::fresh(anchor.wall, high, low);
        let start = Start {
            core: core.clone(),
            trace_id: header.root().unwrap_or_else(fresh),
            decision,
            carried: header.carried(),
            anchor,
            seed,
        };
        let (trace, key) = Trace::with_segment(start, name, header.parent(), self.start);
        Segment::new(Inner::Recorded(trace, key))
    }
}

/// What a segment tells of which nothing is recorded: the caller's trace or a
/// fresh one, and that it is not sampled.
fn unsampled(
    header: &TraceHeader,
    [high, low, seed]: [u64; 3],
    now: impl FnOnce() -> SystemTime,
) -> TraceHeader {
    let fresh = || TraceId::fresh(since_epoch(now()), high, low);
    let trace_id = header.root().unwrap_or_else(fresh);
    let id = IdSequence(seed).next();
    TraceHeader::from_carried(trace_id, Some(id), Sampled::No, header.carried())
}

impl fmt::Debug for SegmentBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentBuilder")
            .field("name", &self.name)
            .field("header", &self.header)
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The name a segment gets: of the recorder's own, the operator's holds.
    fn name_for<'a>(&'a self, name: &'a str) -> &'a str {
        match &self.replaced_name {
            Some(replaced) if replaced == name => &self.name,
            _ => name,
        }
    }

    /// An entity below which nothing is recorded. The ledgers leave it out.
    pub(super) fn suppress(&self, header: &TraceHeader) -> Entity {
        let header = match header.root() {
            // Off, headers go on as they came.
            _ if self.disabled => header.clone(),
            Some(_) => header.clone().with_sampled(Sampled::No),
            None => {
                let [high, low, seed] = self.entropy.draw();
                let trace_id = TraceId::fresh(self.clock.now().wall, high, low);
                let id = IdSequence(seed).next();
                TraceHeader::from_carried(trace_id, Some(id), Sampled::No, header.carried())
            }
        };
        Entity(Inner::Unsampled(Unsampled::Unheard(Work {
            core: None,
            header,
            silence: Silence::Below,
        })))
    }

    /// A facade for the upstream segment that the header names, if it names one.
    pub(super) fn facade(self: &Arc<Self>, header: &TraceHeader) -> Segment {
        let core = self.here(process::last_seen());
        if core.disabled {
            return core.facade_unsampled(header, Silence::Trace);
        }
        if let Some(around) = suppression() {
            return core.facade_unsampled(&around.header, around.silence);
        }
        let (Some(trace_id), Some(parent), Sampled::Yes) =
            (header.root(), header.parent(), header.sampled())
        else {
            return core.facade_unsampled(header, Silence::Trace);
        };
        let [seed] = core.entropy.draw_unique();
        let core = core.here(process::last_seen());
        let start = Start {
            core: core.clone(),
            trace_id,
            decision: Decision::sampled(),
            carried: header.carried(),
            anchor: core.clock.now(),
            seed,
        };
        let (trace, key) = Trace::with_facade(start, parent);
        Segment::new(Inner::Recorded(trace, key))
    }

    /// Somebody else's segment, below which nothing is recorded. The header goes
    /// on as it is.
    fn facade_unsampled(self: &Arc<Self>, header: &TraceHeader, silence: Silence) -> Segment {
        self.common.ledger.begin_unsampled();
        let work = Work {
            core: Some(self.clone()),
            header: header.clone(),
            silence,
        };
        Segment::new(Inner::Unsampled(Unsampled::Unheard(work)))
    }

    /// A segment of which nothing is recorded. Its header goes on as it is.
    fn unrecorded(
        self: &Arc<Self>,
        header: TraceHeader,
        silence: Silence,
        decision: Decision,
        start: Option<SystemTime>,
    ) -> Segment {
        self.common.ledger.begin_unsampled();
        let work = Work {
            core: Some(self.clone()),
            header,
            silence,
        };
        let unsampled = if self.sampler.listens() {
            Unsampled::Heard(Heard::begin(self, work, decision, start), Part::Root)
        } else {
            Unsampled::Unheard(work)
        };
        Segment::new(Inner::Unsampled(unsampled))
    }
}
