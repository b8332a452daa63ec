//! The client layer round reqwest's own client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{Plain, assert_balanced, none, only, serve, shape};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_tower::{BoxedErrors, Untraced, XRayClient, XRayClientLayer};

/// Hosts and tracing headers of the requests that came in.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A body that does not know its length.
struct Unsized(Option<&'static str>);

impl Body for Unsized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.0.take().map(Bytes::from);
        Poll::Ready(data.map(Frame::data).map(Ok))
    }
}

/// Answers 200 and `hello`; redirects to what the query says.
async fn server() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let address = serve(service_fn(
        move |request: Request<hyper::body::Incoming>| {
            let text = |name| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
            let host = text("host").unwrap();
            kept.lock().unwrap().push((host, text("x-amzn-trace-id")));
            let response = Response::builder().header("x-kind", "test");
            let response = match (request.uri().path(), request.uri().query()) {
                ("/to", Some(location)) => response.status(302).header("location", location),
                ("/404", _) => response.status(404),
                _ => response,
            };
            let body: UnsyncBoxBody<Bytes, Infallible> = match request.uri().path() {
                "/chunked" => Unsized(Some("hello")).boxed_unsync(),
                _ => Plain::from("hello").boxed_unsync(),
            };
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        },
    ))
    .await;
    (address, seen)
}

fn request(url: &str) -> reqwest::Request {
    reqwest::Request::new(Method::GET, url.parse().unwrap())
}

fn plain() -> reqwest::Client {
    reqwest::Client::new()
}

fn call(name: &str, url: &str, status: u16, length: Option<u64>) -> Value {
    let mut response = json!({"status": status});
    if let Some(length) = length {
        response["content_length"] = length.into();
    }
    json!({
        "name": name,
        "namespace": "remote",
        "http": {"request": {"method": "GET", "url": url}, "response": response},
    })
}

#[tokio::test]
async fn a_call_is_a_subsegment_until_its_last_byte() {
    let (address, seen) = server().await;
    for (path, length) in [("7", Some(5)), ("chunked", None)] {
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let mut client = XRayClientLayer::new()
            .on_request(|request, call| {
                call.annotate("tenant", request.headers["x-tenant"].to_str().unwrap());
            })
            .on_response(|response, call| {
                call.annotate("kind", response.headers["x-kind"].to_str().unwrap());
            })
            .layer(plain());
        let url = format!("http://ann:hunter2@{address}/{path}?token=hunter2");
        segment
            .scope(async {
                let mut request = request(&url);
                request
                    .headers_mut()
                    .insert("x-tenant", "t-42".parse().unwrap());
                let response = client.ready().await.unwrap().call(request).await.unwrap();
                assert_eq!(response.url().as_str(), url);
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers()["x-kind"], "test");
                assert_eq!(response.content_length(), length);
                assert_eq!(response.remote_addr(), Some(address));
                assert_eq!(recorder.open_entities(), 2, "until its last byte");
                assert_eq!(response.text().await.unwrap(), "hello");
                assert_eq!(recorder.open_entities(), 1);
            })
            .await;
        segment.close();
        let document = only(&recorder, &capture);
        let url = format!("http://{address}/{path}");
        let mut expected = call("127.0.0.1", &url, 200, Some(5));
        expected["annotations"] = json!({"tenant": "t-42", "kind": "test"});
        assert_eq!(
            shape(&document),
            json!({"name": "shop", "subsegments": [expected]})
        );
        let (trace, id) = (document.trace_id.unwrap(), &document.subsegments[0].id);
        let header = format!("Root={trace};Parent={id};Sampled=1");
        assert_eq!(seen.lock().unwrap().pop().unwrap().1, Some(header));
        let text = String::from_utf8(capture.json().remove(0)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn without_a_trace_it_passes_untouched() {
    let (address, seen) = server().await;
    let mut client: XRayClient<_> = XRayClientLayer::new().layer(plain());
    let response = client.call(request(&format!("http://{address}/7"))).await;
    assert_eq!(response.unwrap().text().await.unwrap(), "hello");
    assert_eq!(seen.lock().unwrap().pop().unwrap().1, None);
}

#[tokio::test]
async fn many_callers_look_at_the_status_only() {
    let (address, _) = server().await;
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let mut client: XRayClient<_> = XRayClientLayer::new().layer(plain());
    let url = format!("http://{address}/404");
    segment
        .scope(async { drop(client.call(request(&url)).await.unwrap()) })
        .await;
    segment.close();
    let mut expected = call("127.0.0.1", &url, 404, Some(5));
    expected["error"] = true.into();
    assert_eq!(shape(&only(&recorder, &capture).subsegments[0]), expected);
}

/// One call, however many requests the client makes of it.
#[tokio::test]
async fn redirects_are_within_the_call_and_take_the_header_along() {
    let (address, seen) = server().await;
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let mut client: XRayClient<_> = XRayClientLayer::new().layer(plain());
    let last = format!("http://localhost:{}/7", address.port());
    let url = format!("http://{address}/to?{last}");
    segment
        .scope(async {
            let response = client.call(request(&url)).await.unwrap();
            assert_eq!(response.url().as_str(), last);
            assert_eq!(response.text().await.unwrap(), "hello");
        })
        .await;
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(document.subsegments.len(), 1);
    let expected = call("127.0.0.1", &format!("http://{address}/to"), 200, Some(5));
    assert_eq!(shape(&document.subsegments[0]), expected);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].1.is_some());
    assert_eq!(seen[0].1, seen[1].1);
}

