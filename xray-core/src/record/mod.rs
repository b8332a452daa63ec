//! What is written down while a request runs: one growing record per trace.
//!
//! Nodes, their values and their text lie in three arenas, so that an entity
//! costs no allocation of its own, exceptions apart, which are few. A finished
//! record crosses to the emission thread by a move. Nothing is serialised here
//! but a value of the user's, nothing recurses.

mod cause;
pub(crate) mod json;
#[cfg(all(test, loom))]
mod loom;
mod open;
mod spare;
pub(crate) mod trace;
mod value;

pub use cause::{AnyError, BoxedErrorKind, ErrorKind, ExceptionReport, LocalBoxedErrorKind};
pub(crate) use cause::{Exception, Frame, Seen, panic_message};
pub(crate) use open::Key;
pub(crate) use spare::Spare;
pub use value::{AnnotationValue, Tally};
pub(crate) use value::{Field, Stored};

use std::ops::Range;

use self::cause::cut;
use self::value::Tallied;
use crate::SegmentId;
use crate::limits;

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
    pub(crate) name: Text,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) flags: Flags,
    pub(crate) state: State,
    pub(crate) is_segment: bool,
    /// Sent as in progress already, which is done once.
    shown: bool,
    /// Estimate of its document's size, children apart.
    bytes: u32,
}

