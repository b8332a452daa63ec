//! A future that is a subsegment begins at its first poll, below what was
//! current where it was written, and leaves no trace before. An empty handle is
//! never made current.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use xray_core::test_util::{TestRecorder, expect};
use xray_core::{Entity, TraceExt, TraceHeader, context_missing, current, suppressed};

/// What is missing is counted for the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn done<T>(future: impl Future<Output = T>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it had nothing to wait for"),
    }
}

/// Pending at its first poll, with `write` called at each.
async fn twice(write: impl Fn(&Entity)) {
    let mut polls = 0;
    poll_fn(|_| {
        write(&current());
        polls += 1;
        match polls {
            1 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

async fn load(user: &str) -> Result<usize, std::io::Error> {
    current().annotate("user", user);
    assert!(current().header().root().is_some());
    Ok(user.len())
}

#[test]
fn a_scope_reaches_the_future_it_is_given() {
    let _alone = alone();
    let before = context_missing();
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("nightly job");
    let loaded = done(segment.scope(load("ann").try_subsegment("load")));
    assert_eq!(loaded.unwrap(), 3);
    assert_eq!(
        done(segment.scope(load("bob").subsegment("load"))).unwrap(),
        3
    );
    segment.close();
    let load = |user: &str| expect::subsegment("load").annotation("user", user).exact();
    let expected = expect::segment("nightly job");
    recorder.expect(expected.child(load("ann")).child(load("bob")).exact());
    assert_eq!(context_missing(), before);
    recorder.assert_finished();
}

#[test]
fn it_lasts_from_its_first_poll_to_its_end() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let second = Duration::from_secs(1);
    let entered = segment.enter();
    let step = |name: &str| async { recorder.clock().advance(second) }.subsegment(name);
    let (a, b) = (step("a"), step("b"));
    recorder.clock().advance(second * 5);
    done(b);
    done(a);
    drop(entered);
    segment.close();
    let step = |name: &str| expect::subsegment(name).ok().duration(second).exact();
    recorder.expect(
        expect::segment("shop")
            .child(step("b"))
            .child(step("a"))
            .exact(),
    );
}

#[test]
fn a_future_that_is_never_polled_leaves_no_trace() {
    struct Notes;
    impl Drop for Notes {
        fn drop(&mut self) {
            current().annotate("dropped", true);
        }
    }
    let _alone = alone();
    let before = context_missing();
    let recorder = TestRecorder::new("shop");
    drop(load("ann").subsegment("written nowhere"));
    let segment = recorder.begin_segment("shop");
    let notes = Notes;
    segment.run(|| {
        drop(load("ann").subsegment("fallback"));
        drop(load("ann").try_subsegment("fallback").cancel_ok());
        drop(current().in_subsegment_async("fallback", async |_| ()));
        drop(async move { drop(notes) }.subsegment("fallback"));
    });
    segment.close();
    recorder.expect(
        expect::segment("shop")
            .ok()
            .annotation("dropped", true)
            .exact(),
    );
    assert_eq!(recorder.entities().begun, 1);
    assert_eq!(context_missing(), before);
}

#[test]
fn it_stays_below_the_place_where_it_was_written() {
    let recorder = TestRecorder::new("shop");
    let [here, there] = ["here", "there"].map(|name| recorder.begin_segment(name));
    let entered = here.enter();
    let work = twice(|at| at.annotate("at", true)).subsegment("work");
    let call = async { done(load("ann").subsegment("inner")) }.subsegment("call");
    drop(entered);
    let mut work = pin!(work);
    assert!(there.run(|| poll(work.as_mut())).is_pending());
    assert!(poll(work).is_ready());
    // What it calls is there as well, as it is current in its polls.
    there.run(|| done(call)).unwrap();
    here.close();
    there.close();
    let work = expect::subsegment("work").annotation("at", true).exact();
    let inner = expect::subsegment("inner")
        .annotation("user", "ann")
        .exact();
    let call = expect::subsegment("call").child(inner).exact();
    recorder.expect_each([
        expect::segment("here").child(work).child(call).exact(),
        expect::segment("there").exact(),
    ]);
}

#[test]
fn where_neither_place_has_a_trace_it_is_missing_once() {
    let _alone = alone();
    let before = context_missing();
    let recorder = TestRecorder::new("shop");
    let work = twice(|at| at.annotate("at", true)).subsegment("work");
    assert_eq!(context_missing(), before);
    let mut work = pin!(work);
    assert!(poll(work.as_mut()).is_pending());
    assert_eq!(context_missing(), before + 1);
    // It stays lost, and what it is polled in stays current.
    let segment = recorder.begin_segment("shop");
    assert!(segment.run(|| poll(work)).is_ready());
    segment.close();
    recorder.expect(expect::segment("shop").annotation("at", true).exact());
    assert_eq!(context_missing(), before + 1);
}

#[test]
fn an_empty_handle_is_never_made_current() {
    let _alone = alone();
    let before = context_missing();
    let recorder = TestRecorder::new("shop");
    let nothing = current();
    let lost = || nothing.begin_subsegment("lost");
    let segment = recorder.begin_segment("shop");
    let outside = [lost().trace(load("a")), lost().trace(load("b"))];
    let carried = load("c").in_current();
    let entered = segment.enter();
    for work in outside {
        done(work).unwrap();
    }
    done(carried).unwrap();
    done(nothing.scope(load("d"))).unwrap();
    nothing.run(|| assert_eq!(current().id(), segment.id()));
    let empty = nothing.enter();
    assert_eq!(current().id(), segment.id());
    drop(empty);
    assert_eq!(current().id(), segment.id());
    lost().trace_fn(|_| assert_eq!(current().id(), segment.id()));
    // A closure gets what it is traced as, not what is current.
    done(lost().trace_fn_async(async |of| assert!(of.is_nothing())));
    drop(entered);
    assert!(current().is_nothing());
    segment.close();
    recorder.expect(expect::segment("shop").annotation("user", "d").exact());
    assert_eq!(context_missing(), before + 4);
}

#[test]
fn what_is_suppressed_where_it_is_polled_stays_so() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let entered = segment.enter();
    done(suppressed(load("ann").subsegment("poll the rules"))).unwrap();
    drop(entered);
    segment.close();
    recorder.expect(expect::segment("shop").exact());
}

#[test]
fn below_a_facade_it_has_its_name() {
    let recorder = TestRecorder::new("shop");
    let text = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    let header = TraceHeader::parse(text);
    let facade = recorder.begin_facade(&header);
    done(facade.run_async(|| load("ann").subsegment("handler"))).unwrap();
    facade.close();
    let handler = expect::subsegment("handler").annotation("user", "ann");
    recorder.expect(handler.continues(&header).exact());
}

#[test]
fn a_name_of_any_length_is_kept() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let names = [0, 1, 39, 40, 41, 200].map(|length| "é".repeat(length));
    for name in &names {
        done(segment.scope(async {}.subsegment(name)));
    }
    let long = "é".repeat(1_000_000);
    done(segment.scope(async {}.subsegment(&format!("{long}!"))));
    segment.close();
    let mut expected = expect::segment("shop");
    for name in names.iter().chain([&names[5]]) {
        let name = if name.is_empty() { "_" } else { name };
        expected = expected.child(expect::subsegment(name).exact());
    }
    recorder.expect(expected.exact());
}
