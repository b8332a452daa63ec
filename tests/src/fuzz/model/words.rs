//! The texts and values that the numbers of an operation stand for.

use std::error::Error;
use std::fmt;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use xray_core::AnnotationValue;

use super::operations::{Annotated, Failure, Meta};

/// Two of them are one as written, and one has no valid form of its own.
pub(super) fn key(number: u8) -> &'static str {
    ["a", "b", "a b", "a_b", "c.d", "é"][usize::from(number % 6)]
}

pub(super) fn name(number: u8) -> String {
    match number % 8 {
        0 => "a?b".into(),
        1 => "né東".into(),
        2 => String::new(),
        3 => "𝒳".repeat(250),
        4 => "dropped by its hook".into(),
        5 => "panics its hook".into(),
        _ => format!("step {number}"),
    }
}

pub(super) fn text(number: u8) -> String {
    match number % 6 {
        0 => String::new(),
        1 => "é".repeat(1_200),
        2 => "a \"b\"\n\u{202e}c".into(),
        _ => format!("text {number}"),
    }
}

/// A text, and its form in a document, which is cut at so many characters.
pub(super) fn cut(text: &str, characters: usize) -> (String, u64) {
    if text.chars().count() <= characters {
        return (text.to_owned(), 0);
    }
    let kept = text.chars().take(characters - 1);
    (kept.chain(['…']).collect(), 1)
}

pub(super) fn annotation(value: Annotated) -> AnnotationValue<'static> {
    match value {
        Annotated::Text(number) => text(number).into(),
        Annotated::Integer(number) => number.into(),
        Annotated::Unsigned(number) => number.into(),
        Annotated::Float(number) => {
            [0.5, -1.25, 1e300, f64::NAN, f64::NEG_INFINITY][usize::from(number % 5)].into()
        }
        Annotated::Short(number) => short(number).into(),
        Annotated::Boolean(flag) => flag.into(),
    }
}

/// The same, as the model keeps it.
pub(super) fn noted(value: Annotated) -> AnnotationValue<'static> {
    match value {
        // The number that prints alike, not the nearest one.
        Annotated::Short(number) => short(number)
            .to_string()
            .parse::<f64>()
            .unwrap_or_default()
            .into(),
        other => annotation(other),
    }
}

fn short(number: u8) -> f32 {
    [0.1, 2.5, 1e9][usize::from(number % 3)]
}

pub(super) fn namespace(number: u8) -> &'static str {
    ["default", "", "n1"][usize::from(number % 3)]
}

/// A value of metadata: serialises, or refuses to.
#[derive(Debug)]
pub(super) struct Given(pub(super) Meta);

/// The start of each text that stands for a value which was left out.
pub(super) const MARKS: [&str; 2] = ["[trimmed: ", "[not serialisable: "];

impl Given {
    /// `None` where a mark stands for it.
    pub(super) fn value(&self) -> Option<Value> {
        Some(match self.0 {
            Meta::Null => Value::Null,
            Meta::Number(number) => number.into(),
            Meta::Text(number) => text(number).into(),
            Meta::Nested(number) => json!({"a": [number, {"b": null}], "c": {}}),
            Meta::Large(kilobytes) => "m".repeat(usize::from(kilobytes) * 1_000).into(),
            _ => return None,
        })
    }
}

impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Meta::TooLarge => "m".repeat(70_000).serialize(serializer),
            Meta::TooDeep => {
                let nest = |inner, _| Value::Array(vec![inner]);
                (0..40).fold(Value::Null, nest).serialize(serializer)
            }
            Meta::Fails => Err(S::Error::custom("no")),
            Meta::Panics => std::panic::resume_unwind(Box::new(())),
            _ => self.value().serialize(serializer),
        }
    }
}

/// A member of `aws`: its key, the value given, and the value recorded.
pub(super) fn aws(key: u8, number: u8) -> (&'static str, Value, Option<Value>) {
    let same = |key, value: Value| (key, value.clone(), Some(value));
    match key % 6 {
        0 => same("operation", format!("Get{}", number % 3).into()),
        1 => same("request_id", format!("r{}", number % 3).into()),
        2 => same("x_list", json!([number, 2])),
        3 => (
            "x_object",
            json!({"a": number, "b": null}),
            Some(json!({"a": number})),
        ),
        4 => ("x_object", Value::Null, None),
        _ => ("xray", json!("not recorded"), None),
    }
}

#[derive(Debug)]
struct Flat(u8);

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flat {}", self.0)
    }
}

impl Error for Flat {}

#[derive(Debug)]
struct Like(u8);

impl fmt::Display for Like {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Flat(self.0).fmt(f)
    }
}

impl Error for Like {}

#[derive(Debug)]
struct Wrapping(Flat);

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrapping {}", self.0.0)
    }
}

impl Error for Wrapping {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Records an error, as a fault or as an error.
pub(super) fn record(entity: &xray_core::Entity, failure: Failure, fault: bool) {
    type Boxed = Box<dyn Error + Send + Sync>;
    match (failure, fault) {
        (Failure::Flat(number), true) => entity.record_fault(&Flat(number)),
        (Failure::Flat(number), false) => entity.record_error(&Flat(number)),
        (Failure::Like(number), true) => entity.record_fault(&Like(number)),
        (Failure::Like(number), false) => entity.record_error(&Like(number)),
        (Failure::Wrapping(number), true) => entity.record_fault(&Wrapping(Flat(number))),
        (Failure::Wrapping(number), false) => entity.record_error(&Wrapping(Flat(number))),
        (Failure::Boxed(number), true) => entity.record_fault(&Boxed::from(Flat(number))),
        (Failure::Boxed(number), false) => entity.record_error(&Boxed::from(Flat(number))),
    }
}

/// The file that [`record`] is called back to stand in.
pub(super) const RECORDS: &str = file!();

/// A link of an error.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// The type, as a document names it.
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// The type, by which it is known again.
    pub(super) is: &'static str,
}

/// The links of an error, the outermost first.
pub(super) fn chain(failure: Failure) -> Vec<Link> {
    fn link<E: Error>(error: &E) -> Link {
        let kind = std::any::type_name::<E>();
        Link {
            kind,
            message: error.to_string(),
            is: kind,
        }
    }
    let unnamed = |link| Link {
        kind: "Error",
        ..link
    };
    match failure {
        Failure::Flat(number) => vec![link(&Flat(number))],
        Failure::Like(number) => vec![link(&Like(number))],
        Failure::Boxed(number) => vec![unnamed(link(&Flat(number)))],
        Failure::Wrapping(number) => {
            vec![link(&Wrapping(Flat(number))), unnamed(link(&Flat(number)))]
        }
    }
}
