//! What is accepted, but not for this SDK to write.

mod common;

use common::{framed, segment};
use xray_local::{check, tidy};

fn reasons(document: &str) -> Vec<String> {
    let datagram = framed(document);
    assert_eq!(check(&datagram).err(), None, "accepted all the same");
    tidy(&datagram).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn untidy(more: &str, expected: &[&str]) {
    assert_eq!(reasons(&segment(0xa, "shop", more)), expected);
}

#[test]
fn a_tidy_document() {
    untidy(
        r#","fault":true,"annotations":{"cached":false},"metadata":{"default":{"list":[],"no":false}},
        "aws":{"operation":"Put","params":[]},"http":{"response":{"status":200}},"namespace":"aws""#,
        &[],
    );
}

#[test]
fn false_flags_and_empty_containers() {
    untidy(
        r#","fault":false,"in_progress":false,"http":{"request":{"x_forwarded_for":false},"response":{}},"aws":{},
        "metadata":{},"subsegments":[],"cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa","remote":false,"stack":[]}]}"#,
        &[
            "aws: must be left out when empty",
            "cause.exceptions[0].remote: must be left out instead of false",
            "cause.exceptions[0].stack: must be left out when empty",
            "fault: must be left out instead of false",
            "http.request.x_forwarded_for: must be left out instead of false",
            "http.response: must be left out when empty",
            "in_progress: must be left out instead of false",
            "metadata: must be left out when empty",
            "subsegments: must be left out when empty",
        ],
    );
}

#[test]
fn values() {
    let long = "é".repeat(251);
    untidy(
        &format!(
            r#","namespace":"local","user":"{long}","http":{{"request":{{"url":"{long}"}},"response":{{"status":-1}}}}"#
        ),
        &[
            "namespace: must be left out for local work",
            "user: longer than 250 characters",
            "http.request.url: longer than 250 characters",
            "http.response.status: must not be negative",
        ],
    );
    let text = "a".repeat(1001);
    untidy(
        &format!(r#","annotations":{{"k":"{text}"}},"aws":{{"retries":-1}}"#),
        &[
            "annotations.k: longer than 1000 characters",
            "aws.retries: must not be negative",
        ],
    );
    let many: Vec<_> = (0..51).map(|key| format!(r#""k{key}":1"#)).collect();
    untidy(
        &format!(r#","annotations":{{{}}}"#, many.join(",")),
        &["annotations: 51, where X-Ray indexes 50 in a trace"],
    );
}

#[test]
fn the_daemon_finds_the_id() {
    let spaced = segment(0xa, "shop", "").replace(r#""id":"#, r#""id": "#);
    assert_eq!(
        reasons(&spaced),
        [r#"id: is not the first `"id":"` in the text"#]
    );
    let other_first = format!(
        r#"{{"cause":{{"exceptions":[{{"id":"aaaaaaaaaaaaaaaa"}}]}},{}"#,
        &segment(0xa, "shop", "")[1..]
    );
    assert_eq!(
        reasons(&other_first),
        [r#"id: is not the first `"id":"` in the text"#]
    );
}
