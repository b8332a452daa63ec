//! Runs every measurement in a process of its own, several rounds of them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::scenario::{ALL, Scenario};

/// The argument of a process that measures one thing.
pub(crate) const CHILD: &str = "--measure";

/// Figures by scenario, part and name, one of each for every round.
#[derive(Default)]
pub(crate) struct Results {
    figures: BTreeMap<(&'static str, &'static str, String), Vec<f64>>,
    pub(crate) rounds: usize,
    pub(crate) took: Duration,
}

impl Results {
    /// The figure in every round, or nothing.
    pub(crate) fn all(&self, scenario: &str, part: &str, figure: &str) -> &[f64] {
        let mut found = self.figures.iter();
        let found = found.find(|((one, two, three), _)| {
            (*one, *two, three.as_str()) == (scenario, part, figure)
        });
        found.map_or(&[], |(_, figures)| figures)
    }

    pub(crate) fn median(&self, scenario: &str, part: &str, figure: &str) -> Option<f64> {
        median(self.all(scenario, part, figure))
    }

    pub(crate) fn least(&self, scenario: &str, part: &str, figure: &str) -> Option<f64> {
        least(self.all(scenario, part, figure))
    }
}

pub(crate) fn least(figures: &[f64]) -> Option<f64> {
    figures.iter().copied().min_by(f64::total_cmp)
}

pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

pub(crate) fn run(quick: bool) -> Results {
    let begun = Instant::now();
    let (most, limit) = match quick {
        true => (4, Duration::from_secs(20)),
        false => (15, Duration::from_secs(180)),
    };
    let mut results = Results::default();
    let mut longest = Duration::ZERO;
    while results.rounds < most && begun.elapsed() + longest < limit {
        let round = Instant::now();
        for scenario in ALL {
            for part in scenario.parts() {
                for (figure, value) in in_a_process(scenario, part, quick) {
                    let key = (scenario.name, *part, figure);
                    results.figures.entry(key).or_default().push(value);
                }
            }
        }
        results.rounds += 1;
        longest = longest.max(round.elapsed());
    }
    results.took = begun.elapsed();
    results
}

fn in_a_process(scenario: Scenario, part: &str, quick: bool) -> Vec<(String, f64)> {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([CHILD, &format!("{}/{part}", scenario.name)]);
    command.args(quick.then_some("--quick"));
    // Where xray-lite finds its trace.
    command.env("_X_AMZN_TRACE_ID", crate::HEADER);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("this program can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    figures.collect()
}

/// Measures one thing, and prints what it found.
pub(crate) fn child(which: Option<&String>, quick: bool) {
    let Some((name, part)) = which.and_then(|which| which.split_once('/')) else {
        return;
    };
    let Some(scenario) = ALL.into_iter().find(|scenario| scenario.name == name) else {
        return;
    };
    for (figure, value) in scenario.measure(part, quick) {
        println!("{figure} {value}");
    }
}
