//! The members of one entity's object, children apart.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{json, valid};
use crate::emit::{Piece, PieceHead};
use crate::limits;
use crate::record::{Exception, Field, Flags, NodeIndex, Record, State, Stored, Value};

/// How much is left out so that an entity fits: each step keeps less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trim {
    Nothing,
    /// Metadata values of more than this many bytes.
    Metadata(usize),
    /// All texts of `sql`, `aws` and exceptions to a few characters, and
    /// annotations beyond the 50 that X-Ray indexes.
    Everything,
}

/// Writes `{"name":…,"id":…` up to, and without, `subsegments` and the closing
/// brace. Returns how many values were shortened or left out.
pub(super) fn write(out: &mut Vec<u8>, piece: &Piece, node: NodeIndex, trim: Trim) -> u64 {
    let record = &piece.record;
    let entity = record.node(node);
    let mut members = Members {
        out,
        record,
        values: record.values(node).collect(),
        trim,
        trimmed: 0,
    };
    members.values.reverse();
    members.identity(&piece.head, node);
    for (flag, text) in [
        (Flags::ERROR, ",\"error\":true"),
        (Flags::THROTTLE, ",\"throttle\":true"),
        (Flags::FAULT, ",\"fault\":true"),
        (Flags::REMOTE, ",\"namespace\":\"remote\""),
        (Flags::AWS, ",\"namespace\":\"aws\""),
        (Flags::TRACED, ",\"traced\":true"),
    ] {
        if entity.flags.has(flag) {
            members.raw(text);
        }
    }
    if entity.is_segment {
        members.segment(piece);
    }
    if !members.values.is_empty() {
        members.cause();
        members.http();
        members.precursors();
        members.annotations();
        members.metadata();
    }
    members.trimmed
}

struct Members<'a> {
    out: &'a mut Vec<u8>,
    record: &'a Record,
    /// Oldest first.
    values: Vec<&'a Value>,
    trim: Trim,
    trimmed: u64,
}

impl<'a> Members<'a> {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Name and id first: the daemon takes the first `"id"` for the document's.
    fn identity(&mut self, head: &PieceHead, node: NodeIndex) {
        let entity = self.record.node(node);
        self.raw("{\"name\":");
        json::string(self.out, &valid::name(self.record.text(entity.name)));
        self.raw(",\"id\":\"");
        self.out.extend_from_slice(&entity.id.to_text());
        self.raw("\",\"start_time\":");
        json::seconds(self.out, head.anchor.micros(entity.start));
        if entity.state == State::Closed {
            self.raw(",\"end_time\":");
            json::seconds(self.out, head.anchor.micros(entity.end));
        } else {
            self.raw(",\"in_progress\":true");
        }
    }

