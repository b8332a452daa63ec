//! What axum knows of a request: the route's template and the peer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use common::{client, eventually, only};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use xray_core::Recorder;
use xray_tower::XRayLayer;

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
    // The URL is the one the layer sees, as documented.
    let request = document.http.unwrap().request.unwrap();
    assert_eq!(request.url.as_deref(), Some("http://shop.example/orders/7"));
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
