//! Below what is skipped, work is neither recorded nor missing. Where missing
//! context is a panic: one policy for the process, so one file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{Plain, assert_balanced, get};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use xray_core::{
    Class, ContextMissing, Recorder, Sampled, TraceExt, TraceHeader, context_missing, current,
};
use xray_tower::{Untraced, XRayClientLayer, XRayLayer};

const CALLER: &str =
    "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1";

/// One frame, made and dropped with work of its own.
struct Working(Option<Bytes>);

impl Body for Working {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = current().in_subsegment("read on", |_| self.0.take());
        Poll::Ready(frame.map(Frame::data).map(Ok))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        current().begin_subsegment("clean up").close();
    }
}

/// A health check that looks at its database, and at another service: answers
/// with the header that the latter got.
async fn health(request: Request<Plain>) -> Result<Response<Working>, Infallible> {
    let mut client = XRayClientLayer::new().layer(service_fn(async |request: Request<Plain>| {
        let line = request.headers().get("x-amzn-trace-id");
        let line = line.map_or("", |line| line.to_str().unwrap());
        Ok::<_, Infallible>(Response::new(Plain::from(line.to_owned())))
    }));
    async { current().annotate("up", true) }
        .subsegment("ping database")
        .await;
    let status = if request.uri().path() == "/down" {
        503
    } else {
        200
    };
    let answer = client.call(get("http://stock.example/health")).await?;
    let line = answer.into_body().collect().await?.to_bytes();
    let response = Response::builder().status(status);
    Ok(response.body(Working(Some(line))).unwrap())
}

fn recorder(enabled: bool) -> Recorder {
    let builder = Recorder::builder("shop").ignore_environment().send_inline();
    let builder = builder.context_missing(ContextMissing::Panic);
    builder
        .sampler(xray_core::Always)
        .enabled(enabled)
        .build()
        .unwrap()
}

/// The header that the other service got, of a request that is skipped.
async fn skipped(recorder: &Recorder, path: &str, caller: &str) -> String {
    let layer = XRayLayer::new(recorder.clone())
        .skip_path("/health")
        .skip(|request| request.uri.path() == "/down")
        .classify(|_: &http::response::Parts| -> Class { panic!("nobody is asked") })
        .on_request(|_, _| panic!("nobody is asked"))
        .on_response(|_, _| panic!("nobody is asked"));
    let mut service = ServiceBuilder::new()
        .map_request(|mut request: Request<Plain>| {
            if request.uri().path() == "/probe" {
                request.extensions_mut().insert(Untraced);
            }
            request
        })
        .layer(layer)
        .service(service_fn(health));
    let mut request = get(path);
    let line = HeaderValue::from_str(caller).unwrap();
    request.headers_mut().insert("x-amzn-trace-id", line);
    let response = service.call(request).await.unwrap();
    assert!(!response.headers().contains_key("x-amzn-trace-id"));
    let told = response.into_body().collect().await.unwrap().to_bytes();
    assert!(current().is_nothing());
    assert_eq!(recorder.entities().begun, 0);
    assert_eq!(recorder.events().callback_panics, 0);
    assert_eq!(context_missing(), 0);
    assert_balanced(recorder);
    String::from_utf8(told.into()).unwrap()
}

#[tokio::test]
async fn a_skipped_request_is_quiet_and_told_on() {
    let recorder = recorder(true);
    for path in ["/health", "/down", "/probe"] {
        let told = skipped(&recorder, path, CALLER).await;
        assert_eq!(told, CALLER.replace("Sampled=1", "Sampled=0"), "{path}");
        let told = TraceHeader::parse(skipped(&recorder, path, "").await);
        assert!(told.root().is_some(), "{path}");
        assert_eq!(told.sampled(), Sampled::No, "{path}");
    }
}

#[tokio::test]
async fn switched_off_a_skipped_request_passes_on_what_came() {
    let recorder = recorder(false);
    // The call itself is no part of what is skipped, and counted nowhere.
    assert_eq!(skipped(&recorder, "/health", CALLER).await, CALLER);
    assert_eq!(skipped(&recorder, "/health", "").await, "");
}

/// Below a segment that is current already, such as Lambda's.
#[tokio::test]
async fn within_a_trace_what_is_skipped_is_told_of_that() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let mut service = XRayLayer::new(recorder.clone())
        .skip_path("/health")
        .layer(service_fn(health));
    let response = segment.scope(async { service.call(get("/health")).await });
    let told = response.await.unwrap().into_body().collect().await.unwrap();
    let told = TraceHeader::parse(told.to_bytes());
    assert_eq!(told.root(), segment.trace_id());
    assert_eq!(told.parent(), segment.id());
    assert_eq!(told.sampled(), Sampled::No);
    segment.close();
    assert_eq!(common::only(&recorder, &capture).subsegments.len(), 0);
}
