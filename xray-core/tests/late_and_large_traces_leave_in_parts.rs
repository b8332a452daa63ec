//! Finished parts leave an open trace when it grows, late ones when they are
//! done, and nobody waits for a handle that leaked.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use common::balance;
use xray_core::document::Document;
use xray_core::{Capture, Entity, Recorder, TraceHeader};

fn ids(capture: &Capture) -> Vec<String> {
    let documents = capture.documents();
    documents
        .iter()
        .flat_map(|d| d.walk().map(|part| part.id.clone()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn late_children_leave_on_their_own() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let (trace, id) = (segment.trace_id().unwrap(), segment.id().unwrap());
    let late = segment.begin_subsegment("late");
    let below = late.begin_subsegment("below");
    let later = Entity::clone(&segment);
    segment.close();
    assert_eq!(capture.documents()[0].walk().count(), 1);
    // Begun after the close, below what is closed.
    let after = later.begin_subsegment("after");
    assert_eq!(after.header().root(), Some(trace));
    assert_eq!(after.segment().id(), after.id());
    assert_eq!(recorder.open_entities(), 3);
    below.annotate("still", "recorded");
    below.close();
    assert_eq!(capture.json().len(), 1, "leaves with its parent");
    late.close();
    after.close();
    let documents = capture.documents();
    assert_eq!(documents.len(), 3);
    for (at, name) in [(1, "late"), (2, "after")] {
        assert_eq!(documents[at].name, name);
        assert!(documents[at].is_subsegment());
        assert_eq!(documents[at].parent_id, Some(id.to_string()));
        assert_eq!(documents[at].trace_id, Some(trace.to_string()));
    }
    assert_eq!(documents[1].subsegments[0].annotations["still"], "recorded");
    balance(&recorder);
}

#[test]
fn children_of_a_closed_child_keep_their_parent() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("child");
    let early = child.begin_subsegment("early");
    let closed = Entity::clone(&child);
    child.close();
    let late = closed.begin_subsegment("late");
    assert_eq!(late.segment().id(), segment.id());
    early.close();
    late.close();
    segment.close();
    let documents = capture.documents();
    let parent = |name: &str| {
        let outer = documents.iter().find(|d| d.name == name);
        let inner = documents.iter().flat_map(Document::walk);
        let within = inner.filter(|d| d.subsegments.iter().any(|s| s.name == name));
        outer
            .and_then(|d| d.parent_id.clone())
            .or(within.map(|d| d.id.clone()).next())
    };
    assert_eq!(parent("early"), closed.id().map(|id| id.to_string()));
    assert_eq!(parent("late"), closed.id().map(|id| id.to_string()));
    assert_eq!(ids(&capture).len(), 4);
    balance(&recorder);
}

#[test]
fn finished_parts_leave_while_the_root_is_open() {
    let header = TraceHeader::parse(
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1",
    );
    for facade in [false, true] {
        let (recorder, capture) = Recorder::capture("shop");
        let outside = facade.then(|| recorder.begin_facade(&header));
        let segment = recorder.segment("shop").header(&header).begin();
        let subsegment = outside
            .as_ref()
            .map(|outside| outside.begin_subsegment("shop"));
        let root: &Entity = subsegment.as_ref().map_or(&segment, |outermost| outermost);
        for _ in 0..500 {
            root.in_subsegment("part", |part| part.annotate("text", "t".repeat(480)));
        }
        let streamed = capture.documents();
        assert!(
            streamed.len() >= 4,
            "{} of a facade: {facade}",
            streamed.len()
        );
        for document in &streamed {
            assert!(document.is_subsegment());
            assert_eq!(document.parent_id, root.id().map(|id| id.to_string()));
            assert!(document.end_time.is_some());
        }
        drop((subsegment, segment, outside));
        let all = ids(&capture);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all.len() as u64, recorder.entities().begun);
        assert!(capture.json().iter().all(|json| json.len() <= 64_000));
        balance(&recorder);
    }
}

#[test]
fn a_leaked_handle_keeps_nobody_waiting() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let leaked = segment.begin_subsegment("leaked");
    let below = leaked.begin_subsegment("below");
    let late = segment.begin_subsegment("late");
    let of_leaked = Entity::clone(&leaked);
    std::mem::forget(leaked);
    below.close();
    segment.close();
    let names = |capture: &Capture| {
        let documents = capture.documents();
        documents.iter().map(|d| d.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&capture), ["shop", "below"]);
    assert_eq!(
        capture.documents()[1].parent_id,
        of_leaked.id().map(|id| id.to_string())
    );
    late.close();
    assert_eq!(names(&capture), ["shop", "below", "late"]);
    // Other traces do not care, and the leak is counted.
    recorder.begin_segment("other").close();
    assert_eq!(capture.json().len(), 4);
    assert_eq!((recorder.open_entities(), recorder.entities().open), (1, 1));
    // Below the leaked one, what is done leaves by and by.
    for _ in 0..2_000 {
        of_leaked.in_subsegment("below", |_| ());
    }
    assert!(capture.json().len() > 6, "{}", capture.json().len());
}

#[test]
fn a_leaked_segment_keeps_nobody_waiting() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("leaked");
    let child = segment.begin_subsegment("child");
    std::mem::forget(segment);
    child.close();
    for _ in 0..100 {
        recorder.begin_segment("other").close();
    }
    assert_eq!(capture.json().len(), 100);
    assert_eq!(recorder.snapshot()[0].name, "leaked");
    assert_eq!(recorder.entities().open, 2);
    assert!(recorder.entities().is_balanced() && recorder.documents().is_balanced());
}

/// The largest child stands apart, so that all others stay.
#[test]
fn a_segment_that_is_too_large_lets_go_of_its_largest() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    for size in [5_000, 5_000, 5_000, 45_000, 5_000, 5_000, 5_000, 5_000] {
        let child = segment.begin_subsegment("part");
        child.metadata("m", "m".repeat(size));
    }
    segment.close();
    let documents = capture.documents();
    let parts: Vec<usize> = documents.iter().map(|one| one.walk().count()).collect();
    assert_eq!(parts, [8, 1]);
}
