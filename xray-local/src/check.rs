//! The rules a document must keep for the daemon and the collector to take it.

use crate::datagram::{self, MARKED};
use crate::rules::{
    CAUSE, EXCEPTION, Fields, NAME, SEGMENT_ID, STACK_FRAME, TEXT, TRACE_ID, TYPES, Type,
    is_annotation_key, is_name, is_sql_url,
};
use crate::violation::At;
use crate::{Document, Violation, json};
use serde_json::{Map, Value};
use std::collections::HashSet;
use xray_core::{SegmentId, TraceId};

/// Judges a whole datagram, header line included.
///
/// Strict in what makes the daemon or the OpenTelemetry collector drop a
/// document, and in the documented form of names, ids and annotations.
/// Everything that other SDKs write and both accept is accepted; for what this
/// SDK should avoid on top of that see [`tidy`](crate::tidy).
///
/// # Errors
///
/// Every rule broken, in the order of the document; of more than 50 the first,
/// and how many more there are.
///
/// ```
/// let broken = xray_local::check(b"{\"format\":\"json\",\"version\":1}\n{\"name\":\"a\"}").unwrap_err();
/// assert_eq!(broken[0].to_string(), "id: missing");
/// ```
pub fn check(datagram: &[u8]) -> Result<Document, Vec<Violation>> {
    check_document(datagram::body(datagram).map_err(|broken| vec![broken])?)
}

/// Judges a document without its header line.
///
/// # Errors
///
/// As [`check`].
pub fn check_document(text: &[u8]) -> Result<Document, Vec<Violation>> {
    if text.starts_with(datagram::BYTE_ORDER_MARK) {
        return Err(vec![Violation::new("document", MARKED)]);
    }
    let value = match json::read(text) {
        Ok(value) => value,
        Err(error) => {
            return Err(vec![Violation::new("document", &error.to_string())]);
        }
    };
    let Value::Object(outermost) = &value else {
        return Err(vec![Violation::new("document", "must be an object")]);
    };
    let mut checker = Checker::default();
    checker.all(outermost);
    if checker.more > 0 {
        let reason = format!("breaks {} more rules", checker.more);
        checker.broken.push(Violation::new("document", &reason));
    }
    if !checker.broken.is_empty() {
        return Err(checker.broken);
    }
    serde_json::from_value(value)
        .map_err(|error| vec![Violation::new("document", &error.to_string())])
}

#[derive(Default)]
struct Checker {
    broken: Vec<Violation>,
    /// Rules broken on top of those.
    more: usize,
    ids: HashSet<SegmentId>,
    trace_id: Option<TraceId>,
}

impl Checker {
    fn all(&mut self, outermost: &Map<String, Value>) {
        let mut ahead = vec![(String::new(), outermost)];
        while let Some((path, document)) = ahead.pop() {
            let at = At(&path);
            self.identity(at, document);
            self.times(at, document);
            self.values(at, document);
            self.cause(at, document.get("cause"));
            let inner = self.items(&at.to("subsegments"), document.get("subsegments"));
            ahead.extend(inner.into_iter().rev());
        }
    }

    fn identity(&mut self, at: At<'_>, document: &Map<String, Value>) {
        let nested = !at.0.is_empty();
        match text(document, "name") {
            Ok(Some(name)) if !is_name(name) => self.report(at.to("name"), NAME),
            Ok(Some(_)) => {}
            other => self.missing_or_not_text(at.to("name"), other),
        }
        match text(document, "id") {
            Ok(Some(id)) => match id.parse() {
                Ok(id) if self.ids.insert(id) => {}
                Ok(_) => self.report(at.to("id"), "used twice in this document"),
                Err(_) => self.report(at.to("id"), SEGMENT_ID),
            },
            other => self.missing_or_not_text(at.to("id"), other),
        }
        match text(document, "trace_id") {
            Ok(Some(id)) => match id.parse() {
                Ok(id) if *self.trace_id.get_or_insert(id) == id => {}
                Ok(_) => self.report(at.to("trace_id"), "differs from the outermost one"),
                Err(_) => self.report(at.to("trace_id"), TRACE_ID),
            },
            Ok(None) if nested => {}
            other => self.missing_or_not_text(at.to("trace_id"), other),
        }
        let independent = !nested
            && document
                .get("type")
                .is_some_and(|kind| kind == "subsegment");
        match text(document, "parent_id") {
            Ok(Some(id)) => self.segment_id(at.to("parent_id"), id),
            Ok(None) if independent => {
                let reason = "missing, though `type` is `subsegment`";
                self.report(at.to("parent_id"), reason);
            }
            Ok(None) => {}
            Err(NotText) => self.report(at.to("parent_id"), TEXT),
        }
        if document
            .get("type")
            .is_some_and(|kind| !kind.is_null() && kind != "subsegment")
        {
            self.report(at.to("type"), "must be `subsegment` or absent");
        }
    }

