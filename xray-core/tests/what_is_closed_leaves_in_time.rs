//! What is closed leaves at its close, with its parent, with the next flush, or
//! with its sampler's verdict; and is in the books under what became of it.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Pieces, balance, builder, rejoin, written};
use xray_core::test_util::TestRecorder;
use xray_core::{
    Capture, Decision, Emitter, Entity, Loss, Outcome, Recorder, Sampler, SamplingRequest, Segment,
    Subsegment, Tally, TraceHeader,
};

const HEADER: &str = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";

fn facade(recorder: &Recorder) -> Segment {
    recorder.begin_facade(&TraceHeader::parse(HEADER))
}

fn flush(recorder: &Recorder) {
    assert!(recorder.flush(Duration::ZERO).wait().is_complete());
}

fn children(parent: &Entity, count: usize) -> Vec<Subsegment> {
    (0..count)
        .map(|_| parent.begin_subsegment("child"))
        .collect()
}

fn names(capture: &Capture) -> Vec<String> {
    let documents = capture.documents();
    documents.into_iter().map(|one| one.name).collect()
}

#[test]
fn below_a_facade_what_closes_leaves_at_once() {
    let (recorder, capture) = Recorder::capture("lambda");
    let facade = facade(&recorder);
    let open = children(&facade, 1_000);
    for at in 1..=5 {
        let child = facade.begin_subsegment("closed");
        child.in_subsegment("inner", |_| ());
        child.close();
        assert_eq!(capture.json().len(), at);
    }
    for document in capture.documents() {
        assert_eq!(document.walk().count(), 2, "with what is closed below it");
    }
    drop(open);
    assert_eq!(capture.json().len(), 1_005);
    drop(facade);
    balance(&recorder);
}

#[test]
fn flush_and_shutdown_send_what_waits_for_its_parent() {
    for shut_down in [false, true] {
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let (open, late) = (children(&segment, 100), children(&segment, 20));
        segment.close();
        let waiting = children(&open[0], 3);
        drop(late);
        assert_eq!(capture.json().len(), 1 + 20);
        drop(waiting);
        assert_eq!(capture.json().len(), 1 + 20, "leaves with its parent");
        if shut_down {
            let flushed = recorder.shutdown(Duration::ZERO).wait();
            assert!(flushed.is_complete());
        } else {
            flush(&recorder);
        }
        assert_eq!(capture.json().len(), 1 + 20 + 3);
        assert_eq!(recorder.entities().open, 100);
        drop(open);
        balance(&recorder);
    }
}

#[test]
fn a_flush_takes_finished_parts_out_of_an_open_trace() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    segment.annotate("early", 1);
    segment.in_subsegment("done", |done| done.annotate("of", "done"));
    let open = segment.begin_subsegment("open");
    open.in_subsegment("inner", |_| ());
    flush(&recorder);
    let mut sent = names(&capture);
    sent.sort_unstable();
    assert_eq!(sent, ["done", "inner"]);
    flush(&recorder);
    assert_eq!(capture.json().len(), 2, "once");
    segment.annotate("late", 2);
    open.close();
    segment.close();
    let document = capture.documents().pop().unwrap();
    assert_eq!(
        (document.name.as_str(), document.walk().count()),
        ("shop", 2)
    );
    assert_eq!(document.annotations.len(), 2);
    balance(&recorder);
}

/// Open, closed and gone ones beside and below each other, however often a
/// record is taken apart and moved together.
#[test]
fn a_record_that_is_taken_apart_loses_nothing() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let facade = facade(&recorder);
    let mut open: Vec<Subsegment> = Vec::new();
    let mut parents = std::collections::BTreeMap::new();
    for at in 0..3_000_usize {
        let parent = open.get(at * 7 % (open.len() + 1));
        let parent: &Entity = parent.map_or(&facade, |parent| parent);
        let child = parent.begin_subsegment("child");
        child.annotate("at", at);
        child.metadata("m", "m".repeat(at % 100));
        parents.insert(child.id().unwrap().to_string(), (parent.id(), at));
        open.push(child);
        if at % 3 > 0 {
            let gone = open.swap_remove(at * 13 % open.len());
            gone.annotate("closed", true);
        }
        if at % 100 == 0 {
            flush(&recorder);
        }
    }
    drop(open);
    let sent = pieces.take().into_iter();
    let tree = rejoin(sent.flat_map(|piece| written(piece, 64_000)));
    assert_eq!(tree.len(), parents.len());
    for (id, joined) in &tree {
        let (parent, at) = parents[id];
        assert_eq!(joined.parent, parent.map(|id| id.to_string()));
        assert_eq!(joined.own["annotations"]["at"], at);
    }
    balance(&recorder);
}

