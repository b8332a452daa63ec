//! What several test files need.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use xray_local::Document;

pub(crate) const TRACE: &str = "1-66f2a1c0-0123456789abcdef01234567";

/// A datagram around this document.
pub(crate) fn framed(document: &str) -> Vec<u8> {
    format!("{{\"format\":\"json\",\"version\":1}}\n{document}").into_bytes()
}

/// A complete segment of one second; the id from a number.
pub(crate) fn segment(id: u64, name: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","id":"{id:016x}","trace_id":"{TRACE}","start_time":10.0,"end_time":11.0{more}}}"#
    )
}

pub(crate) fn document(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap()
}
