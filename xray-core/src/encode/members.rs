//! The members of one entity's object, children apart.

use super::json::{self, Seconds};
use super::valid;
use crate::emit::{Piece, PieceHead};
use crate::limits;
use crate::record::{Field, Flags, NodeIndex, Record, State, Stored, Value};
use crate::sql::is_url;

/// How much is left out so that an entity fits: each step keeps less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trim {
    Nothing,
    /// Links, and precursors, that the service does not take.
    Links,
    /// The stacks of exceptions.
    Stacks,
    /// Metadata values of more than this many bytes.
    Metadata(usize),
    /// Of each text all but a few characters, the values of all metadata, and
    /// what goes beyond 16 exceptions and the 50 annotations that X-Ray indexes.
    Everything,
    /// All metadata.
    Keys,
    /// Members of `aws` of more than this many bytes, as no text can stand for
    /// them.
    Aws(usize),
}

/// Characters that [`Trim::Everything`] leaves of a text.
const FEW_CHARS: usize = 50;

/// Writes `{"name":…,"id":…` up to, and without, `subsegments` and the closing
/// brace. Returns how many values were shortened or left out.
pub(super) fn write(
    out: &mut Vec<u8>,
    seconds: &mut Seconds,
    piece: &Piece,
    node: NodeIndex,
    trim: Trim,
) -> u64 {
    let record = &piece.record;
    let entity = record.node(node);
    let mut members = Members {
        out,
        record,
        node,
        trim,
        few: trim >= Trim::Everything,
        trimmed: 0,
    };
    members.identity(&piece.head, seconds);
    if entity.flags != Flags::NONE {
        members.flags(entity.flags);
    }
    if entity.is_segment {
        members.segment(piece);
    }
    if entity.has_more_than(Field::Annotation) {
        members.cause();
        members.http();
        if entity.is_segment {
            members.links();
        } else {
            members.block(Field::Sql, ",\"sql\":{");
            members.block(Field::Aws, ",\"aws\":{");
            members.precursors();
        }
    }
    members.annotations();
    members.metadata();
    members.trimmed
}

pub(super) struct Members<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) record: &'a Record,
    node: NodeIndex,
    pub(super) trim: Trim,
    /// Whether all but a few characters of each text go.
    pub(super) few: bool,
    pub(super) trimmed: u64,
}

impl<'a> Members<'a> {
    #[inline]
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Name and id first: the daemon takes the first `"id"` for the document's.
    fn identity(&mut self, head: &PieceHead, seconds: &mut Seconds) {
        let entity = self.record.node(self.node);
        self.raw("{\"name\":\"");
        let given = self.record.text(entity.name);
        if valid::is_usual_name(given) {
            self.raw(given); // nothing in it needs an escape
        } else {
            let name = valid::name(given);
            self.trimmed += u64::from(name != given);
            json::escaped(self.out, &name);
        }
        let mut id = *b"\",\"id\":\"0123456789abcdef\",\"start_time\":";
        id[8..24].copy_from_slice(&entity.id.to_text());
        self.out.extend_from_slice(&id);
        seconds.write(self.out, head.anchor.micros(entity.start));
        if entity.state == State::Closed {
            self.raw(",\"end_time\":");
            seconds.write(self.out, head.anchor.micros(entity.end));
        } else {
            self.raw(",\"in_progress\":true");
        }
    }

    fn flags(&mut self, flags: Flags) {
        for (flag, text) in [
            (Flags::ERROR, ",\"error\":true"),
            (Flags::THROTTLE, ",\"throttle\":true"),
            (Flags::FAULT, ",\"fault\":true"),
            (Flags::REMOTE, ",\"namespace\":\"remote\""),
            (Flags::AWS, ",\"namespace\":\"aws\""),
            (Flags::TRACED, ",\"traced\":true"),
        ] {
            if flags.has(flag) {
                self.raw(text);
            }
        }
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.record.node(self.node).has(field)
    }

