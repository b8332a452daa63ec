//! Whatever is recorded, and whatever a hook writes, every document is one that
//! daemon and collector take, at every limit; and none is lost for what could be
//! left out.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use common::{Pieces, balance, builder, written};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use xray_core::document::Document;
use xray_core::{
    AnnotationValue, Class, Entity, ExceptionReport, HttpRequest, HttpResponse, Keep, Namespace,
    Recorder, Sql, TraceHeader,
};

/// Records one segment, and what its document came to be at this limit.
fn one(limit: usize, record: impl FnOnce(&Entity)) -> (Recorder, Value) {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    record(&segment);
    segment.close();
    let mut documents: Vec<Value> = Vec::new();
    for piece in pieces.take() {
        documents.extend(written(piece, limit));
    }
    assert_eq!(documents.len(), 1);
    assert_eq!(recorder.documents().sent, 1);
    balance(&recorder);
    (recorder, documents.remove(0))
}

/// H4: 92 bytes of `aws` used to become a text, over which collectors drop the
/// document.
#[test]
fn objects_and_lists_of_aws_are_not_replaced_by_texts() {
    let ecs = json!({"container": "shop-7", "container_arn": "arn:aws:ecs:eu-west-1:1:task/shop"});
    let tables = json!(["a", "b", "c", "d", "e", "f", "a long name of a table"]);
    let (recorder, document) = one(64_000, |segment| {
        segment.aws("ecs", &ecs);
        segment.aws("table_names", &tables);
        for at in 0..1_200 {
            segment.metadata(&format!("{at}"), "x".repeat(50));
        }
    });
    assert_eq!(document["aws"]["ecs"], ecs);
    assert_eq!(document["aws"]["table_names"], tables);
    let metadata = document["metadata"]["default"].as_object().unwrap();
    let marked = metadata
        .values()
        .filter(|value| *value == "[trimmed: 52 bytes]");
    assert_eq!(recorder.events().trimmed, marked.count() as u64);
}

#[test]
fn members_of_aws_go_last_and_whole() {
    let (recorder, document) = one(4_000, |segment| {
        segment.aws("queue_url", "q".repeat(5_000));
        segment.aws("ecs", json!({"container": "c".repeat(500)}));
        segment.metadata("m", "m".repeat(100));
    });
    assert!(document["aws"].get("queue_url").is_none());
    assert_eq!(document["aws"]["ecs"]["container"], "c".repeat(500));
    assert!(document.get("metadata").is_none());
    assert_eq!(recorder.events().trimmed, 2);
}

/// M3: 850 links used to lose the segment.
#[test]
fn a_thousand_links_lose_nothing_but_links() {
    let trace_id = "1-66f2a1c0-0123456789abcdef01234567".parse().unwrap();
    let id = "53995c3f42cd8ad8".parse().unwrap();
    for (links, kept) in [(20, 20), (500, 500), (1_000, 20)] {
        let (recorder, document) = one(64_000, |segment| {
            segment.metadata("m", "stays");
            (0..links).for_each(|_| segment.link(trace_id, id));
        });
        assert_eq!(document["links"].as_array().unwrap().len(), kept);
        assert_eq!(document["metadata"]["default"]["m"], "stays");
        assert_eq!(recorder.events().trimmed, (links - kept) as u64);
    }
    let (recorder, document) = one(40_000, |segment| {
        let child = segment.begin_subsegment("child");
        (0..3_000).for_each(|_| child.add_precursor(id));
    });
    let child = &document["subsegments"][0];
    assert_eq!(child["precursor_ids"].as_array().unwrap().len(), 20);
    assert_eq!(recorder.events().trimmed, 2_980);
}

/// L15, L16: collectors read these into types.
#[test]
fn known_members_of_aws_have_known_types() {
    let (recorder, document) = one(64_000, |segment| {
        segment.aws("ecs", json!({"container": None::<&str>}));
        segment.aws("account_id", 123_u64);
        segment.aws("retries", "2");
        segment.aws("operation", ["GetItem"]);
        segment.aws("region", None::<&str>);
        segment.aws("novel", json!({"a": null, "b": [null, 1]}));
    });
    let aws = document["aws"].as_object().unwrap();
    let expected = json!({"account_id": "123", "retries": 2, "novel": {"b": [1]}});
    let found: Map<String, Value> = aws
        .clone()
        .into_iter()
        .filter(|(key, _)| key != "xray")
        .collect();
    assert_eq!(Value::Object(found), expected);
    assert_eq!(recorder.events().trimmed, 1);
}

/// L18: X-Ray knows these on subsegments only.
#[test]
fn a_segment_has_no_fields_of_subsegments() {
    let (recorder, document) = one(64_000, |segment| {
        segment.sql(&Sql::new().user("me").database_type("pg"));
        segment.add_precursor(segment.id().unwrap());
    });
    assert!(document.get("sql").is_none() && document.get("precursor_ids").is_none());
    assert_eq!(recorder.events().trimmed, 2);
}

