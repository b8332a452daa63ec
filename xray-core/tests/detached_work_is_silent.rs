//! Work that left its trace on purpose misses none: it is not counted, not
//! logged, never a panic, and tells nobody of a trace. What is suppressed stays
//! so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]
#![allow(
    clippy::async_yields_async,
    reason = "a future that is made in one trace and awaited in another"
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use xray_core::test_util::{TestRecorder, expect};
use xray_core::{
    ContextMissing, Entity, Recorder, TraceExt, TraceHeader, TraceStreamExt, context_missing,
    current, suppressed,
};

fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it had nothing to wait for"),
    }
}

/// One item: what is current where the stream is read.
struct Here;

impl Stream for Here {
    type Item = Entity;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Entity>> {
        Poll::Ready(Some(current()))
    }
}

fn read<S: Stream>(stream: S) -> S::Item {
    match pin!(stream).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(item)) => item,
        _ => panic!("it has an item"),
    }
}

/// Every way to begin a subsegment below what is current.
fn work() -> Entity {
    let here = current();
    here.begin_subsegment("a").annotate("lost", true);
    here.in_subsegment("b", |b| b.run(|| current().begin_subsegment("c").close()));
    done(async { done(async {}.subsegment("e")) }.subsegment("d"));
    done(here.in_subsegment_async("f", async |f| f.in_subsegment("g", |_| ())));
    // In another task or thread as well.
    let task = async { current().begin_subsegment("i").close() }.subsegment("h");
    std::thread::spawn(move || {
        done(task);
        here.run(|| current().begin_subsegment("j").close());
        here
    })
    .join()
    .unwrap()
}

#[test]
fn detached_work_is_silent() {
    let panics = Recorder::builder("shop").ignore_environment().send_inline();
    panics
        .context_missing(ContextMissing::Panic)
        .build()
        .unwrap();
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let entered = segment.enter();
    let spawned = async { async { current().begin_subsegment("x").close() }.in_current() };
    let spawned = done(spawned.detached());
    for here in [
        done(async { current() }.detached()),
        read(TraceStreamExt::detached(Here)),
    ] {
        assert!(here.is_nothing() && !here.is_recorded());
        assert_eq!(here.header(), TraceHeader::default());
        assert_eq!((here.trace_id(), here.id()), (None, None));
    }
    let here = done(async { work() }.detached());
    drop(entered);
    done(spawned);
    here.begin_subsegment("k").close();
    // A trace may begin there, and is found there.
    recorder.clock().advance(std::time::Duration::from_secs(1));
    let own = async {
        let own = recorder.begin_segment("own");
        own.scope(async {}.subsegment("load")).await;
    };
    done(segment.scope(own.detached()));
    segment.close();
    let load = expect::subsegment("load").exact();
    recorder.expect_each([
        expect::segment("shop").exact(),
        expect::segment("own").child(load).exact(),
    ]);
    assert_eq!(context_missing(), 0);
    recorder.assert_finished();
}

#[test]
fn what_is_suppressed_stays_so_where_it_is_detached() {
    let recorder = TestRecorder::new("shop");
    let begin = || {
        assert!(!current().is_nothing());
        recorder.begin_segment("probe").close();
        current().begin_subsegment("probe").close();
    };
    // Detached inside, outside, and inside for a task of its own.
    done(suppressed(async { done(async { begin() }.detached()) }));
    done(suppressed(async { begin() }.detached()));
    done(done(suppressed(async { async { begin() }.detached() })));
    assert!(!read(suppressed(TraceStreamExt::detached(Here))).is_nothing());
    recorder.expect_nothing();
}
