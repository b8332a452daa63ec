//! The first service: every way a request can go and end.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use xray_core::{Recorder, TraceExt, current};
use xray_tower::{XRayClient, XRayClientLayer, XRayLayer};

#[derive(Clone)]
struct Inventory {
    url: String,
    client: XRayClient<Client<HttpConnector, Empty<Bytes>>>,
}

pub(crate) fn service(recorder: Recorder, inventory: &str) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let inventory = Inventory {
        url: inventory.to_owned(),
        client: XRayClientLayer::new().layer(client),
    };
    Router::new()
        .route("/checkout/{order}", get(checkout))
        .route("/missing", get(StatusCode::NOT_FOUND))
        .route("/throttled", get(StatusCode::TOO_MANY_REQUESTS))
        .route("/fail", get(fail))
        .route("/panic", get(panic))
        .route("/stream", get(streamed))
        .route("/big", get(big))
        .route("/health", get("well"))
        .layer(XRayLayer::new(recorder).skip_path("/health"))
        .layer(CatchPanicLayer::new())
        .with_state(inventory)
}

async fn checkout(State(inventory): State<Inventory>, Path(order): Path<String>) -> Response {
    let request = current();
    request.annotate("order", &order);
    request.annotate("items", 3_u64);
    request.annotate("gift", false);
    request.metadata("cart", json!({ "items": ["tea", "cup"], "total": 17.5 }));

    let price = request.in_subsegment("price", |price| {
        price.annotate("currency", "EUR");
        price.in_subsegment("discount", |_| ());
        price.in_subsegment("tax", |tax| tax.annotate("rate", 0.19));
        17.5
    });
    let (_, _, stock) = tokio::join!(
        pause(2).subsegment("load customer"),
        pause(3).subsegment("reserve payment"),
        inventory.stock(&order),
    );
    match stock {
        Ok(stock) => format!("{order}: {stock} in stock for {price}\n").into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response(),
    }
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

impl Inventory {
    async fn stock(&self, order: &str) -> anyhow::Result<usize> {
        let request = Request::get(format!("{}/stock/{order}", self.url)).body(Empty::new())?;
        let response = self.client.clone().oneshot(request).await?;
        anyhow::ensure!(
            response.status().is_success(),
            "inventory says {}",
            response.status()
        );
        Ok(response.into_body().collect().await?.to_bytes().len())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the order could not be paid")]
struct PaymentError(#[source] CardError);

#[derive(Debug, thiserror::Error)]
#[error("the card was refused")]
struct CardError;

async fn fail() -> StatusCode {
    let paid = async { Err::<(), _>(PaymentError(CardError)) };
    match paid.try_subsegment("pay").await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            current().record_fault(&error);
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[expect(clippy::panic, reason = "shows what a panic looks like in a trace")]
async fn panic() -> StatusCode {
    panic!("the shelf fell down")
}

/// Ten chunks in some 200 ms.
async fn streamed() -> Response {
    let chunks = stream::unfold(0, |chunk| async move {
        if chunk == 10 {
            return None;
        }
        pause(20).await;
        let text = format!("chunk {chunk}\n");
        Some((Ok::<_, Infallible>(Bytes::from(text)), chunk + 1))
    });
    Response::new(Body::from_stream(chunks))
}

/// More than 300 KB of trace in 500 subsegments.
async fn big() -> &'static str {
    let request = current();
    for number in 0..500_u64 {
        request.in_subsegment("part", |part| {
            part.annotate("number", number);
            part.metadata("filling", "x".repeat(600));
        });
    }
    "done\n"
}
