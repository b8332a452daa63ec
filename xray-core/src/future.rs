//! Futures that are traced as a whole; streams that carry the context.

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::context::{Scoped, current};
use crate::entity::{Class, Entity};
use crate::handle::Subsegment;
use crate::record::AnyError;

/// Tracing and context for any future.
///
/// ```
/// use xray_core::TraceExt;
///
/// async fn load_cart(user: &str) -> Result<u32, std::io::Error> {
///     Ok(user.len() as u32)
/// }
///
/// async fn checkout() -> Result<u32, std::io::Error> {
///     // An error is recorded as a fault, with its sources.
///     load_cart("ann").try_subsegment("load cart").await
/// }
/// ```
pub trait TraceExt: Future + Sized {
    /// Runs the future as a subsegment of what is current now. It is current
    /// itself whenever the future is polled, on any executor.
    ///
    /// A panic is recorded as a fault with its message and goes on. A future
    /// that is dropped before it is done is an error of type `Cancelled`; see
    /// [`Traced::cancel_ok`].
    #[track_caller]
    fn subsegment(self, name: &str) -> Traced<Self, Plain> {
        current().begin_subsegment(name).trace(self)
    }

    /// As [`subsegment`](Self::subsegment); an `Err` is recorded as a fault.
    #[track_caller]
    fn try_subsegment<T, E, K>(self, name: &str) -> Traced<Self, Fallible<K>>
    where
        Self: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        current().begin_subsegment(name).try_trace(self)
    }

    /// Takes along what is current now: for a future that is spawned.
    ///
    /// ```no_run
    /// # use xray_core::TraceExt;
    /// # fn spawn(_: impl Future) {}
    /// spawn(async { /* same trace */ }.in_current());
    /// ```
    fn in_current(self) -> Scoped<Self> {
        current().scope(self)
    }

    /// Leaves the current trace: what begins below has none.
    fn detached(self) -> Scoped<Self> {
        Entity::NOTHING.scope(self)
    }
}

impl<F: Future> TraceExt for F {}

/// Context for any stream.
pub trait TraceStreamExt: Stream + Sized {
    /// Takes along what is current now: for a stream that is read elsewhere,
    /// such as the body of a response.
    fn in_current(self) -> Scoped<Self> {
        current().scope(self)
    }

    /// Leaves the current trace: what begins in the stream has none.
    fn detached(self) -> Scoped<Self> {
        Entity::NOTHING.scope(self)
    }
}

impl<S: Stream> TraceStreamExt for S {}

impl Subsegment {
    /// Runs a future as this subsegment; see [`TraceExt::subsegment`].
    #[track_caller]
    pub fn trace<F: Future>(self, future: F) -> Traced<F, Plain> {
        Traced::new(self, future)
    }

    /// Runs a future as this subsegment and records its `Err` as a fault; see
    /// [`TraceExt::try_subsegment`].
    #[track_caller]
    pub fn try_trace<F, T, E, K>(self, future: F) -> Traced<F, Fallible<K>>
    where
        F: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        Traced::new(self, future)
    }
}

/// Reads nothing into a future's output.
#[derive(Debug)]
#[non_exhaustive]
pub enum Plain {}

/// Reads an `Err` of kind `K` as a fault.
#[derive(Debug)]
pub struct Fallible<K>(std::marker::PhantomData<fn() -> K>);

/// How a future's output is recorded.
pub trait Verdict<T> {
    #[doc(hidden)]
    fn record(handle: &Entity, output: &T, location: &'static Location<'static>);
}

impl<T> Verdict<T> for Plain {
    fn record(_: &Entity, _: &T, _: &'static Location<'static>) {}
}

impl<T, E: AnyError<K>, K> Verdict<Result<T, E>> for Fallible<K> {
    fn record(handle: &Entity, output: &Result<T, E>, location: &'static Location<'static>) {
        if let Err(error) = output {
            handle.record(error, Class::Fault, location);
        }
    }
}

pin_project! {
    /// A future that is a subsegment; see [`TraceExt::subsegment`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Traced<F, V> {
        handle: Option<Subsegment>,
        cancel_ok: bool,
        location: &'static Location<'static>,
        verdict: std::marker::PhantomData<fn() -> V>,
        #[pin]
        inner: Option<F>,
    }

    impl<F, V> PinnedDrop for Traced<F, V> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(handle) = this.handle.take() else {
                return;
            };
            // Whatever lives in the future goes first, as part of this.
            handle.run(|| this.inner.set(None));
            if !*this.cancel_ok && !std::thread::panicking() {
                // Gone before it is done is never a success.
                let text = "dropped before it was done";
                handle.record_exception("Cancelled", text, Class::Error);
            }
        }
    }
}

impl<F, V> Traced<F, V> {
    #[track_caller]
    fn new(handle: Subsegment, inner: F) -> Self {
        Self {
            handle: Some(handle),
            cancel_ok: false,
            location: Location::caller(),
            verdict: std::marker::PhantomData,
            inner: Some(inner),
        }
    }

    /// Being dropped before the end is no error: for the losers of a `select!`.
    pub fn cancel_ok(mut self) -> Self {
        self.cancel_ok = true;
        self
    }
}

impl<F: Future, V: Verdict<F::Output>> Future for Traced<F, V> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let (Some(handle), Some(inner)) = (this.handle.as_ref(), this.inner.as_mut().as_pin_mut())
        else {
            return Poll::Pending; // polled after its end
        };
        let polled = handle.run(|| catch_unwind(AssertUnwindSafe(|| inner.poll(cx))));
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(ref output)) => V::record(handle, output, this.location),
            Err(ref payload) => handle.record_panic(&**payload),
        }
        // What the future held is gone before its subsegment is closed.
        handle.run(|| this.inner.set(None));
        if let Some(handle) = this.handle.take() {
            handle.close();
        }
        match polled {
            Ok(polled) => polled,
            Err(payload) => resume_unwind(payload),
        }
    }
}
