//! This program again, under valgrind, which counts.

use std::process::{Command, Stdio};

use crate::scenario::Scenario;

/// The argument of a run that is counted.
pub(crate) const COUNTED: &str = "--work";

pub(crate) fn is_installed() -> bool {
    let mut valgrind = Command::new("valgrind");
    let run = valgrind.arg("--version").stdout(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// Instructions each time the work is done: what twice as many cost more, so
/// that the start of the program cancels.
pub(crate) fn instructions(scenario: &Scenario) -> Result<u64, String> {
    let once = total(scenario, scenario.times)?;
    let twice = total(scenario, 2 * scenario.times)?;
    Ok(twice.saturating_sub(once) / u64::from(scenario.times))
}

fn total(scenario: &Scenario, times: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([COUNTED, scenario.name, &times.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {said}", output.status));
    }
    let collected = said.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected :")?;
        count.trim().parse().ok()
    });
    collected.ok_or_else(|| format!("valgrind told no count: {said}"))
}
