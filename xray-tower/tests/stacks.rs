//! One segment for each request that reaches the layer, wherever it stands
//! among others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use common::{Plain, assert_balanced, get};
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::buffer::BufferLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_tower::XRayLayer;

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Stack = BoxCloneService<Request<Plain>, Response<Body>, BoxError>;

/// Answers `/`, and never anything else.
async fn handler(request: Request<Plain>) -> Result<Response<Body>, BoxError> {
    if request.uri().path() != "/" {
        std::future::pending::<()>().await;
    }
    let body = Plain::from("hello").map_err(BoxError::from);
    Ok(Response::new(body.boxed_unsync()))
}

fn add(which: usize, inner: Stack, recorder: &Recorder) -> Stack {
    match which {
        0 => XRayLayer::new(recorder.clone())
            .layer(inner)
            .map_response(|response| response.map(BodyExt::boxed_unsync))
            .boxed_clone(),
        1 => TimeoutLayer::new(Duration::from_secs(1))
            .layer(inner)
            .boxed_clone(),
        2 => BufferLayer::new(16).layer(inner).boxed_clone(),
        _ => LoadShedLayer::new().layer(inner).boxed_clone(),
    }
}

fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for code in 0..256 {
        let order = [code % 4, code / 4 % 4, code / 16 % 4, code / 64 % 4];
        if (0..4).all(|layer| order.contains(&layer)) {
            orders.push(order);
        }
    }
    orders
}

#[tokio::test(start_paused = true)]
async fn every_order_of_layers_records_each_request_once() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for order in orders {
        let (recorder, capture) = Recorder::capture("shop");
        let handler = BoxCloneService::new(service_fn(handler));
        let add = |inner, which: &usize| add(*which, inner, &recorder);
        let mut stack = order.iter().fold(handler, add);
        for uri in ["http://shop.example/", "http://shop.example/stuck"] {
            let response = stack.ready().await.unwrap().clone().oneshot(get(uri)).await;
            assert_eq!(response.is_ok(), uri.ends_with('/'), "{order:?}");
            if let Ok(response) = response {
                response.into_body().collect().await.unwrap();
            }
        }
        drop(stack);
        // A buffer gives its requests up in a task of its own.
        common::eventually(&recorder, 2, &capture).await;
        assert_balanced(&recorder);
        let documents = capture.documents();
        assert_eq!(documents.len(), 2, "{order:?}");
        let [clean, stuck] = &documents[..] else {
            unreachable!();
        };
        assert!(!clean.error && !clean.fault, "{order:?}");
        // Whether the timeout is within tells who is at fault.
        let place = |layer| order.iter().position(|known| *known == layer);
        let is_within = place(1) < place(0);
        assert_eq!(
            (stuck.fault, stuck.error),
            (is_within, !is_within),
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_request_that_was_shed_within_is_a_fault() {
    #[derive(Clone)]
    struct Busy;
    impl Service<Request<Plain>> for Busy {
        type Response = Response<Plain>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Plain>, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Request<Plain>) -> Self::Future {
            unreachable!("not ready")
        }
    }
    for is_within in [true, false] {
        let (recorder, capture) = Recorder::capture("shop");
        let xray = XRayLayer::new(recorder.clone());
        let shed = LoadShedLayer::new();
        let error = if is_within {
            let service = xray.layer(shed.layer(Busy));
            service.oneshot(get("/")).await.unwrap_err()
        } else {
            let service = shed.layer(XRayLayer::new(recorder.clone()).layer(Busy));
            service.oneshot(get("/")).await.unwrap_err()
        };
        assert!(error.is::<tower::load_shed::error::Overloaded>());
        assert_balanced(&recorder);
        let documents = capture.documents();
        assert_eq!(documents.len(), usize::from(is_within));
        assert!(documents.iter().all(|document| document.fault));
    }
}

/// One service, cloned for each of many requests at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clones_keep_their_requests_apart() {
    let (recorder, capture) = Recorder::capture("shop");
    let service =
        XRayLayer::new(recorder.clone()).layer(service_fn(async |request: Request<Plain>| {
            let order: u64 = request.uri().path()[1..].parse().unwrap();
            for _ in 0..5 {
                xray_core::current().in_subsegment("step", |step| step.annotate("order", order));
                tokio::task::yield_now().await;
            }
            xray_core::current().annotate("order", order);
            Ok::<_, Infallible>(Response::new(Plain::from("hello")))
        }));
    let mut tasks = tokio::task::JoinSet::new();
    for order in 0..200 {
        let service = service.clone();
        tasks.spawn(async move {
            let response = service.oneshot(get(&format!("/{order}"))).await.unwrap();
            response.into_body().collect().await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_balanced(&recorder);
    let documents = capture.documents();
    assert_eq!(documents.len(), 200);
    for document in &documents {
        assert_eq!(document.subsegments.len(), 5);
        for step in &document.subsegments {
            assert_eq!(step.annotations, document.annotations);
        }
    }
}

#[test]
fn what_is_handed_out_crosses_threads() {
    fn check<T: Send + Sync + Unpin>() {}
    fn sized<T: Clone + std::fmt::Debug + Send + Sync + 'static>() {}
    sized::<XRayLayer>();
    sized::<xray_tower::XRayClientLayer>();
    sized::<xray_tower::XRay<()>>();
    sized::<xray_tower::XRayClient<()>>();
    check::<xray_tower::XRayFuture<()>>();
    check::<xray_tower::XRayBody<()>>();
}
