//! What is held, and how much memory that takes.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use xray_core::{Loss, Pace, Recorder};
use xray_local::Daemon;
use xray_tests::{balance, delivered, nobody, sends_to};

use crate::{Fault, process};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "never-closed",
        test: "T-07",
        what: "segments held and never closed, then as many leaked: the oldest are given up and counted, memory is bounded, new requests are traced",
        amount: 1_000_000,
        unit: "segments of each",
        minutes: 5,
        run: never_closed,
    },
    Fault {
        name: "wide-trace",
        test: "T-12",
        what: "one trace of 10,000 subsegments, and one of these: it streams while open, and peak memory is that of a few datagrams",
        amount: 100_000,
        unit: "subsegments",
        minutes: 5,
        run: wide_trace,
    },
    Fault {
        name: "little-memory",
        test: "T-79",
        what: "10,000 segments a second of 10 kB while no daemon listens, with 96 MiB of address space (RLIMIT_AS): the program lives on, and has at most 64 MiB resident",
        amount: 30,
        unit: "seconds",
        minutes: 5,
        run: little_memory,
    },
];

const LONG: Duration = Duration::from_secs(120);

fn resident() -> u64 {
    process::status("VmRSS")
}

fn never_closed(segments: u64) -> String {
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let recorder = sends_to(daemon.address()).show_after(None);
    let recorder = recorder.build().expect("a thread");
    let begin = |at: u64| {
        let segment = recorder.begin_segment("never closed");
        segment.annotate("at", at);
        segment.begin_subsegment("part").close();
        segment
    };
    let empty = resident();
    let mut told = Vec::new();
    let given_up = || {
        let entities = recorder.entities();
        assert!(entities.is_balanced(), "{entities:?}");
        entities.dropped.get(&Loss::LimitOpen).copied().unwrap_or(0)
    };
    // Held.
    let mut held = Vec::with_capacity(segments as usize);
    let mut at_limit = 0;
    for at in 0..segments {
        held.push(begin(at));
        if at == 100_000 {
            at_limit = resident();
        }
    }
    assert!(
        recorder.open_entities() <= 100_000,
        "{} open",
        recorder.open_entities()
    );
    let (full, lost) = (resident(), given_up());
    assert!(lost > 0);
    told.push(format!(
        "{segments} held: {} open, {lost} entities given up, {} MiB (100,000: {} MiB)",
        recorder.open_entities(),
        (full - empty) / 1_024,
        (at_limit - empty) / 1_024,
    ));
    // A handle is left of each: well below what an open trace takes.
    let handle = (full - at_limit) * 1_024 / (segments - 100_000).max(1);
    let open = (at_limit - empty) * 1_024 / 100_000;
    assert!(
        handle * 2 <= open,
        "a handle takes {handle} bytes, an open trace {open}"
    );
    held.clear();
    held.shrink_to_fit();
    assert_eq!(recorder.open_entities(), 0);
    // Leaked.
    for at in 0..segments {
        std::mem::forget(begin(at));
    }
    assert!(
        recorder.open_entities() <= 100_000,
        "{} open",
        recorder.open_entities()
    );
    let leaked = resident();
    let lost = given_up() - lost;
    told.push(format!(
        "{segments} leaked: {} open, {lost} entities given up, {} MiB",
        recorder.open_entities(),
        (leaked - empty) / 1_024
    ));
    assert!(
        leaked <= full + full / 10,
        "{leaked} kB, and {full} kB when they were held"
    );
    // New requests are traced as ever, once what was let go of is done with.
    assert!(recorder.flush(LONG).wait().is_complete());
    let before = recorder.documents();
    for _ in 0..1_000 {
        recorder.begin_segment("new").close();
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    let documents = recorder.documents();
    assert!(documents.is_balanced(), "{documents:?}");
    assert_eq!(documents.lost, before.lost);
    assert_eq!(documents.sent, before.sent + 1_000);
    told.push(format!(
        "a handle that was given up takes {handle} bytes; 1,000 new ones sent"
    ));
    told.join("; ")
}

fn wide_trace(subsegments: u64) -> String {
    let mut told = Vec::new();
    for count in [10_000, subsegments] {
        let daemon = Daemon::builder().count_only().start().expect("a socket");
        // The queue is part of the bound: ten datagrams.
        let recorder = sends_to(daemon.address()).queue_limits(10, 10 * 65_507);
        let recorder = recorder.pace(Pace::unlimited()).build().expect("a thread");
        recorder.begin_segment("first").close();
        assert!(recorder.flush(LONG).wait().is_complete());
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux: forgets the peak");
        let before = process::status("VmHWM");
        let segment = recorder.begin_segment("wide");
        for at in 0..count {
            let child = segment.begin_subsegment("part");
            child.annotate("at", at);
            child.close();
            if at % 1_000 == 0 {
                assert!(recorder.flush(LONG).wait().is_complete());
            }
        }
        assert!(recorder.flush(LONG).wait().is_complete());
        let streamed = recorder.entities().written;
        assert!(
            streamed * 10 >= count * 9,
            "{streamed} of {count} written while it is open"
        );
        segment.close();
        assert!(recorder.flush(LONG).wait().is_complete());
        let peak = process::status("VmHWM") - before;
        daemon.stop();
        let drops = daemon.kernel_drops().expect("Linux");
        let documents = delivered(&recorder, daemon.received_count() as u64, drops);
        assert_eq!(documents.lost.len(), 0, "{documents:?}");
        // Three of the largest datagrams, and ten queued.
        let bound = 13 * 65_507 / 1_024;
        assert!(peak <= bound, "{peak} kB at most, not {bound}");
        told.push(format!(
            "{count} subsegments: {} documents, {streamed} entities written while it was open, {peak} kB at peak (bound {bound} kB)",
            documents.created
        ));
    }
    told.join("; ")
}

fn little_memory(seconds: u64) -> String {
    let address = nobody().expect("a free port").to_string();
    let program = crate::start("little-memory");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -v 98304; exec \"$0\" \"$@\""]);
    shell.arg(program.get_program()).args(program.get_args());
    // Each arena of glibc takes 64 MiB of addresses and none of memory.
    shell.env("MALLOC_ARENA_MAX", "1");
    shell.args([address, seconds.to_string()]);
    let ended = shell.stderr(Stdio::inherit()).output().expect("sh");
    assert!(ended.status.success(), "{}", ended.status);
    String::from_utf8(ended.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// The program with little memory.
pub(crate) fn little(words: &[String]) {
    let address: std::net::SocketAddr = words[0].parse().expect("an address");
    let seconds: u64 = words[1].parse().expect("a number");
    let recorder = sends_to(address).build().expect("a thread");
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| ten_a_tick(&recorder, end));
        }
    });
    let documents = recorder.documents();
    let rate = documents.created as f64 / seconds as f64;
    let queued = documents.queued;
    let _ = recorder.shutdown(Duration::from_millis(100)).wait();
    balance(&recorder);
    let documents = recorder.documents();
    assert_eq!(documents.sent, 0);
    let resident = process::status("VmHWM");
    assert!(resident <= 65_536, "{resident} kB resident");
    println!(
        "{seconds} s at {rate:.0}/s, {} created, {queued} queued at the end, {} lost (queue_full), {} lost (shutdown); at peak {} kB resident, {} kB of address space",
        documents.created,
        documents.lost.get(&Loss::QueueFull).copied().unwrap_or(0),
        documents.lost.get(&Loss::Shutdown).copied().unwrap_or(0),
        resident,
        process::status("VmPeak"),
    );
}

/// Five segments each millisecond, with some ten kilobytes each: of 32 MiB of
/// queue nothing is left.
fn ten_a_tick(recorder: &Recorder, end: Instant) {
    let mut next = Instant::now();
    while next < end {
        for _ in 0..5 {
            let segment = recorder.begin_segment("shop");
            for at in 0..10_u64 {
                let part = segment.begin_subsegment("part");
                part.annotate("at", at);
                part.metadata("filling", "x".repeat(1_000));
            }
            segment.close();
        }
        next += Duration::from_millis(1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
