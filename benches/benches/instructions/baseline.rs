//! The counts to be held against: `benches/instructions.txt`.

use std::collections::BTreeMap;
use std::process::Command;

/// Counts by scenario, and the compiler they were made with.
pub(crate) struct Baseline {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Baseline {
    /// Empty where there is none.
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(PATH).unwrap_or_default();
        let compiler = text.lines().find_map(|line| line.strip_prefix("# "));
        let counts = text.lines().filter_map(|line| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        });
        Self {
            compiler: compiler.unwrap_or_default().to_owned(),
            counts: counts.collect(),
        }
    }

    pub(crate) fn count(&self, scenario: &str) -> Option<u64> {
        self.counts.get(scenario).copied()
    }

    /// The compiler, if it was another one: then every count may differ.
    pub(crate) fn other_compiler(&self) -> Option<&str> {
        let differs = self.compiler != compiler();
        (differs && !self.compiler.is_empty()).then_some(&self.compiler)
    }
}

/// Replaces what was there.
pub(crate) fn save(counts: &[(&str, u64)]) -> std::io::Result<()> {
    let mut text = format!("# {}\n", compiler());
    for (scenario, count) in counts {
        text += &format!("{scenario} {count}\n");
    }
    std::fs::write(PATH, text)
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
