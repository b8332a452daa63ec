//! One trace in this process: its record, and who is open in it.
//!
//! Every handle of a trace leads here. What is finished leaves as a
//! [`Piece`]: all of it when the root closes, finished subtrees earlier when
//! the trace grows, late children on their own.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::Arc;
use std::time::SystemTime;

use super::cause::Cause;
use super::open::{Key, Slot};
use super::split::Leaving;
use super::state::{RootState, State};
use super::value::Tallied;
use super::{AnnotationValue, ExceptionReport, Flags, NodeIndex, Raised, Record, Tally};
use crate::clock::Anchor;
use crate::emit::deferred::Waiting;
use crate::emit::in_hand::Held;
use crate::emit::{Piece, PieceHead};
use crate::encode::valid;
use crate::entropy::IdSequence;
use crate::header::Carried;
use crate::ledger::Loss;
use crate::limits;
use crate::process;
use crate::recorder::Core;
use crate::sampling::{Decision, Elapsed, Marks, Outcome};
use crate::sync::{Mutex, MutexGuard};
use crate::{SegmentId, TraceId};

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) core: Arc<Core>,
    pub(crate) trace_id: TraceId,
    pub(crate) decision: Decision,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) anchor: Anchor,
    /// None of a facade, of which no sampler hears.
    root: Option<Root>,
    state: Mutex<State>,
}

