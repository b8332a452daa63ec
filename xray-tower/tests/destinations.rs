//! Who is told which trace a request is part of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;

use common::{Plain, get, only, shape};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use xray_core::document::Document;
use xray_core::{Recorder, TraceHeader};
use xray_tower::XRayClientLayer;

const HEADERS: [&str; 3] = ["x-amzn-trace-id", "traceparent", "tracestate"];

/// Answers with the headers it got.
async fn echo(request: Request<Plain>) -> Result<Response<Plain>, Infallible> {
    let mut response = Response::new(Plain::from("hello"));
    *response.headers_mut() = request.headers().clone();
    Ok(response)
}

/// What a host was sent, of requests that bring headers of an earlier hop, and
/// what was recorded.
async fn call(layer: XRayClientLayer, uri: &str, is_w3c: bool) -> (HeaderMap, Document) {
    let (recorder, capture) = Recorder::capture("shop");
    let traceparent = b"00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8-01";
    let incoming = TraceHeader::from_headers(None, is_w3c.then_some(traceparent), None);
    let segment = recorder.segment("shop").header(&incoming).begin();
    let mut request = get(uri);
    for name in HEADERS {
        let headers = request.headers_mut();
        headers.append(name, "stale".parse().unwrap());
    }
    let response = segment.scope(layer.layer(service_fn(echo)).oneshot(request));
    let (parts, body) = response.await.unwrap().into_parts();
    body.collect().await.unwrap();
    segment.close();
    (parts.headers, only(&recorder, &capture))
}

/// Whether a host gets our header; if not, it gets none at all.
async fn is_told(layer: &XRayClientLayer, uri: &str) -> bool {
    let (headers, document) = call(layer.clone(), uri, false).await;
    assert_eq!(document.subsegments.len(), 1, "recorded in any case: {uri}");
    let values = headers.get_all("x-amzn-trace-id").iter();
    let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
    assert!(!values.contains(&"stale"), "{uri}");
    !values.is_empty()
}

#[tokio::test]
async fn every_host_but_providers_of_models_is_told() {
    let layer = XRayClientLayer::new();
    for (uri, told) in [
        ("http://stock.example/7", true),
        ("/7", true),
        ("https://openai.com/", true),
        ("https://myapi.openai.com/", true),
        ("https://api.openai.com.example/", true),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke",
            true,
        ),
        ("https://api.openai.com/v1/responses", false),
        ("https://API.OpenAI.com:443/v1/responses", false),
        ("https://api.openai.com./v1/responses", false),
        ("https://key@api.openai.com/v1/responses", false),
        ("https://eu.api.openai.com/v1/responses", false),
        ("https://mine.openai.azure.com/openai", false),
        ("https://api.anthropic.com/v1/messages", false),
        ("https://generativelanguage.googleapis.com/v1beta", false),
        ("https://api.cohere.com/v2/chat", false),
        ("https://api.cohere.ai/v2/chat", false),
        ("https://api.mistral.ai/v1", false),
        ("https://api.groq.com/openai/v1", false),
        ("https://openrouter.ai/api/v1", false),
        ("https://api.together.xyz/v1", false),
        ("https://api.deepseek.com/chat", false),
        ("https://api.x.ai/v1", false),
        ("https://api.perplexity.ai/chat", false),
    ] {
        assert_eq!(is_told(&layer, uri).await, told, "{uri}");
    }
}

#[tokio::test]
async fn an_allow_list_and_a_deny_list() {
    let layer = XRayClientLayer::new()
        .propagate_only_to(["*.shop.example", "*.anthropic.com"])
        .propagate_only_to(["10.0.0.0/28", "::1"])
        .never_propagate_to(["pay.shop.example"]);
    for (uri, told) in [
        ("http://stock.shop.example:80/7", true),
        ("http://pay.shop.example/7", false),
        ("http://shop.example/7", false),
        ("http://shop.example.evil.example/7", false),
        ("http://evil.example/.shop.example", false),
        ("http://x.shop.example@evil.example/", false),
        ("https://api.anthropic.com/v1/messages", false),
        ("http://10.0.0.7/", true),
        ("http://[::1]:80/", true),
        ("/7", false),
    ] {
        assert_eq!(is_told(&layer, uri).await, told, "{uri}");
    }
    let nobody = XRayClientLayer::new().propagate_only_to([""; 0]);
    assert!(!is_told(&nobody, "http://stock.shop.example/7").await);
    let denied = XRayClientLayer::new().never_propagate_to(["*"]);
    assert!(!is_told(&denied, "http://stock.shop.example/7").await);
}

#[tokio::test]
async fn w3c_headers_go_where_ours_go() {
    for (uri, is_w3c, sent) in [
        ("http://stock.example/7", true, [true, true, false]),
        // A copy of another hop's gives way to ours, whoever spoke first.
        ("http://stock.example/7", false, [true, true, false]),
        ("http://api.x.ai/7", true, [false; 3]),
        ("http://api.x.ai/7", false, [false; 3]),
    ] {
        let (headers, _) = call(XRayClientLayer::new(), uri, is_w3c).await;
        let found = HEADERS.map(|name| headers.contains_key(name));
        assert_eq!(found, sent, "{uri} {is_w3c}");
    }
}

#[tokio::test]
async fn the_document_is_the_same() {
    let uri = "https://api.anthropic.com/v1/messages";
    let (_, document) = call(XRayClientLayer::new(), uri, false).await;
    assert_eq!(
        shape(&document),
        json!({
            "name": "shop",
            "subsegments": [{
                "name": "api.anthropic.com",
                "namespace": "remote",
                "http": {
                    "request": {"method": "GET", "url": uri},
                    "response": {"status": 200, "content_length": 5},
                },
            }],
        })
    );
}

