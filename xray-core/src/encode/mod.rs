//! Record to documents, on the emission thread: values are made valid, written
//! as JSON by hand, and packed into documents that fit.

pub(crate) mod aws;
mod cause;
pub(crate) mod json;
mod members;
pub(crate) mod pack;
#[cfg(test)]
mod tests;
pub(crate) mod valid;
