//! Where a segment is current already, a request is a subsegment of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;

use common::{Plain, assert_balanced, get, hello, http_block, none, only, shape};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Recorder, TraceExt, TraceHeader, context_missing, current, suppressed};
use xray_tower::{XRayClientLayer, XRayLayer};

async fn exchange(recorder: &Recorder) -> Response<()> {
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let mut request = get("http://shop.example/");
    // Of another trace: the one that is current is nearer.
    let header = "Root=1-00000001-000000000000000000000001;Sampled=0";
    request
        .headers_mut()
        .insert("x-amzn-trace-id", header.parse().unwrap());
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    body.collect().await.unwrap();
    Response::from_parts(parts, ())
}

#[tokio::test]
async fn below_a_segment() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("job");
    let response = segment.scope(exchange(&recorder)).await;
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(
        shape(&document),
        json!({
            "name": "job",
            "subsegments": [{"name": "shop", "http": http_block(200, Some(5))}],
        })
    );
    let root = format!("Root={}", document.trace_id.unwrap());
    assert_eq!(response.headers()["x-amzn-trace-id"], root);
}

/// As below a Lambda invocation, whose segment Lambda sends.
#[tokio::test]
async fn below_a_facade() {
    let (recorder, capture) = Recorder::capture("shop");
    let header = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    let facade = recorder.begin_facade(&TraceHeader::parse(header));
    facade.scope(exchange(&recorder)).await;
    facade.close();
    let document = only(&recorder, &capture);
    assert!(document.is_subsegment());
    assert_eq!(document.parent_id.as_deref(), Some("53995c3f42cd8ad8"));
    assert_eq!(
        shape(&document),
        json!({"name": "shop", "type": "subsegment", "http": http_block(200, Some(5))})
    );
}

#[tokio::test]
async fn below_another_of_these_layers() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone());
    let service = layer.clone().layer(layer.layer(service_fn(hello)));
    let response = service.oneshot(get("http://shop.example/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "http": http_block(200, Some(5)),
            "subsegments": [{"name": "shop", "http": http_block(200, Some(5))}],
        })
    );
}

#[tokio::test]
async fn below_suppression_nothing_is_recorded() {
    let (recorder, capture) = Recorder::capture("shop");
    suppressed(exchange(&recorder)).await;
    none(&recorder, &capture);
}

/// Detached work tells nobody of the trace it left, and has its own where one
/// begins.
#[tokio::test]
async fn detached_work_is_another_trace() {
    let (recorder, capture) = Recorder::capture("shop");
    let missing = context_missing();
    let segment = recorder.begin_segment("job");
    let client = XRayClientLayer::new().layer(service_fn(async |request: Request<Plain>| {
        assert!(!request.headers().contains_key("x-amzn-trace-id"));
        current().in_subsegment("send", |_| ());
        hello(request).await
    }));
    let server = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let work = async {
        client.oneshot(get("http://stock.example/")).await.unwrap();
        let response = server.oneshot(get("http://shop.example/")).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    segment.scope(work.detached()).await;
    segment.close();
    assert_eq!(context_missing(), missing);
    let documents = capture.documents();
    let names = documents.iter().map(|document| &document.name);
    assert_eq!(names.collect::<Vec<_>>(), ["shop", "job"]);
    assert_ne!(documents[0].trace_id, documents[1].trace_id);
    let none = documents
        .iter()
        .all(|document| document.subsegments.is_empty());
    assert!(none, "{documents:?}");
}

/// It is current for the handler, and nowhere else.
#[tokio::test]
async fn the_handler_finds_it_current() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(async |_: Request<Plain>| {
        tokio::task::yield_now().await;
        current().annotate("order", 7_u64);
        current().in_subsegment("load", |_| ());
        Ok::<_, Infallible>(Response::new(Plain::default()))
    }));
    let response = service.oneshot(get("http://shop.example/")).await.unwrap();
    assert!(current().is_nothing());
    drop(response);
    assert_balanced(&recorder);
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "http": http_block(200, Some(0)),
            "annotations": {"order": 7},
            "subsegments": [{"name": "load"}],
        })
    );
}
