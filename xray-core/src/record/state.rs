//! What a trace holds, and what of it leaves when.

use std::time::SystemTime;

use super::open::{Holds, Key, Notes, Open, Slot};
use super::split::{Leaving, Taken};
use super::{NodeIndex, Record};
use crate::SegmentId;
use crate::emit::deferred::Shown;
use crate::entropy::IdSequence;
use crate::limits;
use crate::live::Place;

#[derive(Debug)]
pub(super) struct State {
    pub(super) record: Record,
    pub(super) open: Open,
    pub(super) ids: IdSequence,
    pub(super) root: RootState,
    /// The segment, until its owner and all holds let go of it, though it may
    /// have been given up.
    pub(super) root_id: Option<SegmentId>,
    root_holds: Holds,
    /// Where the trace is listed while something of it is open.
    pub(super) place: Option<Place>,
    /// Entities for which there was no room until the verdict, which tells how to
    /// count them.
    pub(super) undecided: usize,
    pub(super) shown: Shown,
}

/// How far the root has come, which decides when finished parts leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootState {
    Open,
    /// Closed; its sampler is asked whether to keep it.
    Deciding,
    /// A facade, or a root that was sent: what closes stands alone.
    Sent,
    /// The root was recorded, closed and thrown away.
    Discarded,
    /// Nobody closed anything for too long: nothing more is recorded.
    GivenUp,
}

impl State {
    pub(super) fn new(record: Record, root: RootState, ids: IdSequence) -> Self {
        Self {
            record,
            open: Open::default(),
            ids,
            root,
            root_id: None,
            root_holds: Holds::default(),
            place: None,
            undecided: 0,
            shown: Shown::default(),
        }
    }

    /// What holds the segment, or an entity that is open.
    pub(super) fn holds(&mut self, key: Key) -> Option<&mut Holds> {
        if self.root_id == Some(key.id) {
            return Some(&mut self.root_holds);
        }
        let slot = self.open.find_mut(key)?;
        Some(&mut slot.notes().holds)
    }

    /// Whether something holds an entity open that its owner closes.
    #[inline]
    pub(super) fn is_held(&mut self, key: Key, end: Option<SystemTime>) -> bool {
        let holds = if self.root_id == Some(key.id) {
            Some(&mut self.root_holds)
        } else {
            self.open.find_mut(key).and_then(Slot::known_holds)
        };
        let Some(holds) = holds.filter(|holds| holds.count > 0) else {
            return false;
        };
        holds.close_at_release = Some(end);
        true
    }

    pub(super) fn with(&mut self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        if let Some(node) = self.open.find(key).map(|slot| slot.node) {
            write(&mut self.record, node);
        }
    }

    /// Takes an entity out of the open ones, if it is open.
    #[inline]
    pub(super) fn vacate(&mut self, key: Key, end: i64) -> Option<NodeIndex> {
        let (node, parent, notes) = self.open.vacate(key)?;
        if let Some(notes) = notes {
            self.leave_notes(node, parent, *notes);
        }
        self.record.close(node, end);
        Some(node)
    }

    /// Writes the tallies of an entity that closes, and tells its parent of the
    /// error that it may be handed next.
    #[cold]
    fn leave_notes(&mut self, node: NodeIndex, parent: u32, notes: Notes) {
        self.record.annotate_tallied(node, &notes.tallies);
        let parent_id = self.record.node(node).parent_id;
        if let Some(seen) = notes.seen
            && let Some(parent) = self.open.parent(parent, parent_id)
        {
            parent.notes().seen = Some(seen);
        }
    }

    /// What leaves now that `node` closed.
    #[inline]
    pub(super) fn due(&self, node: NodeIndex, sampled: bool) -> Option<Leaving> {
        let (closed, bytes) = self.record.closed();
        let has_grown = bytes >= limits::STREAM_BYTES || closed >= limits::STREAM_ENTITIES;
        match self.root {
            RootState::Open if sampled => has_grown.then_some(Leaving::Everything),
            // What waits for its verdict must not grow for ever.
            RootState::Open => (bytes >= limits::UNDECIDED_BYTES).then_some(Leaving::Everything),
            RootState::Deciding => None,
            RootState::Sent | RootState::Discarded | RootState::GivenUp if has_grown => {
                Some(Leaving::Everything)
            }
            RootState::Sent | RootState::Discarded | RootState::GivenUp => {
                let is_outermost = self.record.is_outermost(node);
                is_outermost.then_some(Leaving::Below(node))
            }
        }
    }

    /// Whether what is open is going to be sent.
    pub(super) fn is_kept(&self, sampled: bool) -> bool {
        match self.root {
            RootState::Open | RootState::Deciding => sampled,
            RootState::Sent => true,
            RootState::Discarded | RootState::GivenUp => false,
        }
    }

    /// Whether there is something closed that waits for no verdict.
    pub(super) fn may_leave(&self, sampled: bool) -> bool {
        let is_decided = match self.root {
            RootState::Open => sampled,
            RootState::Deciding => false,
            RootState::Sent | RootState::Discarded | RootState::GivenUp => true,
        };
        is_decided && self.record.closed().0 > 0
    }

    /// Takes out what is closed. With nothing open that is all there is.
    pub(super) fn take_closed(&mut self, leaving: Leaving) -> (Record, usize) {
        if self.open.count() == 0 {
            let record = std::mem::take(&mut self.record);
            let closed = record.closed().0;
            return (record, closed);
        }
        let Taken {
            record,
            closed,
            moved,
        } = self.record.take_closed(leaving);
        if let Some(places) = moved {
            for slot in self.open.slots_mut() {
                if let Some(place) = places.of(slot.node) {
                    slot.node = place;
                }
            }
        }
        (record, closed)
    }
}