/// Keeps a trace whose root is called so.
#[derive(Debug)]
struct Keep(bool);

impl Sampler for Keep {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::recorded()
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        self.0
    }
}

#[test]
fn what_an_undecided_trace_cannot_hold_is_counted() {
    for keep in [false, true] {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).sampler(Keep(keep)).build().unwrap();
        let segment = recorder.begin_segment("shop");
        for _ in 0..30 {
            let child = segment.begin_subsegment("large");
            child.metadata("m", "m".repeat(40_000));
        }
        flush(&recorder);
        assert_eq!(pieces.take().len(), 0, "nothing leaves before the verdict");
        assert_eq!(recorder.entities().open, 31);
        segment.close();
        let sent = pieces.take().into_iter();
        let sent = sent.flat_map(|piece| written(piece, 64_000)).count() as u64;
        let entities = recorder.entities();
        let lost = entities.dropped.get(&Loss::Undecided).copied();
        if keep {
            assert_eq!(lost, Some(27), "1 MiB is held back");
            assert_eq!((sent, entities.written, entities.unsampled), (3, 4, 0));
        } else {
            assert_eq!((lost, sent), (None, 0));
            assert_eq!(entities.unsampled, 31);
        }
        balance(&recorder);
    }
}

#[test]
fn late_children_of_an_undecided_trace_follow_its_verdict() {
    for keep in [false, true] {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).sampler(Keep(keep)).build().unwrap();
        let segment = recorder.begin_segment("shop");
        let open = children(&segment, 50);
        segment.close();
        drop(open);
        let sent = pieces.take().into_iter();
        let sent = sent.flat_map(|piece| written(piece, 64_000)).count();
        assert_eq!(sent, if keep { 51 } else { 0 });
        balance(&recorder);
    }
}

#[test]
fn only_what_is_open_counts_as_open() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone())
        .open_limits(10, 100)
        .build()
        .unwrap();
    let job = recorder.begin_segment("job");
    let kept: Vec<Entity> = (0..200)
        .map(|_| Entity::clone(&recorder.begin_segment("request")))
        .collect();
    assert_eq!(recorder.open_entities(), 1);
    assert_eq!(recorder.entities().dropped, [].into());
    // What is closed is open again with a late child, and no longer.
    let late = kept[0].begin_subsegment("late");
    assert_eq!(recorder.open_entities(), 2);
    assert_eq!(recorder.snapshot().len(), 2);
    late.close();
    assert_eq!(
        (recorder.open_entities(), recorder.snapshot().len()),
        (1, 1)
    );
    // Late children are bounded as all others are.
    let late: Vec<_> = kept
        .iter()
        .map(|one| one.begin_subsegment("late"))
        .collect();
    assert!(recorder.open_entities() <= 10);
    drop((late, job));
    pieces.take().into_iter().for_each(|piece| {
        written(piece, 64_000);
    });
    balance(&recorder);
}

#[test]
fn a_trace_given_up_counts_what_is_closed_in_it() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).open_limits(1, 100).build().unwrap();
    let first = recorder.begin_segment("first");
    drop(children(&first, 5));
    let others: Vec<_> = (0..50).map(|_| recorder.begin_segment("other")).collect();
    let given_up = recorder.entities().dropped[&Loss::LimitOpen];
    let open = recorder.open_entities() as u64;
    assert_eq!(given_up + open, 6 + 50);
    drop((first, others));
    pieces.take().into_iter().for_each(|piece| {
        written(piece, 64_000);
    });
    balance(&recorder);
}