    fn times(&mut self, at: At<'_>, document: &Map<String, Value>) {
        let [start, end] = ["start_time", "end_time"].map(|key| {
            let time = document.get(key).filter(|time| !time.is_null());
            if let Some(reason) = time.and_then(unlike_a_time) {
                self.report(at.to(key), reason);
            }
            time
        });
        if start.is_none() {
            self.report(at.to("start_time"), "missing");
        }
        let seconds = [start, end].map(|time| time.and_then(Value::as_f64));
        if let [Some(start), Some(end)] = seconds
            && end < start
        {
            self.report(at.to("end_time"), "lies before `start_time`");
        }
        let open = document.get("in_progress") == Some(&Value::Bool(true));
        match (end.is_some(), open) {
            (true, true) => self.report(at.to("end_time"), "stands beside `in_progress`"),
            (false, false) => self.report(at.to("end_time"), "missing, and not `in_progress`"),
            _ => {}
        }
    }

    fn values(&mut self, at: At<'_>, document: &Map<String, Value>) {
        for (key, value) in document {
            // Null is a value like any other in metadata; nested documents
            // have their own turn.
            if key != "metadata" && key != "subsegments" {
                self.nulls(&mut at.to(key), value);
            }
        }
        for (object, fields) in TYPES {
            let Some(holder) = object
                .iter()
                .try_fold(document, |holder, key| holder.get(*key)?.as_object())
            else {
                continue; // absent, or reported by the object around it
            };
            let path = object
                .iter()
                .fold(at.0.to_owned(), |path, key| At(&path).to(key));
            self.types(At(&path), holder, fields);
        }
        if let Some(namespace) = document.get("namespace").and_then(Value::as_str)
            && !["aws", "remote", "local"].contains(&namespace)
        {
            self.report(at.to("namespace"), "must be `aws`, `remote` or `local`");
        }
        let url = document.get("sql").and_then(|sql| sql.get("url")?.as_str());
        if url.is_some_and(|url| !is_sql_url(url)) {
            let reason = "must have the form `scheme://host/database`";
            self.report(at.to("sql.url"), reason);
        }
        self.annotations(at, document);
        self.references(at, document);
    }

    fn annotations(&mut self, at: At<'_>, document: &Map<String, Value>) {
        let entries = |key| document.get(key).and_then(Value::as_object);
        for (key, value) in entries("annotations").into_iter().flatten() {
            let path = At(&at.to("annotations")).to(key);
            if !is_annotation_key(key) {
                self.report(path, "its key must be 1 to 500 of A-Z a-z 0-9 _ .");
            } else if value.is_array() || value.is_object() {
                self.report(path, "must be text, a number or a boolean");
            }
        }
        for (namespace, value) in entries("metadata").into_iter().flatten() {
            if !value.is_object() {
                let path = At(&at.to("metadata")).to(namespace);
                self.report(path, "must be an object");
            }
        }
    }

    fn references(&mut self, at: At<'_>, document: &Map<String, Value>) {
        let path = at.to("precursor_ids");
        let ids = document.get("precursor_ids").and_then(Value::as_array);
        for (index, id) in ids.into_iter().flatten().enumerate() {
            if let Some(id) = id.as_str() {
                self.segment_id(format!("{path}[{index}]"), id);
            }
        }
        for (path, link) in self.items(&at.to("links"), document.get("links")) {
            let id_of = |key| link.get(key).and_then(Value::as_str).unwrap_or_default();
            if id_of("trace_id").parse::<TraceId>().is_err() {
                self.report(At(&path).to("trace_id"), TRACE_ID);
            }
            self.segment_id(At(&path).to("id"), id_of("id"));
        }
    }