#[tokio::test]
async fn the_redirect_policy_keeps_headers_at_home() {
    let (address, seen) = server().await;
    let layer = XRayClientLayer::new().propagate_only_to(["127.0.0.0/8"]);
    let client = reqwest::Client::builder();
    let client = client.redirect(layer.redirect_policy(Policy::limited(1)));
    let mut client: XRayClient<_> = layer.layer(client.build().unwrap());
    let home = format!("http://{address}/7");
    let away = format!("http://localhost:{}/7", address.port());
    let twice = format!("http://{address}/to?{home}");
    for (from, to, traced, status, told) in [
        ("127.0.0.1", &home, true, 200, vec![true, true]),
        ("127.0.0.1", &away, true, 302, vec![true]),
        // Nothing is in the request that might get to the wrong host.
        ("127.0.0.1", &away, false, 200, vec![false, false]),
        ("localhost", &away, true, 200, vec![false, false]),
        ("localhost", &home, true, 200, vec![false, false]),
        // The policy within still holds.
        ("127.0.0.1", &twice, true, 0, vec![true, true]),
    ] {
        seen.lock().unwrap().clear();
        let (recorder, capture) = Recorder::capture("shop");
        let url = format!("http://{from}:{}/to?{to}", address.port());
        let (answered, documents) = if traced {
            let segment = recorder.begin_segment("shop");
            let answered = segment
                .scope(async { client.call(request(&url)).await })
                .await;
            let answered = answered.map(|response| response.status().as_u16());
            segment.close();
            (answered, only(&recorder, &capture).subsegments.len())
        } else {
            let answered = client.call(request(&url)).await;
            none(&recorder, &capture);
            (answered.map(|response| response.status().as_u16()), 1)
        };
        assert_eq!(answered.unwrap_or(0), status, "{from} {to} {traced}");
        assert_eq!(documents, 1);
        let seen = seen.lock().unwrap();
        let headers = seen.iter().map(|(_, header)| header.is_some());
        assert_eq!(headers.collect::<Vec<_>>(), told, "{from} {to} {traced}");
    }
}