/// L11: what was cut when it was stored.
#[test]
fn a_name_that_is_cut_counts_whatever_its_letters() {
    for letter in ["a", "é", "東", "𝒳"] {
        for (letters, trimmed) in [(200, 0), (201, 1), (250, 1)] {
            let (recorder, document) = one(64_000, |segment| {
                segment.set_name(&letter.repeat(letters));
            });
            assert_eq!(document["name"], letter.repeat(200));
            assert_eq!(recorder.events().trimmed, trimmed, "{letter} {letters}");
        }
    }
}

#[test]
fn a_key_of_metadata_that_is_cut_counts() {
    for (namespace, key, trimmed) in [(200, 2_000, 0), (201, 1, 1), (1, 2_001, 1)] {
        let (recorder, document) = one(64_000, |segment| {
            segment.metadata_in(&"n".repeat(namespace), &"k".repeat(key), 7);
        });
        let namespace = &document["metadata"]["n".repeat(namespace.min(200))];
        assert_eq!(namespace["k".repeat(key.min(2_000))], 7);
        assert_eq!(recorder.events().trimmed, trimmed);
    }
}

/// How many values were trimmed of what was recorded.
fn trimmed(record: impl FnOnce(&Entity)) -> u64 {
    one(64_000, record).0.events().trimmed
}

#[test]
fn a_key_that_is_cut_counts_once() {
    let long = |bytes| "k".repeat(bytes);
    assert_eq!(trimmed(|segment| segment.aws(&long(2_001), "v")), 1);
    assert_eq!(trimmed(|segment| segment.aws(&long(2_000), "v")), 0);
    for key in ["a-b".to_owned(), long(501), "-".repeat(501)] {
        let often = |segment: &Entity| (0..100).for_each(|at| segment.annotate(&key, at));
        assert_eq!(trimmed(often), 1, "{key}");
    }
    let often = |segment: &Entity| (0..100).for_each(|at| segment.metadata(&long(2_001), at));
    assert_eq!(trimmed(often), 1);
}

#[test]
fn a_reserved_member_is_reserved_in_any_case() {
    let (recorder, document) = one(64_000, |segment| {
        for key in ["xray", "XRay", "XRAY"] {
            segment.aws(key, json!({"sdk": "other"}));
        }
    });
    let members: Vec<_> = document["aws"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["xray"]);
    assert_ne!(document["aws"]["xray"]["sdk"], "other");
    assert_eq!(recorder.events().trimmed, 0);
}

#[test]
fn a_frame_that_is_cut_counts() {
    for (bytes, trimmed) in [(250, 0), (251, 2)] {
        let (recorder, document) = one(64_000, |segment| {
            let text = "f".repeat(bytes);
            let report = ExceptionReport::new("Error", "no").frame(&text, 7, &text);
            segment.report_exception(&report, Class::Fault);
        });
        let frame = &document["cause"]["exceptions"][0]["stack"][0];
        let path = frame["path"].as_str().unwrap();
        assert_eq!(path.ends_with('…'), trimmed > 0);
        assert_eq!(frame["label"], path);
        assert_eq!(recorder.events().trimmed, trimmed);
    }
}

/// L19: a filter for 0.1 is to find it.
#[test]
fn a_float_of_32_bits_is_the_number_it_shows() {
    for (given, expected) in [
        (0.1_f32, 0.1_f64),
        (-2.3, -2.3),
        (1e-30, 1e-30),
        (3.4e38, 3.4e38_f32.into()),
        (16_777_216.0, 16_777_216.0),
    ] {
        assert_eq!(
            AnnotationValue::from(given),
            AnnotationValue::Float(expected)
        );
    }
    let (_, document) = one(64_000, |segment| segment.annotate("rate", 0.1_f32));
    assert_eq!(document["annotations"].to_string(), "{\"rate\":0.1}");
}

/// Its host may be all that fits.
#[test]
fn a_url_of_a_database_is_whole_enough_or_left_out() {
    let (recorder, document) = one(1_500, |segment| {
        let call = segment.begin_subsegment("call");
        call.sql(
            &Sql::new()
                .url(&format!("pg://{}/orders", "h".repeat(60)))
                .user("me"),
        );
        call.metadata("m", "m".repeat(1_400));
        call.annotate("a", "x".repeat(1_000));
        call.annotate("b", "x".repeat(1_000));
    });
    assert_eq!(document["subsegments"][0]["sql"], json!({"user": "me"}));
    assert_eq!(recorder.events().trimmed, 4);
}

/// What a program may say, with what sizes.
#[derive(Debug, Clone)]
struct Said {
    limit: usize,
    texts: Vec<(String, usize)>,
    links: usize,
    values: Vec<(String, Value)>,
    kind: u8,
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z:/@.?=é東𝒳\u{202e}]{0,60}",
        (0usize..3_000).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(40, 60, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys(), inner), 0..4).prop_map(object),
        ]
    })
}

fn object(members: Vec<(String, Value)>) -> Value {
    Value::Object(members.into_iter().collect())
}

