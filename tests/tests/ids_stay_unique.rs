//! T-71, small: no two traces and no two entities have one id. The binary
//! `faults` draws a hundred million.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::HashSet;

use xray_core::{Always, Emitter, Piece, Recorder};
use xray_tests::balance;

/// Throws pieces away.
#[derive(Debug)]
struct Nowhere;

impl Emitter for Nowhere {
    fn emit(&self, piece: Piece) {
        drop(piece);
    }
}

#[test]
fn no_id_comes_twice_on_eight_threads() {
    let builder = Recorder::builder("test").ignore_environment();
    let recorder = builder.sampler(Always).emitter(Nowhere).build().unwrap();
    let (threads, traces, children) = (8, 10_000, 4);
    let draw = || {
        let mut drawn = (Vec::new(), Vec::new());
        for _ in 0..traces {
            let segment = recorder.begin_segment("shop");
            drawn.0.push(segment.trace_id().unwrap());
            drawn.1.push(segment.id().unwrap());
            for _ in 0..children {
                let child = segment.begin_subsegment("part");
                drawn.1.push(child.id().unwrap());
            }
        }
        drawn
    };
    let mut trace_ids = HashSet::new();
    let mut ids = HashSet::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(draw)).collect();
        for one in all {
            let drawn = one.join().unwrap();
            trace_ids.extend(drawn.0);
            ids.extend(drawn.1);
        }
    });
    assert_eq!(trace_ids.len(), threads * traces);
    // Two of 400,000 random numbers of 64 bits are equal once in 200 million runs.
    assert_eq!(ids.len(), threads * traces * (1 + children));
    balance(&recorder);
}
