//! How many instructions small pieces of work take, beside a baseline: what no
//! noisy neighbour changes.
//!
//! ```text
//! cargo bench -p xray-benches --bench instructions             # compare
//! cargo bench -p xray-benches --bench instructions -- --save   # new baseline
//! ```
//!
//! Needs valgrind. Counts repeat within 0.5 % with one compiler on one machine:
//! ids are random and times have more or fewer digits. A change is worth a look
//! from 1 % on. Another compiler, C library or processor counts otherwise.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod baseline;
mod callgrind;
mod scenario;

use baseline::Baseline;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [counted, name, times] = arguments.as_slice()
        && counted == callgrind::COUNTED
    {
        return work(name, times.parse().unwrap_or_default());
    }
    if !callgrind::is_installed() {
        println!("valgrind is not installed: nothing was counted, nothing compared.");
        return;
    }
    compare(arguments.iter().any(|argument| argument == "--save"));
}

/// What valgrind counts.
fn work(name: &str, times: u32) {
    let found = scenario::ALL.iter().find(|scenario| scenario.name == name);
    if let Some(scenario) = found {
        (scenario.work)(times);
    }
}

fn compare(save: bool) {
    let baseline = Baseline::read();
    if let Some(other) = baseline.other_compiler() {
        println!("The baseline was counted with {other}: expect differences.\n");
    }
    println!("| work | instructions | baseline | change |");
    println!("|---|--:|--:|--:|");
    let mut counts = Vec::new();
    for scenario in &scenario::ALL {
        let count = match callgrind::instructions(scenario) {
            Ok(count) => count,
            Err(problem) => {
                println!("| {} | not counted: {problem} | | |", scenario.name);
                continue;
            }
        };
        counts.push((scenario.name, count));
        let before = baseline.count(scenario.name);
        let (before, change) = before.map_or_else(Default::default, |before| {
            let change = (count as f64 / before as f64 - 1.0) * 100.0;
            (before.to_string(), format!("{change:+.1} %"))
        });
        println!("| {} | {count} | {before} | {change} |", scenario.name);
    }
    if save {
        let saved = match counts.len() == scenario::ALL.len() {
            true => baseline::save(&counts).map_err(|problem| problem.to_string()),
            false => Err("not everything was counted".to_owned()),
        };
        match saved {
            Ok(()) => println!("\nSaved as the baseline."),
            Err(problem) => println!("\nNot saved: {problem}"),
        }
    }
}
