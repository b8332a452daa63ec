//! Faults, brought about on purpose and for long.
//!
//! `cargo run --release -p xray-tests --bin faults -- --list` tells which there
//! are; each ends with one line that says what was found and whether the promise
//! held. They need Linux, which tells of dropped datagrams, memory and signals.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod endings;
mod flushes;
mod ids;
mod input;
mod load;
mod memory;
mod process;
mod restarts;
mod server;
mod signals;
mod soak;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// One kind of fault.
struct Fault {
    name: &'static str,
    /// Its number in the list of tests.
    test: &'static str,
    /// What is done, and what must hold.
    what: &'static str,
    /// How much of it, unless the command line says so.
    amount: u64,
    unit: &'static str,
    /// The longest it may take for its usual amount.
    minutes: u64,
    /// Panics where the promise is broken; otherwise tells what was found.
    run: fn(u64) -> String,
}

const FAMILIES: &[&[Fault]] = &[
    load::FAULTS,
    restarts::FAULTS,
    signals::FAULTS,
    soak::FAULTS,
    memory::FAULTS,
    input::FAULTS,
    server::FAULTS,
    flushes::FAULTS,
    endings::FAULTS,
    ids::FAULTS,
];

/// What a fault runs as a process of its own.
type Program = fn(&[String]);

const PROGRAMS: &[(&str, Program)] = &[
    ("receive", signals::receive),
    ("exit", endings::exit),
    ("little-memory", memory::little),
];

const USAGE: &str = "\
usage: faults NAME [AMOUNT]   brings about one fault
       faults all             one after the other, each in a process of its own
       faults --list          names, numbers in the list of tests, amounts";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--list"] => list(),
        ["all"] => return all(),
        ["program", name, ..] => {
            let rest: Vec<String> = words[2..].iter().map(|word| (*word).to_owned()).collect();
            return program(name, &rest);
        }
        [name] => match find(name) {
            Some(fault) => return bring_about(fault, fault.amount),
            None => return usage(),
        },
        [name, amount] => match (find(name), amount.parse()) {
            (Some(fault), Ok(amount)) => return bring_about(fault, amount),
            _ => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn faults() -> impl Iterator<Item = &'static Fault> {
    FAMILIES.iter().copied().flatten()
}

fn find(name: &str) -> Option<&'static Fault> {
    faults().find(|fault| fault.name == name)
}

fn list() {
    for fault in faults() {
        let (name, test, minutes) = (fault.name, fault.test, fault.minutes);
        println!(
            "{name}  {test}, {} {}, at most {minutes} min",
            fault.amount, fault.unit
        );
        println!("    {}", fault.what);
    }
}

/// Runs one fault and prints its closing line.
fn bring_about(fault: &'static Fault, amount: u64) -> ExitCode {
    let (name, test) = (fault.name, fault.test);
    let begun = Instant::now();
    let usual = fault.amount.max(1);
    let limit =
        Duration::from_secs(60 * fault.minutes).mul_f64((amount as f64 / usual as f64).max(1.0));
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        println!("{name} ({test}): BROKEN: not over after {limit:.0?}");
        std::process::exit(1);
    });
    let run = fault.run;
    let found = catch_unwind(move || run(amount));
    let took = begun.elapsed().as_secs_f64();
    match found {
        Ok(found) => {
            println!("{name} ({test}): held: {found}; {took:.1} s");
            ExitCode::SUCCESS
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("a panic").replace('\n', " ");
            println!("{name} ({test}): BROKEN: {text}; {took:.1} s");
            ExitCode::FAILURE
        }
    }
}

/// A process each, so that none finds the memory or threads of another.
fn all() -> ExitCode {
    let mut broken = Vec::new();
    for fault in faults() {
        let run = process::again().and_then(|mut again| again.arg(fault.name).status());
        if !run.is_ok_and(|status| status.success()) {
            broken.push(fault.name);
        }
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("broken: {}", broken.join(", "));
    ExitCode::FAILURE
}

fn program(name: &str, words: &[String]) -> ExitCode {
    let Some((_, program)) = PROGRAMS.iter().find(|(known, _)| *known == name) else {
        return usage();
    };
    program(words);
    ExitCode::SUCCESS
}

/// One of [`PROGRAMS`], about to start.
fn start(name: &str) -> Command {
    let mut again = process::again().expect("this program is a file");
    again.args(["program", name]);
    again
}
