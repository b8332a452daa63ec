//! What axum knows of a request: the route's template and the peer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use common::{client, eventually, only};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::{Decision, Recorder, Sampler, SamplingRequest};
use xray_tower::{XRayClientLayer, XRayLayer};

fn router() -> Router {
    Router::new().route(
        "/orders/{id}",
        get(async |Path(id): Path<u32>| id.to_string()),
    )
}

fn request(path: &str) -> Request<axum::body::Body> {
    Request::get(path)
        .header("host", "shop.example")
        .body(axum::body::Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_layer_of_the_router_sees_the_route() {
    let (recorder, capture) = Recorder::capture("shop");
    let app = router().layer(XRayLayer::new(recorder.clone()));
    let response = app.oneshot(request("/orders/7")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "7");
    let document = only(&recorder, &capture);
    assert_eq!(document.annotations["route"], "/orders/{id}");
    assert_eq!(document.annotations.len(), 1);
}

#[tokio::test]
async fn a_route_layer_sees_it_below_a_nest_too() {
    let (recorder, capture) = Recorder::capture("shop");
    let orders = router().route_layer(XRayLayer::new(recorder.clone()));
    let app = Router::new().nest("/api", orders);
    let response = app.oneshot(request("/api/orders/7")).await.unwrap();
    drop(response.into_body().collect().await.unwrap());
    let document = only(&recorder, &capture);
    assert_eq!(document.annotations["route"], "/api/orders/{id}");
    let request = document.http.unwrap().request.unwrap();
    let asked = "http://shop.example/api/orders/7";
    assert_eq!(request.url.as_deref(), Some(asked));
}

/// Tells what the sampler was asked.
#[derive(Debug, Default, Clone)]
struct Paths(Arc<Mutex<Vec<String>>>);

impl Sampler for Paths {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        let facts = request.facts;
        let asked = [facts.host(), facts.path()].map(Option::unwrap_or_default);
        self.0.lock().unwrap().push(asked.concat());
        Decision::sampled()
    }
}

/// Within a nest, of a nest, round the nest and round the router: URL, sampling
/// path and skipped path are those of the client.
#[tokio::test]
async fn wherever_the_layer_is_the_path_is_the_clients() {
    type Place = fn(XRayLayer) -> Router;
    let places: [Place; 4] = [
        |layer| Router::new().nest("/api", Router::new().nest("/v1", router().layer(layer))),
        |layer| Router::new().nest("/api", Router::new().nest("/v1", router()).layer(layer)),
        |layer| {
            Router::new()
                .nest("/api", Router::new().nest("/v1", router()))
                .layer(layer)
        },
        |layer| {
            let app = Router::new().nest("/api", Router::new().nest("/v1", router()));
            Router::new().fallback_service(layer.layer(app))
        },
    ];
    for (at, place) in places.into_iter().enumerate() {
        let capture = xray_core::Capture::new(65_474);
        let paths = Paths::default();
        let builder = Recorder::builder("shop").ignore_environment();
        let builder = builder.sampler(paths.clone()).emitter(capture.clone());
        let recorder = builder.build().unwrap();
        let layer = XRayLayer::new(recorder.clone())
            .skip_path("/api/v1/orders/1")
            .skip_path("/orders/7");
        let app = place(layer);
        for path in ["/api/v1/orders/1", "/api/v1/orders/7"] {
            let response = app.clone().oneshot(request(path)).await.unwrap();
            assert_eq!(response.status(), 200);
            drop(response.into_body().collect().await.unwrap());
        }
        let http = only(&recorder, &capture).http.unwrap();
        let asked = "http://shop.example/api/v1/orders/7";
        assert_eq!(http.request.unwrap().url.as_deref(), Some(asked), "{at}");
        let asked = ["shop.example/api/v1/orders/7"];
        assert_eq!(*paths.0.lock().unwrap(), asked, "{at}");
    }
}

/// A handler that passes its request on: where that goes is its own affair.
#[tokio::test]
async fn a_call_has_its_own_path_whatever_was_asked() {
    let (recorder, capture) = Recorder::capture("shop");
    let proxy = async |mut request: Request<axum::body::Body>| {
        *request.uri_mut() = "http://stock.example/7".parse().unwrap();
        let mut client = XRayClientLayer::new().layer(service_fn(async |_| {
            Ok::<_, Infallible>(Response::new(axum::body::Body::empty()))
        }));
        client.call(request).await.unwrap()
    };
    let orders = Router::new().route("/orders", get(proxy));
    let app = Router::new().nest("/api", orders.layer(XRayLayer::new(recorder.clone())));
    let response = app.oneshot(request("/api/orders")).await.unwrap();
    drop(response.into_body().collect().await.unwrap());
    let call = only(&recorder, &capture).subsegments.remove(0);
    let url = call.http.unwrap().request.unwrap().url;
    assert_eq!(url.as_deref(), Some("http://stock.example/7"));
}

#[tokio::test]
async fn a_layer_round_the_router_does_not() {
    let (recorder, capture) = Recorder::capture("shop");
    let app = XRayLayer::new(recorder.clone()).layer(router());
    let response = app.oneshot(request("/orders/7")).await.unwrap();
    drop(response.into_body().collect().await.unwrap());
    assert!(only(&recorder, &capture).annotations.is_empty());
}

#[tokio::test]
async fn axum_serves_with_peer_and_head() {
    let (recorder, capture) = Recorder::capture("shop");
    let app = router().layer(XRayLayer::new(recorder.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, app).await.unwrap();
    });
    let request = Request::head(format!("http://{address}/orders/12?token=secret"));
    let request = request.body(common::Plain::default()).unwrap();
    let response = client().request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    eventually(&recorder, 1, &capture).await;
    let document = only(&recorder, &capture);
    assert_eq!(
        common::shape(&document),
        json!({
            "name": "shop",
            "http": {
                "request": {
                    "method": "HEAD",
                    "url": format!("http://{address}/orders/12"),
                    "client_ip": "127.0.0.1",
                },
                "response": {"status": 200, "content_length": 2},
            },
            "annotations": {"route": "/orders/{id}"},
        })
    );
}
