//! What the fuzzer runs: functions that take any bytes and fail where a promise
//! is broken. The crate `fuzz` at the root hands each of them to libFuzzer, and
//! `any_input_keeps_the_promises` every committed input.

// what targets share
mod bytes;
mod tree;

// set-up, what callers say, whether to record
mod daemon_address;
mod header;
mod sampling_rules;
mod wildcard;

// what is recorded, and how it leaves
mod document;
pub mod model;
mod name;
mod ops;
mod secrets;
mod split;

// what others write and read
mod datagram;
mod log_lines;

pub use daemon_address::daemon_address;
pub use datagram::xray_local_datagram;
pub use document::document_writer;
pub use header::{header_parse, header_round_trip, w3c_convert};
pub use log_lines::tracing_bridge_fields;
pub use model::slow_model;
pub use name::name_annotation;
pub use ops::ops;
pub use sampling_rules::sampling_rules_json;
pub use secrets::url_scrub;
pub use split::split_rejoin;
pub use wildcard::wildcard;

/// Takes any bytes, and panics where a promise is broken.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 14] = [
    ("header_parse", header_parse),
    ("header_round_trip", header_round_trip),
    ("w3c_convert", w3c_convert),
    ("daemon_address", daemon_address),
    ("sampling_rules_json", sampling_rules_json),
    ("wildcard", wildcard),
    ("document_writer", document_writer),
    ("split_rejoin", split_rejoin),
    ("name_annotation", name_annotation),
    ("url_scrub", url_scrub),
    ("tracing_bridge_fields", tracing_bridge_fields),
    ("xray_local_datagram", xray_local_datagram),
    ("ops", ops),
    ("slow_model", slow_model),
];