#[test]
fn a_closed_child_reaches_its_segment() {
    let (recorder, capture) = Recorder::capture("shop");
    let facade = facade(&recorder);
    for below_facade in [false, true] {
        let segment = (!below_facade).then(|| recorder.begin_segment("top"));
        let handler = below_facade.then(|| facade.begin_subsegment("top"));
        let top: &Entity = match (&segment, &handler) {
            (Some(segment), _) => segment,
            (_, Some(handler)) => handler,
            _ => &facade,
        };
        let child = top.begin_subsegment("child").begin_subsegment("grandchild");
        let closed = Entity::clone(&child);
        child.close();
        assert_eq!(closed.segment().id(), top.id());
        closed.segment().tally("tokens", Tally::Sum(7.0));
        let late = closed.begin_subsegment("late");
        assert_eq!(late.segment().id(), top.id());
        late.segment().tally("tokens", Tally::Sum(5.0));
        late.close();
        drop((segment, handler));
        let document = capture
            .documents()
            .into_iter()
            .rfind(|one| one.name == "top");
        assert_eq!(document.unwrap().annotations["tokens"], 12);
        closed.segment().tally("tokens", Tally::Sum(1.0));
    }
    drop(facade);
    balance(&recorder);
}

#[test]
fn below_a_facade_a_hold_keeps_the_outermost_open() {
    let recorder = TestRecorder::new("lambda");
    let facade = facade(&recorder);
    let handler = facade.begin_subsegment("handler");
    let inner = handler.begin_subsegment("inner");
    let hold = inner.segment().hold();
    inner.close();
    let other = facade.begin_subsegment("other");
    handler.close();
    other.close();
    assert_eq!(names(recorder.capture()), ["other"]);
    recorder.clock().advance(Duration::from_secs(3));
    drop(hold);
    let document = recorder.capture().documents().pop().unwrap();
    assert_eq!(document.name, "handler");
    let seconds = document.end_time.unwrap() - document.start_time.unwrap();
    assert!((seconds - 3.0).abs() < 1e-5, "{seconds}");
    // Nothing holds what is not there.
    drop(facade.hold());
    drop(facade);
    recorder.assert_finished();
}

fn ids(shown: Vec<serde_json::Value>) -> BTreeSet<String> {
    let tree = rejoin(shown);
    tree.into_keys().collect()
}

#[test]
fn what_was_shown_and_has_closed_leaves_at_the_next_look() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let take = || -> Vec<serde_json::Value> {
        let sent = pieces.take().into_iter();
        sent.flat_map(|piece| written(piece, 64_000)).collect()
    };
    let job = recorder.begin_segment("job");
    let step = job.begin_subsegment("step");
    let id = step.id().unwrap().to_string();
    recorder.show_open(Duration::ZERO);
    assert_eq!(ids(take()).len(), 2);
    step.close();
    assert_eq!(pieces.take().len(), 0);
    recorder.show_open(Duration::ZERO);
    let sent = take();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (&sent[0]["id"], sent[0].get("in_progress")),
        (&id.into(), None)
    );
    // Later ones wait as before, and nothing is shown twice.
    job.in_subsegment("short", |_| ());
    recorder.show_open(Duration::ZERO);
    assert_eq!(pieces.take().len(), 0);
    job.close();
    assert_eq!(ids(take()).len(), 2);
    balance(&recorder);
}

#[test]
fn what_was_shown_stays_shown_in_a_record_taken_apart() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let job = recorder.begin_segment("job");
    recorder.show_open(Duration::ZERO);
    for _ in 0..2_000 {
        job.begin_subsegment("part").close();
    }
    assert!(pieces.take().len() >= 3);
    recorder.show_open(Duration::ZERO);
    assert_eq!(pieces.take().len(), 0);
    drop(job);
    drop(pieces.take());
    assert_eq!(recorder.entities().dropped[&Loss::Discarded], 2_001);
    balance(&recorder);
}

/// Emits into nothing.
#[derive(Debug)]
struct Forget;

impl Emitter for Forget {
    fn emit(&self, piece: xray_core::Piece) {
        drop(piece);
    }
}

/// Each takes out its own size: with a copy of all that is open each time, this
/// would take hours.
#[test]
fn many_close_one_by_one_while_many_are_open() {
    let recorder = builder(Forget).build().unwrap();
    let facade = facade(&recorder);
    let mut open = children(&facade, 20_000);
    let mut chain = vec![facade.begin_subsegment("level")];
    for _ in 0..20_000 {
        let deeper = chain[chain.len() - 1].begin_subsegment("level");
        chain.push(deeper);
    }
    while let Some(child) = open.pop() {
        child.close();
        flush(&recorder);
    }
    chain.into_iter().for_each(Subsegment::close);
    assert_eq!(recorder.entities().dropped[&Loss::Discarded], 40_001);
    drop(facade);
    balance(&recorder);
}
