//! Anything recorded in any order, as documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use xray_core::document::Document;
use xray_core::{
    AnnotationValue, Class, Emitter, Entity, ExceptionReport, Hold, HttpRequest, HttpResponse,
    ManualClock, Namespace, Piece, Preparation, Recorder, Segment, Sql, Subsegment, Tally,
    TraceHeader,
};

use super::bytes::Bytes;
use super::name::{valid_key, valid_name};
use super::tree::{EPOCH_SECONDS, joined, settled, strictly};
use crate::balance;

/// Whatever is recorded leaves in documents that the strictest readers take,
/// that say what a simple model of recording says, and that say the same as the
/// document model which hooks and snapshots see.
pub fn document_writer(data: &[u8]) {
    let mut bytes = Bytes::new(&data[..data.len().min(2_048)]);
    let both = BothWays::default();
    let (builder, clock) = settled(both.clone());
    let builder = builder.origin("AWS::ECS::Container").service_version("1");
    let Ok(recorder) = builder.build() else {
        return; // no setting in use can be wrong
    };
    let mut program = Program::new(&recorder, &clock, bytes.flag());
    while !bytes.is_empty() {
        program.step(&mut bytes);
    }
    let expected = program.finish();
    balance(&recorder);
    let (model, written) = both.take();
    assert_eq!(joined(model), joined(written.clone()));
    let tree = joined(written);
    let ids = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        ids(tree.keys().collect()),
        ids(expected.keys().collect()),
        "which entities there are"
    );
    for (id, (parent, document)) in &tree {
        if let Some(expected) = expected.get(id) {
            let mut expected = expected.clone();
            expected.annotations = untallied(expected.annotations);
            assert_eq!(Expected::of(parent.clone(), document), expected);
        }
    }
}

/// What is known of an entity, apart from what only the two writers compare.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    parent: Option<String>,
    name: String,
    namespace: Option<&'static str>,
    times: [f64; 2],
    annotations: Map<String, Value>,
    metadata: Map<String, Value>,
    /// Error, throttle, fault.
    flags: [bool; 3],
    exceptions: Vec<(String, String)>,
    user: Option<String>,
    status: Option<u16>,
    precursors: Vec<String>,
}

impl Expected {
    fn of(parent: Option<String>, document: &Document) -> Self {
        let http = document.http.clone().unwrap_or_default();
        let exceptions = document.exceptions().iter();
        let times = [document.start_time, document.end_time];
        Self {
            parent,
            name: document.name.clone(),
            namespace: document.namespace.as_deref().map(|name| match name {
                "aws" => "aws",
                _ => "remote",
            }),
            times: times.map(Option::unwrap_or_default),
            annotations: untallied(document.annotations.clone()),
            metadata: document.metadata.clone(),
            flags: [document.error, document.throttle, document.fault],
            exceptions: exceptions
                .map(|one| {
                    let text = |text: &Option<String>| text.clone().unwrap_or_default();
                    (text(&one.kind), text(&one.message))
                })
                .collect(),
            user: document.user.clone(),
            status: http.response.and_then(|response| response.status),
            precursors: document.precursor_ids.clone(),
        }
    }
}

/// Takes each piece both ways.
#[derive(Debug, Clone, Default)]
struct BothWays(Arc<Mutex<(Vec<Document>, Vec<Document>)>>);

impl BothWays {
    fn take(&self) -> (Vec<Document>, Vec<Document>) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Emitter for BothWays {
    fn emit(&self, piece: Piece) {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        both.0.append(&mut piece.to_documents());
        piece.send_documents(65_474, |json| {
            both.1.push(strictly(json));
            Ok(())
        });
    }
}

/// A program that records, and the model of what it did.
struct Program<'a> {
    clock: &'a ManualClock,
    /// Nanoseconds since the start.
    now: u64,
    root: Option<Segment>,
    /// The root is entity 0.
    entities: Vec<Entity>,
    handles: Vec<Option<Subsegment>>,
    holds: Vec<Hold>,
    close_root_at_release: bool,
    facade: bool,
    open: Vec<bool>,
    expected: Vec<Expected>,
}

const CALLER: &str = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";

