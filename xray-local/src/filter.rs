//! Which traces are worth showing.

use crate::{Document, Node, Trace};
use serde_json::{Number, Value};
use std::time::Duration;

/// Conditions on a trace, all of which must hold; without any, every trace
/// matches.
///
/// A condition on a name, flag or annotation holds when some segment or
/// subsegment of the trace satisfies it; different conditions may be satisfied
/// by different ones. The duration is the whole trace's.
///
/// ```
/// use xray_local::{Document, Filter, Flag, join};
///
/// let document = br#"{"name":"shop","id":"70de5b6f19ff9a0a","start_time":10.0,"end_time":10.25,
///     "fault":true,"annotations":{"tenant":"t-42"}}"#;
/// let trace = &join([Document::from_json(document)?])[0];
/// assert!(Filter::default().name("SHO").flag(Flag::Fault).matches(trace));
/// assert!(!Filter::default().name("shop").annotation_is("tenant", "t-1").matches(trace));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Filter {
    names: Vec<Pattern>,
    flags: Vec<Flag>,
    annotations: Vec<Annotation>,
    longer_than: Option<Duration>,
}

/// A mark on a segment or subsegment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flag {
    /// The caller's mistake: HTTP 4xx.
    Error,
    /// The service's own failure.
    Fault,
    /// Not ended when it was sent.
    InProgress,
    /// Turned away for too many requests.
    Throttle,
}

impl Filter {
    /// Something is named like this, in upper or lower case.
    ///
    /// With a `*` (any text) or `?` (any character), neither of which a valid
    /// name contains, it is a pattern for the whole name; otherwise it is text
    /// that the name contains.
    pub fn name(mut self, pattern: &str) -> Self {
        self.names.push(Pattern::new(pattern));
        self
    }

    /// Something is marked like this.
    pub fn flag(mut self, flag: Flag) -> Self {
        self.flags.push(flag);
        self
    }

    /// Something has an annotation of exactly this key, whatever its value.
    pub fn annotation(mut self, key: impl Into<String>) -> Self {
        let (key, value) = (key.into(), None);
        self.annotations.push(Annotation { key, value });
        self
    }

    /// Something has an annotation of exactly this key and value. Numbers match
    /// by value (`3`, `3.0`), booleans are `true` and `false`.
    pub fn annotation_is(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), Some(value.into()));
        self.annotations.push(Annotation { key, value });
        self
    }

    /// From its earliest start to its latest end the trace took longer than
    /// this, to the microsecond; never true as long as nothing in it ended.
    pub fn longer_than(mut self, duration: Duration) -> Self {
        self.longer_than = self.longer_than.max(Some(duration));
        self
    }

    /// Whether all conditions hold.
    pub fn matches(&self, trace: &Trace) -> bool {
        let documents = || trace.nodes().filter_map(Node::document);
        let is_long = |least: Duration| {
            let seconds = trace.duration_seconds();
            // Finer than this, the times of documents are noise.
            seconds.is_some_and(|seconds| (seconds * 1e6).round() > least.as_secs_f64() * 1e6)
        };
        self.longer_than.is_none_or(is_long)
            && (self.flags.iter()).all(|flag| documents().any(|document| flag.is_set(document)))
            && (self.annotations.iter()).all(|wanted| documents().any(|found| wanted.is_in(found)))
            && (self.names.iter()).all(|name| documents().any(|found| name.matches(&found.name)))
    }
}

impl Flag {
    fn is_set(self, document: &Document) -> bool {
        match self {
            Self::Error => document.error,
            Self::Fault => document.fault,
            Self::InProgress => document.in_progress,
            Self::Throttle => document.throttle,
        }
    }
}

/// In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Glob(Vec<char>),
    Text(String),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.to_lowercase();
        if pattern.contains(['*', '?']) {
            Self::Glob(pattern.chars().collect())
        } else {
            Self::Text(pattern)
        }
    }

    fn matches(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        match self {
            Self::Glob(pattern) => glob(pattern, &name.chars().collect::<Vec<_>>()),
            Self::Text(text) => name.contains(text),
        }
    }
}

/// At a mismatch only the latest `*` takes a character more: an earlier one has
/// matched as little as it can, and more would not help.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    // After the latest `*`, and where in the text that stands.
    let mut latest: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                latest = Some((at, read));
            }
            Some(&wanted) if wanted == '?' || wanted == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, from)) = &mut latest else {
                    return false;
                };
                *from += 1;
                (at, read) = (*after, *from);
            }
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Annotation {
    key: String,
    /// `None` for any.
    value: Option<String>,
}

impl Annotation {
    fn is_in(&self, document: &Document) -> bool {
        let Some(found) = document.annotations.get(&self.key) else {
            return false;
        };
        let Some(wanted) = self.value.as_deref() else {
            return true;
        };
        match found {
            Value::String(text) => text == wanted,
            Value::Number(number) => is_number(number, wanted),
            Value::Bool(flag) => wanted.parse() == Ok(*flag),
            _ => false,
        }
    }
}

fn is_number(number: &Number, wanted: &str) -> bool {
    match wanted.parse::<Number>() {
        // As integers, where floats cannot tell large ones apart.
        Ok(wanted) if wanted.is_f64() == number.is_f64() => wanted == *number,
        Ok(wanted) => wanted.as_f64() == number.as_f64(),
        Err(_) => false,
    }
}
