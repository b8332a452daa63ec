//! What a hook made of a document, made valid: by the rules of what is recorded,
//! since one bad member costs a reader the whole document.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Cause, Document, Exception, Exceptions, Http, HttpRequest, HttpResponse, Link, Sql};
use crate::encode::{aws, valid};
use crate::limits;
use crate::sql::is_url;
use crate::{SegmentId, TraceId};

/// Makes a document valid. Where and when the outermost one belongs is that of
/// `before`, if a hook left nothing that could be. Returns how many values were
/// changed or left out.
pub(crate) fn make_valid(document: &mut Document, before: &Document) -> u64 {
    let mut making = Making::default();
    making.place(document, before);
    making.times(document, before);
    let is_segment = !before.is_subsegment();
    making.ids.insert(document.id.clone());
    making.document(document, is_segment, 1);
    making.trimmed
}

#[derive(Default)]
struct Making {
    trimmed: u64,
    ids: HashSet<String>,
}

impl Making {
    /// Leaves out what is there and must not be.
    fn take<T: Default + PartialEq>(&mut self, place: &mut T) {
        if *place != T::default() {
            *place = T::default();
            self.trimmed += 1;
        }
    }

    /// Leaves out what is not as it must be.
    fn keep<T>(&mut self, place: &mut Option<T>, is_valid: impl FnOnce(&T) -> bool) {
        if place.as_ref().is_some_and(|value| !is_valid(value)) {
            *place = None;
            self.trimmed += 1;
        }
    }

    fn retain<T>(&mut self, items: &mut Vec<T>, is_valid: impl FnMut(&T) -> bool) {
        let before = items.len();
        items.retain(is_valid);
        self.trimmed += (before - items.len()) as u64;
    }

    fn cut(&mut self, text: &mut String, limit: usize) {
        if let (cut, true) = valid::text(text, limit) {
            *text = cut.into_owned();
            self.trimmed += 1;
        }
    }

