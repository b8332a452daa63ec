//! A call: headers → decision → segment → inner service.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;
use xray_core::{AnyError, ErrorKind, Sampled, current};

use super::layer::Options;
use super::request::{Facts, asked_target, record, trace_header};
use crate::exchange::{Guard, Owner, Side, XRayBody, XRayFuture};
use crate::wrap;

/// The service of [`XRayLayer`](crate::XRayLayer), where it is documented.
pub struct XRay<S, K = (ErrorKind, ErrorKind)> {
    inner: S,
    options: Arc<Options>,
    kinds: PhantomData<fn() -> K>,
}

wrap::service!(XRay);

impl<S, K> XRay<S, K> {
    /// Work below it is silent.
    fn skip(&self, request: &Parts) -> Guard {
        let around = current();
        let header = if around.is_nothing() {
            trace_header(request)
        } else {
            around.header()
        };
        let entity = self.options.recorder.suppress(&header);
        let side = Side::Server {
            decision_requested: false,
        };
        let callbacks = self.options.callbacks.clone();
        Guard::new(Owner::Skipped(entity), side, &request.method, callbacks)
    }

    fn begin(&self, request: &Parts) -> Guard {
        let recorder = &self.options.recorder;
        let header = trace_header(request);
        let target = asked_target(request);
        let from_host = target.and_then(|target| self.options.host_names.name(&target));
        let name = from_host.as_deref().unwrap_or(recorder.name());
        let around = current();
        let owner = if around.is_nothing() {
            let facts = Facts(request);
            let segment = recorder.segment(name);
            Owner::Segment(segment.header(&header).request(&facts).begin())
        } else {
            Owner::Subsegment(around.begin_subsegment(name))
        };
        if owner.is_recorded() {
            record(&owner, request);
            self.options.on_request.run(request, &owner);
        }
        let side = Side::Server {
            decision_requested: header.sampled() == Sampled::Requested,
        };
        let callbacks = self.options.callbacks.clone();
        Guard::new(owner, side, &request.method, callbacks)
    }
}

impl<S, B, R, EK, BK> Service<Request<B>> for XRay<S, (EK, BK)>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: AnyError<EK>,
    R: Body,
    R::Error: AnyError<BK>,
{
    type Response = Response<XRayBody<R, BK>>;
    type Error = S::Error;
    type Future = XRayFuture<S::Future, (EK, BK)>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let guard = if self.options.is_skipped(&parts) {
            self.skip(&parts)
        } else {
            self.begin(&parts)
        };
        let request = Request::from_parts(parts, body);
        XRayFuture::traced(guard, || self.inner.call(request))
    }
}
