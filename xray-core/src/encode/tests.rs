//! What is left out, in every step there is, leaves a document that the
//! collector takes.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json::Seconds;
use super::members::{self, Trim};
use super::pack::Packer;
use crate::emit::{Emitter, Piece};
use crate::{
    Always, Class, Entity, ExceptionReport, HttpRequest, HttpResponse, Namespace, Recorder, Sql,
};

/// Keeps pieces as they cross the queue.
#[derive(Debug, Clone, Default)]
struct Pieces(Arc<Mutex<Vec<Piece>>>);

impl Emitter for Pieces {
    fn emit(&self, piece: Piece) {
        self.0.lock().unwrap().push(piece);
    }
}

fn recorder() -> (Recorder, Pieces) {
    let pieces = Pieces::default();
    let builder = Recorder::builder("test").ignore_environment();
    let recorder = builder.sampler(Always).emitter(pieces.clone()).build();
    (recorder.unwrap(), pieces)
}

const STEPS: [Trim; 10] = [
    Trim::Nothing,
    Trim::Links,
    Trim::Stacks,
    Trim::Metadata(60),
    Trim::Metadata(0),
    Trim::Everything,
    Trim::Keys,
    Trim::Aws(100),
    Trim::Aws(20),
    Trim::Aws(0),
];

/// One node's members as a document, and how many values were left out.
fn written(piece: &Piece, node: u32, trim: Trim) -> (Value, u64) {
    let (mut out, mut seconds) = (Vec::new(), Seconds::default());
    let trimmed = members::write(&mut out, &mut seconds, piece, node, trim);
    out.extend_from_slice(b",\"trace_id\":\"1-66f2a1c0-0123456789abcdef01234567\"}");
    if let Err(broken) = xray_local::check_document(&out) {
        panic!("{trim:?}: {broken:?} in {}", String::from_utf8_lossy(&out));
    }
    (serde_json::from_slice(&out).unwrap(), trimmed)
}

/// Says of an entity all there is to say.
fn say_all(entity: &Entity, times: usize, text: &str) {
    entity.set_name(text);
    for at in 0..times {
        entity.annotate(&format!("{at}{text}"), text);
        entity.metadata_in(text, &format!("{at}{text}"), text);
        entity.link(entity.trace_id().unwrap(), entity.id().unwrap());
        entity.add_precursor(entity.id().unwrap());
        let report = ExceptionReport::new(text, text).frame(text, 7, text);
        entity.report_exception(&report.remote(), Class::Throttle);
        entity.record_fault(&std::io::Error::other(text.to_owned()));
    }
    entity.annotate("number", 0.1);
    entity.http_request(
        &HttpRequest::new(text, text)
            .user_agent(text)
            .client_ip(text),
    );
    entity.http_response(HttpResponse::new(503).content_length(7));
    let sql = Sql::new().sanitized_query(text).user(text);
    entity.sql(&sql.database_type(text).connection_string(text));
    entity.sql(&Sql::new().url(&format!("pg://{text}/orders")));
    entity.set_user(text);
    entity.set_origin(text);
    entity.set_service_version(text);
    for (key, value) in [
        ("operation", json!(text)),
        ("account_id", json!(123)),
        ("retries", json!("2")),
        ("queue_url", json!([text])),
        ("table_names", json!([text, 7, null])),
        (
            "ecs",
            json!({"container": text, "container_arn": 7, "novel": null}),
        ),
        ("elastic_beanstalk", json!({"deployment_id": text})),
        ("cloudwatch_logs", json!([{"log_group": text}])),
        ("ec2", json!({"ami_id": null})),
        ("novel", json!({"a": [null, {"b": text}]})),
    ] {
        entity.aws(key, value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(60)
    })]

    #[test]
    fn every_step_leaves_a_valid_document(
        times in 0usize..30,
        text in prop_oneof![any::<String>(), "[a-z/:@é]{0,120}"],
    ) {
        let (recorder, pieces) = recorder();
        let segment = recorder.begin_segment("segment");
        let call = segment.subsegment("call").namespace(Namespace::Remote).begin();
        say_all(&segment, times, &text);
        say_all(&call, times, &text);
        call.set_traced();
        drop((call, segment));
        let piece = pieces.0.lock().unwrap().pop().unwrap();
        for node in 0..2 {
            for trim in STEPS {
                let (document, _) = written(&piece, node, trim);
                let is_segment = node == 0;
                for field in ["sql", "precursor_ids", "namespace", "traced"] {
                    prop_assert!(!is_segment || document.get(field).is_none(), "{}", field);
                }
                for field in ["user", "origin", "service", "links"] {
                    prop_assert!(is_segment || document.get(field).is_none(), "{}", field);
                }
                prop_assert_eq!(document["aws"]["account_id"] == "123", trim != Trim::Aws(0));
            }
        }
    }
}