impl Node {
    pub(crate) fn parent(&self) -> Option<NodeIndex> {
        (self.parent != NONE).then_some(self.parent)
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
    key: Text,
    pub(crate) stored: Stored,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) nodes: Vec<Node>,
    values: Vec<Value>,
    text: String,
    pub(crate) exceptions: Vec<Exception>,
    /// Estimate of all documents to come out of this record.
    bytes: usize,
    /// Values for which there was no room.
    pub(crate) left_out: u64,
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
        self.bytes
    }

    pub(crate) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    pub(crate) fn text(&self, text: Text) -> &str {
        &self.text[text.start as usize..text.end as usize]
    }

    /// Copies `text`, cut at a character boundary at `limit` bytes or where the
    /// arena is full.
    fn store(&mut self, text: &str, limit: usize) -> Text {
        let room = limits::RECORD_TEXT_BYTES.saturating_sub(self.text.len());
        let cut = floor_char_boundary(text, limit.min(room));
        let start = self.text.len() as u32;
        self.text.push_str(&text[..cut]);
        Text {
            start,
            end: self.text.len() as u32,
        }
    }

    fn begin(
        &mut self,
        id: SegmentId,
        parent: Option<NodeIndex>,
        parent_id: Option<SegmentId>,
        name: &str,
        start: i64,
    ) -> NodeIndex {
        let name = self.store(name, limits::NAME_BYTES);
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
            name,
            start,
            end: start,
            flags: Flags::default(),
            state: State::Open,
            is_segment: false,
            shown: false,
            bytes,
        });
        self.bytes += bytes as usize;
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

    pub(crate) fn rename(&mut self, node: NodeIndex, name: &str) {
        let name = self.store(name, limits::NAME_BYTES);
        self.node_mut(node).name = name;
    }

    /// Whether there is room for a value with a longest key; if not it is
    /// counted, since a key or a text that was cut would say something else.
    #[inline]
    fn has_room(&mut self) -> bool {
        const ROOM: usize = limits::NAMESPACE_BYTES + limits::KEY_BYTES;
        let has_room = self.text.len() + ROOM <= limits::RECORD_TEXT_BYTES
            && self.bytes <= limits::RECORD_BYTES;
        self.left_out += u64::from(!has_room);
        has_room
    }

    /// Adds a value that needs no key.
    pub(crate) fn push(&mut self, node: NodeIndex, field: Field, stored: Stored) {
        if self.has_room() {
            self.append(node, field, (0, Text::default()), stored);
        }
    }

    /// Adds a text, cut at `limit` bytes.
    pub(crate) fn push_text(&mut self, node: NodeIndex, field: Field, text: &str, limit: usize) {
        let text = self.store(text, limit);
        self.push(node, field, Stored::Text(text));
    }

    /// Adds a value under a key.
    #[inline]
    fn push_at(&mut self, node: NodeIndex, field: Field, key: &str, stored: Stored) {
        if self.has_room() {
            let key = self.store(key, limits::KEY_BYTES);
            self.append(node, field, (0, key), stored);
        }
    }

    /// Adds a value under a key of a namespace.
    fn push_in(&mut self, node: NodeIndex, field: Field, key: (&str, &str), stored: Stored) {
        if self.has_room() {
            // What was stored counts: either may be cut.
            let namespace = self.store(key.0, limits::NAMESPACE_BYTES);
            let key = self.store(key.1, limits::KEY_BYTES);
            let both = Text {
                start: namespace.start,
                end: key.end,
            };
            self.append(node, field, (namespace.len() as u8, both), stored);
        }
    }

    /// Adds a text of the `sql` block.
    pub(crate) fn push_sql(&mut self, node: NodeIndex, key: &str, text: &str) {
        let text = self.store(&cut(text, limits::SQL_BYTES), usize::MAX);
        self.push_at(node, Field::Sql, key, Stored::Text(text));
    }

    /// Adds what is JSON already, under a key of a namespace.
    pub(crate) fn push_json(
        &mut self,
        node: NodeIndex,
        field: Field,
        key: (&str, &str),
        json: &str,
    ) {
        let before = self.text.len();
        let text = self.store(json, usize::MAX);
        if text.len() == json.len() {
            self.push_in(node, field, key, Stored::Json(text));
        } else {
            self.text.truncate(before); // half a value is no JSON
            self.left_out += 1;
        }
    }

    /// Adds what was tallied of an entity, as annotations.
    fn annotate_tallied(&mut self, node: NodeIndex, tallies: &[Tallied]) {
        for tallied in tallies {
            self.annotate(node, &tallied.key, &tallied.value);
        }
    }

    pub(crate) fn annotate(&mut self, node: NodeIndex, key: &str, value: &AnnotationValue<'_>) {
        let stored = match value {
            AnnotationValue::Text(text) => Stored::Text(self.store(text, limits::ANNOTATION_BYTES)),
            AnnotationValue::Integer(number) => Stored::Integer(*number),
            AnnotationValue::Unsigned(number) => Stored::Unsigned(*number),
            AnnotationValue::Float(number) => Stored::Float(*number),
            AnnotationValue::Boolean(flag) => Stored::Boolean(*flag),
        };
        self.push_at(node, Field::Annotation, key, stored);
    }

    /// Adds an exception that happened here.
    fn push_exception(&mut self, node: NodeIndex, exception: Exception) {
        if self.has_room() {
            let index = self.exceptions.len() as u32;
            self.exceptions.push(exception);
            self.append(
                node,
                Field::Exception,
                (0, Text::default()),
                Stored::Exception(index),
            );
        }
    }

    #[inline]
    fn append(&mut self, node: NodeIndex, field: Field, key: (u8, Text), stored: Stored) {
        let (split, key) = key;
        let stored_bytes = match stored {
            Stored::Exception(index) => self.exceptions[index as usize].bytes(),
            plain => plain.bytes(),
        };
        let bytes = key.len() + stored_bytes + 12;
        self.bytes += bytes;
        let index = self.values.len() as ValueIndex;
        let owner = &mut self.nodes[node as usize];
        owner.bytes = owner.bytes.saturating_add(bytes as u32);
        let last = std::mem::replace(&mut owner.last_value, index);
        match self.values.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => owner.first_value = index,
        }
        self.values.push(Value {
            next: NONE,
            field,
            split,
            key,
            stored,
        });
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
        (self.bytes, self.left_out) = (0, 0);
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

    /// Splits off everything closed. Open nodes go on in `self` with their
    /// values; also returns the old and new place of each, in order.
    fn split_closed(&mut self) -> (Self, Vec<Copied>) {
        let (rest, places) = self.copy_open(|_| true, |node| node.state = State::Gone);
        (std::mem::replace(self, rest), places)
    }

    /// Copies what has been open since `before` and was not shown yet, and
    /// marks it as shown. `None` when there is nothing of the kind.
    fn show_open(&mut self, before: i64) -> Option<(Self, Vec<Copied>)> {
        let due = |node: &Node| !node.shown && node.start <= before;
        let (shown, places) = self.copy_open(due, |node| node.shown = true);
        (!places.is_empty()).then_some((shown, places))
    }

    /// Copies the open nodes that are `wanted` to a record of their own, below
    /// each other as here, and marks the originals.
    fn copy_open(
        &mut self,
        wanted: impl Fn(&Node) -> bool,
        mark: impl Fn(&mut Node),
    ) -> (Self, Vec<Copied>) {
        let mut copies = Self::default();
        // A parent stands before its children, so it has its new place first.
        let mut places: Vec<Copied> = Vec::new();
        for old in self.indices() {
            let node = self.node(old);
            if node.state != State::Open || !wanted(node) {
                continue;
            }
            let parent = node.parent().and_then(|parent| copy_of(&places, parent));
            let new = self.copy_to(&mut copies, old, parent);
            mark(self.node_mut(old));
            places.push((old, new));
        }
        (copies, places)
    }

    /// Copies a node with its values, but not its children.
    fn copy_to(&self, to: &mut Self, old: NodeIndex, parent: Option<NodeIndex>) -> NodeIndex {
        let node = self.node(old);
        let new = to.begin(
            node.id,
            parent,
            node.parent_id,
            self.text(node.name),
            node.start,
        );
        to.node_mut(new).flags = node.flags;
        to.node_mut(new).is_segment = node.is_segment;
        to.node_mut(new).shown = node.shown;
        for value in self.values(old) {
            let stored = match value.stored {
                Stored::Text(text) => Stored::Text(to.store(self.text(text), usize::MAX)),
                Stored::Json(text) => Stored::Json(to.store(self.text(text), usize::MAX)),
                Stored::Exception(index) => {
                    to.push_exception(new, self.exceptions[index as usize].clone());
                    continue;
                }
                plain => plain,
            };
            to.push_in(new, value.field, self.metadata_key(value), stored);
        }
        new
    }
}

/// The old and the new place of a node that was copied.
type Copied = (NodeIndex, NodeIndex);

/// Where a node went, of places in order.
fn copy_of(places: &[Copied], old: NodeIndex) -> Option<NodeIndex> {
    let at = places.binary_search_by_key(&old, |place| place.0);
    at.ok().map(|at| places[at].1)
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
