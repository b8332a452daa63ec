//! What we want to be true, computed from the same run. Printed, never
//! asserted: a shared machine has bad minutes.

use crate::rounds::{Results, least, median};
use crate::scenario::{PACED, ROOT, SATURATED, TREE, WHOLE};
use crate::table::number;

pub(crate) fn print(results: &Results) {
    println!("\n| target | the least | the median | |");
    println!("|---|--:|--:|---|");
    for (part, rate) in [(SATURATED, "saturated"), (PACED, "1,000/s")] {
        let at = |scenario, figure| Figure(scenario, part, figure);
        let ours = at("ours", "caller");
        let ratios = [
            (
                "caller at most half of fastrace's",
                ours,
                at("fastrace", "caller"),
                0.5,
            ),
            (
                "process at most twice the bare send",
                at("ours", "process"),
                at("bare", "process"),
                2.0,
            ),
            (
                "process at most a quarter of opentelemetry-aws's, nested",
                at("ours", "process"),
                at("otel-nested", "process"),
                0.25,
            ),
        ];
        for (target, ours, theirs, most) in ratios {
            ratio(results, &format!("{target}, {rate}"), ours, theirs, most);
        }
        let allocations = at("ours", "process_allocations");
        let target = format!("at most 12 allocations in the process, {rate}");
        limit(results, &target, allocations, 12.0, "");
    }
    for (part, what) in [(ROOT, "the segment alone"), (TREE, "and nine subsegments")] {
        let at = |scenario, figure| Figure(scenario, part, figure);
        let target = format!("unsampled at most fastrace's, {what}");
        ratio(
            results,
            &target,
            at("ours-off", "caller"),
            at("fastrace-off", "caller"),
            1.0,
        );
        let target = format!("unsampled allocates nothing, {what}");
        limit(
            results,
            &target,
            at("ours-off", "caller_allocations"),
            0.0,
            "",
        );
    }
    let caller = |scenario, part| Figure(scenario, part, "caller");
    ratio(
        results,
        "caller with two producers at most 1.1 times that with one",
        caller("ours-2", WHOLE),
        caller("ours", SATURATED),
        1.1,
    );
    limit(
        results,
        "a header parsed in 60 ns",
        caller("ours-parse", WHOLE),
        60.0,
        " ns",
    );
    for (scenario, what) in [("rules-prefixes", "typical"), ("rules-walks", "worst")] {
        let target = format!("25 rules in 150 ns, {what}");
        limit(results, &target, caller(scenario, WHOLE), 150.0, " ns");
    }
    for (figure, whose) in [("caller", "caller's"), ("process", "process's")] {
        flat(results, figure, whose);
    }
}

/// Scenario, part and name.
#[derive(Clone, Copy)]
struct Figure(&'static str, &'static str, &'static str);

impl Figure {
    fn of(self, results: &Results) -> &[f64] {
        results.all(self.0, self.1, self.2)
    }
}

/// The median is that of the rounds' ratios: in a round both stood close
/// together. The least is that of either.
fn ratio(results: &Results, target: &str, ours: Figure, theirs: Figure, most: f64) {
    let (ours, theirs) = (ours.of(results), theirs.of(results));
    let rounds = ours.iter().zip(theirs);
    let ratios: Vec<f64> = rounds.map(|(ours, theirs)| ours / theirs).collect();
    let smallest = least(ours).zip(least(theirs));
    let smallest = smallest.map(|(ours, theirs)| ours / theirs);
    verdict(target, smallest, median(&ratios), most, " times");
}

fn limit(results: &Results, target: &str, figure: Figure, most: f64, unit: &str) {
    let figures = figure.of(results);
    verdict(target, least(figures), median(figures), most, unit);
}

/// The dearest subsegment of all sizes, against those in a trace of ten.
fn flat(results: &Results, figure: &'static str, whose: &str) {
    let sizes = [
        ("10", 10.0),
        ("100", 100.0),
        ("1000", 1_000.0),
        ("10000", 10_000.0),
    ];
    let growth = |of: fn(&[f64]) -> Option<f64>| {
        let each = sizes.map(|(scenario, count)| {
            let found = of(results.all(scenario, WHOLE, figure));
            found.map(|nanoseconds| nanoseconds / count)
        });
        let most = each.into_iter().flatten().max_by(f64::total_cmp);
        most.zip(each[0]).map(|(most, small)| most / small)
    };
    let target = format!("a subsegment among 10 to 10,000 at most 1.25 times one of 10, {whose}");
    verdict(&target, growth(least), growth(median), 1.25, " times");
}

/// By the median.
fn verdict(target: &str, least: Option<f64>, median: Option<f64>, most: f64, unit: &str) {
    let verdict = match median {
        Some(value) if value <= most => "met",
        Some(_) => "**MISSED**",
        None => "**not measured**",
    };
    let [least, median] = [least, median].map(|value| text(value, unit));
    println!("| {target} | {least} | {median} | {verdict} |");
}

fn text(value: Option<f64>, unit: &str) -> String {
    match value {
        Some(value) if unit == " times" => format!("{value:.2}{unit}"),
        Some(value) => format!("{}{unit}", number(value)),
        None => "-".to_owned(),
    }
}
