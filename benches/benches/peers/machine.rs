//! Where the figures come from.

use std::process::Command;

pub(crate) fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!(
        "{cores} cores, {model}, {}; {}; commit {}; peers: {}.",
        said_by("uname", &["-sr"]),
        said_by("rustc", &["--version"]),
        said_by("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        peers(),
    )
}

fn processor() -> Option<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = cpus.lines().find(|line| line.starts_with("model name"))?;
    Some(model.split_once(':')?.1.trim().to_owned())
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let said = output.filter(|output| output.status.success());
    said.map_or_else(
        || format!("{program}: unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Their versions, from the lock file this was built with.
fn peers() -> String {
    let lock = include_str!("../../../Cargo.lock");
    let mut lines = lock.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("name = \"").unwrap_or_default();
        let name = name.trim_end_matches('"');
        if PEERS.contains(&name) {
            let version = lines.next().unwrap_or_default();
            let version = version.trim_start_matches("version = ").trim_matches('"');
            found.push(format!("{name} {version}"));
        }
    }
    found.join(", ")
}

const PEERS: [&str; 7] = [
    "fastrace",
    "opentelemetry",
    "opentelemetry-aws",
    "opentelemetry-proto",
    "opentelemetry_sdk",
    "tracing-opentelemetry",
    "xray-lite",
];
