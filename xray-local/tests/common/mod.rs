//! What several test files need.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use xray_local::{Document, Trace, join};

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

/// Control characters, ANSI and C1 escapes, a line of its own, reversed and
/// invisible text, a quotation mark.
pub(crate) const HOSTILE: &str =
    "\u{1b}]0;owned\u{7}\r\n\u{202e}\u{200b}\u{9b}2J\u{2028}\u{7f}\u{e0041}\"";

/// With that wherever a document holds text.
pub(crate) fn hostile_trace() -> Trace {
    let mut segment = document(&segment(10, "a", ""));
    segment.name = HOSTILE.to_owned();
    segment.trace_id = Some(HOSTILE.to_owned());
    segment.parent_id = Some(HOSTILE.to_owned());
    segment
        .annotations
        .insert(HOSTILE.to_owned(), format!("\"{HOSTILE}\\").into());
    segment.aws.insert("operation".to_owned(), HOSTILE.into());
    let more = serde_json::json!({"http": {"request": {"method": HOSTILE, "url": HOSTILE}},
        "cause": {"exceptions": [{"id": HOSTILE}, {"type": HOSTILE, "message": HOSTILE}]}});
    let more: Document = serde_json::from_value(more).unwrap();
    segment.http = more.http;
    segment.cause = more.cause;
    join([segment]).remove(0)
}
