//! One trace in this process: its record, and who is open in it.
//!
//! Every handle of a trace leads here. What is finished leaves as a
//! [`Piece`]: all of it when the root closes, finished subtrees earlier when
//! the trace grows, late children on their own.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::cause::Cause;
use super::copy_of;
use super::open::{Key, Open, Slot};
use super::value::Tallied;
use super::{ExceptionReport, Field, Flags, NodeIndex, Record, State as NodeState, Stored, Tally};
use crate::clock::Anchor;
use crate::emit::deferred::{Shown, Waiting};
use crate::emit::{Piece, PieceHead};
use crate::encode::valid;
use crate::entity::Class;
use crate::entropy::IdSequence;
use crate::header::Carried;
use crate::ledger::Loss;
use crate::limits;
use crate::live::Place;
use crate::process;
use crate::recorder::Core;
use crate::sampling::{Decision, Elapsed, Outcome};
use crate::sync::{Mutex, MutexGuard};
use crate::{SegmentId, TraceId};

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) core: Arc<Core>,
    pub(crate) trace_id: TraceId,
    pub(crate) decision: Decision,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) anchor: Anchor,
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: Record,
    open: Open,
    ids: IdSequence,
    root_key: Option<Key>,
    /// Estimated bytes and number of the closed nodes still in `record`.
    closed_bytes: usize,
    closed: usize,
    root: RootState,
    /// Whoever keeps the root open beyond its close.
    holds: u32,
    close_at_release: bool,
    shown: Shown,
}

/// How far the root has come, which decides when finished parts leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootState {
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

/// What a new trace starts from.
pub(crate) struct Start {
    pub(crate) core: Arc<Core>,
    pub(crate) trace_id: TraceId,
    pub(crate) decision: Decision,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) anchor: Anchor,
    pub(crate) seed: u64,
}

impl Trace {
    /// A trace whose root is a segment of this process.
    pub(crate) fn with_segment(
        start: Start,
        name: &str,
        parent_id: Option<SegmentId>,
        start_time: Option<SystemTime>,
    ) -> (Arc<Self>, Key) {
        let begun = start_time.map_or(start.anchor.tick, |time| start.anchor.tick_of(time));
        let trace = Self::new(start, RootState::Open);
        let mut state = trace.lock();
        let id = state.ids.next();
        let node = state.record.begin(id, None, parent_id, name, begun);
        state.record.node_mut(node).is_segment = true;
        let key = state.open.occupy(id, node, None, None);
        state.root_key = Some(key);
        drop(state);
        trace.core.common.ledger.begin_entity();
        (trace, key)
    }

    /// A trace whose root is somebody else's segment.
    pub(crate) fn with_facade(start: Start, id: SegmentId) -> (Arc<Self>, Key) {
        (Self::new(start, RootState::Sent), Key::facade(id))
    }

