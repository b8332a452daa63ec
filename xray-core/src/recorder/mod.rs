//! The recorder of one service: where segments begin, its books, and the ways
//! to wait for what is sent.

mod begin;
mod shared;

pub use begin::SegmentBuilder;
pub(crate) use shared::{Common, Core, Heir, OpenLimits};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::nanos;
use crate::config::RecorderBuilder;
use crate::document::Document;
use crate::emit::Flush;
use crate::emit::capture::Capture;
use crate::entity::Entity;
use crate::error::ConfigError;
use crate::handle::Segment;
use crate::header::TraceHeader;
use crate::ledger::{Documents, Entities, Events};
use crate::limits;
use crate::process;
use crate::sampling::Always;

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
    ///
    /// Under the recorder's own name the operator's `AWS_XRAY_TRACING_NAME`
    /// replaces it; any other name stays.
    ///
    /// Bind it to a name: `let _ = recorder.begin_segment(..)` closes it at once.
    /// The lint `let_underscore_drop` of rustc finds that, `unused_must_use` does
    /// not.
    pub fn begin_segment(&self, name: &str) -> Segment {
        self.segment(name).begin()
    }

    /// Prepares a segment.
    pub fn segment<'a>(&'a self, name: &'a str) -> SegmentBuilder<'a> {
        SegmentBuilder::new(&self.0, name)
    }

    /// Begins below a segment that somebody else sends, as Lambda does for a
    /// function: trace and parent are the header's, the segment itself is never
    /// sent, and what is begun below it leaves as independent subsegments, each
    /// at its close with what is closed below it.
    ///
    /// Nothing is recorded inside [`suppressed`](crate::suppressed), or unless the
    /// header holds Root, Parent and `Sampled=1`. Any other header is passed on
    /// as it came: with Root alone (Lambda's PassThrough) the service that is
    /// called may decide.
    ///
    /// What is written to the facade itself is lost, and not counted: its
    /// document is another's. So is what X-Ray keeps on segments alone, wherever
    /// it is written: [`set_user`](crate::Entity::set_user),
    /// [`link`](crate::Entity::link) and the like. Run the handler as a
    /// subsegment, on which [`current`](crate::current) and
    /// [`Entity::segment`](crate::Entity::segment) write then:
    ///
    /// ```
    /// # use std::task::{Context, Waker};
    /// # use xray_core::{Recorder, TraceExt, TraceHeader, current};
    /// # let (recorder, capture) = Recorder::capture("shop");
    /// # let text = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    /// # let header = TraceHeader::parse(text);
    /// async fn handler() {
    ///     current().annotate("tenant", "t-42");
    /// }
    ///
    /// let facade = recorder.begin_facade(&header);
    /// let handled = facade.scope(handler().subsegment("handler"));
    /// # assert!(std::pin::pin!(handled).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// # facade.close();
    /// # assert_eq!(capture.documents()[0].annotations["tenant"], "t-42");
    /// ```
    pub fn begin_facade(&self, header: &TraceHeader) -> Segment {
        self.0.facade(header)
    }

    /// An entity for requests that are skipped, such as health checks: work
    /// below it is silent. It is not recorded, and no context counts as missing.
    /// Make it current while the request is answered.
    ///
    /// Calls made there carry the trace of `header`, or a new one, with
    /// `Sampled=0`; where the SDK is switched off, they carry `header` as it
    /// came. The ledgers leave out the entity and its subsegments, and the
    /// sampler is not asked.
    ///
    /// ```
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// use xray_core::{Sampled, TraceHeader, current};
    ///
    /// let skipped = recorder.suppress(&TraceHeader::default());
    /// skipped.run(|| {
    ///     let ping = current().begin_subsegment("ping");
    ///     assert_eq!(ping.header().sampled(), Sampled::No);
    /// });
    /// # assert_eq!(xray_core::context_missing(), 0);
    /// # assert_eq!(recorder.entities().begun, 0);
    /// # assert_eq!(capture.json().len(), 0);
    /// ```
    pub fn suppress(&self, header: &TraceHeader) -> Entity {
        self.0.here(process::last_seen()).suppress(header)
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
        entities.lose_forked(self.0.forked_before(core).0);
        entities
    }

    /// What happened to all documents so far.
    pub fn documents(&self) -> Documents {
        let core = self.here();
        let mut documents = core.common.ledger.documents();
        documents.lose_forked(self.0.forked_before(core).1);
        documents
    }

    /// Events that are worth watching and in no ledger.
    pub fn events(&self) -> Events {
        self.here().common.ledger.events()
    }

    /// Settings of the environment that were wrong and therefore skipped.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.0.warnings
    }

    /// Every trace that has something open in this process, as a document with
    /// the open parts in progress. Nothing is sent, counted or changed, and no
    /// hook sees the documents: what hooks would redact stands in them.
    pub fn snapshot(&self) -> Vec<Document> {
        let pieces = self.here().live.traces().into_iter();
        let pieces = pieces.filter_map(|trace| trace.snapshot());
        pieces.flat_map(|piece| piece.to_documents()).collect()
    }

    /// Sends everything that is open and was begun at least `age` ago as in
    /// progress, once, so that it can be seen before it is done; its finished
    /// form replaces it. What was shown so and has closed since leaves as well,
    /// though its trace goes on. The emission thread does so by itself, see
    /// [`RecorderBuilder::show_after`]; call it where there is none, or before
    /// the process is stopped with work under way.
    pub fn show_open(&self, age: Duration) {
        let core = self.here();
        let before = core.clock.tick().saturating_sub(nanos(age));
        for trace in core.live.traces() {
            trace.show_open(before);
        }
    }

    /// How many segments and subsegments are not closed.
    pub fn open_entities(&self) -> usize {
        let traces = self.here().live.traces();
        traces.iter().map(|trace| trace.open_entities()).sum()
    }

    /// Waits until everything closed before this call was sent or lost, at most
    /// for `timeout`. Await the result on any executor, or
    /// [`wait`](Flush::wait) for it on a thread. `let _ = recorder.flush(..)`
    /// waits for nothing, which clippy finds (`let_underscore_future`).
    ///
    /// Finished parts of traces that are still open leave now, on their own. One
    /// exception: below a segment that is recorded and not sampled, see
    /// [`Decision::recorded`](crate::Decision::recorded), they wait for the
    /// verdict of its sampler.
    ///
    /// What another thread is closing or sending counts as well. An emitter, a
    /// hook or a sampler may call this: there it is back at once, with what
    /// remains, its own piece included.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// let segment = recorder.begin_segment("job");
    /// segment.in_subsegment("step", |_| ());
    /// recorder.flush(Duration::from_secs(1)).wait();
    /// assert_eq!(capture.documents()[0].name, "step");
    /// ```
    pub fn flush(&self, timeout: Duration) -> Flush {
        self.here().flush(timeout)
    }

    /// Sends what is closed, as [`flush`](Self::flush) does, at most for
    /// `timeout`, and stops sending. What is left then, and what comes later, is
    /// lost as `shutdown`. Calling it again does nothing more.
    pub fn shutdown(&self, timeout: Duration) -> Flush {
        self.here().shutdown(timeout)
    }

    /// What stands for this recorder in this process.
    fn here(&self) -> &Arc<Core> {
        self.0.here(process::id())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
