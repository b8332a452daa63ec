//! So many a second, exactly.

use std::fmt;
use std::time::SystemTime;

use crate::clock::since_epoch;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Lets so many through in each second of the wall clock, however many threads
/// ask.
///
/// A question from a second that is already over is refused: whoever read the
/// clock just before it turned, or was stopped for long, may not open a second
/// again. A clock set back by more than [`SET_BACK`] seconds is followed once it
/// moves on there: when a question of a later second follows, and none of now
/// has come between. So the second it shows first counts as used up, and
/// stepping back costs at most [`SET_BACK`] seconds and one more.
pub(super) struct Reservoir {
    target: u64,
    /// The latest second seen, and how many of it are used, in the low bits.
    state: AtomicU64,
    /// The second of the first question from long ago since one of now, or 0.
    behind: AtomicU64,
}

impl Reservoir {
    pub(super) fn new(target: u32) -> Self {
        Self {
            // A quarter of a billion: nobody asks more often in a second.
            target: u64::from(target).min(USED_MASK),
            state: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        }
    }

    /// True if this one is among the second's target.
    pub(super) fn take(&self, now: SystemTime) -> bool {
        if self.target == 0 {
            return false;
        }
        let second = second(now);
        // Second and count share a word, and nothing else depends on it.
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (latest, used) = (state >> USED_BITS, state & USED_MASK);
            if second >= latest && self.behind.load(Ordering::Relaxed) != 0 {
                self.behind.store(0, Ordering::Relaxed);
            }
            let next = if second > latest || second < latest && self.is_set_back(second, latest) {
                second << USED_BITS | 1
            } else if second == latest && used < self.target {
                state + 1
            } else {
                return false;
            };
            let exchanged =
                self.state
                    .compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return true,
                Err(found) => state = found,
            }
        }
    }

    /// Whether the clock moves on in a past from which a question came before.
    #[cold]
    fn is_set_back(&self, second: u64, latest: u64) -> bool {
        let behind = self.behind.load(Ordering::Relaxed);
        let is_long_ago = second + SET_BACK < latest;
        if behind == 0 && is_long_ago {
            self.behind.store(second, Ordering::Relaxed);
        }
        behind != 0 && second > behind && (is_long_ago || second == behind + 1)
    }
}

impl fmt::Debug for Reservoir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservoir({} a second)", self.target)
    }
}

/// Seconds since some 544 years before the Unix epoch: positive for every time that
/// [`since_epoch`] tells, and never the 0 that a new reservoir holds.
fn second(now: SystemTime) -> u64 {
    let seconds = since_epoch(now).div_euclid(1_000_000_000);
    seconds.saturating_add(1 << 34).unsigned_abs()
}

/// Seconds by which a question may be late.
const SET_BACK: u64 = 5;

