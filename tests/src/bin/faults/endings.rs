//! Processes that end with documents queued.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use xray_local::Daemon;
use xray_tests::{nobody, sends_to};

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[Fault {
    name: "process-exits",
    test: "T-62",
    what: "programs that end with documents queued, with a last flush of 100 ms, without one, and by exit(): their end is not delayed beyond that",
    amount: 1_000,
    unit: "exits",
    minutes: 10,
    run: exits,
}];

const GRACE: Duration = Duration::from_millis(100);
/// What a busy machine needs to end any process.
const SLACK: Duration = Duration::from_millis(50);
const CODE: i32 = 7;

/// The program: fills the queue, says so, and ends.
pub(crate) fn exit(words: &[String]) {
    let address: std::net::SocketAddr = words[1].parse().expect("an address");
    let recorder = sends_to(address).queue(64, 1 << 20);
    let recorder = recorder.build().expect("a thread");
    for _ in 0..100 {
        recorder.begin_segment("last").close();
    }
    let mut out = std::io::stdout();
    out.write_all(b"e")
        .and_then(|()| out.flush())
        .expect("a pipe");
    match words[0].as_str() {
        "flush" => {
            let _ = recorder.flush(GRACE).wait();
        }
        "shutdown" => {
            let _ = recorder.shutdown(GRACE).wait();
        }
        "drop" => drop(recorder),
        _ => std::process::exit(CODE),
    }
    std::process::exit(CODE);
}

fn exits(exits: u64) -> String {
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let mut worst = Vec::new();
    for (way, grace) in [
        ("flush", GRACE),
        ("shutdown", GRACE),
        ("drop", Duration::ZERO),
        ("exit", Duration::ZERO),
    ] {
        for is_up in [true, false] {
            let address = if is_up {
                daemon.address()
            } else {
                nobody().expect("a free port")
            };
            let mut times = Vec::new();
            for _ in 0..exits / 8 {
                let mut program = crate::start("exit");
                program
                    .args([way, &address.to_string()])
                    .stdout(Stdio::piped());
                let mut process = program.spawn().expect("this program starts");
                let mut out = process.stdout.take().expect("piped");
                out.read_exact(&mut [0]).expect("it gets to its end");
                let begun = Instant::now();
                let status = process.wait().expect("a process");
                times.push(begun.elapsed());
                assert_eq!(status.code(), Some(CODE), "{way}");
            }
            times.sort_unstable();
            let longest = times[times.len() - 1];
            let state = if is_up { "up" } else { "down" };
            assert!(
                longest <= grace + SLACK,
                "{way}, daemon {state}: {longest:?}"
            );
            worst.push(format!("{way}/{state} {longest:.1?}"));
        }
    }
    format!(
        "{} exits, the longest of each kind: {}",
        exits / 8 * 8,
        worst.join(", ")
    )
}
