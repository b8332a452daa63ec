//! Writing down a value: one a key, the latest, within what an entity may hold.

use super::cause::cut;
use super::keys::{Name, place, single};
use super::value::Tallied;
use super::{AnnotationValue, Exception, Field, NONE, NodeIndex, Record, Stored, Text, Value};
use super::{ValueIndex, floor_char_boundary};
use crate::SegmentId;
use crate::encode::valid;
use crate::limits;

/// Estimate of what a document writes around a value.
pub(super) const AROUND: usize = 12;
/// Bytes of text nothing leads to that are not worth moving the rest together.
const SCRAPS: usize = 4 << 10;

/// The values of an entity, and their estimated bytes.
#[derive(Debug, Clone, Copy)]
struct Room {
    values: u32,
    bytes: usize,
}

/// The room of any value.
const ROOM: Room = Room {
    values: limits::VALUES,
    bytes: limits::VALUE_BYTES,
};
/// The room of what went wrong: the reason is not to go first.
const ROOM_OF_CAUSES: Room = Room {
    values: limits::VALUES + limits::CAUSES,
    bytes: limits::VALUE_BYTES + limits::CAUSE_BYTES,
};

/// What is to be written down, not copied yet.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Text(&'a str),
    Json(&'a str),
    /// Lies outside of the text arena.
    Plain(Stored),
}

impl<'a> Content<'a> {
    #[inline]
    fn of(value: &'a AnnotationValue<'_>) -> Self {
        Self::Plain(match value {
            AnnotationValue::Text(text) => {
                return Self::Text(prefix(text, limits::ANNOTATION_BYTES));
            }
            AnnotationValue::Integer(number) => Stored::Integer(*number),
            AnnotationValue::Unsigned(number) => Stored::Unsigned(*number),
            AnnotationValue::Float(number) => Stored::Float(*number),
            AnnotationValue::Boolean(flag) => Stored::Boolean(*flag),
        })
    }

    fn len(self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Plain(stored) => stored.bytes(),
        }
    }
}

impl Record {
    /// Writes a value that needs no key.
    #[inline]
    pub(crate) fn push(&mut self, node: NodeIndex, field: Field, stored: Stored) {
        self.put(
            node,
            field,
            Name::NONE,
            single(field),
            Content::Plain(stored),
        );
    }

    /// Writes a text, cut at `limit` bytes.
    pub(crate) fn push_text(&mut self, node: NodeIndex, field: Field, text: &str, limit: usize) {
        let text = Content::Text(prefix(text, limit));
        self.put(node, field, Name::NONE, single(field), text);
    }

    /// Writes a text of the `sql` block.
    pub(crate) fn push_sql(&mut self, node: NodeIndex, key: &str, text: &str) {
        let text = cut(text, limits::SQL_BYTES);
        self.put_at(node, Field::Sql, ("", key), Content::Text(&text));
    }

    /// Writes what is JSON already, under a key of a namespace.
    pub(crate) fn push_json(
        &mut self,
        node: NodeIndex,
        field: Field,
        key: (&str, &str),
        json: &str,
    ) {
        self.put_at(node, field, key, Content::Json(json));
    }

    /// Writes what was tallied of an entity, as annotations.
    pub(super) fn annotate_tallied(&mut self, node: NodeIndex, tallies: &[Tallied]) {
        for tallied in tallies {
            self.annotate(node, &tallied.key, &tallied.value);
        }
    }

    /// Writes an annotation, in place of the one under that key.
    #[inline]
    pub(crate) fn annotate(&mut self, node: NodeIndex, key: &str, value: &AnnotationValue<'_>) {
        let name = Name::new("", key);
        let mark = name.mark();
        if key.len() > limits::KEY_CHARS || self.node(node).marks & mark != 0 {
            return self.annotate_with_care(node, key, value);
        }
        // Each is known to `add` then.
        match Content::of(value) {
            text @ Content::Text(_) => {
                self.add(node, Field::Annotation, name, mark, text, text.len(), ROOM);
            }
            plain => self.add(
                node,
                Field::Annotation,
                name,
                mark,
                plain,
                plain.len(),
                ROOM,
            ),
        }
    }