/// Leaves 36 bits to the seconds.
const USED_BITS: u32 = 28;
const USED_MASK: u64 = (1 << USED_BITS) - 1;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    const NOON: u64 = 1_700_000_000;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn taken(reservoir: &Reservoir, now: SystemTime, asked: usize) -> usize {
        (0..asked).filter(|_| reservoir.take(now)).count()
    }

    /// T-80. Time moves with the questions, so that threads are late at every
    /// edge of a second, by up to two seconds.
    #[test]
    fn exactly_the_target_in_each_of_a_thousand_seconds_with_16_threads() {
        const THREADS: usize = 16;
        const TARGET: u32 = 10;
        const ROUNDS: usize = 334;
        const SECONDS: usize = 3;
        // 15 threads may be late: the other 49 questions are enough.
        const ASKED: usize = 64;

        let reservoir = Reservoir::new(TARGET);
        let taken: Vec<AtomicUsize> = (0..ROUNDS * SECONDS).map(|_| 0.into()).collect();
        let asked: Vec<AtomicUsize> = (0..ROUNDS).map(|_| 0.into()).collect();
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for (round, asked) in asked.iter().enumerate() {
                        barrier.wait();
                        loop {
                            let question = asked.fetch_add(1, Ordering::Relaxed);
                            if question >= SECONDS * ASKED {
                                break;
                            }
                            let second = round * SECONDS + question / ASKED;
                            if reservoir.take(at(NOON + second as u64)) {
                                taken[second].fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let taken: Vec<usize> = taken.into_iter().map(AtomicUsize::into_inner).collect();
        assert_eq!(taken, [TARGET as usize; ROUNDS * SECONDS]);
    }

    #[test]
    fn the_second_is_the_wall_clocks() {
        let reservoir = Reservoir::new(2);
        let just_before = at(NOON + 1) - Duration::from_nanos(1);
        assert_eq!(taken(&reservoir, at(NOON), 1), 1);
        assert_eq!(taken(&reservoir, just_before, 5), 1);
        assert_eq!(taken(&reservoir, at(NOON + 1), 5), 2);
        // What a second leaves over is gone.
        assert_eq!(taken(&reservoir, at(NOON + 100), 5), 2);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(taken(&Reservoir::new(0), at(NOON), 5), 0);
    }

    #[test]
    fn the_largest_target_is_held() {
        let reservoir = Reservoir::new(u32::MAX);
        assert_eq!(taken(&reservoir, at(NOON), 1_000), 1_000);
        reservoir.state.fetch_or(USED_MASK, Ordering::Relaxed);
        assert_eq!(taken(&reservoir, at(NOON), 5), 0);
        assert_eq!(taken(&reservoir, at(NOON + 1), 5), 5);
    }

    #[test]
    fn late_by_a_little_gets_nothing_and_opens_nothing() {
        let reservoir = Reservoir::new(3);
        assert_eq!(taken(&reservoir, at(NOON), 2), 2);
        for late in 1..=SET_BACK {
            assert_eq!(taken(&reservoir, at(NOON - late), 5), 0, "{late}");
        }
        assert_eq!(taken(&reservoir, at(NOON), 5), 1);
    }

    /// Stopped between the clock and the reservoir: that is no clock set back.
    #[test]
    fn a_question_asked_long_ago_opens_no_second_again() {
        let reservoir = Reservoir::new(1);
        assert_eq!(taken(&reservoir, at(NOON), 2), 1);
        for late in [10, 9, 3_600, 3_599] {
            assert_eq!(taken(&reservoir, at(NOON - late), 5), 0, "{late}");
            assert_eq!(taken(&reservoir, at(NOON), 5), 0, "{late}");
        }
        // One that is a little late comes in between.
        assert_eq!(taken(&reservoir, at(NOON - 10), 1), 0);
        assert_eq!(taken(&reservoir, at(NOON - 2), 1), 0);
        assert_eq!(taken(&reservoir, at(NOON), 5), 0);
        assert_eq!(taken(&reservoir, at(NOON + 1), 5), 1);
    }

    #[test]
    fn a_clock_set_back_costs_a_second_and_gives_nothing_away() {
        let reservoir = Reservoir::new(3);
        let mut now = NOON;
        for back in [SET_BACK + 1, 3_600, 86_400 * 365] {
            assert_eq!(taken(&reservoir, at(now), 5), 3, "{back}");
            now -= back;
            assert_eq!(taken(&reservoir, at(now), 5), 0, "{back}");
            now += 1;
            assert_eq!(taken(&reservoir, at(now), 5), 3, "{back}");
            now += 1;
        }
    }

    #[test]
    fn a_clock_set_back_a_little_costs_no_more_than_that() {
        let reservoir = Reservoir::new(3);
        assert_eq!(taken(&reservoir, at(NOON), 5), 3);
        let mut total = 0;
        for second in NOON - SET_BACK..NOON + 5 {
            total += taken(&reservoir, at(second), 5);
        }
        assert_eq!(total, 4 * 3);
    }

    #[test]
    fn every_time_has_its_second() {
        let epoch = SystemTime::UNIX_EPOCH;
        let ages = [
            epoch - Duration::from_secs(300 * 31_557_600),
            epoch - Duration::from_nanos(1),
            epoch,
            epoch + Duration::from_secs(1 << 32),
            epoch + Duration::from_secs(300 * 31_557_600),
        ];
        assert!(
            ages.map(second)
                .is_sorted_by(|before, after| before < after)
        );
        for now in ages {
            let reservoir = Reservoir::new(2);
            assert_eq!(taken(&reservoir, now, 5), 2, "{now:?}");
        }
    }
}

#[cfg(all(test, loom))]
mod loom {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::sync::{model, spawn};

    /// Each thread crosses the edge from one second to the next in its own time.
    #[test]
    fn no_second_gives_more_than_its_target_and_the_last_gives_all() {
        const NOON: SystemTime = SystemTime::UNIX_EPOCH;
        model(|| {
            let reservoir = Arc::new(Reservoir::new(2));
            let crossing = |reservoir: Arc<Reservoir>| {
                [0, 1].map(|second| reservoir.take(NOON + Duration::from_secs(second)))
            };
            let others = [(); 2].map(|()| {
                let reservoir = reservoir.clone();
                spawn(move || crossing(reservoir))
            });
            let mut taken = crossing(reservoir).map(u32::from);
            for other in others {
                for (all, one) in taken.iter_mut().zip(other.join().unwrap()) {
                    *all += u32::from(one);
                }
            }
            assert!((1..=2).contains(&taken[0]), "{taken:?}");
            assert_eq!(taken[1], 2);
        });
    }

    /// A clock that one thread sees set back gives no second away twice.
    #[test]
    fn a_clock_set_back_between_threads_gives_nothing_away() {
        model(|| {
            let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
            let back = noon - Duration::from_secs(SET_BACK + 1);
            let reservoir = Arc::new(Reservoir::new(1));
            let of_other = reservoir.clone();
            let other = spawn(move || of_other.take(back) && of_other.take(back));
            let taken = [noon, noon].map(|now| reservoir.take(now));
            // Both of one second: only the one that came after a step back and
            // forth may be given again.
            assert!(!other.join().unwrap());
            assert!(taken[0]);
        });
    }
}
