//! An entity of the model: plain maps, in which the later value holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xray_core::{AnnotationValue, Class, Namespace};

use super::super::name::valid_key;
use super::operations::{Failure, Tallying, What};
use super::words::{self, Link};

/// The keys of a flood, more than an entity may have.
pub(super) const FLOOD: usize = 4_096 + 10;

/// A fact that holds for one entity, under one key. Of several the later holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub(super) name: String,
    pub(super) error: bool,
    pub(super) throttle: bool,
    pub(super) fault: bool,
    pub(super) namespace: Option<Namespace>,
    pub(super) traced: bool,
    pub(super) annotations: BTreeMap<String, Annotation>,
    pub(super) tallies: BTreeMap<String, Annotation>,
    pub(super) metadata: BTreeMap<String, BTreeMap<String, Option<Value>>>,
    pub(super) aws: BTreeMap<&'static str, Value>,
    pub(super) sql: BTreeMap<&'static str, String>,
    pub(super) request: Option<Value>,
    pub(super) status: Option<u16>,
    pub(super) length: Option<u64>,
    pub(super) links: Vec<Value>,
    pub(super) precursors: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) version: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) cause: Option<usize>,
    /// It was given more annotations than an entity may have.
    pub(super) flooded: bool,
    /// The error that was recorded here last, or handed up.
    pub(super) seen: Option<Seen>,
}

#[derive(Debug, Clone)]
pub(super) struct Annotation {
    pub(super) value: AnnotationValue<'static>,
    /// Some spelling of the key was not valid.
    pub(super) respelt: bool,
}

/// Exceptions have numbers, for which a document has ids.
#[derive(Debug, Clone)]
pub(super) struct Exception {
    pub(super) number: usize,
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) cause: Option<usize>,
    pub(super) recorded: bool,
}

/// An exception that is known again when it is handed up.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    number: usize,
    message: String,
    /// Its type; any, where that was not known.
    is: Option<&'static str>,
}

impl Seen {
    /// The number of the exception, if that link is it.
    fn known(&self, link: &Link) -> Option<usize> {
        let is = self.is.is_none_or(|is| is == link.is);
        (is && self.message == link.message).then_some(self.number)
    }
}

impl Values {
    pub(super) fn new(name: &str, namespace: Option<Namespace>) -> Self {
        Self {
            name: name.to_owned(),
            namespace,
            ..Self::default()
        }
    }

    pub(super) fn class(&self) -> Class {
        match (self.fault, self.throttle, self.error) {
            (true, ..) => Class::Fault,
            (_, true, _) => Class::Throttle,
            (.., true) => Class::Error,
            _ => Class::Ok,
        }
    }

    /// Writes what concerns one entity alone.
    pub(super) fn write(&mut self, what: &What, next_exception: &mut usize) {
        match what {
            What::Annotate(key, value) => self.annotate(words::key(*key), words::noted(*value)),
            What::Tally(key, tally) => self.tally(words::key(*key), *tally),
            What::Metadata(namespace, key, value) => {
                let namespace = match words::namespace(*namespace) {
                    "" => "default",
                    namespace => namespace,
                };
                let members = self.metadata.entry(namespace.into()).or_default();
                members.insert(words::key(*key).into(), words::Given(*value).value());
            }
            What::Aws(key, value) => {
                if let (key, _, Some(value)) = words::aws(*key, *value) {
                    self.aws.insert(key, value);
                }
            }
            What::Sql(fields, number) => self.sql(*fields, *number),
            What::Request(fields, number) => self.request = Some(request(*fields, *number)),
            What::Response(status, length) => {
                (self.status, self.length) = (Some(*status), *length);
            }
            What::Link(number) => self.links.push(json!({
                "trace_id": format!("1-66f2a1c0-{number:024x}"),
                "id": format!("{:016x}", u64::from(*number) + 1),
            })),
            What::User(number) => self.user = Some(words::text(*number)),
            What::Version(number) => self.version = Some(words::text(*number)),
            What::Origin(number) => self.origin = Some(words::text(*number)),
            What::Name(number) => self.name = words::name(*number),
            What::Mark(class) => {
                (self.error, self.throttle, self.fault) = (false, false, false);
                self.raise(*class);
            }
            What::Raise(class) => self.raise(*class),
            What::Failure(failure, fault) => {
                self.raise(if *fault { Class::Fault } else { Class::Error });
                self.fail(*failure, next_exception);
            }
            What::Exception(number, class) => {
                self.raise(*class);
                self.except("Told", &format!("told {number}"), next_exception);
            }
            What::Panicked(number) => {
                self.raise(Class::Fault);
                self.except("panic", &format!("panicked {number}"), next_exception);
            }
            What::Traced => self.traced = true,
            What::Flood { one_key } => self.flood(*one_key),
            What::Precursor(_) => {}
        }
    }

