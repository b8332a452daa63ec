//! What is written down goes through an [`Entity`]: the shared side of a
//! segment or subsegment, which can be cloned and carried anywhere.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::context::{Entered, Scoped};
use crate::guard::guarded;
use crate::handle::{Subsegment, SubsegmentBuilder};
use crate::header::{Sampled, TraceHeader};
use crate::http::{HttpRequest, HttpResponse};
use crate::ledger::Loss;
use crate::limits;
use crate::record::trace::Trace;
use crate::record::{
    AnnotationValue, AnyError, ExceptionReport, Field, Flags, Key, NodeIndex, Raised, Record,
    Stored, Tally, panic_message,
};
use crate::recorder::Core;
use crate::sampling::Marks;
use crate::sql::Sql;
use crate::unsampled::{Heard, Part, Unsampled, Work};
use crate::{SegmentId, TraceId};

/// A segment or subsegment, as everyone but its owner sees it.
///
/// Cheap to clone, `Send + Sync`, and never in the way: on an unsampled or
/// closed entity, or where no trace is at all, nothing is written down. What a
/// segment's sampler is to hear ([`Outcome`](crate::Outcome)) is kept of an
/// unsampled one, too.
/// Closing is the owner's business ([`Segment`](crate::Segment), [`Subsegment`]).
///
/// ```
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// # let _entered = segment.enter();
/// fn deep_below(order: u64) {
///     xray_core::current().annotate("order", order);
/// }
/// deep_below(7);
/// # drop(_entered);
/// # segment.close();
/// # assert_eq!(capture.documents()[0].annotations["order"], 7);
/// ```
#[derive(Clone)]
pub struct Entity(pub(crate) Inner);

#[derive(Clone)]
pub(crate) enum Inner {
    /// No trace.
    Nothing,
    /// No trace, on purpose: nothing is missed here.
    Detached,
    /// Part of a trace of which nothing is recorded.
    Unsampled(Unsampled),
    /// There was no room for it, nor is there below it. What it calls finds the
    /// entity above.
    Refused(Arc<Trace>, Key, Loss),
    Recorded(Arc<Trace>, Key),
}

impl Entity {
    /// The entity that stands for no trace.
    pub(crate) const NOTHING: Self = Self(Inner::Nothing);
    /// As that, for work that left its trace.
    pub(crate) const DETACHED: Self = Self(Inner::Detached);

    /// Whether what is written here can reach a document. False of a facade,
    /// which another process sends, though what begins below it is recorded; of
    /// what was refused as `limit_children` or `limit_open`; and of everything
    /// unsampled. True of what is recorded and not sampled: its sampler may
    /// still [keep](crate::Sampler::keep) it.
    pub fn is_recorded(&self) -> bool {
        matches!(self.0, Inner::Recorded(_, key) if !key.is_facade())
    }

    /// Whether this stands for no trace at all.
    pub fn is_nothing(&self) -> bool {
        matches!(self.0, Inner::Nothing | Inner::Detached)
    }

    /// What it was begun from, if there is anything.
    pub(crate) fn core(&self) -> Option<&Arc<Core>> {
        match &self.0 {
            Inner::Nothing | Inner::Detached => None,
            Inner::Unsampled(unsampled) => unsampled.work().core.as_ref(),
            Inner::Refused(trace, ..) | Inner::Recorded(trace, _) => Some(&trace.core),
        }
    }

    /// Work below which nothing is recorded, if this is a part of some.
    pub(crate) fn suppressed(&self) -> Option<&Work> {
        match &self.0 {
            Inner::Unsampled(unsampled) => {
                Some(unsampled.work()).filter(|work| work.is_suppressed())
            }
            _ => None,
        }
    }

    /// Whether a future that was written here begins below `around` instead,
    /// which is current at its first poll.
    pub(crate) fn yields_to(&self, around: &Self) -> bool {
        let lost = matches!(around.0, Inner::Nothing);
        around.suppressed().is_some() || (self.is_nothing() && !lost)
    }

