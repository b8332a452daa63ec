//! What the README shows stands here as well, word for word, and records what
//! the README says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use axum::body::Body;
use common::{get, http_block, only, shape};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;
use xray_core::{Recorder, Tally, TraceExt, current};

const README: &str = include_str!("../../README.md");

#[expect(dead_code, reason = "its `main` listens at a port of its own")]
mod service {
    include!("readme/service.rs");

    pub(super) fn traced(recorder: &Recorder) -> Router {
        app(recorder)
    }
}

mod set_up {
    include!("readme/set_up.rs");

    pub(super) fn recorder_of(rules: &str) -> Recorder {
        recorder(rules).unwrap()
    }
}

#[test]
fn the_readme_shows_the_programs_of_this_test() {
    for program in [
        include_str!("readme/service.rs"),
        include_str!("readme/set_up.rs"),
    ] {
        assert!(
            README.contains(&format!("```rust\n{program}```\n")),
            "{program}"
        );
    }
    let blocks = README.matches("```rust\n").count();
    assert_eq!(blocks, 2, "one of them is not run");
}

#[tokio::test]
async fn the_axum_service_records_its_requests() {
    let (recorder, capture) = Recorder::capture("shop");
    let app = service::traced(&recorder);
    let request = get("http://shop.example/orders/7").map(|_| Body::empty());
    let response = app.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "7 roses");
    let mut http = http_block(200, Some(7));
    http["request"]["url"] = "http://shop.example/orders/7".into();
    assert_eq!(
        shape(&only(&recorder, &capture)),
        json!({
            "name": "shop",
            "annotations": {"tenant": "t-42", "route": "/orders/{id}"},
            "http": http,
            "subsegments": [{"name": "load order"}],
        })
    );
}

#[test]
fn the_recorder_is_set_up_as_told() {
    let rules = |rate: u8| {
        let default = json!({"fixed_target": 0, "rate": rate});
        json!({"version": 2, "rules": [], "default": default}).to_string()
    };
    assert!(
        !set_up::recorder_of(&rules(0))
            .begin_segment("shop")
            .is_sampled()
    );
}

/// Fails unless the README shows this code, but for blanks and escapes.
#[track_caller]
fn shown(code: &str) {
    let bare = |text: &str| text.replace([' ', '\n', '\\'], "");
    assert!(bare(README).contains(&bare(code)), "{code}");
}

/// Runs what the README shows.
macro_rules! as_shown {
    ($($code:tt)*) => {{
        shown(stringify!($($code)*));
        $($code)*
    }};
}

#[tokio::test]
async fn the_table_says_what_to_write() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    segment.scope(table()).await;
    segment.close();
    let document = only(&recorder, &capture);
    assert_eq!(
        shape(&document),
        json!({
            "name": "shop",
            "annotations": {"tenant": "t-42", "task": true, "tokens": 120},
            "metadata": {"default": {"cart": ["tea"]}},
            "subsegments": [
                {"name": "load"},
                {"name": "load", "fault": true, "cause": ["std::io::error::Error: lost"]},
                {"name": "load", "annotations": {"rows": 7}},
                {"name": "load", "annotations": {"rows": 8}},
                {"name": "load", "annotations": {"thread": true}},
                {"name": "try"},
            ],
        })
    );
}

async fn table() {
    let work = async {};
    as_shown!(work.subsegment("load").await);
    let work = async { Err::<(), _>(std::io::Error::other("lost")) };
    as_shown!(work.try_subsegment("load").await).unwrap_err();
    shown("current().in_subsegment(\"load\", |load| ..)");
    current().in_subsegment("load", |load| load.annotate("rows", 7));
    shown("current().in_subsegment_async(\"load\", async |load| ..).await");
    let rows = current().in_subsegment_async("load", async |load| load.annotate("rows", 8));
    rows.await;
    let work = async { current().annotate("task", true) };
    as_shown!(tokio::spawn(work.in_current())).await.unwrap();
    shown("let here = current();");
    let here = current();
    shown("here.run(|| ..)");
    let load = || current().in_subsegment("load", |load| load.annotate("thread", true));
    std::thread::spawn(move || here.run(load)).join().unwrap();
    let work = std::future::pending::<()>();
    let loser = as_shown!(work.subsegment("try").cancel_ok());
    tokio::select! {
        biased;
        () = loser => {}
        () = async {} => {}
    }
    let cart = vec!["tea"];
    as_shown!(current().annotate("tenant", "t-42"));
    as_shown!(current().metadata("cart", &cart));
    as_shown!(current().segment().tally("tokens", Tally::Sum(120.0)));
    drop(cart);
}
