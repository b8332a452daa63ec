//! What is written down while a request runs: one growing record per trace.
//!
//! Nodes, their values and their text lie in three arenas, so that an entity
//! costs no allocation of its own, exceptions apart, which are few. A finished
//! record crosses to the emission thread by a move. Nothing is serialised here
//! but a value of the user's, nothing recurses.

mod bounded;
mod cause;
mod gone;
pub(crate) mod json;
mod keys;
#[cfg(all(test, loom))]
mod loom;
mod open;
mod spare;
mod split;
mod state;
pub(crate) mod trace;
mod value;
mod write;
mod writer;

pub use cause::{AnyError, BoxedErrorKind, ErrorKind, ExceptionReport, LocalBoxedErrorKind};
pub(crate) use cause::{Exception, Frame, Message, Raised, Seen, panic_message};
pub(crate) use open::Key;
pub(crate) use spare::Spare;
pub use value::{AnnotationValue, Tally};
pub(crate) use value::{Field, Stored};

use std::ops::Range;

use self::keys::Index;
use crate::SegmentId;

/// A piece of [`Record::text`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Text {
    start: u32,
    end: u32,
}

impl Text {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Nothing lies nowhere: the text around it may be gone.
    fn range(self) -> Range<usize> {
        if self.start == self.end {
            return 0..0;
        }
        self.start as usize..self.end as usize
    }
}

/// Place of a node in [`Record::nodes`]. A parent stands before its children.
pub(crate) type NodeIndex = u32;
/// Place of a value in [`Record::values`].
type ValueIndex = u32;
const NONE: u32 = u32::MAX;

/// One segment or subsegment.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: SegmentId,
    pub(crate) parent_id: Option<SegmentId>,
    /// The parent in this record; [`NONE`] when it is elsewhere.
    parent: NodeIndex,
    first_child: NodeIndex,
    last_child: NodeIndex,
    next_sibling: NodeIndex,
    /// The first value; each leads to the next.
    first_value: ValueIndex,
    last_value: ValueIndex,
    /// How many values it has.
    values: u32,
    /// The fields of its values, a bit each; above them the marks of their names.
    marks: u64,
    pub(crate) name: Text,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) flags: Flags,
    pub(crate) state: State,
    pub(crate) is_segment: bool,
    /// Sent as in progress already, which is done once.
    shown: bool,
    /// The one that closed before it, if that is closed.
    closed_before: NodeIndex,
    /// Estimate of its document's size, children apart.
    bytes: u32,
}

impl Node {
    pub(crate) fn parent(&self) -> Option<NodeIndex> {
        (self.parent != NONE).then_some(self.parent)
    }

    /// Whether it has a value of that field.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.marks & field.bit() != 0
    }

    /// Whether it has a value of another field.
    pub(crate) fn has_more_than(&self, field: Field) -> bool {
        self.marks & Field::ALL_BITS & !field.bit() != 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Closed,
    /// Not written from here: it goes on in the next record, or is sent, lost or
    /// left out.
    Gone,
}

/// The booleans of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ERROR: Self = Self(1);
    pub(crate) const THROTTLE: Self = Self(2);
    pub(crate) const FAULT: Self = Self(4);
    pub(crate) const REMOTE: Self = Self(8);
    pub(crate) const AWS: Self = Self(16);
    pub(crate) const TRACED: Self = Self(32);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One thing known about a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    next: ValueIndex,
    pub(crate) field: Field,
    /// Bytes of `key` that name the metadata namespace.
    split: u8,
    /// Which bit the mark of its name is: most others are told apart by it.
    mark: u8,
    key: Text,
    pub(crate) stored: Stored,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) nodes: Vec<Node>,
    values: Vec<Value>,
    text: String,
    pub(crate) exceptions: Vec<Exception>,
    /// Finds values of entities that have many.
    index: Option<Box<Index>>,
    /// Estimate of all documents to come out of this record. In 32 bits, as all
    /// that follows: a record is moved often, and 128 bytes are moved cheaply.
    bytes: u32,
    closed: Closed,
    /// Estimated bytes of nodes that are gone.
    gone: u32,
    /// Values for which there was no room.
    left_out: u32,
}

