//! What is said of a document that breaks a rule.

use crate::escape;
use std::borrow::Cow;
use std::fmt;

/// One rule broken, and where.
///
/// What is said comes from outside and is kept short: of a key in the path at
/// most 100 characters, of the reason 200, and `…` where more followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The field, such as `subsegments[0].http.response.status`.
    pub path: String,
    /// The rule it breaks.
    pub reason: String,
}

impl Violation {
    pub(crate) fn new(path: impl Into<String>, reason: &str) -> Self {
        Self {
            path: path.into(),
            reason: cut(reason, REASON).into_owned(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys of annotations come from outside.
        write!(f, "{}: {}", escape(&self.path), escape(&self.reason))
    }
}

/// Place of an object; empty for the outermost.
#[derive(Clone, Copy)]
pub(crate) struct At<'a>(pub(crate) &'a str);

impl At<'_> {
    pub(crate) fn to(self, key: &str) -> String {
        let key = cut(key, KEY);
        match self.0 {
            "" => key.into_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

const KEY: usize = 100;
const REASON: usize = 200;