    /// Writes an annotation whose key is too long, or may be known already.
    #[cold]
    fn annotate_with_care(&mut self, node: NodeIndex, key: &str, value: &AnnotationValue<'_>) {
        if key.len() > limits::KEY_CHARS {
            let written = valid::key(key);
            let is_cut = written != key;
            return self.count_cut(node, is_cut, |record| {
                record.annotate(node, &written, value);
            });
        }
        let name = Name::new("", key);
        let content = Content::of(value);
        self.put_again(node, Field::Annotation, name, name.mark(), content);
    }

    /// Writes a chain of exceptions that happened here, the outermost first, as
    /// far as there is room. Returns whether there was any.
    #[cold]
    pub(super) fn push_chain(&mut self, node: NodeIndex, chain: Vec<Exception>) -> bool {
        let all = chain.len() as u32;
        let mut written = 0;
        for exception in chain {
            if !self.push_exception(node, exception) {
                break;
            }
            written += 1;
        }
        if written == all {
            return true;
        }
        // One of them is counted already.
        self.leave_out(all - written - 1);
        if let Some(last) = self.exceptions.last_mut().filter(|_| written > 0) {
            last.cause = None;
            last.skipped += all - written;
        }
        written > 0
    }

    /// Writes an exception; `false` when there is no room.
    fn push_exception(&mut self, node: NodeIndex, exception: Exception) -> bool {
        let bytes = exception.bytes();
        let content = Content::Plain(Stored::Exception(self.exceptions.len() as u32));
        let (field, name) = (Field::Exception, Name::NONE);
        let left_out = self.left_out;
        self.add(node, field, name, 0, content, bytes, ROOM_OF_CAUSES);
        let is_written = self.left_out == left_out;
        if is_written {
            self.exceptions.push(exception);
        }
        is_written
    }

    /// Writes that an exception happened below, in place of the one before.
    #[cold]
    pub(super) fn push_cause_link(&mut self, node: NodeIndex, id: SegmentId) {
        let (field, stored) = (Field::CauseLink, Stored::Id(id.get()));
        if self.node(node).has(field) {
            return self.push(node, field, stored);
        }
        let (mark, content) = (single(field), Content::Plain(stored));
        let bytes = content.len();
        self.add(
            node,
            field,
            Name::NONE,
            mark,
            content,
            bytes,
            ROOM_OF_CAUSES,
        );
    }

    /// Sets the name, in place of the one before.
    pub(crate) fn rename(&mut self, node: NodeIndex, name: &str) {
        let name = prefix(name, limits::NAME_BYTES);
        let before = self.node(node).name;
        self.let_go(before);
        let name = match name.len() <= before.len() {
            true => self.store(name), // in the room of the one before
            false => self.store_title(name),
        };
        self.resize(node, before.len(), name.len());
        self.node_mut(node).name = name;
        self.tidy();
    }

    /// Copies a name; in a record that is full it goes, and the encoder counts
    /// what it writes in its stead.
    pub(super) fn store_title(&mut self, name: &str) -> Text {
        if self.bytes() <= limits::RECORD_BYTES {
            self.store(prefix(name, limits::NAME_BYTES))
        } else {
            Text::default()
        }
    }

    /// Writes under a key, of which either part may be cut.
    fn put_at(
        &mut self,
        node: NodeIndex,
        field: Field,
        (namespace, key): (&str, &str),
        content: Content<'_>,
    ) {
        let name = Name::new(
            prefix(namespace, limits::NAMESPACE_BYTES),
            prefix(key, limits::KEY_BYTES),
        );
        let mark = name.mark();
        if name.len() < namespace.len() + key.len() {
            let put = |record: &mut Self| record.put(node, field, name, mark, content);
            return self.count_cut(node, true, put);
        }
        self.put(node, field, name, mark, content);
    }

    /// Counts a key that is cut where a value is added: one that is written again
    /// was counted.
    #[cold]
    fn count_cut(&mut self, node: NodeIndex, is_cut: bool, write: impl FnOnce(&mut Self)) {
        let values = self.node(node).values;
        write(self);
        // Fewer if places were taken back for it.
        self.leave_out(u32::from(is_cut && self.node(node).values != values));
    }

