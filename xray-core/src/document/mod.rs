//! Trace documents as data: for hooks, bridges, tests and the local stand-in.
//!
//! The model reads leniently, because it meets what every SDK writes, and
//! writes strictly: absent, `false` and empty fields are left out, and `null`
//! never appears. Reading follows three rules:
//!
//! - an explicit `null` counts as absent;
//! - a number may come as an integer, a float or numeric text; one that does
//!   not fit its field, such as a `content_length` of -1, counts as absent;
//! - fields the model does not know are kept in `other` and written back.
//!
//! Identifiers stay text here, since others may send invalid ones.
//!
//! Source: [segment documents](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html).

pub(crate) mod convert;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A segment or a subsegment, with everything nested in it.
///
/// ```
/// # use xray_core::document::Document;
/// let document = Document::from_json(
///     br#"{"name":"shop","id":"70de5b6f19ff9a0a","start_time":10,"end_time":10.25,
///          "subsegments":[{"name":"load","id":"53995c3f42cd8ad8","start_time":10.1}]}"#,
/// )?;
/// assert_eq!(document.duration_seconds(), Some(0.25));
/// assert_eq!(document.find("load").map(|found| found.id.as_str()), Some("53995c3f42cd8ad8"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Document {
    /// Logical name of the service or of the piece of work; empty when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// 16 hex digits, unique within the trace; empty when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub id: String,
    /// Absent on nested subsegments, which share the outermost one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Of a segment: the upstream subsegment. Of a subsegment sent on its own:
    /// the segment or subsegment it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The field `type`; its only value is `subsegment`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Seconds since the Unix epoch.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "is_unwritable"
    )]
    pub start_time: Option<f64>,
    /// Seconds since the Unix epoch; absent while in progress.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "is_unwritable"
    )]
    pub end_time: Option<f64>,
    /// An early version, to be replaced by the complete one of the same id.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub in_progress: bool,
    /// The caller's mistake: HTTP 4xx.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub error: bool,
    /// Turned away for too many requests: HTTP 429.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub throttle: bool,
    /// The service's own failure: HTTP 5xx, an uncaught exception.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub fault: bool,
    /// The exceptions behind the flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The HTTP request served or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// `aws` or `remote` for calls to another service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The service called sends a segment of its own.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub traced: bool,
    /// The AWS resource (segment) or the AWS call (subsegment).
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub aws: Map<String, Value>,
    /// The database query made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<Sql>,
    /// Indexed values: text, numbers and booleans.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub annotations: Map<String, Value>,
    /// Values that are not indexed: an object for each namespace.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub metadata: Map<String, Value>,
    /// Who sent the request; segments only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Kind of AWS resource the program runs on; segments only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// That resource; segments only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_arn: Option<String>,
    /// Version and runtime of the program; segments only.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub service: Map<String, Value>,
    /// Other traces this one relates to; segments only.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub links: Vec<Link>,
    /// Siblings that were complete before this subsegment began.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub precursor_ids: Vec<String>,
    /// The work done within.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub subsegments: Vec<Self>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

impl Document {
    /// Reads one document, without a header line.
    ///
    /// # Errors
    ///
    /// When the text is not one JSON object, a known field holds a value of the
    /// wrong kind, or the nesting exceeds what `serde_json` accepts (128).
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Whether it says to be a subsegment. Nested ones often say nothing.
    pub fn is_subsegment(&self) -> bool {
        self.kind.as_deref() == Some("subsegment")
    }

    /// This document and all that is nested in it, parents before children and
    /// siblings in their order.
    pub fn walk(&self) -> impl Iterator<Item = &Self> {
        // A stack of its own, so that depth costs no call frames.
        let mut ahead = vec![self];
        std::iter::from_fn(move || {
            let next = ahead.pop()?;
            ahead.extend(next.subsegments.iter().rev());
            Some(next)
        })
    }

    /// The first of [`walk`](Self::walk) with this name.
    pub fn find(&self, name: &str) -> Option<&Self> {
        self.walk().find(|document| document.name == name)
    }

    /// From start to end, `None` while in progress.
    pub fn duration_seconds(&self) -> Option<f64> {
        Some(self.end_time? - self.start_time?)
    }

    /// The exceptions recorded here; none when the cause is a mere reference.
    pub fn exceptions(&self) -> &[Exception] {
        match &self.cause {
            Some(Cause::Exceptions(recorded)) => &recorded.exceptions,
            _ => &[],
        }
    }
}

