//! What a request's headers say about its trace: read, kept, written again.
//!
//! `parse` reads X-Amzn-Trace-Id and `write` writes it; `w3c` reads traceparent
//! and tracestate, and writes traceparent. Only checked values are written, so
//! that no byte of a request reaches another one unchecked.

mod parse;
mod w3c;
mod write;

use std::fmt;
use std::sync::Arc;

use crate::{SegmentId, TraceId};

pub use w3c::TraceparentText;
pub use write::HeaderText;

/// Name of the header that X-Ray reads and writes, in lower case. HTTP ignores
/// the case of a header's name.
pub const TRACE_HEADER: &str = "x-amzn-trace-id";

/// Name of the W3C header with the ids, in lower case.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Name of the W3C header with the vendors' entries, in lower case.
pub const TRACESTATE_HEADER: &str = "tracestate";

/// Largest number of bytes of extra pairs, the `;` between them included.
const MAX_EXTRAS: usize = 256;

/// What a request's tracing headers say: whose trace it belongs to, which
/// segment called, and whether the caller records.
///
/// Reading never fails: what cannot be used counts as not there, so the default
/// (nothing known) is also what garbage gives. Writing goes the other way by
/// [`to_line`](Self::to_line), and gives text that reads back to the same
/// [`root`](Self::root), [`parent`](Self::parent), [`sampled`](Self::sampled)
/// and [`extras`](Self::extras).
///
/// A header of Root, Parent and Sampled needs no allocation, and a clone never
/// does.
///
/// ```
/// # use xray_core::{Sampled, SegmentId, TraceHeader};
/// let header = TraceHeader::parse(
///     "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:1",
/// );
/// assert_eq!(header.sampled(), Sampled::Yes);
/// assert_eq!(header.extras(), "Lineage=a87bd80c:1");
///
/// // What the next service gets: the same trace, called from another segment.
/// let outgoing = header.with_parent(SegmentId::new(0x1122_3344_5566_7788));
/// assert_eq!(
///     &*outgoing.to_text(),
///     "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=1122334455667788;Sampled=1;Lineage=a87bd80c:1",
/// );
/// ```
///
/// Source: [tracing header](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TraceHeader {
    root: Option<TraceId>,
    parent: Option<SegmentId>,
    sampled: Sampled,
    /// `None` when there is nothing to carry, so that equal headers compare
    /// equal and the usual one allocates nothing.
    carried: Option<Arc<Carried>>,
}

/// Whether the caller records its part of the trace.
///
/// Default: [`Unknown`](Self::Unknown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the header's grammar is closed, and a caller must handle each state"
)]
pub enum Sampled {
    /// `Sampled=1`: recorded. To be obeyed.
    Yes,
    /// `Sampled=0`: not recorded. To be obeyed.
    No,
    /// `Sampled=?`: not decided yet; the caller asks for the decision in the
    /// response.
    Requested,
    /// Not said, or not understood.
    #[default]
    Unknown,
}

/// The part of a header that goes unchanged to every call of the same trace.
/// Shared, so that passing it on costs one reference count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Checked pairs joined by `;`, at most [`MAX_EXTRAS`] bytes.
    extras: Box<str>,
    /// Checked, at most 512 bytes.
    tracestate: Option<Box<str>>,
    /// The ids came by traceparent.
    w3c: bool,
}

impl TraceHeader {
    /// A header of a trace and nothing else: no parent, no decision, no extras.
    pub const fn new(root: TraceId) -> Self {
        Self {
            root: Some(root),
            parent: None,
            sampled: Sampled::Unknown,
            carried: None,
        }
    }

    /// Sets the calling segment; `None` removes it. Default: none. Ignored
    /// while there is no root, because a parent means nothing without its trace.
    pub fn with_parent(mut self, parent: Option<SegmentId>) -> Self {
        self.parent = self.root.and(parent);
        self
    }

    /// Sets the decision. Default: [`Sampled::Unknown`].
    pub fn with_sampled(mut self, sampled: Sampled) -> Self {
        self.sampled = sampled;
        self
    }

    /// Reads a value of X-Amzn-Trace-Id: `key=value` pairs between `;`. Never
    /// fails and never panics.
    ///
    /// - **Names** `Root`, `Parent`, `Sampled`, `Lineage` and `Self` in any
    ///   case, with blanks and tabs allowed round names and values. When a name
    ///   comes more than once, one spelled exactly so, with no blank before the
    ///   `=`, beats every other spelling; among equals the last one counts,
    ///   usable or not. What it replaced is stale, often another hop's, and is
    ///   neither used nor passed on. `Self` is dropped.
    /// - **Root** is `1-<8 hex>-<24 hex>`, **Parent** 16 hex digits, both in any
    ///   case; all zero means none. Without a usable Root there is no parent.
    /// - **Sampled** is `1`, `0` or `?`, and counts without a Root, too.
    /// - **Extras** are all other pairs, and are kept without a Root, too. Each
    ///   must be visible ASCII without `,` and have a name and a value, or it
    ///   is dropped alone. At most 13 of them and 256 bytes, `;` included, are
    ///   kept: `Lineage` first, then in order of arrival; a pair that does not
    ///   fit is dropped alone, and a shorter one after it may still fit.
    /// - **Limits**: a value over 1,024 bytes ends at the last `;` within the
    ///   first 1,024, before anything is read, and only the first 16 pairs
    ///   count; empty ones are not counted.
    /// - **Several header lines** folded into one by `,` give the first line.
    ///
    /// Nothing is decoded: `%0d` stays these three characters.
    pub fn parse(value: impl AsRef<[u8]>) -> Self {
        parse::parse(value.as_ref())
    }

