//! Exceptions: an error with its chain of sources, a panic, a cancellation.

use std::any::Any;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::floor_char_boundary;
use crate::SegmentId;
use crate::limits;

/// One link of a chain of exceptions.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    pub(crate) id: SegmentId,
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) remote: bool,
    /// The exception that caused this one.
    pub(crate) cause: Option<SegmentId>,
}

/// The exception an entity recorded last, by which a parent that is handed the
/// same error, or one that wraps it, knows it again. Errors are moved on their
/// way up, so their text has to serve as their identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) id: SegmentId,
    fingerprint: u64,
}

/// What becomes of an error that is recorded.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The same exception was recorded further down.
    Same(SegmentId),
    /// A new chain, the outermost first.
    Chain(Vec<Exception>, Seen),
}

impl Cause {
    /// Reads the chain of `source()`s; a link that a child recorded already
    /// (`seen`) is named by its id instead of being written again.
    pub(crate) fn of_error(
        kind: &str,
        error: &dyn Error,
        remote: bool,
        seen: Option<Seen>,
        mut next_id: impl FnMut() -> SegmentId,
    ) -> Self {
        let mut chain: Vec<Exception> = Vec::new();
        let mut link = Some(error);
        let mut outermost = 0;
        while let Some(error) = link.filter(|_| chain.len() < limits::EXCEPTIONS) {
            let message = message(error);
            let fingerprint = fingerprint(&message);
            let known = seen.filter(|seen| seen.fingerprint == fingerprint);
            if let (Some(known), Some(last)) = (known, chain.last_mut()) {
                last.cause = Some(known.id);
                break;
            }
            if let Some(known) = known {
                return Self::Same(known.id);
            }
            let id = next_id();
            match chain.last_mut() {
                Some(last) => last.cause = Some(id),
                None => outermost = fingerprint,
            }
            let kind = if chain.is_empty() { kind } else { "source" };
            chain.push(Exception {
                id,
                kind: cut(kind, limits::EXCEPTION_KIND_BYTES),
                message,
                remote,
                cause: None,
            });
            link = error.source();
        }
        match chain.first() {
            Some(first) => {
                let seen = Seen {
                    id: first.id,
                    fingerprint: outermost,
                };
                Self::Chain(chain, seen)
            }
            None => Self::plain(kind, "", next_id()),
        }
    }

    /// One exception that is no `Error`.
    pub(crate) fn plain(kind: &str, message: &str, id: SegmentId) -> Self {
        let message = cut(message, limits::MESSAGE_BYTES);
        let seen = Seen {
            id,
            fingerprint: fingerprint(&message),
        };
        let exception = Exception {
            id,
            kind: kind.to_owned(),
            message,
            remote: false,
            cause: None,
        };
        Self::Chain(vec![exception], seen)
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic with a payload that is not text"
    }
}

/// A `Display` may panic; recording must not.
fn message(error: &dyn Error) -> String {
    use std::fmt::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let text = catch_unwind(AssertUnwindSafe(|| {
        let mut text = String::new();
        let _ = write!(text, "{error}");
        text
    }));
    match text {
        Ok(text) if text.len() <= limits::MESSAGE_BYTES => text,
        Ok(text) => cut(&text, limits::MESSAGE_BYTES),
        Err(_) => "the error's own message panicked".to_owned(),
    }
}

fn cut(text: &str, limit: usize) -> String {
    let end = floor_char_boundary(text, limit);
    if end == text.len() {
        text.to_owned()
    } else {
        format!("{}…", &text[..end])
    }
}

fn fingerprint(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

/// An error that can be recorded: any `std::error::Error`, `anyhow::Error` and
/// boxed errors.
///
/// `Kind` tells the implementations apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error that can be recorded",
    label = "expected a `std::error::Error`, `anyhow::Error` or a boxed error",
    note = "under `#[subsegment]`, `ignore_err` leaves errors unrecorded; a text is recorded by \
            `Entity::record_exception`"
)]
pub trait AnyError<Kind> {
    /// The error as the standard library's trait object.
    fn as_error(&self) -> &(dyn Error + 'static);

    /// Its type, as far as known.
    fn kind(&self) -> &'static str;
}

/// Tells the implementations of [`AnyError`] apart.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {}

mod kinds {
    //! One marker an implementation.
    #[derive(Debug)]
    pub struct Boxed;
    #[derive(Debug)]
    pub struct LocalBoxed;
}

impl<E: Error + 'static> AnyError<ErrorKind> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }

    fn kind(&self) -> &'static str {
        short_type_name::<E>()
    }
}

impl<E: std::ops::Deref<Target = dyn Error + Send + Sync>> AnyError<kinds::Boxed> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }

    fn kind(&self) -> &'static str {
        short_type_name::<E>()
    }
}

impl<E: std::ops::Deref<Target = dyn Error>> AnyError<kinds::LocalBoxed> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }

    fn kind(&self) -> &'static str {
        short_type_name::<E>()
    }
}

/// `std::io::error::Error` as written by the compiler; a boxed error's own type
/// is gone, so its container is not named.
fn short_type_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    if name.contains("dyn ") { "Error" } else { name }
}
