//! Connections that become something else: the exchange ends with the head
//! that says so, however long the tunnel lives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{assert_balanced, client, eventually, only, shape};
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Capture, Recorder};
use xray_tower::{XRayClientLayer, XRayLayer};

/// A body of which nobody knows that it has no end.
struct Unknowing;

impl Body for Unknowing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let tunnel = TokioIo::new(upgrade.await.unwrap());
    let (mut read, mut write) = tokio::io::split(tunnel);
    let _ = tokio::io::copy(&mut read, &mut write).await; // clients go when they please
    let _ = write.shutdown().await;
}

/// Turns every connection into an echo.
async fn handler(mut request: Request<Incoming>) -> Result<Response<Unknowing>, Infallible> {
    tokio::spawn(echo(hyper::upgrade::on(&mut request)));
    let response = Response::builder();
    let response = if request.method() == Method::CONNECT {
        response.status(200)
    } else {
        let response = response.status(101).header("connection", "upgrade");
        response.header("upgrade", "websocket")
    };
    Ok(response.body(Unknowing).unwrap())
}

async fn serve(is_http2: bool) -> (SocketAddr, Recorder, Capture) {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(service));
        let _ = if is_http2 {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.enable_connect_protocol();
            http.serve_connection(io, service).await
        } else {
            let http = hyper::server::conn::http1::Builder::new();
            http.serve_connection(io, service).with_upgrades().await
        };
    });
    (address, recorder, capture)
}

/// While the tunnel is open there is a document, and after it no other.
async fn check(
    response: Response<impl Body>,
    recorder: Recorder,
    capture: Capture,
    request: Value,
) {
    let status = response.status().as_u16();
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    eventually(&recorder, 1, &capture).await;
    tunnel.write_all(b"hello").await.unwrap();
    let mut read = [0; 5];
    tunnel.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    assert_eq!(recorder.open_entities(), 0);
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut read).await.unwrap(), 0);
    drop(tunnel);
    tokio::task::yield_now().await;
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "http": {"request": request, "response": {"status": status}},
        })
    );
}

fn websocket(address: SocketAddr) -> Request<common::Plain> {
    let mut request = common::get(&format!("http://{address}/chat"));
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

fn connect(to: &str) -> Request<common::Plain> {
    let request = Request::connect(to);
    request.body(common::Plain::default()).unwrap()
}

#[tokio::test]
async fn a_websocket() {
    let (address, recorder, capture) = serve(false).await;
    let response = client().request(websocket(address)).await.unwrap();
    assert_eq!(response.status(), 101);
    assert!(response.headers().contains_key("x-amzn-trace-id"));
    let request = json!({"method": "GET", "url": format!("http://{address}/chat")});
    check(response, recorder, capture, request).await;
}

#[tokio::test]
async fn a_tunnel() {
    let (address, recorder, capture) = serve(false).await;
    let response = client()
        .request(connect(&address.to_string()))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let request = json!({"method": "CONNECT", "url": format!("http://{address}")});
    check(response, recorder, capture, request).await;
}

/// Seen from the client: the upgrade passes through the layer.
#[tokio::test]
async fn a_client_of_both() {
    for is_tunnel in [false, true] {
        let (address, _, _) = serve(false).await;
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let request = if is_tunnel {
            connect(&address.to_string())
        } else {
            websocket(address)
        };
        let client = XRayClientLayer::new().layer(client());
        let response = segment.scope(client.oneshot(request)).await.unwrap();
        let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        assert_eq!(recorder.open_entities(), 1, "the call is over");
        segment.close();
        tunnel.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        tunnel.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        let (method, path, status) = if is_tunnel {
            ("CONNECT", "", 200)
        } else {
            ("GET", "/chat", 101)
        };
        assert_eq!(
            shape(&only(&recorder, &capture).subsegments[0]),
            json!({
                "name": "127.0.0.1",
                "namespace": "remote",
                "http": {
                    "request": {"method": method, "url": format!("http://{address}{path}")},
                    "response": {"status": status},
                },
            })
        );
    }
}

/// As HTTP/2 has both: CONNECT, and for WebSockets CONNECT with a protocol.
#[tokio::test]
async fn tunnels_within_http2() {
    for is_websocket in [false, true] {
        let (address, recorder, capture) = serve(true).await;
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let request = if is_websocket {
            let mut request = connect("shop.example:80");
            *request.uri_mut() = "http://shop.example/chat".parse().unwrap();
            let protocol = hyper::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
            // The server has to say first that it knows such requests.
            tokio::time::sleep(Duration::from_millis(100)).await;
            request
        } else {
            connect("shop.example:443")
        };
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let url = if is_websocket {
            "http://shop.example/chat"
        } else {
            "http://shop.example:443"
        };
        let request = json!({"method": "CONNECT", "url": url});
        check(response, recorder.clone(), capture, request).await;
        assert_balanced(&recorder);
        connection.abort();
    }
}