    fn cut_all<'a>(&mut self, texts: impl IntoIterator<Item = &'a mut Option<String>>) {
        for text in texts.into_iter().flatten() {
            self.cut(text, limits::STRING_CHARS);
        }
    }

    /// Members of which the model knows nothing: none that it does know, and no
    /// `null`.
    fn other(&mut self, other: &mut Map<String, Value>, known: &[&str]) {
        let before = other.len();
        other.retain(|key, value| !known.contains(&key.as_str()) && is_shallow(value));
        self.trimmed += (before - other.len()) as u64;
        without_nulls(other);
    }

    fn place(&mut self, document: &mut Document, before: &Document) {
        document.kind.clone_from(&before.kind);
        if !is_segment_id(&document.id) {
            document.id.clone_from(&before.id);
            self.trimmed += 1;
        }
        let is_trace_id = |id: &String| id.parse::<TraceId>().is_ok();
        if !document.trace_id.as_ref().is_some_and(is_trace_id) {
            document.trace_id.clone_from(&before.trace_id);
            self.trimmed += 1;
        }
        self.keep(&mut document.parent_id, |id| is_segment_id(id));
        if document.parent_id.is_none() && before.is_subsegment() {
            document.parent_id.clone_from(&before.parent_id);
        }
    }

    /// A start, and either an end or the mark that there is none yet.
    fn times(&mut self, document: &mut Document, like: &Document) {
        let was = (document.start_time, document.end_time, document.in_progress);
        let is_time = |time: &f64| time.is_finite();
        let start = document.start_time.filter(is_time);
        document.start_time = start.or(like.start_time);
        document.end_time = document.end_time.filter(is_time);
        if document.in_progress {
            document.end_time = None;
        } else if document.end_time.is_none() {
            document.end_time = like.end_time;
            document.in_progress = like.end_time.is_none();
        }
        let is = (document.start_time, document.end_time, document.in_progress);
        self.trimmed += u64::from(was != is);
    }

    fn document(&mut self, document: &mut Document, is_segment: bool, level: u16) {
        let name = valid::name(&document.name);
        if name != document.name {
            document.name = name.into_owned();
            self.trimmed += 1;
        }
        if is_segment {
            self.segment(document);
        } else {
            self.subsegment(document);
        }
        self.cause(&mut document.cause);
        self.http(&mut document.http);
        self.block(&mut document.aws, aws::make_aws_fit);
        self.annotations(&mut document.annotations);
        self.metadata(&mut document.metadata);
        self.other(&mut document.other, KNOWN);
        self.nested(document, level);
    }

    fn segment(&mut self, document: &mut Document) {
        self.take(&mut document.namespace);
        self.take(&mut document.traced);
        self.take(&mut document.sql);
        self.take(&mut document.precursor_ids);
        self.cut_all([
            &mut document.user,
            &mut document.origin,
            &mut document.resource_arn,
        ]);
        self.block(&mut document.service, aws::make_service_fit);
        self.retain(&mut document.links, |link| {
            is_segment_id(&link.id) && link.trace_id.parse::<TraceId>().is_ok()
        });
        for Link {
            attributes, other, ..
        } in &mut document.links
        {
            self.other(attributes, &[]);
            self.other(other, &["trace_id", "id", "attributes"]);
        }
    }

    fn subsegment(&mut self, document: &mut Document) {
        self.take(&mut document.user);
        self.take(&mut document.origin);
        self.take(&mut document.resource_arn);
        self.take(&mut document.service);
        self.take(&mut document.links);
        self.keep(&mut document.namespace, |namespace| {
            matches!(namespace.as_str(), "aws" | "remote" | "local")
        });
        self.retain(&mut document.precursor_ids, |id| is_segment_id(id));
        if let Some(sql) = &mut document.sql {
            self.keep(&mut sql.url, |url| is_url(url));
            self.cut_all([&mut sql.user]);
            self.other(&mut sql.other, SQL);
        }
        document.sql.take_if(|sql| *sql == Sql::default());
    }

    fn cause(&mut self, cause: &mut Option<Cause>) {
        match cause {
            None => {}
            Some(Cause::Id(_)) => self.keep(
                cause,
                |cause| matches!(cause, Cause::Id(id) if is_segment_id(id)),
            ),
            Some(Cause::Exceptions(recorded)) => {
                self.retain(&mut recorded.exceptions, |e| is_segment_id(&e.id));
                self.other(&mut recorded.other, CAUSE);
                for exception in &mut recorded.exceptions {
                    self.exception(exception);
                }
                if *recorded == Exceptions::default() {
                    *cause = None;
                }
            }
        }
    }

    fn exception(&mut self, exception: &mut Exception) {
        self.keep(&mut exception.cause, |id| is_segment_id(id));
        self.other(&mut exception.other, EXCEPTION);
        for frame in &mut exception.stack {
            self.other(&mut frame.other, &["path", "line", "label"]);
        }
    }

    fn http(&mut self, http: &mut Option<Http>) {
        let Some(exchange) = http else {
            return;
        };
        self.other(&mut exchange.other, &["request", "response"]);
        if let Some(request) = &mut exchange.request {
            self.cut_all([
                &mut request.method,
                &mut request.url,
                &mut request.user_agent,
                &mut request.client_ip,
            ]);
            self.other(&mut request.other, REQUEST);
        }
        if let Some(response) = &mut exchange.response {
            self.other(&mut response.other, &["status", "content_length"]);
        }
        let (request, response) = (&mut exchange.request, &mut exchange.response);
        request.take_if(|request| *request == HttpRequest::default());
        response.take_if(|response| *response == HttpResponse::default());
        http.take_if(|exchange| *exchange == Http::default());
    }

    fn block(
        &mut self,
        members: &mut Map<String, Value>,
        make_fit: impl Fn(&mut Map<String, Value>) -> u64,
    ) {
        self.other(members, &[]);
        self.trimmed += make_fit(members);
    }

    fn annotations(&mut self, annotations: &mut Map<String, Value>) {
        for (given, mut value) in std::mem::take(annotations) {
            let key = valid::key(&given);
            match &mut value {
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    self.trimmed += 1;
                    continue;
                }
                Value::String(text) => self.cut(text, limits::ANNOTATION_CHARS),
                Value::Bool(_) | Value::Number(_) => {}
            }
            self.trimmed += u64::from(key != given);
            annotations.insert(key.into_owned(), value);
        }
    }

    fn metadata(&mut self, metadata: &mut Map<String, Value>) {
        let before = metadata.len();
        metadata.retain(|_, keys| keys.is_object());
        self.trimmed += (before - metadata.len()) as u64;
        let values = metadata.values_mut().filter_map(Value::as_object_mut);
        for value in values.flat_map(Map::values_mut) {
            if !is_shallow(value) {
                *value = crate::record::json::too_deep().into();
                self.trimmed += 1;
            }
        }
    }

    fn nested(&mut self, document: &mut Document, level: u16) {
        let mut nested = std::mem::take(&mut document.subsegments);
        let has_room = level < limits::DOCUMENT_DEPTH;
        let ids = &mut self.ids;
        let before = nested.len();
        nested.retain(|inner| has_room && is_segment_id(&inner.id) && ids.insert(inner.id.clone()));
        self.trimmed += (before - nested.len()) as u64;
        for inner in &mut nested {
            // Said by the outermost one.
            (inner.trace_id, inner.parent_id, inner.kind) = (None, None, None);
            self.times(inner, document);
            self.document(inner, false, level + 1);
        }
        document.subsegments = nested;
    }
}

