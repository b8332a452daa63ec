//! What a hook made of a document, made valid: by the rules of what is recorded,
//! since one bad member costs a reader the whole document.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

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

    fn retain<T>(
        &mut self,
        items: &mut Vec<T>,
        mut is_valid: impl FnMut(&mut Self, &mut T) -> bool,
    ) {
        let before = items.len();
        items.retain_mut(|item| is_valid(self, item));
        self.trimmed += (before - items.len()) as u64;
    }

    /// Writes an id in lower case; `false` if it is none.
    fn id<T: FromStr>(&mut self, id: &mut str) -> bool {
        if id.parse::<T>().is_err() {
            return false;
        }
        if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
            id.make_ascii_lowercase();
            self.trimmed += 1;
        }
        true
    }

    fn keep_id(&mut self, place: &mut Option<String>) {
        let is_wrong = |id| !self.id::<SegmentId>(id);
        if place.as_deref_mut().is_some_and(is_wrong) {
            *place = None;
            self.trimmed += 1;
        }
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
        if !self.id::<SegmentId>(&mut document.id) {
            document.id.clone_from(&before.id);
            self.trimmed += 1;
        }
        let is_trace_id = |id| self.id::<TraceId>(id);
        if !document.trace_id.as_deref_mut().is_some_and(is_trace_id) {
            document.trace_id.clone_from(&before.trace_id);
            self.trimmed += 1;
        }
        self.keep_id(&mut document.parent_id);
        if document.parent_id.is_none() && before.is_subsegment() {
            document.parent_id.clone_from(&before.parent_id);
        }
    }

    /// A start, and either an end that is not before it or the mark that there is
    /// none yet.
    fn times(&mut self, document: &mut Document, like: &Document) {
        let was = (document.start_time, document.end_time, document.in_progress);
        let is_time = |time: &f64| TIMES.contains(time);
        let start = document.start_time.filter(is_time);
        document.start_time = start.or(like.start_time);
        document.end_time = document.end_time.filter(is_time);
        if document.in_progress {
            document.end_time = None;
        } else if document.end_time.is_none() {
            document.end_time = like.end_time;
            document.in_progress = like.end_time.is_none();
        }
        if let (Some(start), Some(end)) = (document.start_time, &mut document.end_time) {
            *end = end.max(start);
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
        self.retain(&mut document.links, |making, link| {
            making.id::<SegmentId>(&mut link.id) && making.id::<TraceId>(&mut link.trace_id)
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
        self.retain(&mut document.precursor_ids, |making, id| {
            making.id::<SegmentId>(id)
        });
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
            Some(Cause::Id(id)) => {
                let is_valid = self.id::<SegmentId>(id);
                self.keep(cause, |_| is_valid);
            }
            Some(Cause::Exceptions(recorded)) => {
                self.retain(&mut recorded.exceptions, |making, exception| {
                    making.id::<SegmentId>(&mut exception.id)
                });
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
        self.keep_id(&mut exception.cause);
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
        self.retain(&mut nested, |making, inner| {
            has_room && making.id::<SegmentId>(&mut inner.id) && making.ids.insert(inner.id.clone())
        });
        for inner in &mut nested {
            // Said by the outermost one.
            (inner.trace_id, inner.parent_id, inner.kind) = (None, None, None);
            self.times(inner, document);
            self.document(inner, false, level + 1);
        }
        document.subsegments = nested;
    }
}

/// Seconds since the Unix epoch, of the years 1970 to 9999.
const TIMES: RangeInclusive<f64> = 0.0..=253_402_300_799.0;

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
