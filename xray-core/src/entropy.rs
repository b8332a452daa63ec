//! Random bits for ids and sampling, seeded by the operating system.
//!
//! Each thread owns a ChaCha generator. It is seeded anew when the process id
//! differs from the one it was seeded under (a fork), and after
//! [`reseed`] (a restore from a snapshot). The only place that asks for
//! randomness.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};

use crate::process;

/// A source of random bits other than the operating system's, for tests.
pub trait RandomSource: Send + Sync + 'static {
    /// The next 64 bits.
    fn next(&self) -> u64;
}

/// Makes every thread draw fresh entropy from the operating system before its
/// next id. Call it after the process was restored from a snapshot (Lambda
/// SnapStart, a resumed micro-VM): clones of one snapshot would otherwise go on
/// with the same ids. A fork is noticed without it.
pub fn reseed() {
    SEEDING.fetch_add(1, Ordering::Relaxed);
}

static SEEDING: AtomicU32 = AtomicU32::new(0);

/// Where a recorder's random bits come from.
#[derive(Clone, Default)]
pub(crate) struct Entropy(Option<Arc<dyn RandomSource>>);

impl Entropy {
    pub(crate) fn new(source: Arc<dyn RandomSource>) -> Self {
        Self(Some(source))
    }

    /// Random words, without looking at the process id: for what is recorded
    /// there is [`unique`](Self::unique), and elsewhere a twin in a forked child
    /// does no harm.
    #[inline]
    pub(crate) fn draw<const N: usize>(&self) -> [u64; N] {
        self.draw_as(None)
    }

    /// Random words that no forked twin will draw again.
    pub(crate) fn draw_unique<const N: usize>(&self) -> [u64; N] {
        self.draw_as(Some(process::id()))
    }

    /// The words just drawn, or others if a twin of this process may have drawn
    /// the same.
    pub(crate) fn unique<const N: usize>(&self, drawn: [u64; N]) -> [u64; N] {
        let process = process::id();
        let is_ours = || LOCAL.try_with(|local| local.borrow().process == process);
        if self.0.is_some() || is_ours().unwrap_or(true) {
            return drawn;
        }
        self.draw_as(Some(process))
    }

    #[inline]
    fn draw_as<const N: usize>(&self, process: Option<u32>) -> [u64; N] {
        if let Some(source) = &self.0 {
            return std::array::from_fn(|_| source.next());
        }
        LOCAL
            .try_with(|local| local.borrow_mut().draw(process))
            // The thread is ending and its generator is gone.
            .unwrap_or_else(|_| std::array::from_fn(|_| system_word()))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Entropy(injected)"
        } else {
            "Entropy(system)"
        })
    }
}

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local { generator: None, seeding: 0, process: 0 }) };
}

struct Local {
    generator: Option<StdRng>,
    seeding: u32,
    process: u32,
}

impl Local {
    fn draw<const N: usize>(&mut self, process: Option<u32>) -> [u64; N] {
        let seeding = SEEDING.load(Ordering::Relaxed);
        if seeding != self.seeding || process.is_some_and(|process| process != self.process) {
            self.generator = None;
        }
        let generator = self.generator.get_or_insert_with(|| {
            self.seeding = seeding;
            self.process = process.unwrap_or_else(process::id);
            StdRng::from_seed(std::array::from_fn(|_| system_word() as u8))
        });
        std::array::from_fn(|_| generator.next_u64())
    }
}

/// 64 bits from the operating system. Where it refuses (no entropy device in a
/// sandbox), the keys of the standard library's hash maps stand in.
fn system_word() -> u64 {
    SysRng.try_next_u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::time::Instant::now())
    })
}

/// The child ids of one trace: a sequence from the root's seed, so that a
/// child costs no further look at the operating system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdSequence(pub(crate) u64);

impl IdSequence {
    /// SplitMix64 (Steele, Lea, Flood 2014): every 64-bit value once per period.
    pub(crate) fn next(&mut self) -> crate::SegmentId {
        loop {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if let Some(id) = crate::SegmentId::new(bits ^ (bits >> 31)) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn threads_draw_different_words() {
        let words: HashSet<u64> = (0..8)
            .map(|_| std::thread::spawn(|| Entropy::default().draw_unique::<64>()))
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(words.len(), 8 * 64);
    }

    /// Two clones of a snapshot hold the same generator; after `reseed` they part.
    #[test]
    fn a_restored_generator_parts_from_its_twin() {
        let twin = || Local {
            generator: Some(StdRng::from_seed([7; 32])),
            seeding: SEEDING.load(Ordering::Relaxed),
            process: process::id(),
        };
        let (mut left, mut right) = (twin(), twin());
        assert_eq!(left.draw::<2>(None), right.draw::<2>(None));
        reseed();
        assert_ne!(left.draw::<2>(None), right.draw::<2>(None));
    }

    #[test]
    fn a_forked_generator_parts_from_its_twin() {
        let mut child = Local {
            generator: Some(StdRng::from_seed([7; 32])),
            seeding: SEEDING.load(Ordering::Relaxed),
            process: process::id() + 1,
        };
        let parents: [u64; 2] = std::array::from_fn({
            let mut generator = StdRng::from_seed([7; 32]);
            move |_| generator.next_u64()
        });
        assert_ne!(child.draw::<2>(Some(process::id())), parents);
    }
}
