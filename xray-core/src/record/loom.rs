//! Handles of one trace that close on different threads, in every order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::Document;
use crate::sync::{LONG, model, spawn};
use crate::{Capture, Entity, Recorder, Segment};

/// Each entity's id, and its parent's.
type Tree = BTreeMap<String, Option<String>>;

fn begin() -> (Recorder, Capture, Segment, Tree) {
    let (recorder, capture) = Recorder::capture("test");
    let segment = recorder.begin_segment("segment");
    let tree = Tree::from([(id(&segment), None)]);
    (recorder, capture, segment, tree)
}

fn id(entity: &Entity) -> String {
    entity.id().unwrap().to_string()
}

/// Everything left once, finished and below its parent, and the books balance.
fn check(recorder: &Recorder, capture: &Capture, tree: &Tree) {
    let mut left = Tree::new();
    for document in capture.documents() {
        let mut parts: Vec<(Option<String>, Document)> =
            vec![(document.parent_id.clone(), document)];
        while let Some((parent, part)) = parts.pop() {
            assert!(!part.in_progress, "{part:?}");
            assert_eq!(left.insert(part.id.clone(), parent), None, "{part:?}");
            let inner = part.subsegments.into_iter();
            parts.extend(inner.map(|inner| (Some(part.id.clone()), inner)));
        }
    }
    assert_eq!(&left, tree);
    let (entities, documents) = (recorder.entities(), recorder.documents());
    let written = tree.len() as u64;
    assert_eq!(
        (entities.written, entities.open),
        (written, 0),
        "{entities:?}"
    );
    assert!(entities.is_balanced(), "{entities:?}");
    assert_eq!(documents.sent, documents.created, "{documents:?}");
    assert_eq!(recorder.open_entities(), 0);
}

#[test]
fn the_segment_and_its_last_child_close_in_any_order() {
    model(|| {
        let (recorder, capture, segment, mut tree) = begin();
        let others = ["one", "two"].map(|name| {
            let child = segment.begin_subsegment(name);
            tree.insert(id(&child), Some(id(&segment)));
            spawn(move || child.close())
        });
        segment.close();
        for other in others {
            other.join().unwrap();
        }
        check(&recorder, &capture, &tree);
    });
}

#[test]
fn a_child_begins_and_closes_while_its_segment_closes() {
    model(|| {
        let (recorder, capture, segment, mut tree) = begin();
        let (parent, entity) = (id(&segment), Entity::clone(&segment));
        let other = spawn(move || {
            let child = entity.begin_subsegment("late");
            let inner = child.begin_subsegment("inner");
            let ids = (id(&child), id(&inner));
            child.close();
            inner.close();
            ids
        });
        segment.close();
        let (child, inner) = other.join().unwrap();
        tree.insert(inner, Some(child.clone()));
        tree.insert(child, Some(parent));
        check(&recorder, &capture, &tree);
    });
}

#[test]
fn the_last_to_let_go_closes_a_segment_that_is_held() {
    model(|| {
        let (recorder, capture, segment, tree) = begin();
        let others = [segment.hold(), segment.hold()].map(|hold| spawn(move || drop(hold)));
        segment.close();
        for other in others {
            other.join().unwrap();
        }
        check(&recorder, &capture, &tree);
    });
}

#[test]
fn whoever_looks_at_an_open_trace_changes_nothing() {
    model(|| {
        let (recorder, capture, segment, mut tree) = begin();
        let child = segment.begin_subsegment("child");
        tree.insert(id(&child), Some(id(&segment)));
        let other = spawn(move || child.close());
        let looks = recorder.clone();
        let looker = spawn(move || {
            for document in looks.snapshot() {
                assert!(document.walk().any(|part| part.in_progress), "{document:?}");
            }
        });
        segment.close();
        other.join().unwrap();
        looker.join().unwrap();
        check(&recorder, &capture, &tree);
    });
}

/// The child closed before the flush began, wherever the segment is by then.
#[test]
fn a_flush_finds_a_child_while_its_segment_closes() {
    model(|| {
        let (recorder, capture, segment, mut tree) = begin();
        let child = segment.begin_subsegment("child");
        let name = id(&child);
        tree.insert(name.clone(), Some(id(&segment)));
        child.close();
        let closer = spawn(move || segment.close());
        let flushed = recorder.flush(LONG * 60).wait();
        assert_eq!(flushed.remaining, 0);
        let documents = capture.documents();
        assert!(
            documents
                .iter()
                .flat_map(Document::walk)
                .any(|part| part.id == name)
        );
        closer.join().unwrap();
        check(&recorder, &capture, &tree);
    });
}

/// Without a queue, nothing but the trace itself keeps the two in order.
#[test]
fn what_is_in_progress_leaves_before_its_finished_form() {
    model(|| {
        let (recorder, capture, segment, _) = begin();
        let shows = recorder.clone();
        let shower = spawn(move || shows.show_open(Duration::ZERO));
        let flushes = recorder.clone();
        let closer = spawn(move || {
            segment.close();
            let flushed = flushes.flush(LONG * 60).wait();
            assert_eq!(flushed.remaining, 0);
            assert_eq!(flushes.documents().queued, 0);
        });
        closer.join().unwrap();
        shower.join().unwrap();
        let documents = capture.documents();
        let in_progress: Vec<bool> = documents.iter().map(|one| one.in_progress).collect();
        assert!(in_progress == [false] || in_progress == [true, false]);
        let (entities, books) = (recorder.entities(), recorder.documents());
        assert!(entities.is_balanced() && books.is_balanced());
        assert_eq!(books.created, documents.len() as u64);
    });
}
