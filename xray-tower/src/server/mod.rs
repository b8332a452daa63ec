//! Requests that come in.

mod layer;
mod names;
mod request;
mod service;

pub use layer::XRayLayer;
pub use request::PeerAddr;
pub use service::XRay;