    pub(super) fn precursor(&mut self, id: String) {
        self.precursors.push(id);
    }

    /// The thread of an owner panicked.
    pub(super) fn unwind(&mut self, next_exception: &mut usize) {
        self.raise(Class::Fault);
        self.except("panic", "the thread panicked", next_exception);
    }

    fn raise(&mut self, class: Class) {
        self.error |= matches!(class, Class::Error | Class::Throttle);
        self.throttle |= class == Class::Throttle;
        self.fault |= class == Class::Fault;
    }

    fn annotate(&mut self, key: &str, value: AnnotationValue<'static>) {
        let written = valid_key(key);
        let before = self.annotations.get(&written);
        let respelt = written != key || before.is_some_and(|before| before.respelt);
        let annotation = Annotation { value, respelt };
        self.annotations.insert(written, annotation);
    }

    fn flood(&mut self, one_key: bool) {
        self.flooded |= !one_key;
        for number in 0..FLOOD {
            let key = if one_key {
                "f".to_owned()
            } else {
                format!("f{number}")
            };
            self.annotate(&key, AnnotationValue::from(number));
        }
    }

    fn tally(&mut self, key: &str, tally: Tallying) {
        let written = valid_key(key);
        let before = self.tallies.get(&written);
        let number = before.map(|before| as_number(&before.value));
        let value = match tally {
            Tallying::Sum(more) => whole(number.unwrap_or(0.0) + f64::from(more)),
            Tallying::Max(other) => {
                whole(number.unwrap_or(f64::NEG_INFINITY).max(f64::from(other)))
            }
            Tallying::Any(flag) => {
                let before = before.map(|before| &before.value);
                AnnotationValue::Boolean(flag || before == Some(&AnnotationValue::Boolean(true)))
            }
            Tallying::Last(value) => words::noted(value),
        };
        let respelt = written != key || before.is_some_and(|before| before.respelt);
        self.tallies.insert(written, Annotation { value, respelt });
    }

    fn sql(&mut self, fields: u8, number: u8) {
        let mut put = |bit: u8, key, text: String| {
            if fields & bit != 0 {
                self.sql.insert(key, text);
            }
        };
        put(1, "url", format!("postgresql://db:5432/orders{number}"));
        put(2, "sanitized_query", format!("SELECT {number}"));
        put(4, "user", format!("user {number}"));
        put(8, "preparation", "call".into());
    }

    fn except(&mut self, kind: &str, message: &str, next: &mut usize) {
        *next += 1;
        self.exceptions.push(Exception {
            number: *next,
            kind: kind.into(),
            message: message.into(),
            cause: None,
            recorded: false,
        });
        self.seen = Some(Seen {
            number: *next,
            message: message.into(),
            is: Some("no error"),
        });
    }

    /// An error with its sources; a link that was recorded below, or here, is
    /// not recorded again.
    fn fail(&mut self, failure: Failure, next: &mut usize) {
        let seen = self.seen.clone();
        let boxed = matches!(failure, Failure::Boxed(_));
        let mut above: Option<usize> = None;
        for link in words::chain(failure) {
            let known = seen.as_ref().and_then(|seen| seen.known(&link));
            let number = known.unwrap_or_else(|| {
                *next += 1;
                *next
            });
            match above {
                Some(above) => self.exceptions[above].cause = Some(number),
                None if known.is_some() => self.cause = known,
                None => {
                    self.seen = Some(Seen {
                        number,
                        message: link.message.clone(),
                        is: (!boxed).then_some(link.is),
                    });
                }
            }
            if known.is_some() {
                return;
            }
            self.exceptions.push(Exception {
                number,
                kind: link.kind.into(),
                message: link.message,
                cause: None,
                recorded: above.is_none(),
            });
            above = Some(self.exceptions.len() - 1);
        }
    }
}

fn request(fields: u8, number: u8) -> Value {
    let mut request = json!({
        "method": if fields & 1 == 0 { "GET" } else { "POST" },
        "url": format!("https://shop.example/orders/{number}"),
    });
    if fields & 2 != 0 {
        request["user_agent"] = format!("agent {number}").into();
    }
    if fields & 4 != 0 {
        request["client_ip"] = "203.0.113.9".into();
    }
    if fields & 8 != 0 {
        request["client_ip"] = "203.0.113.7".into();
        request["x_forwarded_for"] = true.into();
    }
    request
}

fn as_number(value: &AnnotationValue<'_>) -> f64 {
    match *value {
        AnnotationValue::Integer(number) => number as f64,
        AnnotationValue::Unsigned(number) => number as f64,
        AnnotationValue::Float(number) => number,
        _ => 0.0,
    }
}

/// A whole number shows as one.
fn whole(number: f64) -> AnnotationValue<'static> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        AnnotationValue::Integer(number as i64)
    } else {
        AnnotationValue::Float(number)
    }
}
