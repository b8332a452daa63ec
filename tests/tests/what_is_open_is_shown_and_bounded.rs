//! Long work is shown once while it goes on; what nobody closes is bounded, and
//! what comes after it is traced as ever.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use xray_core::{Loss, Sampled, TraceHeader};
use xray_local::{Daemon, Document};
use xray_tests::{accepted, balance, sends_to};

const LONG: Duration = Duration::from_secs(20);

/// How often each id came in progress, and how often complete.
fn counts(documents: &[Document]) -> BTreeMap<String, (u32, u32)> {
    let mut counts = BTreeMap::<String, (u32, u32)>::new();
    for part in documents.iter().flat_map(Document::walk) {
        let count = counts.entry(part.id.clone()).or_default();
        if part.in_progress {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
    }
    counts
}

#[test]
fn long_work_is_in_progress_once_and_complete_once() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .show_after(Some(Duration::from_millis(20)))
        .build()
        .unwrap();
    let segment = recorder.begin_segment("long");
    segment.annotate("early", 1);
    let child = segment.begin_subsegment("long, too");
    let short = segment.begin_subsegment("short");
    short.close();
    let shown = |id: &str, all: &[&Document]| {
        let mut parts = all.iter().flat_map(|document| document.walk());
        parts.any(|part| part.id == id && part.in_progress)
    };
    let id = |entity: &xray_core::Entity| entity.id().unwrap().to_string();
    assert!(daemon.wait_until(LONG, |all| shown(&id(&segment), all)
        && shown(&id(&child), all)));
    // What begins later is shown when it is old enough itself.
    let later = segment.begin_subsegment("later");
    assert!(daemon.wait_until(LONG, |all| shown(&id(&later), all)));
    // Time enough to be shown again, if it were.
    std::thread::sleep(Duration::from_millis(100));
    segment.annotate("late", 2);
    let ids = [id(&segment), id(&child), id(&later)];
    let begun = recorder.entities();
    assert_eq!(
        (begun.begun, begun.written),
        (4, 0),
        "showing is not writing"
    );
    later.close();
    child.close();
    segment.close();
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    let sent = recorder.documents().sent;
    accepted(&daemon, sent as usize);
    let counts = counts(&daemon.documents());
    assert_eq!(counts.len(), 4);
    for (id, count) in &counts {
        let expected = (u32::from(ids.contains(id)), 1);
        assert_eq!(*count, expected, "{id}");
    }
    let last = daemon.documents().pop().unwrap();
    assert_eq!((last.in_progress, last.id == ids[0]), (false, true));
    assert_eq!(last.annotations["early"], 1);
    assert_eq!(last.annotations["late"], 2);
    assert_eq!(recorder.entities().written, 4);
}

#[test]
fn short_work_is_never_in_progress() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    for _ in 0..200 {
        let segment = recorder.begin_segment("short");
        segment.begin_subsegment("child").close();
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    accepted(&daemon, 200);
    assert!(
        counts(&daemon.documents())
            .values()
            .all(|count| *count == (0, 1))
    );
    balance(&recorder);
}

/// T-07, small.
#[test]
fn of_segments_that_nobody_closes_the_oldest_are_given_up() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .open_limits(800, 1_000)
        .show_after(None)
        .build()
        .unwrap();
    let leaked = 10_000_u64;
    let mut ids = Vec::new();
    for at in 0..leaked {
        let segment = recorder.begin_segment("leaked");
        segment.annotate("at", at);
        ids.push(segment.id().unwrap());
        std::mem::forget(segment);
        assert!(recorder.open_entities() <= 800, "{at}");
    }
    let entities = recorder.entities();
    let given_up = entities.dropped[&Loss::LimitOpen];
    assert_eq!(
        given_up,
        leaked - recorder.open_entities() as u64,
        "{entities:?}"
    );
    assert!(entities.is_balanced(), "{entities:?}");
    // Those that are left are the youngest: all of them from this thread.
    let left = recorder.snapshot();
    let mut left: Vec<u64> = left
        .iter()
        .map(|one| one.annotations["at"].as_u64().unwrap())
        .collect();
    left.sort_unstable();
    let youngest: Vec<u64> = (leaked - left.len() as u64..leaked).collect();
    assert_eq!(left, youngest);
    // New requests are traced as ever.
    for _ in 0..100 {
        let segment = recorder.begin_segment("new");
        segment.begin_subsegment("child").close();
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    let new = accepted(&daemon, recorder.documents().sent as usize);
    let is_new = |one: &xray_local::Received| one.verdict.as_ref().unwrap().name == "new";
    assert_eq!(new.iter().filter(|one| is_new(one)).count(), 100);
    assert!(recorder.documents().is_balanced());
    assert!(recorder.entities().is_balanced());
}

/// A handle that is given up does nothing more, and harms nothing.
#[test]
fn what_was_given_up_is_closed_in_vain() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .open_limits(8, 1_000)
        .build()
        .unwrap();
    let mut open: Vec<_> = (0..1_000).map(|_| recorder.begin_segment("many")).collect();
    let alive = recorder.open_entities() as u64;
    assert!((1..=8).contains(&alive), "{alive}");
    for segment in &open {
        segment.annotate("late", 1);
        segment.begin_subsegment("late child").close();
    }
    let begun = Instant::now();
    open.clear();
    assert!(recorder.flush(LONG).wait().is_complete());
    assert!(begun.elapsed() < LONG);
    assert_eq!(recorder.open_entities(), 0);
    balance(&recorder);
    accepted(&daemon, recorder.documents().sent as usize);
    let segments = daemon.documents();
    let segments = segments.iter().filter(|one| one.name == "many").count() as u64;
    assert_eq!(segments, alive);
    assert_eq!(recorder.entities().begun, 2_000);
}

#[test]
fn children_beyond_the_limit_are_counted_and_pass_their_parent_on() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .open_limits(10, 50)
        .build()
        .unwrap();
    let header =
        TraceHeader::parse("Root=1-66f2a1c0-0123456789abcdef01234567;Sampled=1;Lineage=a:1");
    let segment = recorder.segment("wide").header(&header).begin();
    let mut open = Vec::new();
    let mut beyond = 0;
    for at in 1..200 {
        let child = segment.begin_subsegment("child");
        let outgoing = child.header();
        assert_eq!(outgoing.root(), header.root());
        assert_eq!(outgoing.sampled(), Sampled::Yes);
        assert_eq!(outgoing.extras(), "Lineage=a:1");
        if at < 50 {
            assert_eq!(outgoing.parent(), child.id());
            assert!(child.is_recorded());
        } else {
            beyond += 2; // and what is below
            assert!(!child.is_recorded());
            assert_eq!(outgoing.parent(), segment.id());
            let below = child.begin_subsegment("below");
            assert_eq!(below.header(), outgoing);
        }
        open.push(child);
    }
    let dropped =
        |recorder: &xray_core::Recorder| recorder.entities().dropped[&Loss::LimitChildren];
    assert_eq!(dropped(&recorder), beyond);
    // One that closes makes room for one.
    open.remove(0).close();
    assert!(segment.begin_subsegment("fits").is_recorded());
    assert_eq!(dropped(&recorder), beyond);
    drop(open);
    segment.close();
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    assert_eq!(recorder.entities().written, 51);
    accepted(&daemon, 1);
    assert_eq!(daemon.documents()[0].walk().count(), 51);
}
