//! A future that is dropped before there is a response is an error of type
//! `Cancelled`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::task::{Context, Waker};
use std::time::Duration;

use common::{Plain, assert_balanced, get, hello, http_block, none, only, shape};
use http::{Request, Response};
use serde_json::json;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_tower::XRayLayer;

async fn never<B>(_: Request<B>) -> Result<Response<Plain>, Infallible> {
    let _below = xray_core::current().begin_subsegment("below");
    pending().await
}

fn cancelled() -> serde_json::Value {
    json!({
        "name": "shop",
        "error": true,
        "cause": ["Cancelled: dropped before there was a response"],
        "http": {"request": {"method": "GET", "url": "http://shop.example/"}},
    })
}

#[test]
fn a_service_that_is_never_called_records_nothing() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer: XRayLayer = XRayLayer::new(recorder.clone());
    drop(layer.layer(service_fn(never::<Plain>)));
    none(&recorder, &capture);
}

#[test]
fn dropped_before_the_first_poll() {
    let (recorder, capture) = Recorder::capture("shop");
    let mut service = XRayLayer::new(recorder.clone()).layer(service_fn(never));
    drop(service.call(get("http://shop.example/")));
    assert_eq!(shape(&only(&recorder, &capture)), cancelled());
}

#[test]
fn dropped_after_a_poll_with_what_lived_in_it() {
    let (recorder, capture) = Recorder::capture("shop");
    let mut service = XRayLayer::new(recorder.clone()).layer(service_fn(never));
    let mut future = Box::pin(service.call(get("http://shop.example/")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    drop(future);
    let mut expected = cancelled();
    expected["subsegments"] = json!([{"name": "below"}]);
    assert_eq!(shape(&only(&recorder, &capture)), expected);
}

/// What cleans up when it is dropped finds its trace.
#[test]
fn it_is_current_while_the_future_is_dropped() {
    struct CleansUp;
    impl Drop for CleansUp {
        fn drop(&mut self) {
            xray_core::current().in_subsegment("clean up", |_| ());
        }
    }
    let (recorder, capture) = Recorder::capture("shop");
    let mut service = XRayLayer::new(recorder.clone()).layer(service_fn(|request| {
        let held = CleansUp;
        async move {
            let _held = held;
            never::<Plain>(request).await
        }
    }));
    drop(service.call(get("http://shop.example/")));
    let mut expected = cancelled();
    expected["subsegments"] = json!([{"name": "clean up"}]);
    assert_eq!(shape(&only(&recorder, &capture)), expected);
}

#[tokio::test(start_paused = true)]
async fn dropped_by_a_timeout() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(never));
    let service = TimeoutLayer::new(Duration::from_secs(1)).layer(service);
    let error = service
        .oneshot(get("http://shop.example/"))
        .await
        .unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    let mut expected = cancelled();
    expected["subsegments"] = json!([{"name": "below"}]);
    assert_eq!(shape(&only(&recorder, &capture)), expected);
}

/// The timeout is within: its error is one of the service, with no response.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_is_a_fault() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = TimeoutLayer::new(Duration::from_secs(1)).layer(service_fn(never));
    let service = XRayLayer::new(recorder.clone()).layer(service);
    let error = service
        .oneshot(get("http://shop.example/"))
        .await
        .unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "fault": true,
            "cause": ["Error: request timed out"],
            "http": {"request": {"method": "GET", "url": "http://shop.example/"}},
            "subsegments": [{"name": "below"}],
        })
    );
}

#[tokio::test]
async fn dropped_between_head_and_body() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let response = service.oneshot(get("http://shop.example/")).await.unwrap();
    assert_eq!(recorder.open_entities(), 1);
    drop(response);
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "error": true,
            "cause": ["Cancelled: the response body was dropped before its end"],
            "http": http_block(200, Some(5)),
        })
    );
}

#[test]
fn an_error_before_the_call_records_nothing() {
    #[derive(Clone)]
    struct Unready;
    impl Service<Request<Plain>> for Unready {
        type Response = Response<Plain>;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<Response<Plain>, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::OutOfMemory.into()))
        }

        fn call(&mut self, _: Request<Plain>) -> Self::Future {
            unreachable!("not ready")
        }
    }
    let (recorder, capture) = Recorder::capture("shop");
    let mut service = XRayLayer::new(recorder.clone()).layer(Unready);
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, std::task::Poll::Ready(Err(_))));
    none(&recorder, &capture);
}

/// Unsampled work keeps the same books.
#[test]
fn dropped_unsampled() {
    let (recorder, capture) = Recorder::capture("shop");
    let mut service = XRayLayer::new(recorder.clone()).layer(service_fn(never));
    let mut request = get("http://shop.example/");
    let header = http::HeaderValue::from_static("Sampled=0");
    request.headers_mut().insert("x-amzn-trace-id", header);
    drop(service.call(request));
    none(&recorder, &capture);
    assert_eq!(recorder.entities().unsampled, 1);
    assert_balanced(&recorder);
}
