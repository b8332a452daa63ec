//! Records AWS X-Ray segments and sends them to the daemon.
//!
//! Features, all off by default: `macros` adds the attribute `#[subsegment]`,
//! which runs a function as a subsegment; `tracing` sends our own log lines
//! through `tracing` instead of `log`.

// set-up
mod config;
mod daemon_address;
mod environment;
mod error;
mod limits;
mod recorder;

// a request comes in: identity, time, what its caller says
mod clock;
mod entropy;
mod header;
mod id;

// whether it is recorded
mod sampling;

// what happens meanwhile
mod context;
mod entity;
mod future;
mod http;
mod live;
mod record;
mod sql;

// what becomes of it
pub mod document;
mod emit;
mod encode;
mod ledger;
mod report;

pub use clock::{ManualClock, TimeSource};
pub use config::RecorderBuilder;
pub use context::{ContextMissing, Entered, Scoped, context_missing, current, suppressed};
pub use daemon_address::{DaemonAddress, ParseDaemonAddressError};
pub use emit::capture::Capture;
pub use emit::hook::Keep;
pub use emit::{Emitter, Flush, Flushed, Pace, Piece};
pub use entity::{Class, Entity, Hold, Namespace, Segment, Subsegment, SubsegmentBuilder};
pub use entropy::{RandomSource, reseed};
pub use error::ConfigError;
pub use future::{Fallible, Plain, TraceExt, TraceStreamExt, Traced, Verdict};
pub use header::{
    HeaderText, Sampled, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader,
    TraceparentText,
};
pub use http::{HttpRequest, HttpResponse};
pub use id::{ParseIdError, SegmentId, TraceId};
pub use ledger::{Documents, Entities, Events, Loss};
pub use record::{AnnotationValue, AnyError, ErrorKind, ExceptionReport, Tally};
pub use recorder::{Recorder, SegmentBuilder};
pub use sampling::{
    Always, Decision, LocalRules, Never, Outcome, Pattern, Ratio, RequestFacts, Rule, Sampler,
    SamplingRequest, SamplingRulesError,
};
pub use sql::{Preparation, Sql};
#[cfg(feature = "macros")]
pub use xray_macros::subsegment;
