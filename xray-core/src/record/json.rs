//! A value of the user's, serialised at once, as it may borrow.

use serde::Serialize;
use serde_json::Value;

use crate::encode::json::{harmless, string, trimmed};
use crate::ledger::Ledger;
use crate::limits;

/// What its `Serialize` refuses or panics over becomes a text that says so; what
/// could never be sent becomes its size.
pub(crate) fn capture(value: &impl Serialize, ledger: &Ledger) -> String {
    let captured = ledger.guard(|| serde_json::to_string(value));
    let text = match captured {
        Some(Ok(json)) if json.len() > limits::METADATA_BYTES => {
            ledger.trim(1);
            trimmed(json.len())
        }
        Some(Ok(json)) if depth(json.as_bytes()) > limits::METADATA_DEPTH => {
            ledger.trim(1);
            format!("[trimmed: more than {} levels]", limits::METADATA_DEPTH)
        }
        Some(Ok(json)) => return harmless(json),
        Some(Err(error)) => {
            ledger.trim(1);
            format!("[not serialisable: {error}]")
        }
        None => "[not serialisable: its Serialize panicked]".to_owned(),
    };
    let mut json = Vec::new();
    string(&mut json, &text);
    String::from_utf8(json).unwrap_or_default()
}

/// Leaves `null`s out, which readers of a document's own members may trip
/// over. `None` when nothing is left.
pub(crate) fn without_nulls(json: String) -> Option<String> {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.retain(|item| !item.is_null());
                items.iter_mut().for_each(strip);
            }
            Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    if !json.contains("null") {
        return Some(json);
    }
    // No deeper than `limits::METADATA_DEPTH`, so recursion is safe.
    let mut value: Value = serde_json::from_str(&json).ok()?;
    strip(&mut value);
    (!value.is_null()).then(|| harmless(value.to_string()))
}

/// How deep objects and arrays are nested in valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_left_out_at_any_depth() {
        for (json, expected) in [
            ("null", None),
            (r#""null""#, Some(r#""null""#)),
            (r#"{"a":null,"b":[null,{"c":null}]}"#, Some(r#"{"b":[{}]}"#)),
            ("[1]", Some("[1]")),
        ] {
            assert_eq!(
                without_nulls(json.to_owned()).as_deref(),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (json, expected) in [
            ("1", 0),
            (r#""[[{\"[\\""#, 0),
            (r#"{"a":[{"b":"]"},[]]}"#, 3),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