    fn new(start: Start, root: RootState) -> Arc<Self> {
        let core = start.core;
        let record = core.common.spare.take();
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            place: core.live.insert(this.clone()),
            core,
            trace_id: start.trace_id,
            decision: start.decision,
            carried: start.carried,
            anchor: start.anchor,
            state: Mutex::new(State::new(record, root, IdSequence(start.seed))),
        })
    }

    /// Nothing is called that could panic while the lock is held; should it
    /// happen all the same, the record is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        let nothing = || State::new(Record::default(), RootState::Discarded, IdSequence(0));
        self.state.lock_or(nothing)
    }

    /// A wall time on the monotonic scale; now, if none is given.
    fn tick(&self, time: Option<SystemTime>) -> i64 {
        match time {
            None => self.core.clock.tick(),
            Some(time) => self.anchor.tick_of(time),
        }
    }

    /// Registers a child. A parent that is closed keeps its child by id. `None`
    /// when too many are open, or the trace was given up: such a child is
    /// dropped, and what it calls gets its parent's header.
    pub(crate) fn begin(&self, parent: Key, name: &str, start: Option<SystemTime>) -> Option<Key> {
        let start = self.tick(start);
        let ledger = &self.core.common.ledger;
        let mut state = self.lock();
        let refused = if state.root == RootState::GivenUp {
            Some(Loss::LimitOpen)
        } else if state.open.count() >= self.core.limits.open_entities {
            Some(Loss::LimitChildren)
        } else {
            None
        };
        if let Some(reason) = refused {
            drop(state);
            ledger.begin_entity();
            ledger.drop_entities(reason, 1);
            return None;
        }
        let id = state.ids.next();
        let open = state.open.find(parent).map(|slot| (slot.node, slot.top));
        let (parent_node, top) = match open {
            Some((node, top)) => (Some(node), Some(top)),
            None => (
                None,
                state
                    .root_key
                    .filter(|root| state.open.find(*root).is_some()),
            ),
        };
        let parent_id = Some(parent.id);
        let node = state.record.begin(id, parent_node, parent_id, name, start);
        let key = state.open.occupy(id, node, Some(parent), top);
        drop(state);
        ledger.begin_entity();
        Some(key)
    }

    /// The segment `key` belongs to.
    pub(crate) fn top(&self, key: Key) -> Key {
        self.lock().open.find(key).map_or(key, |slot| slot.top)
    }

    /// Writes to an entity, if it is open. Nothing of a user's may be called in
    /// `write`: the lock is held.
    pub(crate) fn write(&self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        self.lock().with(key, write);
    }

    /// Writes to the segment that `key` belongs to.
    pub(crate) fn write_to_top(&self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        let mut state = self.lock();
        let top = state.open.find(key).map_or(key, |slot| slot.top);
        state.with(top, write);
    }

    /// Sets and clears flags.
    pub(crate) fn flag(&self, key: Key, set: Flags, clear: Flags) {
        self.write(key, |record, node| {
            let flags = &mut record.node_mut(node).flags;
            *flags = flags.without(clear).union(set);
        });
    }

    pub(crate) fn tally(&self, key: Key, name: &str, tally: Tally<'_>) {
        let mut state = self.lock();
        let State { record, open, .. } = &mut *state;
        let Some(slot) = open.find_mut(key) else {
            return;
        };
        let tallies = &mut slot.notes().tallies;
        let key = valid::key(name);
        if let Some(known) = tallies.iter_mut().find(|known| known.key == key) {
            known.join(tally);
        } else if tallies.len() < limits::TALLIES {
            record.left_out += u64::from(key != name);
            tallies.push(Tallied::new(key.into_owned(), tally));
        } else {
            record.left_out += 1;
        }
    }

    /// Records an error with its sources.
    pub(crate) fn record_error(
        &self,
        key: Key,
        kind: &str,
        error: &dyn std::error::Error,
        location: Option<&'static Location<'static>>,
        flags: Flags,
    ) {
        // The error's text is made by foreign code: never under the lock.
        let (seen, mut ids) = {
            let mut state = self.lock();
            let fork = IdSequence(state.ids.next().get());
            (state.open.find(key).and_then(Slot::seen), fork)
        };
        let cause = Cause::of_error(kind, error, location, seen, || ids.next());
        self.record_cause(key, cause, flags);
    }

    /// Records an exception that is no error, such as a panic.
    pub(crate) fn record_exception(&self, key: Key, report: &ExceptionReport<'_>, flags: Flags) {
        let id = self.lock().ids.next();
        self.record_cause(key, Cause::reported(report, id), flags);
    }

    fn record_cause(&self, key: Key, cause: Cause, flags: Flags) {
        let mut state = self.lock();
        let State { record, open, .. } = &mut *state;
        let Some(slot) = open.find_mut(key) else {
            return;
        };
        let owner = record.node_mut(slot.node);
        owner.flags = owner.flags.union(flags);
        match cause {
            Cause::Same(id) => record.push(slot.node, Field::CauseLink, Stored::Id(id.get())),
            Cause::Chain(chain, seen) => {
                for exception in chain {
                    record.push_exception(slot.node, exception);
                }
                slot.notes().seen = Some(seen);
            }
        }
    }

    /// Keeps the root open beyond its close, until as many releases.
    pub(crate) fn hold(&self) {
        self.lock().holds += 1;
    }

    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.holds = state.holds.saturating_sub(1);
        if state.holds == 0 && std::mem::take(&mut state.close_at_release) {
            let root = state.root_key;
            drop(state);
            if let Some(root) = root {
                self.close(root, None);
            }
        }
    }

    /// Closes an entity; once closed nothing changes it any more.
    pub(crate) fn close(&self, key: Key, end: Option<SystemTime>) {
        let end = self.tick(end);
        let mut state = self.lock();
        let Some(slot) = state.open.find(key) else {
            return;
        };
        let node = slot.node;
        let is_root = state.record.node(node).is_segment;
        if is_root && state.holds > 0 {
            state.close_at_release = true;
            return;
        }
        state.vacate(key, node, end);
        if is_root {
            let outcome = self.outcome(&state, node);
            state.root = RootState::Deciding;
            drop(state);
            let sampler = &self.core.sampler;
            let ledger = &self.core.common.ledger;
            let kept = outcome.decision.sampled || sampler.keep(&outcome, ledger);
            state = self.lock();
            match state.root {
                RootState::GivenUp => {}
                _ if kept => state.root = RootState::Sent,
                _ => state.root = RootState::Discarded,
            }
            let piece = self.take(&mut state);
            drop(state);
            self.send(piece);
            sampler.closed(&outcome, ledger);
        } else if state.is_due(node, self.decision.sampled) {
            let piece = self.take(&mut state);
            drop(state);
            self.send(piece);
        }
    }

    fn send(&self, piece: Option<Piece>) {
        if let Some(piece) = piece {
            self.core.emit(piece);
        }
    }

    /// Everything closed, if it is to be sent now.
    fn take(&self, state: &mut State) -> Option<Piece> {
        let (record, closed) = state.take_closed();
        if state.root == RootState::Discarded
            || (state.root == RootState::Open && !self.decision.sampled)
        {
            let ledger = &self.core.common.ledger;
            ledger.discard_unsampled(closed as u64);
            return None;
        }
        if closed == 0 {
            return None;
        }
        let piece = Piece::new(&self.core.common, self.head(), record, closed);
        // In a forked process whoever shows the trace is missing.
        if state.shown.defers() && self.core.process == process::last_seen() {
            state.shown.defer(piece);
            return None;
        }
        Some(piece)
    }

    /// From now on what closes waits, until as many ends.
    pub(crate) fn begin_showing(&self) {
        self.lock().shown.open();
    }

    /// What closed while the trace was shown and may be sent now.
    pub(crate) fn end_showing(&self) -> Vec<Waiting> {
        self.lock().shown.close()
    }

    fn head(&self) -> PieceHead {
        PieceHead {
            trace_id: self.trace_id,
            anchor: self.anchor,
            rule: self.decision.rule.clone(),
        }
    }

    fn outcome(&self, state: &State, node: NodeIndex) -> Outcome<'static> {
        let record = &state.record;
        let root = record.node(node);
        let status = record
            .values(node)
            .filter(|value| value.field == Field::HttpStatus)
            .last()
            .and_then(|value| match value.stored {
                Stored::Unsigned(status) => u16::try_from(status).ok(),
                _ => None,
            });
        Outcome {
            trace_id: Some(self.trace_id),
            decision: self.decision.clone(),
            class: Class::of_flags(root.flags),
            status,
            elapsed: Elapsed::Known(Duration::from_nanos(root.end.abs_diff(root.start))),
        }
    }

    /// The tree as it stands: what is open is shown as in progress. `None` when
    /// nothing is left in this process.
    pub(crate) fn snapshot(&self) -> Option<Piece> {
        let state = self.lock();
        if state.open.count() == 0 {
            return None;
        }
        let mut record = state.record.clone();
        for slot in state.open.slots() {
            record.annotate_tallied(slot.node, slot.tallies());
        }
        drop(state);
        let head = self.head();
        Some(Piece::snapshot(&self.core.common, head, record))
    }

    /// Sends what has been open since `before`, and was not shown yet, as in
    /// progress.
    pub(crate) fn show_open(self: &Arc<Self>, before: i64) {
        if !self.decision.sampled {
            return;
        }
        let mut state = self.lock();
        let State { record, open, .. } = &mut *state;
        let Some((mut shown, places)) = record.show_open(before) else {
            return;
        };
        for slot in open.slots() {
            if let Some(node) = copy_of(&places, slot.node) {
                shown.annotate_tallied(node, slot.tallies());
            }
        }
        drop(state);
        let piece = Piece::in_progress(&self.core.common, self.head(), shown, self);
        self.send(Some(piece));
    }

    /// The entities that are open.
    pub(crate) fn open_ids(&self) -> HashSet<SegmentId> {
        self.lock()
            .open
            .slots()
            .filter_map(|slot| slot.id)
            .collect()
    }

    /// Forgets everything: nobody will close it. Handles that are still about
    /// find nothing any more.
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        let entities = state.open.count() + state.closed;
        state.record = Record::default();
        state.open = Open::default();
        (state.closed, state.closed_bytes) = (0, 0);
        state.root = RootState::GivenUp;
        drop(state);
        let ledger = &self.core.common.ledger;
        ledger.drop_entities(Loss::LimitOpen, entities as u64);
    }

    /// Entities that are not closed.
    pub(crate) fn open_entities(&self) -> usize {
        self.lock().open.count()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.core.live.remove(self.place);
        // Late children that waited for more to leave together with.
        let mut state = self.lock();
        if state.closed > 0 {
            let piece = self.take(&mut state);
            drop(state);
            self.send(piece);
        }
    }
}

