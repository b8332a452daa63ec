//! Which trace a request belongs to, and what its caller is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;

use common::{Plain, get, hello, none, only};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use xray_core::document::Document;
use xray_core::{Never, Recorder, current};
use xray_tower::XRayLayer;

const ROOT: &str = "1-66f2a1c0-0123456789abcdef01234567";

/// The header of the response to a request with these headers, and what was
/// recorded.
async fn answer(headers: &[(&'static str, &str)]) -> (String, Vec<Document>) {
    let (recorder, capture) = Recorder::capture("shop");
    let mut request = get("http://shop.example/");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    body.collect().await.unwrap();
    common::assert_balanced(&recorder);
    (trace_header(&parts.headers), capture.documents())
}

fn trace_header(headers: &HeaderMap) -> String {
    let mut values = headers.get_all("x-amzn-trace-id").iter();
    let value = values.next().unwrap().to_str().unwrap().to_owned();
    assert_eq!(values.next(), None);
    value
}

#[tokio::test]
async fn a_request_without_a_header_begins_a_trace() {
    let (header, documents) = answer(&[]).await;
    let trace_id = documents[0].trace_id.as_deref().unwrap();
    assert_eq!(header, format!("Root={trace_id}"));
    assert_eq!(documents[0].parent_id, None);
}

#[tokio::test]
async fn a_header_is_continued() {
    let header = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
    let (header, documents) = answer(&[("x-amzn-trace-id", &header)]).await;
    assert_eq!(header, format!("Root={ROOT}"));
    assert_eq!(documents[0].trace_id.as_deref(), Some(ROOT));
    assert_eq!(documents[0].parent_id.as_deref(), Some("53995c3f42cd8ad8"));
}

#[tokio::test]
async fn the_first_line_of_several_counts() {
    let first = format!("Root={ROOT};Sampled=1");
    let second = "Root=1-00000001-000000000000000000000001;Sampled=0";
    let lines = [("x-amzn-trace-id", &*first), ("x-amzn-trace-id", second)];
    let (header, documents) = answer(&lines).await;
    assert_eq!(header, format!("Root={ROOT}"));
    assert_eq!(documents.len(), 1);
}

#[tokio::test]
async fn the_decision_is_told_to_who_asks() {
    let requested = format!("Root={ROOT};Sampled=?");
    let (header, documents) = answer(&[("x-amzn-trace-id", &requested)]).await;
    assert_eq!(header, format!("Root={ROOT};Sampled=1"));
    assert_eq!(documents.len(), 1);

    let recorder = Recorder::builder("shop").ignore_environment();
    let recorder = recorder.sampler(Never).build().unwrap();
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let mut request = get("/");
    let value = requested.parse().unwrap();
    request.headers_mut().insert("x-amzn-trace-id", value);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(
        trace_header(response.headers()),
        format!("Root={ROOT};Sampled=0")
    );
    drop(response);
    common::assert_balanced(&recorder);
}

#[tokio::test]
async fn traceparent_is_continued() {
    let traceparent = "00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8-01";
    let (header, documents) = answer(&[("traceparent", traceparent)]).await;
    assert_eq!(header, format!("Root={ROOT}"));
    assert_eq!(documents[0].parent_id.as_deref(), Some("53995c3f42cd8ad8"));
}

/// A proxied response brings the header of another trace along.
#[tokio::test]
async fn another_header_of_the_response_is_replaced() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(async |_| {
        let response = Response::builder().header("x-amzn-trace-id", "Root=other");
        Ok::<_, Infallible>(response.body(Plain::default()).unwrap())
    }));
    let response = service.oneshot(get("/")).await.unwrap();
    let document = only(&recorder, &capture);
    let trace_id = document.trace_id.unwrap();
    assert_eq!(trace_header(response.headers()), format!("Root={trace_id}"));
}

#[tokio::test]
async fn unsampled_work_is_passed_on_and_not_recorded() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(async |_: Request<Plain>| {
        let call = current().begin_subsegment("stock");
        let header = call.header().to_text().to_string();
        Ok::<_, Infallible>(Response::new(Plain::from(header)))
    }));
    let mut request = get("/");
    let value = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:1");
    request
        .headers_mut()
        .insert("x-amzn-trace-id", value.parse().unwrap());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(trace_header(response.headers()), format!("Root={ROOT}"));
    let passed_on = response.into_body().collect().await.unwrap().to_bytes();
    let passed_on = xray_core::TraceHeader::parse(&passed_on);
    assert_eq!(passed_on.root().unwrap().to_string(), ROOT);
    assert_eq!(passed_on.sampled(), xray_core::Sampled::No);
    assert_eq!(passed_on.extras(), "Lineage=a:1");
    none(&recorder, &capture);
    assert_eq!(recorder.entities().unsampled, 2);
}

/// Ten thousand lines of 8 kB each. Only the first is looked at, and
/// nothing of the others is kept or sent on.
#[tokio::test]
async fn the_work_does_not_grow_with_the_lines_of_a_header() {
    let first = format!("Root={ROOT};Sampled=1");
    let long = format!("Lineage={};Root=1-0-0", "x".repeat(8_000));
    let mut lines = vec![("x-amzn-trace-id", &*first)];
    lines.extend(std::iter::repeat_n(("x-amzn-trace-id", &*long), 10_000));
    let (header, documents) = answer(&lines).await;
    assert_eq!(header, format!("Root={ROOT}"));
    assert_eq!(documents[0].trace_id.as_deref(), Some(ROOT));
    assert!(!format!("{documents:?}").contains("xxxx"));
}
