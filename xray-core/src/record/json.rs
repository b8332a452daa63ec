//! A value of the user's, serialised at once, as it may borrow.

use serde::Serialize;

use super::writer::{Nulls, Stop, write};
use crate::encode::aws;
use crate::encode::json::string;
use crate::ledger::Ledger;
use crate::limits;

/// What its `Serialize` refuses or panics over becomes a text that says so; what
/// is too large or too deep becomes a mark, as soon as that is known.
pub(crate) fn capture(value: &impl Serialize, ledger: &Ledger) -> String {
    let text = match ledger.guard(|| write(value, Nulls::Kept)) {
        Some(Ok(json)) => return json,
        Some(Err(stop)) => {
            ledger.trim(1);
            mark(&stop)
        }
        None => "[not serialisable: its Serialize panicked]".to_owned(),
    };
    let mut json = Vec::new();
    string(&mut json, &text);
    String::from_utf8(json).unwrap_or_default()
}

fn mark(stop: &Stop) -> String {
    match stop {
        Stop::TooLarge => "[trimmed: more than 64 kB]".to_owned(),
        Stop::TooDeep => too_deep(),
        Stop::Refused(why) => format!("[not serialisable: {why}]"),
    }
}

/// What stands where a value has too many levels.
pub(crate) fn too_deep() -> String {
    format!("[trimmed: more than {} levels]", limits::METADATA_DEPTH)
}

/// The same for a member of `aws`, whose readers know its type: no text can
/// stand for it, so it is left out. Without `null`s, over which they may trip.
/// `None` when nothing is left.
pub(crate) fn capture_aws(key: &str, value: &impl Serialize, ledger: &Ledger) -> Option<String> {
    let json = match ledger.guard(|| write(value, Nulls::LeftOut))? {
        Ok(json) => json,
        Err(_) => {
            ledger.trim(1);
            return None;
        }
    };
    if matches!(json.as_str(), "null" | "{}") {
        return None;
    }
    let (json, trimmed) = aws::member(key, json);
    ledger.trim(trimmed);
    json
}
