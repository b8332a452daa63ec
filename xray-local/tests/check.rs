//! Every rule of the strict reader: one good case, one bad, the exact reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{framed, segment};
use serde_json::{Value, json};
use xray_local::{check, check_document, tidy};

/// A complete segment with these fields put in, or taken out by `()`.
fn with(fields: Value) -> String {
    let mut document: Value = serde_json::from_str(&segment(0xa, "shop", "")).unwrap();
    merge(&mut document, fields);
    document.to_string()
}

fn merge(into: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().unwrap() {
        let into = into.as_object_mut().unwrap();
        if value == "<absent>" {
            into.remove(key);
        } else {
            into.insert(key.clone(), value.clone());
        }
    }
}

/// A subsegment within a segment, with these fields put in.
fn nested(fields: Value) -> Value {
    let mut inner =
        json!({"name": "load", "id": "000000000000000b", "start_time": 10.1, "end_time": 10.2});
    merge(&mut inner, fields);
    json!({"subsegments": [inner]})
}

fn reasons(document: &str) -> Vec<String> {
    match check_document(document.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(broken) => broken.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn good(fields: Value) {
    assert_eq!(reasons(&with(fields)), [""; 0]);
}

#[track_caller]
fn bad(fields: Value, expected: &[&str]) {
    assert_eq!(reasons(&with(fields)), expected);
}

#[test]
fn frame() {
    let document = segment(0xa, "shop", "");
    let reason = |datagram: &str| match check(datagram.as_bytes()) {
        Ok(_) => "good".to_owned(),
        Err(broken) => broken.iter().map(ToString::to_string).collect(),
    };
    let framed = |header: &str| reason(&format!("{header}\n{document}"));
    assert_eq!(framed(r#"{"format":"json","version":1}"#), "good");
    assert_eq!(framed(r#"{"format": "JSON", "version": 1}"#), "good");
    assert_eq!(
        framed(r#"{"format":"json","version":1,"novel":true}"#),
        "good"
    );
    assert_eq!(
        framed(r#"{"format":"xml","version":1}"#),
        "header.format: must be `json`"
    );
    assert_eq!(framed(r#"{"format":"json"}"#), "header.version: must be 1");
    assert_eq!(
        framed(r#"{"format":"json","version":2}"#),
        "header.version: must be 1"
    );
    assert_eq!(framed("T1S"), "header: is not a JSON object");
    assert_eq!(framed(""), "header: is not a JSON object");
    assert_eq!(
        framed("\u{feff}{\"format\":\"json\",\"version\":1}"),
        "header: begins with a byte order mark"
    );
    assert_eq!(
        reason(r#"{"format":"json","version":1}"#),
        "header: no line feed ends it"
    );
    assert_eq!(reason(""), "header: no line feed ends it");
    let long = format!("{}\n{document}", " ".repeat(65_507));
    let expected = format!("datagram: {} bytes, more than 65507", long.len());
    assert_eq!(reason(&long), expected);
}

#[test]
fn one_json_object() {
    let document = segment(0xa, "shop", "");
    assert_eq!(reasons(&document), [""; 0]);
    assert_eq!(
        reasons(&format!("\u{feff}{document}")),
        ["document: begins with a byte order mark"]
    );
    assert_eq!(reasons("[]"), ["document: must be an object"]);
    assert_eq!(
        reasons(""),
        ["document: EOF while parsing a value at line 1 column 0"]
    );
    assert_eq!(
        reasons("{}{}"),
        ["document: trailing characters at line 1 column 3"]
    );
    assert_eq!(
        reasons(r#"{"name":"a","name":"b"}"#),
        ["document: repeated key `name` at line 1 column 23"]
    );
    let not_text = [&b"{\"name\":\"\xff\"}"[..]].concat();
    let broken = check_document(&not_text).unwrap_err();
    assert_eq!(
        broken[0].to_string(),
        "document: invalid unicode code point at line 1 column 10"
    );
}

#[test]
fn nesting_ends_where_the_reader_does() {
    let deep = |depth: usize| {
        let open = |level: usize| {
            let id = level + 1;
            format!(
                r#"{{"name":"n","id":"{id:016x}","start_time":10.0,"end_time":11.0,"trace_id":"{}","subsegments":["#,
                common::TRACE
            )
        };
        (0..depth).map(open).collect::<String>() + &"]}".repeat(depth)
    };
    assert_eq!(reasons(&deep(63)), [""; 0]);
    let broken = reasons(&deep(64));
    assert_eq!(broken.len(), 1);
    assert!(
        broken[0].starts_with("document: recursion limit exceeded at line 1"),
        "{broken:?}"
    );
}

#[test]
fn name() {
    let reason = ["name: must be 1 to 200 letters, numbers, spaces or _ . : / % & # = + - @"];
    good(json!({"name": "a Z9_.:/%&#=+-@"}));
    good(json!({"name": "größe 注文 ½ \u{a0}"}));
    good(json!({"name": "ß".repeat(200)}));
    bad(json!({"name": "ß".repeat(201)}), &reason);
    bad(json!({"name": ""}), &reason);
    for character in "?;*()!$~^<>\\\"'|,[]{}\n\u{7f}\u{202e}\u{301}\u{1f600}".chars() {
        bad(json!({"name": character.to_string()}), &reason);
    }
    bad(json!({"name": "<absent>"}), &["name: missing"]);
    bad(json!({"name": 7}), &["name: must be text"]);
}

#[test]
fn id() {
    let reason = ["id: must be 16 hex digits, not all zero"];
    good(json!({"id": "70de5b6f19ff9a0a"}));
    good(json!({"id": "70DE5B6F19FF9A0A"}));
    bad(json!({"id": "70de5b6f19ff9a0"}), &reason);
    bad(json!({"id": "70de5b6f19ff9a0g"}), &reason);
    bad(json!({"id": "0000000000000000"}), &reason);
    bad(json!({"id": "<absent>"}), &["id: missing"]);
    bad(json!({"id": 7}), &["id: must be text"]);
    for id in ["000000000000000a", "000000000000000A"] {
        bad(
            nested(json!({ "id": id })),
            &["subsegments[0].id: used twice in this document"],
        );
    }
}

#[test]
fn trace_id() {
    let reason = ["trace_id: must be 1-<8 hex digits>-<24 hex digits>, not all zero"];
    good(json!({"trace_id": common::TRACE}));
    bad(json!({"trace_id": "nonsense"}), &reason);
    bad(
        json!({"trace_id": "1-66f2a1c0-0123456789abcdef0123456"}),
        &reason,
    );
    bad(
        json!({"trace_id": "66f2a1c00123456789abcdef01234567890"}),
        &reason,
    );
    bad(json!({"trace_id": "<absent>"}), &["trace_id: missing"]);
    bad(json!({"trace_id": 1}), &["trace_id: must be text"]);
    good(nested(json!({})));
    good(nested(json!({"trace_id": common::TRACE})));
    good(nested(json!({"trace_id": common::TRACE.to_uppercase()})));
    bad(
        nested(json!({"trace_id": "1-66f2a1c0-0123456789abcdef01234568"})),
        &["subsegments[0].trace_id: differs from the outermost one"],
    );
}

#[test]
fn parent_and_type() {
    let parent = "53995c3f42cd8ad8";
    good(json!({"parent_id": parent}));
    good(json!({"parent_id": parent, "type": "subsegment"}));
    good(nested(json!({"type": "subsegment"})));
    bad(
        json!({"type": "subsegment"}),
        &["parent_id: missing, though `type` is `subsegment`"],
    );
    bad(
        json!({"parent_id": "53995c3f"}),
        &["parent_id: must be 16 hex digits, not all zero"],
    );
    bad(json!({"parent_id": 5}), &["parent_id: must be text"]);
    bad(
        json!({"type": "segment"}),
        &["type: must be `subsegment` or absent"],
    );
}

#[test]
fn times() {
    good(json!({"start_time": 10, "end_time": 11}));
    bad(json!({"start_time": "<absent>"}), &["start_time: missing"]);
    bad(
        json!({"start_time": "10"}),
        &["start_time: must be a number"],
    );
    bad(json!({"end_time": "11"}), &["end_time: must be a number"]);
    good(json!({"start_time": 0, "end_time": 4_102_444_800.5}));
    let milliseconds = "must be in seconds, not in milliseconds or less";
    bad(
        json!({"start_time": 1_700_000_000_000.0, "end_time": 1_700_000_000_001_u64}),
        &[
            &format!("start_time: {milliseconds}"),
            &format!("end_time: {milliseconds}"),
        ],
    );
    bad(
        nested(json!({"start_time": 1_700_000_000_000_000_000_u64, "end_time": 1e300})),
        &[
            &format!("subsegments[0].start_time: {milliseconds}"),
            &format!("subsegments[0].end_time: {milliseconds}"),
        ],
    );
    // Those of 2017, and where they begin.
    bad(
        json!({"start_time": 1_500_000_000_000_u64, "end_time": 1_500_000_000_001_u64}),
        &[
            &format!("start_time: {milliseconds}"),
            &format!("end_time: {milliseconds}"),
        ],
    );
    good(json!({"end_time": 1e11}));
    bad(
        json!({"end_time": 100_000_000_001_u64}),
        &[&format!("end_time: {milliseconds}")],
    );
    good(json!({"start_time": 10.5, "end_time": 10.5}));
    bad(
        nested(json!({"start_time": 10.5, "end_time": 10})),
        &["subsegments[0].end_time: lies before `start_time`"],
    );
    bad(
        json!({"start_time": -1}),
        &["start_time: must not lie before 1970"],
    );
    good(json!({"end_time": "<absent>", "in_progress": true}));
    good(json!({"in_progress": false}));
    bad(
        json!({"in_progress": true}),
        &["end_time: stands beside `in_progress`"],
    );
    bad(
        json!({"end_time": "<absent>"}),
        &["end_time: missing, and not `in_progress`"],
    );
    bad(
        json!({"end_time": "<absent>", "in_progress": false}),
        &["end_time: missing, and not `in_progress`"],
    );
}

#[test]
fn namespace() {
    for namespace in ["aws", "remote", "local"] {
        good(nested(json!({"namespace": namespace})));
    }
    bad(
        nested(json!({"namespace": "AWS"})),
        &["subsegments[0].namespace: must be `aws`, `remote` or `local`"],
    );
}

#[test]
fn integers() {
    good(json!({"http": {"response": {"status": 200, "content_length": 0}}}));
    bad(
        json!({"http": {"response": {"status": 200.0, "content_length": "12"}}}),
        &[
            "http.response.status: must be an integer",
            "http.response.content_length: must be an integer",
        ],
    );
    good(json!({"http": {"response": {"status": i64::MAX, "content_length": i64::MAX}}}));
    bad(
        json!({"http": {"response": {"status": 1_u64 << 63, "content_length": u64::MAX}}}),
        &[
            "http.response.status: must be at most 9223372036854775807",
            "http.response.content_length: must be at most 9223372036854775807",
        ],
    );
    // Of an unknown length, as Go has it.
    bad(
        json!({"http": {"response": {"status": -1, "content_length": -1}}}),
        &["http.response.content_length: must not be negative"],
    );
    good(json!({"aws": {"retries": 1, "elastic_beanstalk": {"deployment_id": 32}}}));
    bad(
        json!({"aws": {"retries": 1.5, "elastic_beanstalk": {"deployment_id": "32"}}}),
        &[
            "aws.retries: must be an integer",
            "aws.elastic_beanstalk.deployment_id: must be an integer",
        ],
    );
    let exception = |line: Value, truncated: Value| {
        json!({"cause": {"exceptions": [
            {"id": "aaaaaaaaaaaaaaaa", "truncated": truncated, "stack": [{"path": "p", "line": line, "label": "l"}]}]}})
    };
    good(exception(json!(10), json!(0)));
    bad(
        exception(json!(10.0), json!("1")),
        &[
            "cause.exceptions[0].truncated: must be an integer",
            "cause.exceptions[0].stack[0].line: must be an integer",
        ],
    );
}

#[test]
fn types_of_the_other_fields() {
    good(json!({
        "fault": true, "user": "u", "origin": "o", "service": {"version": "1"}, "traced": true,
        "http": {"request": {"method": "GET", "url": "u", "user_agent": "a", "client_ip": "c", "x_forwarded_for": true}},
        "aws": {"operation": "GetItem", "xray": {"sdk": "X-Ray for Rust"}, "table_names": ["t"], "novel": 5},
        "precursor_ids": ["53995c3f42cd8ad8"], "novel": {"a": 1}
    }));
    bad(
        json!({
            "fault": 1, "user": 1, "origin": [], "service": {"version": 1}, "traced": "yes",
            "http": {"request": {"method": 1, "x_forwarded_for": "203.0.113.9"}, "response": 200},
            "aws": {"operation": {}, "xray": "sdk", "table_names": [1]},
            "precursor_ids": ["p"], "resource_arn": true
        }),
        &[
            "fault: must be a boolean",
            "traced: must be a boolean",
            "user: must be text",
            "origin: must be text",
            "resource_arn: must be text",
            "http.response: must be an object",
            "http.request.method: must be text",
            "http.request.x_forwarded_for: must be a boolean",
            "aws.operation: must be text",
            "aws.table_names: must be an array of text",
            "aws.xray: must be an object",
            "service.version: must be text",
            "precursor_ids[0]: must be 16 hex digits, not all zero",
        ],
    );
    bad(
        json!({"http": [], "aws": "EC2", "sql": 1, "annotations": [], "metadata": "m", "service": 1}),
        &[
            "http: must be an object",
            "aws: must be an object",
            "sql: must be an object",
            "annotations: must be an object",
            "metadata: must be an object",
            "service: must be an object",
        ],
    );
}

#[test]
fn cause() {
    good(json!({"cause": "aaaaaaaaaaaaaaaa"}));
    good(json!({"cause": {"id": "aaaaaaaaaaaaaaaa", "exceptions": []}}));
    good(
        json!({"cause": {"working_directory": "/app", "paths": ["/lib"], "exceptions": [
        {"id": "aaaaaaaaaaaaaaaa", "type": "OrderError", "message": "m", "remote": true, "cause": "bbbbbbbbbbbbbbbb"}]}}),
    );
    bad(
        json!({"cause": "timeout"}),
        &["cause: must be 16 hex digits, not all zero"],
    );
    bad(json!({"cause": 7}), &["cause: must be an id or an object"]);
    bad(
        json!({"cause": {"working_directory": 1, "exceptions": [{"message": "m"}, {"id": "x"}, "e"]}}),
        &[
            "cause.working_directory: must be text",
            "cause.exceptions[2]: must be an object",
            "cause.exceptions[0].id: missing",
            "cause.exceptions[1].id: must be 16 hex digits, not all zero",
        ],
    );
    bad(
        json!({"cause": {"exceptions": {}}}),
        &["cause.exceptions: must be an array"],
    );
}

#[test]
fn sql_url() {
    for url in [
        "postgresql://db.example:5432/orders",
        "jdbc:mysql://h/db?useSSL=true",
        "mysql+tcp://h:3306/db",
    ] {
        good(json!({"sql": {"url": url, "sanitized_query": "SELECT 1"}}));
    }
    let reason = ["sql.url: must have the form `scheme://host/database`"];
    for url in [
        "",
        "orders",
        "postgresql://db.example",
        "mysql://h/",
        "mysql://h/?x",
        "//h/db",
        "a:///db",
        "a://h\n/db",
    ] {
        bad(json!({"sql": {"url": url}}), &reason);
    }
}

#[test]
fn annotations_and_metadata() {
    good(json!({"annotations": {"a_Z9": "t", "with.dot": 1.5, "flag": false}}));
    bad(
        json!({"annotations": {"a-b": 1, "": 1, "list": [1], "object": {}}}),
        &[
            "annotations.: its key must be 1 to 500 of A-Z a-z 0-9 _ .",
            "annotations.a-b: its key must be 1 to 500 of A-Z a-z 0-9 _ .",
            "annotations.list: must be text, a number or a boolean",
            "annotations.object: must be text, a number or a boolean",
        ],
    );
    bad(
        json!({"annotations": {"k".repeat(501): 1}}),
        &[&format!(
            "annotations.{}…: its key must be 1 to 500 of A-Z a-z 0-9 _ .",
            "k".repeat(100)
        )],
    );
    good(json!({"metadata": {"default": {"any": [null, {"x": null}]}}}));
    bad(
        json!({"metadata": {"default": 1}}),
        &["metadata.default: must be an object"],
    );
}

#[test]
fn nulls() {
    bad(
        json!({"user": null, "http": {"request": null}, "aws": {"list": [1, null]}}),
        &[
            "aws.list[1]: must be left out instead of null",
            "http.request: must be left out instead of null",
            "user: must be left out instead of null",
        ],
    );
    bad(
        nested(json!({"sql": {"url": null}})),
        &["subsegments[0].sql.url: must be left out instead of null"],
    );
}

#[test]
fn links() {
    good(
        json!({"links": [{"trace_id": common::TRACE, "id": "53995c3f42cd8ad8", "attributes": {}}]}),
    );
    bad(
        json!({"links": [{"trace_id": "t"}]}),
        &[
            "links[0].trace_id: must be 1-<8 hex digits>-<24 hex digits>, not all zero",
            "links[0].id: must be 16 hex digits, not all zero",
        ],
    );
}

#[test]
fn what_is_nested_keeps_the_same_rules() {
    let inner =
        json!({"name": "b", "id": "00000000000000aa", "start_time": 10.1, "end_time": 10.2});
    let broken = json!({"name": "c!", "id": "c", "http": {"response": {"status": "200"}}});
    bad(
        json!({"subsegments": [inner, {"name": "d", "id": "00000000000000ab", "start_time": 10.1,
            "in_progress": true, "subsegments": [broken]}, 5]}),
        &[
            "subsegments[2]: must be an object",
            "subsegments[1].subsegments[0].name: must be 1 to 200 letters, numbers, spaces or _ . : / % & # = + - @",
            "subsegments[1].subsegments[0].id: must be 16 hex digits, not all zero",
            "subsegments[1].subsegments[0].start_time: missing",
            "subsegments[1].subsegments[0].end_time: missing, and not `in_progress`",
            "subsegments[1].subsegments[0].http.response.status: must be an integer",
        ],
    );
    bad(
        json!({"subsegments": {}}),
        &["subsegments: must be an array"],
    );
}

#[test]
fn hostile_keys_are_shown_harmlessly() {
    bad(
        json!({"annotations": {"\u{1b}[2J": 1}}),
        &[r"annotations.\u{1b}[2J: its key must be 1 to 500 of A-Z a-z 0-9 _ ."],
    );
}

/// What is said of a document takes no more than the document did.
#[test]
fn hostile_documents_are_described_in_bounds() {
    let long = "k".repeat(20_000);
    let shown = format!("{}…", "k".repeat(100));
    let broken = check_document(with(json!({&*long: vec![(); 6_000]})).as_bytes()).unwrap_err();
    assert_eq!(broken.len(), 51);
    let null = "must be left out instead of null";
    assert_eq!(broken[49].to_string(), format!("{shown}[49]: {null}"));
    assert_eq!(broken[50].to_string(), "document: breaks 5950 more rules");

    let fifty = json!({"annotations": {}, &*long: vec![(); 50]});
    assert_eq!(reasons(&with(fifty)).len(), 50);

    let twice = format!(r#"{{"{long}":1,"{long}":2}}"#);
    let expected = format!("document: repeated key `{}…", "k".repeat(186));
    assert_eq!(reasons(&twice), [expected]);

    let waste = framed(&segment(0xa, "a", &format!(r#","{long}":[[],{{}}]"#)));
    let untidy: Vec<_> = tidy(&waste).iter().map(ToString::to_string).collect();
    let expected = [0, 1].map(|at| format!("{shown}[{at}]: must be left out when empty"));
    assert_eq!(untidy, expected);
}

#[test]
fn reads_what_it_accepts() {
    let read = check(&framed(&segment(0xa, "shop", r#","user":"u""#))).unwrap();
    assert_eq!(read.name, "shop");
    assert_eq!(read.user.as_deref(), Some("u"));
}