/// Switched off, a request carries nothing that might get to the wrong host.
#[tokio::test]
async fn switched_off_no_redirect_is_stopped() {
    let (address, seen) = server().await;
    let layer = XRayClientLayer::new().propagate_only_to(["127.0.0.0/8"]);
    let client = reqwest::Client::builder();
    let client = client.redirect(layer.redirect_policy(Policy::limited(1)));
    let mut client: XRayClient<_> = layer.layer(client.build().unwrap());
    let off = Recorder::builder("shop").ignore_environment();
    let off = off.enabled(false).build().unwrap();
    let away = format!("http://localhost:{}/7", address.port());
    let url = format!("http://{address}/to?{away}");
    let segment = off.begin_segment("shop");
    let call = segment.scope(async { client.call(request(&url)).await });
    assert_eq!(call.await.unwrap().status(), 200);
    let headers = seen.lock().unwrap().clone();
    let headers: Vec<_> = headers.into_iter().map(|(_, line)| line).collect();
    assert_eq!(headers, [None, None]);
}

/// Of a request that was made from one of `http`, extensions are seen, and all
/// of it is sent as it was.
#[tokio::test]
async fn extensions_of_a_request_are_seen_and_kept() {
    let (address, seen) = server().await;
    let mut client = XRayClientLayer::new()
        .on_request(|request, call| {
            let tenant: &Tenant = request.extensions.get().unwrap();
            call.annotate("tenant", tenant.0);
        })
        .layer(service_fn(|request: reqwest::Request| {
            assert_eq!(request.url().fragment(), Some("part"));
            assert_eq!(request.url().password(), Some("hunter2"));
            assert_eq!(request.method(), Method::PUT);
            assert_eq!(request.version(), http::Version::HTTP_10);
            assert_eq!(request.timeout(), Some(&Duration::from_secs(60)));
            assert_eq!(request.headers()["x-tenant"], "t-42");
            assert_eq!(request.body().unwrap().as_bytes(), Some(&b"roses"[..]));
            let sent = http::Request::try_from(request.try_clone().unwrap()).unwrap();
            assert_eq!(sent.extensions().get::<Tenant>(), Some(&Tenant("t-42")));
            plain().oneshot(request)
        }));
    for untraced in [false, true] {
        let mut request = Request::put(format!("http://{address}/7"))
            .header("x-tenant", "t-42")
            .header("x-amzn-trace-id", "Root=own")
            .extension(Tenant("t-42"));
        if untraced {
            request = request.extension(Untraced);
        }
        let mut request = reqwest::Request::try_from(request.body("roses").unwrap()).unwrap();
        *request.timeout_mut() = Some(Duration::from_secs(60));
        *request.version_mut() = http::Version::HTTP_10;
        request.url_mut().set_fragment(Some("part"));
        request.url_mut().set_password(Some("hunter2")).unwrap();
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let response = segment.scope(async { client.call(request).await });
        assert_eq!(response.await.unwrap().text().await.unwrap(), "hello");
        segment.close();
        let header = seen.lock().unwrap().pop().unwrap().1.unwrap();
        let document = only(&recorder, &capture);
        assert_eq!(document.subsegments.len(), usize::from(!untraced));
        assert_eq!(header == "Root=own", untraced, "{header}");
        if let Some(call) = document.subsegments.first() {
            assert_eq!(call.annotations["tenant"], "t-42");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tenant(&'static str);

/// A client whose errors are boxed, where its type has to be written.
#[tokio::test]
async fn a_client_with_boxed_errors_has_a_name() {
    struct State {
        stock: XRayClient<Timeout<reqwest::Client>, BoxedErrors>,
    }
    let (address, seen) = server().await;
    let (recorder, capture) = Recorder::capture("shop");
    let within = Timeout::new(plain(), Duration::from_secs(60));
    let mut state = State {
        stock: XRayClientLayer::new().layer(within),
    };
    let segment = recorder.begin_segment("shop");
    let url = format!("http://{address}/7");
    let call = segment.scope(async { state.stock.call(request(&url)).await });
    assert_eq!(call.await.unwrap().text().await.unwrap(), "hello");
    segment.close();
    assert_eq!(only(&recorder, &capture).subsegments.len(), 1);
    assert!(seen.lock().unwrap()[0].1.is_some());
}

/// reqwest's errors show the URL with everything in it.
#[tokio::test]
async fn errors_are_recorded_without_secrets_and_returned_whole() {
    // A port that nobody listens on: it was ours a moment ago.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://ann:hunter2@{address}/7?token=hunter2#hunter2");
    for boxed in [false, true] {
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let error = segment
            .scope(async {
                if boxed {
                    let client = TimeoutLayer::new(Duration::from_secs(60)).layer(plain());
                    let client = XRayClientLayer::new().layer(client);
                    let error = client.oneshot(request(&url)).await.unwrap_err();
                    *error.downcast::<reqwest::Error>().unwrap()
                } else {
                    let client = XRayClientLayer::new().layer(plain());
                    client.oneshot(request(&url)).await.unwrap_err()
                }
            })
            .await;
        segment.close();
        assert!(error.is_connect());
        let whole = error.url().unwrap().as_str();
        assert!(whole.contains("?token=hunter2"), "{whole}");
        let document = only(&recorder, &capture);
        let call = &document.subsegments[0];
        assert!(call.fault);
        let message = call.exceptions()[0].message.as_deref().unwrap();
        let expected = format!("error sending request for url (http://{address}/7)");
        assert_eq!(message, expected);
        let kind = if boxed {
            "Error"
        } else {
            "reqwest::error::Error"
        };
        assert_eq!(call.exceptions()[0].kind.as_deref(), Some(kind));
        let text = String::from_utf8(capture.json().remove(0)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_fault() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        stream.write_all(head).await.unwrap();
    });
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let client = XRayClientLayer::new().layer(plain());
    let url = format!("http://{address}/7");
    let error = segment
        .scope(async {
            let response = client.oneshot(request(&url)).await.unwrap();
            assert_eq!(response.content_length(), Some(9));
            response.text().await.unwrap_err()
        })
        .await;
    segment.close();
    assert!(error.is_decode(), "{error:?}");
    let document = only(&recorder, &capture);
    let shape = shape(&document.subsegments[0]);
    assert_eq!(shape["fault"], true);
    assert_eq!(
        shape["cause"][0],
        "reqwest::error::Error: request or response body error"
    );
    assert_eq!(
        shape["http"]["response"],
        json!({"status": 200, "content_length": 9})
    );
}

/// reqwest's own timeout while the body is on its way is still one to callers.
#[tokio::test]
async fn a_timeout_of_the_body_is_still_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        stream.write_all(head).await.unwrap();
        std::future::pending::<()>().await;
    });
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let client = XRayClientLayer::new().layer(plain());
    let mut request = request(&format!("http://{address}/7"));
    *request.timeout_mut() = Some(Duration::from_millis(300));
    let error = segment
        .scope(async {
            let response = client.oneshot(request).await.unwrap();
            response.text().await.unwrap_err()
        })
        .await;
    segment.close();
    assert!(error.is_timeout(), "{error:?}");
    assert!(only(&recorder, &capture).subsegments[0].fault);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/7", listener.local_addr().unwrap());
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let client = XRayClientLayer::new().layer(plain());
    let call = segment.scope(client.oneshot(request(&url)));
    let wait = Duration::from_millis(50);
    assert!(tokio::time::timeout(wait, call).await.is_err());
    segment.close();
    assert_balanced(&recorder);
    let document = only(&recorder, &capture);
    let shape = shape(&document.subsegments[0]);
    let cancelled = "Cancelled: dropped before there was a response";
    assert_eq!(
        (&shape["error"], &shape["cause"]),
        (&json!(true), &json!([cancelled]))
    );
}
