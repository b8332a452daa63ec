//! The program as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{framed, segment};
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xray-local"));
    command.args(arguments);
    command
}

#[test]
fn prints_finished_traces_and_on_sigterm_the_rest() {
    let mut running = program(&["--listen", "127.0.0.1:0", "--quiet-ms=50"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |document: &str| socket.send_to(&framed(document), address).unwrap();

    send(&segment(1, "b!", ""));
    send(&segment(2, "shop", ""));
    let mut output = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut next = || output.next().unwrap().unwrap();
    assert_eq!(
        [next(), next(), next()],
        [
            "trace 1-66f2a1c0-0123456789abcdef01234567  1 document  1.00 s",
            "└─ shop  1.00 s",
            ""
        ]
    );
    let open = segment(3, "open", r#","in_progress":true"#);
    send(
        &open
            .replace(r#","end_time":11.0"#, "")
            .replace("4567\"", "4568\""),
    );
    // The next document is read after it, and said to be wrong.
    send(&segment(4, "c!", ""));
    let mut said = String::new();
    while !said.contains("c!") {
        errors.read_line(&mut said).unwrap();
    }
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        next(),
        "trace 1-66f2a1c0-0123456789abcdef01234568  1 document"
    );
    assert_eq!(next(), "└─ open  IN PROGRESS");
    errors.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("rejected b! 0000000000000001\n  name: must be"),
        "{said}"
    );
    assert!(said.ends_with("4 documents, 2 rejected\n"), "{said}");
    assert!(running.wait().unwrap().success());
}

#[test]
fn explains_its_arguments() {
    let help = program(&["--help"]).output().unwrap();
    assert!(help.status.success());
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--listen ADDRESS")
    );
    for (arguments, reason) in [
        (&["--bogus"][..], "unknown argument --bogus"),
        (&["--listen"], "--listen needs a value"),
        (
            &["--listen", "2000"],
            "--listen needs an address and a port, such as 127.0.0.1:2000, not 2000",
        ),
        (&["--quiet-ms=soon"], "--quiet-ms needs a number, not soon"),
    ] {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().next(), Some(reason));
    }
}
