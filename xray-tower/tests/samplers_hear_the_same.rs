//! A sampler hears the same of a request through the layer, whether it is
//! sampled, recorded or neither.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::{Plain, get};
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Class, Decision, Outcome, Recorder, Sampler, SamplingRequest};
use xray_tower::XRayLayer;

type Heard = Arc<Mutex<Vec<(Option<u16>, Class)>>>;

#[derive(Debug)]
struct Hears(Decision, Heard);

impl Sampler for Hears {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        self.0.clone()
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        let heard = (outcome.status, outcome.class);
        self.1.lock().unwrap().push(heard);
    }
}

/// What a handler does, and its caller.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Answers; the body is read.
    Answer(u16),
    /// The caller leaves with the body unread.
    Leave(u16),
    /// The body fails.
    Fail(u16),
    Panic,
    Refuse,
    /// The caller leaves before there is an answer.
    Wait,
}

/// A body of one frame, or of an error.
struct Frames(Option<io::Result<Frame<Bytes>>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.take())
    }
}

async fn handle(act: Act) -> io::Result<Response<Frames>> {
    let frame = Ok(Frame::data(Bytes::from_static(b"hello")));
    let (status, frame) = match act {
        Act::Answer(status) | Act::Leave(status) => (status, frame),
        Act::Fail(status) => (status, Err(io::Error::other("the disk is gone"))),
        Act::Panic => panic!("no tea"),
        Act::Refuse => return Err(io::Error::other("no disk")),
        Act::Wait => std::future::pending().await,
    };
    let response = Response::builder().status(status);
    Ok(response.body(Frames(Some(frame))).unwrap())
}

/// What the sampler hears of one request.
fn heard(decision: Decision, act: Act) -> (Option<u16>, Class) {
    let heard = Heard::default();
    let builder = Recorder::builder("shop").ignore_environment();
    let recorder = builder
        .sampler(Hears(decision, heard.clone()))
        .emitter(Nowhere)
        .build()
        .unwrap();
    let layer: XRayLayer = XRayLayer::new(recorder);
    let service = layer.layer(service_fn(move |_: Request<Plain>| handle(act)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut answer = Box::pin(service.oneshot(get("/")));
    let answered = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(&mut cx)));
    drop(answer);
    if let Ok(Poll::Ready(Ok(response))) = answered {
        let mut body = response.into_body();
        while !matches!(act, Act::Leave(_))
            && let Poll::Ready(Some(Ok(_))) = Pin::new(&mut body).poll_frame(&mut cx)
        {}
    }
    let [heard] = heard.lock().unwrap()[..] else {
        panic!("once for each root that closed");
    };
    heard
}

/// Lets everything go.
#[derive(Debug)]
struct Nowhere;

impl xray_core::Emitter for Nowhere {
    fn emit(&self, _: xray_core::Piece) {}
}

#[test]
fn of_every_end_whatever_was_decided() {
    for (act, expected) in [
        (Act::Answer(200), (Some(200), Class::Ok)),
        (Act::Answer(404), (Some(404), Class::Error)),
        (Act::Answer(429), (Some(429), Class::Throttle)),
        (Act::Answer(503), (Some(503), Class::Fault)),
        (Act::Leave(200), (Some(200), Class::Error)),
        (Act::Leave(404), (Some(404), Class::Error)),
        (Act::Leave(500), (Some(500), Class::Fault)),
        (Act::Fail(200), (Some(200), Class::Fault)),
        (Act::Fail(404), (Some(404), Class::Fault)),
        (Act::Panic, (Some(500), Class::Fault)),
        (Act::Refuse, (None, Class::Fault)),
        (Act::Wait, (None, Class::Error)),
    ] {
        for decision in [
            Decision::sampled(),
            Decision::recorded(),
            Decision::unsampled(),
        ] {
            let what = format!("{act:?}, {decision:?}");
            assert_eq!(heard(decision, act), expected, "{what}");
        }
    }
}