    /// The latest value of a field that is there once.
    fn last(&self, field: Field) -> Option<&'a Value> {
        self.values
            .iter()
            .rev()
            .find(|value| value.field == field)
            .copied()
    }

    fn last_text(&self, field: Field) -> Option<&'a str> {
        match self.last(field)?.stored {
            Stored::Text(text) => Some(self.record.text(text)),
            _ => None,
        }
    }

    fn bounded(&mut self, text: &str, limit: usize) {
        let limit = if self.trim == Trim::Everything {
            limit.min(50)
        } else {
            limit
        };
        let (text, cut) = valid::text(text, limit);
        self.trimmed += u64::from(cut);
        json::string(self.out, &text);
    }

    fn segment(&mut self, piece: &Piece) {
        let common = &piece.common;
        if let Some(user) = self.last_text(Field::User) {
            self.raw(",\"user\":");
            self.bounded(user, limits::STRING_CHARS);
        }
        let origin = self.last_text(Field::Origin).or(common.origin.as_deref());
        if let Some(origin) = origin {
            self.raw(",\"origin\":");
            self.bounded(origin, limits::STRING_CHARS);
        }
        let version = self.last_text(Field::ServiceVersion);
        if let Some(version) = version.or(common.service_version.as_deref()) {
            self.raw(",\"service\":{\"version\":");
            self.bounded(version, limits::STRING_CHARS);
            self.raw("}");
        }
        self.raw(",\"aws\":{\"xray\":{\"sdk\":\"X-Ray for Rust\",\"sdk_version\":\"");
        self.raw(env!("CARGO_PKG_VERSION"));
        self.raw("\"");
        if let Some(rule) = &piece.head.rule {
            self.raw(",\"sampling_rule_name\":");
            self.bounded(rule, limits::STRING_CHARS);
        }
        self.raw("}}");
    }

    fn cause(&mut self) {
        let record = self.record;
        let all = self
            .values
            .iter()
            .filter_map(|value| match (value.field, value.stored) {
                (Field::Exception, Stored::Exception(index)) => {
                    Some(&record.exceptions[index as usize])
                }
                _ => None,
            });
        let mut exceptions: Vec<&Exception> = all.collect();
        if self.trim == Trim::Everything && exceptions.len() > limits::EXCEPTIONS {
            self.trimmed += (exceptions.len() - limits::EXCEPTIONS) as u64;
            exceptions.truncate(limits::EXCEPTIONS);
        }
        let mut opening = ",\"cause\":{\"exceptions\":[";
        for exception in &exceptions {
            self.raw(opening);
            opening = ",";
            self.exception(exception);
        }
        if !exceptions.is_empty() {
            self.raw("]}");
        } else if let Some(Stored::Id(id)) = self.last(Field::CauseLink).map(|link| link.stored) {
            self.raw(",\"cause\":\"");
            self.id(id);
            self.raw("\"");
        }
    }

    fn exception(&mut self, exception: &Exception) {
        self.raw("{\"id\":\"");
        self.out.extend_from_slice(&exception.id.to_text());
        self.raw("\",\"type\":");
        self.bounded(&exception.kind, limits::EXCEPTION_KIND_BYTES);
        self.raw(",\"message\":");
        self.bounded(&exception.message, limits::MESSAGE_BYTES + 1);
        if exception.remote {
            self.raw(",\"remote\":true");
        }
        if let Some(cause) = exception.cause {
            self.raw(",\"cause\":\"");
            self.out.extend_from_slice(&cause.to_text());
            self.raw("\"");
        }
        self.raw("}");
    }

    fn id(&mut self, bits: u64) {
        let mut digits = [0; 16];
        crate::id::write_hex(bits, &mut digits);
        self.out.extend_from_slice(&digits);
    }

    fn http(&mut self) {
        let request = [
            (Field::HttpMethod, "\"method\":"),
            (Field::HttpUrl, "\"url\":"),
            (Field::HttpUserAgent, "\"user_agent\":"),
            (Field::HttpClientIp, "\"client_ip\":"),
            (Field::HttpForwarded, "\"x_forwarded_for\":"),
        ];
        let response = [
            (Field::HttpStatus, "\"status\":"),
            (Field::HttpContentLength, "\"content_length\":"),
        ];
        let has = |values: &[&Value], fields: &[(Field, &str)]| {
            values
                .iter()
                .any(|value| fields.iter().any(|field| field.0 == value.field))
        };
        let (is_request, is_response) = (has(&self.values, &request), has(&self.values, &response));
        if !is_request && !is_response {
            return;
        }
        self.raw(",\"http\":{");
        if is_request {
            self.raw("\"request\":{");
            self.fields(&request);
            self.raw(if is_response { "}," } else { "}" });
        }
        if is_response {
            self.raw("\"response\":{");
            self.fields(&response);
            self.raw("}");
        }
        self.raw("}");
    }

    fn fields(&mut self, fields: &[(Field, &str)]) {
        let mut separator = "";
        for (field, name) in fields {
            if let Some(value) = self.last(*field) {
                self.raw(separator);
                separator = ",";
                self.raw(name);
                self.value(value, limits::STRING_CHARS);
            }
        }
    }

    fn precursors(&mut self) {
        let mut opening = ",\"precursor_ids\":[\"";
        let ids: Vec<u64> = self
            .values
            .iter()
            .filter_map(|value| match (value.field, value.stored) {
                (Field::Precursor, Stored::Id(id)) => Some(id),
                _ => None,
            })
            .collect();
        for id in &ids {
            self.raw(opening);
            opening = "\",\"";
            self.id(*id);
        }
        if !ids.is_empty() {
            self.raw("\"]");
        }
    }

    /// Of the values under one key the latest, where the first one stood.
    fn latest(&self, field: Field) -> Vec<&'a Value> {
        let mut places: HashMap<(&'a str, Cow<'a, str>), usize> = HashMap::new();
        let mut latest: Vec<&'a Value> = Vec::new();
        for value in self.values.iter().filter(|value| value.field == field) {
            let key = self.valid_key(value);
            // A few keys are compared faster than hashed.
            let known = if latest.len() < 16 {
                latest.iter().position(|known| self.valid_key(known) == key)
            } else {
                if places.is_empty() {
                    let keys = latest.iter().map(|known| self.valid_key(known));
                    places = keys.zip(0..).collect();
                }
                places.get(&key).copied()
            };
            match known {
                Some(at) => latest[at] = value,
                None => {
                    if !places.is_empty() {
                        places.insert(key, latest.len());
                    }
                    latest.push(value);
                }
            }
        }
        latest
    }

    /// Namespace and key; annotations have no namespace.
    fn valid_key(&self, value: &Value) -> (&'a str, Cow<'a, str>) {
        let (namespace, key) = self.record.metadata_key(value);
        match value.field {
            Field::Annotation => (namespace, valid::key(key)),
            _ => (namespace, Cow::Borrowed(key)),
        }
    }

    fn annotations(&mut self) {
        let mut values = self.latest(Field::Annotation);
        if self.trim == Trim::Everything && values.len() > 50 {
            self.trimmed += values.len() as u64 - 50;
            values.truncate(50);
        }
        let mut opening = ",\"annotations\":{";
        for value in &values {
            self.raw(opening);
            opening = ",";
            json::string(self.out, &valid::key(self.record.key(value)));
            self.raw(":");
            self.value(value, limits::ANNOTATION_CHARS);
        }
        if !values.is_empty() {
            self.raw("}");
        }
    }

    fn metadata(&mut self) {
        let mut values = self.latest(Field::Metadata);
        // One object a namespace; the sort is stable, so keys keep their order.
        values.sort_by_key(|value| self.record.metadata_key(value).0);
        let mut open: Option<&str> = None;
        for value in values {
            let (namespace, key) = self.record.metadata_key(value);
            if open == Some(namespace) {
                self.raw(",");
            } else {
                self.raw(if open.is_none() {
                    ",\"metadata\":{"
                } else {
                    "},"
                });
                open = Some(namespace);
                json::string(self.out, namespace);
                self.raw(":{");
            }
            json::string(self.out, key);
            self.raw(":");
            self.value(value, limits::METADATA_BYTES);
        }
        if open.is_some() {
            self.raw("}}");
        }
    }

    fn value(&mut self, value: &Value, limit: usize) {
        match value.stored {
            Stored::Text(text) => self.bounded(self.record.text(text), limit),
            Stored::Json(text) => {
                let largest = match self.trim {
                    Trim::Nothing => usize::MAX,
                    Trim::Metadata(bytes) => bytes,
                    Trim::Everything => 0,
                };
                if text.len() > largest {
                    self.trimmed += 1;
                    json::string(self.out, &json::trimmed(text.len()));
                } else {
                    self.raw(self.record.text(text));
                }
            }
            Stored::Integer(number) => json::integer(self.out, number),
            Stored::Unsigned(number) => json::integer(self.out, number),
            Stored::Float(number) => json::float(self.out, number),
            Stored::Boolean(flag) => self.raw(if flag { "true" } else { "false" }),
            Stored::Id(id) => {
                self.raw("\"");
                self.id(id);
                self.raw("\"");
            }
            Stored::Exception(_) => self.raw("null"),
        }
    }
}

/// Sizes of the metadata of an entity, to choose how much must go.
pub(super) fn metadata_sizes(record: &Record, node: NodeIndex) -> Vec<usize> {
    let mut sizes: Vec<usize> = record
        .values(node)
        .filter_map(|value| match value.stored {
            Stored::Json(text) => Some(text.len()),
            _ => None,
        })
        .collect();
    sizes.sort_unstable();
    sizes
}