    /// The trace this belongs to; real for unsampled work too. None where no
    /// trace is, which [`suppressed`](crate::suppressed) does not change.
    pub fn trace_id(&self) -> Option<TraceId> {
        match &self.0 {
            Inner::Nothing | Inner::Detached => None,
            Inner::Unsampled(unsampled) => unsampled.work().trace_id(),
            Inner::Refused(trace, ..) | Inner::Recorded(trace, _) => Some(trace.trace_id),
        }
    }

    /// The id of this segment or subsegment. Everything below an unsampled
    /// segment bears that segment's id; what was refused as `limit_children` or
    /// `limit_open` bears the id of what it began below.
    pub fn id(&self) -> Option<SegmentId> {
        match &self.0 {
            Inner::Nothing | Inner::Detached => None,
            Inner::Unsampled(unsampled) => unsampled.work().id(),
            Inner::Refused(_, key, _) | Inner::Recorded(_, key) => Some(key.id),
        }
    }

    /// Whether downstream services are told to record: true exactly where
    /// [`header`](Self::header) says `Sampled=1`. That may be without anything
    /// being recorded here, as below a recorder that is switched off.
    pub fn is_sampled(&self) -> bool {
        match &self.0 {
            Inner::Nothing | Inner::Detached => false,
            Inner::Unsampled(unsampled) => unsampled.work().is_sampled(),
            Inner::Refused(trace, ..) | Inner::Recorded(trace, _) => trace.decision.sampled,
        }
    }

    /// The headers for a call made on behalf of this entity: its trace, itself
    /// as parent, the decision, and whatever else the caller sent along. Empty
    /// where no trace is.
    ///
    /// ```
    /// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
    /// let segment = recorder.begin_segment("shop");
    /// let call = segment.begin_subsegment("inventory");
    /// let header = call.header();
    /// assert_eq!(header.parent(), call.id());
    /// assert!(header.to_text().ends_with(";Sampled=1"));
    /// ```
    pub fn header(&self) -> TraceHeader {
        match &self.0 {
            Inner::Nothing | Inner::Detached => TraceHeader::default(),
            Inner::Unsampled(unsampled) => unsampled.work().header.clone(),
            Inner::Refused(trace, key, _) | Inner::Recorded(trace, key) => {
                TraceHeader::from_carried(
                    trace.trace_id,
                    Some(key.id),
                    if trace.decision.sampled {
                        Sampled::Yes
                    } else {
                        Sampled::No
                    },
                    trace.carried.clone(),
                )
            }
        }
    }

    /// The segment this belongs to, for what is to be found on the whole
    /// request. Below a facade (Lambda), whose segment cannot be written to, it
    /// is the outermost subsegment. Also known once this entity is closed.
    pub fn segment(&self) -> Self {
        Self(match &self.0 {
            Inner::Nothing => Inner::Nothing,
            Inner::Detached => Inner::Detached,
            Inner::Unsampled(unsampled) => Inner::Unsampled(unsampled.part(Part::Root)),
            Inner::Refused(trace, key, _) | Inner::Recorded(trace, key) => {
                Inner::Recorded(trace.clone(), key.top())
            }
        })
    }

    /// Begins a subsegment below this entity; short for
    /// `.subsegment(name).begin()`.
    ///
    /// The name is cut at 200 characters, and what X-Ray does not allow in it
    /// becomes `_`.
    pub fn begin_subsegment(&self, name: &str) -> Subsegment {
        self.subsegment(name).begin()
    }

    /// Prepares a subsegment below this entity.
    pub fn subsegment<'a>(&'a self, name: &'a str) -> SubsegmentBuilder<'a> {
        SubsegmentBuilder::new(self, name)
    }

