//! Handles go anywhere, are current only when told to, and close what they
//! began exactly once.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use common::balance;
use xray_core::document::Document;
use xray_core::test_util::expect::Expectation;
use xray_core::test_util::{TestRecorder, expect};
use xray_core::{Capture, Entered, Entity, ManualClock, Recorder, Segment, Subsegment, current};

const fn goes_anywhere<T: Send + Sync + Debug + 'static>() {}

const _: () = {
    goes_anywhere::<Recorder>();
    goes_anywhere::<Entity>();
    goes_anywhere::<Segment>();
    goes_anywhere::<Subsegment>();
    goes_anywhere::<xray_core::Hold>();
    goes_anywhere::<xray_core::Piece>();
    goes_anywhere::<Capture>();
    goes_anywhere::<xray_core::TraceHeader>();
    goes_anywhere::<xray_core::Scoped<u8>>();
    goes_anywhere::<xray_core::Traced<u8, xray_core::Plain>>();
    const fn goes_to_another_thread<T: Send + Debug + 'static>() {}
    goes_to_another_thread::<xray_core::Flush>();
};

/// Does not compile once `Entered` is `Send`: both implementations apply then.
const _: fn() = || {
    struct IfSend;
    trait NotSend<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<IfSend> for T {}
    <Entered<'static> as NotSend<_>>::holds();
};

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The clock stands at the epoch of these tests.
fn capture() -> (Recorder, Capture, Arc<ManualClock>) {
    let capture = Capture::new(65_474);
    let clock = Arc::new(ManualClock::at(epoch()));
    let recorder = common::builder(capture.clone()).clock(clock.clone());
    (recorder.build().unwrap(), capture, clock)
}

fn only(capture: &Capture) -> Document {
    let [document] = <[Document; 1]>::try_from(capture.documents()).unwrap();
    document
}

#[test]
fn nothing_is_current_by_itself() {
    let (recorder, capture, _) = capture();
    let segment = recorder.begin_segment("a");
    assert!(current().is_nothing());
    let child = segment.begin_subsegment("b");
    assert!(current().is_nothing());
    current().annotate("lost", true);
    drop((child, segment));
    let document = only(&capture);
    assert!(document.annotations.is_empty());
    assert!(document.subsegments[0].annotations.is_empty());
    balance(&recorder);
}

#[test]
fn parent_and_start_are_what_they_are_said_to_be() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder
        .segment("a")
        .start_at(epoch() - Duration::from_secs(2))
        .begin();
    let first = segment.begin_subsegment("first");
    let entered = first.enter();
    // Its parent is the segment, whatever is current.
    let second = segment
        .subsegment("second")
        .start_at(epoch() - Duration::from_secs(1))
        .begin();
    recorder.clock().advance(Duration::from_millis(1_500));
    second.close();
    drop(entered);
    first.close_at(epoch() + Duration::from_millis(500));
    segment.close();
    let lasts = |of: Expectation, before: u64, millis| {
        let start = epoch() - Duration::from_secs(before);
        of.started_at(start).duration(Duration::from_millis(millis))
    };
    recorder.expect(
        lasts(expect::segment("a"), 2, 3_500)
            .exact()
            .child(lasts(expect::subsegment("second"), 1, 2_500))
            .child(lasts(expect::subsegment("first"), 0, 500)),
    );
    recorder.assert_finished();
}

#[test]
fn an_end_before_the_start_is_the_start() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("a");
    let early = epoch() - Duration::from_secs(3_600);
    segment.begin_subsegment("b").close_at(early);
    segment.close_at(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    let at_once = |of: Expectation| of.started_at(epoch()).duration(Duration::ZERO);
    let child = at_once(expect::subsegment("b"));
    recorder.expect(at_once(expect::segment("a")).child(child));
    recorder.assert_finished();
}

#[test]
fn nothing_changes_after_the_close() {
    let (recorder, capture, clock) = capture();
    let segment = recorder.begin_segment("a");
    segment.set_name("b");
    let child = segment.begin_subsegment("c");
    child.set_name("d");
    let (child_later, later) = (Entity::clone(&child), Entity::clone(&segment));
    child.close();
    clock.advance(Duration::from_secs(1));
    // The child is closed, but still in the record of the open segment.
    child_later.set_name("late");
    child_later.annotate("late", 1_u8);
    child_later.metadata("late", 1_u8);
    child_later.record_panic(&"late");
    child_later.mark(xray_core::Class::Fault);
    child_later.tally("late", xray_core::Tally::Sum(1.0));
    segment.close();
    later.set_name("late");
    later.annotate("late", 1_u8);
    later.set_user("late");
    let document = only(&capture);
    assert_eq!(
        (
            document.name.as_str(),
            document.subsegments[0].name.as_str()
        ),
        ("b", "d")
    );
    let text = String::from_utf8(capture.json().concat()).unwrap();
    assert!(!text.contains("late") && !text.contains("fault"), "{text}");
    assert_eq!(document.subsegments[0].end_time, Some(1_700_000_000.0));
    // A place that was used again is not the old handle's.
    let segment = recorder.begin_segment("a");
    let old = segment.begin_subsegment("old");
    let old_later = Entity::clone(&old);
    old.close();
    let new = segment.begin_subsegment("new");
    old_later.set_name("late");
    drop((new, segment));
    assert_eq!(capture.documents()[1].subsegments[1].name, "new");
    balance(&recorder);
}

