//! One trace in this process: its record, and who is open in it.
//!
//! Every handle of a trace leads here. What is finished leaves as a
//! [`Piece`]: all of it when the root closes, finished subtrees earlier when
//! the trace grows, late children on their own.

use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::cause::{self, Cause};
use super::moved_to;
use super::value::Tallied;
use super::{
    AnnotationValue, ExceptionReport, Field, Flags, NodeIndex, Record, Seen, State as NodeState,
    Stored, Tally,
};
use crate::clock::Anchor;
use crate::emit::{Piece, PieceHead};
use crate::entity::Class;
use crate::entropy::IdSequence;
use crate::header::Carried;
use crate::ledger::Loss;
use crate::limits;
use crate::live::Place;
use crate::recorder::Core;
use crate::sampling::{Decision, Elapsed, Outcome};
use crate::sync::{Mutex, MutexGuard};
use crate::{SegmentId, TraceId};

/// Names an entity of a trace: a place among the open ones, and the id that
/// must stand there. Once the entity is closed the place holds another id or
/// none, so whatever a late handle does finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    slot: u32,
    pub(crate) id: SegmentId,
}

impl Key {
    /// The facade itself, which is never open: its children stand alone.
    fn facade(id: SegmentId) -> Self {
        Self { slot: u32::MAX, id }
    }
}

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
    open: Vec<Slot>,
    free: Vec<u32>,
    ids: IdSequence,
    root_key: Option<Key>,
    /// Estimated bytes and number of the closed nodes still in `record`.
    closed_bytes: usize,
    closed: usize,
    root: RootState,
    /// Whoever keeps the root open beyond its close.
    holds: u32,
    close_at_release: bool,
}

/// How far the root has come, which decides when finished parts leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootState {
    Open,
    /// A facade, or a root that was sent: what closes stands alone.
    Sent,
    /// The root was recorded, closed and thrown away.
    Discarded,
}

#[derive(Debug)]
struct Slot {
    id: Option<SegmentId>,
    node: NodeIndex,
    parent: Option<Key>,
    /// The segment this entity belongs to; below a facade, the independent
    /// subsegment.
    top: Key,
    seen: Option<Seen>,
    tallies: Vec<Tallied>,
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
        let key = state.occupy(id, node, None, None);
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

    /// Registers a child. A parent that is closed keeps its child by id. `None`
    /// when too many are open: such a child is dropped, and what it calls gets
    /// its parent's header.
    pub(crate) fn begin(&self, parent: Key, name: &str, start: Option<SystemTime>) -> Option<Key> {
        let start = match start {
            None => self.core.clock.tick(),
            Some(time) => self.anchor.tick_of(time),
        };
        let ledger = &self.core.common.ledger;
        let mut state = self.lock();
        if state.open_count() >= self.core.limits.open_entities {
            drop(state);
            ledger.begin_entity();
            ledger.drop_entities(Loss::LimitChildren, 1);
            return None;
        }
        let id = state.ids.next();
        let open = state.find(parent).map(|slot| (slot.node, slot.top));
        let (parent_node, top) = match open {
            Some((node, top)) => (Some(node), Some(top)),
            None => (
                None,
                state.root_key.filter(|root| state.find(*root).is_some()),
            ),
        };
        let parent_id = Some(parent.id);
        let node = state.record.begin(id, parent_node, parent_id, name, start);
        let key = state.occupy(id, node, Some(parent), top);
        drop(state);
        ledger.begin_entity();
        Some(key)
    }

    /// The segment `key` belongs to.
    pub(crate) fn top(&self, key: Key) -> Key {
        self.lock().find(key).map_or(key, |slot| slot.top)
    }

    pub(crate) fn rename(&self, key: Key, name: &str) {
        self.lock()
            .with(key, |record, node| record.rename(node, name));
    }

    /// Sets and clears flags.
    pub(crate) fn flag(&self, key: Key, set: Flags, clear: Flags) {
        self.lock().with(key, |record, node| {
            let flags = &mut record.node_mut(node).flags;
            *flags = flags.without(clear).union(set);
        });
    }

    pub(crate) fn put(&self, key: Key, field: Field, name: &str, stored: Stored) {
        self.lock().with(key, |record, node| {
            record.push(node, field, ("", name), stored);
        });
    }

    pub(crate) fn put_text(&self, key: Key, field: Field, name: &str, text: &str, limit: usize) {
        self.lock().with(key, |record, node| {
            let text = record.store(text, limit);
            record.push(node, field, ("", name), Stored::Text(text));
        });
    }

