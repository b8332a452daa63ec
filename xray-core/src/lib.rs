//! Records AWS X-Ray segments and sends them to the daemon.
//!
//! The feature `macros`, off by default, adds the attribute `#[subsegment]`,
//! which runs a function as a subsegment.

// set-up
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
mod record;

// what becomes of it
pub mod document;
mod emit;
mod encode;
mod ledger;

pub use clock::{ManualClock, TimeSource};
pub use context::{Entered, Scoped, context_missing, current, suppressed};
pub use daemon_address::{DaemonAddress, ParseDaemonAddressError};
pub use emit::capture::Capture;
pub use emit::{Emitter, Flush, Flushed, Pace, Piece};
pub use entity::{Class, Entity, Hold, Namespace, Segment, Subsegment, SubsegmentBuilder};
pub use entropy::{RandomSource, reseed};
pub use error::ConfigError;
pub use future::{Fallible, Plain, TraceExt, Traced, Verdict};
pub use header::{
    HeaderText, Sampled, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader,
    TraceparentText,
};
pub use http::{HttpRequest, HttpResponse};
pub use id::{ParseIdError, SegmentId, TraceId};
pub use ledger::{Documents, Entities, Events, Loss};
pub use record::{AnnotationValue, AnyError, ErrorKind, Tally};
pub use recorder::{Recorder, RecorderBuilder, SegmentBuilder};
pub use sampling::{Always, Decision, Never, Outcome, RequestFacts, Sampler, SamplingRequest};
#[cfg(feature = "macros")]
pub use xray_macros::subsegment;
