//! The standard library's.
//!
//! Poison is ignored: nothing foreign is called under a lock of ours, and what
//! it guards is whole at every moment it may be let go.

pub(crate) use std::sync::{MutexGuard, atomic};
pub(crate) use std::thread;

use std::sync::{OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::process;

#[derive(Debug)]
pub(crate) struct Mutex<T> {
    value: std::sync::Mutex<T>,
    /// Where it was made.
    process: u32,
    orphaned: OnceLock<Box<Self>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: std::sync::Mutex::new(value),
            process: process::last_seen(),
            orphaned: OnceLock::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lock that was held while this process was forked is never let go here:
    /// whoever comes for it finds what `make` makes instead.
    pub(crate) fn lock_or(&self, make: impl FnOnce() -> T) -> MutexGuard<'_, T> {
        match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.process == process::id() => self.lock(),
            Err(TryLockError::WouldBlock) => {
                let orphaned = self.orphaned.get_or_init(|| Box::new(Self::new(make())));
                orphaned.lock()
            }
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most for `time`; may be back sooner, as `wait` may.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> MutexGuard<'a, T> {
        let waited = self.0.wait_timeout(guard, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