/// What is closed in a record, and waits to leave.
#[derive(Debug, Clone, Copy)]
struct Closed {
    /// The one that closed last; each leads to the one before.
    last: NodeIndex,
    count: u32,
    bytes: u32,
}

impl Default for Closed {
    fn default() -> Self {
        Self {
            last: NONE,
            count: 0,
            bytes: 0,
        }
    }
}

impl Record {
    /// Room for a usual request, so that it grows without reallocating.
    pub(crate) fn with_usual_capacity() -> Self {
        Self {
            nodes: Vec::with_capacity(12),
            values: Vec::with_capacity(40),
            text: String::with_capacity(1024),
            ..Self::default()
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// How many values there was no room for, or for all of a key.
    pub(crate) fn left_out(&self) -> u64 {
        u64::from(self.left_out)
    }

    pub(crate) fn leave_out(&mut self, values: u32) {
        self.left_out = self.left_out.saturating_add(values);
    }

    pub(crate) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    pub(crate) fn text(&self, text: Text) -> &str {
        &self.text[text.range()]
    }

    #[inline]
    fn begin(
        &mut self,
        id: SegmentId,
        parent: Option<NodeIndex>,
        parent_id: Option<SegmentId>,
        name: &str,
        start: i64,
    ) -> NodeIndex {
        let name = self.store_title(name);
        let index = self.nodes.len() as NodeIndex;
        let bytes = 110 + name.len() as u32;
        self.nodes.push(Node {
            id,
            parent_id,
            parent: parent.unwrap_or(NONE),
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            first_value: NONE,
            last_value: NONE,
            values: 0,
            marks: 0,
            name,
            start,
            end: start,
            flags: Flags::default(),
            state: State::Open,
            is_segment: false,
            shown: false,
            closed_before: NONE,
            bytes,
        });
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(parent) = parent {
            self.link(parent, index);
        }
        index
    }

    /// Hangs `child` below `parent`, after the children already there.
    fn link(&mut self, parent: NodeIndex, child: NodeIndex) {
        let last = std::mem::replace(&mut self.node_mut(parent).last_child, child);
        if last == NONE {
            self.node_mut(parent).first_child = child;
        } else {
            self.node_mut(last).next_sibling = child;
        }
    }

    /// Values of `node`, oldest first.
    pub(crate) fn values(&self, node: NodeIndex) -> impl Iterator<Item = &Value> + Clone {
        let first = self.node(node).first_value;
        std::iter::successors(self.values.get(first as usize), |value| {
            self.values.get(value.next as usize)
        })
    }

    /// Key of a value.
    pub(crate) fn key(&self, value: &Value) -> &str {
        self.text(value.key)
    }

    /// Namespace and key of a metadata value.
    pub(crate) fn metadata_key(&self, value: &Value) -> (&str, &str) {
        self.text(value.key).split_at(usize::from(value.split))
    }

    /// Forgets everything, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.values.clear();
        self.text.clear();
        self.exceptions.clear();
        self.index = None;
        (self.bytes, self.gone, self.left_out) = (0, 0, 0);
        self.closed = Closed::default();
    }

    /// Whether it is small enough to be kept for another trace.
    pub(crate) fn is_small(&self) -> bool {
        self.text.capacity() <= 4 << 10
            && self.nodes.capacity() <= 64
            && self.values.capacity() <= 256
            && self.exceptions.capacity() <= 16
    }

    /// Children of `node` in the order they began.
    pub(crate) fn children(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let next = |index: NodeIndex| (index != NONE).then_some(index);
        std::iter::successors(next(self.node(node).first_child), move |child| {
            next(self.node(*child).next_sibling)
        })
    }

    /// The child of the same parent that began next.
    pub(crate) fn sibling(&self, node: NodeIndex) -> Option<NodeIndex> {
        let next = self.node(node).next_sibling;
        (next != NONE).then_some(next)
    }

    pub(crate) fn indices(&self) -> Range<NodeIndex> {
        0..self.nodes.len() as NodeIndex
    }
}

/// The longest prefix of at most `limit` bytes that ends between characters.
pub(crate) fn floor_char_boundary(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let mut cut = limit;
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond, each move of a record is a call.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_record_is_moved_cheaply() {
        assert_eq!(size_of::<Record>(), 128);
    }
}
