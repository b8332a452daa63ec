//! Does each operation twice: to a recorder, and to the model.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xray_core::{Entity, Hold, ManualClock, Recorder, current};

use super::super::tree::{EPOCH_SECONDS, settled};
use super::comparison::{self, Exceptions};
use super::operations::{HookKind, How, Op, Settings, Via, What};
use super::outside::{Log, Outside, Script};
use super::trace::{Model, Of, Times};
use super::writing::{self, Owner};
use super::{Fork, words};

/// A recorder, all that surrounds it, and the model of it.
pub(super) struct Driver {
    pub(super) recorder: Recorder,
    clock: Arc<ManualClock>,
    outside: Outside,
    log: Log,
    pub(super) script: Script,
    pub(super) model: Model,
    exceptions: Exceptions,
    pub(super) handles: BTreeMap<usize, Handle>,
    holds: BTreeMap<usize, (Hold, Option<usize>)>,
    is_child: bool,
}

/// A handle: it owns what it stands for, shares it, or both.
pub(super) struct Handle {
    owner: Option<Owner>,
    shared: Option<Entity>,
    pub(super) of: Of,
}

impl Handle {
    pub(super) fn entity(&self) -> Option<&Entity> {
        match &self.owner {
            Some(Owner::Segment(segment)) => Some(segment),
            Some(Owner::Subsegment(subsegment)) => Some(subsegment),
            None => self.shared.as_ref(),
        }
    }
}

/// Runs all operations, and closes everything. In a forked child the rest of
/// them runs, too.
pub(super) fn run(settings: &Settings, ops: &[Op], fork: Option<Fork<'_>>) {
    let Some(mut driver) = Driver::new(settings) else {
        return; // no setting in use can be wrong
    };
    driver.go_on(ops, fork);
}

impl Driver {
    fn new(settings: &Settings) -> Option<Self> {
        let (log, script) = (Log::default(), Script::new());
        let outside = Outside::new(log.clone(), settings.document_limit, settings.defers);
        let (builder, clock) = settled(outside.clone());
        let (traces, entities) = settings.open_limits;
        let mut builder = builder
            .sampler(script.clone())
            .open_limits(traces, entities);
        if settings.hook != HookKind::Absent {
            builder = builder.hook(log.clone().hook(settings.hook));
        }
        if settings.named {
            builder = builder.origin("AWS::ECS::Container").service_version("7");
        }
        let now = Times {
            wall: (EPOCH_SECONDS * 1_000_000_000) as i64,
            tick: 0,
        };
        Some(Self {
            recorder: builder.build().ok()?,
            clock,
            outside,
            log,
            script,
            model: Model::new(settings.clone(), now),
            exceptions: Exceptions::default(),
            handles: BTreeMap::new(),
            holds: BTreeMap::new(),
            is_child: false,
        })
    }

    fn go_on(&mut self, ops: &[Op], fork: Option<Fork<'_>>) {
        for (at, op) in ops.iter().enumerate() {
            if matches!(op, Op::Fork) {
                let Some(fork) = fork.filter(|_| !self.is_child) else {
                    continue;
                };
                let ended_well = fork(&mut || {
                    self.become_child();
                    self.go_on(&ops[at + 1..], None);
                });
                assert!(ended_well, "in a forked child");
                continue;
            }
            self.apply(op);
            self.agree(matches!(op, Op::ShowOpen(_)));
        }
        self.finish();
    }

    fn become_child(&mut self) {
        self.is_child = true;
        self.outside.fork();
        drop(self.recorder.entities()); // it begins anew
        self.log.take();
        self.model.fork();
        self.agree(false);
    }

    /// Everything is let go of: nothing is left.
    fn finish(&mut self) {
        for of in self.handles.keys().copied().collect::<Vec<_>>() {
            self.close(of, How::Close);
        }
        self.agree(false);
        while let Some((hold, _)) = self.holds.last_key_value() {
            self.release(*hold);
        }
        self.agree(false);
        self.handles.clear();
        self.agree(false);
        self.flush();
        self.outside.drain(false);
        self.agree(false);
        let (entities, documents) = (self.recorder.entities(), self.recorder.documents());
        assert_eq!(entities.open, 0, "{entities:?}");
        assert_eq!(documents.queued, 0, "{documents:?}");
        assert_eq!(self.recorder.snapshot(), []);
    }

