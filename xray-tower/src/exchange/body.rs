//! From the response's head until its last frame.

use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use xray_core::{AnyError, ErrorKind};

use super::Guard;

pin_project! {
    /// The body of both services' responses: the inner one, polled with the
    /// exchange's segment or subsegment current, which closes with its last
    /// frame.
    ///
    /// [`size_hint`](Body::size_hint) and [`is_end_stream`](Body::is_end_stream)
    /// are the inner body's. After its end, or an error, the inner body is
    /// dropped and nothing more comes. `K` tells kinds of errors apart and is
    /// inferred; see [`BoxedErrors`](crate::BoxedErrors).
    #[derive(Debug)]
    pub struct XRayBody<B, K = ErrorKind> {
        guard: Option<Guard>,
        kind: PhantomData<fn() -> K>,
        #[pin]
        inner: Option<B>,
    }

    impl<B, K> PinnedDrop for XRayBody<B, K> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Whatever lives in the body goes first, as part of the exchange.
            if let Some(guard) = this.guard.as_ref() {
                guard.scope(|| this.inner.set(None));
            }
        }
    }
}

impl<B, K> XRayBody<B, K> {
    /// A body of which nothing is recorded.
    pub(crate) fn untraced(inner: B) -> Self {
        Self {
            guard: None,
            kind: PhantomData,
            inner: Some(inner),
        }
    }
}

impl<B: Body, K> XRayBody<B, K> {
    /// Takes over an exchange whose head was seen.
    pub(crate) fn new(inner: B, mut guard: Guard) -> Self {
        // Nobody need ever poll a body that is at its end.
        let at_end = inner.is_end_stream();
        if at_end {
            guard.complete(None);
        }
        Self {
            guard: (!at_end).then_some(guard),
            kind: PhantomData,
            inner: Some(inner),
        }
    }
}

impl<B, K> Body for XRayBody<B, K>
where
    B: Body,
    B::Error: AnyError<K>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(guard) = this.guard.as_mut() else {
            return inner.poll_frame(cx);
        };
        let polled = guard.attempt(|| {
            let frame = inner.as_mut().poll_frame(cx);
            // A server does not poll on when it knows that nothing comes.
            let at_end = frame.is_ready() && inner.is_end_stream();
            (frame, at_end)
        });
        if let Ok((Poll::Pending, _)) = polled {
            return Poll::Pending;
        }
        if let Ok((Poll::Ready(Some(Ok(frame))), at_end)) = &polled {
            if let Some(data) = frame.data_ref() {
                guard.count(data.remaining());
            }
            if !at_end && !frame.is_trailers() {
                return polled_frame(polled);
            }
        }
        if let Ok((Poll::Ready(Some(Err(error))), _)) = &polled {
            guard.fail(error);
        }
        // What the body held is gone before anything is closed.
        guard.scope(|| this.inner.set(None));
        match &polled {
            Ok((Poll::Ready(Some(Ok(frame))), _)) => guard.complete(frame.trailers_ref()),
            Ok((Poll::Ready(None), _)) => guard.complete(None),
            _ => guard.close(),
        }
        *this.guard = None;
        polled_frame(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

type Payload = Box<dyn std::any::Any + Send>;

fn polled_frame<F>(polled: Result<(Poll<F>, bool), Payload>) -> Poll<F> {
    match polled {
        Ok((frame, _)) => frame,
        Err(payload) => resume_unwind(payload),
    }
}
