use std::time::Duration;

use axum::{Router, routing::get};
use tokio::signal::unix::{SignalKind, signal};
use xray_core::{Recorder, TraceExt, current};
use xray_tower::XRayLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recorder = Recorder::builder("shop").build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let served = axum::serve(listener, app(&recorder));
    served.with_graceful_shutdown(told_to_end()).await?;
    recorder.shutdown(Duration::from_secs(2)).await; // sends what is queued
    Ok(())
}

fn app(recorder: &Recorder) -> Router {
    Router::new()
        .route("/orders/{id}", get(order))
        .layer(XRayLayer::new(recorder.clone()).skip_path("/health"))
}

async fn order() -> &'static str {
    current().annotate("tenant", "t-42");            // on the request's segment
    load().subsegment("load order").await            // a subsegment of its own
}

async fn load() -> &'static str {
    "7 roses"
}

async fn told_to_end() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler of SIGTERM");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
