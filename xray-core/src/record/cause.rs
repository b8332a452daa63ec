//! Exceptions: an error with its chain of sources, a panic, a cancellation.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;

use super::bounded::Bounded;
use super::floor_char_boundary;
use crate::SegmentId;
use crate::guard::guarded;
use crate::limits;
use crate::scrub::scrubbed;

/// One link of a chain of exceptions.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    pub(crate) id: SegmentId,
    pub(crate) kind: String,
    pub(crate) message: Message,
    pub(crate) remote: bool,
    /// The exception that caused this one.
    pub(crate) cause: Option<SegmentId>,
    pub(crate) stack: Vec<Frame>,
    /// Frames and exceptions that were left out.
    pub(crate) truncated: u32,
    pub(crate) skipped: u32,
}

impl Exception {
    /// Estimate of its written size.
    pub(super) fn bytes(&self) -> usize {
        let frames = self.stack.iter();
        let stack: usize = frames
            .map(|frame| 32 + frame.path.len() + frame.label.len())
            .sum();
        64 + self.kind.len() + self.message.text.len() + stack
    }
}

/// What an exception says, without the secrets of the URLs in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) text: String,
    /// It said more, so the text ends in `…`.
    pub(crate) is_cut: bool,
}

impl Message {
    /// Calls foreign code: a `Display` may panic, recording must not.
    fn of(error: &dyn Error) -> Self {
        match Bounded::of(&error, limits::MESSAGE_BYTES) {
            Some(said) => said.into(),
            None => Bounded::of_text("the error's own message panicked", usize::MAX).into(),
        }
    }
}

impl From<Bounded> for Message {
    fn from(said: Bounded) -> Self {
        let mut text = scrubbed(&said.text, said.is_cut).into_owned();
        if said.is_cut {
            text.push('…');
        }
        Self {
            text,
            is_cut: said.is_cut,
        }
    }
}

/// One frame of a stack.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) path: Cow<'static, str>,
    pub(crate) line: u32,
    pub(crate) label: Cow<'static, str>,
}

impl Frame {
    /// Where an error was recorded: all that is known of it for nothing.
    fn recorded_at(location: &'static Location<'static>) -> Self {
        Self {
            path: location.file().into(),
            line: location.line(),
            label: "recorded".into(),
        }
    }
}

/// An exception that is no Rust error: what another language, a protocol or a
/// remote service reports.
///
/// ```
/// # use xray_core::{Class, ExceptionReport};
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// segment.report_exception(
///     &ExceptionReport::new("ThrottlingException", "slow down").remote(),
///     Class::Throttle,
/// );
/// # segment.close();
/// # assert!(capture.documents()[0].exceptions()[0].remote);
/// ```
#[derive(Debug, Clone)]
pub struct ExceptionReport<'a> {
    pub(crate) kind: &'a str,
    pub(crate) message: &'a str,
    remote: bool,
    stack: Vec<Frame>,
    truncated: u32,
    skipped: u32,
}

impl<'a> ExceptionReport<'a> {
    /// An exception of a type (250 bytes) with a message (4,096 bytes).
    pub fn new(kind: &'a str, message: &'a str) -> Self {
        Self {
            kind,
            message,
            remote: false,
            stack: Vec::new(),
            truncated: 0,
            skipped: 0,
        }
    }

    /// It was raised by the downstream service.
    #[must_use]
    pub fn remote(mut self) -> Self {
        self.remote = true;
        self
    }

    /// Adds a frame of its stack, the innermost first. From the 51st on they
    /// are counted as truncated.
    #[must_use]
    pub fn frame(mut self, path: &str, line: u32, label: &str) -> Self {
        if self.stack.len() == limits::STACK_FRAMES {
            self.truncated = self.truncated.saturating_add(1);
        } else {
            let owned = |text| Cow::Owned(told(text, limits::FRAME_BYTES));
            self.stack.push(Frame {
                path: owned(path),
                line,
                label: owned(label),
            });
        }
        self
    }

    /// Frames that were left out by whoever reports.
    #[must_use]
    pub fn truncated(mut self, frames: u32) -> Self {
        self.truncated = self.truncated.saturating_add(frames);
        self
    }

    /// Exceptions that were left out between this one and its cause.
    #[must_use]
    pub fn skipped(mut self, exceptions: u32) -> Self {
        self.skipped = exceptions;
        self
    }
}

/// The exception an entity recorded last, by which a parent that is handed the
/// same error, or one that wraps it, knows it again. Errors are moved on their
/// way up, so their type and text have to serve as their identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) id: SegmentId,
    fingerprint: u64,
    is_type: IsType,
}

