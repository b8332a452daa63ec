//! Records AWS X-Ray segments and sends them to the daemon.

// identity
mod id;

pub use id::{ParseIdError, SegmentId, TraceId};

// documents
pub mod document;