/// Why a document is marked as failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Cause {
    /// The exception of this id, recorded elsewhere in the trace.
    Id(String),
    /// Exceptions recorded here.
    Exceptions(Exceptions),
}

/// Exceptions and where the program ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Exceptions {
    /// Where the program was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Where its libraries lie.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub paths: Vec<String>,
    /// The outermost first.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exceptions: Vec<Exception>,
    /// Fields that the model does not know; Node puts an `id` here.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// One error value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Exception {
    /// 16 hex digits; empty when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub id: String,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The field `type`: name of the error's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Raised by the service called.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub remote: bool,
    /// Stack frames left out.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub truncated: Option<u32>,
    /// Exceptions left out between this one and its cause.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub skipped: Option<u32>,
    /// Id of the exception behind this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The innermost frame first.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub stack: Vec<StackFrame>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// One line of a stack trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StackFrame {
    /// Source file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line in that file.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub line: Option<u32>,
    /// Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// An HTTP exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Http {
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<HttpRequest>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpResponse>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// The request of an [`Http`] exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HttpRequest {
    /// `GET`, `POST` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// With scheme and host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The client's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The address was taken from a header, so anyone may have written it.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub x_forwarded_for: bool,
    /// As [`Document::traced`], at the place the documentation gives it.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub traced: bool,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// The response of an [`Http`] exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HttpResponse {
    /// Status code.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<u16>,
    /// Bytes in the body.
    #[serde(
        deserialize_with = "lenient_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub content_length: Option<u64>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// A database query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sql {
    /// For databases that are not addressed by URL; no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_string: Option<String>,
    /// Address of the database; no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The query, its values taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sanitized_query: Option<String>,
    /// The engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_type: Option<String>,
    /// The engine's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_version: Option<String>,
    /// Name and version of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_version: Option<String>,
    /// The database user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `call` for a stored procedure, `statement` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preparation: Option<String>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

/// Points to a segment of another trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Link {
    /// The other trace; empty when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub trace_id: String,
    /// The segment in it; empty when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub id: String,
    /// What the relation is.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub attributes: Map<String, Value>,
    /// Fields that the model does not know.
    #[serde(flatten, deserialize_with = "without_nulls")]
    pub other: Map<String, Value>,
}

fn null_as_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn without_nulls<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let mut fields = Map::deserialize(from)?;
    fields.retain(|_, value| !value.is_null());
    Ok(fields)
}

/// Goes by way of `Value`, which reads numbers even when another crate of the
/// program turns on `serde_json`'s `arbitrary_precision`.
fn lenient_number<'de, D: Deserializer<'de>, T: Number>(from: D) -> Result<Option<T>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number
            .as_u64()
            .map_or_else(|| T::from_float(number.as_f64()?), T::from_integer),
        Value::String(text) => text.trim().parse().ok().and_then(T::from_float),
        _ => None,
    })
}

trait Number: Sized {
    fn from_integer(value: u64) -> Option<Self>;
    fn from_float(value: f64) -> Option<Self>;
}

impl Number for f64 {
    fn from_integer(value: u64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        value.is_finite().then_some(value)
    }
}

macro_rules! unsigned {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn from_integer(value: u64) -> Option<Self> {
                value.try_into().ok()
            }

            fn from_float(value: f64) -> Option<Self> {
                // Above 2^53 a float no longer tells one integer from the next.
                (value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value))
                    .then_some(value as u64)
                    .and_then(Self::from_integer)
            }
        }
    )*};
}

unsigned!(u16, u32, u64);

