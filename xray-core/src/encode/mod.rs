//! Record to documents, on the emission thread: values are made valid, written
//! as JSON by hand, and packed into documents that fit.

pub(crate) mod json;
mod members;
pub(crate) mod pack;
pub(crate) mod valid;
