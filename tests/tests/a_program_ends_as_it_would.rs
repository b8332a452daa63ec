//! Programs that end in many ways, each in a process of its own: their exit code
//! is theirs, their end is not delayed, and what could be sent was.
//!
//! Run without a word this is the test; with the name of a case, an address and
//! a number of documents it is the program.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "whatever is not as expected fails the test"
)]

use std::cell::RefCell;
use std::fs::File;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use xray_core::{Always, DaemonAddress, Loss, Recorder, RecorderBuilder, Segment, TraceExt};
use xray_local::Daemon;
use xray_tests::{accepted, nobody};

/// What a program gives to its last flush.
const GRACE: Duration = Duration::from_millis(250);
const SLACK: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);
/// What the programs return where nothing else is said.
const CODE: u8 = 7;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [case, address, documents] = &words[..]
        && let Some((_, program)) = PROGRAMS.iter().find(|(name, _)| name == case)
    {
        let address: DaemonAddress = address.parse().unwrap();
        let builder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(address);
        program(builder, documents.parse().unwrap());
        return ExitCode::from(CODE);
    }
    for (name, test) in TESTS {
        print!("test {name} ... ");
        test();
        println!("ok");
    }
    ExitCode::SUCCESS
}

type Program = fn(RecorderBuilder, u64);

const PROGRAMS: &[(&str, Program)] = &[
    ("flush_at_the_end_of_main", |builder, documents| {
        let recorder = filled(builder, documents);
        flush(&recorder, documents);
    }),
    ("no_flush_at_all", |builder, documents| {
        filled(builder, documents);
    }),
    ("exit_without_a_farewell", |builder, documents| {
        let _recorder = filled(builder, documents);
        std::process::exit(CODE.into());
    }),
    ("flush_in_the_panic_hook", |builder, documents| {
        let recorder = filled(builder, documents);
        std::panic::set_hook(Box::new(move |_| flush(&recorder, documents)));
        std::panic::panic_any("as intended");
    }),
    ("flush_in_a_destructor_of_a_thread", |builder, documents| {
        let recorder = filled(builder, documents);
        // Set before and after anything of ours: either order of destruction.
        for early in [true, false] {
            let recorder = recorder.clone();
            let work = move || {
                if early {
                    AT_THREAD_END.set(Some(AtEnd(recorder.clone(), documents)));
                }
                let segment = recorder.begin_segment("in the thread");
                segment.run(|| xray_core::current().annotate("a", 1));
                segment.close();
                if !early {
                    AT_THREAD_END.set(Some(AtEnd(recorder, documents)));
                }
            };
            std::thread::spawn(work).join().unwrap();
        }
    }),
    (
        "segment_dropped_in_a_destructor_of_a_thread",
        |builder, documents| {
            let recorder = builder.build().unwrap();
            for at in 0..documents {
                let recorder = recorder.clone();
                let work = move || {
                    let early = at % 2 == 0;
                    let segment = recorder.begin_segment("kept");
                    if !early {
                        segment.run(|| xray_core::current().annotate("a", 1));
                    }
                    KEPT.set(Some(Kept(segment)));
                    if early {
                        recorder.begin_segment("closed").run(|| ());
                    }
                };
                std::thread::spawn(work).join().unwrap();
            }
            flush(&recorder, documents);
            assert_eq!(recorder.open_entities(), 0);
            let closed = documents.div_ceil(2);
            assert_eq!(recorder.documents().created, documents + closed);
        },
    ),
    ("segment_dropped_while_unwinding", |builder, documents| {
        let recorder = builder.build().unwrap();
        std::panic::set_hook(Box::new(|_| ()));
        let _flushed = AtEnd(recorder.clone(), documents);
        let mut open = Vec::new();
        for _ in 0..documents {
            let segment = recorder.begin_segment("unwound");
            open.push((segment.begin_subsegment("inner"), segment));
        }
        std::panic::panic_any("as intended");
    }),
    ("segment_dropped_after_the_runtime", |builder, documents| {
        let recorder = builder.build().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let mut tasks = Vec::new();
        for _ in 0..documents {
            let segment = recorder.begin_segment("outlives");
            let entity = segment.clone();
            tasks.push(segment);
            // Dropped with the runtime, at whatever point it has come to.
            drop(runtime.spawn(entity.scope(std::future::pending::<()>().subsegment("task"))));
        }
        drop(runtime);
        drop(tasks);
        flush(&recorder, documents);
        assert_eq!(recorder.open_entities(), 0);
    }),
    ("no_file_descriptors", |builder, documents| {
        let mut all = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            all.push(file);
        }
        assert!(all.len() < 64, "the limit is not set");
        let recorder = filled(builder, documents);
        assert_eq!(recorder.flush(GRACE).wait().remaining, documents);
        assert_eq!(recorder.documents().lost.len(), 0);
        drop(all);
        assert!(recorder.flush(LONG).wait().is_complete());
        assert_eq!(recorder.documents().sent, documents);
    }),
    ("no_file_descriptors_inline", |builder, documents| {
        let mut all = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            all.push(file);
        }
        let recorder = filled(builder.send_inline(), documents);
        assert_eq!(recorder.documents().lost[&Loss::SendError], documents);
        drop(all);
        recorder.begin_segment("again").close();
        assert_eq!(recorder.documents().sent, 1);
    }),
];