    pub(crate) fn annotate(&self, key: Key, name: &str, value: &AnnotationValue<'_>) {
        self.lock()
            .with(key, |record, node| annotate(record, node, name, value));
    }

    /// Stores values that are JSON already.
    pub(crate) fn put_json(&self, key: Key, field: Field, name: (&str, &str), json: &str) {
        self.lock().with(key, |record, node| {
            let before = record.text.len();
            let text = record.store(json, usize::MAX);
            if text.len() == json.len() {
                record.push(node, field, name, Stored::Json(text));
            } else {
                record.text.truncate(before); // half a value is no JSON
            }
        });
    }

    pub(crate) fn tally(&self, key: Key, name: &str, tally: Tally<'_>) {
        let mut state = self.lock();
        if let Some(slot) = state.find_mut(key) {
            match slot.tallies.iter_mut().find(|known| known.key == name) {
                Some(known) => known.join(tally),
                None => slot.tallies.push(Tallied::new(name, tally)),
            }
        }
    }

    /// Records an error with its sources.
    pub(crate) fn record_error(
        &self,
        key: Key,
        kind: &str,
        error: &dyn std::error::Error,
        location: &'static Location<'static>,
        flags: Flags,
    ) {
        // The error's text is made by foreign code: never under the lock.
        let (seen, mut ids) = {
            let mut state = self.lock();
            let fork = IdSequence(state.ids.next().get());
            (state.find(key).and_then(|slot| slot.seen), fork)
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
        state.with(key, |record, node| {
            let owner = record.node_mut(node);
            owner.flags = owner.flags.union(flags);
            match &cause {
                Cause::Same(id) => {
                    record.push(node, Field::CauseLink, ("", ""), Stored::Id(id.get()));
                }
                Cause::Chain(chain, _) => {
                    for exception in chain {
                        let index = record.exceptions.len() as u32;
                        record.exceptions.push(exception.clone());
                        record.push(node, Field::Exception, ("", ""), Stored::Exception(index));
                    }
                }
            }
        });
        if let (Cause::Chain(_, seen), Some(slot)) = (cause, state.find_mut(key)) {
            slot.seen = Some(seen);
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
        let end = match end {
            None => self.core.clock.tick(),
            Some(time) => self.anchor.tick_of(time),
        };
        let mut state = self.lock();
        let Some(slot) = state.find(key) else {
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
            drop(state);
            let sampler = &self.core.sampler;
            let ledger = &self.core.common.ledger;
            let kept = outcome.decision.sampled || sampler.keep(&outcome, ledger);
            state = self.lock();
            state.root = if kept {
                RootState::Sent
            } else {
                RootState::Discarded
            };
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

    /// Everything closed, if it is to be sent.
    fn take(&self, state: &mut State) -> Option<Piece> {
        let (record, closed) = state.take_closed();
        if state.root == RootState::Discarded
            || (state.root == RootState::Open && !self.decision.sampled)
        {
            let ledger = &self.core.common.ledger;
            ledger.discard_unsampled(closed as u64);
            return None;
        }
        (closed > 0).then(|| Piece::new(&self.core.common, self.head(), record, closed))
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
            .find(|value| value.field == Field::HttpStatus)
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
        if state.open_count() == 0 {
            return None;
        }
        let mut record = state.record.clone();
        for slot in state.open.iter().filter(|slot| slot.id.is_some()) {
            for tallied in &slot.tallies {
                annotate(&mut record, slot.node, &tallied.key, &tallied.value);
            }
        }
        drop(state);
        let head = self.head();
        Some(Piece::snapshot(&self.core.common, head, record))
    }

    /// Sends what has been open since `before`, and was not shown yet, as in
    /// progress.
    pub(crate) fn show_open(&self, before: i64) {
        if !self.decision.sampled {
            return;
        }
        let shown = self.lock().record.show_open(before);
        if let Some(record) = shown {
            let common = &self.core.common;
            common.ledger.create_documents(1);
            self.send(Some(Piece::in_progress(common, self.head(), record)));
        }
    }

    /// Forgets everything: nobody will close it. Handles that are still about
    /// find nothing any more.
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        let entities = state.open_count() + state.closed;
        state.record = Record::default();
        state.open = Vec::new();
        state.free = Vec::new();
        (state.closed, state.closed_bytes) = (0, 0);
        state.root = RootState::Discarded;
        drop(state);
        let ledger = &self.core.common.ledger;
        ledger.drop_entities(Loss::LimitOpen, entities as u64);
    }

    /// Entities that are not closed.
    pub(crate) fn open(&self) -> usize {
        self.lock().open_count()
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

fn annotate(record: &mut Record, node: NodeIndex, key: &str, value: &AnnotationValue<'_>) {
    let stored = match value {
        AnnotationValue::Text(text) => Stored::Text(record.store(text, limits::ANNOTATION_BYTES)),
        AnnotationValue::Integer(number) => Stored::Integer(*number),
        AnnotationValue::Unsigned(number) => Stored::Unsigned(*number),
        AnnotationValue::Float(number) => Stored::Float(*number),
        AnnotationValue::Boolean(flag) => Stored::Boolean(*flag),
    };
    record.push(node, Field::Annotation, ("", key), stored);
}

impl State {
    fn new(record: Record, root: RootState, ids: IdSequence) -> Self {
        Self {
            record,
            open: Vec::with_capacity(4),
            free: Vec::new(),
            ids,
            root_key: None,
            closed_bytes: 0,
            closed: 0,
            root,
            holds: 0,
            close_at_release: false,
        }
    }

    fn open_count(&self) -> usize {
        self.open.len() - self.free.len()
    }

    fn occupy(
        &mut self,
        id: SegmentId,
        node: NodeIndex,
        parent: Option<Key>,
        top: Option<Key>,
    ) -> Key {
        let slot = self.free.pop().unwrap_or(self.open.len() as u32);
        let key = Key { slot, id };
        let entry = Slot {
            id: Some(id),
            node,
            parent,
            top: top.unwrap_or(key),
            seen: None,
            tallies: Vec::new(),
        };
        match self.open.get_mut(slot as usize) {
            Some(place) => *place = entry,
            None => self.open.push(entry),
        }
        key
    }

    fn find(&self, key: Key) -> Option<&Slot> {
        let slot = self.open.get(key.slot as usize)?;
        (slot.id == Some(key.id)).then_some(slot)
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.open.get_mut(key.slot as usize)?;
        (slot.id == Some(key.id)).then_some(slot)
    }

    fn with(&mut self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        if let Some(node) = self.find(key).map(|slot| slot.node) {
            write(&mut self.record, node);
        }
    }

    /// Takes an entity out of the open ones.
    fn vacate(&mut self, key: Key, node: NodeIndex, end: i64) {
        let slot = &mut self.open[key.slot as usize];
        slot.id = None;
        let (parent, seen) = (slot.parent, slot.seen.take());
        let tallies = std::mem::take(&mut slot.tallies);
        self.free.push(key.slot);
        for tallied in tallies {
            annotate(&mut self.record, node, &tallied.key, &tallied.value);
        }
        let closed = self.record.node_mut(node);
        closed.end = end.max(closed.start);
        closed.state = NodeState::Closed;
        self.closed += 1;
        self.closed_bytes += closed.bytes as usize;
        // The parent may be handed the same error next.
        if let (Some(seen), Some(slot)) = (seen, parent.and_then(|key| self.find_mut(key))) {
            slot.seen = Some(seen);
        }
    }

    /// Whether finished parts leave now that `node` closed. Taking them costs
    /// as much as there is open, so enough must be closed to pay for it.
    fn is_due(&self, node: NodeIndex, sampled: bool) -> bool {
        let open = self.open_count();
        let open_bytes = self.record.bytes() - self.closed_bytes;
        let has_grown = (self.closed_bytes >= limits::STREAM_BYTES
            || self.closed >= limits::STREAM_ENTITIES)
            && self.closed_bytes >= open_bytes;
        match self.root {
            RootState::Open if sampled => has_grown,
            // What waits for its verdict must not grow for ever.
            RootState::Open => self.closed_bytes >= limits::UNDECIDED_BYTES,
            RootState::Sent | RootState::Discarded => {
                let is_outermost = self.record.node(node).parent().is_none();
                has_grown || (is_outermost && open <= 16 + 4 * self.closed)
            }
        }
    }

    fn take_closed(&mut self) -> (Record, usize) {
        self.closed_bytes = 0;
        let closed = std::mem::take(&mut self.closed);
        if self.open_count() == 0 {
            return (std::mem::take(&mut self.record), closed);
        }
        let (record, places) = self.record.split_closed();
        for slot in self.open.iter_mut().filter(|slot| slot.id.is_some()) {
            if let Some(place) = moved_to(&places, slot.node) {
                slot.node = place;
            }
        }
        (record, closed)
    }
}

/// The text of a panic's payload.
pub(crate) use cause::panic_message;
