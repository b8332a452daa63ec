//! The segment ends with the body's last frame, or with whatever ends it
//! before.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::{Plain, client, eventually, get, http_block, only, serve, shape};
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Capture, Recorder, current};
use xray_tower::{XRayBody, XRayLayer};

/// A body of `x`s that never says it is at its end, as a stream cannot know.
/// Begins a subsegment with every frame.
struct Frames {
    left: usize,
    trailers: Option<HeaderMap>,
    fails: bool,
}

fn frames(left: usize) -> Frames {
    Frames {
        left,
        trailers: None,
        fails: false,
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left > 0 {
            self.left -= 1;
            current().annotate("frames_left", self.left);
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))));
        }
        if std::mem::take(&mut self.fails) {
            return Poll::Ready(Some(Err(io::Error::other("the disk is gone"))));
        }
        Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        current().annotate("dropped_within", true);
    }
}

fn poll<B: Body<Error = E> + Unpin, E>(body: &mut B) -> Poll<Option<Result<Frame<B::Data>, E>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// One exchange up to its head.
async fn exchange<B>(method: Method, response: Response<B>) -> (Recorder, Capture, XRayBody<B>)
where
    B: Body,
    B::Error: std::error::Error + 'static,
{
    let (recorder, capture) = Recorder::capture("shop");
    let mut response = Some(response);
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(move |_| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    let mut request = get("http://shop.example/");
    *request.method_mut() = method;
    let response = service.oneshot(request).await.unwrap();
    (recorder, capture, response.into_body())
}

fn clean(length: Option<u64>) -> Value {
    json!({"name": "shop", "http": http_block(200, length)})
}

fn annotated(mut shape: Value, frames_left: Option<usize>) -> Value {
    let mut annotations = json!({"dropped_within": true});
    if let Some(left) = frames_left {
        annotations["frames_left"] = left.into();
    }
    shape["annotations"] = annotations;
    shape
}

#[tokio::test]
async fn read_to_its_end() {
    let response = Response::new(frames(3));
    let (recorder, capture, body) = exchange(Method::GET, response).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "xxx");
    let expected = annotated(clean(Some(3)), Some(0));
    assert_eq!(shape(&only(&recorder, &capture)), expected);
}

#[tokio::test]
async fn the_end_is_the_last_frame_not_the_drop() {
    let response = Response::new(Plain::from("hello"));
    let (recorder, capture, mut body) = exchange(Method::GET, response).await;
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert_eq!(shape(&only(&recorder, &capture)), clean(Some(5)));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    drop(body);
    only(&recorder, &capture);
}

#[tokio::test]
async fn empty_ends_with_the_head() {
    let response = Response::new(Empty::<Bytes>::new());
    let (recorder, capture, body) = exchange(Method::GET, response).await;
    assert_eq!(shape(&only(&recorder, &capture)), clean(Some(0)));
    drop(body);
    only(&recorder, &capture);
}

#[tokio::test]
async fn what_has_no_body_may_be_dropped_unpolled() {
    for (method, status, declared, length) in [
        (Method::HEAD, 200, None, None),
        (Method::HEAD, 200, Some("7"), Some(7)),
        (Method::GET, 204, None, None),
        (Method::GET, 304, Some("7"), Some(7)),
        (Method::CONNECT, 200, None, None),
        (Method::GET, 101, None, None),
        (Method::GET, 200, Some("0"), Some(0)),
    ] {
        let mut response = Response::builder().status(status);
        if let Some(declared) = declared {
            response = response.header("content-length", declared);
        }
        let response = response.body(frames(7)).unwrap();
        let (recorder, capture, body) = exchange(method.clone(), response).await;
        drop(body);
        let mut expected = annotated(clean(length), None);
        expected["http"] = http_block(status, length);
        expected["http"]["request"]["method"] = method.as_str().into();
        assert_eq!(shape(&only(&recorder, &capture)), expected);
    }
}

#[tokio::test]
async fn a_refused_connect_has_a_body() {
    let response = Response::builder().status(403).body(frames(7)).unwrap();
    let (recorder, capture, body) = exchange(Method::CONNECT, response).await;
    drop(body);
    let document = only(&recorder, &capture);
    assert_eq!(document.exceptions()[0].kind.as_deref(), Some("Cancelled"));
}

/// A server sends no more than it declared, and lets go of the body without
/// asking whether that was all.
#[tokio::test]
async fn a_declared_length_that_was_sent_is_the_end() {
    for (polls, is_clean) in [(2, false), (3, true)] {
        let response = Response::builder().header("content-length", 3);
        let response = response.body(frames(9)).unwrap();
        let (recorder, capture, mut body) = exchange(Method::GET, response).await;
        for _ in 0..polls {
            assert!(poll(&mut body).is_ready());
        }
        assert_eq!(recorder.open_entities(), 1, "there might be trailers");
        drop(body);
        let document = only(&recorder, &capture);
        assert_eq!(!document.error, is_clean, "{polls} polls");
        let response = &shape(&document)["http"]["response"];
        assert_eq!(*response, json!({"status": 200, "content_length": 3}));
    }
}