    /// Makes this entity current on this thread until the guard is dropped, for
    /// synchronous code. Bind the guard to a name: `let _ = segment.enter()`
    /// drops it at once, which the lint `let_underscore_drop` of rustc finds.
    ///
    /// Around an `.await` use [`scope`](Self::scope): a guard that is held across
    /// one leaves the entity current for each task that the thread polls
    /// meanwhile. A runtime of many threads refuses it, as the guard is `!Send`;
    /// one of a single thread, such as that of `#[tokio::test]`, takes it. Clippy
    /// finds it with this line in `clippy.toml`:
    ///
    /// ```toml
    /// await-holding-invalid-types = ["xray_core::Entered"]
    /// ```
    ///
    /// ```
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let entered = segment.enter();
    /// xray_core::current().annotate("user", "ann");
    /// drop(entered);
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].annotations["user"], "ann");
    /// ```
    pub fn enter(&self) -> Entered<'_> {
        Entered::new(self)
    }

    /// Makes this entity current whenever the future (or stream) is polled, on
    /// whatever thread that happens, and while it is dropped.
    ///
    /// A future that polls tasks of others, such as `LocalSet::run_until`, has
    /// them all recorded here. Scope each task instead:
    /// `local_set.spawn_local(segment.scope(work()))`.
    pub fn scope<F>(&self, inner: F) -> Scoped<F> {
        Scoped::new(self.clone(), inner)
    }

    /// Sets the name, in place of the one it was begun with.
    pub fn set_name(&self, name: &str) {
        self.write(|record, node| record.rename(node, name));
    }

    /// Records an indexed value: up to 1,000 characters of text, a number or a
    /// boolean, to be found by `annotation.key = value`. Of two under one key
    /// the later holds. Characters outside `A-Z a-z 0-9 _ .` in the key become
    /// `_`, and keys that are written alike are one. X-Ray indexes 50 a trace.
    ///
    /// An entity has at most 4,096 values of all kinds, and some 1 MiB of them.
    /// A value beyond is left out, and so is the one it would replace; either is
    /// counted ([`Events::trimmed`](crate::Events::trimmed)).
    ///
    /// ```
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// for done in 0..=100 {
    ///     segment.annotate("progress", done);
    /// }
    /// # segment.close();
    /// assert_eq!(capture.documents()[0].annotations["progress"], 100);
    /// ```
    #[inline]
    pub fn annotate<'a>(&self, key: &str, value: impl Into<AnnotationValue<'a>>) {
        if let Inner::Recorded(trace, place) = &self.0 {
            trace.annotate(*place, key, &value.into());
        }
    }

    /// Joins a value to the annotation of that key: sums, maxima and marks
    /// that many parts of a request contribute to. Usually called on
    /// [`segment()`](Self::segment); written when that closes. 500 keys an entity.
    pub fn tally(&self, key: &str, tally: Tally<'_>) {
        self.recorded(|trace, place| trace.tally(place, key, tally));
    }

    /// Records a value that is kept but not indexed, under the namespace
    /// `default`. See [`metadata_in`](Self::metadata_in).
    pub fn metadata(&self, key: &str, value: impl Serialize) {
        self.metadata_in("default", key, value);
    }

    /// Records any serialisable value under a namespace of its own. A value that
    /// cannot be serialised is recorded as a text that says so, and so is one of
    /// more than 32 levels, or of more than 64 kB, which could never be sent: it is
    /// written no further than that, so a ring or a list without end does no harm
    /// as long as each level asks the serializer, as derived ones do.
    /// A namespace longer than 200 bytes, or a key longer than 2,000, is cut, and
    /// counts as trimmed. Namespaces that begin with `AWS.` are X-Ray's own.
    pub fn metadata_in(&self, namespace: &str, key: &str, value: impl Serialize) {
        self.recorded(|trace, place| {
            let json = crate::record::json::capture(&value, &trace.core.common.ledger);
            let namespace = if namespace.is_empty() {
                "default"
            } else {
                namespace
            };
            trace.write(place, |record, node| {
                record.push_json(node, Field::Metadata, (namespace, key), &json);
            });
        });
    }

    /// Records the request side of the `http` block, in place of all that an
    /// earlier call recorded.
    pub fn http_request(&self, request: &HttpRequest<'_>) {
        self.write(|record, node| request.record(record, node));
    }

    /// Records the response side of the `http` block, in place of all that an
    /// earlier call recorded. Flags are set apart, by [`mark`](Self::mark). Of a
    /// segment its sampler hears the status.
    pub fn http_response(&self, response: HttpResponse) {
        if let Some(marks) = self.marks() {
            marks.respond(response.status());
        }
        self.write(|record, node| response.record(record, node));
    }

    /// Records a member of the `aws` block: of a call, `operation`, `region`,
    /// `request_id`, `table_name` and the like; of a segment, what it runs on.
    /// `None`, `null` and empty objects within the value are left out. So is what
    /// readers would not take under a key they know: a number for `operation` is
    /// written as a text, a list is not written and counts as trimmed
    /// ([`Events::trimmed`](crate::Events)). A value in bounds, as of
    /// [`metadata_in`](Self::metadata_in), else it is left out, too.
    /// `xray`, in any case, is written by the recorder itself and is left out.
    ///
    /// Source: [segment documents, AWS resource data](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html#api-segmentdocuments-aws).
    pub fn aws(&self, key: &str, value: impl Serialize) {
        if key.eq_ignore_ascii_case("xray") {
            return;
        }
        self.recorded(|trace, place| {
            let ledger = &trace.core.common.ledger;
            if let Some(json) = crate::record::json::capture_aws(key, &value, ledger) {
                trace.write(place, |record, node| {
                    record.push_json(node, Field::Aws, ("", key), &json);
                });
            }
        });
    }

    /// Records what is known of a query. X-Ray keeps it on subsegments only: on a
    /// segment it is left out, and counts as trimmed.
    pub fn sql(&self, sql: &Sql<'_>) {
        self.write(|record, node| sql.record(record, node));
    }

    /// Links the segment to one of another trace, such as the message that is
    /// worked on here. X-Ray keeps links on segments only, so this writes to
    /// [`segment()`](Self::segment); the service takes 20 and may ignore them.
    /// Where a document is too large, those beyond 20 go first.
    pub fn link(&self, trace_id: TraceId, id: SegmentId) {
        let link = || format!("{trace_id}@{id}");
        self.on_segment(Field::Link, link, usize::MAX);
    }

    /// Sets error, throttle or fault, in place of what was set before. Of a
    /// segment its sampler hears.
    pub fn mark(&self, class: Class) {
        if let Some(marks) = self.marks() {
            marks.mark(class);
        }
        self.recorded(|trace, key| trace.flag(key, class.flags(), Class::ALL_FLAGS));
    }

    /// Sets error, throttle or fault on top of what was set before. Of a segment
    /// its sampler hears the gravest.
    pub fn raise(&self, class: Class) {
        self.raise_mark(class);
        self.recorded(|trace, key| trace.flag(key, class.flags(), Flags::NONE));
    }

    /// What the sampler is to hear, if this is a segment.
    fn marks(&self) -> Option<&Marks> {
        match &self.0 {
            Inner::Unsampled(unsampled) => unsampled.marks(),
            Inner::Recorded(trace, key) => trace.marks(*key),
            _ => None,
        }
    }

    fn raise_mark(&self, class: Class) {
        if let Some(marks) = self.marks() {
            marks.raise(class);
        }
    }

    /// Runs a callback of a user's, for layers that take some. Its panic is
    /// caught and counted ([`Events::callback_panics`](crate::Events)), and
    /// gives `None`.
    pub fn guard<R>(&self, callback: impl FnOnce() -> R) -> Option<R> {
        match self.core() {
            Some(core) => core.common.ledger.guard(callback),
            None => guarded(callback),
        }
    }

    /// Records an error of ours: `fault`, with the error, its sources, and the
    /// place of this call.
    #[track_caller]
    pub fn record_fault<K>(&self, error: &impl AnyError<K>) {
        self.record(error, Class::Fault, Location::caller());
    }

    /// Records an error of the caller's: `error`, with the error, its sources,
    /// and the place of this call.
    #[track_caller]
    pub fn record_error<K>(&self, error: &impl AnyError<K>) {
        self.record(error, Class::Error, Location::caller());
    }

    pub(crate) fn record<K>(
        &self,
        error: &impl AnyError<K>,
        class: Class,
        location: &'static Location<'static>,
    ) {
        self.report_error(error, class, Some(location));
    }

    /// Records an error with its sources, and the place where it was seen, for
    /// layers that record errors of others: their own place says nothing.
    /// [`Class::Ok`] sets no flag.
    ///
    /// ```
    /// # use xray_core::{Class, Entity};
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// # let error = std::io::Error::other("no stock");
    /// segment.report_error(&error, Class::Fault, None);
    /// # segment.close();
    /// # let document = &capture.documents()[0];
    /// # assert!(document.fault);
    /// # assert_eq!(document.exceptions()[0].message.as_deref(), Some("no stock"));
    /// # assert!(document.exceptions()[0].stack.is_empty());
    /// ```
    pub fn report_error<K>(
        &self,
        error: &impl AnyError<K>,
        class: Class,
        place: Option<&'static Location<'static>>,
    ) {
        self.raise_mark(class);
        self.recorded(|trace, key| {
            let raised = Raised {
                kind: error.kind(),
                error: error.as_error(),
                is_type: error.is_type(),
            };
            trace.record_error(key, raised, place, class.flags());
        });
    }

    /// Records the payload of a caught panic: `fault`, with its message.
    pub fn record_panic(&self, payload: &(dyn Any + Send)) {
        self.record_exception("panic", panic_message(payload), Class::Fault);
    }

    /// Records an exception that is no Rust error; short for
    /// [`report_exception`](Self::report_exception).
    pub fn record_exception(&self, kind: &str, message: &str, class: Class) {
        self.report_exception(&ExceptionReport::new(kind, message), class);
    }

    /// Records an exception that is no Rust error, with all that is known of
    /// it.
    pub fn report_exception(&self, report: &ExceptionReport<'_>, class: Class) {
        self.raise_mark(class);
        self.recorded(|trace, key| trace.record_exception(key, report, class.flags()));
    }

    /// Names a sibling that had to be done before this one could begin. X-Ray
    /// keeps it on subsegments only: on a segment it is left out, and counts as
    /// trimmed.
    pub fn add_precursor(&self, id: SegmentId) {
        self.write(|record, node| {
            if record.node(node).is_segment {
                record.leave_out(1);
            } else {
                record.push(node, Field::Precursor, Stored::Id(id.get()));
            }
        });
    }

    /// Records the user who sent the request: up to 250 characters, searchable.
    /// X-Ray keeps it on segments only, so this writes to
    /// [`segment()`](Self::segment).
    pub fn set_user(&self, user: &str) {
        self.on_segment(Field::User, || user, limits::STRING_BYTES);
    }

    /// Records the version of the service, in place of the recorder's.
    pub fn set_service_version(&self, version: &str) {
        self.on_segment(Field::ServiceVersion, || version, limits::STRING_BYTES);
    }

    /// Records the AWS resource type the service runs on, in place of the
    /// recorder's.
    pub fn set_origin(&self, origin: &str) {
        self.on_segment(Field::Origin, || origin, limits::STRING_BYTES);
    }

    /// Writes to the segment, of what was refused too.
    fn on_segment<T: AsRef<str>>(&self, field: Field, text: impl FnOnce() -> T, limit: usize) {
        if let Inner::Refused(trace, key, _) | Inner::Recorded(trace, key) = &self.0 {
            let text = text();
            trace.write(key.top(), |record, node| {
                record.push_text(node, field, text.as_ref(), limit);
            });
        }
    }

    /// Keeps the segment open beyond its close until the guard is dropped, so
    /// that a body or stream may outlive the handler. Its end is then the
    /// moment the last guard goes, unless
    /// [`close_at`](crate::Segment::close_at) gave one. An unsampled segment is
    /// held for its sampler. Below a facade this holds the outermost subsegment,
    /// which stands for the segment.
    pub fn hold(&self) -> Hold {
        Hold(match &self.0 {
            Inner::Nothing | Inner::Detached => None,
            Inner::Unsampled(unsampled) => unsampled.hold().map(Held::Unsampled),
            Inner::Refused(trace, key, _) | Inner::Recorded(trace, key) => {
                trace.hold(*key);
                Some(Held::Recorded(trace.clone(), *key))
            }
        })
    }

    /// Writes with the trace locked: nothing of a user's may be called.
    fn write(&self, write: impl FnOnce(&mut Record, NodeIndex)) {
        self.recorded(|trace, key| trace.write(key, write));
    }

    pub(crate) fn recorded(&self, write: impl FnOnce(&Trace, Key)) {
        if let Inner::Recorded(trace, key) = &self.0 {
            write(trace, *key);
        }
    }

    /// Closes it for its owner: as a part of unwinding that is a fault.
    #[inline]
    pub(crate) fn close(&self, end: Option<SystemTime>) {
        if std::thread::panicking() {
            self.record_exception("panic", "the thread panicked", Class::Fault);
        }
        self.finish(end);
    }

    /// Closes it for its owner, who knows how its work ended.
    #[inline]
    pub(crate) fn finish(&self, end: Option<SystemTime>) {
        match &self.0 {
            Inner::Unsampled(unsampled) => unsampled.close(end),
            Inner::Recorded(trace, key) => trace.close(*key, end),
            _ => {}
        }
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.trace_id(), self.id()) {
            (Some(trace_id), Some(id)) => {
                let sampled = if self.is_sampled() {
                    "sampled"
                } else {
                    "unsampled"
                };
                write!(f, "Entity({trace_id}@{id}, {sampled})")
            }
            _ => f.write_str("Entity(no trace)"),
        }
    }
}

