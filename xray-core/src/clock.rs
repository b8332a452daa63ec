//! Time: one wall reading for a trace, monotonic distances below it.
//!
//! What a trace tells about time is read here and nowhere else.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// A source of time other than the operating system's.
///
/// Implement it to run recorded code under a clock of your own;
/// [`ManualClock`] is the one for tests.
pub trait TimeSource: Send + Sync + 'static {
    /// Wall time.
    fn wall(&self) -> SystemTime;

    /// Time since any fixed moment; must not go backwards.
    fn monotonic(&self) -> Duration;
}

/// The clock a recorder reads. The system's by default.
#[derive(Clone, Default)]
pub(crate) struct Clock(Option<Arc<dyn TimeSource>>);

impl Clock {
    pub(crate) fn new(source: Arc<dyn TimeSource>) -> Self {
        Self(Some(source))
    }

    pub(crate) fn wall(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(source) => source.wall(),
        }
    }

    /// Nanoseconds on the monotonic scale.
    pub(crate) fn tick(&self) -> i64 {
        static BASE: OnceLock<Instant> = OnceLock::new();
        let since = match &self.0 {
            None => Instant::now().saturating_duration_since(*BASE.get_or_init(Instant::now)),
            Some(source) => source.monotonic(),
        };
        nanos(since)
    }

    /// This moment, on both scales.
    pub(crate) fn now(&self) -> Anchor {
        Anchor {
            wall: since_epoch(self.wall()),
            tick: self.tick(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Clock(injected)"
        } else {
            "Clock(system)"
        })
    }
}

/// Ties one moment of the monotonic scale to wall time, so that everything
/// below a segment is measured on the monotonic scale alone: a step of the
/// wall clock moves at most one trace, and never turns a duration round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Anchor {
    /// Nanoseconds since the Unix epoch at `tick`.
    pub(crate) wall: i64,
    pub(crate) tick: i64,
}

impl Anchor {
    /// Microseconds since the Unix epoch, never negative.
    pub(crate) fn micros(self, tick: i64) -> u64 {
        let nanos = self.wall.saturating_add(tick.saturating_sub(self.tick));
        u64::try_from(nanos).unwrap_or(0) / 1_000
    }

    /// The tick of a start that was given, or its own.
    pub(crate) fn start(self, given: Option<SystemTime>) -> i64 {
        given.map_or(self.tick, |time| self.tick_of(time))
    }

    /// The place of a wall time on the monotonic scale.
    pub(crate) fn tick_of(self, wall: SystemTime) -> i64 {
        self.tick_at(since_epoch(wall))
    }

    /// The same of nanoseconds since the Unix epoch.
    pub(crate) fn tick_at(self, wall: i64) -> i64 {
        self.tick.saturating_add(wall.saturating_sub(self.wall))
    }
}

/// Nanoseconds since the Unix epoch, negative before it.
pub(crate) fn since_epoch(wall: SystemTime) -> i64 {
    match wall.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}

/// Saturates after 292 years.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A clock that moves only when told to, for tests.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use xray_core::{ManualClock, TimeSource};
///
/// let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// let before = clock.wall();
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.wall().duration_since(before).unwrap(), Duration::from_millis(5));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `wall` until it is moved.
    pub fn at(wall: SystemTime) -> Self {
        Self {
            wall: AtomicI64::new(since_epoch(wall)),
            monotonic: AtomicI64::new(0),
        }
    }

    /// Moves wall and monotonic time forward.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(nanos(by), Ordering::SeqCst);
        self.monotonic.fetch_add(nanos(by), Ordering::SeqCst);
    }

    /// Steps the wall time alone, in either direction, as NTP or an operator does.
    pub fn set_wall(&self, wall: SystemTime) {
        self.wall.store(since_epoch(wall), Ordering::SeqCst);
    }
}

impl TimeSource for ManualClock {
    fn wall(&self) -> SystemTime {
        let nanos = self.wall.load(Ordering::SeqCst);
        let distance = Duration::from_nanos(nanos.unsigned_abs());
        if nanos < 0 {
            SystemTime::UNIX_EPOCH - distance
        } else {
            SystemTime::UNIX_EPOCH + distance
        }
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic.load(Ordering::SeqCst).unsigned_abs())
    }
}
