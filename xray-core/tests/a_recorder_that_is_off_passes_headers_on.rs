//! Switched off by code or by the operator, nothing is recorded and the
//! caller's header goes on as it came.

mod common;

use common::balance;
use xray_core::{Recorder, TraceHeader};

const HEADER: &str =
    "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1";

fn off() -> Vec<Recorder> {
    let variable = |name: &'static str, value: &'static str| {
        move |asked: &str| (asked == name).then(|| value.to_owned())
    };
    let built = [
        Recorder::builder("shop")
            .ignore_environment()
            .enabled(false)
            .build(),
        Recorder::builder("shop")
            .environment(variable("AWS_XRAY_SDK_ENABLED", "false"))
            .build(),
        Recorder::builder("shop")
            .environment(variable("AWS_XRAY_SDK_DISABLED", "TRUE"))
            .build(),
    ];
    built.into_iter().map(Result::unwrap).collect()
}

#[test]
fn the_callers_header_goes_on_as_it_came() {
    for recorder in off() {
        let header = TraceHeader::parse(HEADER);
        for segment in [
            recorder.segment("shop").header(&header).begin(),
            recorder.begin_facade(&header),
        ] {
            segment.annotate("a", 1);
            let child = segment.begin_subsegment("call");
            assert_eq!(child.header().to_text().to_string(), HEADER);
            assert!(!child.is_recorded());
        }
        assert_eq!(recorder.entities().unsampled, 4);
        assert_eq!(recorder.documents().created, 0);
        balance(&recorder);
    }
}

#[test]
fn without_a_caller_no_header_is_made_up() {
    for recorder in off() {
        let segment = recorder.begin_segment("shop");
        assert_eq!(
            segment.begin_subsegment("call").header(),
            TraceHeader::default()
        );
        assert_eq!(segment.trace_id(), None);
    }
}

#[test]
fn the_environment_beats_code_unless_it_is_ignored() {
    let on = |builder: xray_core::RecorderBuilder| {
        let recorder = builder.enabled(false).send_inline().build().unwrap();
        let header = TraceHeader::parse(HEADER);
        let segment = recorder.segment("shop").header(&header).begin();
        segment.is_recorded()
    };
    let enabled = |name: &str| (name == "AWS_XRAY_SDK_ENABLED").then(|| "1".to_owned());
    assert!(on(Recorder::builder("shop").environment(enabled)));
    assert!(!on(Recorder::builder("shop")
        .environment(enabled)
        .ignore_environment()));
}
