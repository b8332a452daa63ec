//! Closures that are traced as a whole, those that return at once and those
//! that return a future.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

use crate::context::{Scoped, current};
use crate::entity::Entity;
use crate::future::{Fallible, Plain, Traced, Verdict};
use crate::handle::Subsegment;
use crate::record::AnyError;

impl Entity {
    /// Runs a closure as a subsegment, which is current meanwhile. A panic is
    /// recorded as a fault with its message and goes on.
    ///
    /// The subsegment closes when the closure returns, so a closure that returns
    /// a future is refused: see [`NotAFuture`], and
    /// [`in_subsegment_async`](Self::in_subsegment_async) for such a one.
    ///
    /// ```
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let rows = segment.in_subsegment("load", |load| {
    ///     load.annotate("table", "carts");
    ///     7
    /// });
    /// # segment.close();
    /// # assert_eq!(rows, 7);
    /// # assert_eq!(capture.documents()[0].subsegments[0].annotations["table"], "carts");
    /// ```
    pub fn in_subsegment<R, UseInSubsegmentAsync>(
        &self,
        name: &str,
        work: impl FnOnce(&Subsegment) -> R,
    ) -> R
    where
        R: NotAFuture<UseInSubsegmentAsync>,
    {
        self.begin_subsegment(name).trace_fn(work)
    }

    /// As [`in_subsegment`](Self::in_subsegment); an `Err` is recorded as a
    /// fault.
    ///
    /// # Errors
    ///
    /// Those of the closure.
    #[track_caller]
    pub fn try_in_subsegment<T, E: AnyError<K>, K>(
        &self,
        name: &str,
        work: impl FnOnce(&Subsegment) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin_subsegment(name).try_trace_fn(work)
    }

    /// Runs an async closure as a subsegment, as
    /// [`TraceExt::subsegment`](crate::TraceExt::subsegment) runs a future: it
    /// begins at the first poll, is current in every poll, and is called
    /// `Cancelled` when it is dropped before its end.
    ///
    /// The closure is called at the first poll and gets the subsegment. An empty
    /// entity yields to the one that is current then.
    ///
    /// ```
    /// # use std::task::{Context, Poll, Waker};
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// async fn rows() -> u64 {
    ///     7
    /// }
    ///
    /// let work = segment.in_subsegment_async("load", async |load| {
    ///     load.annotate("rows", rows().await);
    /// });
    /// # assert!(std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].subsegments[0].annotations["rows"], 7);
    /// ```
    #[track_caller]
    pub fn in_subsegment_async<W, F>(
        &self,
        name: &str,
        work: W,
    ) -> Traced<impl Future<Output = F::Output> + use<W, F>, Plain>
    where
        W: FnOnce(Self) -> F,
        F: Future,
    {
        Traced::named(self.clone(), name, async move { work(current()).await })
    }

    /// As [`in_subsegment_async`](Self::in_subsegment_async); an `Err` is
    /// recorded as a fault.
    #[track_caller]
    pub fn try_in_subsegment_async<W, F, T, E, K>(
        &self,
        name: &str,
        work: W,
    ) -> Traced<impl Future<Output = Result<T, E>> + use<W, F, T, E, K>, Fallible<K>>
    where
        W: FnOnce(Self) -> F,
        F: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        Traced::named(self.clone(), name, async move { work(current()).await })
    }

    /// Runs a closure with this entity current.
    ///
    /// Everything that the thread does meanwhile has it current. That includes
    /// an executor that is started in the closure: each task that it polls
    /// meanwhile is recorded here, those of other requests too. Around a future
    /// use [`scope`](Self::scope), which is current in its own polls alone:
    ///
    /// ```
    /// # fn block_on(work: impl Future) { drop(work); }
    /// # async fn work() {}
    /// # let recorder = xray_core::Recorder::capture("shop").0;
    /// # let segment = recorder.begin_segment("shop");
    /// block_on(segment.scope(work())); // not: segment.run(|| block_on(work()))
    /// ```
    ///
    /// A closure that returns a future is refused: see [`NotAFuture`], and
    /// [`run_async`](Self::run_async) for such a one.
    pub fn run<R, UseRunAsync>(&self, work: impl FnOnce() -> R) -> R
    where
        R: NotAFuture<UseRunAsync>,
    {
        let _entered = self.enter();
        work()
    }

    /// Runs an async closure with this entity current: calls it at the first
    /// poll, and is otherwise as [`scope`](Self::scope).
    ///
    /// ```
    /// # use std::task::{Context, Poll, Waker};
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let work = segment.run_async(async || xray_core::current().annotate("user", "ann"));
    /// # assert!(std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].annotations["user"], "ann");
    /// ```
    pub fn run_async<W, F>(&self, work: W) -> Scoped<impl Future<Output = F::Output> + use<W, F>>
    where
        W: FnOnce() -> F,
        F: Future,
    {
        self.scope(async move { work().await })
    }
}

impl Subsegment {
    /// Runs a closure as this subsegment; see [`Entity::in_subsegment`].
    ///
    /// ```
    /// # use xray_core::Namespace;
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let call = segment.subsegment("stock.example.com").namespace(Namespace::Remote);
    /// let left = call.begin().trace_fn(|_| 7);
    /// # assert_eq!(left, 7);
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].subsegments[0].namespace.as_deref(), Some("remote"));
    /// ```
    pub fn trace_fn<R, UseTraceFnAsync>(self, work: impl FnOnce(&Self) -> R) -> R
    where
        R: NotAFuture<UseTraceFnAsync>,
    {
        run(self, work, |_, _| ())
    }

    /// Runs a closure as this subsegment and records its `Err` as a fault; see
    /// [`Entity::try_in_subsegment`].
    ///
    /// # Errors
    ///
    /// Those of the closure.
    #[track_caller]
    pub fn try_trace_fn<T, E: AnyError<K>, K>(
        self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let location = Location::caller();
        run(self, work, |handle, result| {
            <Fallible<K> as Verdict<_>>::record(handle, result, location);
        })
    }

    /// Runs an async closure as this subsegment, which has begun already; see
    /// [`Entity::in_subsegment_async`].
    ///
    /// ```
    /// # use std::task::{Context, Poll, Waker};
    /// # use xray_core::Namespace;
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let call = segment.subsegment("stock.example.com").namespace(Namespace::Remote);
    /// let call = call.begin().trace_fn_async(async |call| call.annotate("left", 7));
    /// # assert!(std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].subsegments[0].annotations["left"], 7);
    /// ```
    #[track_caller]
    pub fn trace_fn_async<W, F>(
        self,
        work: W,
    ) -> Traced<impl Future<Output = F::Output> + use<W, F>, Plain>
    where
        W: FnOnce(Entity) -> F,
        F: Future,
    {
        let entity = Entity::clone(&self);
        self.trace(async move { work(entity).await })
    }

    /// As [`trace_fn_async`](Self::trace_fn_async); an `Err` is recorded as a
    /// fault.
    #[track_caller]
    pub fn try_trace_fn_async<W, F, T, E, K>(
        self,
        work: W,
    ) -> Traced<impl Future<Output = Result<T, E>> + use<W, F, T, E, K>, Fallible<K>>
    where
        W: FnOnce(Entity) -> F,
        F: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        let entity = Entity::clone(&self);
        self.try_trace(async move { work(entity).await })
    }
}

