//! Configuration of the client side.

use std::marker::PhantomData;
use std::sync::Arc;

use http::{request, response};
use xray_core::{Entity, ErrorKind, report_setting};

use super::XRayClient;
use super::destinations::Destinations;
use crate::classify::{Classifier, Classify};
use crate::enrich::OnRequest;
use crate::exchange::Callbacks;
use crate::hosts::{is_host, shown};
use crate::wrap;

/// Records every request that goes out as a subsegment of what is current,
/// named after the host, and tells the host which trace it is part of.
///
/// Cheap to clone; all clones share what was configured. Where no trace is, a
/// request passes untouched. See the [crate's documentation](crate) for what is
/// recorded when.
///
/// ```no_run
/// use http_body_util::Empty;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tower::{Layer, Service, ServiceExt};
/// use xray_tower::XRayClientLayer;
///
/// # async fn call() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
/// let mut client = XRayClientLayer::new().layer(client);
/// let request = http::Request::get("http://stock.example/7").body(Empty::new())?;
/// let response = client.ready().await?.call(request).await?;
/// # let _ = response;
/// # Ok(())
/// # }
/// ```
///
/// # What is current
///
/// What counts is what is current when `call` is called, since that is when the
/// headers are put in, not when its future is polled. Arguments come first:
/// `segment.scope(client.call(request))` calls before `scope` makes anything
/// current, and records nothing. Call within, or leave that to `oneshot`:
///
/// ```
/// # use tower::{Layer, Service, ServiceExt, service_fn};
/// # use xray_tower::XRayClientLayer;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = service_fn(async |_: http::Request<String>| Ok::<_, std::io::Error>(http::Response::new(String::new())));
/// # let mut client = XRayClientLayer::new().layer(client);
/// # let request = http::Request::get("http://stock.example/7").body(String::new())?;
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// let segment = recorder.begin_segment("nightly job");
/// # segment.scope(client.call(request.clone())).await?;
/// # let again = request.clone();
/// let response = segment.scope(async { client.call(request).await }).await?;
/// # let request = again;
/// let response = segment.scope(client.oneshot(request)).await?;
/// # segment.close();
/// # assert_eq!(capture.documents()[0].subsegments.len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// In a handler below [`XRayLayer`](crate::XRayLayer), and in whatever is
/// spawned with `in_current`, the segment is current all the time. A layer that
/// lets a task of its own make the call, as tower's `Buffer` does, has to be
/// within this one.
///
/// # Attempts
///
/// Where another layer tries again, the order says what is recorded: within the
/// retries each attempt is a subsegment with an id of its own in its headers,
/// round them all attempts are one, with the last response. What happens inside
/// of a client, such as redirects that reqwest follows, is always one.
///
/// ```
/// # use std::future::{Ready, ready};
/// # use http::{Request, Response};
/// # use tower::retry::{Policy, RetryLayer};
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// # use xray_tower::XRayClientLayer;
/// # #[derive(Clone)]
/// # struct Twice;
/// # impl<B, E> Policy<Request<String>, Response<B>, E> for Twice {
/// #     type Future = Ready<()>;
/// #     fn retry(&mut self, request: &mut Request<String>, _: &mut Result<Response<B>, E>) -> Option<Ready<()>> {
/// #         request.headers_mut().insert("tried", http::HeaderValue::from_static("1")).is_none().then(|| ready(()))
/// #     }
/// #     fn clone_request(&mut self, request: &Request<String>) -> Option<Request<String>> {
/// #         Some(request.clone())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = service_fn(async |_: Request<String>| Ok::<_, std::io::Error>(Response::new(String::new())));
/// # let request = Request::get("http://stock.example/7").body(String::new())?;
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// let by_attempt = ServiceBuilder::new()
///     .layer(RetryLayer::new(Twice)) // the first layer is the outermost one
///     .layer(XRayClientLayer::new())
///     .service(client);
/// # segment.scope(by_attempt.oneshot(request.clone())).await?;
/// # segment.close();
/// # assert_eq!(capture.documents()[0].subsegments.len(), 2);
/// # capture.clear();
/// # let segment = recorder.begin_segment("shop");
/// let by_call = ServiceBuilder::new()
///     .layer(XRayClientLayer::new())
///     .layer(RetryLayer::new(Twice))
///     .service(client);
/// # segment.scope(by_call.oneshot(request)).await?;
/// # segment.close();
/// # assert_eq!(capture.documents()[0].subsegments.len(), 1);
/// # Ok(())
/// # }
/// ```
///
/// # reqwest
///
/// With the feature `reqwest` the layer goes round a `reqwest::Client`, too, or
/// round layers that are:
///
/// ```no_run
/// # #[cfg(feature = "reqwest")]
/// # async fn call() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower::{Layer, Service};
/// # use xray_tower::XRayClientLayer;
/// let mut client = XRayClientLayer::new().layer(reqwest::Client::new());
/// let request = reqwest::Client::new().get("http://stock.example/7").build()?;
/// let text = client.call(request).await?.text().await?;
/// # let _ = text;
/// # Ok(())
/// # }
/// ```
///
/// A call is one subsegment, with the redirects and retries that reqwest makes
/// of it: the URL is the first one, the response the last one. Redirects take
/// the tracing headers along; see `redirect_policy`. The response is as it came,
/// its `url` included; where its body fails, the error that callers get has more
/// links in its chain, and its kind is the same. The URL within reqwest's errors
/// is recorded without query and user information, of errors that are
/// `reqwest::Error` or in a `BoxError`. A `reqwest::Request` that was made from
/// one of `http` has its extensions: [`Untraced`](crate::Untraced) holds, and
/// [`on_request`](Self::on_request) sees them all.
///
/// # A client in a struct
///
/// `K` tells kinds of errors apart and is inferred, except where the type is
/// written out. Its default is right where all errors implement
/// [`std::error::Error`], and [`BoxedErrors`](crate::BoxedErrors) where a layer
/// within boxes those of the service, as tower's `Timeout` and `Buffer` do:
///
/// ```no_run
/// # #[cfg(feature = "reqwest")]
/// # async fn call() -> Result<(), tower::BoxError> {
/// use tower::timeout::Timeout;
/// use tower::{Layer, Service};
/// use xray_tower::{BoxedErrors, XRayClient, XRayClientLayer};
///
/// struct Shop {
///     plain: XRayClient<reqwest::Client>,
///     stock: XRayClient<Timeout<reqwest::Client>, BoxedErrors>,
/// }
///
/// let client = reqwest::Client::new();
/// let mut shop = Shop {
///     plain: XRayClientLayer::new().layer(client.clone()),
///     stock: XRayClientLayer::new().layer(Timeout::new(client, std::time::Duration::from_secs(1))),
/// };
/// let request = reqwest::Client::new().get("http://stock.example/7").build()?;
/// # let again = reqwest::Client::new().get("http://stock.example/7").build()?;
/// shop.stock.call(request).await?;
/// # shop.plain.call(again).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a layer does nothing before it wraps a service"]
pub struct XRayClientLayer<K = (ErrorKind, ErrorKind)> {
    options: Arc<Options>,
    kinds: PhantomData<fn() -> K>,
}