    /// The value of a field that a document has once.
    pub(super) fn only(&self, field: Field) -> Option<&'a Value> {
        if !self.has(field) {
            return None;
        }
        self.values_of(field).next()
    }

    /// The values of a field, oldest first.
    pub(super) fn values_of(
        &self,
        field: Field,
    ) -> impl Iterator<Item = &'a Value> + Clone + use<'a> {
        let values = self.record.values(self.node);
        values.filter(move |value| value.field == field)
    }

    fn only_text(&self, field: Field) -> Option<&'a str> {
        match self.only(field)?.stored {
            Stored::Text(text) => Some(self.record.text(text)),
            _ => None,
        }
    }

    pub(super) fn bounded(&mut self, text: &str, limit: usize) {
        if text.len() <= limit.min(FEW_CHARS) {
            return json::string(self.out, text);
        }
        let limit = if self.few {
            limit.min(FEW_CHARS)
        } else {
            limit
        };
        let (text, cut) = valid::text(text, limit);
        self.trimmed += u64::from(cut);
        json::string(self.out, &text);
    }

    /// Writes a text that was cut when it was stored, if it was longer than this
    /// many bytes: the mark of that makes it longer still.
    pub(super) fn cut_before(&mut self, text: &str, bytes: usize) {
        let trimmed = self.trimmed;
        self.bounded(text, bytes + 1);
        if text.len() > bytes {
            self.trimmed = trimmed + 1;
        }
    }

    fn segment(&mut self, piece: &Piece) {
        let common = &piece.common;
        if let Some(user) = self.only_text(Field::User) {
            self.raw(",\"user\":");
            self.bounded(user, limits::STRING_CHARS);
        }
        let origin = self.only_text(Field::Origin).or(common.origin.as_deref());
        if let Some(origin) = origin {
            self.raw(",\"origin\":");
            self.bounded(origin, limits::STRING_CHARS);
        }
        let version = self.only_text(Field::ServiceVersion);
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
        self.raw("}");
        self.members(Field::Aws, ",");
        self.raw("}");
    }

    #[inline]
    fn block(&mut self, field: Field, opening: &str) {
        if !self.has(field) {
            return;
        }
        let before = self.out.len();
        self.members(field, opening);
        if self.out.len() > before {
            self.raw("}");
        }
    }

    /// `"key":value` for each value.
    fn members(&mut self, field: Field, opening: &str) {
        if !self.has(field) {
            return;
        }
        let mut opening = opening;
        for value in self.values_of(field) {
            if self.leaves_out(value) {
                self.trimmed += 1;
                continue;
            }
            self.raw(opening);
            opening = ",";
            json::string(self.out, self.record.key(value));
            self.raw(":");
            match value.stored {
                Stored::Text(text) if self.record.key(value) != "user" => {
                    self.cut_before(self.record.text(text), limits::SQL_BYTES);
                }
                _ => self.value(value, limits::STRING_CHARS),
            }
        }
    }

    /// Whether a member goes: of `aws` for its size, and the URL of a database
    /// when so little is left of it that collectors refuse it.
    fn leaves_out(&self, value: &Value) -> bool {
        match (self.trim, value.stored) {
            (Trim::Aws(largest), Stored::Json(text)) => text.len() > largest,
            (trim, Stored::Text(text)) if trim >= Trim::Everything => {
                let url = self.record.text(text);
                let is_url = || is_url(&valid::text(url, FEW_CHARS).0);
                self.record.key(value) == "url" && !is_url()
            }
            _ => false,
        }
    }

    /// How many of several links are written; the others are counted.
    fn taken(&mut self, field: Field) -> usize {
        if self.trim < Trim::Links {
            return usize::MAX;
        }
        let more = self.values_of(field).skip(limits::LINKS).count();
        self.trimmed += more as u64;
        limits::LINKS
    }

    fn links(&mut self) {
        if !self.has(Field::Link) {
            return;
        }
        let mut opening = ",\"links\":[";
        let taken = self.taken(Field::Link);
        for value in self.values_of(Field::Link).take(taken) {
            if let Stored::Text(text) = value.stored
                && let Some((trace_id, id)) = self.record.text(text).split_once('@')
            {
                self.raw(opening);
                opening = ",";
                self.raw("{\"trace_id\":\"");
                self.raw(trace_id);
                self.raw("\",\"id\":\"");
                self.raw(id);
                self.raw("\"}");
            }
        }
        self.raw("]");
    }

    pub(super) fn id(&mut self, bits: u64) {
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
        let is_request = request.iter().any(|field| self.has(field.0));
        let is_response = response.iter().any(|field| self.has(field.0));
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
            if let Some(value) = self.only(*field)
                && !matches!(value.stored, Stored::Boolean(false))
            {
                self.raw(separator);
                separator = ",";
                self.raw(name);
                self.value(value, limits::STRING_CHARS);
            }
        }
    }

    fn precursors(&mut self) {
        if !self.has(Field::Precursor) {
            return;
        }
        let mut opening = ",\"precursor_ids\":[\"";
        let taken = self.taken(Field::Precursor);
        for value in self.values_of(Field::Precursor).take(taken) {
            if let Stored::Id(id) = value.stored {
                self.raw(opening);
                opening = "\",\"";
                self.id(id);
            }
        }
        self.raw("\"]");
    }

    fn annotations(&mut self) {
        if !self.has(Field::Annotation) {
            return;
        }
        let mut opening = ",\"annotations\":{\"";
        let mut written = 0;
        for value in self.values_of(Field::Annotation) {
            if self.few && written == limits::ANNOTATIONS {
                self.trimmed += 1;
                continue;
            }
            written += 1;
            self.raw(opening);
            opening = ",\"";
            let given = self.record.key(value);
            if valid::is_usual_key(given) {
                self.raw(given);
            } else {
                let key = valid::key(given);
                self.trimmed += u64::from(key != given);
                self.raw(&key);
            }
            self.raw("\":");
            self.value(value, limits::ANNOTATION_CHARS);
        }
        self.raw("}");
    }

    /// `"key":` for a key that needs no escapes.
    pub(super) fn key(&mut self, key: &str) {
        self.raw("\"");
        self.raw(key);
        self.raw("\":");
    }

    fn metadata(&mut self) {
        if !self.has(Field::Metadata) {
            return;
        }
        let mut values: Vec<&Value> = self.values_of(Field::Metadata).collect();
        if self.trim >= Trim::Keys {
            self.trimmed += values.len() as u64;
            return;
        }
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
        self.raw("}}");
    }

    fn value(&mut self, value: &Value, limit: usize) {
        match value.stored {
            Stored::Text(text) => self.bounded(self.record.text(text), limit),
            Stored::Json(text) => {
                let largest = match self.trim {
                    _ if value.field != Field::Metadata => usize::MAX,
                    Trim::Nothing | Trim::Links | Trim::Stacks => usize::MAX,
                    Trim::Metadata(bytes) => bytes,
                    Trim::Everything | Trim::Keys | Trim::Aws(_) => 0,
                };
                // What is as short as a mark, another one perhaps, stays.
                if text.len() > largest.max(limits::MARK_BYTES) {
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
            // Written by those that they belong to.
            Stored::Id(_) | Stored::Exception(_) => self.raw("null"),
        }
    }
}

/// Sizes of the JSON values of one field of an entity, to choose how much must
/// go.
pub(super) fn sizes(record: &Record, node: NodeIndex, field: Field) -> Vec<usize> {
    let values = record.values(node).filter(|value| value.field == field);
    let mut sizes: Vec<usize> = values
        .filter_map(|value| match value.stored {
            Stored::Json(text) => Some(text.len()),
            _ => None,
        })
        .collect();
    sizes.sort_unstable();
    sizes
}
