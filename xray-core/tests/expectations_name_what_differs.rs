//! An expectation that holds says nothing; one that does not names the path to
//! the step that differs, both sides, and the tree that was found.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::json;
use xray_core::document::Document;
use xray_core::test_util::expect::Expectation;
use xray_core::test_util::{TestRecorder, assert_finished, expect, join};
use xray_core::{
    Class, HttpRequest, HttpResponse, Namespace, Never, Recorder, Segment, TraceHeader,
};

/// What the message of a failed expectation says.
#[track_caller]
fn message(check: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(check)).expect_err("passes");
    *payload.downcast::<String>().unwrap()
}

/// Its first lines, without the tree.
#[track_caller]
fn differs(recorder: &TestRecorder, expectation: Expectation) -> String {
    let message = message(|| recorder.expect(expectation));
    let (head, tree) = message.split_once("\nrecorded:\n").unwrap();
    assert!(tree.starts_with("  segment \"shop\""), "{tree}");
    head.to_owned()
}

fn order(recorder: &TestRecorder) -> Segment {
    let segment = recorder.begin_segment("shop");
    segment.annotate("tenant", "t-42");
    segment.annotate("share", 0.5);
    segment.metadata("cart", ["book", "pen"]);
    segment.metadata_in("flags", "beta", true);
    segment.set_user("u-1");
    segment.http_request(&HttpRequest::new("GET", "http://shop/orders"));
    segment.http_response(HttpResponse::new(500));
    segment.mark(Class::Fault);
    let load = segment.begin_subsegment("load");
    recorder.clock().advance(Duration::from_millis(5));
    load.in_subsegment("query", |query| query.annotate("rows", 7));
    load.close();
    let stock = segment.subsegment("stock");
    let stock = stock.namespace(Namespace::Remote).begin();
    stock.record_exception("Timeout", "after 5 s", Class::Error);
    stock.aws("retries", 2);
    stock.close();
    segment.in_subsegment("load", |load| load.annotate("again", true));
    segment
}

/// All there is to say of [`order`].
fn whole() -> Expectation {
    expect::segment("shop")
        .annotation("tenant", "t-42")
        .annotation("share", 0.5)
        .metadata("cart", ["book", "pen"])
        .metadata_in("flags", "beta", true)
        .user("u-1")
        .request("GET", "http://shop/orders")
        .status(500)
        .fault()
        .exact()
        .child(
            expect::subsegment("load")
                .duration(Duration::from_millis(5))
                .ok()
                .exact()
                .child(expect::subsegment("query").annotation("rows", 7.0)),
        )
        .child(
            expect::subsegment("stock")
                .remote()
                .aws("retries", 2)
                .error()
                .exception("Timeout", "after 5 s"),
        )
        .child(expect::subsegment("load").annotation("again", true).exact())
}

#[test]
fn what_is_as_expected_passes() {
    let recorder = TestRecorder::new("shop");
    order(&recorder).close();
    recorder.expect(whole());
    recorder.expect(expect::segment("shop"));
    recorder.expect(expect::segment("shop").child(expect::subsegment("stock")));
    let again = || expect::subsegment("load").annotation("again", true);
    recorder.expect(expect::segment("shop").child(again()));
    // The one that says less must not take the place of the one that says more,
    // whichever of those found that is.
    let with_query = || expect::subsegment("load").child(expect::subsegment("query"));
    let any = || expect::subsegment("load");
    for [first, second] in [
        [any(), again()],
        [again(), any()],
        [any(), with_query()],
        [with_query(), any()],
    ] {
        let all = expect::segment("shop").any_order().child(first);
        recorder.expect(all.child(expect::subsegment("stock")).child(second));
    }
    assert_eq!(whole().check(&recorder.trace()), Ok(()));
    recorder.assert_finished();
    recorder.clear();
    recorder.expect_nothing();
}

