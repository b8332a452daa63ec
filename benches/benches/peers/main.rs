//! What recording and sending a trace costs, beside the peers, in one run.
//!
//! ```text
//! cargo bench -p xray-benches --bench peers              # some three minutes
//! cargo bench -p xray-benches --bench peers -- --quick   # some twenty seconds
//! ```
//!
//! Every measurement runs in a process of its own, so that no thread of one
//! peer is counted to another; they take turns, round after round, so that
//! what else the machine does meets all of them.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod allocations;
mod fastrace_peer;
mod floor;
mod machine;
mod measure;
mod opentelemetry_peer;
mod ours;
mod rounds;
mod scenario;
mod sink;
mod table;
mod targets;
mod tracing_peer;
mod work;
mod xray_lite_peer;

/// The header that is parsed.
const HEADER: &str = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    if let Some(at) = arguments
        .iter()
        .position(|argument| argument == rounds::CHILD)
    {
        return rounds::child(arguments.get(at + 1), quick);
    }
    println!("{}", machine::description());
    let results = rounds::run(quick);
    table::print(&results);
    targets::print(&results);
}
