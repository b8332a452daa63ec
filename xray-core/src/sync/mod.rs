//! What threads share: the standard library's locks without their poison, or
//! loom's where every order of events is tried.
//!
//! The models stand beside what they model, in modules named `loom`, and drive
//! the types that ship. All of them, within their bound:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p xray-core --release --lib loom
//! ```

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod native;

#[cfg(loom)]
pub(crate) use model::*;
#[cfg(not(loom))]
pub(crate) use native::*;
