//! What daemon and collector let pass, but this SDK must not write.

use crate::violation::At;
use crate::{Violation, datagram, json};
use serde_json::{Map, Value};

/// Finds what is accepted by [`check`](crate::check) and yet outside the
/// published schema, wasteful, or in the way of tracking a document down:
///
/// - `false` flags, empty objects and arrays, the namespace `local`;
/// - a negative status or number of retries;
/// - text longer than the schema allows;
/// - more than 50 annotations;
/// - a text in which the first `"id":"` is not the document's own, as the daemon
///   looks for just that to name the documents that X-Ray turned down.
///
/// Takes a whole datagram; empty for one that cannot be read.
pub fn tidy(datagram: &[u8]) -> Vec<Violation> {
    let Ok(text) = datagram::body(datagram) else {
        return Vec::new();
    };
    let Ok(Value::Object(outermost)) = json::read(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if first_id(text) != outermost.get("id").and_then(Value::as_str) {
        let reason = "is not the first `\"id\":\"` in the text";
        found.push(Violation::new("id", reason));
    }
    let mut annotations = 0;
    let mut ahead = vec![(String::new(), &outermost)];
    while let Some((path, document)) = ahead.pop() {
        one(&path, document, &mut found);
        let count = |key| {
            document
                .get(key)
                .and_then(Value::as_object)
                .map_or(0, Map::len)
        };
        annotations += count("annotations");
        let inner = document.get("subsegments").and_then(Value::as_array);
        let inner = inner.map_or(&[][..], Vec::as_slice);
        for (index, item) in inner.iter().enumerate().rev() {
            if let Value::Object(item) = item {
                ahead.push((format!("{path}subsegments[{index}]."), item));
            }
        }
    }
    if annotations > 50 {
        let reason = format!("{annotations}, where X-Ray indexes 50 in a trace");
        found.push(Violation::new("annotations", &reason));
    }
    found
}

/// `path` is empty or ends with a dot.
fn one(path: &str, document: &Map<String, Value>, found: &mut Vec<Violation>) {
    let mut report = |path: String, reason: &str| found.push(Violation::new(path, reason));
    for (key, value) in document {
        match key.as_str() {
            "subsegments" if value.as_array().is_some_and(|inner| !inner.is_empty()) => {}
            // What users put in is theirs; only the object itself is ours.
            "annotations" | "metadata" | "aws" | "service" => {
                if is_empty(value) {
                    report(format!("{path}{key}"), "must be left out when empty");
                }
            }
            _ => waste(format!("{path}{}", At("").to(key)), value, &mut report),
        }
    }
    if document
        .get("namespace")
        .is_some_and(|namespace| namespace == "local")
    {
        report(
            format!("{path}namespace"),
            "must be left out for local work",
        );
    }
    let at = |keys: &[&str]| {
        keys.iter()
            .try_fold(document, |from, key| from.get(*key)?.as_object())
    };
    for (holder, keys, limit) in LIMITS {
        let Some(holder_fields) = at(holder) else {
            continue;
        };
        for (key, value) in holder_fields {
            let text = value.as_str().unwrap_or_default();
            if (keys.is_empty() || keys.contains(&key.as_str())) && text.chars().count() > *limit {
                let holder: String = holder.iter().map(|key| format!("{key}.")).collect();
                report(
                    format!("{path}{holder}{key}"),
                    &format!("longer than {limit} characters"),
                );
            }
        }
    }
    for (holder, key) in [("response", "status"), ("aws", "retries")] {
        let (field, count) = match holder {
            "aws" => (format!("{path}aws.{key}"), at(&["aws"])),
            _ => (format!("{path}http.{holder}.{key}"), at(&["http", holder])),
        };
        if count
            .and_then(|fields| fields.get(key)?.as_i64())
            .is_some_and(|count| count < 0)
        {
            report(field, "must not be negative");
        }
    }
}

fn waste(path: String, value: &Value, report: &mut impl FnMut(String, &str)) {
    let mut ahead = vec![(path, value)];
    while let Some((path, value)) = ahead.pop() {
        match value {
            Value::Bool(false) => report(path, "must be left out instead of false"),
            empty if is_empty(empty) => report(path, "must be left out when empty"),
            Value::Array(items) => {
                let items = items.iter().enumerate().rev();
                ahead.extend(items.map(|(index, item)| (format!("{path}[{index}]"), item)));
            }
            Value::Object(fields) => {
                let fields = fields.iter().rev();
                ahead.extend(fields.map(|(key, field)| (At(&path).to(key), field)));
            }
            _ => {}
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn first_id(text: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(text).ok()?.split_once("\"id\":\"")?;
    Some(rest.split_once('"')?.0)
}

/// Lengths by the schema: under which object, which fields (all if none named).
const LIMITS: &[(&[&str], &[&str], usize)] = &[
    (&[], &["user"], 250),
    (
        &["http", "request"],
        &["method", "url", "user_agent", "client_ip"],
        250,
    ),
    (&["sql"], &["user"], 250),
    (&["annotations"], &[], 1000),
];