/// A segment of 100 bytes of each kind, in the order in which they go.
#[test]
fn what_goes_first_is_what_is_missed_least() {
    let (recorder, pieces) = recorder();
    let segment = recorder.begin_segment("segment");
    for at in 0..60 {
        segment.link(segment.trace_id().unwrap(), segment.id().unwrap());
        segment.annotate(&format!("a{at}"), "x".repeat(100));
    }
    let report = ExceptionReport::new("Error", "no").frame("a.rs", 7, "f");
    segment.report_exception(&report, Class::Fault);
    segment.metadata("large", "x".repeat(98));
    segment.metadata("small", "x".repeat(48));
    segment.aws("ecs", json!({"container": "x".repeat(84)}));
    segment.aws("region", "eu");
    segment.close();
    let piece = pieces.0.lock().unwrap().pop().unwrap();
    let seen = |trim| {
        let (document, trimmed) = written(&piece, 0, trim);
        let count = |pointer| match document.pointer(pointer) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(members)) => members.len(),
            Some(Value::String(text)) => text.chars().count(),
            _ => 0,
        };
        let counts = [
            "/links",
            "/cause/exceptions/0/stack",
            "/metadata/default/large",
            "/metadata/default/small",
            "/annotations",
            "/annotations/a7",
            "/aws/ecs/container",
            "/aws/region",
        ];
        (counts.map(count), trimmed)
    };
    assert_eq!(seen(Trim::Nothing), ([60, 1, 98, 48, 60, 100, 84, 2], 0));
    assert_eq!(seen(Trim::Links), ([20, 1, 98, 48, 60, 100, 84, 2], 40));
    assert_eq!(seen(Trim::Stacks), ([20, 0, 98, 48, 60, 100, 84, 2], 41));
    let mark = "[trimmed: 100 bytes]".len();
    let all_metadata = ([20, 0, mark, 48, 60, 100, 84, 2], 42);
    assert_eq!(seen(Trim::Metadata(99)), all_metadata);
    assert_eq!(seen(Trim::Metadata(100)), seen(Trim::Stacks));
    let everything = ([20, 0, mark, mark - 1, 50, 50, 84, 2], 43 + 60);
    assert_eq!(seen(Trim::Everything), everything);
    let keys = ([20, 0, 0, 0, 50, 50, 84, 2], 43 + 60);
    assert_eq!(seen(Trim::Keys), keys);
    assert_eq!(seen(Trim::Aws(100)), keys);
    assert_eq!(seen(Trim::Aws(99)), ([20, 0, 0, 0, 50, 50, 0, 2], 43 + 61));
    assert_eq!(seen(Trim::Aws(0)), ([20, 0, 0, 0, 50, 50, 0, 0], 43 + 62));
}

/// The documents of a piece, packed twice: after the first `sent` the network
/// turns out to take no more than `then`.
fn packed(mut piece: Piece, limit: usize, sent: usize, then: usize) -> Vec<Value> {
    let mut packer = Packer::default();
    let mut documents = Vec::new();
    packer.plan(&mut piece, limit);
    while let Some(packed) = packer.next(&piece) {
        let text = &packed.datagram[crate::limits::DATAGRAM_HEADER.len()..];
        documents.push(serde_json::from_slice(text).unwrap());
        packer.advance(&mut piece);
        if documents.len() == sent {
            packer.plan(&mut piece, then);
        }
    }
    documents
}

fn names(documents: &[Value]) -> Vec<Vec<&str>> {
    fn collect<'a>(document: &'a Value, names: &mut Vec<&'a str>) {
        names.push(document["name"].as_str().unwrap());
        for inner in document["subsegments"].as_array().into_iter().flatten() {
            collect(inner, names);
        }
    }
    let of = |document| {
        let mut names = Vec::new();
        collect(document, &mut names);
        names
    };
    documents.iter().map(of).collect()
}

/// A segment with children of these bytes.
fn piece_of(children: &[(&str, usize)]) -> Piece {
    let (recorder, pieces) = recorder();
    let segment = recorder.begin_segment("segment");
    for (name, bytes) in children {
        segment
            .begin_subsegment(name)
            .metadata("m", "x".repeat(*bytes));
    }
    segment.close();
    pieces.0.lock().unwrap().pop().unwrap()
}

#[test]
fn the_largest_children_stay_apart() {
    let sizes = [
        ("a", 300),
        ("b", 6_000),
        ("c", 300),
        ("d", 5_000),
        ("e", 300),
    ];
    let documents = packed(piece_of(&sizes), 8_000, usize::MAX, 0);
    assert_eq!(
        names(&documents),
        [vec!["segment", "a", "c", "d", "e"], vec!["b"]]
    );
}

/// A child may be as large as its document: it is not to go with its parent.
#[test]
fn sent_parts_are_not_packed_again() {
    let sizes = [("a", 2_000), ("b", 6_000), ("c", 2_000), ("d", 6_000)];
    let documents = packed(piece_of(&sizes), 8_000, 1, 7_000);
    assert_eq!(
        names(&documents),
        [vec!["segment", "a", "c"], vec!["b"], vec!["d"]]
    );
    let documents = packed(piece_of(&sizes), 8_000, 2, 7_000);
    assert_eq!(
        names(&documents),
        [vec!["segment", "a", "c"], vec!["b"], vec!["d"]]
    );
}

/// It used to be counted each time its document was packed.
#[test]
fn a_value_of_a_hook_is_trimmed_once() {
    let pieces = Pieces::default();
    let builder = Recorder::builder("test").ignore_environment();
    let hook = |document: &mut crate::document::Document| {
        document.user = Some("u".repeat(300));
        crate::Keep::Send
    };
    let builder = builder.sampler(Always).emitter(pieces.clone()).hook(hook);
    let recorder = builder.build().unwrap();
    let segment = recorder.begin_segment("segment");
    segment.begin_subsegment("a").metadata("m", "x".repeat(300));
    segment.close();
    let mut piece = pieces.0.lock().unwrap().pop().unwrap();
    let mut packer = Packer::default();
    for limit in [8_000, 7_000, 6_000] {
        packer.plan(&mut piece, limit);
        assert!(packer.next(&piece).unwrap().hooked.is_ok());
        assert_eq!(recorder.events().trimmed, 0);
    }
    packer.advance(&mut piece);
    assert_eq!(recorder.events().trimmed, 1);
    assert!(packer.next(&piece).is_none());
}
