//! Ten thousand levels and a hundred thousand siblings are recorded, closed,
//! written and dropped on a small stack, and none is lost.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::time::Duration;

use common::{Pieces, balance, builder, rejoin, written};
use xray_core::{Always, Recorder, Sampled, Subsegment, TraceHeader};

const DEEP: usize = 10_000;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(work).unwrap().join().unwrap();
}

/// Begins a chain of `DEEP` levels and looks at each header on the way.
fn chain(recorder: &Recorder) -> (xray_core::Segment, Vec<Subsegment>) {
    let segment = recorder.begin_segment("top");
    let mut levels: Vec<Subsegment> = Vec::with_capacity(DEEP);
    for _ in 0..DEEP {
        let above: &xray_core::Entity = levels.last().map_or(&segment, |level| level);
        let level = above.begin_subsegment("level");
        let header = TraceHeader::parse(level.header().to_text().as_bytes());
        assert_eq!(header.root(), segment.trace_id());
        assert_eq!(header.parent(), level.id());
        assert_eq!(header.sampled(), Sampled::Yes);
        levels.push(level);
    }
    assert_eq!(levels[DEEP - 1].segment().id(), segment.id());
    (segment, levels)
}

fn check(recorder: &Recorder, pieces: &Pieces) {
    let mut documents = Vec::new();
    let mut from_model = 0;
    for piece in pieces.take() {
        from_model += piece
            .to_documents()
            .iter()
            .map(|d| d.walk().count())
            .sum::<usize>();
        documents.append(&mut written(piece, 64_000));
    }
    assert_eq!(from_model, DEEP + 1);
    let tree = rejoin(documents);
    assert_eq!(tree.len(), DEEP + 1);
    // From anywhere the parents lead to the top.
    let roots = tree.values().filter(|joined| joined.parent.is_none());
    assert_eq!(roots.count(), 1);
    let known = |joined: &common::Joined| {
        joined
            .parent
            .as_ref()
            .is_none_or(|id| tree.contains_key(id))
    };
    assert!(tree.values().all(known));
    balance(recorder);
}

#[test]
fn ten_thousand_levels_closed_from_below() {
    on_a_small_stack(|| {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).build().unwrap();
        let (segment, mut levels) = chain(&recorder);
        assert_eq!(recorder.open_entities(), DEEP + 1);
        let seen = recorder.snapshot();
        assert_eq!(
            seen.iter().map(|d| d.walk().count()).sum::<usize>(),
            DEEP + 1
        );
        while levels.pop().is_some() {}
        segment.close();
        check(&recorder, &pieces);
    });
}

#[test]
fn ten_thousand_levels_closed_from_above() {
    on_a_small_stack(|| {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).build().unwrap();
        let (segment, levels) = chain(&recorder);
        segment.close();
        drop(levels); // the outermost first
        check(&recorder, &pieces);
    });
}

#[test]
fn ten_thousand_levels_over_the_emission_thread() {
    on_a_small_stack(|| {
        let daemon = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(daemon.local_addr().unwrap())
            .build()
            .unwrap();
        let (segment, mut levels) = chain(&recorder);
        while levels.pop().is_some() {}
        segment.close();
        assert!(recorder.flush(Duration::from_secs(30)).wait().is_complete());
        assert_eq!(recorder.entities().written, DEEP as u64 + 1);
        balance(&recorder);
    });
}

#[test]
fn a_hundred_thousand_siblings() {
    on_a_small_stack(|| {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).build().unwrap();
        let segment = recorder.begin_segment("top");
        let mut all = std::collections::BTreeSet::new();
        for at in 0..100_000 {
            let child = segment.begin_subsegment("wide");
            all.insert(child.id().unwrap().to_string());
            child.annotate("at", at);
        }
        let streamed = pieces.take();
        assert!(streamed.len() > 90, "{}", streamed.len());
        all.insert(segment.id().unwrap().to_string());
        segment.close();
        for piece in streamed.into_iter().chain(pieces.take()) {
            for id in rejoin(written(piece, 64_000)).into_keys() {
                assert!(all.remove(&id), "{id} twice");
            }
        }
        assert_eq!(all.len(), 0);
        balance(&recorder);
    });
}
