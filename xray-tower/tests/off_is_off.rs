//! In every state of the context a request leaves with a header that has a root,
//! or with the one it had. Never an empty line, never the header of another hop.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;

use common::{Plain, get};
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service, service_fn};
use xray_core::{Always, Entity, Never, Recorder, TraceExt, TraceHeader, current, suppressed};
use xray_tower::{XRayClientLayer, XRayLayer};

const OWN: &str = "Root=1-00000001-000000000000000000000002;Parent=53995c3f42cd8ad9;Sampled=1";
const TRACEPARENT: &str = "00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8-01";
const NAMES: [&str; 3] = ["x-amzn-trace-id", "traceparent", "tracestate"];

/// The headers with which a client's request arrives, and the header of what is
/// current where it is sent.
struct Call {
    before: HeaderMap,
    after: HeaderMap,
    told: TraceHeader,
}

/// Sends requests of every kind where this is called.
async fn calls(host: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    for lines in [
        &[][..],
        &[("x-amzn-trace-id", OWN)],
        &[
            ("x-amzn-trace-id", "not a header"),
            ("x-amzn-trace-id", OWN),
        ],
        &[("traceparent", TRACEPARENT), ("tracestate", "a=b")],
        &[
            ("x-amzn-trace-id", OWN),
            ("traceparent", TRACEPARENT),
            ("tracestate", "a=b"),
        ],
        &[("x-amzn-trace-id", ""), ("tracestate", "a=b")],
    ] {
        let mut request = get(&format!("http://{host}/7"));
        for (name, value) in lines {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let before = request.headers().clone();
        let mut client =
            XRayClientLayer::new().layer(service_fn(async |request: Request<Plain>| {
                let mut response = Response::new(Plain::default());
                *response.headers_mut() = request.headers().clone();
                Ok::<_, Infallible>(response)
            }));
        let told = current().header();
        let response = client.call(request).await.unwrap();
        let after = response.headers().clone();
        calls.push(Call {
            before,
            after,
            told,
        });
    }
    calls
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter();
    lines.map(|line| line.to_str().unwrap()).collect()
}

fn check(state: &str, host: &str, call: &Call) {
    let Call {
        before,
        after,
        told,
    } = call;
    let context = format!("{state}, {host}: {before:?} became {after:?}");
    if told.root().is_none() {
        assert_eq!(before, after, "{context}");
        return;
    }
    let [amzn, traceparent, tracestate] = NAMES.map(|name| lines(after, name));
    if host == "api.x.ai" {
        assert!(after.is_empty(), "{context}");
        return;
    }
    let [amzn] = amzn[..] else {
        panic!("not one line: {context}");
    };
    let header = TraceHeader::parse(amzn);
    assert_eq!(header.root(), told.root(), "{context}");
    match traceparent[..] {
        [traceparent] => {
            let state = tracestate.first().map(|state| state.as_bytes());
            let w3c = TraceHeader::from_headers(None, Some(traceparent.as_bytes()), state);
            let ids = (header.root(), header.parent());
            assert_eq!((w3c.root(), w3c.parent()), ids, "{context}");
            assert_eq!(w3c.tracestate(), told.tracestate(), "{context}");
        }
        [] => assert!(
            header.parent().is_none() || !before.contains_key("traceparent"),
            "{context}"
        ),
        _ => panic!("several lines: {context}"),
    }
    assert_eq!(tracestate.first().copied(), told.tracestate(), "{context}");
}

async fn check_here(state: &str) {
    for host in ["stock.example", "api.x.ai"] {
        for call in calls(host).await {
            check(state, host, &call);
        }
    }
}

/// Every header a caller may have sent, by subsets of its fields.
fn callers() -> Vec<TraceHeader> {
    let mut callers = Vec::new();
    for root in ["", "Root=1-66f2a1c0-0123456789abcdef01234567"] {
        for parent in ["", "Parent=53995c3f42cd8ad8"] {
            for sampled in ["", "Sampled=1", "Sampled=0", "Sampled=?"] {
                for extras in ["", "Lineage=a:1"] {
                    let text = [root, parent, sampled, extras].join(";");
                    callers.push(TraceHeader::parse(&text));
                    let state = Some(&b"c=d"[..]).filter(|_| extras.is_empty());
                    let w3c = Some(TRACEPARENT.as_bytes());
                    callers.push(TraceHeader::from_headers(Some(text.as_bytes()), w3c, state));
                }
            }
        }
    }
    callers
}

fn off() -> Recorder {
    let builder = Recorder::builder("shop").ignore_environment();
    builder.enabled(false).build().unwrap()
}

fn never() -> Recorder {
    let builder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Never);
    builder.send_inline().build().unwrap()
}

#[tokio::test]
async fn in_every_state_a_header_or_what_was_there() {
    let (on, _capture) = Recorder::capture("shop");
    // Refuses every child.
    let full = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always);
    let full = full.open_limits(100, 1).send_inline().build().unwrap();
    check_here("nothing").await;
    suppressed(check_here("suppressed, of nothing")).await;
    for (name, recorder) in [
        ("on", &on),
        ("off", &off()),
        ("never", &never()),
        ("full", &full),
    ] {
        let segment = recorder.begin_segment("shop");
        let made_up =
            segment.scope(async { suppressed(async { current().header().root() }).await });
        assert_eq!(made_up.await.is_some(), name != "off", "{name}");
        segment
            .scope(check_here(&format!("{name}, no caller")))
            .await;
        segment
            .scope(check_here(&format!("{name}, detached")).detached())
            .await;
        // The call of `suppressed` takes what is current then.
        let state = format!("{name}, suppressed");
        segment
            .scope(async { suppressed(check_here(&state)).await })
            .await;
        for caller in callers() {
            let state = format!("{name}, {caller}");
            let segment = recorder.segment("shop").header(&caller).begin();
            segment.scope(check_here(&state)).await;
            let facade = recorder.begin_facade(&caller);
            facade.scope(check_here(&format!("facade {state}"))).await;
            let inside = format!("suppressed, facade {state}");
            facade
                .scope(async { suppressed(check_here(&inside)).await })
                .await;
            let skipped: Entity = recorder.suppress(&caller);
            skipped.scope(check_here(&format!("skipped {state}"))).await;
        }
    }
}

/// A server answers with the trace, or leaves the response alone.
#[tokio::test]
async fn off_a_response_carries_no_header_of_ours() {
    let (on, _capture) = Recorder::capture("shop");
    for (recorder, answered) in [(on, true), (off(), false)] {
        let mut service = XRayLayer::new(recorder).layer(service_fn(common::hello::<Plain>));
        let response = service.call(get("/7")).await.unwrap();
        assert_eq!(
            lines(response.headers(), NAMES[0]).len(),
            usize::from(answered)
        );
    }
}