impl State {
    fn new(record: Record, root: RootState, ids: IdSequence) -> Self {
        Self {
            record,
            open: Open::default(),
            ids,
            root_key: None,
            closed_bytes: 0,
            closed: 0,
            root,
            holds: 0,
            close_at_release: false,
            shown: Shown::default(),
        }
    }

    fn with(&mut self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        if let Some(node) = self.open.find(key).map(|slot| slot.node) {
            write(&mut self.record, node);
        }
    }

    /// Takes an entity out of the open ones.
    fn vacate(&mut self, key: Key, node: NodeIndex, end: i64) {
        if let Some(tallies) = self.open.vacate(key) {
            self.record.annotate_tallied(node, &tallies);
        }
        let closed = self.record.node_mut(node);
        closed.end = end.max(closed.start);
        closed.state = NodeState::Closed;
        self.closed += 1;
        self.closed_bytes += closed.bytes as usize;
    }

    /// Whether finished parts leave now that `node` closed. Taking them costs
    /// as much as there is open, so enough must be closed to pay for it.
    fn is_due(&self, node: NodeIndex, sampled: bool) -> bool {
        let open = self.open.count();
        let open_bytes = self.record.bytes() - self.closed_bytes;
        let has_grown = (self.closed_bytes >= limits::STREAM_BYTES
            || self.closed >= limits::STREAM_ENTITIES)
            && self.closed_bytes >= open_bytes;
        match self.root {
            RootState::Open if sampled => has_grown,
            // What waits for its verdict must not grow for ever.
            RootState::Open => self.closed_bytes >= limits::UNDECIDED_BYTES,
            RootState::Deciding => false,
            RootState::Sent | RootState::Discarded | RootState::GivenUp => {
                let is_outermost = self.record.node(node).parent().is_none();
                has_grown || (is_outermost && open <= 16 + 4 * self.closed)
            }
        }
    }

    fn take_closed(&mut self) -> (Record, usize) {
        self.closed_bytes = 0;
        let closed = std::mem::take(&mut self.closed);
        if self.open.count() == 0 {
            return (std::mem::take(&mut self.record), closed);
        }
        let (record, places) = self.record.split_closed();
        for slot in self.open.slots_mut() {
            if let Some(place) = copy_of(&places, slot.node) {
                slot.node = place;
            }
        }
        (record, closed)
    }
}
