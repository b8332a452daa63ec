//! One request and its response, seen from either side: from the call until
//! the last frame of the body.
//!
//! `future` leads to the response's head, `body` from there to its end, and
//! `guard`, which both carry, closes what records the exchange.

mod body;
mod future;
mod guard;

pub use body::XRayBody;
pub use future::XRayFuture;
pub(crate) use guard::{Callbacks, Guard, Owner, Side};
