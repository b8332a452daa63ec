//! A panic is a fault with its message wherever it happens, and goes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{assert_balanced, get, http_block, only, shape};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, Service, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use xray_core::Recorder;
use xray_tower::{XRayClientLayer, XRayLayer};

#[derive(Debug, Clone, Copy)]
enum Place {
    Call,
    FirstPoll,
    AfterAwait,
}

const PLACES: [Place; 3] = [Place::Call, Place::FirstPoll, Place::AfterAwait];

#[derive(Clone)]
struct Panics(Place);

impl<B> Service<Request<B>> for Panics {
    type Response = Response<common::Plain>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let place = self.0;
        if matches!(place, Place::Call) {
            panic!("lost the cart");
        }
        Box::pin(async move {
            let _below = xray_core::current().begin_subsegment("below");
            if matches!(place, Place::AfterAwait) {
                tokio::task::yield_now().await;
            }
            panic!("lost the cart");
        })
    }
}

fn expected(place: Place) -> serde_json::Value {
    let mut expected = json!({
        "name": "shop",
        "fault": true,
        "cause": ["panic: lost the cart"],
        "http": http_block(500, None),
    });
    if !matches!(place, Place::Call) {
        expected["subsegments"] = json!([{
            "name": "below", "fault": true, "cause": ["panic: the thread panicked"],
        }]);
    }
    expected
}

#[tokio::test]
async fn a_panic_that_nobody_catches_is_recorded_and_goes_on() {
    for place in PLACES {
        let (recorder, capture) = Recorder::capture("shop");
        let service = XRayLayer::new(recorder.clone()).layer(Panics(place));
        let task = tokio::spawn(service.oneshot(get("http://shop.example/")));
        let panic = task.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"lost the cart"), "{place:?}");
        assert_eq!(
            shape(&only(&recorder, &capture)),
            expected(place),
            "{place:?}"
        );
    }
}

#[tokio::test]
async fn a_panic_caught_outside_is_recorded_with_its_message() {
    for place in PLACES {
        let (recorder, capture) = Recorder::capture("shop");
        let service = XRayLayer::new(recorder.clone()).layer(Panics(place));
        let service = CatchPanicLayer::new().layer(service);
        let response = service.oneshot(get("http://shop.example/")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(
            shape(&only(&recorder, &capture)),
            expected(place),
            "{place:?}"
        );
    }
}

/// What catches it inside makes a response of it; its message is gone by then.
#[tokio::test]
async fn a_panic_caught_inside_is_a_fault_by_its_status() {
    for place in PLACES {
        let (recorder, capture) = Recorder::capture("shop");
        let service = CatchPanicLayer::new().layer(Panics(place));
        let service = XRayLayer::new(recorder.clone()).layer(service);
        let response = service.oneshot(get("http://shop.example/")).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let document = only(&recorder, &capture);
        assert!(document.fault, "{place:?}");
        assert_eq!(document.cause, None, "{place:?}");
        let http = shape(&document)["http"].clone();
        assert_eq!(http, http_block(500, Some(body.len() as u64)), "{place:?}");
    }
}

struct PanickingBody(u32);

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(self.0 > 0, "lost the page");
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[tokio::test]
async fn a_panic_in_the_body_keeps_the_status_that_was_sent() {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(tower::service_fn(async |_| {
        Ok::<_, Infallible>(Response::new(PanickingBody(3)))
    }));
    let response = service.oneshot(get("http://shop.example/")).await.unwrap();
    let task = tokio::spawn(response.into_body().collect());
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "fault": true,
            "cause": ["panic: lost the page"],
            "http": http_block(200, None),
        })
    );
}

/// Another future of the same task panics, and this one goes down with it.
#[tokio::test]
async fn an_exchange_that_is_unwound_is_no_success() {
    for polled in [false, true] {
        let (recorder, capture) = Recorder::capture("shop");
        let service = XRayLayer::new(recorder.clone()).layer(tower::service_fn(
            async |_: Request<common::Plain>| {
                std::future::pending::<()>().await;
                common::hello(get("/")).await
            },
        ));
        let task = tokio::spawn(async move {
            let mut exchange = Box::pin(service.oneshot(get("http://shop.example/")));
            if polled {
                let once = std::future::poll_fn(|cx| {
                    assert!(exchange.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                });
                once.await;
            }
            panic!("elsewhere");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_balanced(&recorder);
        let documents = capture.documents();
        // Unpolled, `oneshot` has not called the service yet.
        assert_eq!(documents.len(), usize::from(polled));
        assert!(documents.iter().all(|document| document.fault));
    }
}

/// Who reads an answer panics, and its body goes down with it.
#[tokio::test]
async fn an_answer_that_is_unwound_is_no_success() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let client =
        XRayClientLayer::new().layer(tower::service_fn(async |_: Request<common::Plain>| {
            Ok::<_, Infallible>(Response::new(PanickingBody(3)))
        }));
    let reads = segment.scope(async move {
        let answer = client.oneshot(get("http://stock.example/")).await.unwrap();
        let mut body = answer.into_body();
        body.frame().await.unwrap().unwrap();
        panic!("elsewhere");
    });
    assert!(tokio::spawn(reads).await.unwrap_err().is_panic());
    segment.close();
    let call = &only(&recorder, &capture).subsegments[0];
    assert_eq!(
        shape(call),
        json!({
            "name": "stock.example",
            "namespace": "remote",
            "fault": true,
            "cause": ["panic: the thread panicked"],
            "http": {
                "request": {"method": "GET", "url": "http://stock.example/"},
                "response": {"status": 200},
            },
        })
    );
}
