//! A facade is never sent: what is begun below it leaves as independent
//! subsegments. Below `suppressed` nothing is recorded at all.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::balance;
use xray_core::test_util::{TestRecorder, expect};
use xray_core::{Entity, Recorder, Sampled, TraceHeader, current, suppressed};

const HEADER: &str =
    "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1";

fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

#[test]
fn children_of_a_facade_are_independent_subsegments() {
    let recorder = TestRecorder::new("lambda");
    let header = TraceHeader::parse(HEADER);
    let facade = recorder.begin_facade(&header);
    assert!(!facade.is_recorded() && facade.is_sampled());
    assert_eq!(facade.header().to_text().to_string(), HEADER);
    assert_eq!(recorder.open_entities(), 0);
    // Nothing can be written to it.
    facade.annotate("lost", 1_u8);
    facade.set_user("lost");
    facade.mark(xray_core::Class::Fault);
    for (at, name) in ["first", "second"].into_iter().enumerate() {
        let outer = facade.begin_subsegment(name);
        let inner = outer.begin_subsegment("inner");
        // The outermost subsegment stands for the segment.
        assert_eq!(inner.segment().id(), outer.id());
        inner.segment().annotate("found", at);
        assert_eq!(inner.header().parent(), inner.id());
        assert_eq!((recorder.open_entities(), recorder.entities().open), (2, 2));
        inner.close();
        assert_eq!(recorder.traces().len(), at, "leaves with its parent");
        outer.close();
    }
    assert_eq!(facade.segment().id(), facade.id());
    facade.close();
    recorder.expect_each(["first", "second"].into_iter().zip(0..).map(|(name, at)| {
        let alone = expect::subsegment(name).continues(&header).exact();
        let inner = expect::subsegment("inner").exact();
        alone.annotation("found", at).child(inner)
    }));
    let text = String::from_utf8(recorder.capture().json().concat()).unwrap();
    assert!(!text.contains("lost"), "{text}");
    assert_eq!(recorder.entities().begun, 4);
    recorder.assert_finished();
}

#[test]
fn a_facade_without_a_whole_header_records_nothing() {
    for header in [
        "",
        "Root=1-66f2a1c0-0123456789abcdef01234567",
        "Root=1-66f2a1c0-0123456789abcdef01234567;Sampled=1",
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8",
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=0",
        "Parent=53995c3f42cd8ad8;Sampled=1",
    ] {
        let (recorder, capture) = Recorder::capture("lambda");
        let header = TraceHeader::parse(header);
        let facade = recorder.begin_facade(&header);
        let child = facade.begin_subsegment("a");
        assert!(!child.is_recorded());
        // Whoever is called may decide, as if we were not there.
        assert_eq!(child.header(), header);
        drop((child, facade));
        assert_eq!(capture.json().len(), 0);
        assert_eq!(recorder.entities().unsampled, 2);
        balance(&recorder);
    }
}

#[test]
fn nothing_is_recorded_below_suppressed() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let entered = segment.enter();
    let inside = suppressed(async {
        let here = current();
        assert!(!here.is_recorded() && !here.is_nothing());
        assert_eq!(here.trace_id(), segment.trace_id());
        let call = here.begin_subsegment("hidden");
        assert_eq!(call.header().sampled(), Sampled::No);
        assert_eq!(call.header().root(), segment.trace_id());
        // Nor does a new segment, even where a header asks for it.
        let header = TraceHeader::parse(HEADER);
        let hidden = recorder.segment("hidden").header(&header).begin();
        assert!(!hidden.is_recorded());
        assert_eq!(hidden.header().sampled(), Sampled::No);
        assert_eq!(
            hidden.begin_subsegment("hidden").header().sampled(),
            Sampled::No
        );
        let entered = hidden.enter();
        assert!(!recorder.begin_segment("hidden").is_recorded());
        drop(entered);
        Entity::clone(&here)
    });
    let outlives = ready(inside);
    assert_eq!(current().id(), segment.id());
    outlives.annotate("hidden", 1_u8);
    drop(entered);
    segment.close();
    // Outside, all is as before.
    recorder.begin_segment("after").close();
    let names: Vec<_> = capture.documents().into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["shop", "after"]);
    let text = String::from_utf8(capture.json().concat()).unwrap();
    assert!(!text.contains("hidden"), "{text}");
    assert_eq!(recorder.entities().unsampled, 4);
    balance(&recorder);
}

