//! Where a segment begins: whether it is recorded, and in which trace.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::Core;
use crate::TraceId;
use crate::context::suppression;
use crate::entity::{Entity, Inner, Unsampled};
use crate::entropy::IdSequence;
use crate::handle::{Segment, UnsampledRoot};
use crate::header::{Sampled, TraceHeader};
use crate::process;
use crate::record::trace::{Start, Trace};
use crate::sampling::{Decision, RequestFacts, SamplingRequest};

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

    /// Begins it.
    pub fn begin(self) -> Segment {
        let core = self.core.here(process::last_seen());
        let now = core.clock.wall();
        let absent = TraceHeader::default();
        let header = self.header.unwrap_or(&absent);
        if core.disabled {
            return core.passing(header, now);
        }
        let [random, words @ ..] = core.entropy.draw::<4>();
        if let Some(entity) = suppression() {
            let header = entity.header();
            return core.unsampled(&header, now, words, Decision::unsampled(), true);
        }
        let decision = match (self.decision, header.sampled()) {
            (Some(decision), _) => decision,
            (None, Sampled::Yes) => Decision::sampled(),
            (None, Sampled::No) => Decision::unsampled(),
            (None, _) => {
                let request = SamplingRequest {
                    service: self.name,
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
            return core.unsampled(header, now, words, decision, false);
        }
        let [high, low, seed] = core.entropy.unique(words);
        // That looked at the process id.
        let core = core.here(process::last_seen());
        let start = Start {
            core: core.clone(),
            trace_id: header
                .root()
                .unwrap_or_else(|| TraceId::fresh(now, high, low)),
            decision,
            carried: header.carried(),
            anchor: core.clock.anchor(now),
            seed,
        };
        let (trace, key) = Trace::with_segment(start, self.name, header.parent(), self.start);
        Segment::recorded(trace, key)
    }
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
    /// A segment that somebody else sends, if there is one to be below.
    pub(super) fn facade(self: &Arc<Self>, header: &TraceHeader) -> Segment {
        let now = self.clock.wall();
        match (header.root(), header.parent(), header.sampled()) {
            (Some(trace_id), Some(parent), Sampled::Yes) if !self.disabled => {
                let [seed] = self.entropy.draw_unique();
                let core = self.here(process::last_seen());
                let start = Start {
                    core: core.clone(),
                    trace_id,
                    decision: Decision::sampled(),
                    carried: header.carried(),
                    anchor: core.clock.anchor(now),
                    seed,
                };
                let (trace, key) = Trace::with_facade(start, parent);
                Segment::recorded(trace, key)
            }
            _ => self.passing(header, now),
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
                let trace_id = TraceId::fresh(self.clock.wall(), high, low);
                let id = IdSequence(seed).next();
                TraceHeader::from_carried(trace_id, Some(id), Sampled::No, header.carried())
            }
        };
        Entity(Inner::Unsampled(Unsampled {
            core: None,
            header,
            suppressed: true,
        }))
    }

    /// A segment of which nothing is recorded; whoever is called is told so.
    fn unsampled(
        self: &Arc<Self>,
        header: &TraceHeader,
        now: SystemTime,
        [high, low, seed]: [u64; 3],
        decision: Decision,
        suppressed: bool,
    ) -> Segment {
        self.common.ledger.begin_unsampled();
        let trace_id = header
            .root()
            .unwrap_or_else(|| TraceId::fresh(now, high, low));
        let id = IdSequence(seed).next();
        let header = TraceHeader::from_carried(trace_id, Some(id), Sampled::No, header.carried());
        let entity = Unsampled {
            core: Some(self.clone()),
            header,
            suppressed,
        };
        Segment::unsampled(entity, UnsampledRoot::new(decision, now))
    }

    /// A segment of which nothing is recorded, as if it were not there: the
    /// caller's header goes on as it came.
    fn passing(self: &Arc<Self>, header: &TraceHeader, now: SystemTime) -> Segment {
        self.common.ledger.begin_unsampled();
        let entity = Unsampled {
            core: Some(self.clone()),
            header: header.clone(),
            suppressed: false,
        };
        Segment::unsampled(entity, UnsampledRoot::new(Decision::unsampled(), now))
    }
}