/// The segment, as its sampler is to hear of it.
#[derive(Debug)]
struct Root {
    id: SegmentId,
    start: i64,
    marks: Marks,
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
        let begun = start.anchor.start(start_time);
        let mut state = Self::state(&start, RootState::Open);
        let id = state.ids.next();
        let root = Root {
            id,
            start: begun,
            marks: Marks::default(),
        };
        let node = state.record.begin(id, None, parent_id, name, begun);
        state.record.node_mut(node).is_segment = true;
        let key = state.open.occupy(id, node, None, None);
        state.root_id = Some(id);
        start.core.common.ledger.begin_entity();
        let trace = Self::new(start, state, Some(root));
        let oldest = trace.list(&mut trace.lock());
        give_up(oldest);
        (trace, key)
    }

    /// A trace whose root is somebody else's segment.
    pub(crate) fn with_facade(start: Start, id: SegmentId) -> (Arc<Self>, Key) {
        let state = Self::state(&start, RootState::Sent);
        (Self::new(start, state, None), Key::facade(id))
    }

    fn state(start: &Start, root: RootState) -> State {
        let record = start.core.common.spare.take();
        State::new(record, root, IdSequence(start.seed))
    }

    fn new(start: Start, state: State, root: Option<Root>) -> Arc<Self> {
        Arc::new(Self {
            core: start.core,
            trace_id: start.trace_id,
            decision: start.decision,
            carried: start.carried,
            anchor: start.anchor,
            root,
            state: Mutex::new(state),
        })
    }

    /// Lists the trace as alive, now that something of it is open. The oldest are
    /// returned, to be given up once the lock is let go.
    fn list(self: &Arc<Self>, state: &mut State) -> Vec<Arc<Self>> {
        let (place, oldest) = self.core.live.insert(Arc::downgrade(self));
        state.place = Some(place);
        oldest
    }

    /// Nothing is called that could panic while the lock is held; should it
    /// happen all the same, the record is still whole.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        let nothing = || State::new(Record::default(), RootState::Discarded, IdSequence(0));
        self.state.lock_or(nothing)
    }

    /// A wall time on the monotonic scale; now, if none is given.
    #[inline]
    fn tick(&self, time: Option<SystemTime>) -> i64 {
        match time {
            None => self.core.clock.tick(),
            Some(time) => self.anchor.tick_of(time),
        }
    }

    /// Registers a child. A parent that is closed keeps its child by id.
    /// Refused, and counted so, when too many are open or the trace was given up.
    pub(crate) fn begin(
        self: &Arc<Self>,
        parent: Key,
        name: &str,
        start: Option<SystemTime>,
    ) -> Result<Key, Loss> {
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
            self.refuse(reason);
            return Err(reason);
        }
        let id = state.ids.next();
        let parent_node = state.open.find(parent).map(|slot| slot.node);
        let top = Some(parent.top())
            .filter(|top| parent_node.is_some() || state.open.find(*top).is_some());
        let parent_id = Some(parent.id);
        let node = state.record.begin(id, parent_node, parent_id, name, start);
        let key = state.open.occupy(id, node, Some(parent), top);
        // Listed before another thread can begin anything here: a flush finds it.
        let oldest = if state.open.count() == 1 {
            self.list(&mut state)
        } else {
            Vec::new()
        };
        drop(state);
        ledger.begin_entity();
        give_up(oldest);
        Ok(key)
    }

    /// Counts a child that is not recorded.
    pub(crate) fn refuse(&self, reason: Loss) {
        let ledger = &self.core.common.ledger;
        ledger.begin_entity();
        ledger.drop_entities(reason, 1);
    }

    /// What the sampler is to hear of `key`, if that is the segment.
    pub(crate) fn marks(&self, key: Key) -> Option<&Marks> {
        let root = self.root.as_ref().filter(|root| root.id == key.id)?;
        Some(&root.marks)
    }

    /// Writes to an entity, if it is open. Nothing of a user's may be called in
    /// `write`: the lock is held.
    pub(crate) fn write(&self, key: Key, write: impl FnOnce(&mut Record, NodeIndex)) {
        self.lock().with(key, write);
    }

    /// Writes an annotation. Not made anew in each crate that does.
    pub(crate) fn annotate(&self, key: Key, name: &str, value: &AnnotationValue<'_>) {
        self.write(key, |record, node| record.annotate(node, name, value));
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
            record.leave_out(u32::from(key != name));
            tallies.push(Tallied::new(key.into_owned(), tally));
        } else {
            record.leave_out(1);
        }
    }

    /// Records an error with its sources.
    pub(crate) fn record_error(
        &self,
        key: Key,
        raised: Raised<'_>,
        location: Option<&'static Location<'static>>,
        flags: Flags,
    ) {
        // The error's text is made by foreign code: never under the lock.
        let (seen, mut ids) = {
            let mut state = self.lock();
            let fork = IdSequence(state.ids.next().get());
            (state.open.find(key).and_then(Slot::seen), fork)
        };
        let cause = Cause::of_error(raised, location, seen, || ids.next());
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
            Cause::Same(id) => record.push_cause_link(slot.node, id),
            Cause::Chain(chain, seen) => {
                // A parent may refer to what is written alone.
                if record.push_chain(slot.node, chain) {
                    slot.notes().seen = Some(seen);
                }
            }
        }
    }

    /// Keeps the segment that `key` belongs to open beyond its close, until as
    /// many releases.
    pub(crate) fn hold(&self, key: Key) {
        if let Some(holds) = self.lock().holds(key.top()) {
            holds.count += 1;
        }
    }

    pub(crate) fn release(&self, key: Key) {
        let mut state = self.lock();
        let Some(holds) = state.holds(key.top()) else {
            return;
        };
        holds.count -= 1;
        if holds.count == 0
            && let Some(end) = holds.close_at_release.take()
        {
            drop(state);
            self.close(key.top(), end);
        }
    }

    /// Closes an entity; once closed nothing changes it any more.
    pub(crate) fn close(&self, key: Key, end: Option<SystemTime>) {
        let tick = self.tick(end);
        let mut state = self.lock();
        if state.is_held(key, end) {
            return;
        }
        let node = state.vacate(key, tick);
        let is_root = state.root_id == Some(key.id);
        let leaving = match node {
            Some(node) if !is_root => state.due(node, self.decision.sampled),
            _ => None,
        };
        // Before it is listed no more: a flush finds it here or there.
        let held = (is_root || leaving.is_some()).then(|| self.in_hand());
        if state.open.count() == 0
            && let Some(place) = state.place.take()
        {
            self.core.live.remove(place);
        }
        if is_root {
            state.root_id = None;
            self.close_root(state, tick, held);
        } else if let Some(leaving) = leaving {
            let piece = self.take(&mut state, leaving);
            drop(state);
            self.send(piece);
        }
    }

    /// Takes what is to leave in hand, before a flush could miss it.
    fn in_hand(&self) -> Held<'_> {
        self.core.common.in_hand.hold()
    }

    /// The root closed, though it may have been given up before.
    fn close_root(&self, mut state: MutexGuard<'_, State>, end: i64, held: Option<Held<'_>>) {
        let Some(root) = &self.root else {
            return;
        };
        let is_given_up = state.root == RootState::GivenUp;
        if !is_given_up {
            state.root = RootState::Deciding;
        }
        drop(state);
        let outcome = self.outcome(root, end);
        let sampler = &self.core.sampler;
        let ledger = &self.core.common.ledger;
        if !is_given_up {
            let kept = outcome.decision.sampled || sampler.keep(&outcome, ledger);
            let mut state = self.lock();
            match state.root {
                RootState::GivenUp => {}
                _ if kept => state.root = RootState::Sent,
                _ => state.root = RootState::Discarded,
            }
            let piece = self.take(&mut state, Leaving::Everything);
            drop(state);
            self.send(piece);
        }
        drop(held);
        sampler.closed(&outcome, ledger);
    }

    /// Sends everything that is closed, and waits for no verdict.
    pub(crate) fn hand_over_closed(&self) {
        let mut state = self.lock();
        if state.may_leave(self.decision.sampled) {
            let _held = self.in_hand();
            let piece = self.take(&mut state, Leaving::Everything);
            drop(state);
            self.send(piece);
        }
    }

    fn send(&self, piece: Option<Piece>) {
        if let Some(piece) = piece {
            self.core.emit(piece);
        }
    }

    /// What is closed, if it is to be sent.
    fn take(&self, state: &mut State, leaving: Leaving) -> Option<Piece> {
        let (record, closed) = state.take_closed(leaving);
        let ledger = &self.core.common.ledger;
        match state.root {
            RootState::Open if !self.decision.sampled => {
                state.undecided += closed;
                state.record.leave_out(record.left_out);
                return None;
            }
            RootState::Discarded => {
                let closed = closed + std::mem::take(&mut state.undecided);
                ledger.discard_unsampled(closed as u64);
                return None;
            }
            _ => {}
        }
        if state.undecided > 0 {
            let undecided = std::mem::take(&mut state.undecided);
            ledger.drop_entities(Loss::Undecided, undecided as u64);
        }
        if closed == 0 {
            return None;
        }
        // In a forked process the thread that shows the trace is missing.
        let waits = state.shown.defers(&record) && self.core.process == process::last_seen();
        let piece = Piece::new(&self.core.common, self.head(), record, closed);
        if waits {
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

    fn outcome(&self, root: &Root, end: i64) -> Outcome<'static> {
        let (class, status) = root.marks.read();
        Outcome {
            trace_id: Some(self.trace_id),
            decision: self.decision.clone(),
            class,
            status,
            elapsed: Elapsed::between(root.start, end),
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
    /// progress, and what is closed once something was shown that is not in
    /// progress any more.
    pub(crate) fn show_open(self: &Arc<Self>, before: i64) {
        let mut state = self.lock();
        if !state.is_kept(self.decision.sampled) {
            return;
        }
        if state.record.is_outdated() && state.may_leave(true) {
            let _held = self.in_hand();
            let piece = self.take(&mut state, Leaving::Everything);
            drop(state);
            self.send(piece);
            state = self.lock();
        }
        let State { record, open, .. } = &mut *state;
        let Some((mut shown, places)) = record.show_open(before) else {
            return;
        };
        for slot in open.slots() {
            if let Some(node) = places.of(slot.node) {
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
        let undecided = std::mem::take(&mut state.undecided);
        let entities = state.open.count() + state.record.closed().0 + undecided;
        // Its owner still has the root, and its sampler hears of it.
        (state.record, state.open, state.place) = Default::default();
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

/// The oldest traces, where too many are open.
fn give_up(oldest: Vec<Arc<Trace>>) {
    for trace in oldest {
        trace.give_up();
    }
}
