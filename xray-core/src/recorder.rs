//! The recorder: configuration, sampler, emitter and ledgers of one service,
//! and the place where segments begin.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::TraceId;
use crate::clock::{Clock, TimeSource, since_epoch};
use crate::context::suppression;
use crate::daemon_address::DaemonAddress;
use crate::document::Document;
use crate::emit::capture::Capture;
use crate::emit::inline::InlineEmitter;
use crate::emit::worker::WorkerEmitter;
use crate::emit::{Emitter, Flush, Pace};
use crate::entity::{Segment, Unsampled, UnsampledRoot};
use crate::entropy::{Entropy, IdSequence, RandomSource};
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::header::{Sampled, TraceHeader};
use crate::ledger::{Documents, Entities, Events, Ledger, stripe, stripes};
use crate::limits;
use crate::record::Spare;
use crate::record::trace::{Place, Start, Trace};
use crate::sampling::{Always, Decision, Guarded, RequestFacts, Sampler, SamplingRequest};

/// Records what one service does, and sends it to the X-Ray daemon.
///
/// Cheap to clone; all clones are one recorder. When the last one and
/// everything begun from it is gone, what is queued is still sent, but nobody
/// waits for it: call [`flush`](Self::flush) or [`shutdown`](Self::shutdown)
/// before the process ends.
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
pub struct Recorder(Arc<Core>);

/// What every trace of a recorder needs.
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) sampler: Guarded,
    pub(crate) emitter: Box<dyn Emitter>,
    pub(crate) live: Live,
    pub(crate) common: Arc<Common>,
    warnings: Vec<ConfigError>,
}

/// What even a finished piece on its way out needs.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    pub(crate) service_version: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) spare: Spare,
}

impl Recorder {
    /// Prepares a recorder for the service of that name.
    pub fn builder(name: impl Into<String>) -> RecorderBuilder {
        RecorderBuilder {
            name: name.into(),
            daemon_address: None,
            sampler: Arc::new(Always),
            service_version: None,
            origin: None,
            emission: Emission::Thread,
            document_limit: limits::DOCUMENT_BYTES,
            queue_pieces: limits::QUEUE_PIECES,
            queue_bytes: limits::QUEUE_BYTES,
            pace: Pace::default(),
            clock: Clock::default(),
            entropy: Entropy::default(),
            environment: Lookup(Some(Box::new(|name| std::env::var(name).ok()))),
        }
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
        let recorder = Self::builder(name)
            .ignore_environment()
            .assemble(Box::new(capture.clone()), Environment::default());
        (recorder, capture)
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
            facts: &(),
            start: None,
        }
    }

    /// Begins below a segment that somebody else sends, as Lambda does for a
    /// function: trace and parent are the header's, the segment itself is never
    /// sent, and what is begun below it leaves as independent subsegments.
    ///
    /// Nothing is recorded unless the header holds Root, Parent and
    /// `Sampled=1`; it is passed on in any case.
    pub fn begin_facade(&self, header: &TraceHeader) -> Segment {
        let core = &self.0;
        let now = core.clock.wall();
        if let (Some(trace_id), Some(parent), Sampled::Yes) =
            (header.root(), header.parent(), header.sampled())
        {
            let [seed] = core.entropy.draw_unique();
            let start = Start {
                core: core.clone(),
                trace_id,
                decision: Decision::sampled(),
                carried: header.carried(),
                anchor: core.clock.anchor(now),
                seed,
            };
            let (trace, key) = Trace::with_facade(start, parent);
            return Segment::recorded(trace, key);
        }
        let words = core.entropy.draw();
        core.unsampled_segment(header, now, words, Decision::unsampled(), false)
    }

    /// What happened to all segments and subsegments so far.
    pub fn entities(&self) -> Entities {
        self.0.common.ledger.entities()
    }

    /// What happened to all documents so far.
    pub fn documents(&self) -> Documents {
        self.0.common.ledger.documents()
    }

    /// Events that lost nothing.
    pub fn events(&self) -> Events {
        self.0.common.ledger.events()
    }

    /// Settings of the environment that were wrong and therefore skipped.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.0.warnings
    }

    /// Every trace that has something open in this process, as a document with
    /// the open parts in progress. Nothing is sent and nothing changes.
    pub fn snapshot(&self) -> Vec<Document> {
        let pieces = self.0.live.traces().into_iter();
        let pieces = pieces.filter_map(|trace| trace.snapshot());
        pieces.flat_map(|piece| piece.to_documents()).collect()
    }

    /// How many segments and subsegments are not closed.
    pub fn open(&self) -> usize {
        self.0.live.traces().iter().map(|trace| trace.open()).sum()
    }

    /// Waits until everything closed before this call was sent or lost, at most
    /// for `timeout`. Await the result on any executor, or
    /// [`wait`](Flush::wait) for it on a thread.
    pub fn flush(&self, timeout: Duration) -> Flush {
        self.0.emitter.flush(timeout)
    }

    /// Sends what is queued, at most for `timeout`, and stops sending. What is
    /// left then, and what comes later, is lost as `shutdown`. Calling it again
    /// does nothing more.
    pub fn shutdown(&self, timeout: Duration) -> Flush {
        self.0.emitter.shutdown(timeout)
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
    facts: &'a dyn RequestFacts,
    start: Option<SystemTime>,
}

