//! Handles own a segment or subsegment and close it, once, when told to or when
//! dropped. What is recorded goes through the [`Entity`] they lead to.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::clock::Clock;
use crate::context;
use crate::entity::{Class, Entity, Inner, Unsampled};
use crate::http::HttpResponse;
use crate::record::Flags;
use crate::record::Key;
use crate::record::trace::Trace;
use crate::sampling::{Decision, Elapsed, Outcome};

/// What the name of a subsegment stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// A call of an AWS service.
    Aws,
    /// Any other call that leaves the process; the name is the host.
    Remote,
}

impl Namespace {
    const fn flag(self) -> Flags {
        match self {
            Self::Aws => Flags::AWS,
            Self::Remote => Flags::REMOTE,
        }
    }
}

/// A subsegment about to begin.
#[derive(Debug)]
#[must_use = "nothing begins before `begin`"]
pub struct SubsegmentBuilder<'a> {
    parent: &'a Entity,
    name: &'a str,
    start: Option<SystemTime>,
    namespace: Option<Namespace>,
}

impl<'a> SubsegmentBuilder<'a> {
    pub(crate) fn new(parent: &'a Entity, name: &'a str) -> Self {
        Self {
            parent,
            name,
            start: None,
            namespace: None,
        }
    }

    /// The time it began, for what is reported after the fact. Now by default.
    pub fn start_at(mut self, start: SystemTime) -> Self {
        self.start = Some(start);
        self
    }

    /// What the name stands for; work of this process by default.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Begins it.
    pub fn begin(self) -> Subsegment {
        let inner = match &self.parent.0 {
            Inner::Nothing => {
                context::missing(self.name);
                Inner::Nothing
            }
            Inner::Detached => Inner::Detached,
            Inner::Unsampled(unsampled) => {
                if let Some(core) = &unsampled.core {
                    core.common.ledger.begin_unsampled();
                }
                Inner::Unsampled(unsampled.clone())
            }
            Inner::Recorded(trace, key) => {
                match trace.begin(*key, self.name, self.start) {
                    Some(child) => {
                        if let Some(namespace) = self.namespace {
                            trace.flag(child, namespace.flag(), Flags::NONE);
                        }
                        Inner::Recorded(trace.clone(), child)
                    }
                    // Not recorded, but what it calls still finds its parent.
                    None => Inner::Unsampled(Unsampled {
                        core: Some(trace.core.clone()),
                        header: self.parent.header(),
                        suppressed: false,
                    }),
                }
            }
        };
        Subsegment(Entity(inner))
    }
}

/// Owns a subsegment: some work below a segment. Closed when told to, or when
/// dropped; dropped while unwinding it is a fault.
///
/// Not current by itself: see [`Entity::enter`] and [`Entity::scope`].
/// Everything that can be recorded stands on [`Entity`].
#[must_use = "a subsegment that is dropped at once measures nothing"]
pub struct Subsegment(Entity);

impl Subsegment {
    /// Closes it now.
    pub fn close(self) {
        self.0.close(None);
    }

    /// Closes it as of `end`; not before its start.
    pub fn close_at(self, end: SystemTime) {
        self.0.close(Some(end));
    }

    /// States that the downstream service is itself traced, so that X-Ray
    /// waits for its segment instead of inferring one.
    pub fn set_traced(&self) {
        self.recorded(|trace, key| trace.flag(key, Flags::TRACED, Flags::NONE));
    }
}

/// Owns a segment: this service's part of a trace. Closed when told to, or when
/// dropped; dropped while unwinding it is a fault.
///
/// Not current by itself: see [`Entity::enter`] and [`Entity::scope`].
/// Everything that can be recorded stands on [`Entity`].
#[must_use = "a segment that is dropped at once measures nothing"]
pub struct Segment {
    entity: Entity,
    unsampled: Option<UnsampledRoot>,
}

/// What is known of a root that is not recorded, for its sampler.
pub(crate) struct UnsampledRoot {
    decision: Decision,
    /// Wall time: one look at the clock serves the trace id as well.
    start: SystemTime,
    /// Status and class, as a response may set them from another thread.
    marks: AtomicU32,
}

impl UnsampledRoot {
    pub(crate) fn new(decision: Decision, start: SystemTime) -> Self {
        Self {
            decision,
            start,
            marks: AtomicU32::new(0),
        }
    }

    fn mark(&self, clear: u32, set: u32) {
        let change = |marks| Some((marks & !clear) | set);
        let _ = self
            .marks
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    fn outcome<'a>(&self, of: &Unsampled, clock: &'a Clock) -> Outcome<'a> {
        let marks = self.marks.load(Ordering::Relaxed);
        let status = marks as u16;
        Outcome {
            trace_id: of.header.root(),
            decision: self.decision.clone(),
            class: match marks >> 16 {
                1 => Class::Error,
                2 => Class::Throttle,
                3 => Class::Fault,
                _ => Class::Ok,
            },
            status: (status != 0).then_some(status),
            elapsed: Elapsed::Since(self.start, clock),
        }
    }
}

impl Segment {
    pub(crate) fn recorded(trace: Arc<Trace>, key: Key) -> Self {
        Self {
            entity: Entity(Inner::Recorded(trace, key)),
            unsampled: None,
        }
    }

    pub(crate) fn unsampled(entity: Unsampled, root: UnsampledRoot) -> Self {
        Self {
            entity: Entity(Inner::Unsampled(entity)),
            unsampled: Some(root),
        }
    }

    /// Closes it now. Children still open are sent on their own when they
    /// close.
    pub fn close(self) {
        self.entity.close(None);
    }

    /// Closes it as of `end`; not before its start.
    pub fn close_at(self, end: SystemTime) {
        self.entity.close(Some(end));
    }

    /// As [`Entity::mark`]; an unsampled segment keeps it for its sampler.
    pub fn mark(&self, class: Class) {
        if let Some(root) = &self.unsampled {
            root.mark(0xffff_0000, (class as u32) << 16);
        }
        self.entity.mark(class);
    }

    /// As [`Entity::raise`]; an unsampled segment keeps the gravest for its
    /// sampler.
    pub fn raise(&self, class: Class) {
        if let Some(root) = &self.unsampled
            && root.marks.load(Ordering::Relaxed) >> 16 < class as u32
        {
            root.mark(0xffff_0000, (class as u32) << 16);
        }
        self.entity.raise(class);
    }

    /// As [`Entity::http_response`]; an unsampled segment keeps the status for
    /// its sampler.
    pub fn http_response(&self, response: HttpResponse) {
        if let Some(root) = &self.unsampled {
            root.mark(0xffff, u32::from(response.status()));
        }
        self.entity.http_response(response);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let (Some(root), Inner::Unsampled(of)) = (&self.unsampled, &self.entity.0) {
            if std::thread::panicking() {
                self.mark(Class::Fault);
            }
            if let Some(core) = &of.core {
                let outcome = root.outcome(of, &core.clock);
                core.sampler.closed(&outcome, &core.common.ledger);
            }
        } else {
            self.entity.close_dropped();
        }
    }
}

impl Drop for Subsegment {
    fn drop(&mut self) {
        self.0.close_dropped();
    }
}

impl Deref for Segment {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

impl Deref for Subsegment {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.0
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Segment").field(&self.entity).finish()
    }
}

impl fmt::Debug for Subsegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subsegment").field(&self.0).finish()
    }
}
