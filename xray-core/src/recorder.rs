//! The recorder: configuration, sampler, emitter and ledgers of one service,
//! and the place where segments begin.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use crate::TraceId;
use crate::clock::{Clock, since_epoch};
use crate::config::RecorderBuilder;
use crate::context::suppression;
use crate::document::Document;
use crate::emit::capture::Capture;
use crate::emit::hook::Hooks;
use crate::emit::way::{Stranded, Way};
use crate::emit::worker::Watched;
use crate::emit::{Emitter, Flush, Piece};
use crate::entity::Unsampled;
use crate::entropy::{Entropy, IdSequence};
use crate::error::ConfigError;
use crate::handle::{Segment, UnsampledRoot};
use crate::header::{Sampled, TraceHeader};
use crate::ledger::{Documents, Entities, Events, Ledger, Loss};
use crate::limits;
use crate::live::Live;
use crate::process;
use crate::record::Spare;
use crate::record::trace::{Start, Trace};
use crate::sampling::{Always, Decision, Guarded, RequestFacts, SamplingRequest};

/// Records what one service does, and sends it to the X-Ray daemon.
///
/// Cheap to clone; all clones are one recorder. When the last one and
/// everything begun from it is gone, what is queued is still sent, but nobody
/// waits for it: call [`flush`](Self::flush) or [`shutdown`](Self::shutdown)
/// before the process ends.
///
/// In a forked process a recorder begins anew, with a queue, a thread, a socket
/// and books of its own: at the first segment that is recorded there, or when
/// it is asked for its books. What was begun before the fork belongs to the
/// parent, which sends and counts it. The child sends nothing of it; what its
/// handles to it would have sent is lost as [`Loss::Fork`](crate::Loss::Fork)
/// once the recorder has begun anew.
///
/// ```no_run
/// use std::time::Duration;
/// use xray_core::Recorder;
///
/// let recorder = Recorder::builder("shop").build()?;
/// let segment = recorder.begin_segment("nightly job");
/// segment.annotate("region", "eu");
/// segment.in_subsegment("load", |load| load.annotate("rows", 7_u64));
/// segment.close();
/// recorder.flush(Duration::from_secs(1)).wait();
/// # Ok::<(), xray_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Recorder(pub(crate) Arc<Core>);

/// What every trace of a recorder needs.
pub(crate) struct Core {
    pub(crate) name: String,
    /// Off by the operator: nothing is recorded, headers are passed on.
    pub(crate) disabled: bool,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) sampler: Guarded,
    pub(crate) way: Way,
    pub(crate) emitter: Arc<dyn Emitter>,
    pub(crate) live: Live,
    pub(crate) limits: OpenLimits,
    pub(crate) common: Arc<Common>,
    pub(crate) warnings: Vec<ConfigError>,
    /// The one this was made in: in any other the emission thread is missing,
    /// and whoever held a lock holds it for ever.
    pub(crate) process: u32,
    pub(crate) heir: Heir,
}

/// What stands in for a [`Core`] in a forked process, once it was needed there.
#[derive(Default)]
pub(crate) struct Heir {
    /// The process that makes it. If that is forked meanwhile, its child finds
    /// something half made that will never be done.
    maker: AtomicU32,
    core: OnceLock<Arc<Core>>,
}

/// What may be open at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenLimits {
    pub(crate) open_traces: usize,
    /// Of one trace.
    pub(crate) open_entities: usize,
}

/// What even a finished piece on its way out needs.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    pub(crate) service_version: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) spare: Spare,
}

impl Common {
    /// The same, with nothing counted yet.
    fn anew(&self) -> Self {
        Self {
            ledger: Ledger::default(),
            service_version: self.service_version.clone(),
            origin: self.origin.clone(),
            hooks: self.hooks.clone(),
            spare: Spare::default(),
        }
    }
}

impl Recorder {
    /// Prepares a recorder for the service of that name.
    pub fn builder(name: impl Into<String>) -> RecorderBuilder {
        RecorderBuilder::new(name.into())
    }

