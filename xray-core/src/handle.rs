//! Handles own a segment or subsegment and close it, once, when told to or when
//! dropped. What is recorded goes through the [`Entity`] they lead to.

use std::fmt;
use std::ops::Deref;
use std::time::SystemTime;

use crate::context;
use crate::entity::{Entity, Inner};
use crate::record::Flags;

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
            Inner::Unsampled(unsampled) => Inner::Unsampled(unsampled.begin()),
            Inner::Refused(trace, above, reason) => {
                trace.refuse(*reason);
                Inner::Refused(trace.clone(), *above, *reason)
            }
            Inner::Recorded(trace, key) => match trace.begin(*key, self.name, self.start) {
                Ok(child) => {
                    if let Some(namespace) = self.namespace {
                        trace.flag(child, namespace.flag(), Flags::NONE);
                    }
                    Inner::Recorded(trace.clone(), child)
                }
                Err(reason) => Inner::Refused(trace.clone(), *key, reason),
            },
        };
        Subsegment(Entity(inner))
    }
}

/// Owns a subsegment: some work below a segment. Closed when told to, or when
/// dropped; while its thread unwinds, either is a fault.
///
/// Not current by itself: see [`Entity::enter`] and [`Entity::scope`].
/// Everything that can be recorded stands on [`Entity`].
#[must_use = "a subsegment that is dropped at once measures nothing"]
pub struct Subsegment(Entity);

impl Subsegment {
    /// Closes it now.
    pub fn close(self) {
        drop(self);
    }

    /// Closes it as of `end`; not before its start.
    pub fn close_at(self, end: SystemTime) {
        self.disown().close(Some(end));
    }

    /// Closes it now, for those who know how its work ended.
    pub(crate) fn finish(self) {
        self.disown().finish(None);
    }

    /// The entity, which is not closed by the drop then.
    fn disown(mut self) -> Entity {
        std::mem::replace(&mut self.0, Entity::NOTHING)
    }

    /// States that the downstream service is itself traced, so that X-Ray
    /// waits for its segment instead of inferring one.
    pub fn set_traced(&self) {
        self.recorded(|trace, key| trace.flag(key, Flags::TRACED, Flags::NONE));
    }
}

/// Owns a segment: this service's part of a trace. Closed when told to, or when
/// dropped; while its thread unwinds, either is a fault.
///
/// Not current by itself: see [`Entity::enter`] and [`Entity::scope`].
/// Everything that can be recorded stands on [`Entity`], and does the same
/// through a clone of that: it leads to this segment and to its sampler. It keeps
/// nothing open, as [`Entity::hold`] does.
///
/// ```
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// use xray_core::{Class, Entity};
///
/// let segment = recorder.begin_segment("shop");
/// let shared = Entity::clone(&segment);
/// std::thread::spawn(move || shared.raise(Class::Fault)).join().unwrap();
/// segment.close();
/// # assert!(capture.documents()[0].fault);
/// ```
#[must_use = "a segment that is dropped at once measures nothing"]
pub struct Segment(Entity);

impl Segment {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Entity(inner))
    }

    /// Closes it now. Children still open are sent on their own when they
    /// close.
    pub fn close(self) {
        drop(self);
    }

    /// Closes it as of `end`; not before its start. Where it is
    /// [held](Entity::hold) it closes when the last hold goes, as of `end` all
    /// the same.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// let began = SystemTime::now() - Duration::from_secs(30);
    /// let segment = recorder.segment("import").start_at(began).begin();
    /// segment.close_at(began + Duration::from_secs(10));
    /// # let document = &capture.documents()[0];
    /// # let lasted = document.end_time.unwrap() - document.start_time.unwrap();
    /// # assert!((lasted - 10.0).abs() < 0.001, "{lasted}");
    /// ```
    pub fn close_at(mut self, end: SystemTime) {
        let entity = std::mem::replace(&mut self.0, Entity::NOTHING);
        entity.close(Some(end));
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.0.close(None);
    }
}

impl Drop for Subsegment {
    fn drop(&mut self) {
        self.0.close(None);
    }
}

impl Deref for Segment {
    type Target = Entity;

    #[inline]
    fn deref(&self) -> &Entity {
        &self.0
    }
}

impl Deref for Subsegment {
    type Target = Entity;

    #[inline]
    fn deref(&self) -> &Entity {
        &self.0
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Segment").field(&self.0).finish()
    }
}

impl fmt::Debug for Subsegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subsegment").field(&self.0).finish()
    }
}
