//! Which responses are failures, and how to say otherwise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{get, http_block, only, shape};
use http::{HeaderMap, HeaderValue, Request, Response, response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Class, Decision, Outcome, Recorder, Sampler, SamplingRequest, current};
use xray_tower::{Classify, XRayLayer};

async fn recorded(
    configure: impl FnOnce(XRayLayer) -> XRayLayer,
    handler: impl Fn() -> Response<BoxBody<Bytes, Infallible>>,
) -> Value {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = configure(XRayLayer::new(recorder.clone()));
    let service = layer.layer(service_fn(|_: Request<common::Plain>| {
        std::future::ready(Ok::<_, Infallible>(handler()))
    }));
    let response = service.oneshot(get("http://shop.example/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    shape(&only(&recorder, &capture))
}

fn status(status: u16) -> Response<BoxBody<Bytes, Infallible>> {
    let body = Full::from("x").boxed();
    Response::builder().status(status).body(body).unwrap()
}

fn with_trailer(code: Option<&'static str>) -> Response<BoxBody<Bytes, Infallible>> {
    let trailers = code.map(|code| {
        let code = HeaderValue::from_static(code);
        Ok(Frame::trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            code,
        )])))
    });
    let data = Ok(Frame::data(Bytes::from_static(b"x")));
    let frames = std::iter::once(data).chain(trailers);
    Response::new(BodyExt::boxed(StreamBody::new(Frames(frames))))
}

/// A stream of what is there already.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn document(status: u16, flags: &[&str]) -> Value {
    let mut document = json!({"name": "shop", "http": http_block(status, Some(1))});
    for flag in flags {
        document[*flag] = true.into();
    }
    document
}

#[tokio::test]
async fn by_status() {
    for (code, flags) in [
        (200, &[][..]),
        (302, &[]),
        (400, &["error"]),
        (404, &["error"]),
        (429, &["error", "throttle"]),
        (499, &["error"]),
        (500, &["fault"]),
        (503, &["fault"]),
        (599, &["fault"]),
        (600, &[]),
    ] {
        let shape = recorded(|layer| layer, || status(code)).await;
        assert_eq!(shape, document(code, flags));
    }
}

#[tokio::test]
async fn a_404_that_is_no_error() {
    let lenient = |head: &response::Parts| match head.status.as_u16() {
        404 => Class::Ok,
        status => Class::of_status(status),
    };
    for (code, flags) in [(404, &[][..]), (400, &["error"]), (500, &["fault"])] {
        let shape = recorded(|layer| layer.classify(lenient), || status(code)).await;
        assert_eq!(shape, document(code, flags));
    }
}

struct Grpc;

impl Classify for Grpc {
    fn end(&self, head: Class, trailers: Option<&HeaderMap>) -> Class {
        let code = trailers.and_then(|trailers| trailers.get("grpc-status"));
        match code.map(HeaderValue::as_bytes) {
            Some(b"0") => head,
            Some(b"8") => Class::Throttle,
            _ => Class::Fault,
        }
    }
}

#[tokio::test]
async fn by_trailers_at_the_end() {
    for (code, flags) in [
        (Some("0"), &[][..]),
        (Some("8"), &["error", "throttle"]),
        (Some("13"), &["fault"]),
        (None, &["fault"]),
    ] {
        let shape = recorded(|layer| layer.classify(Grpc), || with_trailer(code)).await;
        assert_eq!(shape, document(200, flags), "{code:?}");
    }
}

#[tokio::test]
async fn what_the_handler_recorded_stays_behind_a_success() {
    let shape = recorded(
        |layer| layer,
        || {
            current().record_fault(&std::io::Error::other("no cache"));
            status(200)
        },
    )
    .await;
    let mut expected = document(200, &["fault"]);
    expected["cause"] = json!(["std::io::error::Error: no cache"]);
    assert_eq!(shape, expected);
}

#[tokio::test]
async fn a_classifier_that_panics_leaves_the_default() {
    struct Broken;
    impl Classify for Broken {
        fn head(&self, _: &response::Parts) -> Class {
            panic!("not my day")
        }

        fn end(&self, _: Class, _: Option<&HeaderMap>) -> Class {
            panic!("not my day either")
        }
    }
    let shape = recorded(|layer| layer.classify(Broken), || status(404)).await;
    assert_eq!(shape, document(404, &["error"]));
}

/// A sampler that records nothing learns status and class all the same.
#[tokio::test]
async fn unsampled_requests_are_classified_for_the_sampler() {
    #[derive(Debug, Default)]
    struct Watching(Mutex<Vec<(Option<u16>, Class)>>);
    impl Sampler for Watching {
        fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
            Decision::unsampled()
        }

        fn closed(&self, outcome: &Outcome<'_>) {
            let mut seen = self.0.lock().unwrap();
            seen.push((outcome.status, outcome.class));
        }
    }
    #[derive(Debug)]
    struct Shared(Arc<Watching>);
    impl Sampler for Shared {
        fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
            self.0.decide(request)
        }

        fn closed(&self, outcome: &Outcome<'_>) {
            self.0.closed(outcome);
        }
    }
    let watching = Arc::new(Watching::default());
    let recorder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Shared(watching.clone()))
        .build()
        .unwrap();
    let layer: XRayLayer = XRayLayer::new(recorder.clone());
    for code in [200, 429, 503] {
        let service = layer.layer(service_fn(async |_: Request<common::Plain>| {
            Ok::<_, Infallible>(status(code))
        }));
        let response = service.oneshot(get("/")).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let service = layer.layer(service_fn(async |_: Request<common::Plain>| {
        Ok::<_, Infallible>(status(200))
    }));
    drop(service.oneshot(get("/")).await.unwrap()); // its body, unread
    let service = layer.layer(service_fn(async |_: Request<common::Plain>| {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        Err::<Response<common::Plain>, _>(refused)
    }));
    service.oneshot(get("/")).await.unwrap_err();
    assert_eq!(
        *watching.0.lock().unwrap(),
        [
            (Some(200), Class::Ok),
            (Some(429), Class::Throttle),
            (Some(503), Class::Fault),
            (Some(200), Class::Error),
            (None, Class::Fault),
        ]
    );
    common::assert_balanced(&recorder);
}
