//! Requests that ask not to be recorded.

use http::Extensions;

/// An extension of requests that are not to be recorded. Put there by a layer
/// further out, or by who sends the request.
///
/// On a server it is as if [`skip`](crate::XRayLayer::skip) had said so. On a
/// client there is no subsegment, and no header is put in or taken away; a
/// `reqwest::Request` has it when it was made from a request of `http`.
///
/// ```
/// # use tower::{Layer, Service, ServiceBuilder, service_fn};
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// use xray_tower::{Untraced, XRayLayer};
///
/// let mut service = ServiceBuilder::new()
///     .map_request(|mut request: http::Request<String>| {
///         if request.headers().contains_key("x-probe") {
///             request.extensions_mut().insert(Untraced);
///         }
///         request
///     })
///     .layer(XRayLayer::new(recorder))
/// #   .service(service_fn(async |request| Ok::<_, std::io::Error>(http::Response::new(String::new()))));
/// # let _ = service.call(http::Request::new(String::new()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is there or it is not")]
pub struct Untraced;

impl Untraced {
    pub(crate) fn marks(request: &Extensions) -> bool {
        request.get::<Self>().is_some()
    }
}
