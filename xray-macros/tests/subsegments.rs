//! A function under `#[subsegment]` is a subsegment of what is current when it
//! runs.

mod common;

use common::{finish, pause, traced};
use serde_json::json;
use xray_core::{TraceExt, current, subsegment};

#[subsegment]
fn nothing() {}

#[subsegment]
fn price(items: u32) -> u32 {
    items * 5
}

#[subsegment]
async fn load(items: u32) -> u32 {
    pause().await;
    items + 1
}

#[subsegment(name = "load cart")]
fn named() {}

#[subsegment]
fn r#match() {}

#[test]
fn a_function_is_a_subsegment_of_its_name() {
    assert_eq!(traced(nothing), ((), json!([{ "name": "nothing" }])));
    assert_eq!(traced(|| price(3)), (15, json!([{ "name": "price" }])));
    assert_eq!(traced(|| finish(load(3))), (4, json!([{ "name": "load" }])));
    assert_eq!(traced(r#match), ((), json!([{ "name": "match" }])));
}

#[test]
fn the_name_can_be_another() {
    assert_eq!(traced(named), ((), json!([{ "name": "load cart" }])));
}

#[test]
fn functions_nest() {
    #[subsegment]
    fn outer() -> u32 {
        price(1) + finish(load(2))
    }
    #[subsegment]
    async fn outer_async() -> u32 {
        pause().await;
        let price = price(1);
        price + load(2).await
    }
    let inner = json!([{ "name": "price" }, { "name": "load" }]);
    assert_eq!(
        traced(outer),
        (8, json!([{ "name": "outer", "subsegments": inner }]))
    );
    assert_eq!(
        traced(|| finish(outer_async())),
        (8, json!([{ "name": "outer_async", "subsegments": inner }]))
    );
}

#[test]
fn the_body_runs_as_the_subsegment() {
    #[subsegment]
    fn annotates() {
        current().annotate("here", true);
    }
    assert_eq!(
        traced(annotates).1,
        json!([{ "name": "annotates", "annotations": { "here": true } }])
    );
}

#[test]
fn a_namespace_says_what_the_name_stands_for() {
    #[subsegment(namespace = "remote", name = "stock.example.com")]
    fn remote() -> u8 {
        1
    }
    #[subsegment(namespace = "aws", name = "DynamoDB", ignore_err)]
    async fn aws() -> Result<u8, u8> {
        Err(2)
    }
    let (results, subsegments) = traced(|| (remote(), finish(aws())));
    assert_eq!(results, (1, Err(2)));
    assert_eq!(
        subsegments,
        json!([
            { "name": "stock.example.com", "namespace": "remote" },
            { "name": "DynamoDB", "namespace": "aws" },
        ])
    );
}

#[test]
fn an_async_function_begins_when_it_is_polled() {
    let (_, subsegments) = traced(|| {
        drop(load(1));
        let made_outside = load(2);
        let elsewhere = current().begin_subsegment("elsewhere");
        elsewhere.run(|| finish(made_outside));
        elsewhere.close();
    });
    assert_eq!(
        subsegments,
        json!([{ "name": "elsewhere", "subsegments": [{ "name": "load" }] }])
    );
}

#[test]
fn arguments_are_dropped_within_the_subsegment() {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            current().annotate("dropped", true);
        }
    }
    #[subsegment]
    fn holds(guard: Guard) {
        let _guard = &guard;
    }
    #[subsegment]
    async fn holds_async(guard: Guard) {
        pause().await;
        let _guard = &guard;
    }
    let (_, subsegments) = traced(|| {
        holds(Guard);
        finish(holds_async(Guard));
    });
    assert_eq!(
        subsegments,
        json!([
            { "name": "holds", "annotations": { "dropped": true } },
            { "name": "holds_async", "annotations": { "dropped": true } },
        ])
    );
}

#[test]
fn it_composes_with_the_extension_trait() {
    let (_, subsegments) = traced(|| finish(load(1).subsegment("around")));
    assert_eq!(
        subsegments,
        json!([{ "name": "around", "subsegments": [{ "name": "load" }] }])
    );
}
