//! What is read from a request that comes in.

use std::net::{IpAddr, SocketAddr};
use std::str;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use xray_core::{
    Entity, HttpRequest, RequestFacts, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER,
    TraceHeader,
};

use crate::url::{Target, url};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Lines of that header that are looked at.
const FORWARDED_LINES: usize = 16;

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

/// The URI that the client asked for. Below axum's `nest` the request's own
/// path lacks the prefix; outside of a router it is whole.
pub(super) fn asked_uri(request: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = request.extensions.get() {
        return uri;
    }
    &request.uri
}

/// The host that the client asked for.
pub(super) fn asked_target(request: &Parts) -> Option<Target<'_>> {
    Target::of(asked_uri(request), &request.headers)
}

/// Read by samplers that ask.
pub(super) struct Facts<'a>(pub(super) &'a Parts);

impl RequestFacts for Facts<'_> {
    fn host(&self) -> Option<&str> {
        Some(asked_target(self.0)?.authority)
    }

    fn method(&self) -> Option<&str> {
        Some(self.0.method.as_str())
    }

    fn path(&self) -> Option<&str> {
        Some(asked_uri(self.0).path())
    }
}

/// Writes down the request. Of its headers only those named here are read.
pub(super) fn record(entity: &Entity, request: &Parts) {
    let url = url(asked_uri(request), asked_target(request).as_ref());
    let peer = peer(request).map(|ip| ip.to_string());
    let mut block = HttpRequest::new(request.method.as_str(), &url);
    if let Some(user_agent) = request.headers.get(USER_AGENT).and_then(text) {
        block = block.user_agent(user_agent);
    }
    if let Some(peer) = &peer {
        block = block.client_ip(peer);
    }
    let forwarded = request.headers.get_all(FORWARDED_FOR).iter();
    for line in forwarded.take(FORWARDED_LINES).filter_map(text) {
        block = block.forwarded_for(line);
    }
    entity.http_request(&block);
    #[cfg(feature = "axum")]
    if let Some(route) = request.extensions.get::<axum::extract::MatchedPath>() {
        entity.annotate("route", route.as_str());
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    str::from_utf8(value.as_bytes()).ok()
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