impl Seen {
    fn is(&self, error: &(dyn Error + 'static), fingerprint: u64) -> bool {
        self.fingerprint == fingerprint && (self.is_type)(error)
    }
}

/// Whether an error has a certain type, as far as that can be told.
pub(crate) type IsType = fn(&(dyn Error + 'static)) -> bool;

/// An error to be recorded.
#[derive(Clone, Copy)]
pub(crate) struct Raised<'a> {
    pub(crate) kind: &'a str,
    pub(crate) error: &'a (dyn Error + 'static),
    pub(crate) is_type: IsType,
}

/// What becomes of an error that is recorded. To be cold keeps it out of the
/// code of what ends well.
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
    #[cold]
    pub(crate) fn of_error(
        raised: Raised<'_>,
        location: Option<&'static Location<'static>>,
        seen: Option<Seen>,
        mut next_id: impl FnMut() -> SegmentId,
    ) -> Self {
        let mut chain: Vec<Exception> = Vec::new();
        let mut link = Some(raised.error);
        let mut outermost = 0;
        while let Some(error) = link.filter(|_| chain.len() < limits::EXCEPTIONS) {
            let message = Message::of(error);
            let fingerprint = fingerprint(&message);
            let known = seen.filter(|seen| seen.is(error, fingerprint));
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
            let (kind, stack) = match chain.is_empty() {
                true => (
                    raised.kind,
                    location.map(Frame::recorded_at).into_iter().collect(),
                ),
                false => ("Error", Vec::new()),
            };
            chain.push(Exception {
                id,
                kind: told(kind, limits::EXCEPTION_KIND_BYTES),
                message,
                remote: false,
                cause: None,
                stack,
                truncated: 0,
                skipped: 0,
            });
            link = source(error);
        }
        match chain.first() {
            Some(first) => {
                let seen = Seen {
                    id: first.id,
                    fingerprint: outermost,
                    is_type: raised.is_type,
                };
                Self::Chain(chain, seen)
            }
            None => Self::reported(&ExceptionReport::new(raised.kind, ""), next_id()),
        }
    }

    /// One exception that is no `Error`.
    #[cold]
    pub(crate) fn reported(report: &ExceptionReport<'_>, id: SegmentId) -> Self {
        let message = Message::from(Bounded::of_text(report.message, limits::MESSAGE_BYTES));
        let seen = Seen {
            id,
            fingerprint: fingerprint(&message),
            is_type: |_| false, // no error is one
        };
        let exception = Exception {
            id,
            kind: told(report.kind, limits::EXCEPTION_KIND_BYTES),
            message,
            remote: report.remote,
            cause: None,
            stack: report.stack.clone(),
            truncated: report.truncated,
            skipped: report.skipped,
        };
        Self::Chain(vec![exception], seen)
    }
}

/// The text of a panic's payload, which may be in a box, as `catch_unwind`
/// returns it.
pub(crate) fn panic_message(mut payload: &(dyn Any + Send)) -> &str {
    while let Some(inner) = payload.downcast_ref::<Box<dyn Any + Send>>() {
        payload = &**inner;
    }
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic with a payload that is not text"
    }
}

/// A `source` may panic, too: the chain ends there.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    guarded(|| error.source()).flatten()
}

/// The text with at most this many bytes of its own, and a mark if there were
/// more: then it is longer than `limit`.
pub(super) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    let end = floor_char_boundary(text, limit);
    if end == text.len() {
        text.into()
    } else {
        format!("{}…", &text[..end]).into()
    }
}

/// A text that is cut, without the secrets of the URLs in it.
fn told(text: &str, limit: usize) -> String {
    let end = floor_char_boundary(text, limit);
    let is_cut = end < text.len();
    let mut told = scrubbed(&text[..end], is_cut).into_owned();
    if is_cut {
        told.push('…');
    }
    told
}

fn fingerprint(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

/// An error that can be recorded: any `std::error::Error`, `anyhow::Error` and
/// boxed errors.
///
/// `Kind` tells the implementations apart: [`ErrorKind`], [`BoxedErrorKind`] or
/// [`LocalBoxedErrorKind`]. It is inferred, except where a type is written out,
/// as in the field of a struct.
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

    /// Tells whether another error is of the same type. By default any may be:
    /// the type in a box is not known.
    #[doc(hidden)]
    fn is_type(&self) -> fn(&(dyn Error + 'static)) -> bool {
        |_| true
    }
}

/// Marks the implementation of [`AnyError`] for every `std::error::Error`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {}

/// Marks the implementation of [`AnyError`] for `Box<dyn Error + Send + Sync>`
/// (tower's `BoxError`), for `Arc` of the same, and for `anyhow::Error`.
#[derive(Debug)]
#[non_exhaustive]
pub enum BoxedErrorKind {}

/// Marks the implementation of [`AnyError`] for `Box<dyn Error>`.
#[derive(Debug)]
#[non_exhaustive]
pub enum LocalBoxedErrorKind {}

impl<E: Error + 'static> AnyError<ErrorKind> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }

    fn kind(&self) -> &'static str {
        error_type_name::<E>()
    }

    fn is_type(&self) -> fn(&(dyn Error + 'static)) -> bool {
        |error| error.is::<E>() || error.is::<Box<E>>() || error.is::<Arc<E>>()
    }
}

impl<E: std::ops::Deref<Target = dyn Error + Send + Sync>> AnyError<BoxedErrorKind> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }

    fn kind(&self) -> &'static str {
        error_type_name::<E>()
    }
}

impl<E: std::ops::Deref<Target = dyn Error>> AnyError<LocalBoxedErrorKind> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }

    fn kind(&self) -> &'static str {
        error_type_name::<E>()
    }
}

/// `std::io::error::Error` as written by the compiler; a boxed error's own type
/// is gone, so its container is not named.
fn error_type_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    if name.contains("dyn ") { "Error" } else { name }
}
