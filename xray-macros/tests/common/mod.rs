//! Runs functions in a segment, and shows what they left in its document.
#![allow(dead_code, reason = "each test uses its part")]

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use xray_core::Recorder;

/// Runs `work` in a segment and returns what it gave, and the segment's
/// subsegments without their ids and times.
#[track_caller]
pub(crate) fn traced<R>(work: impl FnOnce() -> R) -> (R, Value) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let result = segment.run(work);
    segment.close();
    let documents = capture.json();
    assert_eq!(documents.len(), 1);
    let mut document: Value = serde_json::from_slice(&documents[0]).expect("JSON");
    without_ids(&mut document, Location::caller().file());
    (result, document["subsegments"].take())
}

fn without_ids(value: &mut Value, file: &str) {
    match value {
        Value::Object(members) => {
            for member in ["id", "start_time", "end_time", "working_directory"] {
                members.remove(member);
            }
            // Which line it was, each test would have to count.
            if let Some(stack) = members.remove("stack") {
                assert_eq!(stack[0]["path"], file, "the user's file, not ours");
            }
            members
                .values_mut()
                .for_each(|value| without_ids(value, file));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| without_ids(value, file)),
        _ => {}
    }
}

/// Polls until done; nothing here waits for anything but [`pause`].
pub(crate) fn finish<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Pending once.
pub(crate) async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// A subsegment with one exception.
pub(crate) fn fault(name: &str, kind: &str, message: &str) -> Value {
    json!({
        "name": name,
        "fault": true,
        "cause": { "exceptions": [{ "type": kind, "message": message }] },
    })
}