/// Names of members, of which readers know the type, and others.
fn keys() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "account_id",
        "operation",
        "region",
        "request_id",
        "queue_url",
        "table_name",
        "table_names",
        "retries",
        "ec2",
        "ecs",
        "eks",
        "elastic_beanstalk",
        "cloudwatch_logs",
        "xray",
        "container",
        "deployment_id",
        "version_label",
        "instance_id",
        "log_group",
        "sdk",
        "version",
        "error",
        "fault",
        "id",
        "name",
        "start_time",
        "http",
        "request",
        "status",
        "sql",
        "url",
        "cause",
        "exceptions",
        "stack",
        "line",
        "links",
        "trace_id",
        "user",
        "namespace",
        "metadata",
        "annotations",
        "subsegments",
        "in_progress",
        "service",
        "aws",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => texts()]
}

fn said() -> impl Strategy<Value = Said> {
    let limits = prop_oneof![1_024usize..4_000, 1_024usize..=65_474];
    let texts = prop::collection::vec((texts(), 0usize..60), 1..12);
    let values = prop::collection::vec((keys(), values()), 0..12);
    (
        limits,
        texts,
        prop_oneof![0usize..30, 0usize..1_500],
        values,
        0u8..3,
    )
        .prop_map(|(limit, texts, links, values, kind)| Said {
            limit,
            texts,
            links,
            values,
            kind,
        })
}

fn say(entity: &Entity, said: &Said) {
    let trace_id = "1-66f2a1c0-0123456789abcdef01234567".parse().unwrap();
    let id = "53995c3f42cd8ad8".parse().unwrap();
    for _ in 0..said.links {
        entity.link(trace_id, id);
        entity.add_precursor(id);
    }
    for (text, times) in &said.texts {
        entity.set_name(text);
        entity.set_user(text);
        entity.set_origin(text);
        entity.set_service_version(text);
        entity.http_request(
            &HttpRequest::new(text, text)
                .user_agent(text)
                .client_ip(text),
        );
        entity.http_response(HttpResponse::new(*times as u16).content_length(7));
        entity.sql(&Sql::new().url(text).connection_string(text).user(text));
        entity.sql(
            &Sql::new()
                .sanitized_query(text)
                .database_type(text)
                .driver_version(text),
        );
        for at in 0..*times {
            entity.annotate(&format!("{text}{at}"), text);
        }
        let report = ExceptionReport::new(text, text)
            .frame(text, 7, text)
            .remote();
        entity.report_exception(&report, Class::Throttle);
        entity.record_fault(&std::io::Error::other(text.clone()));
    }
    for (key, value) in &said.values {
        entity.aws(key, value);
        entity.metadata_in(key, key, value);
        entity.annotate(key, value.to_string());
    }
}

/// Puts values into whatever a document holds.
fn spoil(document: &mut Document, values: &[(String, Value)]) {
    for (at, (key, value)) in values.iter().enumerate() {
        let text = value.as_str().unwrap_or(key).to_owned();
        // The model reads what it can; what it cannot it refuses.
        let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
        match at % 12 {
            0 => document.name = text,
            1 => document.id = text,
            2 => drop(document.other.insert(key.clone(), value.clone())),
            3 => drop(document.annotations.insert(key.clone(), value.clone())),
            4 => drop(document.metadata.insert(key.clone(), value.clone())),
            5 => drop(document.aws.insert(key.clone(), value.clone())),
            6 => document.cause = serde_json::from_value(value.clone()).ok(),
            7 => document.http = serde_json::from_value(value.clone()).ok(),
            8 => document.sql = serde_json::from_value(value.clone()).ok(),
            9 => document.service = members(value),
            10 => document.end_time = value.as_f64(),
            _ => {
                if let Ok(inner) = serde_json::from_value(value.clone()) {
                    document.subsegments.push(inner);
                }
                document.namespace = Some(text.clone());
                document.parent_id = Some(text.clone());
                document.trace_id = Some(text);
            }
        }
        if let Some(inner) = document.subsegments.first_mut() {
            spoil(inner, &values[at + 1..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    })]

    /// `written` holds each against the collector's rules.
    #[test]
    fn every_document_is_one_that_collectors_take(said in said(), spoils: bool) {
        let pieces = Pieces::default();
        let values = said.values.clone();
        let builder = builder(pieces.clone());
        let recorder = if spoils {
            builder.hook(move |document| {
                spoil(document, &values);
                Keep::Send
            })
        } else {
            builder
        };
        let recorder = recorder.build().unwrap();
        let header = TraceHeader::parse(
            "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1",
        );
        let segment = match said.kind {
            0 => recorder.begin_facade(&header),
            _ => recorder.begin_segment("shop"),
        };
        let call = segment.subsegment("call").namespace(Namespace::Aws).begin();
        say(&segment, &said);
        say(&call, &said);
        if said.kind == 2 {
            drop(segment);
            drop(call);
        } else {
            drop(call);
            drop(segment);
        }
        for piece in pieces.take() {
            written(piece, said.limit);
        }
        balance(&recorder);
    }
}
