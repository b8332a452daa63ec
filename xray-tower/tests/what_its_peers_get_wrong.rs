//! What other X-Ray clients for Rust were found to get wrong about calls. The
//! whole list is in the file of the same name in the package `xray-tests`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use common::{Plain, assert_balanced, client, get, hello, serve};
use http::{Request, Response, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Barrier;
use tower::{Layer, ServiceExt, service_fn};
use xray_core::{Always, Class, Loss, Recorder, RecorderBuilder};
use xray_local::Daemon;
use xray_tower::{XRayClientLayer, XRayLayer};

const LONG: Duration = Duration::from_secs(20);

fn sends_to(daemon: SocketAddr) -> RecorderBuilder {
    let builder = Recorder::builder("shop").ignore_environment();
    builder.sampler(Always).daemon_address(daemon)
}

/// What a caller gets: the status and the body.
async fn call(layer: &XRayClientLayer, uri: &str) -> (u16, String) {
    let answer = layer.layer(client()).oneshot(get(uri)).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status.as_u16(),
        String::from_utf8(body.into()).unwrap(),
    )
}

/// The call of `awssdk-instrumentation` fails where nobody listens to its span,
/// as its hooks return an error then.
#[tokio::test]
async fn neither_a_missing_trace_nor_a_failing_hook_fails_the_call() {
    let daemon = Daemon::start().unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let heard = sends_to(daemon.address()).build().unwrap();
    let off = sends_to(daemon.address()).enabled(false).build().unwrap();
    let unheard = sends_to(nobody).send_inline().build().unwrap();
    let failing: XRayClientLayer = XRayClientLayer::new()
        .on_request(|_, _| panic!("on the request"))
        .classify(|_: &response::Parts| -> Class { panic!("of the class") })
        .on_response(|_, _| panic!("on the response"));
    for (recorder, sent, lost) in [(&heard, 6, 0), (&off, 0, 0), (&unheard, 0, 6)] {
        let layer: XRayLayer = XRayLayer::new(recorder.clone())
            .skip(|_| panic!("whether to skip"))
            .on_request(|_, _| panic!("on the request"))
            .classify(|_: &response::Parts| -> Class { panic!("of the class") })
            .on_response(|_, _| panic!("on the response"));
        let address = serve(layer.layer(service_fn(hello::<Incoming>))).await;
        let uri = format!("http://{address}/7");
        for client in [&XRayClientLayer::new(), &failing] {
            // Without a trace, then within one.
            assert_eq!(call(client, &uri).await, (200, "hello".to_owned()));
            let segment = recorder.begin_segment("caller");
            let called = segment.scope(async { call(client, &uri).await }).await;
            assert_eq!(called, (200, "hello".to_owned()));
        }
        closed(recorder).await;
        assert!(recorder.flush(LONG).await.is_complete());
        let documents = recorder.documents();
        let refused = documents.lost.get(&Loss::Refused).copied();
        assert_eq!((documents.sent, refused.unwrap_or_default()), (sent, lost));
    }
    assert!(daemon.wait_for(6, LONG));
    assert_eq!((daemon.received_count(), daemon.rejected_count()), (6, 0));
    // Four servers with four callbacks each, and a client with three.
    assert_eq!(heard.events().callback_panics, 4 * 4 + 3);
}

/// Waits for the segments of servers, which close a moment after their callers
/// have the answer.
async fn closed(recorder: &Recorder) {
    for _ in 0..500 {
        if recorder.open_entities() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after five seconds: {:#?}", recorder.snapshot());
}

/// The interceptor of `xray-lite-aws-sdk` keeps the call under way in itself: of
/// eight at once six had a request id of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_calls_at_once_keep_apart() {
    const CALLS: usize = 8;
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    // Answers once all are under way, the last one first.
    let together = Arc::new(Barrier::new(CALLS));
    let address = serve(service_fn(move |request: Request<Incoming>| {
        let together = together.clone();
        async move {
            let number: usize = request.uri().path()[1..].parse().unwrap();
            together.wait().await;
            let turn = 3 * (CALLS - number) as u64;
            tokio::time::sleep(Duration::from_millis(turn)).await;
            let header = request.headers()["x-amzn-trace-id"].to_str().unwrap();
            let answer = Response::builder().status(210 + number as u16);
            let answer = answer.header("x-amzn-requestid", format!("request {number}"));
            Ok::<_, Infallible>(answer.body(Plain::from(header.to_owned())).unwrap())
        }
    }))
    .await;
    let layer: XRayClientLayer = XRayClientLayer::new().on_response(|response, call| {
        let id = response.headers["x-amzn-requestid"].to_str().unwrap();
        call.aws("request_id", id);
    });
    let segment = recorder.begin_segment("caller");
    let one = layer.layer(client()); // all calls are clones of it
    let calls = (0..CALLS).map(|number| {
        let uri = format!("http://{address}/{number}");
        let one = one.clone();
        let called = async move {
            let answer = one.oneshot(get(&uri)).await.unwrap();
            let header = answer.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(header.into()).unwrap()
        };
        tokio::spawn(segment.scope(called))
    });
    let calls: Vec<_> = calls.collect();
    let mut headers = Vec::new();
    for call in calls {
        headers.push(call.await.unwrap());
    }
    let root = segment.trace_id().unwrap();
    segment.close();
    assert!(daemon.wait_for(1, LONG));
    let document = daemon.documents().remove(0);
    assert_eq!(document.subsegments.len(), CALLS);
    for (number, header) in headers.iter().enumerate() {
        let id = format!("request {number}");
        let mut own = document.subsegments.iter();
        let own = own
            .find(|call| call.aws["request_id"] == id.as_str())
            .unwrap();
        assert_eq!(*header, format!("Root={root};Parent={};Sampled=1", own.id));
        let http = own.http.as_ref().unwrap();
        let (request, response) = (
            http.request.as_ref().unwrap(),
            http.response.as_ref().unwrap(),
        );
        assert_eq!(request.url, Some(format!("http://{address}/{number}")));
        assert_eq!(response.status, Some(210 + number as u16));
    }
    assert_balanced(&recorder);
}

/// `xray-lite` sends its callee no header once a datagram was refused.
#[tokio::test]
async fn a_daemon_that_is_away_costs_no_header() {
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let recorder = sends_to(nobody).send_inline().build().unwrap();
    let address = serve(service_fn(async |request: Request<Incoming>| {
        let header = request.headers()["x-amzn-trace-id"].to_str().unwrap();
        Ok::<_, Infallible>(Response::new(Plain::from(header.to_owned())))
    }))
    .await;
    let layer: XRayClientLayer = XRayClientLayer::new().on_request({
        let recorder = recorder.clone();
        move |_, _| recorder.show_open(Duration::ZERO)
    });
    let segment = recorder.begin_segment("caller");
    let uri = format!("http://{address}/");
    // What is shown is refused, and from the second call on the call before, which
    // was shown and has closed.
    for refused in [1, 3, 5] {
        let (status, header) = segment.scope(async { call(&layer, &uri).await }).await;
        assert_eq!(status, 200);
        assert_eq!(recorder.documents().lost[&Loss::Refused], refused);
        let call = recorder.snapshot().remove(0).subsegments.pop().unwrap();
        let root = segment.trace_id().unwrap();
        assert_eq!(header, format!("Root={root};Parent={};Sampled=1", call.id));
    }
}
