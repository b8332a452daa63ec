//! One subsegment for each attempt or for all of them, as the order of layers
//! has it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use common::{Plain, get, http_block, only, shape};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::retry::{Policy, RetryLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_tower::XRayClientLayer;

/// Tries again as long as the server is at fault.
#[derive(Clone)]
struct Faults;

impl<B, E> Policy<Request<Plain>, Response<B>, E> for Faults {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Plain>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Ready<()>> {
        let is_fault = |response: &Response<B>| response.status().is_server_error();
        result.as_ref().is_ok_and(is_fault).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Plain>) -> Option<Request<Plain>> {
        Some(request.clone())
    }
}

/// Tracing headers that arrived.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;

/// Fails twice, then answers.
fn third_time_lucky(
    seen: &Seen,
) -> impl Service<
    Request<Plain>,
    Response = Response<Plain>,
    Error = Infallible,
    Future = Ready<Result<Response<Plain>, Infallible>>,
> + Clone
+ use<> {
    let seen = seen.clone();
    service_fn(move |request: Request<Plain>| {
        let headers = request.headers().get_all("x-amzn-trace-id").iter();
        let headers = headers.map(|header| header.to_str().unwrap().to_owned());
        let mut seen = seen.lock().unwrap();
        seen.push(headers.collect());
        let response = Response::builder().status(if seen.len() < 3 { 503 } else { 200 });
        ready(Ok(response.body(Plain::from("hello")).unwrap()))
    })
}

fn attempt(status: u16) -> Value {
    let mut attempt = json!({
        "name": "shop.example",
        "namespace": "remote",
        "http": http_block(status, Some(5)),
    });
    if status == 503 {
        attempt["fault"] = true.into();
    }
    attempt
}

#[tokio::test]
async fn a_layer_within_the_retries_records_each_attempt() {
    let (recorder, capture) = Recorder::capture("shop");
    let seen = Seen::default();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(Faults))
        .layer(XRayClientLayer::new())
        .service(third_time_lucky(&seen));
    let segment = recorder.begin_segment("shop");
    let response = segment.scope(client.oneshot(get("http://shop.example/")));
    response.await.unwrap().into_body().collect().await.unwrap();
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(
        shape(&document),
        json!({"name": "shop", "subsegments": [attempt(503), attempt(503), attempt(200)]})
    );
    // Each attempt is the parent of what it caused.
    let trace = document.trace_id.as_deref().unwrap();
    let calls = document.subsegments.iter();
    let headers = calls.map(|call| vec![format!("Root={trace};Parent={};Sampled=1", call.id)]);
    assert_eq!(*seen.lock().unwrap(), headers.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_layer_round_the_retries_records_the_call() {
    let (recorder, capture) = Recorder::capture("shop");
    let seen = Seen::default();
    let client = ServiceBuilder::new()
        .layer(XRayClientLayer::new())
        .layer(RetryLayer::new(Faults))
        .service(third_time_lucky(&seen));
    let segment = recorder.begin_segment("shop");
    let response = segment.scope(client.oneshot(get("http://shop.example/")));
    response.await.unwrap().into_body().collect().await.unwrap();
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(
        shape(&document),
        json!({"name": "shop", "subsegments": [attempt(200)]})
    );
    let (trace, call) = (document.trace_id.unwrap(), &document.subsegments[0].id);
    let header = vec![format!("Root={trace};Parent={call};Sampled=1")];
    assert_eq!(
        *seen.lock().unwrap(),
        [header.clone(), header.clone(), header]
    );
}

/// Both: the attempts are parts of the call.
#[tokio::test]
async fn a_layer_on_either_side_records_both() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer: XRayClientLayer<_> = XRayClientLayer::new();
    let attempts = XRayClientLayer::new().layer(third_time_lucky(&Seen::default()));
    let client = layer.layer(RetryLayer::new(Faults).layer(attempts));
    let segment = recorder.begin_segment("shop");
    let response = segment.scope(client.oneshot(get("http://shop.example/")));
    response.await.unwrap().into_body().collect().await.unwrap();
    segment.close();
    let mut call = attempt(200);
    call["subsegments"] = json!([attempt(503), attempt(503), attempt(200)]);
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({"name": "shop", "subsegments": [call]})
    );
}
