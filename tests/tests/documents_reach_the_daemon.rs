//! Documents leave by UDP as the daemon reads them; those that cannot are
//! counted, and none goes without a trace.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use xray_core::{Loss, Pace, Recorder};
use xray_tests::{Daemon, balance, document_of, nobody, sends_to};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_document_stands_behind_the_header_line() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address().unwrap()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    segment.in_subsegment("cart", |cart| cart.annotate("line", "a\nb"));
    let id = segment.id().unwrap().to_string();
    segment.close();
    let datagram = daemon.datagram().unwrap();
    let json = document_of(&datagram).unwrap();
    assert!(!json.contains(&b'\n'));
    let document = xray_core::document::Document::from_json(json).unwrap();
    assert_eq!((document.name.as_str(), &document.id), ("shop", &id));
    assert_eq!(document.subsegments[0].annotations["line"], "a\nb");
    assert!(recorder.flush(LONG).wait().is_complete());
    assert_eq!(recorder.documents().sent, 1);
    balance(&recorder);
}

#[test]
fn a_trace_too_large_for_one_datagram_takes_several() {
    let daemon = Daemon::start().unwrap();
    let address = daemon.address().unwrap();
    let recorder = sends_to(address).document_limit(65_474).build().unwrap();
    let segment = recorder.begin_segment("shop");
    let mut ids = BTreeSet::from([segment.id().unwrap().to_string()]);
    // Three fit into the default buffer of a socket that nobody reads yet.
    let children: Vec<_> = (0..3).map(|_| segment.begin_subsegment("part")).collect();
    for child in &children {
        ids.insert(child.id().unwrap().to_string());
        child.metadata("large", "l".repeat(40_000));
    }
    segment.close();
    drop(children);
    while !ids.is_empty() {
        for part in daemon.document().unwrap().walk() {
            assert!(ids.remove(&part.id), "{} twice", part.id);
        }
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    assert!(daemon.is_idle().unwrap());
}

#[test]
fn a_full_queue_loses_the_newest_and_counts_them() {
    for pieces in [1, 16] {
        // Nobody listens: the thread holds what it took, and the queue fills.
        let address = nobody().unwrap();
        let recorder = sends_to(address)
            .queue_limits(pieces, 1 << 20)
            .build()
            .unwrap();
        let all = 2_000;
        for at in 0..all {
            recorder.begin_segment(&format!("number {at}")).close();
        }
        let full = recorder.documents();
        assert!(full.is_balanced());
        assert_eq!(full.created, all);
        // What the thread has taken is at most a batch of what fitted.
        let kept = full.queued;
        assert!((1..=2 * pieces as u64 + 32).contains(&kept), "{full:?}");
        assert_eq!(full.lost.get(&Loss::QueueFull), Some(&(all - kept)));
        let daemon = Daemon::at(address).unwrap();
        let mut names = BTreeSet::new();
        for _ in 0..kept {
            names.insert(daemon.document().unwrap().name);
        }
        assert_eq!(names.len() as u64, kept, "none twice");
        assert!(names.contains("number 0"), "the oldest stay");
        assert!(recorder.flush(LONG).wait().is_complete());
        let after = recorder.documents();
        assert_eq!((after.sent, after.lost.len()), (kept, 1));
        assert_eq!(recorder.entities().dropped[&Loss::QueueFull], all - kept);
        balance(&recorder);
    }
}

#[test]
fn a_queue_is_full_by_bytes_too() {
    let recorder = sends_to(nobody().unwrap())
        .queue_limits(1_000, 20_000)
        .build()
        .unwrap();
    for _ in 0..100 {
        let segment = recorder.begin_segment("large");
        segment.metadata("m", "m".repeat(5_000));
    }
    let documents = recorder.documents();
    assert!(documents.queued <= 7, "{documents:?}");
    assert_eq!(documents.lost[&Loss::QueueFull], 100 - documents.queued);
}

#[test]
fn a_daemon_that_comes_late_gets_everything() {
    let address = nobody().unwrap();
    let recorder = sends_to(address)
        .pace(Pace::new(4 << 20, 32 << 10))
        .build()
        .unwrap();
    let mut sent = BTreeSet::new();
    let mut received = BTreeSet::new();
    for round in 0..3 {
        for _ in 0..50 {
            let segment = recorder.begin_segment("patient");
            sent.insert(segment.id().unwrap().to_string());
        }
        assert!(
            !recorder
                .flush(Duration::from_millis(30))
                .wait()
                .is_complete()
        );
        let daemon = Daemon::at(address).unwrap();
        while received.len() < sent.len() {
            assert!(
                received.insert(daemon.document().unwrap().id),
                "twice in {round}"
            );
        }
        assert!(recorder.flush(LONG).wait().is_complete());
        balance(&recorder);
    }
    assert_eq!(received, sent);
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.lost.len()), (150, 0));
}

