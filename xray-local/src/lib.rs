//! A local stand-in for the AWS X-Ray daemon: strict test daemon and trace printer.
//!
//! [`Daemon`] listens on UDP, judges every datagram by the rules of the daemon
//! and of the OpenTelemetry collector ([`check()`]), joins what it accepted into
//! traces ([`join`]), picks from them ([`Filter`]), and can draw them as trees
//! ([`render()`]) or write them as JSON ([`render_json`]). The binary of the same
//! name does that on a terminal. Nothing is sent to AWS.
//!
//! A datagram passes through the files in this order: `receiver` (socket and
//! thread, started and stopped by `daemon`), `datagram` and `json` (framing),
//! `check`, `rules`, `tidy` and `violation`, `store` (bounded memory, which traces are
//! finished), `trace` (join), `filter`, `render`, `json_line` and `escape` (text).

mod check;
mod daemon;
mod datagram;
mod escape;
mod filter;
mod json;
mod json_line;
mod kernel;
mod receiver;
mod render;
mod rules;
mod store;
mod tidy;
mod trace;
mod violation;

pub use check::{check, check_document};
pub use daemon::{Builder, Daemon};
pub use escape::escape;
pub use filter::{Filter, Flag};
pub use json_line::render_json;
pub use render::{Style, render};
pub use store::{Received, Rejected, TraceCounts};
pub use tidy::tidy;
pub use trace::{Node, Trace, join};
pub use violation::Violation;

pub use xray_core::document::Document;
