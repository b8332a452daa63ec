//! How fast datagrams may follow each other.

use std::time::{Duration, Instant};

/// How fast documents are sent.
///
/// A receiver that is alive but busy loses what does not fit into its socket's
/// buffer, and nobody is told. The default buffer of Linux, 208 KiB, holds
/// three documents of 64 kB or about a hundred of 1 kB; so large traces are
/// spread over time. Defaults to 4 MiB a second, counted as the kernel counts,
/// in bursts of 64 KiB: some 1,500 usual segments a second, and a receiver may
/// be away for 40 ms. While the queue is more than half full it is eight times
/// that, as what comes next would be lost for certain. Over loopback, on Linux,
/// the small documents of a burst leave with one call.
///
/// Raise it for a receiver with a larger buffer. The X-Ray service itself takes
/// 2,600 segments a second and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(Option<Limits>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    bytes_per_second: u64,
    burst: u64,
}

impl Pace {
    /// At most so many bytes a second once a burst was sent. Zero counts as
    /// one. A document larger than the burst waits until all of it is paid.
    ///
    /// ```
    /// use xray_core::{Pace, Recorder};
    ///
    /// let pace = Pace::new(1 << 20, 64 << 10);
    /// let builder = Recorder::builder("shop").pace(pace);
    /// # drop(builder);
    /// assert_eq!(Pace::new(0, 10), Pace::new(1, 10));
    /// ```
    pub const fn new(bytes_per_second: u64, burst: u64) -> Self {
        let bytes_per_second = if bytes_per_second == 0 {
            1
        } else {
            bytes_per_second
        };
        Self(Some(Limits {
            bytes_per_second,
            burst,
        }))
    }

    /// As fast as the operating system takes it.
    pub const fn unlimited() -> Self {
        Self(None)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(4 << 20, 64 << 10)
    }
}

/// How many times as fast while the queue is more than half full.
const HURRY: f64 = 8.0;

/// A bucket that fills with time and is emptied by datagrams.
#[derive(Debug)]
pub(super) struct Bucket {
    pace: Pace,
    level: f64,
    filled: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            level: 0.0,
            filled: None,
        }
    }

    /// What may be sent at once, and waited for at once.
    pub(super) fn burst(&self) -> usize {
        let burst = self
            .pace
            .0
            .map(|limits| limits.burst.min(limits.bytes_per_second));
        burst.map_or(usize::MAX, |burst| burst.try_into().unwrap_or(usize::MAX))
    }

    /// Takes so many [`kernel_bytes`] out, and tells how long what takes them is to
    /// wait; see [`left`](Self::left).
    pub(super) fn take(&mut self, bytes: usize, hurry: bool, now: Instant) -> Duration {
        self.fill(hurry, now);
        self.level -= bytes as f64;
        self.left(hurry, now)
    }

    /// How long to wait before what was taken out last may follow, or before
    /// asking again: at most a second, as the pace may change meanwhile.
    pub(super) fn left(&mut self, hurry: bool, now: Instant) -> Duration {
        let rate = self.fill(hurry, now);
        if self.pace.0.is_none() || self.level >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.level / rate).min(1.0))
    }

    /// Adds what has come in since, and tells how much that is a second.
    fn fill(&mut self, hurry: bool, now: Instant) -> f64 {
        let Some(limits) = self.pace.0 else {
            return f64::INFINITY;
        };
        let rate = limits.bytes_per_second as f64 * if hurry { HURRY } else { 1.0 };
        let passed = self.filled.map_or(f64::MAX, |filled| {
            now.saturating_duration_since(filled).as_secs_f64()
        });
        self.filled = Some(now);
        self.level = (self.level + passed * rate).min(limits.burst as f64);
        rate
    }
}

/// What `count` datagrams that are sent at once, each of `bytes`, take of the
/// receiver's buffer, bookkeeping included, as found by filling one on Linux.
pub(super) fn kernel_bytes(bytes: usize, count: usize) -> usize {
    let each = match bytes {
        _ if count > 1 => 896 + bytes / 32,
        ..=2_000 => 1_280,
        _ => 4_096,
    };
    (bytes + each) * count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::new(Pace::new(1_000_000, 64 << 10));
        let now = Instant::now();
        assert_eq!(bucket.take(50_000, false, now), Duration::ZERO);
        let wait = bucket.take(50_000, false, now);
        let expected = (2.0 * 50_000.0 - 65_536.0) / 1e6;
        assert!((wait.as_secs_f64() - expected).abs() < 1e-9, "{wait:?}");
        let later = now + Duration::from_secs(1);
        assert_eq!(bucket.take(50_000, false, later), Duration::ZERO);
    }

    /// Sends documents of so many bytes as fast as the bucket lets them, and tells
    /// how many seconds that took.
    fn seconds(pace: Pace, bytes: usize, documents: usize) -> f64 {
        let mut bucket = Bucket::new(pace);
        let begun = Instant::now();
        let mut now = begun;
        for _ in 0..documents {
            let mut pause = bucket.take(bytes, false, now);
            while !pause.is_zero() {
                assert!(pause <= Duration::from_secs(1), "{pause:?}");
                now += pause;
                pause = bucket.left(false, now);
            }
        }
        now.duration_since(begun).as_secs_f64()
    }

    /// What took more than a second to pay used to be forgiven.
    #[test]
    fn a_pace_holds_in_the_long_run() {
        for (rate, burst, bytes, documents) in [
            (100, 100, 1_540, 4),
            (1_000, 64 << 10, 60_000, 20),
            (1, 0, 70, 3),
            (1 << 20, 1 << 16, 1_300, 10_000),
        ] {
            let took = seconds(Pace::new(rate, burst), bytes, documents);
            let expected = ((bytes * documents) as f64 - burst as f64) / rate as f64;
            assert!((took - expected).abs() < 1e-3, "{took} for {expected}");
        }
    }

    #[test]
    fn unlimited_never_waits() {
        let mut bucket = Bucket::new(Pace::unlimited());
        let now = Instant::now();
        assert!((0..1_000).all(|_| bucket.take(65_000, false, now) == Duration::ZERO));
    }
}