#[test]
fn the_message_names_path_and_difference_and_shows_the_tree() {
    let recorder = TestRecorder::new("shop");
    order(&recorder).close();
    let query = expect::subsegment("query").annotation("rows", 8);
    let expected = expect::segment("shop").child(expect::subsegment("load").child(query));
    let text = r#"not as expected at segment "shop" > subsegment "load" > subsegment "query"
  expected: annotation rows = 8
  found:    annotation rows = 7
recorded:
  segment "shop" status 500 fault share=0.5 tenant="t-42" [default.cart] [flags.beta]
    subsegment "load"
      subsegment "query" rows=7
    subsegment "stock" remote error
      ! Timeout: "after 5 s"
    subsegment "load" again=true
"#;
    assert_eq!(message(|| recorder.expect(expected)), text);
}

#[test]
fn each_kind_of_difference_is_told() {
    let recorder = TestRecorder::new("shop");
    order(&recorder).close();
    let shop = || expect::segment("shop");
    let child = |name: &str| expect::subsegment(name);
    let at_shop = r#"segment "shop""#;
    let at_stock = r#"segment "shop" > subsegment "stock""#;
    let children = r#"children subsegment "load", subsegment "stock", subsegment "load""#;
    let cases = [
        (
            expect::segment("other"),
            at_shop,
            r#"segment "other""#,
            at_shop,
        ),
        (child("shop"), at_shop, r#"subsegment "shop""#, at_shop),
        (
            shop().annotation("tenant", "t-1"),
            at_shop,
            r#"annotation tenant = "t-1""#,
            r#"annotation tenant = "t-42""#,
        ),
        (
            shop().annotation("none", 1),
            at_shop,
            "annotation none = 1",
            "no annotation none",
        ),
        (
            shop().metadata("cart", json!([])),
            at_shop,
            "metadata default.cart = []",
            r#"metadata default.cart = ["book","pen"]"#,
        ),
        (
            shop().metadata_in("no", "cart", 1),
            at_shop,
            "metadata no.cart = 1",
            "no metadata no.cart",
        ),
        (
            shop().user("u-2"),
            at_shop,
            r#"user = "u-2""#,
            r#"user = "u-1""#,
        ),
        (
            shop().request("PUT", "http://shop/orders"),
            at_shop,
            r#"HTTP method = "PUT""#,
            r#"HTTP method = "GET""#,
        ),
        (
            shop().request("GET", "u"),
            at_shop,
            r#"URL = "u""#,
            r#"URL = "http://shop/orders""#,
        ),
        (
            shop().status(200),
            at_shop,
            "HTTP status = 200",
            "HTTP status = 500",
        ),
        (
            shop().ok(),
            at_shop,
            r#"class = "ok""#,
            r#"class = "fault""#,
        ),
        (
            shop().exception("E", "m"),
            at_shop,
            r#"exception E: "m""#,
            "no other exception",
        ),
        (
            shop().duration(Duration::from_secs(1)),
            at_shop,
            "microseconds = 1000000",
            "microseconds = 5000",
        ),
        (
            shop().in_progress(),
            at_shop,
            "in progress = true",
            "in progress = false",
        ),
        (
            shop().satisfies("origin", |found| found.origin.is_some()),
            at_shop,
            "origin = true",
            "origin = false",
        ),
        (
            shop().child(child("stock").throttle()),
            at_stock,
            r#"class = "throttle""#,
            r#"class = "error""#,
        ),
        (
            shop().child(child("stock").namespace(Namespace::Aws)),
            at_stock,
            r#"namespace = "aws""#,
            r#"namespace = "remote""#,
        ),
        (
            shop().child(child("stock").aws("retries", 3)),
            at_stock,
            "aws retries = 3",
            "aws retries = 2",
        ),
        (
            shop().child(child("stock").exception("Timeout", "")),
            at_stock,
            r#"exception Timeout: """#,
            r#"exception Timeout: "after 5 s""#,
        ),
        (
            shop().child(child("stock").error().exact()),
            at_stock,
            "no other exception",
            r#"exception Timeout: "after 5 s""#,
        ),
        (
            shop().child(child("stock").exception("Timeout", "after 5 s").exact()),
            at_stock,
            "nothing said of a failure",
            r#"class = "error""#,
        ),
        (
            shop().child(child("stock").child(child("x"))),
            at_stock,
            r#"a child subsegment "x""#,
            "no children",
        ),
        (
            shop().child(child("x")),
            at_shop,
            r#"a child subsegment "x""#,
            children,
        ),
        (
            shop().any_order().child(child("x")),
            at_shop,
            r#"a child subsegment "x""#,
            children,
        ),
        (
            shop().child(child("stock")).child(child("stock")),
            at_shop,
            r#"subsegment "stock" here in the order"#,
            children,
        ),
        (
            shop()
                .any_order()
                .child(child("stock"))
                .child(child("stock")),
            at_shop,
            r#"another child subsegment "stock""#,
            children,
        ),
        (
            shop()
                .child(child("stock"))
                .child(child("load").child(child("query"))),
            r#"segment "shop" > subsegment "load""#,
            r#"a child subsegment "query""#,
            "no children",
        ),
        (
            shop().exact().fault().child(child("load")),
            at_shop,
            "no annotation share",
            "annotation share = 0.5",
        ),
        (
            shop()
                .exact()
                .fault()
                .annotation("tenant", "t-42")
                .annotation("share", 0.5),
            at_shop,
            "no metadata default.cart",
            r#"metadata default.cart = ["book","pen"]"#,
        ),
    ];
    for (expectation, path, expected, found) in cases {
        let text =
            format!("not as expected at {path}\n  expected: {expected}\n  found:    {found}");
        assert_eq!(differs(&recorder, expectation), text);
    }
    let most = || {
        let most = shop().fault().any_order().child(child("load"));
        let most = most.annotation("tenant", "t-42").annotation("share", 0.5);
        most.metadata("cart", ["book", "pen"])
            .metadata_in("flags", "beta", true)
    };
    recorder.expect(most());
    let text = format!(
        "not as expected at {at_shop}\n  expected: no other child\n  \
         found:    subsegment \"stock\", subsegment \"load\""
    );
    assert_eq!(differs(&recorder, most().exact()), text);
}

#[test]
fn the_number_of_traces_is_exact() {
    let recorder = TestRecorder::new("shop");
    let none = message(|| recorder.expect(expect::segment("shop")));
    let text =
        "not as expected\n  expected: one trace\n  found:    no trace\nrecorded:\n  nothing\n";
    assert_eq!(none, text);
    recorder.begin_segment("first").close();
    recorder.clock().advance(Duration::from_secs(1));
    recorder.begin_segment("second").close();
    recorder.expect_each([expect::segment("first"), expect::segment("second")]);
    let text = "not as expected\n  expected: one trace\n  found:    2 traces\nrecorded:\n  segment \"first\"\n  segment \"second\"\n";
    assert_eq!(message(|| recorder.expect(expect::segment("first"))), text);
    assert_eq!(message(|| drop(recorder.trace())), text);
    let text = message(|| recorder.expect_nothing());
    assert!(text.contains("expected: no trace"), "{text}");
}

#[test]
fn the_place_of_the_failure_is_the_tests() {
    let place = std::sync::Mutex::new(0);
    let place = std::sync::Arc::new(place);
    let hook = std::panic::take_hook();
    let (to, ours) = (place.clone(), std::thread::current().id());
    std::panic::set_hook(Box::new(move |info| {
        let location = info.location().unwrap();
        let is_ours = std::thread::current().id() == ours;
        if is_ours
            && location
                .file()
                .ends_with("expectations_name_what_differs.rs")
        {
            *to.lock().unwrap() = location.line();
        }
    }));
    let line = line!() + 1;
    let failed = catch_unwind(|| TestRecorder::new("shop").expect(expect::segment("shop")));
    std::panic::set_hook(hook);
    assert!(failed.is_err());
    assert_eq!(*place.lock().unwrap(), line);
}

#[test]
fn times_and_ids_are_the_same_in_every_run() {
    let run = || {
        let recorder = TestRecorder::new("shop");
        order(&recorder).close();
        recorder.capture().json()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_trace_is_joined_from_its_documents() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    for _ in 0..1_000 {
        segment.in_subsegment("call", |call| call.in_subsegment("inner", |_| ()));
    }
    let late = segment.begin_subsegment("late");
    // Shown in progress first, replaced later.
    recorder.show_open(Duration::ZERO);
    let header = late.header();
    segment.close();
    let inner = late.begin_subsegment("inner");
    late.close();
    inner.close();
    // The service that was called, in the same process.
    let called = recorder.segment("stock").header(&header).begin();
    called.close();
    assert!(recorder.capture().documents().len() > 4);
    let trace = recorder.trace();
    assert_eq!(trace.walk().count(), 1 + 2 * 1_000 + 3);
    assert!(trace.walk().all(|part| !part.in_progress));
    let late = expect::subsegment("late").exact();
    let late = late
        .child(expect::subsegment("inner"))
        .child(expect::segment("stock"));
    recorder.expect(expect::segment("shop").child(late));
    recorder.assert_finished();
    // Whichever comes first.
    let mut documents = recorder.capture().documents();
    documents.reverse();
    let reversed = join(documents);
    assert_eq!(reversed.len(), 1);
    assert!(reversed[0].walk().all(|part| !part.in_progress));
}

#[test]
fn documents_that_go_round_in_circles_are_left_out() {
    let circle = ["a b", "b a", "c c"].map(|pair| {
        let (id, parent) = pair.split_once(' ').unwrap();
        let text = json!({"id": id, "name": id, "parent_id": parent, "trace_id": "t"});
        Document::from_json(text.to_string().as_bytes()).unwrap()
    });
    assert_eq!(join(circle), []);
}

#[test]
fn the_caller_is_where_the_header_says() {
    let recorder = TestRecorder::new("shop");
    let header = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    let header = TraceHeader::parse(header);
    recorder.segment("shop").header(&header).begin().close();
    recorder.expect(expect::segment("shop").continues(&header));
    recorder.clear();
    recorder
        .begin_facade(&header)
        .in_subsegment("handler", |_| ());
    recorder.expect(expect::subsegment("handler").continues(&header));
    recorder.clear();
    recorder.begin_segment("shop").close();
    let text = differs(&recorder, expect::segment("shop").continues(&header));
    assert!(text.contains(r#"trace id = "1-66f2a1c0-"#), "{text}");
}

#[test]
fn what_is_open_or_lost_is_not_finished() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("load");
    let text = message(|| recorder.assert_finished());
    let tree = "not finished: 2 open\n  segment \"shop\" in progress\n    subsegment \"load\" in progress\n";
    assert!(text.starts_with(tree), "{text}");
    drop((child, segment));
    recorder.assert_finished();

    // Closed, but its child is not, and then never written.
    let recorder = TestRecorder::configured("shop", |builder| builder.open_limits(10, 2));
    let segment = recorder.begin_segment("shop");
    let (first, second) = (segment.begin_subsegment("a"), segment.begin_subsegment("b"));
    drop((first, second, segment));
    let text = message(|| recorder.assert_finished());
    assert!(
        text.starts_with("lost: ") && text.contains("LimitChildren"),
        "{text}"
    );

    let dropping = |builder: xray_core::RecorderBuilder| builder.hook(|_| xray_core::Keep::Drop);
    let recorder = TestRecorder::configured("shop", dropping);
    recorder.begin_segment("shop").close();
    let text = message(|| assert_finished(&recorder));
    assert!(
        text.starts_with("lost: ") && text.contains("HookDropped"),
        "{text}"
    );

    let unsampled = TestRecorder::configured("shop", |builder| builder.sampler(Never));
    let segment = unsampled.begin_segment("shop");
    drop(segment);
    unsampled.assert_finished();
    let (plain, _) = Recorder::capture("shop");
    plain.begin_segment("shop").close();
    assert_finished(&plain);
}