    /// Writes a value, in place of the one of that name. Where `mark` is among
    /// those of the entity there may be one.
    #[inline(always)] // what is written is known where it is called
    fn put(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
        content: Content<'_>,
    ) {
        if self.nodes[node as usize].marks & mark == 0 {
            self.add(node, field, name, mark, content, content.len(), ROOM);
        } else {
            self.put_again(node, field, name, mark, content);
        }
    }

    #[inline(never)] // but not `cold`, for which nothing is inlined
    fn put_again(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
        content: Content<'_>,
    ) {
        match self.find(node, field, name, mark) {
            Some(at) => self.replace(node, at, content),
            None => self.add(node, field, name, mark, content, content.len(), ROOM),
        }
    }

    /// Adds a value of so many bytes, if the entity may have one more; if not it
    /// is counted.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "all are known where it is called"
    )]
    fn add(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
        content: Content<'_>,
        bytes: usize,
        room: Room,
    ) {
        let before = bytes;
        let bytes = name.len() + bytes + AROUND;
        let owner = &mut self.nodes[node as usize];
        if owner.values >= room.values
            || owner.bytes as usize + bytes > room.bytes
            || self.bytes as usize > limits::RECORD_BYTES
        {
            return self.add_late(node, field, name, mark, content, before, room);
        }
        owner.values += 1;
        owner.bytes += bytes as u32;
        owner.marks |= field.bit() | mark;
        let index = self.values.len() as ValueIndex;
        let last = std::mem::replace(&mut owner.last_value, index);
        match self.values.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => owner.first_value = index,
        }
        self.bytes += bytes as u32;
        let (split, key) = self.store_name(name);
        let stored = self.store_content(content);
        self.values.push(Value {
            next: NONE,
            field,
            split,
            mark: place(mark),
            key,
            stored,
        });
    }

    /// Adds a value to an entity that seems full, if the places of values that
    /// went can be had; if not it is counted.
    #[cold]
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "as those of `add`")]
    fn add_late(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
        content: Content<'_>,
        bytes: usize,
        room: Room,
    ) {
        let owner = self.node(node);
        if owner.values >= room.values && self.take_back(node) {
            self.add(node, field, name, mark, content, bytes, room);
        } else {
            self.leave_out(1);
        }
    }

    /// Copies a text to the end of the arena.
    #[inline]
    pub(super) fn store(&mut self, text: &str) -> Text {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Text {
            start,
            end: self.text.len() as u32,
        }
    }

    #[inline]
    fn store_name(&mut self, name: Name<'_>) -> (u8, Text) {
        let start = self.text.len() as u32;
        if !name.namespace.is_empty() {
            self.text.push_str(name.namespace);
        }
        self.text.push_str(name.key);
        let end = self.text.len() as u32;
        (name.namespace.len() as u8, Text { start, end })
    }

    #[inline]
    fn store_content(&mut self, content: Content<'_>) -> Stored {
        match content {
            Content::Text(text) => Stored::Text(self.store(text)),
            Content::Json(json) => Stored::Json(self.store(json)),
            Content::Plain(stored) => stored,
        }
    }

    /// Sets a value anew. One that has no room goes, as does the one before,
    /// which does not hold any more.
    fn replace(&mut self, node: NodeIndex, at: ValueIndex, content: Content<'_>) {
        let value = self.values[at as usize];
        let (before, after) = (value.stored.bytes(), content.len());
        let bytes = self.node(node).bytes as usize + after - before;
        if let Stored::Text(text) | Stored::Json(text) = value.stored {
            self.let_go(text);
        }
        if after <= before || (bytes <= limits::VALUE_BYTES && self.bytes() <= limits::RECORD_BYTES)
        {
            self.values[at as usize].stored = self.store_content(content);
            self.resize(node, before, after);
        } else {
            self.leave_out(1);
            self.take_out(node, at);
        }
        self.tidy();
    }

    /// An entity takes `after` bytes where it took `before`.
    #[inline]
    pub(super) fn resize(&mut self, node: NodeIndex, before: usize, after: usize) {
        let (before, after) = (before as u32, after as u32);
        self.bytes = self.bytes.saturating_sub(before) + after;
        let owner = self.node_mut(node);
        owner.bytes = owner.bytes - before + after;
    }

    /// Nothing leads to that text any more. The last one goes at once.
    #[inline]
    pub(super) fn let_go(&mut self, text: Text) {
        if text.end as usize == self.text.len() {
            self.text.truncate(text.start as usize);
        }
    }

    /// Moves the text together once most of it is dead, which pays for it.
    #[inline]
    fn tidy(&mut self) {
        // Each byte that something leads to is among `bytes`.
        let living = self.bytes() + SCRAPS;
        if self.text.len() > 2 * living {
            self.move_text_together(living);
        }
    }
}

