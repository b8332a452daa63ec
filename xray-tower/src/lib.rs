//! Tower layers that trace HTTP servers and clients with AWS X-Ray.
//!
//! [`XRayLayer`] records each request that a service answers as a segment;
//! [`XRayClientLayer`] records each request that a program sends as a
//! subsegment, and passes the trace on. Both wrap any [`tower_service::Service`]
//! of `http` requests and responses, box nothing and change no error type. With
//! the feature `reqwest` the latter wraps reqwest's client, too, whose bodies
//! are boxed.
//!
//! # An axum server
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::signal::unix::{SignalKind, signal};
//! use xray_core::Recorder;
//! use xray_tower::XRayLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recorder = Recorder::builder("shop").build()?;
//! # let (recorder, capture) = Recorder::capture("shop");
//! let app = Router::new()
//!     .route("/orders/{id}", get(async || "7 roses"))
//!     .layer(XRayLayer::new(recorder.clone()).skip_path("/health"));
//! # for path in ["/orders/7", "/health"] {
//! #     let request = http::Request::get(path).body(axum::body::Body::empty())?;
//! #     let response = tower::ServiceExt::oneshot(app.clone(), request).await?;
//! #     http_body_util::BodyExt::collect(response.into_body()).await?;
//! # }
//! # let [document] = &capture.documents()[..] else { panic!("one of both is skipped") };
//! # assert_eq!((&*document.name, &document.annotations["route"]), ("shop", &"/orders/{id}".into()));
//! # if capture.documents().len() == 1 { return Ok(()) } // no port is taken
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).with_graceful_shutdown(told_to_end()).await?;
//! recorder.shutdown(Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//!
//! /// Ctrl-C, or the SIGTERM by which an orchestrator ends a container.
//! async fn told_to_end() {
//!     let mut terminate = signal(SignalKind::terminate()).expect("a handler of SIGTERM");
//!     tokio::select! {
//!         _ = tokio::signal::ctrl_c() => {}
//!         _ = terminate.recv() => {}
//!     }
//! }
//! ```
//!
//! `with_graceful_shutdown` lets every request end, and `shutdown` sends its
//! document. Without both, SIGTERM loses whatever is on its way.
//!
//! The client's address is known if axum is told to keep it:
//! `axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())`,
//! with the feature `axum`.
//!
//! # A hyper server that calls another one
//!
//! ```no_run
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use hyper::body::{Bytes, Incoming};
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::graceful::GracefulShutdown;
//! use hyper_util::service::TowerToHyperService;
//! use tower::{Layer, ServiceExt, service_fn};
//! use xray_core::Recorder;
//! use xray_tower::{XRayClientLayer, XRayLayer};
//!
//! # async fn told_to_end() {}
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let recorder = Recorder::builder("shop").build()?;
//! let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
//! let stock = XRayClientLayer::new().layer(client);
//! let service = XRayLayer::new(recorder.clone()).layer(service_fn(move |_: Request<Incoming>| {
//!     let stock = stock.clone();
//!     async move {
//!         let request = Request::get("http://stock.example/7").body(Empty::new());
//!         let answer = stock.oneshot(request?).await?;
//!         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(answer.into_body()))
//!     }
//! }));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let (graceful, mut end) = (GracefulShutdown::new(), std::pin::pin!(told_to_end()));
//! loop {
//!     let (stream, _) = tokio::select! {
//!         accepted = listener.accept() => accepted?,
//!         () = &mut end => break,
//!     };
//!     let service = TowerToHyperService::new(service.clone());
//!     let connection = hyper::server::conn::http1::Builder::new()
//!         .serve_connection(TokioIo::new(stream), service);
//!     tokio::spawn(graceful.watch(connection));
//! }
//! graceful.shutdown().await;
//! recorder.shutdown(std::time::Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # A tonic channel
//!
//! A client of tonic's sends its channel requests that name no host; the
//! channel adds its origin further in. Tell the client its origin, and
//! everything is as for any other request:
//!
//! ```
//! use http::Uri;
//! use tonic::transport::{Channel, Endpoint};
//! use tonic_health::pb::health_client::HealthClient;
//! use tower::Layer;
//! use xray_tower::{XRayClient, XRayClientLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let channel = Endpoint::from_static("http://stock.internal:50051").connect_lazy();
//! let channel: XRayClient<Channel> = XRayClientLayer::new().layer(channel);
//! let origin = Uri::from_static("http://stock.internal:50051");
//! let client = HealthClient::with_origin(channel, origin);
//! # let _ = client;
//! # }
//! ```
//!
//! Or tell the layer, where the client cannot be told:
//!
//! ```
//! let layer: xray_tower::XRayClientLayer =
//!     xray_tower::XRayClientLayer::new().host("stock.internal:50051");
//! # let _ = layer;
//! ```
//!
//! Without either, the subsegment is named `Unknown host`, its URL is a bare
//! path, and the request gets no tracing headers where the layer has a list of
//! hosts.
//!
//! # When each thing happens
//!
//! | When | Server | Client |
//! |---|---|---|
//! | `poll_ready` | nothing, not even on an error | the same |
//! | `call` | The tracing headers are read and the segment begins, named like the recorder or [after the host](XRayLayer::name_from_host); the sampler is asked if they leave it open. Method, URL, user agent and client are recorded, and with axum the route; then [`on_request`](XRayLayer::on_request) is called. | The subsegment begins, named after the host, below what is current at that moment. Method and URL are recorded, and [`on_request`](XRayClientLayer::on_request) is called. The tracing headers are put into the request, if [its host may have them](XRayClientLayer::never_propagate_to). |
//! | each poll, each drop | The segment is current. | The subsegment is current. |
//! | response head | Status and class are recorded, the length if it is known; [`on_response`](XRayLayer::on_response) is called. The trace's id is put into the response. | Status, class and length are recorded; [`on_response`](XRayClientLayer::on_response) is called. |
//! | last frame, or the head where nothing follows it | The length is recorded if it was not known. The trailers may change the class. The segment closes. | The same. |
//!
//! # What ends a segment or subsegment
//!
//! Each is closed exactly once, by what comes first:
//!
//! | What | Recorded as |
//! |---|---|
//! | the body says that it ended, or knows it after a frame or with the head | the response's class |
//! | trailers | the response's class, see [`Classify::end`] |
//! | the body is dropped after as many bytes as were declared, or where HTTP has none (HEAD, 1xx, 204, 304, CONNECT) | the response's class |
//! | the body fails | fault, with the error and its sources |
//! | the service fails | fault, with the error and its sources; no response |
//! | a panic in `call`, in a poll, in the body | fault, with its message; it goes on. Status 500 on a server that had sent no head |
//! | the future is dropped before the head | error, `Cancelled`, see [`Classify::left`] |
//! | the body is dropped before its end | server: error, `Cancelled`, as the caller did not get it, but for a stream of events (`text/event-stream`), which has no other end. Client: the response's class; many callers look at the status only. See [`Classify::left`]. The bytes so far are the length if no other is known |
//! | any of these is dropped by a panic elsewhere | fault |
//!
//! A connection that becomes something else, by `101 Switching Protocols` or an
//! accepted CONNECT, over HTTP/1 or HTTP/2, ends its exchange with the head;
//! what goes through the tunnel is not part of it.
//!
//! That the last frame was taken is not that it arrived: of what lies in the
//! buffers of the connection nobody hears. A panic that a layer further in
//! turns into a response is a fault by its status, and its message is lost.
//! With `panic = "abort"` nothing is recorded of a panic.
//!
//! # What is recorded of a request
//!
//! Method, URL, status and length; on servers the user agent and the client's
//! address: the first in `X-Forwarded-For`, marked as not to be trusted, or
//! else the peer's ([`PeerAddr`], or axum's `ConnectInfo<SocketAddr>`). URLs
//! have no query and no user information. No other header and no byte of a
//! body is read, but by closures of yours ([`XRayLayer::on_request`],
//! [`XRayLayer::on_response`], the same on [`XRayClientLayer`]). A closure that
//! panics is counted in [`Events`](xray_core::Events), and the request goes on.
//!
//! The URL is the one that the service sees. Its scheme is that of an absolute
//! URI, as HTTP/2 has them, and otherwise `http`, also behind a proxy that ends
//! TLS: `X-Forwarded-Proto` and `Forwarded` are the caller's to write and are not
//! read. Its host is that of the URI, or else of the `Host` header; one that is
//! no authority of a URI counts as absent. Within axum's `nest` it has the prefix
//! with the feature `axum`, and so have the paths that samplers and
//! [`skip_path`](XRayLayer::skip_path) see; without it the prefix is gone. The
//! version of HTTP is not recorded; X-Ray has no field for it.
//!
//! Nothing is recorded of requests that are [skipped](XRayLayer::skip) or carry
//! the extension [`Untraced`]. The work of a server for one is silent, and its
//! calls say `Sampled=0`.
//!
//! # Which trace
//!
//! A server goes on with the trace of `X-Amzn-Trace-Id`, or else of
//! `traceparent`; so it does where the former is a lone Root, as a load balancer
//! of AWS adds one to each request that has none. Where something is current already, as below a Lambda
//! invocation, the request is a subsegment of that, whatever its headers say.
//! The response carries `X-Amzn-Trace-Id: Root=…`, with the decision if the
//! request asked for it by `Sampled=?`.
//!
//! A client sends `X-Amzn-Trace-Id` for unsampled work, too, so that nobody
//! downstream decides anew; and the W3C headers where the trace came by them, or
//! where the request has a copy, which ours replaces. Every host gets these, as
//! from other X-Ray SDKs, except the APIs of providers of language models and
//! what [`XRayClientLayer::never_propagate_to`] adds to them; or only hosts that
//! [`XRayClientLayer::propagate_only_to`] names. Where no trace is current, or
//! the SDK is switched off and no caller sent one, the request passes untouched.
//!
//! # Errors
//!
//! Errors pass through unchanged and are recorded with all their sources. That
//! takes any [`std::error::Error`], tower's `BoxError` and `anyhow::Error`; see
//! [`xray_core::AnyError`]. The parameter `K` of the types here tells these
//! apart and is inferred from the service; where a type is written out, its
//! default is right for every `std::error::Error`, and [`BoxedErrors`] for
//! tower's `BoxError`.
//!
//! # Features
//!
//! - `axum`, off by default: records the route's template, such as
//!   `/orders/{id}`, as the annotation `route`, the peer from axum's
//!   `ConnectInfo<SocketAddr>`, and paths with the prefix of `nest`. The route is known to a layer that was added by
//!   `Router::layer`, `Router::route_layer` or `MethodRouter::layer`; one that
//!   is wrapped round a whole `Router` runs before axum has chosen it.
//! - `reqwest`, off by default: [`XRayClientLayer`] goes round a
//!   `reqwest::Client`, too; see there.

// a request comes in
mod server;

// what it has to call
mod client;

// both, from the call to the last frame
mod exchange;

// what is read from requests and responses
mod classify;
mod enrich;
mod hosts;
mod untraced;
mod url;

// what has nothing to do with traces
mod wrap;

pub use classify::{Abandoned, Classify};
#[cfg(feature = "reqwest")]
pub use client::XRayReqwestFuture;
pub use client::{XRayClient, XRayClientLayer};
pub use exchange::{XRayBody, XRayFuture};
pub use server::{PeerAddr, XRay, XRayLayer};
pub use untraced::Untraced;

/// The parameter `K` of a layer or service round one whose errors are boxed, as
/// those of tower's `Timeout`, `Buffer` and `LoadShed` are, while the errors of
/// its bodies are not. For the types of fields and results; elsewhere `K` is
/// inferred. See [`XRayClientLayer`] for an example; where bodies have boxed
/// errors, too, it is [`BoxedErrorKind`](xray_core::BoxedErrorKind) twice.
pub type BoxedErrors = (xray_core::BoxedErrorKind, xray_core::ErrorKind);
