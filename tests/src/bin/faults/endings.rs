//! Processes that end with documents queued.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use xray_core::Recorder;
use xray_local::Daemon;
use xray_tests::{nobody, sends_to};

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[Fault {
    name: "process-exits",
    test: "T-60, T-62",
    what: "programs that end with documents queued, with a last flush of 100 ms at the end, in the panic hook, in a destructor, and without one, in 3 states of the daemon: their end is not delayed beyond that",
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
#[expect(clippy::panic, reason = "one of the ways to end")]
pub(crate) fn exit(words: &[String]) {
    let address: SocketAddr = words[1].parse().expect("an address");
    let recorder = sends_to(address).queue_limits(64, 1 << 20);
    let recorder = recorder.build().expect("a thread");
    for _ in 0..100 {
        recorder.begin_segment("last").close();
    }
    let mut out = std::io::stdout();
    out.write_all(b"e")
        .and_then(|()| out.flush())
        .expect("a pipe");
    match words[0].as_str() {
        "flush" => flush(&recorder),
        "shutdown" => {
            let _ = recorder.shutdown(GRACE).wait();
        }
        "panic-hook" => {
            std::panic::set_hook(Box::new(move |_| flush(&recorder)));
            std::panic::panic_any("as intended");
        }
        "destructor" => {
            let work = || LAST.set(Some(AtEnd(recorder)));
            std::thread::spawn(work).join().expect("no panic");
        }
        "drop" => drop(recorder),
        _ => {}
    }
    std::process::exit(CODE);
}

fn flush(recorder: &Recorder) {
    let _ = recorder.flush(GRACE).wait();
}

thread_local! {
    static LAST: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

/// Flushes when its thread ends.
struct AtEnd(Recorder);

impl Drop for AtEnd {
    fn drop(&mut self) {
        flush(&self.0);
    }
}

/// How a program ends, its exit code, and the time it gives to its last flush.
const WAYS: [(&str, i32, Duration); 6] = [
    ("flush", CODE, GRACE),
    ("shutdown", CODE, GRACE),
    ("panic-hook", 101, GRACE),
    ("destructor", CODE, GRACE),
    ("drop", CODE, Duration::ZERO),
    ("exit", CODE, Duration::ZERO),
];

fn exits(exits: u64) -> String {
    let [up, stopped] =
        [(), ()].map(|()| Daemon::builder().count_only().start().expect("a socket"));
    stopped.pause();
    let each = exits.div_ceil(18);
    let mut worst = Vec::new();
    for (way, code, grace) in WAYS {
        for state in ["up", "down", "stopped"] {
            let address = match state {
                "up" => up.address(),
                "down" => nobody().expect("a free port"),
                _ => stopped.address(),
            };
            let times = (0..each).map(|_| time_to_end(way, address, code));
            let longest = times.max().unwrap_or_default();
            assert!(
                longest <= grace + SLACK,
                "{way}, daemon {state}: {longest:?}"
            );
            worst.push(format!("{way}/{state} {longest:.0?}"));
        }
    }
    format!(
        "{} exits, the longest of each kind: {}",
        each * 18,
        worst.join(", ")
    )
}

/// From where the program begins to end until it is gone.
fn time_to_end(way: &str, address: SocketAddr, code: i32) -> Duration {
    let mut program = crate::start("exit");
    program
        .args([way, &address.to_string()])
        .stdout(Stdio::piped());
    let mut process = program.spawn().expect("this program starts");
    let mut out = process.stdout.take().expect("piped");
    out.read_exact(&mut [0]).expect("it gets to its end");
    let begun = Instant::now();
    let status = process.wait().expect("a process");
    assert_eq!(status.code(), Some(code), "{way}");
    begun.elapsed()
}