fn is_segment_id(id: &str) -> bool {
    id.parse::<SegmentId>().is_ok()
}

/// Whether a value has no more levels than one that is recorded.
fn is_shallow(value: &Value) -> bool {
    fn within(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| within(item, levels - 1)),
            Value::Object(members) => {
                levels > 0 && members.values().all(|member| within(member, levels - 1))
            }
            _ => true,
        }
    }
    within(value, limits::METADATA_DEPTH)
}

/// Leaves `null`s out, and objects of which nothing is left. No deeper than
/// [`is_shallow`], so recursion is safe.
fn without_nulls(members: &mut Map<String, Value>) {
    fn stays(value: &mut Value) -> bool {
        match value {
            Value::Null => false,
            Value::Array(items) => {
                items.retain_mut(stays);
                true
            }
            Value::Object(members) => {
                without_nulls(members);
                !members.is_empty()
            }
            _ => true,
        }
    }
    members.retain(|_, value| stays(value));
}

// What the model has a field for, and is not written a second time.
const KNOWN: &[&str] = &[
    "name",
    "id",
    "trace_id",
    "parent_id",
    "type",
    "start_time",
    "end_time",
    "in_progress",
    "error",
    "throttle",
    "fault",
    "cause",
    "http",
    "namespace",
    "traced",
    "aws",
    "sql",
    "annotations",
    "metadata",
    "user",
    "origin",
    "resource_arn",
    "service",
    "links",
    "precursor_ids",
    "subsegments",
];
const CAUSE: &[&str] = &["working_directory", "paths", "exceptions"];
const EXCEPTION: &[&str] = &[
    "id",
    "message",
    "type",
    "remote",
    "truncated",
    "skipped",
    "cause",
    "stack",
];
const REQUEST: &[&str] = &[
    "method",
    "url",
    "user_agent",
    "client_ip",
    "x_forwarded_for",
    "traced",
];
const SQL: &[&str] = &[
    "connection_string",
    "url",
    "sanitized_query",
    "database_type",
    "database_version",
    "driver_version",
    "user",
    "preparation",
];
