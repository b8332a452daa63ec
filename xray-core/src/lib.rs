//! Records what a service does as AWS X-Ray segments, and sends them to the
//! X-Ray daemon, the CloudWatch agent or the ADOT collector.
//!
//! A *segment* is one service's part of a trace, a *subsegment* a piece of work
//! below it. A [`Recorder`] begins segments; handles ([`Segment`],
//! [`Subsegment`]) close what they own, once, when told to or when dropped; an
//! [`Entity`] is the shared side through which everything is written down.
//!
//! ```
//! use std::time::Duration;
//! use xray_core::{Recorder, TraceExt, current};
//!
//! async fn load(user: &str) -> Result<usize, std::io::Error> {
//!     current().annotate("user", user);
//!     Ok(user.len())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let done = async {
//! let recorder = Recorder::builder("shop").build()?;
//! # let (recorder, capture) = Recorder::capture("shop");
//! let segment = recorder.begin_segment("nightly job");
//! let loaded = segment.scope(load("ann").try_subsegment("load")).await?;
//! segment.close();
//! recorder.flush(Duration::from_secs(1)).await;
//! # assert_eq!(loaded, 3);
//! # let documents = capture.documents();
//! # assert_eq!((documents.len(), documents[0].subsegments.len()), (1, 1));
//! # let load = &documents[0].subsegments[0];
//! # assert_eq!((&*load.name, load.fault), ("load", false));
//! # assert_eq!(load.annotations["user"], "ann");
//! # assert_eq!(xray_core::context_missing(), 0);
//! # Ok(()) };
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # match std::pin::pin!(done).poll(&mut cx) {
//! #     std::task::Poll::Ready(done) => done,
//! #     std::task::Poll::Pending => panic!("nothing is waited for"),
//! # }
//! # }
//! ```
//!
//! Servers and clients over HTTP are traced by `xray-tower`, with a layer each.
//!
//! # What is promised
//!
//! - Recording returns no `Result`, never blocks and never panics. The one panic
//!   there is has to be asked for: [`ContextMissing::Panic`].
//! - Every loss is counted by reason ([`Loss`]), in two ledgers that balance:
//!   [`Recorder::entities`] and [`Recorder::documents`].
//! - Memory is bounded: the queue by pieces and bytes, open traces and entities
//!   by number, texts by length, values by bytes and levels while they are
//!   serialised.
//! - Every document fits into a datagram. A trace is split by bytes; one entity
//!   that is too large loses links beyond 20, then stacks, metadata, long texts,
//!   and members of `aws` last. Each is counted in [`Events::trimmed`], and marked
//!   where a text may stand for it. What is sent is valid, whatever was recorded
//!   or a hook wrote.
//! - Messages of errors, URLs and connection strings lose their secrets: users,
//!   passwords, queries, fragments, and values of keys not known to be harmless.
//! - [`Recorder::flush`] and [`Recorder::shutdown`] are back when their time is
//!   over, on any runtime or none.
//!
//! A document counts as sent once the operating system took it: UDP tells
//! nothing of what becomes of it.
//!
//! # Context
//!
//! [`current`] is the entity at work here. It follows a future that is run with
//! [`TraceExt::subsegment`] or [`Entity::scope`] across every `.await`, on any
//! executor. What is spawned takes it along by [`TraceExt::in_current`]; a
//! thread, or `spawn_blocking`, by a clone of [`current`] and [`Entity::run`]
//! there. [`TraceExt::detached`] leaves it behind.
//!
//! | the work is | as a subsegment | with an entity current |
//! |---|---|---|
//! | a future | [`TraceExt::subsegment`], [`TraceExt::try_subsegment`] | [`Entity::scope`], [`TraceExt::in_current`] |
//! | a closure | [`Entity::in_subsegment`], [`Entity::try_in_subsegment`] | [`Entity::run`], [`Entity::enter`] |
//! | an async closure | [`Entity::in_subsegment_async`], [`Entity::try_in_subsegment_async`] | [`Entity::run_async`] |
//! | a function | the attribute `#[subsegment]`, feature `macros` | |
//!
//! # Features
//!
//! All are off by default, and none changes what is sent.
//!
//! | feature | adds |
//! |---|---|
//! | `macros` | the attribute `#[subsegment]`, which runs a function as a subsegment |
//! | `test-util` | the module `test_util`: record into memory, say what is expected |
//! | `tracing` | our own few log lines go through `tracing` instead of `log` |
//! | `tracing-subscriber` | `XRayFormat` puts the trace on every line of the program's logs |
//! | `log-kv` | `XRayLogger` does so as a key-value pair of `log` |

// set-up
mod config;
mod daemon_address;
mod environment;
mod error;
mod limits;
mod recorder;

// what the rest stands on
mod guard;
mod process;
mod sync;

// a request comes in: identity, time, what its caller says
mod clock;
mod entropy;
mod header;
mod id;
mod text;

// whether it is recorded
mod sampling;

// what happens meanwhile
mod closure;
mod connection_string;
mod context;
mod entity;
mod future;
mod handle;
mod http;
mod record;
mod scrub;
mod secrets;
mod sql;
mod unsampled;
mod url;

// what becomes of it
pub mod document;
mod emit;
mod encode;
mod ledger;
mod live;
mod report;

// on demand
mod logs;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use clock::{ManualClock, TimeSource};
pub use closure::NotAFuture;
pub use config::RecorderBuilder;
pub use context::{ContextMissing, Entered, Scoped, context_missing, current, suppressed};
pub use daemon_address::{DaemonAddress, ParseDaemonAddressError};
pub use emit::capture::Capture;
pub use emit::hook::Keep;
pub use emit::resolve::Resolve;
pub use emit::{Emitter, Flush, Flushed, Pace, Piece};
pub use entity::{Class, Entity, Hold};
pub use entropy::{RandomSource, reseed};
pub use error::ConfigError;
pub use future::{Fallible, Plain, TraceExt, TraceStreamExt, Traced, Verdict};
pub use handle::{Namespace, Segment, Subsegment, SubsegmentBuilder};
pub use header::{
    HeaderText, Sampled, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader,
    TraceparentText,
};
pub use http::{HttpRequest, HttpResponse};
pub use id::{ParseIdError, SegmentId, TraceId};
pub use ledger::{Documents, Entities, Events, Loss};
pub use logs::LogId;
#[cfg(feature = "tracing-subscriber")]
pub use logs::XRayFormat;
#[cfg(feature = "log-kv")]
pub use logs::XRayLogger;
pub use record::{
    AnnotationValue, AnyError, BoxedErrorKind, ErrorKind, ExceptionReport, LocalBoxedErrorKind,
    Tally,
};
pub use recorder::{Recorder, SegmentBuilder};
pub use report::report_setting;
pub use sampling::{
    Always, Decision, LocalRules, Never, Outcome, Pattern, Ratio, RequestFacts, Rule, Sampler,
    SamplingRequest, SamplingRulesError,
};
pub use sql::{Preparation, Sql};
#[cfg(feature = "macros")]
pub use xray_macros::subsegment;
