//! The values of a record.

use std::borrow::Cow;

use super::Text;

/// Which member of the document a value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    HttpMethod,
    HttpUrl,
    HttpUserAgent,
    HttpClientIp,
    HttpForwarded,
    HttpStatus,
    HttpContentLength,
    User,
    Origin,
    ServiceVersion,
    /// A member of `aws`, under its key.
    Aws,
    /// A member of `sql`, under its key.
    Sql,
    /// A link to another segment: `trace_id@id`.
    Link,
    Precursor,
    /// An exception that happened here.
    Exception,
    /// The id of an exception that happened below.
    CauseLink,
    Annotation,
    Metadata,
}

impl Field {
    /// The bits of all fields.
    pub(super) const ALL_BITS: u64 = (Self::Metadata.bit() << 1) - 1;

    pub(super) const fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// A value as it lies in a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored {
    Text(Text),
    Json(Text),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    Id(u64),
    Exception(u32),
}

impl Stored {
    /// Estimate of its written size; an exception knows its own.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Integer(_) | Self::Unsigned(_) | Self::Float(_) | Self::Boolean(_) => 8,
            Self::Id(_) | Self::Exception(_) => 20,
        }
    }
}

/// The value of an annotation: text, a number or a boolean.
///
/// Text is cut at 1,000 characters. A float that JSON cannot express (NaN,
/// infinities) is written as the text `NaN`, `Infinity` or `-Infinity`.
///
/// ```
/// # use xray_core::AnnotationValue;
/// assert_eq!(AnnotationValue::from(7_i64), AnnotationValue::Integer(7));
/// assert_eq!(AnnotationValue::from("gold"), AnnotationValue::Text("gold".into()));
/// assert_eq!(AnnotationValue::from(0.1_f32), AnnotationValue::Float(0.1));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AnnotationValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A signed integer.
    Integer(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Boolean(bool),
}

macro_rules! from {
    ($($variant:ident: $($source:ty),+;)+) => {$($(
        impl From<$source> for AnnotationValue<'_> {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
    )+)+};
}

from! {
    Text: String;
    Integer: i8, i16, i32, i64;
    Unsigned: u8, u16, u32, u64;
    Float: f64;
    Boolean: bool;
}

impl<'a> From<&'a str> for AnnotationValue<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value.into())
    }
}

impl<'a> From<&'a String> for AnnotationValue<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value.into())
    }
}

impl<'a> From<Cow<'a, str>> for AnnotationValue<'a> {
    fn from(value: Cow<'a, str>) -> Self {
        Self::Text(value)
    }
}

/// The number that the `f32` is written as: 0.1, not 0.10000000149011612, which
/// a filter for 0.1 would not find.
impl From<f32> for AnnotationValue<'_> {
    fn from(value: f32) -> Self {
        let exact = f64::from(value);
        if value.is_finite() && value.fract() != 0.0 {
            let shortest = value.to_string().parse();
            return Self::Float(shortest.unwrap_or(exact));
        }
        Self::Float(exact)
    }
}

impl From<usize> for AnnotationValue<'_> {
    fn from(value: usize) -> Self {
        Self::Unsigned(value as u64)
    }
}

impl From<isize> for AnnotationValue<'_> {
    fn from(value: isize) -> Self {
        Self::Integer(value as i64)
    }
}

/// How a value reported from below joins the one already on the segment.
///
/// ```
/// # use xray_core::{Recorder, Tally};
/// # let (recorder, capture) = Recorder::capture("shop");
/// let segment = recorder.begin_segment("shop");
/// for tokens in [120.0, 80.0] {
///     let call = segment.begin_subsegment("model");
///     call.segment().tally("tokens", Tally::Sum(tokens));
/// }
/// segment.close();
/// assert_eq!(capture.documents()[0].annotations["tokens"], 200);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Tally<'a> {
    /// Add.
    Sum(f64),
    /// Keep the greatest.
    Max(f64),
    /// True once any was true.
    Any(bool),
    /// Keep the latest.
    Last(AnnotationValue<'a>),
}

/// A tally under way.
#[derive(Debug, Clone)]
pub(crate) struct Tallied {
    /// As it is written.
    pub(crate) key: String,
    pub(crate) value: AnnotationValue<'static>,
}

impl Tallied {
    pub(crate) fn new(key: String, tally: Tally<'_>) -> Self {
        let value = match tally {
            Tally::Sum(number) | Tally::Max(number) => number_value(number),
            Tally::Any(flag) => AnnotationValue::Boolean(flag),
            Tally::Last(value) => into_owned(value),
        };
        Self { key, value }
    }

    pub(crate) fn join(&mut self, tally: Tally<'_>) {
        self.value = match (tally, &self.value) {
            (Tally::Sum(number), before) => number_value(as_number(before) + number),
            (Tally::Max(number), before) => number_value(as_number(before).max(number)),
            (Tally::Any(flag), AnnotationValue::Boolean(before)) => {
                AnnotationValue::Boolean(flag || *before)
            }
            (Tally::Any(flag), _) => AnnotationValue::Boolean(flag),
            (Tally::Last(value), _) => into_owned(value),
        };
    }
}

fn as_number(value: &AnnotationValue<'_>) -> f64 {
    match *value {
        AnnotationValue::Integer(number) => number as f64,
        AnnotationValue::Unsigned(number) => number as f64,
        AnnotationValue::Float(number) => number,
        AnnotationValue::Text(_) | AnnotationValue::Boolean(_) => 0.0,
    }
}

/// A whole number is shown as one: `200`, not `200.0`.
fn number_value(number: f64) -> AnnotationValue<'static> {
    if number.fract() == 0.0 && number.abs() < (1u64 << 53) as f64 {
        AnnotationValue::Integer(number as i64)
    } else {
        AnnotationValue::Float(number)
    }
}

fn into_owned(value: AnnotationValue<'_>) -> AnnotationValue<'static> {
    match value {
        AnnotationValue::Text(text) => AnnotationValue::Text(text.into_owned().into()),
        AnnotationValue::Integer(number) => AnnotationValue::Integer(number),
        AnnotationValue::Unsigned(number) => AnnotationValue::Unsigned(number),
        AnnotationValue::Float(number) => AnnotationValue::Float(number),
        AnnotationValue::Boolean(flag) => AnnotationValue::Boolean(flag),
    }
}
