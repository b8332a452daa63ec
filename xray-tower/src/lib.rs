//! Tower layers that trace HTTP servers and clients with AWS X-Ray.

// a request comes in
mod server;

// what it has to call
mod client;

// both, from the call to the last frame
mod exchange;

// what is read from requests and responses
mod classify;
mod url;

pub use classify::Classify;
pub use client::{XRayClient, XRayClientLayer};
pub use exchange::{XRayBody, XRayFuture};
pub use server::{PeerAddr, XRay, XRayLayer};
