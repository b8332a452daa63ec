//! A recorder and a slow model of it agree after each of 200 operations, in
//! 10,000 random sequences, forks included.
//!
//! A process of its own, as it forks. Two variables ask for other sequences:
//! `XRAY_MODEL_SEQUENCES` says how many, `XRAY_MODEL_SEED` the first of them.
//! The smallest form of a sequence that fails is printed.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "whatever is not as expected fails the test"
)]
#![allow(unsafe_code, reason = "fork and its kin have no safe form")]

use std::ops::Range;
use std::process::ExitCode;

use xray_tests::fuzz::model::{Fork, Sequence};

fn main() -> ExitCode {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| match text.parse() {
            Ok(number) => number,
            Err(_) => panic!("{name} is no number: {text:?}"),
        })
    };
    let first = number("XRAY_MODEL_SEED", 0);
    let seeds = first..first + number("XRAY_MODEL_SEQUENCES", 10_000);
    let begun = std::time::Instant::now();
    let agree = run(seeds.clone());
    println!("sequences {seeds:?}: {:?}", begun.elapsed());
    if agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs every so many-th sequence, and shrinks the first that fails.
fn agree(seeds: Range<u64>, every: usize, fork: Option<Fork<'_>>) -> bool {
    let mut sequences = seeds.step_by(every).map(|seed| (seed, Sequence::of(seed)));
    std::panic::set_hook(Box::new(|_| ())); // until a failure is smallest
    let Some((seed, failing)) = sequences.find(|(_, sequence)| !sequence.holds(fork)) else {
        return true;
    };
    let smallest = failing.shrunk(fork);
    drop(std::panic::take_hook());
    println!("seed {seed}, smallest form:\n{smallest}");
    smallest.holds(fork);
    false
}

#[cfg(not(unix))]
fn run(seeds: Range<u64>) -> bool {
    agree(seeds, 1, None)
}

/// As many processes as there are cores, each with one thread, as they fork.
#[cfg(unix)]
fn run(seeds: Range<u64>) -> bool {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let children = (0..workers as u64).map(|worker| {
        let seeds = seeds.start + worker..seeds.end;
        forked(|| agree(seeds, workers, Some(&in_child)))
    });
    let children: Vec<libc::pid_t> = children.collect();
    let failed = children.into_iter().filter(|child| !ended_well(*child));
    failed.count() == 0
}

#[cfg(unix)]
fn in_child(work: &mut dyn FnMut()) -> bool {
    ended_well(forked(|| {
        work();
        true
    }))
}

/// Runs `child` in a forked process, which ends well where it returns `true`.
#[cfg(unix)]
fn forked(child: impl FnOnce() -> bool) -> libc::pid_t {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    // SAFETY: there is no thread but this one.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork"),
        0 => {
            let done = catch_unwind(AssertUnwindSafe(child));
            // SAFETY: it touches no memory of ours. What the parent would do at
            // its end is not for the child to do.
            unsafe { libc::_exit(i32::from(!matches!(done, Ok(true)))) }
        }
        process => process,
    }
}

#[cfg(unix)]
fn ended_well(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` is there for it to write to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}
