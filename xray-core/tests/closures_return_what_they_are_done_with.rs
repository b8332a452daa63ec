//! A closure that returns a future has forms of its own, which trace the
//! future's run. The others refuse it, and take everything else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use xray_core::test_util::{TestRecorder, expect};
use xray_core::{Entity, Subsegment, current};

fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it had nothing to wait for"),
    }
}

/// As a runtime of many threads takes it.
fn spawned<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| done(future)).join().unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_async_closure_is_traced_while_it_runs() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let work = async |load: Entity| {
        load.annotate("own", true);
        current().annotate("current", true);
        current().in_subsegment("inner", |_| recorder.clock().advance(SECOND));
        7
    };
    assert_eq!(done(segment.in_subsegment_async("a", work)), 7);
    let begun = segment.begin_subsegment("b");
    recorder.clock().advance(SECOND);
    assert_eq!(done(begun.trace_fn_async(work)), 7);
    let here = async || current().annotate("run", true);
    done(segment.run_async(here));
    // An empty entity yields to what is current.
    let empty = std::thread::spawn(current).join().unwrap();
    assert_eq!(done(segment.scope(empty.in_subsegment_async("c", work))), 7);
    segment.close();
    let traced = |name: &str, seconds: u32| {
        let inner = expect::subsegment("inner").duration(SECOND).exact();
        let traced = expect::subsegment(name)
            .duration(SECOND * seconds)
            .child(inner);
        traced
            .annotation("own", true)
            .annotation("current", true)
            .exact()
    };
    let expected = expect::segment("shop").annotation("run", true);
    let [a, b, c] = [traced("a", 1), traced("b", 2), traced("c", 1)];
    recorder.expect(expected.child(a).child(b).child(c).exact());
    recorder.assert_finished();
}

#[test]
fn an_async_closure_may_be_spawned() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let name = String::from("load");
    let user = String::from("ann");
    let load = segment.in_subsegment_async(&name, async move |load| load.annotate("user", user));
    spawned(load);
    let user = String::from("bob");
    let load = async move |load: Entity| {
        std::future::ready(()).await;
        load.annotate("user", user);
        Ok::<_, io::Error>(())
    };
    spawned(segment.try_in_subsegment_async(&name, load)).unwrap();
    let plain = |load: Entity| async move { load.annotate("user", "cid") };
    spawned(segment.begin_subsegment(&name).trace_fn_async(plain));
    spawned(segment.run_async(async || current().annotate("run", true)));
    segment.close();
    let mut expected = expect::segment("shop").annotation("run", true);
    for user in ["ann", "bob", "cid"] {
        expected = expected.child(expect::subsegment("load").annotation("user", user).exact());
    }
    recorder.expect(expected.exact());
}

#[test]
fn an_async_closure_that_fails_says_so() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let fails = async |_| Err::<(), _>(io::Error::other("lost"));
    done(segment.try_in_subsegment_async("a", fails)).unwrap_err();
    done(segment.begin_subsegment("b").try_trace_fn_async(fails)).unwrap_err();
    let lines = [line!() - 2, line!() - 1];
    let panics = async |_| panic!("no more");
    catch_unwind(AssertUnwindSafe(|| {
        done(segment.in_subsegment_async("c", panics))
    }))
    .unwrap_err();
    // One that panics before there is a future.
    let panics = |_| -> std::future::Ready<()> { panic!("no more") };
    catch_unwind(AssertUnwindSafe(|| {
        done(segment.in_subsegment_async("d", panics));
    }))
    .unwrap_err();
    segment.close();
    let documents = recorder.capture().documents();
    for (child, line) in documents[0].subsegments.iter().zip(lines) {
        let place = &child.exceptions()[0].stack[0];
        assert!(
            place.path.as_deref().unwrap().ends_with(file!()),
            "{place:?}"
        );
        assert_eq!(place.line, Some(line), "{}", child.name);
    }
    let lost = |name: &str| {
        let lost = expect::subsegment(name).fault().exact();
        lost.exception("std::io::error::Error", "lost")
    };
    let panic = |name: &str| {
        expect::subsegment(name)
            .fault()
            .exception("panic", "no more")
            .exact()
    };
    let expected = expect::segment("shop").child(lost("a")).child(lost("b"));
    recorder.expect(expected.child(panic("c")).child(panic("d")).exact());
}

#[test]
fn every_return_type_but_a_future_is_taken() {
    fn any<R>(entity: &Entity, work: impl FnOnce() -> R) -> R {
        entity.run(work)
    }
    fn bound<R: Default + 'static>(entity: &Entity) -> R {
        entity.in_subsegment("bound", |_| R::default())
    }
    fn opaque() -> impl std::fmt::Display {
        7
    }
    fn associated<I: Iterator>(subsegment: Subsegment, mut of: I) -> Option<I::Item> {
        subsegment.trace_fn(|_| of.next())
    }
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    segment.run(|| ());
    assert_eq!(any(&segment, || "text"), "text");
    assert_eq!(bound::<u8>(&segment), 0);
    assert_eq!(segment.run(opaque).to_string(), "7");
    let items = segment.begin_subsegment("items");
    assert_eq!(associated(items, [7].into_iter()), Some(7));
    // Such as are known only by what is asked of them later.
    let number: u16 = segment.run(|| "7".parse()).unwrap();
    let list: Vec<u16> = segment.run(|| [number].into_iter().collect());
    let text = segment.run(|| &list[..]);
    assert_eq!(text, [7]);
    let error: Box<dyn std::error::Error> = segment.run(|| "boxed".into());
    assert_eq!(error.to_string(), "boxed");
    let closure: Box<dyn Fn() -> u8> = segment.run(|| Box::new(|| 7));
    assert_eq!(closure(), 7);
    let parsed = segment.in_subsegment("parse", |_| -> Result<u8, Box<dyn std::error::Error>> {
        Ok("7".parse()?)
    });
    assert_eq!(parsed.unwrap(), 7);
    catch_unwind(AssertUnwindSafe(|| segment.run(|| panic!("never")))).unwrap_err();
}
