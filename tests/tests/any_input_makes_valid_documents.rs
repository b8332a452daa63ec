//! Whatever is put in, the strict daemon takes what comes out, and nothing is
//! altered that need not be.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::time::Duration;

use serde_json::{Value, json};
use xray_core::{
    Class, Decision, ExceptionReport, HttpRequest, HttpResponse, Namespace, Preparation, Sampled,
    SegmentId, Sql, Tally, TraceHeader, TraceId,
};
use xray_local::{Daemon, Received, check_document};
use xray_tests::{accepted, balance, document_of, sends_to};

const LONG: Duration = Duration::from_secs(20);

fn body(received: &Received) -> Value {
    let json = document_of(&received.bytes).unwrap();
    serde_json::from_slice(json).unwrap()
}

fn schema() -> jsonschema::Validator {
    let text = include_str!("../src/corpus/xray-segmentdocument-schema-v1.0.0.json");
    jsonschema::draft4::new(&serde_json::from_str(text).unwrap()).unwrap()
}

/// Whether a one-character name is a valid one, by the judgement of the strict
/// daemon.
fn is_name(c: char) -> bool {
    let document = json!({
        "name": c.to_string(), "id": "70de5b6f19ff9a0a", "start_time": 1.0, "end_time": 1.0,
        "trace_id": "1-66f2a1c0-0123456789abcdef01234567",
    });
    check_document(document.to_string().as_bytes()).is_ok()
}

/// T-15: every field there is, in one document and in independent ones.
#[test]
fn documents_with_every_field_match_the_schema_that_aws_publishes() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address())
        .service_version("1.2.3")
        .origin("AWS::ECS::Container")
        .build()
        .unwrap();
    let caller = TraceHeader::new("1-66f2a1c0-0123456789abcdef01234567".parse().unwrap())
        .with_parent(SegmentId::new(7))
        .with_sampled(Sampled::Yes);
    let fill = |segment: &xray_core::Segment| {
        segment.set_user("me");
        segment.http_request(
            &HttpRequest::new("GET", "https://shop.example/a")
                .user_agent("curl/8")
                .forwarded_for("203.0.113.9, 10.0.0.1"),
        );
        segment.http_response(HttpResponse::new(503).content_length(12));
        segment.aws("ecs", json!({"container": "c"}));
        segment.aws("ec2", json!({"instance_id": "i", "availability_zone": "a"}));
        segment.aws(
            "elastic_beanstalk",
            json!({"deployment_id": 7, "version_label": "v"}),
        );
        segment.aws("account_id", "123456789012");
        segment.link(
            "1-66f2a1c0-0123456789abcdef01234569"
                .parse::<TraceId>()
                .unwrap(),
            "00000000000000a1".parse().unwrap(),
        );
        segment.link(
            "1-66f2a1c0-0123456789abcdef01234568".parse().unwrap(),
            SegmentId::new(1).unwrap(),
        );
        segment.annotate("text", "t");
        segment.annotate("number", -1.5);
        segment.annotate("flag", true);
        segment.tally("tokens", Tally::Sum(3.0));
        segment.metadata("default", json!({"a": [null, 1, {"b": false}]}));
        segment.metadata_in("other", "k", [1, 2]);
        segment.metadata_in("other", "l", ());
        segment.record_fault(&std::io::Error::other(std::fmt::Error));
        segment.record_error(&std::fmt::Error);
        segment.mark(Class::Throttle);
        let first = segment.begin_subsegment("first");
        let call = segment
            .subsegment("DynamoDB")
            .namespace(Namespace::Aws)
            .begin();
        call.add_precursor(first.id().unwrap());
        call.set_traced();
        call.aws("operation", "GetItem");
        call.aws("region", "eu-central-1");
        call.aws("request_id", "r");
        call.aws("table_name", "t");
        call.aws("retries", 2);
        call.report_exception(
            &ExceptionReport::new("ThrottlingException", "slow down")
                .remote()
                .frame("a.rs", 7, "f")
                .frame("b.rs", 8, "g")
                .truncated(3)
                .skipped(1),
            Class::Throttle,
        );
        let query = segment
            .subsegment("orders@db")
            .namespace(Namespace::Remote)
            .begin();
        query.sql(
            &Sql::new()
                .url("postgresql://me:p@db:5432/orders")
                .connection_string("host=db password=p")
                .sanitized_query("SELECT $1")
                .database_type("PostgreSQL")
                .database_version("17")
                .driver_version("1")
                .user("me")
                .preparation(Preparation::Statement),
        );
        // The same error on its way up is a cause by id.
        let outcome = query.try_in_subsegment("inner", |_| Err::<(), _>(std::fmt::Error));
        query.record_fault(&outcome.unwrap_err());
        query.record_panic(&"went wrong");
    };
    let segment = recorder.segment("shop").header(&caller).begin();
    fill(&segment);
    segment.close();
    // Independent subsegments: below a facade, and after their segment.
    let facade = recorder.begin_facade(&caller);
    let below = facade.begin_subsegment("below");
    below.annotate("a", 1);
    below.begin_subsegment("deeper").close();
    below.close();
    let segment = recorder.segment("late").decide(Decision::sampled()).begin();
    let late = segment.begin_subsegment("late");
    segment.close();
    late.close();
    // In progress; its three finished parts, which the flush takes; then the rest.
    let open = recorder.begin_segment("open");
    fill(&open);
    recorder.show_open(Duration::ZERO);
    assert!(recorder.flush(LONG).wait().is_complete());
    drop((open, facade));
    assert!(recorder.flush(LONG).wait().is_complete());
    let all = accepted(&daemon, 9);
    let schema = schema();
    for received in &all {
        let document = body(received);
        let errors: Vec<String> = schema
            .iter_errors(&document)
            .map(|e| e.to_string())
            .collect();
        assert_eq!(errors, [""; 0], "{document}");
    }
    balance(&recorder);
    // Nothing was left out: each field of the model occurs somewhere.
    let text = body(&all[0]).to_string();
    for field in [
        "aws",
        "annotations",
        "cause",
        "error",
        "fault",
        "http",
        "id",
        "links",
        "metadata",
        "name",
        "namespace",
        "origin",
        "parent_id",
        "precursor_ids",
        "service",
        "sql",
        "subsegments",
        "throttle",
        "trace_id",
        "traced",
        "user",
        "exceptions",
        "stack",
        "remote",
        "truncated",
        "skipped",
        "x_forwarded_for",
        "client_ip",
        "user_agent",
        "content_length",
        "connection_string",
        "sanitized_query",
        "database_type",
        "database_version",
        "driver_version",
        "preparation",
        "start_time",
        "end_time",
    ] {
        assert!(text.contains(&format!("\"{field}\":")), "{field}");
    }
    assert_eq!(body(&all[4])["in_progress"], true);
    // The schema is alive: what it forbids, it finds.
    assert!(!schema.is_valid(&json!({"name": "a"})));
}

