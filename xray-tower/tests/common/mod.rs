//! What every test needs: balanced books, documents without ids and times, and
//! requests to send.
#![allow(dead_code, reason = "each test uses its part")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{BoxError, Service};
use xray_core::document::Document;
use xray_core::{Capture, Recorder};

pub(crate) type Plain = Full<Bytes>;

pub(crate) fn get(uri: &str) -> Request<Plain> {
    Request::get(uri).body(Plain::default()).unwrap()
}

/// A handler that answers 200 and `hello`.
pub(crate) async fn hello<B>(_: Request<B>) -> Result<Response<Plain>, Infallible> {
    Ok(Response::new(Plain::from("hello")))
}

/// Both ledgers balance, and nothing is left open.
pub(crate) fn assert_balanced(recorder: &Recorder) {
    let (entities, documents) = (recorder.entities(), recorder.documents());
    assert!(entities.is_balanced(), "{entities:?}");
    assert!(documents.is_balanced(), "{documents:?}");
    assert_eq!(
        (entities.open, recorder.open_entities()),
        (0, 0),
        "{entities:?}"
    );
    assert_eq!(documents.queued, 0, "{documents:?}");
    assert_eq!(documents.created, documents.sent, "{documents:?}");
}

/// The books balance and this is all that was sent: one document.
pub(crate) fn only(recorder: &Recorder, capture: &Capture) -> Document {
    assert_balanced(recorder);
    for json in capture.json() {
        let checked = xray_local::check_document(&json);
        assert!(checked.is_ok(), "{checked:?}");
        // A line of ours tells nobody where an error came from.
        let text = String::from_utf8_lossy(&json);
        assert!(!text.contains("xray-tower/src"), "{text}");
    }
    let mut documents = capture.documents();
    assert_eq!(documents.len(), 1, "{documents:#?}");
    documents.remove(0)
}

/// The books balance and nothing was sent.
pub(crate) fn none(recorder: &Recorder, capture: &Capture) {
    assert_balanced(recorder);
    assert_eq!(capture.json().len(), 0, "{:#?}", capture.documents());
}

/// Waits for a server that ends its segment a moment after its client saw the
/// response.
pub(crate) async fn eventually(recorder: &Recorder, documents: usize, capture: &Capture) {
    for _ in 0..500 {
        if recorder.open_entities() == 0 && capture.json().len() >= documents {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after five seconds: {:#?}", recorder.snapshot());
}

/// A document without ids, times and versions; each exception as
/// `type: message`.
pub(crate) fn shape(document: &Document) -> Value {
    let mut json = serde_json::to_value(document).unwrap();
    let object = json.as_object_mut().unwrap();
    for unsteady in [
        "id",
        "trace_id",
        "parent_id",
        "start_time",
        "end_time",
        "aws",
    ] {
        object.remove(unsteady);
    }
    if object.contains_key("cause") {
        let exceptions = document.exceptions().iter().map(|exception| {
            let kind = exception.kind.as_deref().unwrap_or_default();
            let message = exception.message.as_deref().unwrap_or_default();
            format!("{kind}: {message}")
        });
        object.insert("cause".to_owned(), exceptions.collect());
    }
    if !document.subsegments.is_empty() {
        let subsegments = document.subsegments.iter().map(shape);
        object.insert("subsegments".to_owned(), subsegments.collect());
    }
    json
}

/// The `http` block of a `GET http://shop.example/` answered so.
pub(crate) fn http_block(status: u16, length: Option<u64>) -> Value {
    let mut response = json!({"status": status});
    if let Some(length) = length {
        response["content_length"] = length.into();
    }
    json!({
        "request": {"method": "GET", "url": "http://shop.example/"},
        "response": response,
    })
}

/// Serves HTTP/1 with hyper itself on a port of its own, for as long as the
/// runtime lives.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await; // clients go when they please
            });
        }
    });
    address
}

pub(crate) fn client() -> legacy::Client<HttpConnector, Plain> {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}