    fn cause(&mut self, at: At<'_>, cause: Option<&Value>) {
        let path = at.to("cause");
        let cause = match cause {
            None | Some(Value::Null) => return,
            Some(Value::String(id)) => return self.segment_id(path, id),
            Some(Value::Object(cause)) => cause,
            Some(_) => return self.report(path, "must be an id or an object"),
        };
        self.types(At(&path), cause, CAUSE);
        for (path, exception) in self.items(&At(&path).to("exceptions"), cause.get("exceptions")) {
            let at = At(&path);
            match text(exception, "id") {
                Ok(Some(id)) => self.segment_id(at.to("id"), id),
                other => self.missing_or_not_text(at.to("id"), other),
            }
            self.types(at, exception, EXCEPTION);
            for (path, frame) in self.items(&at.to("stack"), exception.get("stack")) {
                self.types(At(&path), frame, STACK_FRAME);
            }
        }
    }

    /// The objects of an array, each with its path.
    fn items<'v>(
        &mut self,
        path: &str,
        array: Option<&'v Value>,
    ) -> Vec<(String, &'v Map<String, Value>)> {
        let mut objects = Vec::new();
        match array {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match item {
                        Value::Object(object) => objects.push((path, object)),
                        _ => self.report(path, "must be an object"),
                    }
                }
            }
            Some(_) => self.report(path.to_owned(), "must be an array"),
        }
        objects
    }

    fn types(&mut self, at: At<'_>, object: &Map<String, Value>, fields: Fields) {
        for (key, kind) in fields {
            let Some(value) = object.get(*key).filter(|value| !value.is_null()) else {
                continue;
            };
            let (fits, reason) = match kind {
                Type::Text => (value.is_string(), TEXT),
                Type::Flag => (value.is_boolean(), "must be a boolean"),
                Type::Integer | Type::Length if value.is_u64() && !value.is_i64() => {
                    (false, "must be at most 9223372036854775807")
                }
                Type::Length if value.as_i64().is_some_and(i64::is_negative) => {
                    (false, "must not be negative")
                }
                Type::Integer | Type::Length => (value.is_i64(), "must be an integer"),
                Type::Object => (value.is_object(), "must be an object"),
                Type::Texts => (
                    value
                        .as_array()
                        .is_some_and(|items| items.iter().all(Value::is_string)),
                    "must be an array of text",
                ),
            };
            if !fits {
                self.report(at.to(key), reason);
            }
        }
    }

    /// Reports every null below; the depth is bounded by the reader.
    fn nulls(&mut self, path: &mut String, value: &Value) {
        let length = path.len();
        match value {
            Value::Null => self.report(path.clone(), "must be left out instead of null"),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.nulls(path, item);
                    path.truncate(length);
                }
            }
            Value::Object(fields) => {
                for (key, field) in fields {
                    self.nulls(&mut At(path).to(key), field);
                }
            }
            _ => {}
        }
    }

    fn segment_id(&mut self, path: String, id: &str) {
        if id.parse::<SegmentId>().is_err() {
            self.report(path, SEGMENT_ID);
        }
    }

    fn missing_or_not_text(&mut self, path: String, found: Result<Option<&str>, NotText>) {
        let reason = if found.is_err() { TEXT } else { "missing" };
        self.report(path, reason);
    }

    fn report(&mut self, path: String, reason: &str) {
        if self.broken.len() < VIOLATIONS {
            self.broken.push(Violation::new(path, reason));
        } else {
            self.more += 1;
        }
    }
}

struct NotText;

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, NotText> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(NotText),
    }
}

/// X-Ray takes seconds since 1970. The nearest slip is milliseconds: those of
/// 1973 are above the limit, and the limit in seconds is the year 5138.
fn unlike_a_time(time: &Value) -> Option<&'static str> {
    match time.as_f64() {
        None => Some("must be a number"),
        Some(seconds) if seconds < 0.0 => Some("must not lie before 1970"),
        Some(seconds) if seconds > 1e11 => Some("must be in seconds, not in milliseconds or less"),
        Some(_) => None,
    }
}

/// A document of 64 kB can break some 20,000.
const VIOLATIONS: usize = 50;