/// Keeps a segment open; see [`Entity::hold`].
#[derive(Debug)]
#[must_use = "the segment is held only while this lives"]
pub struct Hold(Option<Held>);

#[derive(Debug)]
enum Held {
    Unsampled(Heard),
    Recorded(Arc<Trace>, Key),
}

impl Drop for Hold {
    fn drop(&mut self) {
        match &self.0 {
            None => {}
            Some(Held::Unsampled(unsampled)) => unsampled.release(),
            Some(Held::Recorded(trace, key)) => trace.release(*key),
        }
    }
}

/// Whether something failed, and whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Class {
    /// Nothing failed.
    #[default]
    Ok,
    /// The caller's mistake: HTTP 4xx.
    Error,
    /// The caller asked too often: HTTP 429; an error, too.
    Throttle,
    /// Our mistake: HTTP 5xx, a panic.
    Fault,
}

impl Class {
    const ALL_FLAGS: Flags = Flags::ERROR.union(Flags::THROTTLE).union(Flags::FAULT);

    /// The class of an HTTP status, as all X-Ray SDKs have it: 429 throttle,
    /// other 4xx error, 5xx fault.
    pub const fn of_status(status: u16) -> Self {
        match status {
            429 => Self::Throttle,
            400..=499 => Self::Error,
            500..=599 => Self::Fault,
            _ => Self::Ok,
        }
    }

    const fn flags(self) -> Flags {
        match self {
            Self::Ok => Flags::NONE,
            Self::Error => Flags::ERROR,
            Self::Throttle => Flags::ERROR.union(Flags::THROTTLE),
            Self::Fault => Flags::FAULT,
        }
    }
}
