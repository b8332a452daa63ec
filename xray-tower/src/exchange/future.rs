//! Until the response's head is there.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use xray_core::{AnyError, ErrorKind};

use super::{Guard, XRayBody};

pin_project! {
    /// The future of both services: polls the inner one with the exchange's
    /// segment or subsegment current, and hands that on to the response's body.
    ///
    /// Dropped before it is done, it is an error of type `Cancelled`. `K` tells
    /// kinds of errors apart and is inferred; see
    /// [`BoxedErrors`](crate::BoxedErrors).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct XRayFuture<F, K = (ErrorKind, ErrorKind)> {
        guard: Option<Guard>,
        kinds: PhantomData<fn() -> K>,
        #[pin]
        inner: Option<F>,
    }

    impl<F, K> PinnedDrop for XRayFuture<F, K> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Whatever lives in the future goes first, as part of the exchange.
            if let Some(guard) = this.guard.as_ref() {
                guard.scope(|| this.inner.set(None));
            }
        }
    }
}

impl<F, K> XRayFuture<F, K> {
    /// Makes a call of the inner service, with the exchange's segment or
    /// subsegment current.
    pub(crate) fn traced(mut guard: Guard, call: impl FnOnce() -> F) -> Self {
        match guard.attempt(call) {
            Ok(inner) => Self::new(inner, Some(guard)),
            Err(payload) => {
                guard.close();
                resume_unwind(payload)
            }
        }
    }

    /// A call of which nothing is recorded.
    pub(crate) fn untraced(inner: F) -> Self {
        Self::new(inner, None)
    }

    fn new(inner: F, guard: Option<Guard>) -> Self {
        Self {
            guard,
            kinds: PhantomData,
            inner: Some(inner),
        }
    }
}

impl<F, B, E, EK, BK> Future for XRayFuture<F, (EK, BK)>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: AnyError<EK>,
    B: Body,
    B::Error: AnyError<BK>,
{
    type Output = Result<Response<XRayBody<B, BK>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Pending; // polled after its end
        };
        let Some(guard) = this.guard.as_ref() else {
            let result = std::task::ready!(inner.poll(cx));
            return Poll::Ready(result.map(|response| response.map(XRayBody::untraced)));
        };
        let polled = guard.attempt(|| inner.poll(cx));
        if let Ok(Poll::Pending) = polled {
            return Poll::Pending;
        }
        if let Ok(Poll::Ready(Err(error))) = &polled {
            guard.fail(error);
        }
        // What the future held is gone before anything is closed.
        guard.scope(|| this.inner.set(None));
        let Some(mut guard) = this.guard.take() else {
            return Poll::Pending; // never: it was there a moment ago
        };
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => {
                let (mut parts, body) = response.into_parts();
                guard.head(&mut parts, &body);
                let body = XRayBody::new(body, guard);
                Poll::Ready(Ok(Response::from_parts(parts, body)))
            }
            Ok(Poll::Ready(Err(error))) => {
                guard.close();
                Poll::Ready(Err(error))
            }
            Err(payload) => {
                guard.close();
                resume_unwind(payload)
            }
        }
    }
}
