//! What a test expects of a trace; begin with [`segment`] or [`subsegment`].
//!
//! An expectation is lenient: what it does not mention may be there, and the
//! children it names are to be found in this order, with others in between. Two
//! words change that, each for one place and not for those below it:
//!
//! - [`exact`](Expectation::exact): nothing but what is mentioned;
//! - [`any_order`](Expectation::any_order): children in whatever order.
//!
//! Children stand in the order in which they began.
//!
//! ```
//! use xray_core::test_util::{TestRecorder, expect};
//! use xray_core::{Class, Namespace};
//!
//! let recorder = TestRecorder::new("shop");
//! let segment = recorder.begin_segment("shop");
//! let call = segment.subsegment("stock").namespace(Namespace::Remote).begin();
//! call.record_exception("Timeout", "after 5 s", Class::Fault);
//! call.close();
//! segment.in_subsegment("render", |_| ());
//! segment.close();
//!
//! recorder.expect(
//!     expect::segment("shop").any_order().exact()
//!         .child(expect::subsegment("render"))
//!         .child(expect::subsegment("stock").remote().fault().exception("Timeout", "after 5 s")),
//! );
//! ```

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::check::{self, Mismatch};
use super::fail;
use crate::clock::since_epoch;
use crate::document::Document;
use crate::{AnnotationValue, Class, Namespace, TraceHeader};

/// Expects a segment of that name.
pub fn segment(name: impl Into<String>) -> Expectation {
    Expectation::new(true, name.into())
}

/// Expects a subsegment of that name.
pub fn subsegment(name: impl Into<String>) -> Expectation {
    Expectation::new(false, name.into())
}

/// What is expected of a segment or subsegment and of what is below it; see the
/// [module](self).
#[must_use = "nothing is checked before it is handed to a recorder"]
pub struct Expectation {
    pub(super) is_segment: bool,
    pub(super) name: String,
    pub(super) values: Vec<Expected>,
    /// Type and message.
    pub(super) exceptions: Vec<(String, String)>,
    pub(super) children: Vec<Self>,
    pub(super) exact: bool,
    pub(super) any_order: bool,
}

/// One value to be found.
pub(super) struct Expected {
    pub(super) what: What,
    pub(super) value: Value,
    /// Null where there is none.
    pub(super) find: Box<dyn Fn(&Document) -> Value + Send + Sync>,
}

#[derive(PartialEq)]
pub(super) enum What {
    Annotation(String),
    Metadata(String, String),
    Class,
    Other(String),
}

impl Expectation {
    fn new(is_segment: bool, name: String) -> Self {
        Self {
            is_segment,
            name,
            values: Vec::new(),
            exceptions: Vec::new(),
            children: Vec::new(),
            exact: false,
            any_order: false,
        }
    }