/// What a [`XRayClientLayer`] hands to its services.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) on_request: OnRequest,
    pub(super) callbacks: Callbacks,
    pub(super) traced: bool,
    pub(super) host: Option<String>,
    pub(super) destinations: Destinations,
}

wrap::layer!(XRayClientLayer, XRayClient);

impl<K> XRayClientLayer<K> {
    /// A layer for calls of services that need not send segments of their own.
    /// Responses are classified by their status.
    pub fn new() -> Self {
        Self {
            options: Arc::default(),
            kinds: PhantomData,
        }
    }

    /// States that the services called send segments of their own, so that
    /// X-Ray waits for these instead of inferring one from the subsegment. Not
    /// stated by default: what is stated wrongly leaves a hole in the map.
    pub fn traced(mut self) -> Self {
        self.options_mut().traced = true;
        self
    }

    /// The host, with or without port, of requests that name none, such as those
    /// of a client that adds the origin further in, tonic's among them: it names
    /// the subsegment, stands in its URL, and decides by the lists below. None
    /// unless set; a request that names its host keeps to that. A name or an
    /// address, an IPv6 address in brackets. Any other text is logged once, and
    /// ignored: an earlier host stays.
    ///
    /// ```
    /// let layer: xray_tower::XRayClientLayer = xray_tower::XRayClientLayer::new()
    ///     .host("stock.internal:50051")
    ///     .propagate_only_to(["*.internal"]);
    /// # let _ = layer;
    /// ```
    pub fn host(mut self, host: impl AsRef<str>) -> Self {
        let host = host.as_ref();
        if is_host(host) {
            self.options_mut().host = Some(host.to_owned());
        } else {
            report_setting(&format!("host: no host: {:?}", shown(host)));
        }
        self
    }

