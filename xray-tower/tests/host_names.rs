//! Names after the host that a request is for, and their limit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::collections::BTreeSet;

use common::{Plain, hello, only, shape};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, Service, service_fn};
use xray_core::document::Document;
use xray_core::{Capture, Recorder};
use xray_tower::XRayLayer;

fn request(uri: &str, host: Option<&str>) -> Request<Plain> {
    let mut request = Request::get(uri);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    request.body(Plain::default()).unwrap()
}

async fn exchange(layer: &XRayLayer, uri: &str, host: Option<&str>) {
    let mut service = layer.layer(service_fn(hello));
    let response = service.call(request(uri, host)).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn the_host_is_the_name_where_it_matches() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone())
        .name_from_host(["api.shop.example", "*.Tenant.example"])
        .name_from_host([String::from("10.0.0.0/29"), String::from("[::2]:8080")])
        // Ignored.
        .name_from_host(["https://tenant.example", "t*.example", "10.0.*"]);
    let shown = format!("{layer:?}");
    for invalid in ["https://tenant.example", "t*.example", "10.0.*"] {
        assert!(shown.contains(invalid), "{shown}");
    }
    for (uri, host, name) in [
        ("/", Some("api.shop.example"), "api.shop.example"),
        ("/", Some("API.Shop.Example:8443"), "api.shop.example"),
        ("/", Some("api.shop.example."), "api.shop.example"),
        ("/", Some("me:pw@api.shop.example"), "api.shop.example"),
        ("/", Some("a.tenant.EXAMPLE"), "a.tenant.example"),
        ("/", Some("tenant.example"), "shop"),
        ("/", Some("10.0.0.7:80"), "10.0.0.7"),
        ("/", Some("10.0.0.77"), "shop"),
        ("/", Some("[::1]:80"), "shop"),
        ("/", Some("[0:0::2]:8080"), "::2"),
        ("/", Some("[::2]:80"), "shop"),
        // A text that is no authority counts as absent.
        ("/", Some("api.shop.example/x"), "shop"),
        ("/", Some("api.shop.example?"), "shop"),
        ("/", Some("api.shop.example:x"), "shop"),
        ("/", Some(""), "shop"),
        ("/", None, "shop"),
        (
            "http://api.shop.example/",
            Some("b.tenant.example"),
            "api.shop.example",
        ),
    ] {
        capture.clear();
        exchange(&layer, uri, host).await;
        assert_eq!(only(&recorder, &capture).name, name, "{uri} {host:?}");
    }
}

#[tokio::test]
async fn a_host_without_a_port_has_a_usual_one() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone())
        .name_from_host(["a.example:443", "b.example:80", "c.example:8080"])
        .name_from_host(["*.tenant.example:443"])
        .host_name_limit(1);
    for (host, name) in [
        ("a.example", "a.example"),
        ("a.example:443", "a.example"),
        ("a.example:80", "shop"),
        ("b.example", "b.example"),
        ("c.example", "shop"),
        ("c.example:8080", "c.example"),
        ("d.tenant.example", "d.tenant.example"),
        ("e.tenant.example", "shop"),
    ] {
        capture.clear();
        exchange(&layer, "/", Some(host)).await;
        assert_eq!(only(&recorder, &capture).name, name, "{host}");
    }
}

#[tokio::test]
async fn a_range_counts_as_many_hosts() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone())
        .name_from_host(["10.0.0.0/8", "10.0.0.2/31", "10.0.0.9", "10.0.0.8/32"])
        .host_name_limit(1);
    for host in ["10.0.0.1", "10.0.0.2", "10.0.0.8", "10.0.0.9"] {
        exchange(&layer, "/", Some(host)).await;
    }
    let names = capture.documents().into_iter().map(|one| one.name);
    let names: Vec<String> = names.collect();
    assert_eq!(names, ["10.0.0.1", "shop", "10.0.0.8", "10.0.0.9"]);
}

#[tokio::test]
async fn a_whole_document() {
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone()).name_from_host(["*"]);
    exchange(&layer, "/7?token=t", Some("[2001:DB8::1]:80")).await;
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "2001:db8::1",
            "http": {
                "request": {"method": "GET", "url": "http://[2001:DB8::1]:80/7"},
                "response": {"status": 200, "content_length": 5},
            },
        })
    );
}

#[tokio::test]
async fn below_a_segment_the_subsegment_is_named_so() {
    let (recorder, capture) = Recorder::capture("job");
    let layer = XRayLayer::new(recorder.clone()).name_from_host(["*.example"]);
    let segment = recorder.begin_segment("job");
    segment
        .scope(exchange(&layer, "/", Some("shop.example")))
        .await;
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(document.name, "job");
    assert_eq!(document.subsegments[0].name, "shop.example");
}

fn names(capture: &Capture) -> BTreeSet<String> {
    let documents = capture.documents().into_iter();
    documents.map(|document: Document| document.name).collect()
}

#[tokio::test]
async fn wildcards_let_in_a_limited_number() {
    for limit in [None, Some(0), Some(3)] {
        let (recorder, capture) = Recorder::capture("shop");
        let mut layer = XRayLayer::new(recorder.clone()).name_from_host(["*", "our.example"]);
        if let Some(limit) = limit {
            layer = layer.host_name_limit(limit);
        }
        let limit = limit.unwrap_or(100);
        // Clones have the limit in common; known names stay.
        for host in (0..150).chain(0..150) {
            exchange(&layer.clone(), "/", Some(&format!("h{host}.example"))).await;
        }
        exchange(&layer, "/", Some(&"x".repeat(254))).await;
        exchange(&layer, "/", Some("our.example")).await;
        common::assert_balanced(&recorder);
        let hosts = (0..limit).map(|host| format!("h{host}.example"));
        let others = ["shop", "our.example"].map(String::from);
        assert_eq!(names(&capture), hosts.chain(others).collect());
        let own = capture.documents().into_iter();
        assert_eq!(
            own.filter(|one| one.name == "shop").count(),
            2 * (150 - limit) + 1
        );
    }
}
