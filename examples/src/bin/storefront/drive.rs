//! Drives requests over every route, as anybody's client would.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

const PATHS: [&str; 8] = [
    "/checkout/7",
    "/missing",
    "/throttled",
    "/fail",
    "/panic",
    "/stream",
    "/big",
    "/health",
];

/// Reads each answer to its end.
pub(crate) async fn drive(server: SocketAddr, requests: usize) -> anyhow::Result<()> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for path in PATHS.into_iter().cycle().take(requests) {
        let request = Request::get(format!("http://{server}{path}")).body(Empty::new())?;
        let answered = async {
            let response = client.request(request).await?;
            response.into_body().collect().await?;
            anyhow::Ok(())
        };
        answered.await.with_context(|| format!("GET {path}"))?;
    }
    Ok(())
}