    /// A recorder for tests that samples everything and keeps what it would
    /// send in memory. It reads no environment variables.
    ///
    /// ```
    /// let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// recorder.begin_segment("shop").close();
    /// assert_eq!(capture.documents()[0].name, "shop");
    /// ```
    pub fn capture(name: &str) -> (Self, Capture) {
        let capture = Capture::new(limits::DOCUMENT_BYTES);
        let builder = Self::builder(name).ignore_environment().sampler(Always);
        (builder.captured(capture.clone()), capture)
    }

    /// The name of the service.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Begins the segment of a trace that starts here; short for
    /// `.segment(name).begin()`.
    pub fn begin_segment(&self, name: &str) -> Segment {
        self.segment(name).begin()
    }

    /// Prepares a segment.
    pub fn segment<'a>(&'a self, name: &'a str) -> SegmentBuilder<'a> {
        SegmentBuilder {
            core: &self.0,
            name,
            header: None,
            decision: None,
            facts: &(),
            start: None,
        }
    }

    /// Begins below a segment that somebody else sends, as Lambda does for a
    /// function: trace and parent are the header's, the segment itself is never
    /// sent, and what is begun below it leaves as independent subsegments.
    ///
    /// Nothing is recorded unless the header holds Root, Parent and
    /// `Sampled=1`. Otherwise it is passed on as it came: with Root alone
    /// (Lambda's PassThrough) whoever is called may decide.
    pub fn begin_facade(&self, header: &TraceHeader) -> Segment {
        let core = &self.0;
        let now = core.clock.wall();
        match (header.root(), header.parent(), header.sampled()) {
            (Some(trace_id), Some(parent), Sampled::Yes) if !core.disabled => {
                let [seed] = core.entropy.draw_unique();
                let core = core.here(process::last_seen());
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
            _ => core.passing(header, now),
        }
    }

    /// Runs a callback of a user's, for layers that take some. Its panic is
    /// caught and counted ([`Events::callback_panics`]), and gives `None`.
    pub fn guard<R>(&self, callback: impl FnOnce() -> R) -> Option<R> {
        let core = self.0.here(process::last_seen());
        core.common.ledger.guard(callback)
    }

    /// What happened to all segments and subsegments so far.
    pub fn entities(&self) -> Entities {
        let core = self.here();
        let mut entities = core.common.ledger.entities();
        entities.lose_forked(self.forked_before(core).0);
        entities
    }

    /// What happened to all documents so far.
    pub fn documents(&self) -> Documents {
        let core = self.here();
        let mut documents = core.common.ledger.documents();
        documents.lose_forked(self.forked_before(core).1);
        documents
    }

    /// Events that lost nothing.
    pub fn events(&self) -> Events {
        self.here().common.ledger.events()
    }

    /// Settings of the environment that were wrong and therefore skipped.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.0.warnings
    }

    /// Every trace that has something open in this process, as a document with
    /// the open parts in progress. Nothing is sent and nothing changes.
    pub fn snapshot(&self) -> Vec<Document> {
        let pieces = self.here().live.traces().into_iter();
        let pieces = pieces.filter_map(|trace| trace.snapshot());
        pieces.flat_map(|piece| piece.to_documents()).collect()
    }

    /// Sends everything that is open and was begun at least `age` ago as in
    /// progress, once, so that it can be seen before it is done; its finished
    /// form replaces it. The emission thread does so by itself, see
    /// [`RecorderBuilder::show_after`]; call it where there is none, or before
    /// the process is stopped with work under way.
    pub fn show_open(&self, age: Duration) {
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let core = self.here();
        let before = core.clock.tick().saturating_sub(age);
        for trace in core.live.traces() {
            trace.show_open(before);
        }
    }

    /// How many segments and subsegments are not closed.
    pub fn open(&self) -> usize {
        let traces = self.here().live.traces();
        traces.iter().map(|trace| trace.open()).sum()
    }

