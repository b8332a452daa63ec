//! Trace documents as data: for hooks, bridges, tests and the local stand-in.
//!
//! The model reads leniently, because it meets what every SDK writes, and
//! writes strictly: absent, `false` and empty fields are left out, and no field
//! is written as `null`. Reading follows three rules:
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
mod lenient;
pub(crate) mod rewrite;
#[cfg(test)]
mod tests;
pub(crate) mod valid;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::lenient::{is_false, is_unwritable, lenient_number, null_as_default, without_nulls};

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