impl<'a> SegmentBuilder<'a> {
    /// The caller's headers: its trace goes on, and its decision, if it made
    /// one, holds.
    pub fn header(mut self, header: &'a TraceHeader) -> Self {
        self.header = Some(header);
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
        let core = self.core;
        let now = core.clock.wall();
        let absent = TraceHeader::default();
        let header = self.header.unwrap_or(&absent);
        let [random, words @ ..] = core.entropy.draw::<4>();
        if let Some(entity) = suppression() {
            let header = entity.header();
            return core.unsampled_segment(&header, now, words, Decision::unsampled(), true);
        }
        let decision = match header.sampled() {
            Sampled::Yes => Decision::sampled(),
            Sampled::No => Decision::unsampled(),
            _ => {
                let request = SamplingRequest {
                    service: self.name,
                    service_type: core.common.origin.as_deref(),
                    trace_id: header.root(),
                    facts: self.facts,
                    random,
                };
                core.sampler.decide(&request, &core.common.ledger)
            }
        };
        if !(decision.record || decision.sampled) {
            return core.unsampled_segment(header, now, words, decision, false);
        }
        let [high, low, seed] = core.entropy.draw_unique();
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
            .finish_non_exhaustive()
    }
}

impl Core {
    fn unsampled_segment(
        self: &Arc<Self>,
        header: &TraceHeader,
        now: SystemTime,
        [high, low, seed]: [u64; 3],
        decision: Decision,
        suppressed: bool,
    ) -> Segment {
        self.common.ledger.begin_unsampled();
        let entity = Unsampled {
            core: Some(self.clone()),
            trace_id: header.root().unwrap_or_else(|| trace_id(now, high, low)),
            id: IdSequence(seed).next(),
            carried: header.carried(),
            suppressed,
        };
        Segment::unsampled(entity, UnsampledRoot::new(decision, now))
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

/// Lists the traces that are alive, so that any thread can look at them.
#[derive(Debug)]
pub(crate) struct Live(Vec<Mutex<LiveStripe>>);

#[derive(Debug, Default)]
#[repr(align(64))] // a stripe is one thread's, mostly
struct LiveStripe {
    traces: Vec<Option<Weak<Trace>>>,
    free: Vec<usize>,
}

impl Live {
    fn new() -> Self {
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

    fn traces(&self) -> Vec<Arc<Trace>> {
        let mut traces = Vec::new();
        for stripe in &self.0 {
            let live = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            traces.extend(live.traces.iter().flatten().filter_map(Weak::upgrade));
        }
        traces
    }
}

/// How documents leave.
enum Emission {
    Thread,
    Inline,
    Custom(Box<dyn Emitter>),
}

/// Configures a [`Recorder`].
///
/// The environment beats what is set here, as in every X-Ray SDK, unless
/// [`ignore_environment`](Self::ignore_environment) is called:
/// `AWS_XRAY_DAEMON_ADDRESS` the address, `AWS_XRAY_TRACING_NAME` the name. An
/// empty variable counts as unset; a wrong one is skipped and listed in
/// [`Recorder::warnings`].
#[must_use = "nothing is recorded before `build`"]
pub struct RecorderBuilder {
    name: String,
    daemon_address: Option<DaemonAddress>,
    sampler: Arc<dyn Sampler>,
    service_version: Option<String>,
    origin: Option<String>,
    emission: Emission,
    document_limit: usize,
    queue_pieces: usize,
    queue_bytes: usize,
    pace: Pace,
    clock: Clock,
    entropy: Entropy,
    environment: Lookup,
}

/// Reads one variable; `None` where the environment is ignored.
struct Lookup(Option<Box<ReadVariable>>);

type ReadVariable = dyn Fn(&str) -> Option<String> + Send + Sync;

impl RecorderBuilder {
    /// Where the daemon listens. Defaults to `127.0.0.1:2000`.
    pub fn daemon_address(mut self, address: impl Into<DaemonAddress>) -> Self {
        self.daemon_address = Some(address.into());
        self
    }

    /// Decides about requests whose header leaves it open. Defaults to
    /// [`Always`].
    pub fn sampler(mut self, sampler: impl Sampler) -> Self {
        self.sampler = Arc::new(sampler);
        self
    }

    /// The version of the service, shown on each segment. None by default.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service_version = Some(version.into());
        self
    }

    /// The AWS resource type the service runs on, such as
    /// `AWS::ECS::Container`. None by default.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sends on the thread that closes a segment, before `close` returns,
    /// instead of on a thread of our own. For processes that may be stopped as
    /// soon as their answer is out.
    pub fn send_inline(mut self) -> Self {
        self.emission = Emission::Inline;
        self
    }

    /// Hands finished pieces to an emitter of your own.
    pub fn emitter(mut self, emitter: impl Emitter) -> Self {
        self.emission = Emission::Custom(Box::new(emitter));
        self
    }

    /// Largest document, in bytes. A trace that exceeds it is split into
    /// several; a single entity that exceeds it is trimmed, and one that cannot
    /// be trimmed below it is dropped as `too_large`. Choose it below what the
    /// daemon and the network take: too high a value makes the operating system
    /// refuse the datagram. Defaults to 64,000.
    ///
    /// [`build`](Self::build) fails below 1,024 and above 65,474, which is what
    /// a UDP datagram over IPv4 carries behind the header line.
    pub fn document_limit(mut self, bytes: usize) -> Self {
        self.document_limit = bytes;
        self
    }

    /// What may wait for the emission thread: finished pieces of traces, and
    /// their estimated bytes. What comes on top is lost as `queue_full`.
    /// Defaults to 4,096 pieces and 32 MiB.
    pub fn queue(mut self, pieces: usize, bytes: usize) -> Self {
        self.queue_pieces = pieces;
        self.queue_bytes = bytes;
        self
    }

    /// How fast the emission thread may send; see [`Pace`].
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Reads time from a source of your own.
    pub fn clock(mut self, clock: Arc<dyn TimeSource>) -> Self {
        self.clock = Clock::new(clock);
        self
    }

    /// Draws ids and chances from a source of your own.
    pub fn random(mut self, random: Arc<dyn RandomSource>) -> Self {
        self.entropy = Entropy::new(random);
        self
    }

    /// Reads environment variables from a source of your own.
    pub fn environment(
        mut self,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Lookup(Some(Box::new(lookup)));
        self
    }

    /// Reads no environment variables.
    pub fn ignore_environment(mut self) -> Self {
        self.environment = Lookup(None);
        self
    }

    /// Builds the recorder, and starts its emission thread if it has one.
    ///
    /// # Errors
    ///
    /// When a setting cannot be used, or the thread cannot be started. A daemon
    /// that is absent is no error.
    pub fn build(mut self) -> Result<Recorder, ConfigError> {
        let environment = match &self.environment.0 {
            Some(lookup) => Environment::read(|name| lookup(name)),
            None => Environment::default(),
        };
        let (min, max) = (limits::DOCUMENT_BYTES_MIN, limits::DOCUMENT_BYTES_MAX);
        let given = self.document_limit;
        if !(min..=max).contains(&given) {
            return Err(ConfigError::DocumentLimit { given, min, max });
        }
        let address = environment.daemon_address.clone();
        let address = address.or(self.daemon_address.take()).unwrap_or_default();
        let emitter: Box<dyn Emitter> = match self.emission {
            Emission::Thread => Box::new(
                WorkerEmitter::start(
                    address,
                    self.document_limit,
                    (self.queue_pieces, self.queue_bytes),
                    self.pace,
                )
                .map_err(ConfigError::Thread)?,
            ),
            Emission::Inline => Box::new(InlineEmitter::new(&address, self.document_limit)),
            Emission::Custom(emitter) => emitter,
        };
        self.emission = Emission::Inline;
        if environment.tracing_name.is_none() && self.name.is_empty() {
            return Err(ConfigError::EmptyName);
        }
        Ok(self.assemble(emitter, environment))
    }

    fn assemble(self, emitter: Box<dyn Emitter>, environment: Environment) -> Recorder {
        Recorder(Arc::new(Core {
            name: environment.tracing_name.unwrap_or(self.name),
            clock: self.clock,
            entropy: self.entropy,
            sampler: Guarded(self.sampler),
            emitter,
            live: Live::new(),
            common: Arc::new(Common {
                ledger: Ledger::default(),
                service_version: self.service_version,
                origin: self.origin,
                spare: Spare::default(),
            }),
            warnings: environment.wrong,
        }))
    }
}

impl fmt::Debug for RecorderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("name", &self.name)
            .field("daemon_address", &self.daemon_address)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}
