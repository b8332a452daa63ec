//! Closures that are traced as a whole.

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

use crate::entity::Entity;
use crate::future::{Fallible, Verdict};
use crate::handle::Subsegment;
use crate::record::AnyError;

impl Entity {
    /// Runs a closure as a subsegment, which is current meanwhile. A panic is
    /// recorded as a fault with its message and goes on.
    pub fn in_subsegment<R>(&self, name: &str, work: impl FnOnce(&Subsegment) -> R) -> R {
        self.begin_subsegment(name).trace_fn(work)
    }

    /// As [`in_subsegment`](Self::in_subsegment); an `Err` is recorded as a
    /// fault.
    ///
    /// # Errors
    ///
    /// Whatever the closure returns.
    #[track_caller]
    pub fn try_in_subsegment<T, E: AnyError<K>, K>(
        &self,
        name: &str,
        work: impl FnOnce(&Subsegment) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin_subsegment(name).try_trace_fn(work)
    }

    /// Runs a closure with this entity current.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        work()
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
    pub fn trace_fn<R>(self, work: impl FnOnce(&Self) -> R) -> R {
        run(self, work, |_, _| ())
    }

    /// Runs a closure as this subsegment and records its `Err` as a fault; see
    /// [`Entity::try_in_subsegment`].
    ///
    /// # Errors
    ///
    /// Whatever the closure returns.
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
}

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
    handle.close();
    result.unwrap_or_else(|payload| resume_unwind(payload))
}
