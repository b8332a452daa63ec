//! No counter ever falls, whatever happens to entities and documents, and both
//! ledgers balance once all is quiet.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Pieces, balance, builder};
use xray_core::{Decision, Loss, Outcome, Recorder, Sampler, SamplingRequest, Segment, Subsegment};

/// The same sequence in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound
    }
}

/// Records all, keeps every other trace, and leaves every fifth out at once.
#[derive(Debug, Default)]
struct Every(std::sync::atomic::AtomicU64);

impl Every {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

impl Sampler for Every {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        match self.next() % 5 {
            0 => Decision::unsampled(),
            1 | 2 => Decision::recorded(),
            _ => Decision::sampled(),
        }
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        self.next().is_multiple_of(2)
    }
}

/// Every counter there is, by name.
fn counters(recorder: &Recorder) -> BTreeMap<String, u64> {
    let (entities, documents) = (recorder.entities(), recorder.documents());
    let events = recorder.events();
    let single = [
        ("begun", entities.begun),
        ("written", entities.written),
        ("unsampled", entities.unsampled),
        ("created", documents.created),
        ("sent", documents.sent),
        ("trimmed", events.trimmed),
        ("callback_panics", events.callback_panics),
        ("refused_late", events.refused_late),
    ];
    let single = single.map(|(name, count)| (name.to_owned(), count));
    let dropped = entities.dropped.into_iter();
    let dropped = dropped.map(|(reason, count)| (format!("dropped {reason}"), count));
    let lost = documents.lost.into_iter();
    let lost = lost.map(|(reason, count)| (format!("lost {reason}"), count));
    single.into_iter().chain(dropped).chain(lost).collect()
}

/// What a run has in hand.
#[derive(Default)]
struct Run {
    segments: Vec<Segment>,
    children: Vec<Subsegment>,
    pieces: Pieces,
}

impl Run {
    fn step(&mut self, recorder: &Recorder, random: &mut Random) {
        match random.below(12) {
            0 | 1 => self.segments.push(recorder.begin_segment("shop")),
            2..=4 => {
                if let Some(segment) = self.segments.last() {
                    let child = segment.begin_subsegment("part");
                    child.metadata("m", "m".repeat(random.below(1_500) as usize));
                    self.children.push(child);
                }
            }
            5 | 6 => drop(self.children.pop()),
            7 => drop(self.segments.pop()),
            8 | 9 => recorder.show_open(Duration::ZERO),
            _ => self.send(random),
        }
    }

    /// Sends one of the pieces, the oldest or not, or part of it, or drops it.
    fn send(&mut self, random: &mut Random) {
        let mut pieces = self.pieces.0.lock().unwrap();
        if pieces.is_empty() {
            return;
        }
        let at = random.below(pieces.len() as u64) as usize;
        let piece = pieces.swap_remove(at);
        drop(pieces);
        if random.below(8) > 0 {
            piece.send_documents(1_100, |_| match random.below(4) {
                0 => Err(Loss::Refused),
                _ => Ok(()),
            });
        }
    }
}

#[test]
fn no_counter_ever_falls() {
    for seed in 1..=60 {
        let mut random = Random(seed << 32 | 0x9E37);
        let mut run = Run::default();
        let recorder = builder(run.pieces.clone())
            .sampler(Every::default())
            .build();
        let recorder = recorder.unwrap();
        let mut before = counters(&recorder);
        let mut check = |recorder: &Recorder| {
            let after = counters(recorder);
            for (name, count) in &before {
                let now = after.get(name).copied().unwrap_or(0);
                assert!(
                    now >= *count,
                    "seed {seed}: {name} fell from {count} to {now}"
                );
            }
            before = after;
        };
        for _ in 0..200 {
            run.step(&recorder, &mut random);
            check(&recorder);
        }
        let Run {
            segments,
            children,
            pieces,
        } = run;
        drop((segments, children));
        check(&recorder);
        drop(pieces.take());
        check(&recorder);
        balance(&recorder);
    }
}

/// The moments at which a document in progress is counted.
#[test]
fn what_is_in_progress_counts_once_it_is_decided() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    let counts = || {
        let documents = recorder.documents();
        (documents.created, documents.sent, documents.queued)
    };
    recorder.show_open(Duration::ZERO);
    assert_eq!(counts(), (0, 0, 0));
    for piece in pieces.take() {
        piece.send_documents(64_000, |_| Ok(()));
    }
    assert_eq!(counts(), (1, 1, 0));
    let child = segment.begin_subsegment("child");
    recorder.show_open(Duration::ZERO);
    drop(pieces.take());
    assert_eq!(counts(), (2, 1, 0), "one was never sent");
    assert_eq!(recorder.documents().lost[&Loss::Discarded], 1);
    drop((child, segment));
    drop(pieces.take());
    balance(&recorder);
}
