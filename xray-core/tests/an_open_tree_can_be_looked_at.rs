//! What is begun is known at once: any thread sees the open tree, and the
//! ledgers count it exactly.

mod common;

use common::balance;
use xray_core::{Recorder, Tally};

#[test]
fn another_thread_sees_the_open_tree() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("a");
    segment.annotate("at", 1_u8);
    segment.tally("sum", Tally::Sum(2.0));
    let child = segment.begin_subsegment("b");
    child.metadata("half", [0.5]);
    let grandchild = child.begin_subsegment("c");
    segment.begin_subsegment("done").close();
    let other = recorder.begin_segment("other");
    let seen = std::thread::scope(|scope| scope.spawn(|| recorder.snapshot()).join());
    let mut seen = seen.unwrap_or_default();
    seen.sort_by(|left, right| left.name.cmp(&right.name));
    assert_eq!(seen.len(), 2);
    let tree: Vec<_> = seen[0]
        .walk()
        .map(|part| {
            (
                part.name.as_str(),
                part.in_progress,
                part.end_time.is_some(),
            )
        })
        .collect();
    let expected = [
        ("a", true, false),
        ("b", true, false),
        ("c", true, false),
        ("done", false, true),
    ];
    assert_eq!(tree, expected);
    assert_eq!(seen[0].annotations["at"], 1);
    assert_eq!(seen[0].annotations["sum"], 2);
    assert_eq!(seen[0].subsegments[0].metadata["default"]["half"][0], 0.5);
    assert_eq!(
        seen[0].trace_id,
        segment.trace_id().map(|id| id.to_string())
    );
    assert_eq!(seen[1].name, "other");
    // Looking changed nothing and sent nothing.
    assert_eq!(recorder.documents().created, 0);
    assert_eq!(capture.json().len(), 0);
    drop((grandchild, child, segment, other));
    assert_eq!(capture.documents().len(), 2);
    assert_eq!(capture.documents()[0].walk().count(), 4);
    balance(&recorder);
}

#[test]
fn what_is_open_is_counted_exactly() {
    let (recorder, _capture) = Recorder::capture("shop");
    let mut open = Vec::new();
    let segment = recorder.begin_segment("a");
    for children in 1..=100 {
        open.push(segment.begin_subsegment("b"));
        assert_eq!(recorder.open_entities(), children + 1);
        assert_eq!(recorder.entities().open, children as u64 + 1);
        assert!(recorder.entities().is_balanced());
    }
    while open.pop().is_some() {
        assert_eq!(recorder.open_entities(), open.len() + 1);
        // Closed, but not written before the segment is.
        assert_eq!(recorder.entities().open, 101);
        assert_eq!(recorder.entities().written, 0);
    }
    segment.close();
    assert_eq!(recorder.entities().begun, 101);
    assert_eq!(recorder.entities().written, 101);
    assert_eq!(recorder.documents().sent, 1);
    balance(&recorder);
}

#[test]
fn threads_that_begin_and_close_at_once_lose_no_count() {
    let (recorder, capture) = Recorder::capture("shop");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let segment = recorder.begin_segment("a");
                    segment.in_subsegment("b", |b| b.in_subsegment("c", |_| ()));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..200 {
                for document in recorder.snapshot() {
                    assert!(document.walk().count() <= 3);
                }
            }
        });
    });
    assert_eq!(recorder.entities().written, 8 * 500 * 3);
    assert_eq!(capture.json().len(), 8 * 500);
    balance(&recorder);
}