    /// Waits until everything closed before this call was sent or lost, at most
    /// for `timeout`. Await the result on any executor, or
    /// [`wait`](Flush::wait) for it on a thread.
    pub fn flush(&self, timeout: Duration) -> Flush {
        self.here().flush(timeout)
    }

    /// Sends what is queued, at most for `timeout`, and stops sending. What is
    /// left then, and what comes later, is lost as `shutdown`. Calling it again
    /// does nothing more.
    pub fn shutdown(&self, timeout: Duration) -> Flush {
        self.here().shutdown(timeout)
    }

    /// What stands for this recorder in this process.
    fn here(&self) -> &Arc<Core> {
        self.0.here(process::id())
    }

    /// Entities and documents lost as `fork` by those that `core` stands in for.
    fn forked_before(&self, core: &Arc<Core>) -> (u64, u64) {
        let mut forked = (0, 0);
        let mut before = &self.0;
        while !Arc::ptr_eq(before, core) {
            let (entities, documents) = before.common.ledger.forked();
            forked = (forked.0 + entities, forked.1 + documents);
            let Some(heir) = before.heir.core.get() else {
                break;
            };
            before = heir;
        }
        forked
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("name", &self.name)
            .field("sampler", &self.sampler.0)
            .field("emitter", &self.emitter)
            .finish_non_exhaustive()
    }
}

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
            trace_id: header.root().unwrap_or_else(|| trace_id(now, high, low)),
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
    /// What stands for this one in `process`. This one, where it could not be
    /// replaced.
    fn here(self: &Arc<Self>, process: u32) -> &Arc<Self> {
        let mut core = self;
        while core.process != process {
            match core.heir(process) {
                Some(heir) => core = heir,
                None => break,
            }
        }
        core
    }

    #[cold]
    fn heir(&self, process: u32) -> Option<&Arc<Self>> {
        let Heir { maker, core } = &self.heir;
        if let Some(core) = core.get() {
            return Some(core);
        }
        match maker.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(core.get_or_init(|| self.anew(process))),
            Err(maker) if maker == process => Some(core.wait()),
            Err(_) => None,
        }
    }

    /// The same in another process: nothing open, nothing queued, nothing counted.
    fn anew(&self, process: u32) -> Arc<Self> {
        let watched = Watched::new(self.way.show_after());
        let emitter = self.way.start(&watched);
        let core = Arc::new(Self {
            name: self.name.clone(),
            disabled: self.disabled,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            sampler: self.sampler.clone(),
            way: self.way.clone(),
            emitter: emitter.unwrap_or_else(|_| Arc::new(Stranded)),
            live: Live::new(self.limits.open_traces),
            limits: self.limits,
            common: Arc::new(self.common.anew()),
            warnings: Vec::new(), // the first one's are asked for
            process,
            heir: Heir::default(),
        });
        watched.set(&core);
        core
    }

    pub(crate) fn emit(&self, mut piece: Piece) {
        if self.process == process::last_seen() {
            self.emitter.emit(piece);
        } else {
            piece.lose(Loss::Fork);
        }
    }

    fn flush(&self, timeout: Duration) -> Flush {
        if self.process == process::last_seen() {
            self.emitter.flush(timeout)
        } else {
            Flush::done()
        }
    }

    fn shutdown(&self, timeout: Duration) -> Flush {
        if self.process == process::last_seen() {
            self.emitter.shutdown(timeout)
        } else {
            Flush::done()
        }
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
        let trace_id = header.root().unwrap_or_else(|| trace_id(now, high, low));
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

/// A fresh trace id of the current epoch.
pub(crate) fn trace_id(now: SystemTime, high: u64, low: u64) -> TraceId {
    let epoch = since_epoch(now) / 1_000_000_000;
    let random = u128::from(high) << 64 | u128::from(low);
    let id = TraceId::from_parts(epoch as u32, random);
    // All zero in one of 2^128 draws at the epoch itself.
    id.unwrap_or(TraceId::MIN)
}
