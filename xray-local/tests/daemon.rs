//! The daemon under traffic: every datagram is accounted for.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{TRACE, framed, segment};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use xray_local::{Daemon, Filter, Flag};

const SOON: Duration = Duration::from_secs(20);

fn sender(daemon: &Daemon) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(daemon.address()).unwrap();
    socket
}

fn send(socket: &UdpSocket, document: &str) {
    socket.send(&framed(document)).unwrap();
}

#[test]
fn keeps_what_it_receives_and_says_what_is_wrong() {
    let daemon = Daemon::start().unwrap();
    let socket = sender(&daemon);
    send(&socket, &segment(1, "a", ""));
    send(&socket, &segment(2, "b!", ""));
    socket.send(b"nonsense \x1b[2J").unwrap();
    send(&socket, &segment(3, "c", r#","fault":false"#));
    assert!(daemon.wait_for(4, SOON));
    assert_eq!((daemon.received_count(), daemon.rejected_count()), (4, 2));

    let names: Vec<_> = daemon
        .documents()
        .into_iter()
        .map(|document| document.name)
        .collect();
    assert_eq!(names, ["a", "c"]);
    let rejected: Vec<_> = daemon.rejected();
    assert_eq!(
        rejected[0].verdict.as_ref().unwrap_err().to_string(),
        "rejected b! 0000000000000002\n  name: must be 1 to 200 letters, numbers, spaces or _ . : / % & # = + - @"
    );
    assert_eq!(
        rejected[1].verdict.as_ref().unwrap_err().to_string(),
        "rejected\n  header: no line feed ends it"
    );
    assert_eq!(rejected[1].bytes, b"nonsense \x1b[2J");
    assert_eq!(daemon.received()[3].untidy()[0].path, "fault");
    assert_eq!(daemon.traces()[0].documents(), 2);

    daemon.clear();
    assert_eq!((daemon.received_count(), daemon.received().len()), (0, 0));
    send(&socket, &segment(4, "d", ""));
    assert!(daemon.wait_until(SOON, |documents| {
        documents.iter().any(|document| document.name == "d")
    }));
    assert!(!daemon.wait_for(2, Duration::from_millis(20)));
}

#[test]
fn a_paused_daemon_reads_nothing_and_loses_nothing() {
    let daemon = Daemon::start().unwrap();
    let socket = sender(&daemon);
    daemon.pause();
    for id in 1..=100 {
        send(&socket, &segment(id, "a", ""));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(daemon.received_count(), 0);
    daemon.pause();
    daemon.resume();
    assert!(daemon.wait_for(100, SOON));
    assert_eq!(daemon.kernel_drops().unwrap_or_default(), 0);
}

#[test]
fn stopping_reads_what_was_delivered_and_refuses_the_rest() {
    let daemon = Daemon::start().unwrap();
    let socket = sender(&daemon);
    daemon.pause();
    for id in 1..=100 {
        send(&socket, &segment(id, "a", ""));
    }
    daemon.stop();
    daemon.stop();
    daemon.pause();
    daemon.resume();
    assert_eq!(daemon.received_count(), 100);
    // The refusal of one datagram is told with the next.
    send(&socket, &segment(101, "a", ""));
    let refused = socket.send(&framed("{}")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(daemon.received_count(), 100);

    daemon.restart().unwrap();
    send(&socket, &segment(102, "a", ""));
    assert!(daemon.wait_for(101, SOON));
    assert_eq!(daemon.received().len(), 101);
}

/// Sent = received + dropped by the kernel + refused, exactly.
#[test]
fn the_balance_is_exact_over_restarts_and_overflow() {
    let daemon = Arc::new(Daemon::builder().count_only().start().unwrap());
    let (stop, delivered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sender = std::thread::spawn({
        let (socket, stop, delivered) =
            (sender(&daemon), Arc::clone(&stop), Arc::clone(&delivered));
        move || {
            let datagram = framed(&segment(
                1,
                "a",
                &format!(r#","user":"{}""#, "u".repeat(2000)),
            ));
            // An error on a send tells that an earlier one was refused and
            // that this one was not sent.
            let (mut sent, mut refused) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match socket.send(&datagram) {
                    Ok(_) => sent += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                        refused += 1;
                    }
                }
            }
            if socket.take_error().unwrap().is_some() {
                refused += 1;
            }
            delivered.store(sent - refused, Ordering::Relaxed);
        }
    });
    for round in 0..30 {
        std::thread::sleep(Duration::from_millis(5));
        if round % 10 == 9 {
            daemon.pause();
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon.stop();
        std::thread::sleep(Duration::from_millis(round % 3));
        daemon.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    daemon.stop();
    let Some(drops) = daemon.kernel_drops() else {
        return; // not told here
    };
    let accounted = daemon.received_count() + drops as usize;
    assert_eq!(
        accounted,
        delivered.load(Ordering::Relaxed),
        "{drops} kernel drops"
    );
    assert!(daemon.received_count() > 0);
}

#[test]
fn the_oldest_trace_goes_first_when_memory_is_full() {
    let daemon = Daemon::builder().max_traces(2).start().unwrap();
    let socket = sender(&daemon);
    let in_trace =
        |trace: u64, id| segment(id, "a", "").replace(TRACE, &format!("1-66f2a1c0-{trace:024x}"));
    // The first trace goes whole, though part of it is young.
    for (trace, id) in [(1, 1), (2, 2), (1, 3), (3, 4)] {
        send(&socket, &in_trace(trace, id));
    }
    assert!(daemon.wait_for(4, SOON));
    let left: Vec<_> = daemon
        .traces()
        .iter()
        .map(|trace| trace.id()[34..].to_owned())
        .collect();
    assert_eq!(left, ["2", "3"]);
    assert_eq!(daemon.evicted(), 2);

    let daemon = Daemon::builder().max_bytes(200_000).start().unwrap();
    let socket = sender(&daemon);
    for id in 1..=1000 {
        send(&socket, &in_trace(id, id));
        send(&socket, "{}");
    }
    assert!(daemon.wait_for(2000, SOON));
    assert!(
        (20..200).contains(&daemon.received().len()),
        "{}",
        daemon.received().len()
    );
    assert_eq!(daemon.evicted() + daemon.received().len(), 2000);

    // Few bytes that break many rules: it takes more to say which.
    let daemon = Daemon::builder().max_bytes(200_000).start().unwrap();
    let socket = sender(&daemon);
    for _ in 0..100 {
        let ids = r#""","#.repeat(99);
        send(&socket, &format!(r#"{{"precursor_ids":[{ids}""]}}"#));
    }
    assert!(daemon.wait_for(100, SOON));
    let left = daemon.received();
    let told = left.iter().filter_map(|one| one.verdict.as_ref().err());
    let told: usize = told.map(|rejected| rejected.to_string().len()).sum();
    assert!(told < 200_000, "{told}");
    assert_eq!(daemon.evicted() + left.len(), 100);
}

#[test]
fn a_trace_id_in_another_case_is_no_other_trace() {
    let daemon = Daemon::builder().max_traces(1).start().unwrap();
    let socket = sender(&daemon);
    let first = segment(1, "a", "");
    send(&socket, &first);
    let upper = TRACE.to_uppercase();
    send(&socket, &segment(2, "b", "").replace(TRACE, &upper));
    assert!(daemon.wait_for(2, SOON));
    assert_eq!(daemon.traces()[0].documents(), 2);
    let counts = daemon.trace_counts();
    assert_eq!(counts.finished + counts.unfinished, 1);
    assert_eq!(daemon.evicted(), 0);

    let other = TRACE.replace("1-66f2a1c0", "1-66f2a1c1");
    send(&socket, &first.replace(TRACE, &other));
    assert!(daemon.wait_for(3, SOON));
    assert_eq!(daemon.evicted(), 2);
    let ids: Vec<_> = (daemon.traces().iter().map(|trace| trace.id().to_owned())).collect();
    assert_eq!(ids, [other]);
}

#[test]
fn reports_finished_traces_once_and_the_rest_when_it_stops() {
    let (seen, reports) = mpsc::channel();
    let seen_too = seen.clone();
    let daemon = Daemon::builder()
        .quiet(Duration::from_millis(50))
        .on_received(move |_| drop(seen_too.send("received".to_owned())))
        .on_trace(move |trace| {
            drop(seen.send(trace.to_string()));
            std::panic::resume_unwind(Box::new("a hook that panics does no harm"));
        })
        .start()
        .unwrap();
    let socket = sender(&daemon);
    let next = || reports.recv_timeout(SOON).unwrap();

    send(&socket, &segment(1, "first", ""));
    assert_eq!(next(), "received");
    assert!(next().contains("└─ first"));
    // More of it: the whole trace again, after ten times as long, since a parent is missing.
    send(
        &socket,
        &segment(2, "late", r#","parent_id":"00000000000000aa""#),
    );
    assert_eq!(next(), "received");
    let report = next();
    assert!(
        report.contains("first") && report.contains("late"),
        "{report}"
    );
    // Open documents are waited for.
    send(
        &socket,
        &segment(3, "open", r#","in_progress":true"#).replace(r#""end_time":11.0,"#, ""),
    );
    assert_eq!(next(), "received");
    assert!(reports.recv_timeout(Duration::from_millis(700)).is_err());
    daemon.stop();
    assert!(next().contains("open  IN PROGRESS"));
    drop(daemon);
    assert!(reports.recv_timeout(SOON).is_err(), "nothing twice");
}

#[test]
fn reports_only_what_matches_and_counts_every_trace_once() {
    let (seen, reports) = mpsc::channel();
    let daemon = Daemon::builder()
        .quiet(Duration::from_millis(50))
        .max_traces(4)
        .filter(Filter::default().flag(Flag::Fault))
        .on_trace(move |trace| drop(seen.send(trace.to_string())))
        .start()
        .unwrap();
    let socket = sender(&daemon);
    let send = |trace: u64, id, name, more| {
        let in_trace = format!("1-66f2a1c0-{trace:024x}");
        send(&socket, &segment(id, name, more).replace(TRACE, &in_trace));
    };
    let counts = || {
        let counts = daemon.trace_counts();
        [
            counts.finished,
            counts.unfinished,
            counts.filtered_out,
            counts.evicted,
        ]
    };
    let wait_for = |expected: [usize; 4]| {
        let start = std::time::Instant::now();
        while counts() != expected && start.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(counts(), expected);
    };
    let (fault, orphan) = (r#","fault":true"#, r#","parent_id":"00000000000000aa""#);
    let next = || reports.recv_timeout(SOON).unwrap();

    send(1, 1, "seen", fault);
    assert!(next().contains("seen"));
    send(2, 2, "hidden", "");
    wait_for([1, 0, 1, 0]);
    // More of them changes what becomes of them, not how many they are.
    send(1, 3, "more", "");
    assert!(next().contains("more"));
    send(2, 4, "broken", fault);
    assert!(next().contains("hidden"));
    wait_for([2, 0, 0, 0]);

    send(3, 5, "a", "");
    wait_for([2, 0, 1, 0]);
    send(4, 6, "b", fault);
    assert!(next().contains("b"));
    let open = r#","in_progress":true,"fault":true"#;
    let open_segment = segment(7, "open", open).replace(r#""end_time":11.0,"#, "");
    let open_in = |trace: u64| {
        let id = format!("1-66f2a1c0-{trace:024x}");
        socket
            .send(&framed(&open_segment.replace(TRACE, &id)))
            .unwrap();
    };
    for trace in [5, 6, 7, 8] {
        open_in(trace);
    }
    // These push out all that were reported, which still count.
    wait_for([3, 4, 1, 0]);
    // And these push out two that were not.
    send(9, 8, "last", "");
    wait_for([3, 3, 2, 1]);
    send(10, 9, "orphan", orphan);
    daemon.stop();
    wait_for([3, 2, 3, 2]);
    assert!(next().contains("open") && next().contains("open"));
    assert!(reports.try_recv().is_err());

    daemon.clear();
    assert_eq!(counts(), [0; 4]);
    daemon.restart().unwrap();
    send(11, 10, "again", fault);
    assert!(next().contains("again"));
    wait_for([1, 0, 0, 0]);
}

#[test]
fn a_wait_too_long_for_the_clock_is_a_wait_for_the_end() {
    let (seen, reports) = mpsc::channel();
    let daemon = Daemon::builder()
        .quiet(Duration::MAX)
        .on_trace(move |trace| drop(seen.send(trace.to_string())))
        .start()
        .unwrap();
    send(&sender(&daemon), &segment(1, "a", ""));
    assert!(daemon.wait_for(1, SOON));
    daemon.stop();
    assert!(reports.try_recv().unwrap().contains("└─ a"));
    assert_eq!(daemon.trace_counts().finished, 1);
}

#[test]
fn listens_on_ipv6() {
    let Ok(daemon) = Daemon::bind("[::1]:0") else {
        return; // a machine without it
    };
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.connect(daemon.address()).unwrap();
    send(&socket, &segment(1, "a", ""));
    assert!(daemon.wait_for(1, SOON));
    assert_eq!(daemon.kernel_drops().unwrap_or_default(), 0);
    daemon.restart().unwrap();
    send(&socket, &segment(2, "a", ""));
    assert!(daemon.wait_for(2, SOON));
}
