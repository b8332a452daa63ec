//! What is gone: values that were taken out, and text nothing leads to. Their
//! room is had again once there is enough of it to pay for moving the rest.

use super::write::AROUND;
use super::{Field, NONE, NodeIndex, Record, Stored, Text, Value, ValueIndex};
use crate::limits;

/// Among the marks of an entity: a value of it went since its places were counted.
const WENT: u64 = 1 << 31;
const _: () = assert!(WENT > Field::ALL_BITS);

impl Record {
    /// Takes a value out of its entity's. Its place stays, and counts as one of
    /// those that there may be, until it is taken back.
    #[cold]
    pub(super) fn take_out(&mut self, node: NodeIndex, at: ValueIndex) {
        let gone = self.values[at as usize];
        self.let_go(gone.key);
        self.resize(node, gone.key.len() + gone.stored.bytes() + AROUND, 0);
        self.index = None;
        let owner = &mut self.nodes[node as usize];
        let mut next = std::mem::replace(&mut owner.first_value, NONE);
        owner.last_value = NONE;
        owner.marks = (owner.marks & !Field::ALL_BITS) | WENT;
        while let Some(value) = self.values.get_mut(next as usize) {
            let this = std::mem::replace(&mut next, std::mem::replace(&mut value.next, NONE));
            if this == at {
                continue;
            }
            owner.marks |= value.field.bit();
            match std::mem::replace(&mut owner.last_value, this) {
                NONE => owner.first_value = this,
                last => self.values[last as usize].next = this,
            }
        }
    }

    /// Takes back the places of an entity's values that went, once they are a
    /// quarter of those that there may be, which pays for moving all values.
    pub(super) fn take_back(&mut self, node: NodeIndex) -> bool {
        if self.node(node).marks & WENT == 0 {
            return false;
        }
        self.node_mut(node).marks &= !WENT;
        let living = self.values(node).count() as u32;
        if self.node(node).values - living < limits::VALUES / 4 {
            return false;
        }
        self.move_values_together();
        true
    }

    fn move_values_together(&mut self) {
        self.index = None;
        let old = std::mem::take(&mut self.values);
        for owner in &mut self.nodes {
            let mut next = std::mem::replace(&mut owner.first_value, NONE);
            (owner.last_value, owner.values) = (NONE, 0);
            owner.marks &= !WENT;
            while let Some(value) = old.get(next as usize) {
                next = value.next;
                let index = self.values.len() as ValueIndex;
                match std::mem::replace(&mut owner.last_value, index) {
                    NONE => owner.first_value = index,
                    last => self.values[last as usize].next = index,
                }
                self.values.push(Value {
                    next: NONE,
                    ..*value
                });
                owner.values += 1;
            }
        }
    }

    #[cold]
    pub(super) fn move_text_together(&mut self, living: usize) {
        let old = std::mem::replace(&mut self.text, String::with_capacity(living));
        let Self {
            nodes,
            values,
            text,
            ..
        } = self;
        let mut keep = |kept: &mut Text| {
            let start = text.len() as u32;
            text.push_str(&old[kept.range()]);
            let end = text.len() as u32;
            *kept = Text { start, end };
        };
        for node in nodes {
            keep(&mut node.name);
            let mut next = node.first_value;
            while let Some(value) = values.get_mut(next as usize) {
                keep(&mut value.key);
                if let Stored::Text(text) | Stored::Json(text) = &mut value.stored {
                    keep(text);
                }
                next = value.next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentId;

    fn begin(record: &mut Record, name: &str) -> NodeIndex {
        record.begin(SegmentId::new(7).unwrap(), None, None, name, 0)
    }

    /// An entity of 17 values that take all the room it has, to the byte or two.
    fn full(record: &mut Record) -> NodeIndex {
        let node = begin(record, "full");
        let json = format!("\"{}\"", "m".repeat(61_000));
        for key in 0..17 {
            record.push_json(node, Field::Metadata, ("default", &key.to_string()), &json);
        }
        node
    }

    /// Each round adds a value and takes it out, as it has no room any more.
    #[test]
    fn values_that_went_leave_their_places() {
        let mut record = Record::default();
        let (node, other) = (full(&mut record), begin(&mut record, "other"));
        record.annotate(other, "a", &1.into());
        let large = format!("\"{}\"", "l".repeat(60_000));
        for round in 1..=20_000_u32 {
            record.push_json(node, Field::Metadata, ("default", "state"), "1");
            assert_eq!(record.values(node).count(), 18, "in round {round}");
            record.push_json(node, Field::Metadata, ("default", "state"), &large);
            assert_eq!(record.left_out, round);
        }
        assert!(record.values.len() <= 4_097, "{}", record.values.len());
        assert_eq!(record.values(node).count(), 17);
        // What moved is found again.
        record.annotate(other, "a", &2.into());
        record.push_json(node, Field::Metadata, ("default", "16"), "2");
        assert_eq!(record.values(other).count(), 1);
        assert_eq!(record.values(node).count(), 17);
    }

    /// A value that went is not found, also by the index, and its field is not
    /// among those of the entity.
    #[test]
    fn a_value_that_went_is_gone() {
        let mut record = Record::default();
        let node = full(&mut record);
        let large = format!("\"{}\"", "l".repeat(60_000));
        for key in 0..40 {
            record.annotate(node, &format!("k{key}"), &1.into());
        }
        record.push_json(node, Field::Aws, ("", "state"), "1");
        record.push_json(node, Field::Aws, ("", "state"), "2");
        assert!(record.node(node).has(Field::Aws));
        record.push_json(node, Field::Aws, ("", "state"), &large);
        assert!(!record.node(node).has(Field::Aws));
        assert_eq!((record.values(node).count(), record.left_out), (57, 1));
        record.push_json(node, Field::Aws, ("", "state"), "3");
        assert!(record.node(node).has(Field::Aws));
        let last = record.values(node).last().unwrap();
        let Stored::Json(text) = last.stored else {
            panic!("{last:?}");
        };
        assert_eq!((record.key(last), record.text(text)), ("state", "3"));
    }
}
