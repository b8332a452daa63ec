//! A thousand requests at once, each over twenty awaits and every way to other
//! threads and tasks: each subsegment is found under its own parent.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use futures::future::{Either, join, join_all, select};
use futures::{StreamExt, stream};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use xray_core::{Capture, Recorder, TraceExt, TraceStreamExt, current};
use xray_tests::{balance, rejoin};

const REQUESTS: usize = 1_000;
const AWAITS: usize = 20;

/// Lets others go first, on any executor.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn pause() -> Yield {
    Yield(false)
}

type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How an executor runs tasks and closures elsewhere.
#[derive(Clone, Copy)]
struct Executor {
    spawn: fn(Spawned) -> Spawned,
    spawn_blocking: fn(Box<dyn FnOnce() + Send>) -> Spawned,
}

/// The name of a subsegment says which request and which parent it has.
async fn step(request: usize, at: usize) {
    let name = format!("{request}/{at}");
    async {
        pause().await;
        let inner = format!("{name}/in");
        async { pause().await }.subsegment(&inner).await;
    }
    .subsegment(&name)
    .await;
}

async fn request(recorder: Recorder, number: usize, executor: Executor) {
    let segment = recorder.begin_segment(&number.to_string());
    let scope = segment.scope(async {
        for at in 0..AWAITS {
            step(number, at).await;
        }
        join(step(number, 100), step(number, 101)).await;
        (executor.spawn)(Box::pin(step(number, 102).in_current())).await;
        let here = current();
        let blocking =
            move || here.run(|| current().in_subsegment(&format!("{number}/103"), |_| ()));
        (executor.spawn_blocking)(Box::new(blocking)).await;
        let items = stream::iter([104, 105])
            .then(move |at| step(number, at))
            .in_current();
        (executor.spawn)(Box::pin(items.for_each(|()| async {}))).await;
        let loser = std::future::pending::<()>()
            .subsegment(&format!("{number}/106"))
            .cancel_ok();
        let winner = pin!(step(number, 107));
        assert!(matches!(
            select(pin!(loser), winner).await,
            Either::Right(_)
        ));
        assert_eq!(current().trace_id(), segment.trace_id());
    });
    scope.await;
    segment.close();
}

fn check(recorder: &Recorder, capture: &Capture) {
    balance(recorder);
    let documents = capture.documents();
    assert_eq!(documents.len(), REQUESTS);
    let mut in_trace: BTreeMap<String, usize> = BTreeMap::new();
    for document in &documents {
        let tree = rejoin([document]);
        for (parent, name) in tree.values() {
            let Some(parent) = parent else {
                assert_eq!(*name, document.name);
                continue;
            };
            let above = &tree[parent].1;
            let expected = match name.strip_suffix("/in") {
                Some(step) => step,
                None => name.split('/').next().unwrap(),
            };
            assert_eq!(above, expected, "above {name}");
        }
        assert!(document.walk().all(|part| !part.error && !part.fault));
        in_trace.insert(document.name.clone(), tree.len());
    }
    assert_eq!(in_trace.len(), REQUESTS);
    // Steps have two, the closure and the loser one, the segment itself one.
    let expected = 2 * (AWAITS + 6) + 3;
    assert!(
        in_trace.values().all(|count| *count == expected),
        "{in_trace:?}"
    );
    assert_eq!(recorder.entities().written, (REQUESTS * expected) as u64);
}

fn on_tokio(runtime: &tokio::runtime::Runtime) {
    let executor = Executor {
        spawn: |task| {
            let task = tokio::spawn(task);
            Box::pin(async { task.await.unwrap() })
        },
        spawn_blocking: |work| {
            let task = tokio::task::spawn_blocking(work);
            Box::pin(async { task.await.unwrap() })
        },
    };
    let (recorder, capture) = Recorder::capture("test");
    runtime.block_on(async {
        let tasks = (0..REQUESTS).map(|n| tokio::spawn(request(recorder.clone(), n, executor)));
        join_all(tasks).await.into_iter().for_each(Result::unwrap);
    });
    check(&recorder, &capture);
}

#[test]
fn on_tokio_with_one_thread() {
    on_tokio(
        &tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap(),
    );
}

#[test]
fn on_tokio_with_one_worker() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    on_tokio(&builder.worker_threads(1).build().unwrap());
}

#[test]
fn on_tokio_with_sixteen_workers() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    on_tokio(&builder.worker_threads(16).build().unwrap());
}

#[test]
fn on_smol() {
    let executor = Executor {
        spawn: |task| Box::pin(smol::spawn(task)),
        spawn_blocking: |work| Box::pin(smol::unblock(work)),
    };
    let (recorder, capture) = Recorder::capture("test");
    smol::block_on(async {
        let tasks = (0..REQUESTS).map(|n| smol::spawn(request(recorder.clone(), n, executor)));
        join_all(tasks).await;
    });
    check(&recorder, &capture);
}
