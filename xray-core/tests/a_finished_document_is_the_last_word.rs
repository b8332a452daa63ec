//! What is shown as in progress never comes behind what is finished, a verdict
//! on a trace is not overtaken, and what does not fit a record is counted.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Pieces, balance, builder, rejoin, written};
use xray_core::{
    Decision, Entity, Loss, Outcome, Recorder, Sampler, SamplingRequest, Subsegment, Tally,
};

const LIMIT: usize = 64_000;

#[test]
fn an_entity_closed_since_it_was_shown_is_left_out() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("child");
    segment.tally("tokens", Tally::Sum(7.0));
    recorder.show_open(Duration::ZERO);
    child.close();
    let [shown] = <[_; 1]>::try_from(pieces.take()).unwrap();
    let shown = written(shown, LIMIT);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["in_progress"], true);
    assert_eq!(shown[0].get("subsegments"), None, "the child is finished");
    assert_eq!(shown[0]["annotations"]["tokens"], 7);
    segment.close();
    let finished = rejoin(
        pieces
            .take()
            .into_iter()
            .flat_map(|one| written(one, LIMIT)),
    );
    assert_eq!(finished.len(), 2);
    assert_eq!(recorder.documents().sent, 2);
    balance(&recorder);
}

#[test]
fn what_is_finished_before_it_could_be_shown_is_not_shown() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("child");
    recorder.show_open(Duration::ZERO);
    assert_eq!(recorder.documents().created, 0);
    child.close();
    segment.close();
    let [shown, finished] = <[_; 2]>::try_from(pieces.take()).unwrap();
    // Whichever goes first: both orders happen where threads race.
    assert_eq!(written(finished, LIMIT).len(), 1);
    assert_eq!(written(shown, LIMIT).len(), 0);
    let documents = recorder.documents();
    assert_eq!((documents.created, documents.sent), (1, 1));
    balance(&recorder);
}

#[test]
fn a_trace_that_was_given_up_records_nothing_more() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).open_limits(1, 100).build().unwrap();
    // The limit is one of all threads: some more may be alive at once.
    let first = recorder.begin_segment("first");
    let others: Vec<_> = (0..100).map(|_| recorder.begin_segment("other")).collect();
    let late = first.begin_subsegment("late");
    assert!(!late.is_recorded());
    assert_eq!(late.header().parent(), first.id());
    recorder.show_open(Duration::ZERO);
    for piece in pieces.take() {
        let shown = written(piece, LIMIT);
        assert!(shown.iter().all(|one| one["name"] != "late"), "{shown:?}");
    }
    drop((late, first, others));
    pieces.take().into_iter().for_each(|piece| {
        written(piece, LIMIT);
    });
    let entities = recorder.entities();
    assert_eq!(entities.begun, 102);
    assert_eq!(entities.dropped[&Loss::LimitOpen], 102 - entities.written);
    balance(&recorder);
}

/// Keeps every trace, after closing what it was given: as another thread may
/// while the verdict is under way.
#[derive(Debug, Clone, Default)]
struct Slow(Arc<Mutex<Vec<Subsegment>>>);

impl Sampler for Slow {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::recorded()
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        self.0.lock().unwrap().clear();
        true
    }
}

#[test]
fn what_closes_while_a_trace_is_judged_is_judged_with_it() {
    let pieces = Pieces::default();
    let sampler = Slow::default();
    let recorder = builder(pieces.clone())
        .sampler(sampler.clone())
        .build()
        .unwrap();
    let segment = recorder.begin_segment("shop");
    for _ in 0..40 {
        let child = segment.begin_subsegment("large");
        child.metadata("m", "m".repeat(50_000));
        sampler.0.lock().unwrap().push(child);
    }
    segment.close();
    let all = rejoin(
        pieces
            .take()
            .into_iter()
            .flat_map(|one| written(one, LIMIT)),
    );
    assert_eq!(all.len(), 41);
    balance(&recorder);
}

fn trimmed(recorder: &Recorder, write: impl Fn(&Entity)) -> u64 {
    let segment = recorder.begin_segment("shop");
    write(&segment);
    segment.close();
    recorder.events().trimmed
}

#[test]
fn what_one_entity_is_given_for_ever_is_bounded_and_counted() {
    let (recorder, capture) = Recorder::capture("shop");
    let other = recorder.begin_segment("other").id().unwrap();
    let left_out = trimmed(&recorder, |segment| {
        let child = segment.begin_subsegment("child");
        for _ in 0..10_000 {
            child.add_precursor(other);
        }
    });
    // There was no room for some, and 20 of the rest fit.
    assert_eq!(left_out, 10_000 - 20);
    drop(capture);
    let (recorder, capture) = Recorder::capture("shop");
    let left_out = trimmed(&recorder, |segment| {
        for key in 0..1_000 {
            segment.tally(&format!("key{key}"), Tally::Sum(1.0));
        }
    });
    assert_eq!(left_out, 500);
    assert_eq!(capture.documents()[0].annotations.len(), 500);
}
