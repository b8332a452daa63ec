//! What users read from requests and responses themselves, and what becomes of
//! their panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Plain, get, hello, http_block, none, only, shape};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::{Class, Recorder, TraceHeader};
use xray_tower::{XRayClientLayer, XRayLayer};

async fn answer(_: Request<Plain>) -> Result<Response<Plain>, Infallible> {
    let response = Response::builder().header("age", "7");
    Ok(response.body(Plain::from("hello")).unwrap())
}

fn tenant() -> Request<Plain> {
    let mut request = get("http://shop.example/");
    let tenant = "t-42".parse().unwrap();
    request.headers_mut().insert("x-tenant", tenant);
    request
}

#[tokio::test]
async fn a_server_records_what_its_enrichers_read() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone())
        .on_request(|request, segment| {
            segment.annotate("tenant", request.headers["x-tenant"].to_str().unwrap());
        })
        .on_request(|_, segment| segment.set_user("ann"))
        .on_response(|response, segment| {
            segment.annotate("age", response.headers["age"].to_str().unwrap());
            segment.raise(Class::Error);
        });
    let response = layer.layer(service_fn(answer)).oneshot(tenant()).await;
    let body = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "hello");
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "user": "ann",
            "error": true,
            "http": http_block(200, Some(5)),
            "annotations": {"tenant": "t-42", "age": "7"},
        })
    );
    assert_eq!(recorder.events().callback_panics, 0);
}

#[tokio::test]
async fn a_client_records_what_its_enrichers_read() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayClientLayer::new()
        .on_request(|request, call| {
            assert!(!request.headers.contains_key("x-amzn-trace-id"));
            call.annotate("tenant", request.headers["x-tenant"].to_str().unwrap());
        })
        .on_response(|response, call| {
            call.annotate("age", response.headers["age"].to_str().unwrap());
        });
    let segment = recorder.begin_segment("shop");
    let response = segment
        .scope(layer.layer(service_fn(answer)).oneshot(tenant()))
        .await;
    response.unwrap().into_body().collect().await.unwrap();
    segment.close();
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "subsegments": [{
                "name": "shop.example",
                "namespace": "remote",
                "http": http_block(200, Some(5)),
                "annotations": {"tenant": "t-42", "age": "7"},
            }],
        })
    );
}

/// Each is counted, and the next one is asked all the same.
#[tokio::test]
async fn panics_are_counted_and_harm_nobody() {
    let (recorder, capture) = Recorder::capture("shop");
    let client = XRayClientLayer::new()
        .on_request(|_, _| panic!("not my day"))
        .on_response(|_, _| panic!("not my day"))
        .layer(service_fn(answer));
    let layer = XRayLayer::new(recorder.clone())
        .on_request(|_, _| panic!("not my day"))
        .on_request(|_, segment| segment.annotate("asked", true))
        .on_response(|_, _| panic!("not my day"))
        .on_response(|_, segment| segment.annotate("answered", true));
    let mut service = layer.layer(service_fn(move |request| client.clone().call(request)));
    let response = service.call(tenant()).await.unwrap();
    let (parts, body) = response.into_parts();
    assert!(parts.headers.contains_key("x-amzn-trace-id"));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "http": http_block(200, Some(5)),
            "annotations": {"asked": true, "answered": true},
            "subsegments": [{
                "name": "shop.example",
                "namespace": "remote",
                "http": http_block(200, Some(5)),
            }],
        })
    );
    assert_eq!(recorder.events().callback_panics, 4);
}

/// Counts how often it was asked about requests and responses.
fn counting(recorder: &Recorder) -> (XRayLayer, impl Fn() -> (usize, usize)) {
    let asked = <Arc<[AtomicUsize; 2]>>::default();
    let (requests, responses) = (asked.clone(), asked.clone());
    let layer = XRayLayer::new(recorder.clone())
        .on_request(move |_, _| _ = requests[0].fetch_add(1, Ordering::Relaxed))
        .on_response(move |_, _| _ = responses[1].fetch_add(1, Ordering::Relaxed));
    let count = move |at: usize| asked[at].load(Ordering::Relaxed);
    (layer, move || (count(0), count(1)))
}

#[tokio::test]
async fn of_what_is_not_recorded_nobody_is_asked() {
    let (recorder, capture) = Recorder::capture("shop");
    let (layer, asked) = counting(&recorder);
    let mut service = layer.layer(service_fn(hello));
    let mut request = get("http://shop.example/");
    let header = TraceHeader::parse("Root=1-66f2a1c0-0123456789abcdef01234567;Sampled=0");
    let header = header.to_text().parse().unwrap();
    request.headers_mut().insert("x-amzn-trace-id", header);
    let response = service.call(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    none(&recorder, &capture);
    assert_eq!(asked(), (0, 0));
}

#[tokio::test]
async fn without_a_response_nobody_is_asked_about_it() {
    let (recorder, capture) = Recorder::capture("shop");
    let (layer, asked) = counting(&recorder);
    let service = layer.layer(service_fn(async |_: Request<Plain>| {
        Err::<Response<Plain>, _>(io::Error::other("no"))
    }));
    service.oneshot(tenant()).await.unwrap_err();
    assert!(only(&recorder, &capture).fault);
    assert_eq!(asked(), (1, 0));
}
