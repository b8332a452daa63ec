//! The program as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{TRACE, framed, segment};
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xray-local"));
    command.args(arguments).env_remove("NO_COLOR");
    command
}

/// On a free port, with pipes for its output.
struct Running {
    process: Killed,
    output: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
    socket: UdpSocket,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut process = program(&["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listening = line(&mut errors);
        let address = listening.trim().strip_prefix("listening on ").unwrap();
        socket.connect(address).unwrap();
        Self {
            output: BufReader::new(process.stdout.take().unwrap()),
            process: Killed(process),
            errors,
            socket,
        }
    }

    fn send(&self, document: &str) {
        self.socket.send(&framed(document)).unwrap();
    }

    /// Waits until everything sent so far is read.
    fn settle(&mut self) {
        self.socket.send(b"settled\n").unwrap();
        while !line(&mut self.errors).contains("header: is not a JSON object") {}
    }

    /// All that is left of output and errors.
    fn end(mut self, signal: &str) -> (String, String) {
        let id = self.process.0.id().to_string();
        let killed = Command::new("kill").args([signal, &id]).status();
        assert!(killed.unwrap().success());
        let (mut output, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut output).unwrap();
        self.errors.read_to_string(&mut errors).unwrap();
        assert!(self.process.0.wait().unwrap().success());
        (output, errors)
    }
}

/// Killed at the end, also of a test that failed.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert!(from.read_line(&mut line).unwrap() > 0, "ended");
    line
}

/// Ids of traces and segments alike.
fn in_trace(number: u64, name: &str, more: &str) -> String {
    let id = format!("{}{number}", &TRACE[..34]);
    segment(number, name, more).replace(TRACE, &id)
}

/// Nothing is due before the end.
const LATE: &str = "--quiet-ms=600000";

