//! From however far below, a child can write to the segment, add to its
//! tallies and keep it open, also after finished parts have left.

mod common;

use std::time::Duration;

use common::balance;
use xray_core::test_util::expect::Expectation;
use xray_core::test_util::{TestRecorder, expect};
use xray_core::{AnnotationValue, Entity, Recorder, Subsegment, Tally};

#[test]
fn annotations_and_tallies_come_from_any_depth() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let mut path: Vec<Subsegment> = vec![segment.begin_subsegment("level")];
    for _ in 0..20 {
        let deeper = path[path.len() - 1].begin_subsegment("level");
        path.push(deeper);
    }
    for (depth, level) in path.iter().enumerate() {
        let root = level.segment();
        assert_eq!(root.id(), segment.id());
        root.annotate("deepest", depth);
        root.tally("sum", Tally::Sum(depth as f64));
        root.tally("max", Tally::Max(-(depth as f64)));
        root.tally("any", Tally::Any(depth == 7));
        root.tally("none", Tally::Any(false));
        root.tally(
            "last",
            Tally::Last(AnnotationValue::from(format!("level {depth}"))),
        );
        root.tally("half", Tally::Sum(0.5));
    }
    // A tally on a child stays the child's.
    path[0].tally("own", Tally::Sum(1.0));
    while path.pop().is_some() {}
    segment.close();
    let document = &capture.documents()[0];
    for (key, expected) in [
        ("deepest", serde_json::json!(20)),
        ("sum", serde_json::json!(210)),
        ("max", serde_json::json!(0)),
        ("any", serde_json::json!(true)),
        ("none", serde_json::json!(false)),
        ("last", serde_json::json!("level 20")),
        ("half", serde_json::json!(10.5)),
    ] {
        assert_eq!(document.annotations[key], expected, "{key}");
    }
    assert_eq!(document.annotations.len(), 7);
    assert_eq!(document.subsegments[0].annotations["own"], 1);
    balance(&recorder);
}

#[test]
fn a_refused_child_reaches_its_segment() {
    let recorder = TestRecorder::configured("shop", |builder| builder.open_limits(10, 1));
    let segment = recorder.begin_segment("shop");
    let refused = segment.begin_subsegment("refused");
    assert!(!refused.is_recorded());
    refused.set_user("ada");
    refused.set_service_version("7");
    refused.set_origin("AWS::ECS::Container");
    refused.link(segment.trace_id().unwrap(), segment.id().unwrap());
    refused.segment().annotate("reached", true);
    segment.close();
    let document = recorder.trace();
    assert_eq!(document.user.as_deref(), Some("ada"));
    assert_eq!(document.service["version"], "7");
    assert_eq!(document.origin.as_deref(), Some("AWS::ECS::Container"));
    assert_eq!(document.links.len(), 1);
    assert_eq!(document.annotations["reached"], true);
}

#[test]
fn a_tally_goes_on_after_finished_parts_have_left() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    segment.annotate("kept", "from before");
    for _ in 0..2_000 {
        let call = segment.begin_subsegment("call");
        call.segment().tally("calls", Tally::Sum(1.0));
        call.segment().tally("last", Tally::Last(true.into()));
    }
    let streamed = recorder.capture().json().len();
    assert!(streamed >= 3, "{streamed}");
    segment.close();
    let root = expect::segment("shop").exact();
    let root = root.annotation("calls", 2_000).annotation("last", true);
    let root = root.annotation("kept", "from before");
    let calls = (0..2_000).map(|_| expect::subsegment("call").exact());
    recorder.expect(calls.fold(root, Expectation::child));
    recorder.assert_finished();
}

#[test]
fn a_hold_keeps_the_segment_open_until_the_last_one_goes() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("body");
    let (first, second) = (child.hold(), segment.hold());
    let later = Entity::clone(&segment);
    segment.close();
    assert_eq!((recorder.open_entities(), capture.json().len()), (2, 0));
    later.annotate("body", "still open");
    child.close();
    drop(first);
    assert_eq!((recorder.open_entities(), capture.json().len()), (1, 0));
    std::thread::spawn(move || drop(second))
        .join()
        .unwrap_or_default();
    assert_eq!(recorder.open_entities(), 0);
    let document = &capture.documents()[0];
    assert_eq!(document.annotations["body"], "still open");
    assert_eq!(document.subsegments.len(), 1);
    later.annotate("late", 1_u8);
    drop(later);
    // A hold that went before the close, or came after it, changes nothing.
    let segment = recorder.begin_segment("shop");
    drop(segment.hold());
    let later = Entity::clone(&segment);
    segment.close();
    assert_eq!(capture.json().len(), 2);
    drop(later.hold());
    drop(later);
    assert_eq!(capture.json().len(), 2);
    balance(&recorder);
}

#[test]
fn a_held_segment_ends_when_the_last_hold_goes() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let hold = segment.hold();
    recorder.clock().advance(Duration::from_secs(1));
    segment.close();
    recorder.clock().advance(Duration::from_secs(2));
    drop(hold);
    recorder.expect(expect::segment("shop").duration(Duration::from_secs(3)));
    recorder.assert_finished();
}