/// Everything but a future: what a closure may return that is over when it
/// returns.
///
/// A future does nothing before it is polled, so that a closure which returns
/// one would be measured at nothing, and what the future records would land
/// elsewhere. The compiler refuses it, and names the form that takes a future:
///
/// ```text
/// error[E0282]: type annotations needed
///   |     segment.run(|| async { load().await });
///   |             ^^^ cannot infer type for type parameter `UseRunAsync` declared on the method `run`
/// ```
///
/// ```compile_fail,E0282
/// # let recorder = xray_core::Recorder::capture("shop").0;
/// # let segment = recorder.begin_segment("shop");
/// # async fn load() {}
/// segment.run(|| async { load().await });
/// ```
///
/// Nothing has to be done for other types: `Kind` tells the implementations
/// apart, as that of [`AnyError`] does, and is always inferred. In a generic
/// function a type counts as a future where it is bound to be one, so one that
/// hands any `R` on is not refused, whatever `R` comes to be.
///
/// To *make* a future with an entity current, as for a tower service whose
/// `call` looks at it, use [`Entity::enter`]. To spawn a task, wrap the future:
/// `spawn(segment.scope(work()))`.
pub trait NotAFuture<Kind> {}

mod kinds {
    //! One marker an implementation.
    #[derive(Debug)]
    pub struct Any;
    #[derive(Debug)]
    pub struct FutureNeedsTheAsyncForm;
}

impl<T> NotAFuture<kinds::Any> for T {}

/// Makes a future one of two kinds, so that neither can be inferred.
impl<F: Future> NotAFuture<kinds::FutureNeedsTheAsyncForm> for F {}

/// Runs a closure as `handle`, which is current meanwhile.
fn run<R>(
    handle: Subsegment,
    work: impl FnOnce(&Subsegment) -> R,
    record: impl FnOnce(&Entity, &R),
) -> R {
    let result: Result<R, Box<dyn Any + Send>> =
        handle.run(|| catch_unwind(AssertUnwindSafe(|| work(&handle))));
    match &result {
        Ok(output) => record(&handle, output),
        Err(payload) => handle.record_panic(&**payload),
    }
    handle.finish();
    result.unwrap_or_else(|payload| resume_unwind(payload))
}
