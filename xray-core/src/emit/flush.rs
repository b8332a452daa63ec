//! Waiting for what is under way, on a thread or in a task.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

/// The end of a flush or shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushed {
    /// Finished pieces that were still waiting when the time was over.
    pub remaining: u64,
}

impl Flushed {
    /// A flush that left this many pieces behind.
    pub fn leaving(remaining: u64) -> Self {
        Self { remaining }
    }

    /// Whether nothing was left waiting.
    pub fn is_complete(self) -> bool {
        self.remaining == 0
    }
}

/// A flush or shutdown under way: await it on any executor, or
/// [`wait`](Self::wait) for it. Either is back when its time is over, whatever
/// the daemon, the network or the runtime does.
#[must_use = "await it, or call `wait`"]
pub struct Flush(State);

enum State {
    Done(Flushed),
    Unpolled(Box<dyn FnOnce() -> Flushed + Send>),
    Waiting(Arc<(Mutex<Answer>, Condvar)>),
}

#[derive(Debug, Default)]
struct Answer {
    flushed: Option<Flushed>,
    waker: Option<Waker>,
}

impl Flush {
    /// Nothing to wait for.
    pub fn done() -> Self {
        Self(State::Done(Flushed::leaving(0)))
    }

    /// Waits by calling `wait`, which has to respect the time it was given.
    pub fn by(wait: impl FnOnce() -> Flushed + Send + 'static) -> Self {
        Self(State::Unpolled(Box::new(wait)))
    }

    /// Blocks the calling thread. In asynchronous code await it instead.
    pub fn wait(self) -> Flushed {
        match self.0 {
            State::Done(flushed) => flushed,
            State::Unpolled(wait) => wait(),
            State::Waiting(answer) => {
                let mut state = lock(&answer.0);
                loop {
                    if let Some(flushed) = state.flushed {
                        return flushed;
                    }
                    let woken = answer.1.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Future for Flush {
    type Output = Flushed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Flushed> {
        if let State::Unpolled(_) = self.0 {
            let answer = Arc::<(Mutex<Answer>, Condvar)>::default();
            let waiting = State::Waiting(answer.clone());
            if let State::Unpolled(wait) = std::mem::replace(&mut self.0, waiting) {
                // A thread of its own: no runtime's timer is needed, and none
                // can starve it.
                let waiter = thread::Builder::new().name("xray-flush".to_owned());
                let spawned = waiter.spawn(move || {
                    // Whoever awaits is answered even then.
                    let flushed = catch_unwind(AssertUnwindSafe(wait));
                    let flushed = flushed.unwrap_or(Flushed::leaving(1));
                    let mut state = lock(&answer.0);
                    state.flushed = Some(flushed);
                    let waker = state.waker.take();
                    drop(state);
                    answer.1.notify_all();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                });
                if spawned.is_err() {
                    self.0 = State::Done(Flushed::leaving(1));
                }
            }
        }
        match &self.0 {
            State::Done(flushed) => Poll::Ready(*flushed),
            State::Unpolled(_) => Poll::Pending, // never: replaced above
            State::Waiting(answer) => {
                let mut answer = lock(&answer.0);
                match answer.flushed {
                    Some(flushed) => Poll::Ready(flushed),
                    None => {
                        answer.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flush")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_wait_that_panics_is_no_complete_flush() {
        let mut flush = Flush::by(|| panic!("no tea"));
        let mut context = Context::from_waker(Waker::noop());
        let begun = Instant::now();
        let flushed = loop {
            if let Poll::Ready(flushed) = Pin::new(&mut flush).poll(&mut context) {
                break flushed;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody answers");
            thread::yield_now();
        };
        assert!(!flushed.is_complete());
    }
}
