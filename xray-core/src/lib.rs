//! Records AWS X-Ray segments and sends them to the daemon.

// identity
mod id;

// what a request says about its trace
mod header;

pub use header::{
    HeaderText, Sampled, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader,
    TraceparentText,
};
pub use id::{ParseIdError, SegmentId, TraceId};

// documents
pub mod document;