#[test]
fn what_shutdown_leaves_is_lost_and_told() {
    for pieces in [1_u64, 10, 200] {
        let recorder = sends_to(nobody().unwrap()).build().unwrap();
        for _ in 0..pieces {
            recorder.begin_segment("left").close();
        }
        let begun = Instant::now();
        let left = recorder.shutdown(Duration::from_millis(200)).wait();
        assert!(begun.elapsed() < Duration::from_millis(1_200));
        assert_eq!(left.remaining, pieces);
        balance(&recorder);
        assert_eq!(recorder.documents().lost[&Loss::Shutdown], pieces);
        // And again: nothing more happens, and the answer is the same.
        let again = recorder.shutdown(Duration::from_millis(200)).wait();
        assert_eq!(again.remaining, pieces);
        recorder.begin_segment("after").close();
        assert_eq!(recorder.documents().lost[&Loss::Shutdown], pieces + 1);
        balance(&recorder);
    }
}

#[test]
fn what_comes_after_shutdown_is_counted() {
    for inline in [false, true] {
        let daemon = Daemon::start().unwrap();
        let builder = sends_to(daemon.address().unwrap());
        let recorder = if inline {
            builder.send_inline()
        } else {
            builder
        }
        .build()
        .unwrap();
        let open = recorder.begin_segment("open");
        recorder.begin_segment("before").close();
        assert!(recorder.shutdown(LONG).wait().is_complete());
        assert_eq!(daemon.document().unwrap().name, "before");
        open.close();
        recorder.begin_segment("after").close();
        assert_eq!(
            recorder.documents().lost.get(&Loss::Shutdown),
            Some(&2),
            "inline: {inline}"
        );
        assert_eq!(recorder.entities().dropped.get(&Loss::Shutdown), Some(&2));
        assert!(recorder.flush(LONG).wait().is_complete());
        assert!(daemon.is_idle().unwrap());
        balance(&recorder);
    }
}

#[test]
fn shutdown_from_a_hundred_threads_has_one_effect() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address().unwrap()).build().unwrap();
    for _ in 0..20 {
        recorder.begin_segment("before").close();
    }
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| recorder.shutdown(LONG).wait()))
            .collect();
        assert!(all.into_iter().all(|one| one.join().unwrap().is_complete()));
    });
    for _ in 0..20 {
        daemon.document().unwrap();
    }
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.lost.len()), (20, 0));
    balance(&recorder);
}

#[test]
fn what_is_queued_is_sent_after_the_recorder_is_gone() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address().unwrap()).build().unwrap();
    let open = recorder.begin_segment("outlives");
    for _ in 0..20 {
        recorder.begin_segment("queued").close();
    }
    drop(recorder);
    open.close();
    let names: Vec<_> = (0..21).map(|_| daemon.document().unwrap().name).collect();
    assert_eq!(names[20], "outlives");
    assert!(names[..20].iter().all(|name| name == "queued"));
}

#[test]
fn inline_is_sent_when_close_returns() {
    let daemon = Daemon::start().unwrap();
    let address = daemon.address().unwrap();
    let recorder: Recorder = sends_to(address).send_inline().build().unwrap();
    recorder.begin_segment("now").close();
    assert_eq!(recorder.documents().sent, 1);
    assert_eq!(recorder.documents().queued, 0);
    assert_eq!(daemon.document().unwrap().name, "now");
    drop(daemon);
    for _ in 0..3 {
        recorder.begin_segment("nobody").close();
    }
    assert_eq!(recorder.documents().lost[&Loss::Refused], 3);
    assert_eq!(recorder.entities().dropped[&Loss::Refused], 3);
    // The first one after a restart arrives.
    let daemon = Daemon::at(address).unwrap();
    recorder.begin_segment("again").close();
    assert_eq!(daemon.document().unwrap().name, "again");
    assert_eq!(recorder.documents().sent, 2);
    balance(&recorder);
}
