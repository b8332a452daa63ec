//! Exchanges that are left before their end, and what that means.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::{Plain, get, only, shape};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::{Class, Recorder};
use xray_tower::{Abandoned, Classify, XRayClientLayer, XRayLayer};

/// A stream that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: 7\n\n")))))
    }
}

fn endless(status: u16, kind: &str) -> Response<Endless> {
    let response = Response::builder().status(status);
    response.header("content-type", kind).body(Endless).unwrap()
}

/// Reads two frames and leaves.
fn leave<B: Body<Error = Infallible> + Unpin>(mut body: B) {
    for _ in 0..2 {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
    }
}

/// The document of a server whose caller leaves.
async fn server(configure: fn(XRayLayer) -> XRayLayer, status: u16, kind: &'static str) -> Value {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = configure(XRayLayer::new(recorder.clone()));
    let service = layer.layer(service_fn(async |_: Request<Plain>| {
        Ok::<_, Infallible>(endless(status, kind))
    }));
    leave(service.oneshot(get("/")).await.unwrap().into_body());
    shape(&only(&recorder, &capture))
}

/// And of a client that leaves.
async fn client(configure: fn(XRayClientLayer) -> XRayClientLayer, kind: &'static str) -> Value {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let layer = configure(XRayClientLayer::new());
    let service = layer.layer(service_fn(async |_: Request<Plain>| {
        Ok::<_, Infallible>(endless(200, kind))
    }));
    let response = segment.scope(service.oneshot(get("http://stock.example/")));
    leave(response.await.unwrap().into_body());
    segment.close();
    shape(&only(&recorder, &capture))["subsegments"][0].clone()
}

fn left(status: u16, flags: &[&str], cancelled: bool) -> Value {
    let mut expected = json!({
        "name": "shop",
        "http": {
            "request": {"method": "GET", "url": "/"},
            "response": {"status": status, "content_length": 18},
        },
    });
    for flag in flags {
        expected[*flag] = true.into();
    }
    if cancelled {
        expected["cause"] = json!(["Cancelled: the response body was dropped before its end"]);
    }
    expected
}

#[tokio::test]
async fn leaving_a_stream_of_events_is_fine() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        assert_eq!(
            server(|layer| layer, 200, kind).await,
            left(200, &[], false)
        );
        let failed = server(|layer| layer, 503, kind).await;
        assert_eq!(failed, left(503, &["fault"], false));
    }
    for kind in ["text/plain", "text/event-streams", "application/grpc"] {
        let recorded = server(|layer| layer, 200, kind).await;
        assert_eq!(recorded, left(200, &["error"], true), "{kind}");
    }
}

/// Says what it was asked, and that nothing is as by default.
#[derive(Default, Clone)]
struct Watching(Arc<Mutex<Vec<String>>>);

impl Classify for Watching {
    fn left(&self, exchange: &Abandoned<'_>) -> Class {
        self.0.lock().unwrap().push(format!("{exchange:?}"));
        match exchange.class() {
            Class::Ok => Class::Throttle,
            _ => Class::Ok,
        }
    }

    fn end(&self, head: Class, trailers: Option<&HeaderMap>) -> Class {
        assert!(trailers.is_none());
        self.0.lock().unwrap().push("end".to_owned());
        head
    }
}

#[tokio::test]
async fn a_classifier_says_what_leaving_means() {
    struct Asked;
    impl Classify for Asked {
        fn left(&self, exchange: &Abandoned<'_>) -> Class {
            assert_eq!(exchange.status(), Some(StatusCode::OK));
            assert_eq!(exchange.sent(), 18);
            match (exchange.content_type(), exchange.class()) {
                (Some("application/grpc"), Class::Error) => Class::Ok,
                (Some("text/event-stream"), Class::Ok) => Class::Fault,
                (_, usual) => usual,
            }
        }
    }
    let asked = |layer: XRayLayer| layer.classify(Asked);
    let (grpc, events) = ("application/grpc", "text/event-stream");
    assert_eq!(server(asked, 200, grpc).await, left(200, &[], false));
    assert_eq!(
        server(asked, 200, events).await,
        left(200, &["fault"], true)
    );
    assert_eq!(
        server(asked, 200, "text/plain").await,
        left(200, &["error"], true)
    );
}

#[tokio::test]
async fn a_classifier_that_panics_leaves_the_usual_class() {
    struct Broken;
    impl Classify for Broken {
        fn left(&self, _: &Abandoned<'_>) -> Class {
            panic!("not my day")
        }
    }
    let broken = |layer: XRayLayer| layer.classify(Broken);
    let events = server(broken, 200, "text/event-stream").await;
    assert_eq!(events, left(200, &[], false));
    let other = server(broken, 200, "text/plain").await;
    assert_eq!(other, left(200, &["error"], true));
}

/// A caller that looks at a part of a response only is content by default.
#[tokio::test]
async fn a_client_may_leave_and_may_say_otherwise() {
    let http = left(200, &[], false)["http"].clone();
    let mut expected = json!({"name": "stock.example", "namespace": "remote", "http": http});
    expected["http"]["request"]["url"] = "http://stock.example/".into();
    assert_eq!(client(|layer| layer, "text/plain").await, expected);
    expected["error"] = true.into();
    expected["throttle"] = true.into();
    expected["cause"] = json!(["Cancelled: the response body was dropped before its end"]);
    let watching = |layer: XRayClientLayer| layer.classify(Watching::default());
    assert_eq!(client(watching, "text/plain").await, expected);
}

/// Without the trailers, a classifier may still say how it ended.
#[tokio::test]
async fn a_client_that_leaves_asks_how_it_ended() {
    struct Unsure;
    impl Classify for Unsure {
        fn end(&self, _: Class, trailers: Option<&HeaderMap>) -> Class {
            assert!(trailers.is_none());
            Class::Fault
        }
    }
    let mut expected = client(|layer| layer, "text/plain").await;
    expected["fault"] = true.into();
    let unsure = |layer: XRayClientLayer| layer.classify(Unsure);
    assert_eq!(client(unsure, "text/plain").await, expected);
}

/// A long poll that nobody waits for any more.
#[test]
fn a_request_left_before_its_response_is_asked_about() {
    let (recorder, capture) = Recorder::capture("shop");
    let watching = Watching::default();
    let layer = XRayLayer::new(recorder.clone()).classify(watching.clone());
    let never = |_: Request<Plain>| std::future::pending::<Result<Response<Plain>, Infallible>>();
    drop(layer.layer(service_fn(never)).call(get("/")));
    let request = json!({"method": "GET", "url": "/"});
    let expected = json!({"name": "shop", "http": {"request": request}});
    assert_eq!(shape(&only(&recorder, &capture)), expected);
    let asked = watching.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("status: None"), "{asked:?}");
}