#[tokio::test]
async fn trailers_are_the_end() {
    let mut body = frames(2);
    body.trailers = Some(HeaderMap::new());
    let (recorder, capture, mut body) = exchange(Method::GET, Response::new(body)).await;
    for left in [1, 0] {
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
        assert_eq!(recorder.open_entities(), 1, "{left}");
    }
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
    let expected = annotated(clean(Some(2)), Some(0));
    assert_eq!(shape(&only(&recorder, &capture)), expected);
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn an_error_on_any_frame_is_a_fault() {
    for k in 0..=50 {
        let mut body = frames(k);
        body.fails = true;
        let (recorder, capture, body) = exchange(Method::GET, Response::new(body)).await;
        let error = body.collect().await.unwrap_err();
        assert_eq!(error.to_string(), "the disk is gone");
        let mut expected = annotated(clean(None), (k > 0).then_some(0));
        expected["fault"] = true.into();
        expected["cause"] = json!(["std::io::error::Error: the disk is gone"]);
        assert_eq!(shape(&only(&recorder, &capture)), expected, "frame {k}");
    }
}

#[tokio::test]
async fn dropped_at_any_frame_is_no_success() {
    for k in 0..=50 {
        let response = Response::new(frames(51));
        let (recorder, capture, mut body) = exchange(Method::GET, response).await;
        for _ in 0..k {
            assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(recorder.open_entities(), 1);
        drop(body);
        let sent = Some(k as u64);
        let mut expected = annotated(clean(sent), (k > 0).then(|| 51 - k));
        expected["error"] = true.into();
        expected["cause"] = json!(["Cancelled: the response body was dropped before its end"]);
        assert_eq!(shape(&only(&recorder, &capture)), expected, "frame {k}");
    }
}

#[tokio::test]
async fn hints_are_the_inner_bodys() {
    for body in [Plain::from(Bytes::new()), Plain::from("hello")] {
        let (hint, at_end) = (body.size_hint(), body.is_end_stream());
        let (_recorder, _capture, outer) = exchange(Method::GET, Response::new(body)).await;
        assert_eq!(outer.size_hint().exact(), hint.exact());
        assert_eq!(outer.is_end_stream(), at_end);
    }
    struct Ranged;
    impl Body for Ranged {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(3);
            hint.set_upper(9);
            hint
        }
    }
    let (recorder, _capture, mut body) = exchange(Method::GET, Response::new(Ranged)).await;
    assert!(poll(&mut body).is_pending());
    assert_eq!(recorder.open_entities(), 1);
    let hint = body.size_hint();
    assert_eq!((hint.lower(), hint.upper()), (3, Some(9)));
}

/// Real hyper: what it never polls, and when it stops polling.
#[tokio::test]
async fn hyper_ends_each_kind_of_body() {
    type Boxed = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;
    async fn handler<B>(request: Request<B>) -> Result<Response<Boxed>, Infallible> {
        let full = || {
            Plain::from("hello")
                .map_err(|never| match never {})
                .boxed_unsync()
        };
        let response = Response::builder();
        let response = match request.uri().path() {
            "/full" | "/head" => response.body(full()),
            "/empty" => response.body(Boxed::default()),
            "/declared" => response
                .header("content-length", 5)
                .body(frames(5).boxed_unsync()),
            "/chunked" => response.body(frames(5).boxed_unsync()),
            "/204" => response.status(204).body(frames(5).boxed_unsync()),
            _ => response.status(304).body(frames(5).boxed_unsync()),
        };
        Ok(response.unwrap())
    }
    for (method, path, status, length) in [
        ("GET", "/full", 200, Some(5)),
        ("HEAD", "/head", 200, Some(5)),
        ("GET", "/empty", 200, Some(0)),
        ("GET", "/declared", 200, Some(5)),
        ("GET", "/chunked", 200, Some(5)),
        ("HEAD", "/chunked", 200, None),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, None),
    ] {
        let (recorder, capture) = Recorder::capture("shop");
        let address = serve(XRayLayer::new(recorder.clone()).layer(service_fn(handler))).await;
        let url = format!("http://{address}{path}");
        let request = Request::builder().method(method).uri(&url);
        let request = request.body(Plain::default()).unwrap();
        let response = client().request(request).await.unwrap();
        assert_eq!(response.status(), status);
        response.into_body().collect().await.unwrap();
        eventually(&recorder, 1, &capture).await;
        let mut document = shape(&only(&recorder, &capture));
        document.as_object_mut().unwrap().remove("annotations");
        let mut response = json!({"status": status});
        if let Some(length) = length {
            response["content_length"] = length.into();
        }
        assert_eq!(
            document,
            json!({
                "name": "shop",
                "http": {"request": {"method": method, "url": url}, "response": response},
            }),
        );
    }
}

/// The client goes away in the middle of an endless body.
#[tokio::test]
async fn hyper_drops_the_body_of_a_client_that_left() {
    struct Endless;
    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
        }
    }
    let (recorder, capture) = Recorder::capture("shop");
    let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Endless)));
    let address = serve(XRayLayer::new(recorder.clone()).layer(service)).await;
    let response = client()
        .get(format!("http://{address}/").parse().unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    eventually(&recorder, 1, &capture).await;
    let document = only(&recorder, &capture);
    assert!(document.error);
    assert_eq!(document.exceptions()[0].kind.as_deref(), Some("Cancelled"));
}
