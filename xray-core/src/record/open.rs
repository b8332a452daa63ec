//! The entities of a trace that are open.

use std::time::SystemTime;

use super::value::Tallied;
use super::{NodeIndex, Seen};
use crate::SegmentId;

/// Names an entity of a trace: a place among the open ones, and the id that
/// must stand there. Once the entity is closed the place holds another id or
/// none, so whatever a late handle does finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    slot: u32,
    top_slot: u32,
    pub(crate) id: SegmentId,
    top_id: SegmentId,
}

impl Key {
    fn outermost(slot: u32, id: SegmentId) -> Self {
        Self {
            slot,
            top_slot: slot,
            id,
            top_id: id,
        }
    }

    /// The facade itself, which is never open: its children stand alone.
    pub(super) fn facade(id: SegmentId) -> Self {
        Self::outermost(u32::MAX, id)
    }

    /// The segment this entity belongs to; below a facade, the independent
    /// subsegment.
    pub(crate) fn top(self) -> Self {
        Self::outermost(self.top_slot, self.top_id)
    }

    pub(crate) fn is_facade(self) -> bool {
        self.slot == u32::MAX
    }
}

/// What keeps an entity open beyond its close.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) count: u32,
    /// The owner closed it, as of an end if one was given.
    pub(super) close_at_release: Option<Option<SystemTime>>,
}

/// A place of an open entity.
#[derive(Debug)]
pub(super) struct Slot {
    /// None where the place is free.
    pub(super) id: Option<SegmentId>,
    pub(super) node: NodeIndex,
    /// The parent's place, if it had one.
    parent: u32,
    notes: Option<Box<Notes>>,
}

/// What few entities have while they are open.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) holds: Holds,
    /// The error that was recorded here last, or handed up from a child.
    pub(super) seen: Option<Seen>,
    pub(super) tallies: Vec<Tallied>,
}

impl Slot {
    pub(super) fn notes(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// What holds it, if anything ever did.
    #[inline]
    pub(super) fn known_holds(&mut self) -> Option<&mut Holds> {
        self.notes.as_mut().map(|notes| &mut notes.holds)
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.notes.as_ref()?.seen
    }

    pub(super) fn tallies(&self) -> &[Tallied] {
        self.notes.as_ref().map_or(&[], |notes| &notes.tallies)
    }
}

/// Slots are used again, so that a long trace needs as many as it has open at
/// once.
#[derive(Debug, Default)]
pub(super) struct Open {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Open {
    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.id.is_some())
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter(|slot| slot.id.is_some())
    }

    /// Without `top` the entity belongs to itself.
    #[inline]
    pub(super) fn occupy(
        &mut self,
        id: SegmentId,
        node: NodeIndex,
        parent: Option<Key>,
        top: Option<Key>,
    ) -> Key {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let mut key = Key::outermost(slot, id);
        if let Some(top) = top {
            (key.top_slot, key.top_id) = (top.slot, top.id);
        }
        let parent = parent.map_or(u32::MAX, |parent| parent.slot);
        match self.slots.get_mut(slot as usize) {
            // The notes went with the entity before.
            Some(place) => (place.id, place.node, place.parent) = (Some(id), node, parent),
            None => self.slots.push(Slot {
                id: Some(id),
                node,
                parent,
                notes: None,
            }),
        }
        key
    }

    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<&Slot> {
        let slot = self.slots.get(key.slot as usize)?;
        (slot.id == Some(key.id)).then_some(slot)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        (slot.id == Some(key.id)).then_some(slot)
    }

    /// Frees the place of an entity: its node, its parent's place and its notes
    /// are left.
    #[inline]
    pub(super) fn vacate(&mut self, key: Key) -> Option<(NodeIndex, u32, Option<Box<Notes>>)> {
        let slot = self.find_mut(key)?;
        slot.id = None;
        let left = (slot.node, slot.parent, slot.notes.take());
        self.free.push(key.slot);
        Some(left)
    }

    /// What stands at the place of a parent, if it is still open.
    pub(super) fn parent(&mut self, place: u32, id: Option<SegmentId>) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(place as usize)?;
        (slot.id.is_some() && slot.id == id).then_some(slot)
    }
}
