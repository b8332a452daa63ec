//! Requests that go out.

mod destinations;
mod layer;
mod service;

pub use layer::XRayClientLayer;
pub use service::XRayClient;