#[test]
fn prints_finished_traces_and_on_sigterm_the_rest() {
    let mut running = Running::start(&["--quiet-ms=50"]);
    running.send(&in_trace(1, "b!", ""));
    running.send(&in_trace(2, "shop", r#","fault":true"#));
    let printed = [(); 3].map(|()| line(&mut running.output));
    assert_eq!(
        printed.concat(),
        "trace 1-66f2a1c0-0123456789abcdef01234562  1 document  1.00 s\n\
         └─ shop  FAULT  1.00 s\n\n"
    );
    let open = in_trace(3, "open", r#","in_progress":true"#);
    running.send(&open.replace(r#","end_time":11.0"#, ""));
    let rejected = [(); 2].map(|()| line(&mut running.errors));
    assert_eq!(
        rejected.concat(),
        "rejected b! 0000000000000001\n  \
         name: must be 1 to 200 letters, numbers, spaces or _ . : / % & # = + - @\n"
    );
    running.settle();
    let (output, errors) = running.end("-TERM");
    assert_eq!(
        output,
        "trace 1-66f2a1c0-0123456789abcdef01234563  1 document\n\
         └─ open  IN PROGRESS\n\n"
    );
    assert_eq!(
        errors,
        "datagrams: 4 received, 2 documents, 2 rejected, 0 dropped by the kernel\n\
         traces: 1 finished, 1 unfinished, 0 filtered out, 0 evicted\n"
    );
}

#[test]
fn filters_and_bounds_what_it_holds() {
    let arguments = [
        LATE,
        "--max-traces=4",
        "--name=sh*",
        "--flag",
        "error",
        "--annotation=tenant=t-1",
        "--longer-than=999ms",
    ];
    let mut running = Running::start(&arguments);
    let fitting = r#","error":true,"annotations":{"tenant":"t-1"}"#;
    running.send(&in_trace(1, "shop", fitting)); // thrown out
    running.send(&in_trace(2, "shop", fitting));
    running.send(&in_trace(3, "ship", fitting));
    running.send(&in_trace(4, "workshop", fitting));
    let brief = in_trace(5, "shop", fitting).replace("11.0", "10.5");
    running.send(&brief);
    running.settle();
    let (output, errors) = running.end("-INT");
    assert_eq!(
        output,
        "trace 1-66f2a1c0-0123456789abcdef01234562  1 document  1.00 s\n\
         └─ shop  ERROR  1.00 s  {tenant=\"t-1\"}\n\n\
         trace 1-66f2a1c0-0123456789abcdef01234563  1 document  1.00 s\n\
         └─ ship  ERROR  1.00 s  {tenant=\"t-1\"}\n\n"
    );
    assert_eq!(
        errors,
        "datagrams: 6 received, 5 documents, 1 rejected, 0 dropped by the kernel\n\
         traces: 2 finished, 0 unfinished, 2 filtered out, 1 evicted\n"
    );
}

#[test]
fn memory_is_bounded_in_bytes() {
    let mut running = Running::start(&[LATE, "--max-bytes=100KiB"]);
    let metadata = format!(r#","metadata":{{"m":{{"x":"{}"}}}}"#, "x".repeat(30_000));
    for number in 1..=5 {
        running.send(&in_trace(number, "big", &metadata));
    }
    running.settle();
    let (output, errors) = running.end("-TERM");
    assert!(output.starts_with("trace 1-66f2a1c0-0123456789abcdef01234565 "));
    assert!(
        errors.ends_with("traces: 1 finished, 0 unfinished, 0 filtered out, 4 evicted\n"),
        "{errors}"
    );
}

#[test]
fn writes_json_a_line() {
    let mut running = Running::start(&["--json", "--quiet-ms=50"]);
    running.send(&in_trace(1, "a", ""));
    assert_eq!(
        line(&mut running.output),
        r#"{"id":"1-66f2a1c0-0123456789abcdef01234561","duration":1.0,"complete":true,"roots":[{"name":"a","id":"0000000000000001","trace_id":"1-66f2a1c0-0123456789abcdef01234561","start_time":10.0,"end_time":11.0}]}"#
            .to_owned()
            + "\n"
    );
    let nested = r#","in_progress":true,"subsegments":[{"name":"c","id":"00000000000000cc","start_time":10.0,"end_time":10.5}]"#;
    running.send(&in_trace(2, "b", nested).replace(r#","end_time":11.0"#, ""));
    running.settle();
    let (output, errors) = running.end("-TERM");
    assert_eq!(
        output,
        r#"{"id":"1-66f2a1c0-0123456789abcdef01234562","duration":0.5,"complete":false,"roots":[{"name":"b","id":"0000000000000002","trace_id":"1-66f2a1c0-0123456789abcdef01234562","start_time":10.0,"in_progress":true,"subsegments":[{"name":"c","id":"00000000000000cc","start_time":10.0,"end_time":10.5}]}]}"#
            .to_owned()
            + "\n"
    );
    assert_eq!(
        errors,
        "datagrams: 3 received, 2 documents, 1 rejected, 0 dropped by the kernel\n\
         traces: 1 finished, 1 unfinished, 0 filtered out, 0 evicted\n"
    );
}

/// Names that the rules turn down come out on standard error; what the rules
/// let through, such as the values of annotations, on standard output.
#[test]
fn hostile_text_is_printed_harmlessly() {
    let hostile = r"\u001b]0;owned\u0007\r\n\u202e\u009b2J\u2028";
    let shown = r"\u{1b}]0;owned\u{7}\r\n\u{202e}\u{9b}2J\u{2028}";
    let annotated = format!(r#","annotations":{{"a":"{hostile}"}}"#);
    for (format, expected) in [
        (&[][..], format!("└─ b  1.00 s  {{a=\"{shown}\"}}\n\n")),
        (
            &["--json"],
            format!(r#""annotations":{{"a":"{hostile}"}}}}]}}"#) + "\n",
        ),
    ] {
        let mut running = Running::start(&[&[LATE], format].concat());
        running.send(&in_trace(1, hostile, ""));
        assert_eq!(
            line(&mut running.errors),
            format!("rejected {shown} 0000000000000001\n")
        );
        running.send(&in_trace(2, "b", &annotated));
        running.settle();
        let (output, _) = running.end("-TERM");
        assert!(output.ends_with(&expected), "{output:?}");
        let lines = if format.is_empty() { 3 } else { 1 };
        assert_eq!(output.lines().count(), lines, "{output:?}");
        let harmless = |one: char| matches!(one, ' '..='~' | '\n' | '└' | '─');
        assert!(output.chars().all(harmless), "{output:?}");
    }
}

/// Where the tool `script` gives programs a terminal.
#[cfg(target_os = "linux")]
#[test]
fn colours_are_for_terminals() {
    for (no_color, expected) in [
        ("", "└─ a  \x1b[31mFAULT\x1b[0m  \x1b[2m1.00 s\x1b[0m\r\n"),
        ("1", "└─ a  FAULT  1.00 s\r\n"),
    ] {
        let program = env!("CARGO_BIN_EXE_xray-local");
        let command = format!("exec '{program}' --listen=127.0.0.1:0 --quiet-ms=50");
        let started = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("NO_COLOR", no_color)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            return; // a machine without it
        };
        // Killed, it takes the terminal away, and the program ends.
        let mut process = Killed(process);
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let listening = line(&mut output);
        let address = listening.trim().strip_prefix("listening on ").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let document = in_trace(1, "a", r#","fault":true"#);
        socket.send_to(&framed(&document), address).unwrap();
        line(&mut output);
        assert_eq!(line(&mut output), expected);
    }
}

#[test]
fn explains_its_arguments() {
    let help = program(&["--help"]).output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for option in [
        "--listen ADDRESS",
        "--quiet-ms NUMBER",
        "--json",
        "--help",
        "--name TEXT",
        "--flag FLAG",
        "--annotation KEY[=VALUE]",
        "--longer-than TIME",
        "--max-traces NUMBER",
        "--max-bytes NUMBER",
    ] {
        assert!(help.contains(&format!("\n  {option}")), "{option}");
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );

    let output = program(&["--bogus"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("unknown argument --bogus\n\n{help}\n")
    );
    assert!(output.stdout.is_empty());
}
