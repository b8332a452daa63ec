//! What is recorded of a request, and what never is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;

use common::{get, hello, only, shape};
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use xray_core::Recorder;
use xray_tower::{PeerAddr, XRayLayer};

async fn recorded(request: Request<common::Plain>) -> (Value, String) {
    let (recorder, capture) = Recorder::capture("shop");
    let service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let document = only(&recorder, &capture);
    let text = String::from_utf8(capture.json().remove(0)).unwrap();
    (shape(&document)["http"]["request"].clone(), text)
}

fn with(
    mut request: Request<common::Plain>,
    headers: &[(&'static str, &[u8])],
) -> Request<common::Plain> {
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

#[tokio::test]
async fn method_url_agent_and_client() {
    let peer: SocketAddr = "[::ffff:192.0.2.1]:4711".parse().unwrap();
    let mut request = with(
        get("/orders/7"),
        &[("host", b"shop.example:8080"), ("user-agent", b"curl/8")],
    );
    *request.method_mut() = http::Method::PUT;
    request.extensions_mut().insert(PeerAddr(peer));
    let (block, _) = recorded(request).await;
    assert_eq!(
        block,
        json!({
            "method": "PUT",
            "url": "http://shop.example:8080/orders/7",
            "user_agent": "curl/8",
            "client_ip": "192.0.2.1",
        })
    );
}

#[tokio::test]
async fn the_first_forwarded_client_beats_the_peer() {
    let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    for (header, client, forwarded) in [
        (&b"203.0.113.9, 198.51.100.2"[..], "203.0.113.9", true),
        (b" 2001:db8::1 ", "2001:db8::1", true),
        (b"203.0.113.9:41234", "203.0.113.9", true),
        (b"\"[2001:DB8::9]:41234\"", "2001:db8::9", true),
        (b"::ffff:203.0.113.9", "203.0.113.9", true),
        (b"unknown, 203.0.113.9", "203.0.113.9", true),
        (b", 198.51.100.2", "198.51.100.2", true),
        (b"<script>alert(1)</script>", "192.0.2.1", false),
        (b"", "192.0.2.1", false),
        (b"\xff", "192.0.2.1", false),
    ] {
        let mut request = with(get("http://shop.example/"), &[("x-forwarded-for", header)]);
        request.extensions_mut().insert(PeerAddr(peer));
        let (block, _) = recorded(request).await;
        let mut expected = json!({
            "method": "GET", "url": "http://shop.example/", "client_ip": client,
        });
        if forwarded {
            expected["x_forwarded_for"] = true.into();
        }
        assert_eq!(block, expected, "{header:?}");
    }
}

#[tokio::test]
async fn lines_of_forwarded_clients_are_read_in_order() {
    for (lines, client) in [
        (["", "203.0.113.9", "198.51.100.2"], "203.0.113.9"),
        (["\u{e9}", "unknown", "198.51.100.2"], "198.51.100.2"),
    ] {
        let lines = lines.map(|line| ("x-forwarded-for", line.as_bytes()));
        let (block, _) = recorded(with(get("http://shop.example/"), &lines)).await;
        assert_eq!(block["client_ip"], client);
        assert_eq!(block["x_forwarded_for"], true);
    }
}

/// Each line costs time, and the caller writes them.
#[tokio::test]
async fn sixteen_lines_of_forwarded_clients_are_read() {
    for (unknown, client) in [(15, Some("203.0.113.9")), (16, None)] {
        let mut lines = vec![("x-forwarded-for", &b"unknown"[..]); unknown];
        lines.push(("x-forwarded-for", b"203.0.113.9"));
        let (block, _) = recorded(with(get("http://shop.example/"), &lines)).await;
        assert_eq!(block["client_ip"].as_str(), client, "{unknown}");
    }
}

/// The rest of such a host would end the URL before its path.
#[tokio::test]
async fn a_host_that_is_no_authority_is_not_part_of_a_url() {
    for host in [
        "shop.example/harmless?",
        "shop.example#",
        "a:b",
        "shop.example:80abc",
        "[",
    ] {
        let host = [("host", host.as_bytes())];
        let (block, _) = recorded(with(get("/admin/delete"), &host)).await;
        assert_eq!(block["url"], "/admin/delete", "{host:?}");
    }
}

#[tokio::test]
async fn secrets_are_never_recorded() {
    let request = with(
        get("https://ann:hunter2@shop.example/orders?token=hunter2&X-Amz-Signature=hunter2"),
        &[
            ("host", b"ann:hunter2@shop.example"),
            ("authorization", b"Bearer hunter2"),
            ("proxy-authorization", b"Basic hunter2"),
            ("cookie", b"session=hunter2"),
            ("x-api-key", b"hunter2"),
            ("referer", b"https://shop.example/?token=hunter2"),
        ],
    );
    let (block, text) = recorded(request).await;
    assert_eq!(
        block,
        json!({"method": "GET", "url": "https://shop.example/orders"})
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!text.contains('?'), "{text}");
    assert!(!text.contains("ann"), "{text}");

    let request = with(
        get("/orders?token=hunter2"),
        &[("host", b"ann:hunter2@shop.example")],
    );
    let (block, text) = recorded(request).await;
    assert_eq!(block["url"], "http://shop.example/orders");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out() {
    let request = with(get("/a"), &[("host", b"\xff"), ("user-agent", b"\xff")]);
    let (block, _) = recorded(request).await;
    assert_eq!(block, json!({"method": "GET", "url": "/a"}));
}