/// JSON has no NaN and no infinity; `serde_json` would write `null`.
fn is_unwritable(number: &Option<f64>) -> bool {
    number.is_none_or(|value| !value.is_finite())
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Document {
        Document::from_json(text.as_bytes()).unwrap()
    }

    /// Leaked `Dummy`, `trace_id` and `parent_id` repeated in what is nested,
    /// a length of -1 where it was unknown.
    #[test]
    fn what_go_writes() {
        let text = r#"{"trace_id":"1-66f2a1c0-0123456789abcdef01234567","id":"70de5b6f19ff9a0a","name":"orders",
            "start_time":1727177152.1234567,"end_time":1727177152.2,"fault":true,
            "http":{"request":{"method":"GET","url":"/orders","client_ip":"203.0.113.9","x_forwarded_for":true},
                    "response":{"status":500,"content_length":0}},
            "aws":{"xray":{"sdk_version":"2.0.3","sdk":"X-Ray for Go","sampling_rule_name":"Default"}},
            "service":{"compiler":"gc","compiler_version":"go1.22"},"Dummy":false,
            "cause":{"working_directory":"/app","exceptions":[{"id":"aaaaaaaaaaaaaaaa","type":"errorString","message":"no",
                "stack":[{"path":"main.go","line":42,"label":"main.main"}]}]},
            "subsegments":[{"id":"53995c3f42cd8ad9","name":"DynamoDB","start_time":1727177152.13,"end_time":1727177152.19,
                "namespace":"aws","trace_id":"1-66f2a1c0-0123456789abcdef01234567","parent_id":"70de5b6f19ff9a0a",
                "http":{"response":{"status":200,"content_length":-1}},"aws":{"retries":0},"Dummy":false}]}"#;
        let document = read(text);
        assert_eq!(
            document.other,
            *json!({"Dummy": false}).as_object().unwrap()
        );
        assert_eq!(document.start_time, Some(1727177152.1234567));
        assert_eq!(document.exceptions()[0].stack[0].line, Some(42));
        let http = document.subsegments[0].http.as_ref().unwrap();
        let response = http.response.as_ref().unwrap();
        assert_eq!(
            (response.status, response.content_length),
            (Some(200), None)
        );
        assert_eq!(document.subsegments[0].aws["retries"], 0);
    }

    /// Spaces, `in_progress` false, namespace `local`, a cause by reference.
    #[test]
    fn what_python_writes() {
        let text = r#"{"id": "70de5b6f19ff9a0a", "name": "orders", "start_time": 1727177152.123456, "in_progress": false,
            "fault": true, "cause": "aaaaaaaaaaaaaaaa", "annotations": {"tenant": "t-42", "n": 3, "cached": false},
            "metadata": {"default": {"cart": null}}, "trace_id": "1-66f2a1c0-0123456789abcdef01234567",
            "service": {"runtime": "CPython", "runtime_version": "3.12.1"}, "end_time": 1727177152.2,
            "subsegments": [{"id": "53995c3f42cd8ad9", "name": "load", "start_time": 1727177152.13,
                "parent_id": "70de5b6f19ff9a0a", "in_progress": false, "type": "subsegment", "namespace": "local",
                "trace_id": "1-66f2a1c0-0123456789abcdef01234567", "end_time": 1727177152.19,
                "cause": {"working_directory": "/app", "exceptions": [{"id": "aaaaaaaaaaaaaaaa", "message": "m",
                    "type": "ValueError", "remote": false, "truncated": 0,
                    "stack": [{"path": "app.py", "line": 7, "label": "load"}]}]}}]}"#;
        let document = read(text);
        assert!(!document.in_progress && !document.is_subsegment());
        assert_eq!(document.cause, Some(Cause::Id("aaaaaaaaaaaaaaaa".into())));
        assert_eq!(document.annotations["cached"], false);
        assert_eq!(document.metadata["default"], json!({"cart": null}));
        let nested = document.find("load").unwrap();
        assert!(nested.is_subsegment());
        assert_eq!(nested.namespace.as_deref(), Some("local"));
        assert_eq!(nested.exceptions()[0].truncated, Some(0));
    }

    /// Chained exceptions, native frames without a line, times as integers.
    #[test]
    fn what_java_writes() {
        let text = r#"{"id":"70de5b6f19ff9a0a","trace_id":"1-66f2a1c0-0123456789abcdef01234567","name":"orders",
            "start_time":1727177152,"end_time":1.72717715325E9,"error":true,"throttle":true,
            "origin":"AWS::ECS::Container","aws":{"ecs":{"container":"ip-10-0-0-5"},"xray":{"rule_name":"Default"}},
            "cause":{"working_directory":"/app","paths":[],"exceptions":[
                {"id":"aaaaaaaaaaaaaaaa","type":"com.example.OrderException","message":"m","cause":"bbbbbbbbbbbbbbbb",
                 "truncated":12,"skipped":1,"remote":true,"stack":[{"path":"Order.java","line":-2,"label":"load"}]},
                {"id":"bbbbbbbbbbbbbbbb","type":"java.io.IOException"}]},
            "http":{"response":{"status":429.0,"content_length":12.0}}}"#;
        let document = read(text);
        assert_eq!(document.duration_seconds(), Some(1.25));
        assert!(document.error && document.throttle && !document.fault);
        let [first, second] = document.exceptions() else {
            panic!("two exceptions");
        };
        assert_eq!(first.cause.as_deref(), Some(second.id.as_str()));
        assert_eq!(
            (first.truncated, first.skipped, first.remote),
            (Some(12), Some(1), true)
        );
        assert_eq!(first.stack[0].line, None);
        let response = document.http.unwrap().response.unwrap();
        assert_eq!(
            (response.status, response.content_length),
            (Some(429), Some(12))
        );
    }

    /// A cause that is an object with an id, leaked helpers, `traced` outside.
    #[test]
    fn what_node_writes() {
        let text = r#"{"id":"70de5b6f19ff9a0a","name":"orders","start_time":1727177152.123,"in_progress":true,
            "counter":1,"notTraced":true,"parent_id":null,"user":null,"annotations":null,
            "trace_id":"1-66f2a1c0-0123456789abcdef01234567","fault":true,
            "cause":{"id":"aaaaaaaaaaaaaaaa","exceptions":[]},
            "subsegments":[{"id":"53995c3f42cd8ad9","name":"api.example","start_time":1727177152.13,"namespace":"remote",
                "traced":true,"end_time":1727177152.19,
                "http":{"request":{"url":"https://api.example/","method":"GET"},"response":{"status":"204"}}}]}"#;
        let document = read(text);
        assert!(document.in_progress);
        assert_eq!(document.parent_id, None);
        assert_eq!(document.duration_seconds(), None);
        assert_eq!(
            document.other,
            *json!({"counter": 1, "notTraced": true})
                .as_object()
                .unwrap()
        );
        let Some(Cause::Exceptions(cause)) = &document.cause else {
            panic!("an object");
        };
        assert_eq!(cause.other["id"], "aaaaaaaaaaaaaaaa");
        let call = &document.subsegments[0];
        assert!(call.traced);
        let http = call.http.as_ref().unwrap();
        assert_eq!(http.response.as_ref().unwrap().status, Some(204));
    }

    #[test]
    fn writes_no_nulls_no_false_flags_nothing_empty() {
        let text = r#"{"name":"a","id":"70de5b6f19ff9a0a","start_time":null,"end_time":2,"error":false,"aws":{},
            "subsegments":null,"cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa","stack":null,"novel":null}]}}"#;
        assert_eq!(
            serde_json::to_string(&read(text)).unwrap(),
            r#"{"name":"a","id":"70de5b6f19ff9a0a","end_time":2.0,"cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa"}]}}"#
        );
        let odd = Document {
            start_time: Some(f64::NAN),
            ..Document::default()
        };
        assert_eq!(
            serde_json::to_string(&odd).unwrap(),
            r#"{"name":"","id":""}"#
        );
    }

    #[test]
    fn writes_in_order_and_reads_back_the_same() {
        let text = concat!(
            r#"{"name":"orders","id":"70de5b6f19ff9a0a","trace_id":"1-66f2a1c0-0123456789abcdef01234567","#,
            r#""parent_id":"53995c3f42cd8ad8","type":"subsegment","start_time":1727177152.123456,"#,
            r#""end_time":1727177152.201001,"error":true,"throttle":true,"fault":true,"cause":"aaaaaaaaaaaaaaaa","#,
            r#""http":{"request":{"method":"GET","url":"u","x_forwarded_for":true}},"namespace":"aws","traced":true,"#,
            r#""aws":{"retries":1},"sql":{"url":"u","preparation":"call"},"annotations":{"a":1.5},"#,
            r#""metadata":{"default":{"x":[null]}},"user":"u","origin":"o","resource_arn":"r","#,
            r#""service":{"version":"1"},"links":[{"trace_id":"t","id":"i"}],"precursor_ids":["p"],"#,
            r#""subsegments":[{"name":"b","id":"c"}],"novel":7}"#
        );
        assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
    }

    #[test]
    fn walks_parents_first_and_in_order() {
        let document = read(
            r#"{"name":"a","subsegments":[{"name":"b","subsegments":[{"name":"c"}]},{"name":"d"}]}"#,
        );
        let names: Vec<_> = document.walk().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(document.find("e"), None);
    }

    #[test]
    fn numbers_that_do_not_fit_count_as_absent() {
        for status in ["-1", "70000", "200.5", "true", "[]", r#""ok""#, "1e300"] {
            let text = format!(r#"{{"http":{{"response":{{"status":{status}}}}}}}"#);
            let http = read(&text).http.unwrap();
            assert_eq!(http.response.unwrap().status, None, "{status}");
        }
    }
}
