//! The frame around a document: a header line, a line feed, the document.

use crate::Violation;
use serde_json::Value;

/// What an IPv4 datagram can carry.
pub(crate) const MAX_DATAGRAM: usize = 65_507;

/// U+FEFF, which editors put before a text. JSON has no place for it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
pub(crate) const MARKED: &str = "begins with a byte order mark";

/// Takes the header line off, as the daemon does: at the first line feed,
/// `format` in any case, `version` 1, further fields ignored.
pub(crate) fn body(datagram: &[u8]) -> Result<&[u8], Violation> {
    if datagram.len() > MAX_DATAGRAM {
        let reason = format!("{} bytes, more than {MAX_DATAGRAM}", datagram.len());
        return Err(Violation::new("datagram", &reason));
    }
    let Some(end) = datagram.iter().position(|&byte| byte == b'\n') else {
        return Err(Violation::new("header", "no line feed ends it"));
    };
    let (header, body) = (&datagram[..end], &datagram[end + 1..]);
    if header.starts_with(BYTE_ORDER_MARK) {
        return Err(Violation::new("header", MARKED));
    }
    let Ok(Value::Object(header)) = serde_json::from_slice(header) else {
        return Err(Violation::new("header", "is not a JSON object"));
    };
    let format = header.get("format").and_then(Value::as_str);
    if !format.is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        return Err(Violation::new("header.format", "must be `json`"));
    }
    if header.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(Violation::new("header.version", "must be 1"));
    }
    Ok(body)
}
