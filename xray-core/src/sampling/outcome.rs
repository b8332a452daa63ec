//! How a root ended, recorded or not.

use std::time::Duration;

use super::Decision;
use crate::TraceId;
use crate::clock::Clock;
use crate::entity::Class;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How a root ended, as told to its sampler.
///
/// It says the same of a root that is recorded and of one that is not: what was
/// set on the segment, through its handle, a clone, [`current`](crate::current)
/// or [`Entity::segment`](crate::Entity::segment), up to the moment it closed.
/// A subsegment that fails changes nothing here.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// The trace. None where no caller began one and the SDK is switched off, or
    /// the segment began below [`suppressed`](crate::suppressed).
    pub trace_id: Option<TraceId>,
    /// The decision it ran under.
    pub decision: Decision,
    /// Whether it failed, and whose fault it was: the gravest of what was
    /// [raised](crate::Entity::raise) or recorded since the last
    /// [`mark`](crate::Entity::mark), and of that.
    pub class: Class,
    /// HTTP status of the last response that was recorded.
    pub status: Option<u16>,
    pub(crate) elapsed: Elapsed<'a>,
}

/// The time a root took.
#[derive(Debug)]
pub(crate) enum Elapsed<'a> {
    Known(Duration),
    /// Since a tick of the clock, which is read when somebody asks.
    Since(i64, &'a Clock),
}

impl Elapsed<'_> {
    /// From one tick to another; none where that came before.
    pub(crate) fn between(start: i64, end: i64) -> Self {
        Self::Known(distance(start, end))
    }
}

impl Outcome<'_> {
    /// From begin to close, by the monotonic clock but for a start or an end
    /// that was given. A segment that is held ends when its last hold goes, or
    /// as of the end that was given.
    pub fn duration(&self) -> Duration {
        match self.elapsed {
            Elapsed::Known(duration) => duration,
            Elapsed::Since(start, clock) => distance(start, clock.tick()),
        }
    }
}

fn distance(start: i64, end: i64) -> Duration {
    Duration::from_nanos(u64::try_from(end.saturating_sub(start)).unwrap_or(0))
}

/// Class and status of a root while it is open, for its outcome. Set from any
/// thread.
#[derive(Debug, Default)]
pub(crate) struct Marks(AtomicU32);

impl Marks {
    /// In place of what was set before.
    pub(crate) fn mark(&self, class: Class) {
        self.change(|marks| marks & !CLASS | code(class));
    }

    /// Unless a graver one is set.
    pub(crate) fn raise(&self, class: Class) {
        self.change(|marks| marks & !CLASS | (marks & CLASS).max(code(class)));
    }

    pub(crate) fn respond(&self, status: u16) {
        self.change(|marks| marks & CLASS | HAS_STATUS | u32::from(status));
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        let change = |marks| Some(change(marks));
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// What is set now.
    pub(crate) fn read(&self) -> (Class, Option<u16>) {
        let marks = self.0.load(Ordering::Relaxed);
        let class = match marks >> CLASS.trailing_zeros() {
            0 => Class::Ok,
            1 => Class::Error,
            2 => Class::Throttle,
            _ => Class::Fault,
        };
        (class, (marks & HAS_STATUS != 0).then_some(marks as u16))
    }
}

/// A class by its gravity, above the 16 bits of the status.
fn code(class: Class) -> u32 {
    (class as u32) << CLASS.trailing_zeros()
}

const HAS_STATUS: u32 = 1 << 16;
const CLASS: u32 = 0b11 << 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_lowers_nothing_and_a_mark_replaces() {
        let marks = Marks::default();
        assert_eq!(marks.read(), (Class::Ok, None));
        for (raised, class) in [
            (Class::Error, Class::Error),
            (Class::Fault, Class::Fault),
            (Class::Throttle, Class::Fault),
            (Class::Ok, Class::Fault),
        ] {
            marks.raise(raised);
            assert_eq!(marks.read().0, class);
        }
        marks.respond(503);
        marks.mark(Class::Throttle);
        marks.raise(Class::Error);
        assert_eq!(marks.read(), (Class::Throttle, Some(503)));
        marks.respond(0);
        marks.mark(Class::Ok);
        assert_eq!(marks.read(), (Class::Ok, Some(0)));
        marks.respond(u16::MAX);
        assert_eq!(marks.read(), (Class::Ok, Some(u16::MAX)));
    }
}

#[cfg(all(test, loom))]
mod loom {
    use std::sync::Arc;

    use super::*;
    use crate::sync::{model, spawn};

    #[test]
    fn of_two_raises_the_graver_holds() {
        model(|| {
            let marks = Arc::new(Marks::default());
            let others = [Class::Error, Class::Fault].map(|class| {
                let marks = marks.clone();
                spawn(move || marks.raise(class))
            });
            marks.respond(500);
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(marks.read(), (Class::Fault, Some(500)));
        });
    }
}