    /// An annotation of that value. Numbers are equal by value, whatever their
    /// type.
    pub fn annotation<'a>(self, key: &str, value: impl Into<AnnotationValue<'a>>) -> Self {
        let name = key.to_owned();
        let find = move |found: &Document| found.annotations.get(&name).cloned();
        let what = What::Annotation(key.to_owned());
        self.value(what, check::json(value.into()), find)
    }

    /// Metadata of that value under the namespace `default`.
    ///
    /// # Panics
    ///
    /// When the value cannot be serialised.
    #[track_caller]
    pub fn metadata(self, key: &str, value: impl Serialize) -> Self {
        self.metadata_in("default", key, value)
    }

    /// Metadata of that value.
    ///
    /// # Panics
    ///
    /// When the value cannot be serialised.
    #[track_caller]
    pub fn metadata_in(self, namespace: &str, key: &str, value: impl Serialize) -> Self {
        let place = (namespace.to_owned(), key.to_owned());
        let find = move |found: &Document| found.metadata.get(&place.0)?.get(&place.1).cloned();
        let what = What::Metadata(namespace.to_owned(), key.to_owned());
        self.value(what, to_value(value), find)
    }

    /// A member of the `aws` block.
    ///
    /// # Panics
    ///
    /// When the value cannot be serialised.
    #[track_caller]
    pub fn aws(self, key: &str, value: impl Serialize) -> Self {
        let name = key.to_owned();
        let find = move |found: &Document| found.aws.get(&name).cloned();
        self.other(&format!("aws {key}"), to_value(value), find)
    }

    /// The method and URL of the HTTP request.
    pub fn request(self, method: &str, url: &str) -> Self {
        self.other("HTTP method", method, |found| {
            let request = found.http.as_ref()?.request.as_ref()?;
            request.method.as_deref().map(Value::from)
        })
        .other("URL", url, |found| {
            let request = found.http.as_ref()?.request.as_ref()?;
            request.url.as_deref().map(Value::from)
        })
    }

    /// The status of the HTTP response.
    pub fn status(self, status: u16) -> Self {
        self.other("HTTP status", status, |found| {
            let response = found.http.as_ref()?.response.as_ref()?;
            response.status.map(Value::from)
        })
    }

    /// Neither error nor throttle nor fault.
    pub fn ok(self) -> Self {
        self.class(Class::Ok)
    }

    /// The caller's mistake.
    pub fn error(self) -> Self {
        self.class(Class::Error)
    }

    /// The caller asked too often.
    pub fn throttle(self) -> Self {
        self.class(Class::Throttle)
    }

    /// Our mistake.
    pub fn fault(self) -> Self {
        self.class(Class::Fault)
    }

    /// The gravest of error, throttle and fault.
    pub fn class(self, class: Class) -> Self {
        let find = |found: &Document| Some(check::class_name(check::class_of(found)).into());
        self.value(What::Class, check::class_name(class).into(), find)
    }

    /// An exception of that type and message. One that was recorded below and
    /// passed on from there stands below only.
    pub fn exception(mut self, kind: &str, message: &str) -> Self {
        self.exceptions.push((kind.to_owned(), message.to_owned()));
        self
    }

    /// A call that leaves the process, other than to an AWS service.
    pub fn remote(self) -> Self {
        self.namespace(Namespace::Remote)
    }

    /// What the name stands for.
    pub fn namespace(self, namespace: Namespace) -> Self {
        let name = match namespace {
            Namespace::Aws => "aws",
            Namespace::Remote => "remote",
        };
        self.other("namespace", name, |found| {
            found.namespace.as_deref().map(Value::from)
        })
    }

    /// The user who sent the request.
    pub fn user(self, user: &str) -> Self {
        self.other("user", user, |found| found.user.as_deref().map(Value::from))
    }

    /// From start to end, to the microsecond.
    pub fn duration(self, duration: Duration) -> Self {
        let expected = duration.as_micros() as i64;
        self.other("microseconds", expected, |found| {
            let seconds = found.duration_seconds()?;
            Some(micros(seconds))
        })
    }

    /// The time it began, to the microsecond.
    pub fn started_at(self, start: SystemTime) -> Self {
        let start = since_epoch(start) / 1_000;
        self.other("start in microseconds", start, |found| {
            found.start_time.map(micros)
        })
    }

    /// Shown before it was finished.
    pub fn in_progress(self) -> Self {
        self.other("in progress", true, |found| Some(found.in_progress.into()))
    }

    /// Begun below the caller of that header: its trace, its parent. For what
    /// is outermost.
    pub fn continues(self, header: &TraceHeader) -> Self {
        let trace_id = header.root().map(|id| id.to_string());
        let parent = header.parent().map(|id| id.to_string());
        self.other("trace id", trace_id, |found| {
            found.trace_id.as_deref().map(Value::from)
        })
        .other("parent id", parent, |found| {
            found.parent_id.as_deref().map(Value::from)
        })
    }

    /// Whatever else; `what` is for the message.
    ///
    /// ```
    /// # use xray_core::test_util::{TestRecorder, expect};
    /// # let recorder = TestRecorder::new("shop");
    /// # recorder.begin_segment("shop").close();
    /// let versioned = |found: &xray_core::document::Document| found.service.contains_key("version");
    /// recorder.expect(expect::segment("shop").satisfies("no version", move |found| !versioned(found)));
    /// ```
    pub fn satisfies(
        self,
        what: &str,
        test: impl Fn(&Document) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.other(what, true, move |found| Some(test(found).into()))
    }

    /// Something directly below.
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Its children may stand in any order.
    pub fn any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// Nothing but what is mentioned: no other child, annotation, metadata or
    /// exception, and not failed unless that is said.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Holds it against a tree; see [`join`](super::join). For traces that no
    /// [`TestRecorder`](super::TestRecorder) recorded.
    ///
    /// # Errors
    ///
    /// When something is not as expected.
    pub fn check(&self, tree: &Document) -> Result<(), Mismatch> {
        check::check(self, tree)
    }

    fn other(
        self,
        what: &str,
        value: impl Into<Value>,
        find: impl Fn(&Document) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.value(What::Other(what.to_owned()), value.into(), find)
    }

    fn value(
        mut self,
        what: What,
        value: Value,
        find: impl Fn(&Document) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        let find = Box::new(move |found: &Document| find(found).unwrap_or_default());
        self.values.push(Expected { what, value, find });
        self
    }
}

fn micros(seconds: f64) -> Value {
    Value::from((seconds * 1e6).round() as i64)
}

#[track_caller]
fn to_value(value: impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(value) => value,
        Err(error) => fail(&format_args!(
            "what is expected cannot be serialised: {error}"
        )),
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation")
            .field("name", &self.name)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation(key) => write!(f, "annotation {key}"),
            Self::Metadata(namespace, key) => write!(f, "metadata {namespace}.{key}"),
            Self::Class => f.write_str("class"),
            Self::Other(what) => f.write_str(what),
        }
    }
}
