//! loom's. A model has no time of its own: a short wait may be over at any
//! moment, a long one never ends by itself.

pub(crate) use loom::sync::atomic;
pub(crate) use loom::thread;

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

/// Waits from here on are long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Tries every order of events in which at most three times a thread is
/// interrupted where it could have gone on. `LOOM_MAX_PREEMPTIONS` overrules.
#[cfg(test)]
pub(crate) fn model(events: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    let events = std::sync::Arc::new(events);
    builder.check(move || {
        let events = events.clone();
        spawn(move || events()).join().unwrap();
    });
}

/// A thread of a model, with more room than loom's own: our counters alone take
/// more.
#[cfg(test)]
pub(crate) fn spawn<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let words = 1 << 16;
    let thread = thread::Builder::new().stack_size(words);
    thread.spawn(run).unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

/// Knows its lock, so that a wait can let go of it.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
    guard: loom::sync::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { of: self, guard }
    }

    /// A model does not fork.
    pub(crate) fn lock_or(&self, _: impl FnOnce() -> T) -> MutexGuard<'_, T> {
        self.lock()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { of, guard } = guard;
        let guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { of, guard }
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> MutexGuard<'a, T> {
        if time >= LONG {
            return self.wait(guard);
        }
        let of = guard.of;
        drop(guard);
        of.lock()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
