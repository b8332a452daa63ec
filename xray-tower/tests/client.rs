//! Calls that go out: the subsegment, and what the other side is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use common::{Plain, client, get, none, only, serve, shape};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::json;
use tower::buffer::Buffer;
use tower::{Layer, Service, ServiceExt, service_fn};
use xray_core::{Class, Recorder, Sampled, TraceHeader, current, suppressed};
use xray_tower::{XRayClientLayer, XRayLayer};

const ROOT: &str = "1-66f2a1c0-0123456789abcdef01234567";

/// Answers with the status that the path names; keeps the headers it got.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<HeaderMap>>>);

impl Seen {
    fn last(&self) -> HeaderMap {
        self.0.lock().unwrap().pop().unwrap()
    }

    async fn serve(&self) -> std::net::SocketAddr {
        let seen = self.clone();
        serve(service_fn(move |request: Request<_>| {
            let (parts, _): (http::request::Parts, hyper::body::Incoming) = request.into_parts();
            let status: u16 = parts.uri.path()[1..].parse().unwrap();
            seen.0.lock().unwrap().push(parts.headers);
            let response = Response::builder().status(status);
            let response = response.body(Plain::from("hello")).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        }))
        .await
    }
}

fn single(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().unwrap().to_owned();
    assert_eq!(values.next(), None, "{name}");
    Some(value)
}

#[tokio::test]
async fn a_call_is_a_remote_subsegment_and_the_parent_of_its_callee() {
    let (recorder, capture) = Recorder::capture("shop");
    let (callee, callee_capture) = Recorder::capture("stock");
    let layer = XRayLayer::new(callee.clone());
    let address = serve(layer.layer(service_fn(common::hello))).await;

    let segment = recorder.begin_segment("shop");
    let mut client = XRayClientLayer::new().layer(client());
    let uri = format!(
        "http://ann:hunter2@localhost:{}/7?token=hunter2",
        address.port()
    );
    segment
        .scope(async {
            let mut request = get(&uri);
            let secret = "Bearer hunter2".parse().unwrap();
            request.headers_mut().insert("authorization", secret);
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.body().size_hint().exact(), Some(5));
            response.into_body().collect().await.unwrap();
        })
        .await;
    segment.close();

    let document = only(&recorder, &capture);
    assert_eq!(
        shape(&document),
        json!({
            "name": "shop",
            "subsegments": [{
                "name": "localhost",
                "namespace": "remote",
                "http": {
                    "request": {
                        "method": "GET",
                        "url": format!("http://localhost:{}/7", address.port()),
                    },
                    "response": {"status": 200, "content_length": 5},
                },
            }],
        })
    );
    let text = String::from_utf8(capture.json().remove(0)).unwrap();
    assert!(!text.contains("hunter2"), "{text}");

    common::eventually(&callee, 1, &callee_capture).await;
    let called = only(&callee, &callee_capture);
    assert_eq!(called.trace_id, document.trace_id);
    assert_eq!(
        called.parent_id.as_deref(),
        Some(&*document.subsegments[0].id)
    );
}