thread_local! {
    static AT_THREAD_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Flushes when it is dropped.
struct AtEnd(Recorder, u64);

impl Drop for AtEnd {
    fn drop(&mut self) {
        flush(&self.0, self.1);
    }
}

struct Kept(#[expect(dead_code, reason = "its drop is what matters")] Segment);

fn filled(builder: RecorderBuilder, documents: u64) -> Recorder {
    let recorder = builder.queue_limits(8, 1 << 20).build().unwrap();
    for _ in 0..documents {
        recorder.begin_segment("filled").close();
    }
    recorder
}

/// Back in time, and right about what is left.
fn flush(recorder: &Recorder, documents: u64) {
    let begun = Instant::now();
    let left = recorder.flush(GRACE).wait().remaining;
    assert!(begun.elapsed() < GRACE + SLACK);
    let after = recorder.documents();
    assert_eq!(left, after.queued, "{documents} documents, {after:?}");
}

/// Runs a program; its exit code, and how long it took.
fn run(command: &mut Command) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), begun.elapsed());
        }
        if begun.elapsed() > LONG {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn program(case: &str, address: &str, documents: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([case, address, &documents.to_string()]);
    command
}

const TESTS: [(&str, fn()); 4] = [
    (
        "a_flush_at_the_end_is_back_in_time_in_every_state",
        ends_in_every_state,
    ),
    ("twenty_exits_are_not_delayed", twenty_exits),
    (
        "what_is_dropped_late_is_sent_and_changes_no_exit_code",
        dropped_late,
    ),
    (
        "without_file_descriptors_programs_run_and_documents_are_counted",
        no_descriptors,
    ),
];

/// T-60, the places that need a process.
fn ends_in_every_state() {
    for (case, code, own) in [
        ("flush_at_the_end_of_main", CODE.into(), 0),
        ("flush_in_the_panic_hook", 101, 0),
        ("flush_in_a_destructor_of_a_thread", CODE.into(), 2),
    ] {
        for documents in [0, 3, 100] {
            for state in ["up", "down", "stopped", "unresolvable"] {
                let daemon = Daemon::start().unwrap();
                let address = match state {
                    "down" => nobody().unwrap().to_string(),
                    "unresolvable" => "nosuch.invalid:2000".to_owned(),
                    _ => daemon.address().to_string(),
                };
                if state == "stopped" {
                    daemon.pause();
                }
                let (ended, took) = run(&mut program(case, &address, documents));
                let case = format!("{case}, {state}, {documents} documents");
                assert_eq!(ended, Some(code), "{case}");
                // Two threads flush one after the other.
                assert!(took < GRACE * 2 + SLACK, "{case}: {took:?}");
                daemon.resume();
                if address == daemon.address().to_string() && documents < 8 {
                    accepted(&daemon, (documents + own) as usize);
                }
            }
        }
    }
}

/// T-62.
fn twenty_exits() {
    for (case, grace) in [
        ("flush_at_the_end_of_main", GRACE),
        ("no_flush_at_all", Duration::ZERO),
        ("exit_without_a_farewell", Duration::ZERO),
    ] {
        for documents in [3, 100] {
            for _ in 0..5 {
                let address = nobody().unwrap().to_string();
                let (ended, took) = run(&mut program(case, &address, documents));
                assert_eq!(ended, Some(CODE.into()), "{case}");
                assert!(took < grace + SLACK, "{case}: {took:?}");
            }
        }
    }
}

/// T-36.
fn dropped_late() {
    for (case, code, sent) in [
        (
            "segment_dropped_in_a_destructor_of_a_thread",
            CODE.into(),
            6,
        ),
        ("segment_dropped_while_unwinding", 101, 4),
        ("segment_dropped_after_the_runtime", CODE.into(), 4),
    ] {
        let daemon = Daemon::start().unwrap();
        let (ended, _) = run(&mut program(case, &daemon.address().to_string(), 4));
        assert_eq!(ended, Some(code), "{case}");
        accepted(&daemon, sent);
        for document in daemon.documents() {
            assert_eq!(document.fault, code == 101, "{case}: {document:?}");
            assert!(document.walk().all(|part| !part.in_progress), "{case}");
        }
    }
}

/// T-78.
fn no_descriptors() {
    if !cfg!(target_os = "linux") {
        return;
    }
    for (case, sent) in [
        ("no_file_descriptors", 5),
        ("no_file_descriptors_inline", 1),
    ] {
        let daemon = Daemon::start().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\""]);
        shell.arg(std::env::current_exe().unwrap());
        shell.args([case, &daemon.address().to_string(), "5"]);
        let (ended, _) = run(&mut shell);
        assert_eq!(ended, Some(CODE.into()), "{case}");
        accepted(&daemon, sent);
    }
}
