//! A call: subsegment → headers → inner service.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;
use xray_core::{AnyError, Entity, ErrorKind, HttpRequest, Namespace, current};

use super::destinations::tell;
use super::layer::Options;
use crate::exchange::{Guard, Owner, Side, XRayBody, XRayFuture};
use crate::untraced::Untraced;
use crate::url::{Target, url};
use crate::wrap;

/// Name of a call that does not say where it goes, as in other X-Ray SDKs.
const UNKNOWN_HOST: &str = "Unknown host";

/// The service of [`XRayClientLayer`](crate::XRayClientLayer), where it is
/// documented.
pub struct XRayClient<S, K = (ErrorKind, ErrorKind)> {
    pub(super) inner: S,
    options: Arc<Options>,
    kinds: PhantomData<fn() -> K>,
}

wrap::service!(XRayClient);

impl<S, K> XRayClient<S, K> {
    pub(super) fn begin(&self, around: &Entity, request: &mut Parts) -> Guard {
        let target = Target::of(&request.uri, &request.headers);
        let target = target.or_else(|| Target::parse(self.options.host.as_deref()?));
        let name = target.map_or(UNKNOWN_HOST, |target| target.host);
        let subsegment = around.subsegment(name).namespace(Namespace::Remote).begin();
        if subsegment.is_recorded() {
            let url = url(&request.uri, target.as_ref());
            subsegment.http_request(&HttpRequest::new(request.method.as_str(), &url));
            if self.options.traced {
                subsegment.set_traced();
            }
            self.options.on_request.run(request, &subsegment);
        }
        let allowed = self.options.destinations.allows(target.as_ref());
        tell(&subsegment.header(), allowed, &mut request.headers);
        let callbacks = self.options.callbacks.clone();
        let owner = Owner::Subsegment(subsegment);
        Guard::new(owner, Side::Client, &request.method, callbacks)
    }
}

impl<S, B, R, EK, BK> Service<Request<B>> for XRayClient<S, (EK, BK)>
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
        let around = current();
        if around.is_nothing() || Untraced::marks(request.extensions()) {
            return XRayFuture::untraced(self.inner.call(request));
        }
        let (mut parts, body) = request.into_parts();
        let guard = self.begin(&around, &mut parts);
        let request = Request::from_parts(parts, body);
        XRayFuture::traced(guard, || self.inner.call(request))
    }
}