    /// A quiet step: everything says what the model says.
    fn agree(&mut self, after_look: bool) {
        for left in self.log.take() {
            comparison::absorb(&mut self.model, &mut self.exceptions, left);
        }
        let model = &mut self.model;
        model.nothing_is_late(after_look && !model.settings.defers);
        assert_eq!(self.script.heard(), model.heard, "heard by the sampler");
        model.heard.clear();
        let recorder = &self.recorder;
        let books = &model.books;
        books.agree(
            &recorder.entities(),
            &recorder.documents(),
            recorder.events(),
        );
        assert_eq!(recorder.open_entities(), model.open(None).len(), "open");
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Segment {
                to,
                caller,
                decide,
                answer,
                start,
                keeps_clone,
            } => {
                let begun = self.begin_segment(*caller, *decide, *answer, *start);
                self.keep(*to, begun, *keeps_clone);
            }
            Op::Facade(to, caller) => {
                let begun = self.begin_facade(*caller);
                self.keep(*to, begun, false);
            }
            Op::Child {
                of,
                to,
                name,
                namespace,
                start,
                keeps_clone,
            } => {
                let name = words::name(*name);
                if let Some(begun) = self.begin_child(*of, &name, *namespace, *start) {
                    self.keep(*to, begun, *keeps_clone);
                }
            }
            Op::Write(of, via, what) => self.write(*of, *via, what),
            Op::Clone(of, to) => {
                if let Some((entity, of)) = self.pick(*of) {
                    let handle = Handle {
                        owner: None,
                        shared: Some(entity),
                        of,
                    };
                    self.handles.insert(*to, handle);
                }
            }
            Op::DropClone(of) => {
                if let Some(handle) = self.handles.get_mut(of) {
                    handle.shared = None;
                }
            }
            Op::Hold(of, via, to) => {
                if let Some((entity, of)) = self.by_way(*of, *via) {
                    let held = (entity.hold(), self.model.hold(of));
                    self.holds.insert(*to, held);
                }
            }
            Op::Release(hold) => self.release(*hold),
            Op::Close(of, how) => self.close(*of, *how),
            Op::Advance(nanos) => {
                self.clock
                    .advance(Duration::from_nanos(nanos.unsigned_abs()));
                self.model.now.tick += nanos;
                self.model.now.wall += nanos;
            }
            Op::StepWall(milliseconds) => {
                self.model.now.wall = self.wall(*milliseconds);
                self.clock.set_wall(time(self.model.now.wall));
            }
            Op::Suppressed(to, caller, facade) => {
                if let Some(begun) = self.suppressed(*caller, *facade) {
                    self.keep(*to, begun, false);
                }
            }
            Op::Keep(keeps) => {
                self.script.keep(*keeps);
                self.model.keeps = *keeps;
            }
            Op::Lose(count, why) => self.outside.lose(*count, *why),
            Op::Drain { newest_first } => self.outside.drain(*newest_first),
            Op::Discard => self.outside.discard(),
            Op::Snapshot => {
                let documents = self.recorder.snapshot().into_iter();
                let documents = documents.filter_map(|one| serde_json::to_value(one).ok());
                comparison::snapshot(&self.model, &mut self.exceptions, documents.collect());
            }
            Op::ShowOpen(age) => {
                self.model.show_open(age * 1_000_000);
                let age = Duration::from_millis(age.unsigned_abs());
                self.recorder.show_open(age);
            }
            Op::Flush => self.flush(),
            Op::Shutdown => {
                self.model.flush();
                let end = self.recorder.shutdown(Duration::ZERO).wait();
                assert!(end.is_complete());
            }
            Op::Fork => {}
        }
    }

    /// The wall time so many milliseconds from now.
    pub(super) fn wall(&self, milliseconds: i64) -> i64 {
        self.model.now.wall + milliseconds * 1_000_000
    }

    fn pick(&self, of: usize) -> Option<(Entity, Of)> {
        let handle = self.handles.get(&of)?;
        Some((handle.entity()?.clone(), handle.of))
    }

    /// The entity by another way, and what it must stand for.
    fn by_way(&self, of: usize, via: Via) -> Option<(Entity, Of)> {
        let (entity, of) = self.pick(of)?;
        Some(match via {
            Via::Segment => (entity.segment(), self.model.segment(of)),
            Via::Current => (entity.run(current), of),
            Via::Handle | Via::Clone => (entity, of),
        })
    }

    fn keep(&mut self, to: usize, (owner, of): (Owner, Of), keeps_clone: bool) {
        let mut handle = Handle {
            owner: Some(owner),
            shared: None,
            of,
        };
        if keeps_clone {
            handle.shared = handle.entity().cloned();
        }
        self.handles.insert(to, handle);
    }

    fn write(&mut self, of: usize, via: Via, what: &What) {
        if let What::Precursor(before) = what {
            if let (Some((entity, of)), Some((before, _))) =
                (self.by_way(of, via), self.pick(*before))
                && let Some(id) = before.id()
            {
                entity.add_precursor(id);
                self.model.write_precursor(of, id.to_string());
            }
            return;
        }
        let owner = self.handles.get(&of);
        let owner = owner.and_then(|handle| handle.owner.as_ref());
        if let (What::Traced, owner) = (what, owner) {
            if let (Some(Owner::Subsegment(subsegment)), Some((_, of))) = (owner, self.pick(of)) {
                subsegment.set_traced();
                self.model.write(of, what);
            }
            return;
        }
        let Some((entity, target)) = self.by_way(of, via) else {
            return;
        };
        match owner.filter(|_| via == Via::Handle) {
            Some(owner) => writing::to_owner(owner, what),
            None => writing::to_entity(&entity, what),
        }
        self.model.write(target, what);
    }

    fn release(&mut self, hold: usize) {
        let Some((hold, of)) = self.holds.remove(&hold) else {
            return;
        };
        drop(hold);
        if let Some(of) = of {
            self.model.release(of);
        }
    }

    fn close(&mut self, of: usize, how: How) {
        let handle = self.handles.get_mut(&of);
        let owner = handle.and_then(|handle| Some((handle.owner.take()?, handle.of)));
        let Some((owner, of)) = owner else {
            return;
        };
        match how {
            How::Close => {
                owner.close();
                self.model.close(of, None);
            }
            How::CloseAt(milliseconds) => {
                let end = self.wall(milliseconds);
                owner.close_at(time(end));
                self.model.close(of, Some(end));
            }
            How::Drop => {
                drop(owner);
                self.model.close(of, None);
            }
            How::Unwind => {
                unwind(owner);
                self.model.unwind(of);
            }
            How::CloseUnwinding => {
                unwind(Closes(Some(owner)));
                self.model.unwind(of);
            }
        }
    }

    fn flush(&mut self) {
        self.model.flush();
        assert!(self.recorder.flush(Duration::ZERO).wait().is_complete());
        // Whatever it asked the emitter to do is noted.
        assert_eq!(self.recorder.documents().queued, 0);
    }
}

/// Drops it as a part of a panic.
fn unwind<T>(owned: T) {
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _owned = owned;
        resume_unwind(Box::new(()))
    }));
    assert!(unwound.is_err());
}

/// Closes its owner on purpose, even while a panic unwinds.
struct Closes(Option<Owner>);

impl Drop for Closes {
    fn drop(&mut self) {
        if let Some(owner) = self.0.take() {
            owner.close();
        }
    }
}

pub(super) fn time(wall: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.unsigned_abs())
}

pub(super) fn id(entity: &Entity) -> String {
    entity.id().map(|id| id.to_string()).unwrap_or_default()
}

pub(super) fn trace_id(entity: &Entity) -> String {
    let id = entity.trace_id();
    id.map(|id| id.to_string()).unwrap_or_default()
}