/// Requests of this kind come to a channel of tonic's.
#[tokio::test]
async fn a_request_without_a_host_is_told_by_no_list() {
    let layer = || XRayClientLayer::new();
    for (layer, told) in [
        (layer(), true),
        (layer().never_propagate_to([""; 0]), true),
        (layer().never_propagate_to(["evil.example"]), false),
        (layer().propagate_only_to(["stock.internal"]), false),
        (
            layer()
                .never_propagate_to(["evil.example"])
                .host("stock.internal"),
            true,
        ),
        (
            layer()
                .never_propagate_to(["*.internal"])
                .host("stock.internal"),
            false,
        ),
        (
            layer()
                .propagate_only_to(["stock.internal:50051"])
                .host("stock.internal:50051"),
            true,
        ),
        (
            layer()
                .propagate_only_to(["stock.internal"])
                .host("other.internal"),
            false,
        ),
        (
            layer()
                .propagate_only_to(["*"])
                .host("http://stock.internal/"),
            false,
        ),
        (layer().host("api.x.ai"), false),
    ] {
        assert_eq!(is_told(&layer, "/pkg.Stock/Get").await, told, "{layer:?}");
    }
}

#[tokio::test]
async fn the_given_host_names_call_and_url() {
    let layer = XRayClientLayer::new().host("stock.internal.:50051");
    for (uri, name, url) in [
        (
            "/pkg.Stock/Get",
            "stock.internal",
            "http://stock.internal.:50051/pkg.Stock/Get",
        ),
        (
            "http://own.example/7",
            "own.example",
            "http://own.example/7",
        ),
    ] {
        let (_, document) = call(layer.clone(), uri, false).await;
        let call = &document.subsegments[0];
        assert_eq!(call.name, name);
        assert_eq!(shape(call)["http"]["request"]["url"], url);
    }
}

/// A typing error must not open what was to be shut.
#[tokio::test]
async fn an_invalid_pattern_denies_all_or_allows_nobody() {
    let uri = "http://stock.example/7";
    for invalid in [
        "https://evil.example",
        "evil.example/",
        "10.0.*",
        "",
        "e*l.example",
        "evil.example:0",
    ] {
        let denies = XRayClientLayer::new().never_propagate_to([invalid]);
        assert!(!is_told(&denies, uri).await, "{invalid}");
        let allows = XRayClientLayer::new().propagate_only_to([invalid]);
        assert!(!is_told(&allows, uri).await, "{invalid}");
        let allows = allows.propagate_only_to(["stock.example"]);
        assert!(is_told(&allows, uri).await, "{invalid}");
        let shown = format!("{denies:?}");
        assert!(
            shown.contains(&format!("invalid: [{invalid:?}]")),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_port_a_dot_and_a_range_are_understood() {
    let denied = [
        "evil.example:443",
        "evil2.example.",
        "10.0.0.0/8",
        "[fd00::/8]:80",
        "127.0.0.0/8",
    ];
    let denies = XRayClientLayer::new().never_propagate_to(denied);
    let allows = XRayClientLayer::new().propagate_only_to(denied);
    for (uri, denied, allowed) in [
        ("https://evil.example/", true, true),
        ("http://evil.example:443/", true, true),
        ("http://evil.example/", false, false),
        ("http://EVIL2.example:8080/", true, true),
        ("http://evil2.example./", true, true),
        ("http://10.9.8.7/", true, true),
        ("http://[::ffff:10.9.8.7]/", true, true),
        ("http://10.0.evil.example/", false, false),
        ("http://[fd00::1]/", true, true),
        ("https://[fd00::1]/", false, false),
        ("http://stock.example/", false, false),
        // An address to the resolver, though not to us.
        ("http://127.1/", true, false),
    ] {
        assert_eq!(is_told(&denies, uri).await, !denied, "{uri}");
        assert_eq!(is_told(&allows, uri).await, allowed, "{uri}");
    }
}

/// An IPv4 address in an IPv6 one lies in ranges of both.
#[tokio::test]
async fn a_mapped_address_lies_in_both_kinds_of_ranges() {
    let uri = "http://[::ffff:10.0.0.7]/";
    for (pattern, matched) in [
        ("::/0", true),
        ("::ffff:0:0/90", true),
        ("[::/0]:80", true),
        ("::ffff:0:0/96", true),
        ("10.0.0.0/8", true),
        ("fd00::/8", false),
        ("[::/0]:443", false),
    ] {
        let denies = XRayClientLayer::new().never_propagate_to([pattern]);
        assert_eq!(is_told(&denies, uri).await, !matched, "{pattern}");
        let allows = XRayClientLayer::new().propagate_only_to([pattern]);
        assert_eq!(is_told(&allows, uri).await, matched, "{pattern}");
    }
}

#[tokio::test]
async fn a_wrong_host_leaves_the_right_one() {
    for wrong in ["no host/", "*.internal", "10.0.0.0/8", "me@evil.example"] {
        let layer = XRayClientLayer::new().propagate_only_to(["*"]);
        let none = layer.clone().host(wrong);
        assert!(!is_told(&none, "/7").await, "{wrong}");
        let (_, document) = call(layer.host("stock.internal").host(wrong), "/7", false).await;
        assert_eq!(document.subsegments[0].name, "stock.internal", "{wrong}");
    }
}
