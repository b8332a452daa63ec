//! Requests of which nothing is to be recorded.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;

use common::{Plain, get, none, only};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::{Recorder, current};
use xray_tower::{Untraced, XRayClientLayer, XRayLayer};

/// Tells whether it is recorded.
async fn handler(_: Request<Plain>) -> Result<Response<Plain>, Infallible> {
    Ok(Response::new(Plain::from(if current().is_recorded() {
        "traced"
    } else {
        "nothing"
    })))
}

#[tokio::test]
async fn skipped_requests_leave_no_trace() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone())
        .skip_path("/health")
        .skip_path("/ready")
        .skip(|request| request.method == http::Method::OPTIONS)
        .skip(|request| request.headers.contains_key("x-probe"));
    let mut service = layer.layer(service_fn(handler));
    for (method, uri, header, skipped) in [
        ("GET", "/health", false, true),
        ("POST", "/ready?deep=1", false, true),
        ("OPTIONS", "/", false, true),
        ("GET", "/", true, true),
        ("GET", "/health/", false, false),
        ("GET", "/healthy", false, false),
        ("GET", "/api/health", false, false),
        ("GET", "/", false, false),
    ] {
        capture.clear();
        let mut request = get(uri);
        *request.method_mut() = method.parse().unwrap();
        if header {
            let value = http::HeaderValue::from_static("1");
            request.headers_mut().insert("x-probe", value);
        }
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        let told = response.headers().contains_key("x-amzn-trace-id");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(told, !skipped, "{method} {uri}");
        if skipped {
            assert_eq!(body, "nothing");
            none(&recorder, &capture);
        } else {
            assert_eq!(body, "traced");
            only(&recorder, &capture);
        }
    }
    assert_eq!(recorder.entities().begun, 4);
}

/// A layer further out knows best.
#[tokio::test]
async fn a_request_that_is_marked_is_skipped() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone());
    let mut service = tower::ServiceBuilder::new()
        .map_request(|mut request: Request<Plain>| {
            if request.uri().path() == "/probe" {
                request.extensions_mut().insert(Untraced);
            }
            request
        })
        .layer(layer)
        .service(service_fn(handler));
    for (path, answer) in [("/probe", "nothing"), ("/7", "traced")] {
        let response = service.call(get(path)).await.unwrap();
        let told = response.headers().contains_key("x-amzn-trace-id");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((told, &*body), (answer == "traced", answer.as_bytes()));
    }
    only(&recorder, &capture);
    assert_eq!(recorder.entities().begun, 1);
}

#[tokio::test]
async fn a_call_that_is_marked_is_skipped() {
    let (recorder, capture) = Recorder::capture("shop");
    let mut client = XRayClientLayer::new().layer(service_fn(async |request: Request<Plain>| {
        let mut response = Response::new(Plain::default());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    }));
    let segment = recorder.begin_segment("shop");
    segment
        .scope(async {
            let mut request = get("http://stock.example/7");
            request.extensions_mut().insert(Untraced);
            let own = "Root=own".parse().unwrap();
            request.headers_mut().insert("x-amzn-trace-id", own);
            let response = client.call(request).await.unwrap();
            assert_eq!(response.headers()["x-amzn-trace-id"], "Root=own");
        })
        .await;
    segment.close();
    assert_eq!(only(&recorder, &capture).subsegments.len(), 0);
    assert_eq!(recorder.entities().begun, 1);
}

/// The request must not suffer from a predicate that is wrong.
#[tokio::test]
async fn a_predicate_that_panics_skips_nothing() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone()).skip(|_| panic!("not my day"));
    let service = layer.layer(service_fn(handler));
    let response = service.oneshot(get("/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    only(&recorder, &capture);
}
