//! Traces written as JSON.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{HOSTILE, TRACE, document, hostile_trace};
use serde_json::Value;
use xray_local::{Document, Trace, join, render_json};

fn line(trace: &Trace) -> String {
    let mut line = String::new();
    render_json(trace, &mut line).unwrap();
    line
}

#[track_caller]
fn written(texts: &[&str], expected: &str) {
    let texts = texts.iter().map(|text| text.replace("TRACE", TRACE));
    let traces = join(texts.map(|text| document(&text)));
    assert_eq!(traces.len(), 1);
    let expected = expected.replace("TRACE", TRACE);
    assert_eq!(line(&traces[0]), expected.replace('\n', ""));
}

#[test]
fn documents_stand_below_each_other() {
    written(
        &[
            // Called service, streamed part and root; within the root two more.
            r#"{"name":"inventory","id":"000000000000000d","trace_id":"TRACE","parent_id":"000000000000000c",
            "start_time":1727177152.0125,"end_time":1727177152.0226,"http":{"response":{"status":200}}}"#,
            r#"{"name":"pay","id":"000000000000000e","trace_id":"TRACE","parent_id":"000000000000000a","type":"subsegment",
            "start_time":1727177152.025,"end_time":1727177152.027,"fault":true,"error":false,"novel":{"a":[1,null]}}"#,
            r#"{"name":"shop","id":"000000000000000A","trace_id":"TRACE","start_time":1727177152.0,"end_time":1727177152.0412,
            "annotations":{"tenant":"t-42","n":3},"user":null,"subsegments":[
              {"name":"inventory:3001","id":"000000000000000c","start_time":1727177152.012,"end_time":1727177152.024,"namespace":"remote"},
              {"name":"load","id":"000000000000000b","start_time":1727177152.00025,"end_time":1727177152.0015}]}"#,
        ],
        r#"{"id":"TRACE","duration":0.0412,"complete":true,"roots":[
{"name":"shop","id":"000000000000000A","trace_id":"TRACE","start_time":1727177152.0,"end_time":1727177152.0412,"annotations":{"n":3,"tenant":"t-42"},"subsegments":[
{"name":"load","id":"000000000000000b","start_time":1727177152.00025,"end_time":1727177152.0015},
{"name":"inventory:3001","id":"000000000000000c","start_time":1727177152.012,"end_time":1727177152.024,"namespace":"remote","subsegments":[
{"name":"inventory","id":"000000000000000d","trace_id":"TRACE","parent_id":"000000000000000c","start_time":1727177152.0125,"end_time":1727177152.0226,"http":{"response":{"status":200}}}]},
{"name":"pay","id":"000000000000000e","trace_id":"TRACE","parent_id":"000000000000000a","type":"subsegment","start_time":1727177152.025,"end_time":1727177152.027,"fault":true,"novel":{"a":[1,null]}}
]}]}"#,
    );
}

#[test]
fn what_is_missing_or_open_is_marked() {
    written(
        &[
            r#"{"name":"b","id":"000000000000000b","trace_id":"TRACE","parent_id":"53995C3F42cd8ad8","start_time":10.5,"in_progress":true}"#,
            r#"{"name":"a","id":"000000000000000a","trace_id":"TRACE","start_time":10,"in_progress":true}"#,
        ],
        r#"{"id":"TRACE","duration":null,"complete":false,"roots":[
{"name":"a","id":"000000000000000a","trace_id":"TRACE","start_time":10.0,"in_progress":true},
{"id":"53995c3f42cd8ad8","missing":true,"subsegments":[
{"name":"b","id":"000000000000000b","trace_id":"TRACE","parent_id":"53995C3F42cd8ad8","start_time":10.5,"in_progress":true}]}]}"#,
    );
    written(
        &[r#"{"name":"a"}"#],
        r#"{"id":"","duration":null,"complete":true,"roots":[{"name":"a","id":""}]}"#,
    );
}

#[test]
fn hostile_text_is_written_harmlessly_and_reads_the_same() {
    let line = line(&hostile_trace());
    assert!(line.chars().all(|one| matches!(one, ' '..='~')), "{line:?}");
    let hostile = r#"\u001b]0;owned\u0007\r\n\u202e\u200b\u009b2J\u2028\u007f\udb40\udc41\""#;
    let id = hostile.replace("2J", "2j"); // ids are compared in lower case
    let begin = format!(
        r#"{{"id":"{id}","duration":1.0,"complete":false,"roots":[{{"id":"{id}","missing":true,"subsegments":[{{"name":"{hostile}","#
    );
    assert!(line.starts_with(&begin), "{line}");
    let read: Value = serde_json::from_str(&line).unwrap();
    let inner = &read["roots"][0]["subsegments"][0];
    assert_eq!(inner["name"], HOSTILE);
    assert_eq!(inner["annotations"][HOSTILE], format!("\"{HOSTILE}\\"));
    assert_eq!(inner["http"]["request"]["url"], HOSTILE);
}

#[test]
fn visible_text_stays_readable() {
    written(
        &[r#"{"name":"Größe 値 🦀","id":"000000000000000a"}"#],
        r#"{"id":"","duration":null,"complete":true,"roots":[{"name":"Größe 値 🦀","id":"000000000000000a"}]}"#,
    );
}

#[test]
fn a_duration_that_is_no_number_is_null() {
    let mut segment = document(r#"{"name":"a","id":"000000000000000a"}"#);
    (segment.start_time, segment.end_time) = (Some(f64::MIN), Some(f64::MAX));
    let line = line(&join([segment])[0]);
    assert!(line.starts_with(r#"{"id":"","duration":null,"#), "{line}");
}

#[test]
fn a_trace_of_any_depth_is_written() {
    const DEPTH: usize = 50_000;
    let nested = |level: usize| -> Document {
        let parent = match level {
            1 => String::new(),
            _ => format!(r#","parent_id":"{:016x}""#, level - 1),
        };
        document(&format!(r#"{{"name":"n","id":"{level:016x}"{parent}}}"#))
    };
    let run = move || {
        let trace = join((1..=DEPTH).map(nested)).remove(0);
        let line = line(&trace);
        assert_eq!(line.matches(r#","subsegments":[{"#).count(), DEPTH - 1);
        assert!(line.ends_with(&("}".to_owned() + &"]}".repeat(DEPTH))));
    };
    let small_stack = std::thread::Builder::new().stack_size(256 << 10);
    small_stack.spawn(run).unwrap().join().unwrap();
}