/// As much of a text as has room in `limit` bytes.
#[inline]
fn prefix(text: &str, limit: usize) -> &str {
    &text[..floor_char_boundary(text, limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(record: &mut Record, name: &str) -> NodeIndex {
        record.begin(SegmentId::new(7).unwrap(), None, None, name, 0)
    }

    #[test]
    fn rewriting_costs_the_memory_of_what_holds() {
        let mut record = Record::default();
        let node = begin(&mut record, "agent");
        let texts = ["a".repeat(900), "b".repeat(1_000)];
        for at in 0..100_000 {
            record.annotate(node, "progress", &at.into());
            record.annotate(node, "state", &(&texts[at % 2]).into());
            record.annotate(node, "last", &(&texts[(at + 1) % 2]).into());
            record.rename(node, "agent at work");
        }
        assert_eq!(record.values.len(), 3);
        assert!(
            record.text.capacity() < 30_000,
            "{}",
            record.text.capacity()
        );
        let texts: Vec<_> = record.values(node).map(|value| value.stored).collect();
        let [
            Stored::Integer(_) | Stored::Unsigned(99_999),
            Stored::Text(state),
            Stored::Text(last),
        ] = texts[..]
        else {
            panic!("{texts:?}");
        };
        assert_eq!(record.text(state), "b".repeat(1_000));
        assert_eq!(record.text(last), "a".repeat(900));
        assert_eq!(record.text(record.node(node).name), "agent at work");
        assert_eq!(record.left_out, 0);
    }

    /// The text before an empty one may go, and the empty one is still there.
    #[test]
    fn an_empty_text_outlives_the_text_before_it() {
        let mut record = Record::default();
        let node = begin(&mut record, "shop");
        let child = begin(&mut record, "");
        record.rename(node, "a");
        assert_eq!(record.text(record.node(child).name), "");
        record.rename(node, "");
        record.annotate(child, "é", &"".into());
        record.annotate(child, "é", &1.into());
        assert_eq!(record.text(record.node(node).name), "");
        assert_eq!(record.text(record.node(child).name), "");
    }

    #[test]
    fn a_full_record_leaves_out_values_and_names() {
        let mut record = Record::default();
        let mut full = 0;
        let json = format!("\"{}\"", "m".repeat(60_000));
        while record.bytes() <= limits::RECORD_BYTES {
            let node = begin(&mut record, "large");
            for key in 0..17 {
                record.push_json(node, Field::Metadata, ("default", &key.to_string()), &json);
            }
            full += 1;
        }
        assert_eq!((full, record.left_out), (66, 4), "the last one is not full");
        let late = begin(&mut record, "late");
        assert_eq!(record.text(record.node(late).name), "");
        record.annotate(late, "a", &1.into());
        record.push_json(late, Field::Metadata, ("default", "m"), &json);
        assert_eq!(record.node(late).values, 0);
        assert_eq!(record.left_out, 4 + 2);
        // A value that needs no more than the one before is written anew.
        record.push_json(0, Field::Metadata, ("default", "0"), "1");
        assert_eq!((record.node(0).values, record.left_out), (17, 6));
        // The last entity has room, but the record has none for what is longer.
        while record.bytes() <= limits::RECORD_BYTES {
            record.push_json(late - 1, Field::Metadata, ("more", "m"), &json);
        }
        let values = record.values(late - 1).count();
        record.push_json(
            late - 1,
            Field::Metadata,
            ("default", "0"),
            &format!("[{json}]"),
        );
        assert_eq!(record.values(late - 1).count(), values - 1);
        assert_eq!(record.left_out, 7);
        // So it is with a name.
        record.rename(0, "small");
        assert_eq!(record.text(record.node(0).name), "small");
    }
}
