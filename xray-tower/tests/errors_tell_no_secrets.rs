//! reqwest's errors show the URL with its query and its user. Neither is
//! recorded, by whatever way an error comes to be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use common::{Plain, get, only, serve};
use http::{Request, Response};
use http_body_util::Full;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use xray_core::document::{Cause, Document};
use xray_core::{Capture, Recorder, Segment, TraceExt};
use xray_tower::{XRayClient, XRayClientLayer, XRayLayer};

/// A port that nobody listens on: it was ours a moment ago.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn request(address: SocketAddr) -> reqwest::Request {
    let url = format!("http://ann:hunter2@{address}/7?token=hunter2#hunter2");
    reqwest::Request::new(Method::GET, url.parse().unwrap())
}

fn layered() -> XRayClient<reqwest::Client> {
    XRayClientLayer::new().layer(reqwest::Client::new())
}

fn segment() -> (Recorder, Capture, Segment) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    (recorder, capture, segment)
}

/// The one document, in which nothing is told.
fn told(recorder: &Recorder, capture: &Capture) -> Document {
    let text = String::from_utf8(capture.json().concat()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    only(recorder, capture)
}

/// An error of a program's own.
#[derive(Debug)]
struct Unavailable(reqwest::Error);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stock is unavailable")
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn a_subsegment_round_a_call_points_to_its_error() {
    let address = nobody().await;
    let (recorder, capture, segment) = segment();
    let call = async { layered().oneshot(request(address)).await };
    let error = segment
        .scope(async { call.try_subsegment("load stock").await.unwrap_err() })
        .await;
    segment.close();
    assert!(error.url().unwrap().as_str().contains("?token=hunter2"));
    let document = told(&recorder, &capture);
    let load = document.find("load stock").unwrap();
    let call = &load.subsegments[0];
    let first = &call.exceptions()[0];
    let expected = format!("error sending request for url (http://{address}/7)");
    assert_eq!(first.message.as_deref(), Some(expected.as_str()));
    assert_eq!(load.cause, Some(Cause::Id(first.id.clone())));
}

#[tokio::test]
async fn a_source_of_an_own_error_points_to_the_call() {
    let address = nobody().await;
    let (recorder, capture, segment) = segment();
    let error = segment
        .scope(async { layered().oneshot(request(address)).await.unwrap_err() })
        .await;
    segment.record_fault(&Unavailable(error));
    segment.close();
    let document = told(&recorder, &capture);
    let call = &document.subsegments[0];
    let [own] = document.exceptions() else {
        panic!("{document:?}");
    };
    assert_eq!(own.message.as_deref(), Some("the stock is unavailable"));
    assert_eq!(own.cause.as_ref(), Some(&call.exceptions()[0].id));
}

#[tokio::test]
async fn an_error_mapped_below_the_layer_is_read_to_its_end() {
    let address = nobody().await;
    let (recorder, capture, segment) = segment();
    let client = reqwest::Client::new();
    let client = client.map_err(Unavailable);
    let client: XRayClient<_> = XRayClientLayer::new().layer(client);
    let error = segment
        .scope(async { client.oneshot(request(address)).await.unwrap_err() })
        .await;
    segment.close();
    assert!(error.0.is_connect());
    let document = told(&recorder, &capture);
    let messages = document.subsegments[0].exceptions().iter();
    let messages: Vec<_> = messages.map(|e| e.message.clone().unwrap()).collect();
    assert_eq!(messages[0], "the stock is unavailable");
    let expected = format!("error sending request for url (http://{address}/7)");
    assert_eq!(messages[1], expected);
}

#[tokio::test]
async fn an_error_for_a_status_tells_the_bare_url() {
    let address = serve(service_fn(|_: Request<hyper::body::Incoming>| async {
        let answer = Response::builder().status(404);
        Ok::<_, std::convert::Infallible>(answer.body(Plain::from("no")).unwrap())
    }))
    .await;
    let (recorder, capture, segment) = segment();
    let work = async {
        layered()
            .oneshot(request(address))
            .await?
            .error_for_status()
    };
    let error = segment
        .scope(async { work.try_subsegment("load stock").await.unwrap_err() })
        .await;
    segment.close();
    assert!(error.is_status());
    let document = told(&recorder, &capture);
    let load = document.find("load stock").unwrap();
    let message = load.exceptions()[0].message.clone().unwrap();
    assert!(
        message.ends_with(&format!("for url (http://{address}/7)")),
        "{message}"
    );
}

#[tokio::test]
async fn an_error_of_a_body_tells_the_bare_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        stream.write_all(head).await.unwrap();
    });
    let (recorder, capture, segment) = segment();
    let work = async { layered().oneshot(request(address)).await?.text().await };
    let error = segment
        .scope(async { work.try_subsegment("load stock").await.unwrap_err() })
        .await;
    segment.close();
    assert!(error.is_decode(), "{error:?}");
    let document = told(&recorder, &capture);
    let message = document.find("load stock").unwrap().exceptions()[0]
        .message
        .clone();
    let expected = format!("error decoding response body for url (http://{address}/7)");
    assert_eq!(message, Some(expected));
}

#[tokio::test]
async fn a_server_that_passes_a_clients_error_on_tells_nothing() {
    let address = nobody().await;
    let (recorder, capture) = Recorder::capture("shop");
    let handler = service_fn(move |_: Request<Plain>| async move {
        let answer = reqwest::Client::new().execute(request(address)).await?;
        let body = answer.bytes().await?;
        Ok::<_, reqwest::Error>(Response::new(Full::<Bytes>::from(body)))
    });
    let service = ServiceBuilder::new()
        .layer(XRayLayer::new(recorder.clone()))
        .service(handler);
    let error = service.oneshot(get("/7")).await.unwrap_err();
    assert!(error.is_connect());
    let document = told(&recorder, &capture);
    assert!(document.fault);
    let message = document.exceptions()[0].message.clone();
    let expected = format!("error sending request for url (http://{address}/7)");
    assert_eq!(message, Some(expected));
}
