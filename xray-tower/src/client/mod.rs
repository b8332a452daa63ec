//! Requests that go out.

mod destinations;
mod layer;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;

pub use layer::XRayClientLayer;
#[cfg(feature = "reqwest")]
pub use reqwest::XRayReqwestFuture;
pub use service::XRayClient;
