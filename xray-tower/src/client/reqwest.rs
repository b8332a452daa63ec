//! The same for reqwest, whose requests and responses are types of its own.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Uri;
use http::request::Parts;
use pin_project_lite::pin_project;
use reqwest::redirect::Policy;
use reqwest::{Body, Request, Response, ResponseBuilderExt, Url};
use tower_service::Service;
use xray_core::{AnyError, ErrorKind, current};

use super::{XRayClient, XRayClientLayer};
use crate::exchange::{XRayBody, XRayFuture};
use crate::untraced::Untraced;
use crate::url::Target;

impl<K> XRayClientLayer<K> {
    /// The policy, except that redirects do not carry tracing headers from a
    /// host that may have them to one that may not: there the response that
    /// redirects is what the caller gets, with its status 3xx. With the feature
    /// `reqwest`.
    ///
    /// reqwest follows redirects inside of its client and takes all headers
    /// along, but for credentials; nobody outside can take one out. So stopping
    /// is all that is possible. The caller may follow by itself: that request
    /// goes through the layer, too.
    ///
    /// ```
    /// use reqwest::redirect::Policy;
    /// use tower::Layer;
    /// use xray_tower::{XRayClient, XRayClientLayer};
    ///
    /// let layer = XRayClientLayer::new().propagate_only_to(["*.shop.internal"]);
    /// let client = reqwest::Client::builder()
    ///     .redirect(layer.redirect_policy(Policy::default()))
    ///     .build()?;
    /// let client: XRayClient<reqwest::Client> = layer.layer(client);
    /// # let _ = client;
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    ///
    /// Call it last: what is configured later does not change the policy. Where
    /// no trace is current, or the SDK is switched off, no request has headers of
    /// ours, and nothing is stopped.
    pub fn redirect_policy(&self, policy: Policy) -> Policy {
        let destinations = self.destinations().clone();
        Policy::custom(move |attempt| {
            let may = |url: &Url| destinations.allows(target(url).as_ref());
            let carries = |url: &Url| may(url) && current().header().root().is_some();
            let carries = attempt.previous().first().is_some_and(carries);
            if carries && !may(attempt.url()) {
                attempt.stop()
            } else {
                policy.redirect(attempt)
            }
        })
    }
}

/// As the layer sees it in a request.
fn target(url: &Url) -> Option<Target<'_>> {
    Target::with_port(url.host_str()?, url.port_or_known_default())
}

/// For [`reqwest::Client`], and layers round it, with the feature `reqwest`.
impl<S, EK> Service<Request> for XRayClient<S, (EK, ErrorKind)>
where
    S: Service<Request, Response = Response>,
    S::Error: AnyError<EK> + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = XRayReqwestFuture<S::Future, EK>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let around = current();
        if around.is_nothing() {
            let inner = self.inner.call(request);
            return State::Untraced { inner }.into();
        }
        let mut parts = take_head(&mut request);
        if Untraced::marks(&parts.extensions) {
            let request = with_head(request, parts);
            let inner = self.inner.call(request);
            return State::Untraced { inner }.into();
        }
        let guard = self.begin(&around, &mut parts);
        let request = with_head(request, parts);
        let call = || Opened {
            inner: self.inner.call(request),
        };
        let inner = XRayFuture::traced(guard, call);
        State::Traced { inner }.into()
    }
}

/// A URL that both reqwest and `http` can read, whatever that of a request is.
const ANY_URL: &str = "http://localhost/";

/// Takes out what is read from requests, for [`with_head`] to put back. reqwest
/// shows the extensions to nobody, but hands them to a request of `http`.
fn take_head(request: &mut Request) -> Parts {
    let rest = Request::new(request.method().clone(), request.url().clone());
    let mut head = mem::replace(request, rest);
    *request.body_mut() = head.body_mut().take();
    if let Ok(url) = ANY_URL.parse() {
        *head.url_mut() = url;
    }
    let head = http::Request::try_from(head).unwrap_or_default();
    let mut parts = head.into_parts().0;
    parts.uri = request.url().as_str().parse().unwrap_or_default();
    parts
}

fn with_head(mut request: Request, parts: Parts) -> Request {
    let mut head = http::Request::from_parts(parts, Body::default());
    *head.uri_mut() = Uri::from_static(ANY_URL);
    let Ok(mut whole) = Request::try_from(head) else {
        return request; // never: that URL is one
    };
    *whole.url_mut() = request.url().clone();
    *whole.body_mut() = request.body_mut().take();
    whole
}

pin_project! {
    /// The future of [`XRayClient`] round reqwest's client: as [`XRayFuture`],
    /// for a [`reqwest::Response`]. With the feature `reqwest`.
    ///
    /// The response is as it came, its [`url`](Response::url) included; its body
    /// is an [`XRayBody`] within. `K` tells kinds of errors apart and is always
    /// inferred.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct XRayReqwestFuture<F, K = ErrorKind> {
        #[pin]
        state: State<F, K>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F, K> {
        Untraced { #[pin] inner: F },
        Traced { #[pin] inner: XRayFuture<Opened<F>, (K, ErrorKind)> },
    }
}

impl<F, K> From<State<F, K>> for XRayReqwestFuture<F, K> {
    fn from(state: State<F, K>) -> Self {
        Self { state }
    }
}

impl<F, E, K> Future for XRayReqwestFuture<F, K>
where
    F: Future<Output = Result<Response, E>>,
    E: AnyError<K> + 'static,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProjection::Untraced { inner } => ready!(inner.poll(cx)),
            StateProjection::Traced { inner } => ready!(inner.poll(cx)).map(closed),
        })
    }
}

pin_project! {
    /// Leads to a response of `http`.
    #[derive(Debug)]
    struct Opened<F> {
        #[pin]
        inner: F,
    }
}

impl<F, E> Future for Opened<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.map(opened))
    }
}

/// reqwest finds the URL of a response that comes back from `http` in an
/// extension, but does not put it there.
fn opened(response: Response) -> http::Response<Body> {
    let mut carrier = http::response::Builder::new().url(response.url().clone());
    let mut response: http::Response<Body> = response.into();
    if let Some(url) = carrier.extensions_mut() {
        response.extensions_mut().extend(mem::take(url));
    }
    response
}

fn closed(response: http::Response<XRayBody<Body>>) -> Response {
    response.map(Body::wrap).into()
}
