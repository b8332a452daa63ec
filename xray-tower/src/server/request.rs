//! What is read from a request that comes in.

use std::net::{IpAddr, SocketAddr};
use std::str;

use http::HeaderName;
use http::header::USER_AGENT;
use http::request::Parts;
use xray_core::{
    Entity, HttpRequest, RequestFacts, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER,
    TraceHeader,
};

use crate::url::{authority, url};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a connection's other end, as an extension of its requests.
/// Whoever accepts connections puts it there; axum's `ConnectInfo` serves as
/// well with the feature `axum`.
///
/// ```
/// # let address: std::net::SocketAddr = "203.0.113.9:4711".parse()?;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(xray_tower::PeerAddr(address));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "an address is all there is to it"
)]
pub struct PeerAddr(pub SocketAddr);

/// The tracing headers, each by its first line.
pub(super) fn trace_header(request: &Parts) -> TraceHeader {
    let first = |name| Some(request.headers.get::<&str>(name)?.as_bytes());
    TraceHeader::from_headers(
        first(TRACE_HEADER),
        first(TRACEPARENT_HEADER),
        first(TRACESTATE_HEADER),
    )
}

/// Read by samplers that ask.
pub(super) struct Facts<'a>(pub(super) &'a Parts);

impl RequestFacts for Facts<'_> {
    fn host(&self) -> Option<&str> {
        authority(self.0)
    }

    fn method(&self) -> Option<&str> {
        Some(self.0.method.as_str())
    }

    fn path(&self) -> Option<&str> {
        Some(self.0.uri.path())
    }
}

/// Writes down the request. Of its headers only those named here are read.
pub(super) fn record(entity: &Entity, request: &Parts) {
    let text = |name| str::from_utf8(request.headers.get::<HeaderName>(name)?.as_bytes()).ok();
    let url = url(request);
    let peer = peer(request).map(|ip| ip.to_canonical().to_string());
    let mut block = HttpRequest::new(request.method.as_str(), &url);
    if let Some(user_agent) = text(USER_AGENT) {
        block = block.user_agent(user_agent);
    }
    if let Some(peer) = &peer {
        block = block.client_ip(peer);
    }
    if let Some(forwarded) = text(FORWARDED_FOR) {
        block = block.forwarded_for(forwarded);
    }
    entity.http_request(&block);
    #[cfg(feature = "axum")]
    if let Some(route) = request.extensions.get::<axum::extract::MatchedPath>() {
        entity.annotate("route", route.as_str());
    }
}

fn peer(request: &Parts) -> Option<IpAddr> {
    if let Some(PeerAddr(address)) = request.extensions.get() {
        return Some(address.ip());
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) = request
        .extensions
        .get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(address.ip());
    }
    None
}
