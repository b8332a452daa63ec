//! Calls that go out and fail, or are given up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::time::Duration;

use common::{Plain, client, get, only, shape};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_core::document::{Document, Exception};
use xray_tower::XRayClientLayer;

/// Runs a call below a segment; the document of the call.
async fn recorded(call: impl Future) -> Document {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    drop(segment.scope(call).await);
    segment.close();
    let mut document = only(&recorder, &capture);
    assert!(
        !document.error && !document.fault,
        "the caller decides for itself"
    );
    assert_eq!(document.subsegments.len(), 1);
    document.subsegments.remove(0)
}

/// An error's message and those of its sources.
fn chain(error: &dyn Error) -> Vec<String> {
    let links = std::iter::successors(Some(error), |error| (*error).source());
    links.map(ToString::to_string).collect()
}

fn recorded_chain(exceptions: &[Exception]) -> Vec<String> {
    let messages = exceptions.iter().map(|exception| exception.message.clone());
    messages.flatten().collect()
}

fn document(more: Value) -> Value {
    let mut document = json!({
        "name": "stock.example",
        "namespace": "remote",
        "http": {"request": {"method": "GET", "url": "http://stock.example/"}},
    });
    let more = more.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(more);
    document
}

#[tokio::test]
async fn a_closed_port_is_a_fault_with_its_sources() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut messages = Vec::new();
    let document = recorded(async {
        let mut client = XRayClientLayer::new().layer(client());
        let request = get(&format!("http://{address}/"));
        let error = client
            .ready()
            .await
            .unwrap()
            .call(request)
            .await
            .unwrap_err();
        assert!(error.is_connect());
        messages = chain(&error);
    })
    .await;
    assert!(document.fault);
    assert_eq!(document.http.as_ref().unwrap().response, None);
    let exceptions = document.exceptions();
    assert_eq!(recorded_chain(exceptions), messages);
    assert!(messages.len() >= 2, "{messages:?}");
    assert!(
        messages[messages.len() - 1].contains("refused"),
        "{messages:?}"
    );
    let kind = exceptions[0].kind.as_deref().unwrap();
    assert!(
        kind.ends_with("::Error") && kind.starts_with("hyper_util"),
        "{kind}"
    );
    for pair in exceptions.windows(2) {
        assert_eq!(pair[0].cause.as_deref(), Some(&*pair[1].id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_within_is_a_fault_and_one_without_a_cancellation() {
    async fn never(_: Request<Plain>) -> Result<Response<Plain>, Infallible> {
        pending().await
    }
    let timeout = TimeoutLayer::new(Duration::from_secs(1));
    let within = recorded(async {
        let client = XRayClientLayer::new().layer(timeout.layer(service_fn(never)));
        let error: BoxError = client
            .oneshot(get("http://stock.example/"))
            .await
            .unwrap_err();
        assert!(error.is::<tower::timeout::error::Elapsed>());
    })
    .await;
    let expected = json!({"fault": true, "cause": ["Error: request timed out"]});
    assert_eq!(shape(&within), document(expected));

    let without = recorded(async {
        let client = timeout.layer(XRayClientLayer::new().layer(service_fn(never)));
        client
            .oneshot(get("http://stock.example/"))
            .await
            .unwrap_err();
    })
    .await;
    let cause = "Cancelled: dropped before there was a response";
    let expected = json!({"error": true, "cause": [cause]});
    assert_eq!(shape(&without), document(expected));
}

/// To look at the status alone is the caller's good right.
#[tokio::test]
async fn a_body_that_is_not_read_is_no_failure() {
    let call = recorded(async {
        let mut client = XRayClientLayer::new().layer(service_fn(common::hello));
        client
            .call(get("http://stock.example/"))
            .await
            .unwrap()
            .status()
    })
    .await;
    let mut expected = document(json!({}));
    expected["http"]["response"] = json!({"status": 200, "content_length": 5});
    assert_eq!(shape(&call), expected);
}

#[tokio::test]
async fn a_panic_below_goes_on() {
    let call = recorded(async {
        let mut client = XRayClientLayer::new().layer(service_fn(panics));
        let call = client.call(get("http://stock.example/"));
        tokio::spawn(call).await.unwrap_err();
    })
    .await;
    let expected = json!({"fault": true, "cause": ["panic: no route"]});
    assert_eq!(shape(&call), document(expected));
}

async fn panics(_: Request<Plain>) -> Result<Response<Plain>, Infallible> {
    panic!("no route")
}

/// Of a response that ends early, real hyper makes an error of the body.
#[tokio::test]
async fn a_body_that_breaks_off_is_a_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        stream.write_all(response.as_bytes()).await.unwrap();
    });
    let mut messages = Vec::new();
    let call = recorded(async {
        let mut client = XRayClientLayer::new().layer(client());
        let response = client
            .call(get(&format!("http://{address}/")))
            .await
            .unwrap();
        let body: Result<_, hyper::Error> = response.into_body().collect().await;
        messages = chain(&body.unwrap_err());
    })
    .await;
    assert!(call.fault);
    let response = &shape(&call)["http"]["response"];
    assert_eq!(*response, json!({"status": 200, "content_length": 10}));
    let exceptions = call.exceptions();
    assert_eq!(exceptions[0].kind.as_deref(), Some("hyper::error::Error"));
    assert_eq!(recorded_chain(exceptions), messages);
    assert_eq!(messages.len(), 2, "{messages:?}");
}