/// T-24: all of Unicode, as names, keys, texts and metadata.
#[test]
fn every_character_can_be_in_a_name_a_key_and_a_text() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    let every: Vec<char> = (0..=u32::from(char::MAX))
        .filter_map(char::from_u32)
        .collect();
    assert_eq!(every.len(), 1_112_064);
    let mut sent = 0;
    let mut expected = Vec::new();
    for chunk in every.chunks(10_000) {
        let segment = recorder.begin_segment("unicode");
        let mut names = Vec::new();
        for (at, part) in chunk.chunks(200).enumerate() {
            let text: String = part.iter().collect();
            let child = segment.begin_subsegment(&text);
            child.annotate(&format!("a{at}"), &text);
            child.metadata(&text, &text);
            names.push(text);
        }
        segment.close();
        expected.extend(names);
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    assert_eq!(recorder.documents().lost.len(), 0);
    sent += recorder.documents().sent as usize;
    let mut children: Vec<Value> = Vec::new();
    for received in accepted(&daemon, sent) {
        let mut document = body(&received);
        match document["subsegments"].take() {
            Value::Array(inner) => children.extend(inner),
            _ if document["name"] != "unicode" => children.push(document),
            _ => {}
        }
    }
    assert_eq!(children.len(), expected.len());
    let text_of = |child: &Value| {
        let all = child["annotations"].as_object().unwrap();
        all.values().next().unwrap().as_str().unwrap().to_owned()
    };
    let found: std::collections::HashMap<String, Value> = children
        .into_iter()
        .map(|child| (text_of(&child), child))
        .collect();
    for text in &expected {
        let child = &found[text]; // the annotation's text is unaltered
        assert_eq!(child["metadata"]["default"][text], text.as_str());
        let name: Vec<char> = child["name"].as_str().unwrap().chars().collect();
        for (given, written) in text.chars().zip(&name) {
            // Valid ones stay, others become one `_` each.
            assert!(*written == given || *written == '_', "{given:?}");
        }
        assert_eq!(name.len(), text.chars().count());
    }
    // Those that stay are just those that are valid: a sample, and all of ASCII.
    for given in every
        .iter()
        .filter(|c| c.is_ascii() || u32::from(**c) % 97 == 0)
    {
        let (recorder, capture) = xray_core::Recorder::capture("test");
        recorder.begin_segment(&given.to_string()).close();
        let kept = if is_name(*given) {
            given.to_string()
        } else {
            "_".into()
        };
        assert_eq!(capture.documents()[0].name, kept, "{given:?}");
    }
}