impl<'a> Program<'a> {
    fn new(recorder: &Recorder, clock: &'a ManualClock, facade: bool) -> Self {
        let header = TraceHeader::parse(CALLER);
        let root = if facade {
            recorder.begin_facade(&header)
        } else {
            recorder.segment("root").header(&header).begin()
        };
        let known = Expected {
            parent: header.parent().map(|id| id.to_string()),
            name: "root".to_owned(),
            times: [EPOCH_SECONDS as f64; 2],
            ..Expected::default()
        };
        Self {
            clock,
            now: 0,
            entities: vec![Entity::clone(&root)],
            root: Some(root),
            handles: vec![None],
            holds: Vec::new(),
            close_root_at_release: false,
            facade,
            open: vec![!facade],
            expected: vec![known],
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte();
        let of = bytes.below(self.entities.len());
        let entity = self.entities[of].clone();
        match what % 24 {
            0..=2 => self.begin(of, bytes),
            3 | 4 => self.close(of),
            5 => self.close(0),
            6 => {
                let name = bytes.text();
                entity.set_name(&name);
                self.with(of, |expected| expected.name = valid_name(&name));
            }
            7..=9 => self.annotate(of, bytes),
            10..=12 => self.metadata(of, bytes),
            13 => {
                let text = bytes.text();
                let request = HttpRequest::new("GET", &text).user_agent(&text);
                entity.http_request(&request.forwarded_for(&text));
            }
            14 => {
                let status = bytes.number::<2>() as u16;
                let response = HttpResponse::new(status);
                entity.http_response(response.content_length(bytes.number::<8>()));
                self.with(of, |expected| expected.status = Some(status));
            }
            15 => self.classify(of, bytes),
            16 => {
                // A URL would lose its secrets.
                // Of what looks like a URL a part is not told.
                let plain = |bytes: &mut Bytes<'_>| bytes.text().replace([':', '?', '%'], "");
                let (kind, message) = (chars(&plain(bytes), 60), plain(bytes));
                let mut report = ExceptionReport::new(&kind, &message);
                for line in 0..bytes.byte() % 3 {
                    report = report.frame(&kind, u32::from(line), &message);
                }
                entity.report_exception(&report, Class::Fault);
                self.with(of, |expected| {
                    expected.flags[2] = true;
                    expected.exceptions.push((kind.clone(), message.clone()));
                });
            }
            17 => entity.aws(&format!("x{}", bytes.key()), bytes.text()),
            18 => {
                let (fields, text) = (bytes.byte(), bytes.text());
                entity.sql(&sql(fields, &text));
            }
            19 => {
                let tally = match bytes.byte() % 4 {
                    0 => Tally::Sum(f64::from_bits(bytes.number::<8>())),
                    1 => Tally::Max(f64::from(bytes.byte())),
                    2 => Tally::Any(bytes.flag()),
                    _ => Tally::Last(bytes.text().into()),
                };
                entity.tally(TALLIED, tally);
            }
            20 => {
                let user = chars(&bytes.text(), 250);
                entity.set_user(&user);
                if self.open[0] && self.open[of] {
                    self.with(0, |expected| expected.user = Some(user.clone()));
                }
            }
            21 => {
                let before = bytes.below(self.entities.len());
                if let Some(id) = self.entities[before].id() {
                    entity.add_precursor(id);
                    // A segment has none.
                    if of > 0 {
                        self.with(of, |expected| expected.precursors.push(id.to_string()));
                    }
                }
            }
            22 if bytes.flag() => self.holds.push(entity.hold()),
            22 => self.release(),
            _ => {
                let nanos = bytes.number::<4>();
                self.now += nanos;
                self.clock.advance(Duration::from_nanos(nanos));
            }
        }
    }

    /// Changes what is expected of an entity that is open.
    fn with(&mut self, of: usize, change: impl FnOnce(&mut Expected)) {
        if self.open[of] {
            change(&mut self.expected[of]);
        }
    }

    fn seconds(&self) -> f64 {
        (EPOCH_SECONDS * 1_000_000 + self.now / 1_000) as f64 / 1e6
    }

    fn begin(&mut self, of: usize, bytes: &mut Bytes<'_>) {
        let (kind, name) = (bytes.byte(), bytes.text());
        let parent = self.entities[of].clone();
        let builder = parent.subsegment(&name);
        let (child, namespace) = match kind % 3 {
            0 => (builder.begin(), None),
            1 => (builder.namespace(Namespace::Aws).begin(), Some("aws")),
            _ => (builder.namespace(Namespace::Remote).begin(), Some("remote")),
        };
        self.expected.push(Expected {
            parent: parent.id().map(|id| id.to_string()),
            name: valid_name(&name),
            namespace,
            times: [self.seconds(); 2],
            ..Expected::default()
        });
        self.open.push(true);
        self.entities.push(child.clone());
        self.handles.push(Some(child));
    }

    fn close(&mut self, of: usize) {
        if of > 0 && self.handles[of].take().is_some() {
            self.ended(of);
        } else if of == 0 && self.root.take().is_some() {
            if self.holds.is_empty() {
                self.ended(0);
            } else {
                self.close_root_at_release = true;
            }
        }
    }

    fn release(&mut self) {
        if self.holds.pop().is_some() && self.holds.is_empty() && self.close_root_at_release {
            self.close_root_at_release = false;
            self.ended(0);
        }
    }

    fn ended(&mut self, of: usize) {
        self.expected[of].times[1] = self.seconds();
        self.open[of] = false;
    }

    fn annotate(&mut self, of: usize, bytes: &mut Bytes<'_>) {
        let key = bytes.key();
        let (value, json) = match bytes.byte() % 5 {
            0 => {
                let text = bytes.text();
                (AnnotationValue::from(text.clone()), Value::from(text))
            }
            1 => {
                let number = bytes.number::<8>();
                (number.into(), number.into())
            }
            2 => {
                let number = bytes.number::<8>().cast_signed();
                (number.into(), number.into())
            }
            3 => {
                let number = f64::from_bits(bytes.number::<8>());
                let json = match number {
                    nan if nan.is_nan() => json!("NaN"),
                    f64::INFINITY => json!("Infinity"),
                    f64::NEG_INFINITY => json!("-Infinity"),
                    finite => json!(finite),
                };
                (number.into(), json)
            }
            _ => {
                let flag = bytes.flag();
                (flag.into(), flag.into())
            }
        };
        self.entities[of].annotate(&key, value);
        self.with(of, |expected| {
            expected.annotations.insert(valid_key(&key), json);
        });
    }

    fn metadata(&mut self, of: usize, bytes: &mut Bytes<'_>) {
        let (namespace, key) = (bytes.key(), bytes.key());
        let value = value(bytes, 0);
        self.entities[of].metadata_in(&namespace, &key, &value);
        let namespace = match namespace.as_str() {
            "" => "default",
            text => cut(text, 200),
        };
        self.with(of, |expected| {
            let empty = || Value::Object(Map::new());
            let inner = expected.metadata.entry(namespace).or_insert_with(empty);
            inner[key] = value;
        });
    }

    fn classify(&mut self, of: usize, bytes: &mut Bytes<'_>) {
        let how = bytes.byte();
        let (class, flags) = match how % 4 {
            0 => (Class::Ok, [false; 3]),
            1 => (Class::Error, [true, false, false]),
            2 => (Class::Throttle, [true, true, false]),
            _ => (Class::Fault, [false, false, true]),
        };
        if how & 4 == 0 {
            self.entities[of].mark(class);
            self.with(of, |expected| expected.flags = flags);
        } else {
            self.entities[of].raise(class);
            self.with(of, |expected| {
                for (flag, set) in expected.flags.iter_mut().zip(flags) {
                    *flag |= set;
                }
            });
        }
    }

    /// Closes everything, and returns what is expected by id.
    fn finish(mut self) -> BTreeMap<String, Expected> {
        self.close(0);
        while !self.holds.is_empty() {
            self.release();
        }
        for of in 1..self.handles.len() {
            self.close(of);
        }
        let ids = self.entities.iter().map(Entity::id);
        let known = ids.zip(self.expected).skip(usize::from(self.facade));
        known
            .filter_map(|(id, expected)| Some((id?.to_string(), expected)))
            .collect()
    }
}

/// The one key of all tallies, which the model leaves to the two writers.
const TALLIED: &str = "_tallied";

fn untallied(mut annotations: Map<String, Value>) -> Map<String, Value> {
    annotations.remove(TALLIED);
    annotations
}

/// As many bytes as fit, between characters.
fn cut(text: &str, bytes: usize) -> &str {
    let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.rfind(|end| *end <= bytes);
    &text[..end.unwrap_or(0)]
}

fn chars(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

/// A value of JSON, of a few levels.
fn value(bytes: &mut Bytes<'_>, level: usize) -> Value {
    match bytes.byte() % 8 {
        0 => Value::Null,
        1 => bytes.flag().into(),
        2 => bytes.number::<8>().into(),
        3 => bytes.number::<8>().cast_signed().into(),
        4 => f64::from_bits(bytes.number::<8>()).into(),
        5 if level < 8 => (0..bytes.byte() % 4)
            .map(|_| value(bytes, level + 1))
            .collect(),
        6 if level < 8 => {
            let count = bytes.byte() % 4;
            let members = (0..count).map(|_| (bytes.key(), value(bytes, level + 1)));
            Value::Object(members.collect())
        }
        _ => bytes.text().into(),
    }
}

/// Some of its fields, a bit each.
fn sql(fields: u8, text: &str) -> Sql<'_> {
    let mut sql = Sql::new();
    if fields & 1 != 0 {
        sql = sql.url(text);
    }
    if fields & 2 != 0 {
        sql = sql.connection_string(text);
    }
    if fields & 4 != 0 {
        sql = sql.sanitized_query(text);
    }
    if fields & 8 != 0 {
        sql = sql.database_type(text).database_version(text);
    }
    if fields & 16 != 0 {
        sql = sql.driver_version(text);
    }
    if fields & 32 != 0 {
        sql = sql.user(text);
    }
    if fields & 64 != 0 {
        sql = sql.preparation(Preparation::Call);
    }
    sql
}
