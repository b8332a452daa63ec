//! Waiting for what is under way, on a thread or in a task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::room::Guest;
use crate::guard::guarded;
use crate::sync::{Condvar, Mutex, thread};

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

    fn and(self, other: Self) -> Self {
        Self::leaving(self.remaining + other.remaining)
    }

    /// Whether nothing was left waiting.
    pub fn is_complete(self) -> bool {
        self.remaining == 0
    }
}

/// A flush or shutdown under way: await it on any executor, or
/// [`wait`](Self::wait) for it. Either is back when its time is over, whatever
/// the daemon, the network or the runtime does. One that is dropped leaves
/// nothing behind. Where a hook waits for a flush on the very thread that would
/// have to send, it is back at once, with what remains.
///
/// ```
/// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
/// recorder.begin_segment("shop").close();
/// let flushed = recorder.flush(std::time::Duration::from_secs(1)).wait();
/// assert!(flushed.is_complete());
/// ```
#[must_use = "await it, or call `wait`"]
pub struct Flush(State);

enum State {
    Done(Flushed),
    Ours(Guest),
    /// One, then what is begun when that is over.
    Then(Box<Flush>, Option<Box<dyn FnOnce() -> Flush + Send>>),
    /// Behind one that left so many.
    After(u64, Box<Flush>),
    Unpolled(Box<dyn FnOnce() -> Flushed + Send>),
    Waiting(Arc<Answer>),
}

/// What the thread that waits will say, and who is to hear it.
#[derive(Debug, Default)]
struct Answer {
    state: Mutex<(Option<Flushed>, Option<Waker>)>,
    given: Condvar,
}

impl Flush {
    /// Nothing to wait for.
    pub fn done() -> Self {
        Self(State::Done(Flushed::leaving(0)))
    }

    /// Waits by calling `wait`, which has to respect the time it was given:
    /// where this is awaited, on a thread of its own that lasts until `wait` is
    /// back, even if the flush is dropped before.
    ///
    /// ```
    /// use xray_core::{Flush, Flushed};
    ///
    /// let flush = Flush::by(|| Flushed::leaving(2));
    /// assert_eq!(flush.wait().remaining, 2);
    /// ```
    pub fn by(wait: impl FnOnce() -> Flushed + Send + 'static) -> Self {
        Self(State::Unpolled(Box::new(wait)))
    }

    /// Waits in the room where it is told what was done.
    pub(super) fn of(guest: Guest) -> Self {
        Self(State::Ours(guest))
    }

    /// This one, then the one that `next` begins.
    pub(crate) fn then(self, next: impl FnOnce() -> Self + Send + 'static) -> Self {
        Self(State::Then(Box::new(self), Some(Box::new(next))))
    }

    /// Blocks the calling thread. In asynchronous code await it instead.
    pub fn wait(self) -> Flushed {
        match self.0 {
            State::Done(flushed) => flushed,
            State::Ours(guest) => guest.wait(),
            State::Then(first, next) => {
                let first = first.wait();
                first.and(next.map_or(Flushed::leaving(0), |next| next().wait()))
            }
            State::After(left, flush) => Flushed::leaving(left).and(flush.wait()),
            State::Unpolled(wait) => wait(),
            State::Waiting(answer) => answer.wait(),
        }
    }
}

/// A year where the clock cannot count as far as asked.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    now + timeout.min(year)
}

impl Future for Flush {
    type Output = Flushed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Flushed> {
        if let State::Then(first, next) = &mut self.0
            && let Poll::Ready(first) = Pin::new(&mut **first).poll(cx)
        {
            let next = next.take().map_or_else(Self::done, |next| next());
            self.0 = State::After(first.remaining, Box::new(next));
        }
        if let State::Unpolled(_) = self.0 {
            let answer = Arc::<Answer>::default();
            let waiting = State::Waiting(answer.clone());
            if let State::Unpolled(wait) = std::mem::replace(&mut self.0, waiting) {
                // A thread of its own: no runtime's timer is needed, and none
                // can starve it.
                let waiter = thread::Builder::new().name("xray-flush".to_owned());
                let spawned = waiter.spawn(move || {
                    // Whoever awaits is answered even if it panics.
                    answer.give(guarded(wait).unwrap_or(Flushed::leaving(1)));
                });
                if spawned.is_err() {
                    self.0 = State::Done(Flushed::leaving(1));
                }
            }
        }
        match &mut self.0 {
            State::Done(flushed) => Poll::Ready(*flushed),
            State::Ours(guest) => guest.poll(cx.waker()),
            State::Then(..) => Poll::Pending, // it is not over: else replaced above
            State::After(left, flush) => {
                let left = Flushed::leaving(*left);
                Pin::new(&mut **flush).poll(cx).map(|then| left.and(then))
            }
            State::Unpolled(_) => Poll::Pending, // never: replaced above
            State::Waiting(answer) => answer.poll(cx.waker()),
        }
    }
}