/// L1: a facade, too.
#[test]
fn a_facade_below_suppressed_records_nothing() {
    let (recorder, capture) = Recorder::capture("lambda");
    let header = TraceHeader::parse(HEADER);
    let outside = recorder.begin_facade(&header);
    ready(outside.run_async(|| {
        suppressed(async {
            let facade = recorder.begin_facade(&header);
            let child = facade.begin_subsegment("hidden");
            assert!(!child.is_recorded() && !child.is_sampled());
            assert_eq!(child.header().sampled(), Sampled::No);
            assert_eq!(child.header().root(), current().trace_id());
            let _entered = facade.enter();
            assert!(!recorder.begin_segment("hidden").is_recorded());
            assert!(
                !recorder
                    .begin_facade(&header)
                    .begin_subsegment("c")
                    .is_recorded()
            );
        })
    }));
    drop(outside);
    assert_eq!(capture.json().len(), 0);
    assert_eq!(recorder.entities().unsampled, 5);
    balance(&recorder);
}

/// L10: the trace that calls are told of was made up, and is no trace of ours.
#[test]
fn below_suppressed_no_trace_is_still_none() {
    let recorder = Recorder::capture("shop").0;
    ready(suppressed(async {
        let here = current();
        let header = here.header();
        assert!(header.root().is_some() && header.parent().is_some());
        assert_eq!(here.header(), header, "the same for each call");
        let segment = recorder.begin_segment("hidden");
        let child = segment.begin_subsegment("hidden");
        assert_eq!(child.header().root(), header.root());
        let within = ready(suppressed(async { current() }));
        assert_eq!(within.header(), header);
        for entity in [&here, &segment, &child, &child.segment(), &within] {
            assert_eq!((entity.trace_id(), entity.id()), (None, None));
            assert_eq!(&*entity.log_id(), "");
            assert_eq!(format!("{entity:?}"), "Entity(no trace)");
        }
    }));
    // Where there is one, it is told.
    let segment = recorder.begin_segment("shop");
    ready(segment.run_async(|| {
        suppressed(async {
            assert_eq!(current().log_id(), segment.log_id());
        })
    }));
}

#[test]
fn suppressed_needs_no_trace() {
    let (recorder, capture) = Recorder::capture("shop");
    ready(suppressed(async {
        assert_eq!(current().header().sampled(), Sampled::No);
        assert!(current().header().root().is_some());
        let segment = recorder.begin_segment("hidden");
        assert_eq!(segment.trace_id(), current().trace_id());
    }));
    assert_eq!(capture.json().len(), 0);
    assert_eq!(recorder.entities().unsampled, 1);
    balance(&recorder);
}

/// `segment.scope(suppressed(..))` used to tell calls of a made-up trace.
#[test]
fn suppressed_takes_its_trace_at_the_first_poll() {
    let (recorder, capture) = Recorder::capture("shop");
    let (segment, other) = (recorder.begin_segment("shop"), recorder.begin_segment("b"));
    let root = || async { current().header().root() };
    let scoped = segment.scope(suppressed(root()));
    assert_eq!(ready(scoped), segment.trace_id());
    // Where it was written there is one.
    let entered = segment.enter();
    let written = suppressed(root());
    drop(entered);
    assert_eq!(ready(other.scope(written)), segment.trace_id());
    // It keeps what it took.
    let mut twice = pin!(suppressed(async {
        let first = current().header();
        let mut is_second = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut is_second, true) {
            false => Poll::Pending,
            true => Poll::Ready(()),
        })
        .await;
        (first.root(), current().header() == first)
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let entered = segment.enter();
    assert!(twice.as_mut().poll(&mut cx).is_pending());
    drop(entered);
    let twice = other.scope(twice);
    assert_eq!(ready(twice), (segment.trace_id(), true));
    // A future that is never polled is dropped suppressed.
    struct Begins<'a>(&'a Recorder);
    impl Drop for Begins<'_> {
        fn drop(&mut self) {
            assert!(!self.0.begin_segment("hidden").is_recorded());
        }
    }
    let begins = Begins(&recorder);
    drop(suppressed(async move { drop(begins) }));
    drop((segment, other));
    assert_eq!(capture.documents().len(), 2);
    balance(&recorder);
}
