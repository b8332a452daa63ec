//! The tables, in Markdown.

use crate::rounds::Results;
use crate::scenario::{ALL, Kind, PACED, ROOT, SATURATED, Scenario, TREE, WHOLE};

pub(crate) fn print(results: &Results) {
    println!(
        "\n{} rounds in {:.0} s. Times are CPU in ns, the least and the median of the rounds.",
        results.rounds,
        results.took.as_secs_f64()
    );
    sending(results);
    two_producers(results);
    unsampled(results);
    heading(
        "what the system takes of xray-core's trace",
        &["ns, each", "allocations"],
    );
    rows(results, |kind| matches!(kind, Kind::Floor(_)));
    heading(
        "header of Root, Parent and Sampled, parsed",
        &["ns", "allocations"],
    );
    rows(results, |kind| matches!(kind, Kind::Parse(_)));
    heading(
        "25 sampling rules, the last one matches",
        &["ns", "allocations"],
    );
    rows(results, |kind| matches!(kind, Kind::Decide(_)));
    subsegments(results);
}

fn heading(first: &str, columns: &[&str]) {
    println!("\n| {first} | {} |", columns.join(" | "));
    println!("|---|{}", "--:|".repeat(columns.len()));
}

fn sending(results: &Results) {
    heading(
        "a trace, finished, serialised and sent",
        &[
            "rate",
            "caller",
            "process",
            "allocations: caller",
            "process",
            "datagrams",
            "sent",
        ],
    );
    for part in [SATURATED, PACED] {
        for scenario in only(|kind| matches!(kind, Kind::Sending(_))) {
            let cell = |figure| times(results, scenario, part, figure, 1.0);
            let plain = |figure| plain(results, scenario, part, figure);
            let rate = if part == PACED {
                "1,000/s"
            } else {
                "saturated"
            };
            println!(
                "| {} | {rate} | {} | {} | {} | {} | {} | {} |",
                scenario.title,
                cell("caller"),
                cell("process"),
                plain("caller_allocations"),
                plain("process_allocations"),
                plain("datagrams"),
                share(results, scenario, part),
            );
        }
    }
}

fn two_producers(results: &Results) {
    heading(
        "the same work from one thread and from two",
        &["caller, one", "caller, two", "traces/s, one", "two"],
    );
    for scenario in only(|kind| matches!(kind, Kind::TwoProducers(_))) {
        let one = scenario.name.trim_end_matches("-2");
        let Some(one) = ALL.into_iter().find(|scenario| scenario.name == one) else {
            continue;
        };
        println!(
            "| {} | {} | {} | {} | {} |",
            scenario.title,
            times(results, one, SATURATED, "caller", 1.0),
            times(results, scenario, WHOLE, "caller", 1.0),
            a_second(results, one, SATURATED),
            a_second(results, scenario, WHOLE),
        );
    }
}

fn unsampled(results: &Results) {
    heading(
        "not sampled, a fresh trace id, the next call's header written",
        &[
            "segment alone",
            "allocations",
            "and nine subsegments",
            "allocations",
        ],
    );
    for scenario in only(|kind| matches!(kind, Kind::Unsampled(_))) {
        println!(
            "| {} | {} | {} | {} | {} |",
            scenario.title,
            times(results, scenario, ROOT, "caller", 1.0),
            plain(results, scenario, ROOT, "caller_allocations"),
            times(results, scenario, TREE, "caller", 1.0),
            plain(results, scenario, TREE, "caller_allocations"),
        );
    }
}

fn rows(results: &Results, kind: fn(Kind) -> bool) {
    for scenario in only(kind) {
        println!(
            "| {} | {} | {} |",
            scenario.title,
            times(results, scenario, WHOLE, "caller", 1.0),
            plain(results, scenario, WHOLE, "caller_allocations"),
        );
    }
}

fn subsegments(results: &Results) {
    heading(
        "xray-core: subsegments of a trace",
        &["caller, each", "process, each", "datagrams a trace"],
    );
    for scenario in only(|kind| matches!(kind, Kind::Subsegments(_))) {
        let Kind::Subsegments(count) = scenario.kind else {
            continue;
        };
        println!(
            "| {} | {} | {} | {} |",
            scenario.title,
            times(results, scenario, WHOLE, "caller", f64::from(count)),
            times(results, scenario, WHOLE, "process", f64::from(count)),
            plain(results, scenario, WHOLE, "datagrams"),
        );
    }
}

fn only(kind: fn(Kind) -> bool) -> impl Iterator<Item = Scenario> {
    ALL.into_iter().filter(move |scenario| kind(scenario.kind))
}

/// Least and median.
fn times(results: &Results, scenario: Scenario, part: &str, figure: &str, by: f64) -> String {
    let least = results.least(scenario.name, part, figure);
    let median = results.median(scenario.name, part, figure);
    let (Some(least), Some(median)) = (least, median) else {
        return NONE.to_owned();
    };
    format!("{} / {}", number(least / by), number(median / by))
}

fn plain(results: &Results, scenario: Scenario, part: &str, figure: &str) -> String {
    let median = results.median(scenario.name, part, figure);
    median.map_or(NONE.to_owned(), |value| match value {
        0.001..0.95 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    })
}

/// By the peer's own account, where it keeps one.
fn share(results: &Results, scenario: Scenario, part: &str) -> String {
    let sent = results.median(scenario.name, part, "sent");
    sent.map_or(NONE.to_owned(), |sent| format!("{:.0} %", sent * 100.0))
}

fn a_second(results: &Results, scenario: Scenario, part: &str) -> String {
    let wall = results.median(scenario.name, part, "wall");
    wall.map_or(NONE.to_owned(), |nanoseconds| number(1e9 / nanoseconds))
}

/// With commas between thousands, and a decimal where it is small.
pub(crate) fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const NONE: &str = "-";
