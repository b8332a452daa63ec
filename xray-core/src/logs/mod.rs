//! The trace on log lines, so that a trace leads to its lines and back.
//!
//! CloudWatch (ServiceLens, Logs Insights, "view traces" and "view logs")
//! correlates by text: it lists a line with a trace if the line contains the
//! trace id, wherever it stands.

#[cfg(feature = "log-kv")]
mod kv;
#[cfg(feature = "tracing-subscriber")]
mod subscriber;

#[cfg(feature = "log-kv")]
pub use kv::XRayLogger;
#[cfg(feature = "tracing-subscriber")]
pub use subscriber::XRayFormat;

use crate::entity::Entity;
use crate::text::reads_as_str;
use crate::{SegmentId, TraceId};

/// The key of the id on a line.
#[cfg(any(feature = "log-kv", feature = "tracing-subscriber"))]
const KEY: &str = "xray";

/// What a log line says of the trace it belongs to, held inline, so that
/// writing it allocates nothing. Made by [`Entity::log_id`]; reads as a `str`,
/// always visible ASCII, that needs no escaping anywhere.
///
/// `<trace id>@<segment id>`, as the X-Ray SDK for Java writes it; the trace id
/// alone where only that is known; empty where no trace is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogId {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl LogId {
    /// Largest number of bytes.
    pub const MAX_LEN: usize = TraceId::LEN + 1 + SegmentId::LEN;

    fn new(trace_id: Option<TraceId>, id: Option<SegmentId>) -> Self {
        let mut bytes = [b'@'; Self::MAX_LEN];
        let Some(trace_id) = trace_id else {
            return Self { bytes, len: 0 };
        };
        bytes[..TraceId::LEN].copy_from_slice(&trace_id.to_text());
        let Some(id) = id else {
            let len = TraceId::LEN;
            return Self { bytes, len };
        };
        bytes[TraceId::LEN + 1..].copy_from_slice(&id.to_text());
        let len = Self::MAX_LEN;
        Self { bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Entity {
    /// The trace and this segment or subsegment, for a log line; real for
    /// unsampled work too, empty where no trace is.
    ///
    /// CloudWatch shows a line with its trace if the line contains the trace
    /// id, wherever it stands. The features `tracing-subscriber` and `log-kv`
    /// put it on every line; by hand:
    ///
    /// ```
    /// # let recorder = xray_core::Recorder::capture("shop").0;
    /// # let segment = recorder.begin_segment("shop");
    /// # let _entered = segment.enter();
    /// let here = xray_core::current();
    /// let line = format!("xray={} order placed", here.log_id());
    /// # let (trace_id, id) = (here.trace_id().unwrap(), here.id().unwrap());
    /// assert_eq!(line, format!("xray={trace_id}@{id} order placed"));
    /// ```
    pub fn log_id(&self) -> LogId {
        LogId::new(self.trace_id(), self.id())
    }
}

reads_as_str!(LogId);
