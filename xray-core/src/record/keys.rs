//! Which value is written again: names of values, found without a look at all
//! of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Field, NodeIndex, Record, Value, ValueIndex};
use crate::encode::valid;

/// An entity of at most so many values is searched from end to end.
const FEW: u32 = 32;

/// What tells a value from the others of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) namespace: &'a str,
    pub(super) key: &'a str,
}

impl<'a> Name<'a> {
    pub(super) const NONE: Self = Self::new("", "");

    pub(super) const fn new(namespace: &'a str, key: &'a str) -> Self {
        Self { namespace, key }
    }

    pub(super) fn len(self) -> usize {
        self.namespace.len() + self.key.len()
    }

    /// One bit of the 32 behind those of the fields. Names that are written
    /// alike have the same one, others mostly not.
    #[inline]
    pub(super) fn mark(self) -> u64 {
        let key = self.key.as_bytes();
        let [first, ..] = key else {
            return 1 << 32; // as for `_`
        };
        let last = key[key.len() - 1];
        let spread = PLACES[usize::from(*first)] + 5 * PLACES[usize::from(last)];
        1 << (32 | u32::from(spread & 31))
    }

    /// The same for all that are written alike.
    fn hash(self, node: NodeIndex, field: Field) -> u64 {
        let mut hasher = DefaultHasher::new();
        (node, field as u8, self.namespace).hash(&mut hasher);
        match field {
            Field::Annotation => valid::key(self.key).hash(&mut hasher),
            _ => self.key.hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Whether a document would have both under one key.
    #[inline]
    fn is_as(self, other: Self, field: Field) -> bool {
        match field {
            // It has no namespace.
            Field::Annotation => self.key == other.key || self.is_written_as(other),
            _ => self == other,
        }
    }

    #[cold]
    fn is_written_as(self, other: Self) -> bool {
        valid::key(self.key) == valid::key(other.key)
    }
}

/// The mark of a field that a document has once, which needs no key. None for
/// one that it lists.
pub(super) const fn single(field: Field) -> u64 {
    match field {
        Field::Link | Field::Precursor | Field::Exception => 0,
        once => once.bit(),
    }
}

/// Which bit a mark is.
#[inline]
pub(super) const fn place(mark: u64) -> u8 {
    mark.trailing_zeros() as u8
}

/// Spreads the bytes that a key may be written with; all others are `_`.
const PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || byte == b'.' {
            places[byte as usize] = byte & 31;
        }
        byte += 1;
    }
    places
};

/// The values of entities that have many, by the hash of their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    values: HashMap<u64, ValueIndex>,
    /// The last value in it, by entity.
    read: HashMap<NodeIndex, ValueIndex>,
}

impl Record {
    /// The value of that name, if there is one.
    #[inline]
    pub(super) fn find(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
    ) -> Option<ValueIndex> {
        if self.node(node).values <= FEW {
            return self.search(node, field, name, mark);
        }
        self.look_up(node, field, name, mark)
    }

    #[cold]
    fn look_up(
        &mut self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
    ) -> Option<ValueIndex> {
        self.read_on(node);
        let at = *self.index.as_ref()?.values.get(&name.hash(node, field))?;
        if self.is_named(&self.values[at as usize], field, name) {
            Some(at)
        } else {
            self.search(node, field, name, mark) // another one has that hash
        }
    }

    #[inline]
    fn search(
        &self,
        node: NodeIndex,
        field: Field,
        name: Name<'_>,
        mark: u64,
    ) -> Option<ValueIndex> {
        let mark = place(mark);
        let mut at = self.node(node).first_value;
        while let Some(value) = self.values.get(at as usize) {
            if value.mark == mark && self.is_named(value, field, name) {
                return Some(at);
            }
            at = value.next;
        }
        None
    }

    #[inline]
    fn is_named(&self, value: &Value, field: Field, name: Name<'_>) -> bool {
        value.field == field && name.is_as(self.name_of(value), field)
    }

    fn name_of(&self, value: &Value) -> Name<'_> {
        let (namespace, key) = self.metadata_key(value);
        Name::new(namespace, key)
    }

    /// Takes what was written since the last look into the index.
    fn read_on(&mut self, node: NodeIndex) {
        let mut index = self.index.take().unwrap_or_default();
        let mut at = match index.read.get(&node) {
            Some(last) => self.values[*last as usize].next,
            None => self.node(node).first_value,
        };
        while let Some(value) = self.values.get(at as usize) {
            let hash = self.name_of(value).hash(node, value.field);
            index.values.insert(hash, at);
            index.read.insert(node, at);
            at = value.next;
        }
        self.index = Some(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Text;

    #[test]
    fn keys_that_are_written_alike_have_one_mark() {
        for (one, other) in [
            ("llm-tokens", "llm_tokens"),
            ("", "_"),
            ("é", "_"),
            ("prix €", "prix_$"),
        ] {
            let [one, other] = [one, other].map(|key| Name::new("", key));
            assert!(one.is_as(other, Field::Annotation));
            assert!(!one.is_as(other, Field::Aws));
            assert_eq!(one.mark(), other.mark(), "{one:?}, {other:?}");
        }
    }

    #[test]
    fn keys_with_one_mark_are_still_apart() {
        let (recorder, capture) = crate::Recorder::capture("test");
        let keys: Vec<String> = (0..200).map(|key| format!("key{key}")).collect();
        let segment = recorder.begin_segment("test");
        for (at, one) in keys.iter().enumerate() {
            for other in &keys[..at] {
                if Name::new("", one).mark() == Name::new("", other).mark() {
                    let child = segment.begin_subsegment("same mark");
                    child.annotate(other, 1);
                    child.annotate(one, 2);
                    child.annotate(other, 3);
                }
            }
        }
        segment.close();
        let documents = capture.documents();
        let parts = documents.iter().flat_map(crate::document::Document::walk);
        let pairs: Vec<_> = parts.filter(|part| part.name == "same mark").collect();
        assert!(pairs.len() > 100);
        for part in pairs {
            let values: Vec<_> = part.annotations.values().cloned().collect();
            assert_eq!(part.annotations.len(), 2, "{part:?}");
            assert!(values.contains(&2.into()) && values.contains(&3.into()));
        }
    }

    #[test]
    fn two_names_of_one_hash_are_still_apart() {
        let mut record = Record::default();
        let node = record.begin(crate::SegmentId::new(1).unwrap(), None, None, "test", 0);
        for key in 0..40 {
            record.annotate(node, &format!("key{key}"), &key.into());
        }
        let name = Name::new("", "key7");
        let mark = name.mark();
        assert_eq!(record.find(node, Field::Annotation, name, mark), Some(7));
        let index = record.index.as_mut().unwrap();
        index.values.insert(name.hash(node, Field::Annotation), 8);
        assert_eq!(record.find(node, Field::Annotation, name, mark), Some(7));
        assert_eq!(record.find(node, Field::Metadata, name, mark), None);
        assert_eq!(record.text(Text::default()), "");
    }
}