    /// Puts the tracing headers only into requests for hosts that match one of
    /// these patterns. Unless this is called, every host but
    /// [some](Self::never_propagate_to) gets them, as in other X-Ray SDKs. The
    /// subsegment is recorded in either case.
    ///
    /// A pattern is a host (`stock.internal`), all hosts below one
    /// (`*.internal`), an address, a CIDR range (`10.0.0.0/16`) or `*` for any
    /// host; with or without a port, for which an IPv6 address or range stands
    /// in brackets (`[fd00::/8]:443`). Upper and lower case are one, and so is a
    /// dot behind a name. Anything else, such as a URL, is logged once, shown by
    /// the layer's `Debug`, and ignored.
    ///
    /// May be called several times, for more patterns. A request that does not
    /// say where it goes gets no header then; see [`host`](Self::host).
    ///
    /// ```
    /// let layer: xray_tower::XRayClientLayer = xray_tower::XRayClientLayer::new()
    ///     .propagate_only_to(["*.shop.internal", "10.0.0.0/16"]);
    /// # let _ = layer;
    /// ```
    pub fn propagate_only_to<P: AsRef<str>>(
        mut self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Self {
        self.options_mut().destinations.allow_only(patterns);
        self
    }

    /// Puts no tracing headers into requests for hosts that match one of these
    /// [patterns](Self::propagate_only_to), even if `propagate_only_to` allows
    /// them. Those that are in such a request already are taken out:
    /// `X-Amzn-Trace-Id`, `traceparent` and `tracestate`. The subsegment is
    /// recorded in either case.
    ///
    /// In doubt nothing is told: a list that holds an invalid pattern
    /// denies every host, a pattern with a port denies a host whose port is not
    /// known, and a request that does not say where it goes gets no header.
    ///
    /// May be called several times. The APIs of providers of language models,
    /// and all hosts below them, are always on this list, as they have no use
    /// for the headers and keep what they are sent: `api.openai.com`,
    /// `openai.azure.com`, `api.anthropic.com`,
    /// `generativelanguage.googleapis.com`, `api.cohere.com`, `api.cohere.ai`,
    /// `api.mistral.ai`, `api.groq.com`, `openrouter.ai`, `api.together.xyz`,
    /// `api.together.ai`, `api.deepseek.com`, `api.x.ai` and
    /// `api.perplexity.ai`. Bedrock is not: it is a part of AWS.
    pub fn never_propagate_to<P: AsRef<str>>(
        mut self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Self {
        self.options_mut().destinations.deny(patterns);
        self
    }

    /// Decides which responses are failures. By their status unless called.
    pub fn classify(mut self, classify: impl Classify) -> Self {
        self.options_mut().callbacks.classifier = Classifier::new(classify);
        self
    }

    /// Reads more from each request that is recorded, before the tracing
    /// headers are put into it. May be called several times. A closure that
    /// panics is [counted](xray_core::Events), and nothing else happens.
    ///
    /// ```
    /// let layer: xray_tower::XRayClientLayer = xray_tower::XRayClientLayer::new()
    ///     .on_request(|request, call| call.annotate("secure", request.uri.scheme_str() == Some("https")));
    /// # let _ = layer;
    /// ```
    pub fn on_request(
        mut self,
        enrich: impl Fn(&request::Parts, &Entity) + Send + Sync + 'static,
    ) -> Self {
        self.options_mut().on_request.add(enrich);
        self
    }

    /// Reads more from the head of each response, once status and class are
    /// recorded. As [`on_request`](Self::on_request) otherwise. Not called where
    /// there is no response.
    pub fn on_response(
        mut self,
        enrich: impl Fn(&response::Parts, &Entity) + Send + Sync + 'static,
    ) -> Self {
        self.options_mut().callbacks.on_response.add(enrich);
        self
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn destinations(&self) -> &Destinations {
        &self.options.destinations
    }
}

impl<K> Default for XRayClientLayer<K> {
    fn default() -> Self {
        Self::new()
    }
}