/// Calls with headers that an earlier hop left in the request.
async fn call(uri: String) -> u16 {
    let mut client = XRayClientLayer::new().layer(client());
    let mut request = get(&uri);
    for value in ["Root=stale", "Root=staler"] {
        let headers = request.headers_mut();
        headers.append("x-amzn-trace-id", value.parse().unwrap());
    }
    let response = client.ready().await.unwrap().call(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status.as_u16()
}

#[tokio::test]
async fn sampled_work_says_so() {
    let (recorder, capture) = Recorder::capture("shop");
    let seen = Seen::default();
    let address = seen.serve().await;
    let incoming = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1");
    let segment = recorder.segment("shop");
    let segment = segment.header(&TraceHeader::parse(&incoming)).begin();
    segment.scope(call(format!("http://{address}/200"))).await;
    segment.close();
    let id = only(&recorder, &capture).subsegments[0].id.clone();
    let headers = seen.last();
    assert_eq!(
        single(&headers, "x-amzn-trace-id").unwrap(),
        format!("Root={ROOT};Parent={id};Sampled=1;Lineage=a:1")
    );
    assert_eq!(single(&headers, "traceparent"), None);
    assert_eq!(single(&headers, "tracestate"), None);
}

#[tokio::test]
async fn unsampled_work_says_so_too() {
    let (recorder, capture) = Recorder::capture("shop");
    let seen = Seen::default();
    let address = seen.serve().await;
    let incoming = TraceHeader::parse(format!("Root={ROOT};Sampled=0"));
    let segment = recorder.segment("shop").header(&incoming).begin();
    segment.scope(call(format!("http://{address}/500"))).await;
    segment.close();
    none(&recorder, &capture);
    let sent = TraceHeader::parse(single(&seen.last(), "x-amzn-trace-id").unwrap());
    assert_eq!(sent.root(), incoming.root());
    assert_eq!(sent.sampled(), Sampled::No);
}

#[tokio::test]
async fn suppressed_work_says_so_too() {
    let (recorder, capture) = Recorder::capture("shop");
    let seen = Seen::default();
    let address = seen.serve().await;
    let segment = recorder.begin_segment("shop");
    let suppressed_call = async { suppressed(call(format!("http://{address}/200"))).await };
    segment.scope(suppressed_call).await;
    segment.close();
    assert_eq!(shape(&only(&recorder, &capture)), json!({"name": "shop"}));
    let sent = TraceHeader::parse(single(&seen.last(), "x-amzn-trace-id").unwrap());
    assert_eq!(sent.sampled(), Sampled::No);
}

#[tokio::test]
async fn without_a_trace_a_request_passes_untouched() {
    let seen = Seen::default();
    let address = seen.serve().await;
    let missing = xray_core::context_missing();
    assert_eq!(call(format!("http://{address}/200")).await, 200);
    let headers = seen.last();
    let values: Vec<_> = headers.get_all("x-amzn-trace-id").iter().collect();
    assert_eq!(values, ["Root=stale", "Root=staler"]);
    assert_eq!(xray_core::context_missing(), missing);
}

#[tokio::test]
async fn a_caller_who_spoke_w3c_is_passed_on_in_both() {
    for tracestate in [Some("vendor=1"), None] {
        let (recorder, capture) = Recorder::capture("shop");
        let seen = Seen::default();
        let address = seen.serve().await;
        let traceparent = b"00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8-01";
        let incoming =
            TraceHeader::from_headers(None, Some(traceparent), tracestate.map(str::as_bytes));
        let segment = recorder.segment("shop").header(&incoming).begin();
        segment
            .scope(async {
                let mut client = XRayClientLayer::new().layer(client());
                let mut request = get(&format!("http://{address}/200"));
                let stale = request.headers_mut();
                stale.insert("traceparent", "00-stale".parse().unwrap());
                stale.insert("tracestate", "stale=1".parse().unwrap());
                let response = client.call(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            })
            .await;
        segment.close();
        let id = only(&recorder, &capture).subsegments[0].id.clone();
        let headers = seen.last();
        assert_eq!(
            single(&headers, "x-amzn-trace-id").unwrap(),
            format!("Root={ROOT};Parent={id};Sampled=1")
        );
        assert_eq!(
            single(&headers, "traceparent").unwrap(),
            format!("00-66f2a1c00123456789abcdef01234567-{id}-01")
        );
        assert_eq!(single(&headers, "tracestate").as_deref(), tracestate);
    }
}

#[tokio::test]
async fn responses_are_classified() {
    for (status, flags) in [
        (200, json!({})),
        (404, json!({"error": true})),
        (429, json!({"error": true, "throttle": true})),
        (503, json!({"fault": true})),
    ] {
        let (recorder, capture) = Recorder::capture("shop");
        let address = Seen::default().serve().await;
        let segment = recorder.begin_segment("shop");
        let answered = segment
            .scope(call(format!("http://{address}/{status}")))
            .await;
        assert_eq!(answered, status);
        segment.close();
        let document = only(&recorder, &capture);
        assert!(
            !document.error && !document.fault,
            "the caller decides for itself"
        );
        let mut expected = json!({
            "name": "127.0.0.1",
            "namespace": "remote",
            "http": {
                "request": {"method": "GET", "url": format!("http://{address}/{status}")},
                "response": {"status": status, "content_length": 5},
            },
        });
        let flags = flags.as_object().unwrap().clone();
        expected.as_object_mut().unwrap().extend(flags);
        assert_eq!(shape(&document.subsegments[0]), expected);
    }
}

#[tokio::test]
async fn options() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let layer = XRayClientLayer::new()
        .traced()
        .classify(|_: &_| Class::Fault);
    let mut client = layer.layer(service_fn(common::hello));
    let requests = ["/7", "http://[::1]:80/7"];
    segment
        .scope(async {
            for uri in requests {
                let response = client.call(get(uri)).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        })
        .await;
    segment.close();
    let document = only(&recorder, &capture);
    let names = ["Unknown host", "::1"];
    for ((call, name), url) in document.subsegments.iter().zip(names).zip(requests) {
        assert_eq!(
            shape(call),
            json!({
                "name": name,
                "namespace": "remote",
                "fault": true,
                "traced": true,
                "http": {
                    "request": {"method": "GET", "url": url},
                    "response": {"status": 200, "content_length": 5},
                },
            })
        );
    }
    assert_eq!(document.subsegments.len(), 2);
}

/// An answer to HEAD is empty, which says nothing of what a GET would get.
#[tokio::test]
async fn the_length_of_a_head_is_the_declared_one() {
    for declared in [None, Some(7)] {
        let (recorder, capture) = Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let client = XRayClientLayer::new().layer(service_fn(async |_| {
            let mut response = Response::builder();
            if let Some(length) = declared {
                response = response.header("content-length", length);
            }
            Ok::<_, Infallible>(response.body(Plain::default()).unwrap())
        }));
        let mut request = get("http://shop.example/");
        *request.method_mut() = http::Method::HEAD;
        segment.scope(client.oneshot(request)).await.unwrap();
        segment.close();
        let mut block = common::http_block(200, declared);
        block["request"]["method"] = "HEAD".into();
        let document = only(&recorder, &capture);
        assert_eq!(shape(&document.subsegments[0])["http"], block);
    }
}

/// What a handler below calls is a part of the call.
#[tokio::test]
async fn the_call_is_current_within() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let mut client = XRayClientLayer::new().layer(service_fn(async |request: Request<Plain>| {
        current().in_subsegment("sign", |_| ());
        common::hello(request).await
    }));
    let response = segment
        .scope(async { client.call(get("http://stock.example/")).await.unwrap() })
        .await;
    response.into_body().collect().await.unwrap();
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(document.subsegments[0].subsegments[0].name, "sign");
}

/// What is current stays behind where `Buffer` hands a request to its task.
#[tokio::test]
async fn a_call_that_another_task_makes_is_recorded_from_outside() {
    let seen = Seen::default();
    let uri = format!("http://{}/200", seen.serve().await);
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let traced = XRayClientLayer::new().layer(Buffer::new(client(), 1));
    let response = segment.scope(traced.oneshot(get(&uri))).await.unwrap();
    response.into_body().collect().await.unwrap();
    let header = single(&seen.last(), "x-amzn-trace-id").unwrap();

    let untraced = Buffer::new(XRayClientLayer::new().layer(client()), 1);
    let response = segment.scope(untraced.oneshot(get(&uri))).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(single(&seen.last(), "x-amzn-trace-id"), None);

    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(document.subsegments.len(), 1);
    let (root, parent) = (document.trace_id.unwrap(), &document.subsegments[0].id);
    assert_eq!(header, format!("Root={root};Parent={parent};Sampled=1"));
}
