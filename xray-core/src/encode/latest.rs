//! Of several values under one key, the latest holds.

use std::borrow::Cow;
use std::collections::HashMap;

use super::valid;
use crate::record::{Field, Record, Value};

/// Tells which values of one field hold.
pub(super) struct Latest<'a> {
    record: &'a Record,
    /// The one that holds under each key; without it all do.
    by_key: Option<HashMap<Cow<'a, str>, &'a Value>>,
    /// Whether all keys may be written as they stand.
    pub(super) are_valid: bool,
}

impl<'a> Latest<'a> {
    /// Looks through the values of one field, oldest first.
    pub(super) fn of(record: &'a Record, values: impl Iterator<Item = &'a Value> + Clone) -> Self {
        let are_valid = values.clone().all(|value| {
            value.field != Field::Annotation || valid::is_usual_key(record.key(value))
        });
        let by_key = if are_valid && are_distinct(record, values.clone()) {
            None
        } else {
            Some(
                values
                    .map(|value| (valid_key(record, value), value))
                    .collect(),
            )
        };
        Self {
            record,
            by_key,
            are_valid,
        }
    }

    pub(super) fn has(&self, value: &Value) -> bool {
        let Some(by_key) = &self.by_key else {
            return true;
        };
        let latest = by_key.get(&valid_key(self.record, value));
        latest.is_some_and(|latest| std::ptr::eq(*latest, value))
    }
}

/// Whether no two of a few values have the same key, which is usual. Keys are
/// compared only where a mark made of their length and some bytes agrees.
fn are_distinct<'a>(record: &'a Record, values: impl Iterator<Item = &'a Value> + Clone) -> bool {
    const FEW: usize = 32;
    let mut marks = 0_u64;
    for (at, value) in values.clone().enumerate() {
        let key = record.key(value);
        let mark = mark(key.as_bytes());
        let is_new = marks & mark == 0
            || !values
                .clone()
                .take(at)
                .any(|earlier| record.key(earlier) == key);
        if at == FEW || !is_new {
            return false;
        }
        marks |= mark;
    }
    true
}

/// One bit of 64 for a key: different ones mostly have different ones.
pub(super) fn mark(key: &[u8]) -> u64 {
    let byte = |at: usize| u32::from(key.get(at).copied().unwrap_or(0));
    let length = key.len();
    let some = byte(0) | byte(length / 2) << 8 | byte(length.wrapping_sub(1)) << 16;
    let mixed = (some | (length as u32) << 24).wrapping_mul(0x9e37_79b1);
    1 << (mixed >> 26)
}

/// The key as it is written, so that two which become one are one.
fn valid_key<'a>(record: &'a Record, value: &Value) -> Cow<'a, str> {
    match value.field {
        Field::Annotation => valid::key(record.key(value)),
        // The boundary belongs to the key: `a` + `bc` is not `ab` + `c`. Either
        // may hold any character, so none can stand for it.
        _ => {
            let (namespace, key) = record.metadata_key(value);
            Cow::Owned(format!("{} {namespace}{key}", namespace.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_one_mark_are_still_apart_and_the_latest_holds() {
        let (recorder, capture) = crate::Recorder::capture("test");
        let keys: Vec<String> = (0..200).map(|key| format!("key{key}")).collect();
        let segment = recorder.begin_segment("test");
        for (at, one) in keys.iter().enumerate() {
            for other in &keys[..at] {
                if mark(one.as_bytes()) == mark(other.as_bytes()) {
                    let child = segment.begin_subsegment("same mark");
                    child.annotate(other, 1);
                    child.annotate(one, 2);
                    child.annotate(other, 3);
                }
            }
        }
        segment.close();
        let documents = capture.documents();
        let parts = documents.iter().flat_map(crate::document::Document::walk);
        let pairs: Vec<_> = parts.filter(|part| part.name == "same mark").collect();
        assert!(pairs.len() > 100);
        for part in pairs {
            let values: Vec<_> = part.annotations.values().cloned().collect();
            assert_eq!(part.annotations.len(), 2, "{part:?}");
            assert!(values.contains(&2.into()) && values.contains(&3.into()));
        }
    }
}