/// A waker is foreign code: it is cloned, dropped and woken outside the lock.
impl Answer {
    fn give(&self, flushed: Flushed) {
        let mut state = self.state.lock();
        state.0 = Some(flushed);
        let waker = state.1.take();
        drop(state);
        self.given.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Flushed> {
        let waker = waker.clone();
        let mut state = self.state.lock();
        if let Some(flushed) = state.0 {
            drop(state);
            return Poll::Ready(flushed);
        }
        let before = state.1.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    fn wait(&self) -> Flushed {
        let mut state = self.state.lock();
        loop {
            if let Some(flushed) = state.0 {
                return flushed;
            }
            state = self.given.wait(state);
        }
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flush")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;
    use std::time::{Duration, Instant};

    use super::*;

    /// Lets the answer come when it is dropped, and waits until it was told.
    struct Dropped(Sender<()>, std::sync::Mutex<Receiver<()>>, Sender<bool>);

    impl Wake for Dropped {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
            let told = self.1.lock().unwrap();
            let in_time = told.recv_timeout(Duration::from_secs(10)).is_ok();
            let _ = self.2.send(in_time);
        }
    }

    /// Tells that it was woken.
    struct Woken(Sender<()>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    /// A waker that was replaced used to be dropped under the lock that the
    /// answer takes.
    #[test]
    fn a_waker_may_wait_for_the_answer_while_it_is_dropped() {
        let (let_go, go) = channel();
        let (tell, told) = channel();
        let (judge, judged) = channel();
        let mut flush = Flush::by(move || {
            let _ = go.recv();
            Flushed::leaving(0)
        });
        let first = Arc::new(Dropped(let_go, std::sync::Mutex::new(told), judge));
        let first = Waker::from(first);
        let poll = |flush: &mut Flush, waker: &Waker| {
            Pin::new(flush).poll(&mut Context::from_waker(waker))
        };
        assert_eq!(poll(&mut flush, &first), Poll::Pending);
        drop(first);
        // The flush held the last of it.
        let second = Waker::from(Arc::new(Woken(tell)));
        assert_eq!(poll(&mut flush, &second), Poll::Pending);
        assert_eq!(judged.recv(), Ok(true), "the answer waited for the drop");
        assert_eq!(poll(&mut flush, &second), Poll::Ready(Flushed::leaving(0)));
    }

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

#[cfg(all(test, loom))]
mod loom {
    use super::*;
    use crate::sync::{atomic, model};

    /// Answers once the counter was raised.
    fn answers(counter: &Arc<atomic::AtomicUsize>) -> Flush {
        let counter = counter.clone();
        Flush::by(move || {
            counter.fetch_add(1, atomic::Ordering::Release);
            Flushed::leaving(7)
        })
    }

    #[test]
    fn whoever_awaits_is_woken_when_the_answer_is_there() {
        model(|| {
            let counter = Arc::default();
            let flushed = ::loom::future::block_on(answers(&counter));
            assert_eq!(flushed, Flushed::leaving(7));
            assert_eq!(counter.load(atomic::Ordering::Acquire), 1);
        });
    }

    #[test]
    fn a_flush_that_was_polled_can_be_waited_for() {
        model(|| {
            let counter = Arc::default();
            let mut flush = answers(&counter);
            let mut context = Context::from_waker(Waker::noop());
            let flushed = match Pin::new(&mut flush).poll(&mut context) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => flush.wait(),
            };
            assert_eq!(flushed, Flushed::leaving(7));
            assert_eq!(counter.load(atomic::Ordering::Acquire), 1);
        });
    }
}
