//! The second service: knows what is in stock.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use xray_core::{Recorder, TraceExt, current};
use xray_tower::XRayLayer;

pub(crate) fn service(recorder: Recorder) -> Router {
    Router::new()
        .route("/stock/{order}", get(stock))
        .layer(XRayLayer::new(recorder))
}

async fn stock(Path(order): Path<String>) -> Json<Value> {
    current().annotate("order", &order);
    let count = count(&order).subsegment("count shelves").await;
    Json(json!({ "order": order, "stock": count }))
}

async fn count(order: &str) -> usize {
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    order.len()
}