#[test]
fn every_way_to_close_closes_once() {
    type Close = dyn Fn(Segment, Subsegment);
    let (recorder, capture, _) = capture();
    let begin = || {
        let segment = recorder.begin_segment("a");
        let child = segment.begin_subsegment("b");
        (segment, child)
    };
    let ways: [(&str, Box<Close>); 4] = [
        (
            "close",
            Box::new(|segment, child| {
                child.close();
                segment.close();
            }),
        ),
        (
            "close_at",
            Box::new(|segment, child| {
                child.close_at(epoch());
                segment.close_at(epoch());
            }),
        ),
        ("drop", Box::new(|segment, child| drop((child, segment)))),
        (
            "unwind",
            Box::new(|segment, child| {
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _both = (child, segment);
                    std::panic::resume_unwind(Box::new("on purpose"));
                }));
                assert!(unwound.is_err());
            }),
        ),
    ];
    for (at, (way, close)) in ways.iter().enumerate() {
        let (segment, child) = begin();
        assert_eq!((recorder.open_entities(), recorder.entities().open), (2, 2));
        close(segment, child);
        let document = &capture.documents()[at];
        assert_eq!(capture.documents().len(), at + 1, "{way}");
        assert_eq!(document.subsegments.len(), 1, "{way}");
        assert_eq!(recorder.entities().written, 2 * (at as u64 + 1), "{way}");
        // Unwinding is a fault that says so, and nothing else is.
        for part in document.walk() {
            assert_eq!(part.fault, *way == "unwind");
            let exceptions: Vec<_> = part.exceptions().iter().collect();
            assert_eq!(exceptions.len(), usize::from(*way == "unwind"));
            for exception in exceptions {
                assert_eq!(exception.kind.as_deref(), Some("panic"));
                assert_eq!(exception.message.as_deref(), Some("the thread panicked"));
            }
        }
        balance(&recorder);
    }
}

#[test]
fn guards_may_be_left_out_of_order() {
    let (recorder, _, _) = capture();
    let segment = recorder.begin_segment("a");
    let child = segment.begin_subsegment("b");
    let grandchild = child.begin_subsegment("c");
    let first = segment.enter();
    let second = child.enter();
    let third = grandchild.enter();
    let again = child.enter();
    drop(second);
    assert_eq!(current().id(), child.id());
    drop(again);
    assert_eq!(current().id(), grandchild.id());
    drop(first);
    assert_eq!(current().id(), grandchild.id());
    drop(third);
    assert!(current().is_nothing());
}

#[test]
fn a_scope_is_current_in_every_poll_and_in_the_drop() {
    struct Looks(
        Vec<Option<xray_core::SegmentId>>,
        usize,
        Arc<std::sync::Mutex<Vec<bool>>>,
    );
    impl Future for Looks {
        type Output = Vec<Option<xray_core::SegmentId>>;
        fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            self.0.push(current().id());
            self.1 -= 1;
            if self.1 == 0 {
                Poll::Ready(std::mem::take(&mut self.0))
            } else {
                Poll::Pending
            }
        }
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            self.2.lock().unwrap().push(current().is_recorded());
        }
    }
    let (recorder, _, _) = capture();
    let segment = recorder.begin_segment("a");
    let dropped = Arc::default();
    let looks = segment.scope(Looks(Vec::new(), 3, Arc::clone(&dropped)));
    let mut looks = Box::pin(looks);
    // On a thread each: nothing is left behind on any of them.
    for _ in 0..2 {
        looks = std::thread::spawn(move || {
            let pending = looks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(pending.is_pending());
            assert!(current().is_nothing());
            looks
        })
        .join()
        .unwrap();
    }
    let polled = looks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(vec![segment.id(); 3]));
    drop(looks);
    assert_eq!(*dropped.lock().unwrap(), [true]);
    assert!(current().is_nothing());
    let detached = pin!(xray_core::TraceExt::detached(async {
        current().is_nothing()
    }));
    let _entered = segment.enter();
    let polled = detached.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(true));
}
