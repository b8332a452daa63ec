//! HTTP/2 from end to end: no `Host` header, trailers, streams that are reset.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{Plain, assert_balanced, eventually, get, only, shape};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Capture, Class, Recorder};
use xray_tower::{Classify, XRayClientLayer, XRayLayer};

/// As gRPC: the status comes after the body.
struct Grpc;

impl Classify for Grpc {
    fn end(&self, head: Class, trailers: Option<&HeaderMap>) -> Class {
        match trailers.and_then(|trailers| trailers.get("grpc-status")) {
            Some(status) if status != "0" => Class::Fault,
            _ => head,
        }
    }
}

/// Data, and then a status or nothing more for ever.
struct Streamed {
    data: Option<&'static str>,
    status: Option<&'static str>,
    endless: bool,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(data)))));
        }
        if self.endless {
            return Poll::Pending;
        }
        let trailers = self.status.take().map(|status| {
            let status = ("grpc-status".parse().unwrap(), status.parse().unwrap());
            Frame::trailers(HeaderMap::from_iter([status]))
        });
        Poll::Ready(trailers.map(Ok))
    }
}

async fn handler(request: Request<Incoming>) -> Result<Response<Streamed>, Infallible> {
    assert_eq!(request.version(), http::Version::HTTP_2);
    assert!(!request.headers().contains_key("host"));
    Ok(Response::new(Streamed {
        data: Some("hello"),
        status: match request.uri().path() {
            "/ok" => Some("0"),
            "/lost" => Some("15"),
            _ => None,
        },
        endless: request.uri().path() == "/endless",
    }))
}

async fn serve() -> (SocketAddr, Recorder, Capture) {
    let (recorder, capture) = Recorder::capture("stock");
    let layer = XRayLayer::new(recorder.clone()).classify(Grpc);
    let service = TowerToHyperService::new(layer.layer(service_fn(handler)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let _ = connection.await; // clients go when they please
    });
    (address, recorder, capture)
}

fn client() -> legacy::Client<HttpConnector, Plain> {
    let mut client = legacy::Client::builder(TokioExecutor::new());
    client.http2_only(true).build_http()
}

fn document(name: &str, url: &str, length: Option<u64>, is_fault: bool) -> Value {
    let mut document = json!({
        "name": name,
        "http": {"request": {"method": "GET", "url": url}, "response": {"status": 200}},
    });
    if let Some(length) = length {
        document["http"]["response"]["content_length"] = length.into();
    }
    if is_fault {
        document["fault"] = true.into();
    }
    document
}

#[tokio::test]
async fn trailers_end_it_on_both_sides() {
    for (path, status, is_fault) in [
        ("ok", Some("0"), false),
        ("lost", Some("15"), true),
        ("none", None, false),
    ] {
        let (address, callee, callee_capture) = serve().await;
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let client = XRayClientLayer::new().classify(Grpc).layer(client());
        let url = format!("http://{address}/{path}");
        let response = segment.scope(client.oneshot(get(&url))).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(recorder.open_entities(), 2);
        let collected = response.into_body().collect().await.unwrap();
        let trailer = collected
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(trailer.map(|status| status.to_str().unwrap()), status);
        assert_eq!(collected.to_bytes(), "hello");
        assert_eq!(recorder.open_entities(), 1);
        segment.close();
        let mut expected = document("127.0.0.1", &url, Some(5), is_fault);
        expected["namespace"] = "remote".into();
        let caller = only(&recorder, &capture);
        assert_eq!(
            shape(&caller),
            json!({"name": "shop", "subsegments": [expected]})
        );
        eventually(&callee, 1, &callee_capture).await;
        let called = only(&callee, &callee_capture);
        assert_eq!(shape(&called), document("stock", &url, Some(5), is_fault));
        assert_eq!(called.trace_id, caller.trace_id);
        assert_eq!(
            called.parent_id.as_deref(),
            Some(&*caller.subsegments[0].id)
        );
    }
}

/// The connection lives on; only the stream is gone.
#[tokio::test]
async fn a_stream_that_is_reset_is_cancelled() {
    let (address, recorder, capture) = serve().await;
    let client = client();
    let url = format!("http://{address}/endless");
    let response = client.request(get(&url)).await.unwrap();
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    assert_eq!(recorder.open_entities(), 1);
    drop(body);
    eventually(&recorder, 1, &capture).await;
    let mut expected = document("stock", &url, Some(5), false);
    expected["error"] = true.into();
    expected["cause"] = json!(["Cancelled: the response body was dropped before its end"]);
    assert_eq!(shape(&only(&recorder, &capture)), expected);
    let url = format!("http://{address}/ok");
    let response = client.request(get(&url)).await.unwrap();
    response.into_body().collect().await.unwrap();
    eventually(&recorder, 2, &capture).await;
    assert_balanced(&recorder);
    let last = capture.documents().pop().unwrap();
    assert_eq!(shape(&last), document("stock", &url, Some(5), false));
}