    /// Reads the three headers of one request, each given by its first line.
    /// Never fails and never panics.
    ///
    /// X-Amzn-Trace-Id comes first (see [`parse`](Self::parse)). When it has no
    /// usable Root, or a lone one (Parent and Sampled are missing), root and
    /// parent are those of `traceparent`; its flag is taken, too, unless
    /// X-Amzn-Trace-Id has a Sampled of its own. Extras are those of
    /// X-Amzn-Trace-Id in both cases.
    ///
    /// A load balancer of AWS adds a lone Root to each request that has none;
    /// it sends no segment of its own, so the caller's `traceparent` says more.
    ///
    /// `tracestate` is kept only when `traceparent` was used, since it belongs
    /// to those ids. It is kept word for word, without blanks and tabs round
    /// it; when it has over 512 bytes, or bytes other than visible ASCII, blank
    /// and tab, all of it is dropped.
    ///
    /// A `traceparent` is 55 bytes in lower case, version 00; of a later
    /// version (ff excepted) the first 55 are read, and a `-` must follow if
    /// anything does. Ids of zero and values over 1,024 bytes are not used.
    ///
    /// Source: [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    pub fn from_headers(
        amzn: Option<&[u8]>,
        traceparent: Option<&[u8]>,
        tracestate: Option<&[u8]>,
    ) -> Self {
        let header = amzn.map(Self::parse).unwrap_or_default();
        let says_more = header.parent.is_some() || header.sampled != Sampled::Unknown;
        if header.root.is_some() && says_more {
            return header;
        }
        let Some(w3c) = traceparent.and_then(w3c::parse_traceparent) else {
            return header;
        };
        let sampled = match header.sampled {
            Sampled::Unknown => w3c.sampled,
            said => said,
        };
        let carried = Carried {
            extras: header.extras().into(),
            tracestate: tracestate.and_then(w3c::parse_tracestate).map(Box::from),
            w3c: true,
        };
        Self::from_carried(w3c.root, Some(w3c.parent), sampled, Some(Arc::new(carried)))
    }

    /// The trace that the request belongs to. `None` when not said or not
    /// usable: a new trace begins.
    pub const fn root(&self) -> Option<TraceId> {
        self.root
    }

    /// The segment that made the request. `None` when not said or not usable,
    /// and always when there is no root.
    pub const fn parent(&self) -> Option<SegmentId> {
        self.parent
    }

    /// The caller's decision.
    pub const fn sampled(&self) -> Sampled {
        self.sampled
    }

    /// The kept extra pairs, joined by `;`, with `Lineage` first. At most 256
    /// bytes of visible ASCII; empty when there are none.
    pub fn extras(&self) -> &str {
        self.carried
            .as_deref()
            .map_or("", |carried| &carried.extras)
    }

    /// The kept value of tracestate: at most 512 bytes of visible ASCII, blanks
    /// and tabs, never empty.
    pub fn tracestate(&self) -> Option<&str> {
        self.carried.as_deref()?.tracestate.as_deref()
    }

    /// Whether root and parent came by traceparent.
    pub fn is_w3c(&self) -> bool {
        self.carried.as_deref().is_some_and(|carried| carried.w3c)
    }

    /// What goes unchanged to every call of this trace; `None` when nothing does.
    pub(crate) fn carried(&self) -> Option<Arc<Carried>> {
        self.carried.clone()
    }

    /// A header of known ids that passes on what came in with its trace.
    pub(crate) const fn from_carried(
        root: TraceId,
        parent: Option<SegmentId>,
        sampled: Sampled,
        carried: Option<Arc<Carried>>,
    ) -> Self {
        Self {
            root: Some(root),
            parent,
            sampled,
            carried,
        }
    }

    /// The header as text, without an allocation: Root, Parent, Sampled, then
    /// the extras. It leaves out what is not known, so the text may be empty or
    /// hold no Root: [`to_line`](Self::to_line) is what to send.
    pub fn to_text(&self) -> HeaderText {
        HeaderText::new(self)
    }

    /// The value of X-Amzn-Trace-Id to send, without an allocation; `None` where
    /// there is no root: leave the request as it is then. AWS services refuse
    /// requests for an empty or broken one. No blank, no empty pair, no `;` at
    /// the end: some readers drop a header for one of these.
    ///
    /// ```
    /// use xray_core::{Sampled, TraceHeader};
    ///
    /// let header = TraceHeader::parse("Root=1-66f2a1c0-0123456789abcdef01234567");
    /// assert_eq!(&*header.to_line().unwrap(), "Root=1-66f2a1c0-0123456789abcdef01234567");
    /// let unknown = TraceHeader::default().with_sampled(Sampled::No);
    /// assert!(unknown.to_line().is_none());
    /// ```
    pub fn to_line(&self) -> Option<HeaderText> {
        self.root.map(|_| self.to_text())
    }

    /// The value of traceparent, version 00; `None` when root or parent is not
    /// known. Its flag has no third state: everything but [`Sampled::Yes`] is
    /// written as not sampled.
    pub fn traceparent(&self) -> Option<TraceparentText> {
        Some(TraceparentText::new(self.root?, self.parent?, self.sampled))
    }
}

/// Writes [`TraceHeader::to_text`].
impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Without the blanks and tabs at both ends.
fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
