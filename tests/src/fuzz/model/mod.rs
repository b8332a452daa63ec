//! A slow, obviously right model of a recorder: of its traces, both ledgers and
//! the story its sampler is told. Any operations, done to both, have the same
//! documents, the same counts and the same outcomes at every quiet step.
//!
//! The model keeps all it ever knew in plain vectors and maps. Where the core
//! is free to choose, such as how a trace is split into documents and how soon
//! a finished part leaves a trace that grows, so is the model.

// operations, and what their numbers stand for
mod operations;
mod reading;
mod words;

// the model
mod begin;
mod entity;
mod leave;
mod ledger;
mod members;
mod trace;
mod write;

// the recorder and its surroundings, and both held against each other
mod beginning;
mod comparison;
mod driver;
mod outside;
mod writing;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::operations::{Op, Settings};
use super::bytes::Bytes;
use crate::Random;

/// Any sequence of operations over any handles: after each the recorder says
/// what a slow model says.
pub fn slow_model(data: &[u8]) {
    let (settings, ops) = reading::read(&mut Bytes::new(data));
    driver::run(&settings, &ops, None);
}

/// Runs its argument in a forked process; whether that ended well.
pub type Fork<'a> = &'a dyn Fn(&mut dyn FnMut()) -> bool;

/// A sequence of operations that a seed stands for.
#[derive(Debug, Clone)]
pub struct Sequence {
    settings: Settings,
    ops: Vec<Op>,
}

/// The settings, and an operation a line.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        self.ops.iter().try_for_each(|op| writeln!(f, "{op:?}"))
    }
}

impl Sequence {
    /// 200 operations, the same for each seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let bytes: Vec<u8> = (0..4_096).map(|_| random.below(256) as u8).collect();
        let (settings, ops) = reading::read(&mut Bytes::new(&bytes));
        Self { settings, ops }
    }

    /// Whether model and recorder agree; forks where it is told how.
    pub fn holds(&self, fork: Option<Fork<'_>>) -> bool {
        let run = || driver::run(&self.settings, &self.ops, fork);
        catch_unwind(AssertUnwindSafe(run)).is_ok()
    }

    /// A failure with fewer operations and usual settings: left out is all that
    /// it does not take.
    #[must_use]
    pub fn shrunk(mut self, fork: Option<Fork<'_>>) -> Self {
        for settings in self.settings.simpler() {
            let ops = self.ops.clone();
            let simpler = Self { settings, ops };
            if !simpler.holds(fork) {
                self = simpler;
                break;
            }
        }
        let mut step = self.ops.len().div_ceil(2);
        while step > 0 {
            let mut at = 0;
            while at < self.ops.len() {
                let mut shorter = self.clone();
                let end = self.ops.len().min(at + step);
                shorter.ops.drain(at..end);
                if shorter.holds(fork) {
                    at += step;
                } else {
                    self = shorter;
                }
            }
            step /= 2;
        }
        self
    }
}