/// T-24: boundaries, bidirectional controls, terminal escapes.
#[test]
fn names_and_keys_are_cut_between_characters() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    let schema = schema();
    let hostile = [
        "\u{202e}gpj exe",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{2066}a\u{2069}",
        "a\u{0}b\r\nc",
    ];
    let mut sent = 0;
    for c in ["a", "é", "東", "𝒳"] {
        for count in [199, 200, 201, 500, 501, 1_000, 1_001] {
            let text = c.repeat(count);
            let segment = recorder.begin_segment(&text);
            segment.annotate(&text, &text);
            segment.set_user(&text);
            segment.http_request(
                &HttpRequest::new(&text, &text)
                    .user_agent(&text)
                    .client_ip(&text),
            );
            segment.begin_subsegment(&text).close();
            segment.close();
            assert!(recorder.flush(LONG).wait().is_complete());
            sent += 1;
            let document = body(accepted(&daemon, sent).last().unwrap());
            let cut = c.repeat(count.min(200));
            assert_eq!(document["name"], cut.as_str());
            assert_eq!(document["subsegments"][0]["name"], cut.as_str());
            let key = if c == "a" { "a" } else { "_" }.repeat(count.min(500));
            let value = if count > 1_000 {
                format!("{}…", c.repeat(999))
            } else {
                text.clone()
            };
            assert_eq!(document["annotations"], json!({ key: value }));
            let user = if count > 250 {
                format!("{}…", c.repeat(249))
            } else {
                text
            };
            assert_eq!(document["user"], user.as_str());
            assert_eq!(document["http"]["request"]["user_agent"], user.as_str());
            if c != "𝒳" {
                // The schema's pattern lists characters of three bytes at most.
                assert!(schema.is_valid(&document), "{document}");
            }
        }
    }
    for text in hostile {
        let segment = recorder.begin_segment(text);
        segment.annotate(text, text);
        segment.metadata_in(text, text, text);
        segment.aws(text, text);
        segment.record_exception(text, text, Class::Fault);
        segment.close();
        assert!(recorder.flush(LONG).wait().is_complete());
        sent += 1;
        let received = accepted(&daemon, sent);
        let bytes = document_of(&received.last().unwrap().bytes).unwrap();
        let raw = std::str::from_utf8(bytes).unwrap();
        let harmless = |c: char| !c.is_control() && !"\u{202e}\u{2066}\u{2069}".contains(c);
        assert!(raw.chars().all(harmless), "{raw:?}");
        let document = body(received.last().unwrap());
        assert_eq!(document["metadata"][text][text], text);
        assert!(schema.is_valid(&document), "{document}");
    }
}

/// T-25.
#[test]
fn numbers_have_exactly_one_written_form() {
    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    let floats = [
        (f64::NAN, "\"NaN\"", "null"),
        (f64::INFINITY, "\"Infinity\"", "null"),
        (f64::NEG_INFINITY, "\"-Infinity\"", "null"),
        (-0.0, "-0.0", "-0.0"),
        (0.1, "0.1", "0.1"),
        (1e308, "1e+308", "1e+308"),
        (
            f64::MIN_POSITIVE,
            "2.2250738585072014e-308",
            "2.2250738585072014e-308",
        ),
        (
            f64::MAX,
            "1.7976931348623157e+308",
            "1.7976931348623157e+308",
        ),
    ];
    let segment = recorder.begin_segment("numbers");
    for (at, (number, ..)) in floats.iter().enumerate() {
        segment.annotate(&format!("f{at}"), *number);
        segment.metadata(&format!("f{at}"), *number);
    }
    segment.annotate("umax", u64::MAX);
    segment.annotate("imin", i64::MIN);
    segment.annotate("imax", i64::MAX);
    segment.metadata("umax", u64::MAX);
    segment.metadata("imin", i64::MIN);
    segment.tally("sum", Tally::Sum(f64::NAN));
    segment.tally("max", Tally::Max(1e308));
    segment.http_response(HttpResponse::new(u16::MAX).content_length(u64::MAX));
    segment.close();
    assert!(recorder.flush(LONG).wait().is_complete());
    let received = accepted(&daemon, 1);
    let text = std::str::from_utf8(&received[0].bytes).unwrap();
    let (annotations, metadata) = text.split_once("\"metadata\":").unwrap();
    for (at, (_, annotation, value)) in floats.iter().enumerate() {
        let member = format!("\"f{at}\":{annotation}");
        assert!(annotations.contains(&member), "{member} in {annotations}");
        let member = format!("\"f{at}\":{value}");
        assert!(metadata.contains(&member), "{member} in {metadata}");
    }
    for member in [
        "\"umax\":18446744073709551615",
        "\"imin\":-9223372036854775808",
        "\"imax\":9223372036854775807",
        "\"sum\":\"NaN\"",
        "\"max\":1e+308",
        "\"response\":{\"status\":65535,\"content_length\":9223372036854775807}",
    ] {
        assert!(annotations.contains(member), "{member} in {annotations}");
    }
    assert!(metadata.contains("\"umax\":18446744073709551615"));
    assert!(metadata.contains("\"imin\":-9223372036854775808"));
    balance(&recorder);
}
