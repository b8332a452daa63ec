//! Futures that are traced as a whole; streams that carry the context.

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::context::{Scoped, current, detached_entity};
use crate::entity::{Class, Entity, Inner};
use crate::handle::Subsegment;
use crate::limits;
use crate::record::{AnyError, floor_char_boundary};

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
    /// Runs the future as a subsegment, which is current whenever the future is
    /// polled, on any executor.
    ///
    /// It begins at the first poll, below the entity that is current where this
    /// is called; where none is, below the one that is current at that poll, so
    /// that a [`scope`](Entity::scope) reaches the future it is given. A future
    /// that is never polled leaves no trace. First polled inside
    /// [`suppressed`](crate::suppressed), it is not recorded.
    ///
    /// A panic is recorded as a fault with its message and goes on. A future
    /// that is dropped between its first poll and its end is an error of type
    /// `Cancelled`; see [`Traced::cancel_ok`].
    ///
    /// ```
    /// # use std::task::{Context, Waker};
    /// # use xray_core::TraceExt;
    /// # async fn load(_: &str) {}
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// let work = segment.scope(async {
    ///     let cart = load("cart").subsegment("load cart"); // waits
    ///     load("user").subsegment("load user").await;
    ///     cart.await; // and begins here
    /// });
    /// # assert!(std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// # segment.close();
    /// # let begun = &capture.documents()[0].subsegments;
    /// # assert_eq!(begun.len(), 2);
    /// # assert_eq!([&begun[0].name, &begun[1].name], ["load user", "load cart"]);
    /// ```
    #[track_caller]
    fn subsegment(self, name: &str) -> Traced<Self, Plain> {
        Traced::named(current(), name, self)
    }

    /// As [`subsegment`](Self::subsegment); an `Err` is recorded as a fault.
    #[track_caller]
    fn try_subsegment<T, E, K>(self, name: &str) -> Traced<Self, Fallible<K>>
    where
        Self: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        Traced::named(current(), name, self)
    }

    /// Takes along what is current now: for a future that is spawned.
    ///
    /// Call it outside of what is spawned: inside the new task nothing is
    /// current, so `spawn(async { work().in_current().await })` takes along
    /// nothing, and what begins there is counted by
    /// [`context_missing`](crate::context_missing).
    ///
    /// ```
    /// # use std::task::{Context, Waker};
    /// # use xray_core::{TraceExt, current};
    /// # fn spawn(work: impl Future) {
    /// #     drop(std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())));
    /// # }
    /// # async fn work() { current().annotate("found", true) }
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// # let entered = segment.enter();
    /// let work = work().in_current();
    /// # drop(entered);
    /// spawn(work);
    /// # segment.close();
    /// # assert_eq!(capture.documents()[0].annotations["found"], true);
    /// ```
    fn in_current(self) -> Scoped<Self> {
        current().scope(self)
    }

    /// Leaves the current trace, on purpose: what begins below has none, and is
    /// not counted as missing it. Calls carry no header. A server layer begins a
    /// trace of its own there. Inside [`suppressed`](crate::suppressed) nothing
    /// is recorded all the same.
    fn detached(self) -> Scoped<Self> {
        detached_entity().scope(self)
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

    /// Leaves the current trace; see [`TraceExt::detached`].
    fn detached(self) -> Scoped<Self> {
        detached_entity().scope(self)
    }
}

impl<S: Stream> TraceStreamExt for S {}

impl Subsegment {
    /// Runs a future as this subsegment, which has begun already; see
    /// [`TraceExt::subsegment`].
    #[track_caller]
    pub fn trace<F: Future>(self, future: F) -> Traced<F, Plain> {
        Traced::new(Stage::Begun(self), future)
    }

    /// As [`trace`](Self::trace); an `Err` is recorded as a fault.
    #[track_caller]
    pub fn try_trace<F, T, E, K>(self, future: F) -> Traced<F, Fallible<K>>
    where
        F: Future<Output = Result<T, E>>,
        E: AnyError<K>,
    {
        Traced::new(Stage::Begun(self), future)
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
        stage: Stage,
        cancel_ok: bool,
        location: &'static Location<'static>,
        verdict: std::marker::PhantomData<fn() -> V>,
        #[pin]
        inner: Option<F>,
    }

    impl<F, V> PinnedDrop for Traced<F, V> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Stage::Begun(handle) = this.stage.end() else {
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
    /// Begins at the first poll, below `written`: what was current at the call.
    #[track_caller]
    pub(crate) fn named(written: Entity, name: &str, inner: F) -> Self {
        let name = Name::kept(&written, name);
        Self::new(Stage::Named(written, name), inner)
    }

    #[track_caller]
    fn new(stage: Stage, inner: F) -> Self {
        Self {
            stage,
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
        let (Some(handle), Some(inner)) = (this.stage.begun(), this.inner.as_mut().as_pin_mut())
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
        if let Stage::Begun(handle) = this.stage.end() {
            handle.finish();
        }
        match polled {
            Ok(polled) => polled,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// How far a traced future has come.
#[derive(Debug)]
enum Stage {
    /// It was never polled: where it was written, and its name.
    Named(Entity, Name),
    Begun(Subsegment),
    Ended,
}

impl Stage {
    fn end(&mut self) -> Self {
        std::mem::replace(self, Self::Ended)
    }

    /// The subsegment, which the first poll begins.
    fn begun(&mut self) -> Option<&Subsegment> {
        if let Self::Named(written, name) = self {
            let around = current();
            let parent = match written.yields_to(&around) {
                true => &around,
                false => &*written,
            };
            *self = Self::Begun(parent.begin_subsegment(name.as_str()));
        }
        match self {
            Self::Begun(handle) => Some(handle),
            _ => None,
        }
    }
}

/// A name until the first poll: a short one inline, so that unsampled work
/// allocates nothing.
#[derive(Debug)]
enum Name {
    Short([u8; Self::SHORT], usize),
    Long(Box<str>),
}

impl Name {
    const SHORT: usize = 40;
    /// No more is recorded; one character more tells that it was cut.
    const LONG: usize = limits::NAME_BYTES + 4;

    /// Below an entity that records nothing no name is needed.
    fn kept(below: &Entity, name: &str) -> Self {
        let name = match below.0 {
            Inner::Unsampled(_) => "",
            _ => &name[..floor_char_boundary(name, Self::LONG)],
        };
        let mut short = [0; Self::SHORT];
        match short.get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name.as_bytes());
                Self::Short(short, name.len())
            }
            None => Self::Long(name.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short(bytes, len) => std::str::from_utf8(&bytes[..*len]).unwrap_or_default(),
            Self::Long(name) => name,
        }
    }
}
