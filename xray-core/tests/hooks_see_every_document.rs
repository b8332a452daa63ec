//! Hooks look at finished documents, change them or keep them back.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::collections::BTreeMap;

use common::balance;
use serde_json::{Value, json};
use xray_core::document::{Cause, Document};
use xray_core::{Always, Capture, Keep, Loss, Recorder};

fn hooked(
    limit: usize,
    hook: impl Fn(&mut Document) -> Keep + Send + Sync + 'static,
) -> (Recorder, Capture) {
    let capture = Capture::new(limit);
    let builder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always);
    let recorder = builder
        .hook(hook)
        .emitter(capture.clone())
        .build()
        .expect("nothing in it can fail");
    (recorder, capture)
}

#[test]
fn a_hook_annotates_and_redacts() {
    let (recorder, capture) = hooked(64_000, |document| {
        document.annotations.insert("stage".into(), "prod".into());
        if let Some(part) = document.subsegments.first_mut() {
            part.metadata.clear();
        }
        Keep::Send
    });
    let segment = recorder.begin_segment("shop");
    segment.in_subsegment("pay", |pay| pay.metadata("card", "4111"));
    segment.close();
    let [document] = &capture.documents()[..] else {
        panic!("one document")
    };
    assert_eq!(document.annotations["stage"], "prod");
    assert!(
        !String::from_utf8(capture.json().concat())
            .unwrap()
            .contains("4111")
    );
    assert_eq!(recorder.documents().sent, 1);
    balance(&recorder);
}

/// Panics with itself for ever.
struct Again;

impl Drop for Again {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(Self));
    }
}

/// The payload's drop used to go on unwinding through whoever sends.
#[test]
fn a_hook_that_panics_with_something_that_panics_loses_its_document_alone() {
    let (recorder, capture) = hooked(64_000, |document| {
        if document.name == "bad" {
            std::panic::panic_any(Again);
        }
        Keep::Send
    });
    recorder.begin_segment("bad").close();
    recorder.begin_segment("good").close();
    assert_eq!(capture.documents().len(), 1);
    assert_eq!(
        recorder.documents().lost,
        BTreeMap::from([(Loss::HookPanic, 1)])
    );
    balance(&recorder);
}

#[test]
fn hooks_run_in_order_and_the_first_that_drops_ends_it() {
    let capture = Capture::new(64_000);
    let recorder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always)
        .hook(|document| {
            document.annotations.insert("first".into(), 1.into());
            Keep::Send
        })
        .hook(|document| {
            assert_eq!(document.annotations["first"], 1);
            if document.name == "health" {
                Keep::Drop
            } else {
                Keep::Send
            }
        })
        .emitter(capture.clone())
        .build()
        .unwrap();
    recorder.begin_segment("health").close();
    recorder.begin_segment("shop").close();
    assert_eq!(capture.documents().len(), 1);
    assert_eq!(
        recorder.documents().lost,
        BTreeMap::from([(Loss::HookDropped, 1)])
    );
    assert_eq!(
        recorder.entities().dropped,
        BTreeMap::from([(Loss::HookDropped, 1)])
    );
    balance(&recorder);
}

/// It may have been about to redact, so its document is not sent.
#[test]
fn a_hook_that_panics_loses_its_document_and_nothing_else() {
    let (recorder, capture) = hooked(64_000, |document| {
        assert_ne!(document.name, "bad");
        Keep::Send
    });
    recorder.begin_segment("bad").close();
    recorder.begin_segment("good").close();
    assert_eq!(capture.documents()[0].name, "good");
    assert_eq!(
        recorder.documents().lost,
        BTreeMap::from([(Loss::HookPanic, 1)])
    );
    balance(&recorder);
}

#[test]
fn a_hook_has_512_bytes_of_room_and_no_more() {
    for (added, fits) in [(470, true), (2_000, false)] {
        let (recorder, capture) = hooked(4_000, move |document| {
            put(
                &mut document.metadata,
                "m",
                json!({ "k": "u".repeat(added) }),
            );
            Keep::Send
        });
        let segment = recorder.begin_segment("shop");
        for _ in 0..200 {
            segment.in_subsegment("part", |_| ());
        }
        segment.close();
        let longest = capture.json().iter().map(Vec::len).max().unwrap_or(0);
        assert!(longest <= 4_000, "{longest}");
        let lost = recorder
            .documents()
            .lost
            .get(&Loss::TooLarge)
            .copied()
            .unwrap_or(0);
        assert_eq!(lost == 0, fits, "{:?}", recorder.documents());
        balance(&recorder);
    }
}

#[test]
fn hooked_documents_keep_what_they_say() {
    let say = |recorder: &Recorder| {
        let segment = recorder.begin_segment("shop");
        segment.annotate("float", 0.1 + 0.2);
        segment.annotate("big", u64::MAX);
        segment.annotate("bidi", "a\u{202e}b\u{7f}");
        segment.metadata("deep", serde_json::json!({"a": [1, {"b": null}]}));
        segment.record_fault(&std::io::Error::other("no tea"));
        segment.close();
    };
    let without_ids = |json: &[u8]| {
        let mut value: Value = serde_json::from_slice(json).unwrap();
        for key in ["id", "trace_id", "start_time", "end_time", "cause"] {
            assert!(
                value.as_object_mut().unwrap().remove(key).is_some(),
                "{key}"
            );
        }
        value
    };
    let (hooked, with) = hooked(64_000, |_| Keep::Send);
    let (plain, without) = Recorder::capture("shop");
    say(&hooked);
    say(&plain);
    assert_eq!(
        without_ids(&with.json()[0]),
        without_ids(&without.json()[0])
    );
}

/// Two keys that are one, out of order, and a number of 128 bits.
struct Odd;

impl serde::Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("z", u128::MAX), ("a", 1), ("z", 2)])
    }
}

fn text(capture: &Capture) -> String {
    String::from_utf8(capture.json().concat()).unwrap()
}

#[test]
fn what_no_hook_changes_stays_to_the_letter() {
    let odd = r#"{"z":340282366920938463463374607431768211455,"a":1,"z":2}"#;
    let metadata = format!(r#""metadata":{{"default":{{"z":{odd},"a":2}}}}"#);
    let annotations = r#""annotations":{"z":18446744073709551615,"a":1}"#;
    let aws = format!(r#""aws":{{"z":{odd}}}"#);
    for change in [false, true] {
        let (recorder, capture) = hooked(64_000, move |document| {
            if change {
                document.user = Some("ann".to_owned());
                document.subsegments[0].metadata.clear();
            }
            Keep::Send
        });
        let segment = recorder.begin_segment("shop");
        segment.annotate("z", u64::MAX);
        segment.annotate("a", 1);
        segment.metadata("z", Odd);
        segment.metadata("a", 2);
        let call = segment.begin_subsegment("call");
        call.aws("z", Odd);
        call.metadata("secret", 7);
        drop((call, segment));
        let text = text(&capture);
        for member in [&metadata, annotations, &aws] {
            assert!(text.contains(member), "{text}");
        }
        assert_eq!(text.contains("secret"), !change);
        assert_eq!(text.contains("\"user\":\"ann\""), change);
        assert_eq!(recorder.events().trimmed, 0);
        balance(&recorder);
    }
}

/// Each changes something that collectors do not take, and how it is sent.
#[test]
fn a_hook_cannot_make_a_document_invalid() {
    type Change = fn(&mut Document);
    type Sent = fn(&Document) -> bool;
    let changes: [(Change, Sent); 45] = [
        (
            |d| d.start_time = Some(-1e300),
            |d| d.start_time > Some(1e9),
        ),
        (|d| d.start_time = Some(1e12), |d| d.start_time < Some(1e11)),
        (|d| d.end_time = Some(0.0), |d| d.end_time == d.start_time),
        (
            |d| d.id = "ABCDEF0123456789".into(),
            |d| d.id == "abcdef0123456789",
        ),
        (
            |d| d.trace_id = Some("1-66F2A1C0-0123456789ABCDEF01234567".into()),
            |d| d.trace_id.as_deref() == Some("1-66f2a1c0-0123456789abcdef01234567"),
        ),
        (|d| d.name = "a?b".into(), |d| d.name == "a_b"),
        (|d| d.name.clear(), |d| d.name == "_"),
        (|d| d.id.clear(), |d| d.id.len() == 16),
        (|d| d.trace_id = None, |d| d.trace_id.is_some()),
        (
            |d| d.parent_id = Some("x".into()),
            |d| d.parent_id.is_none(),
        ),
        (|d| d.start_time = None, |d| d.start_time.is_some()),
        (|d| d.end_time = Some(f64::NAN), |d| d.end_time.is_some()),
        (|d| d.end_time = None, |d| d.end_time.is_some()),
        (
            |d| d.in_progress = true,
            |d| d.in_progress && d.end_time.is_none(),
        ),
        (
            |d| d.namespace = Some("aws".into()),
            |d| d.namespace.is_none(),
        ),
        (|d| d.traced = true, |d| !d.traced),
        (|d| d.sql = Some(Default::default()), |d| d.sql.is_none()),
        (
            |d| d.precursor_ids = vec!["53995c3f42cd8ad8".into()],
            |d| d.precursor_ids.is_empty(),
        ),
        (
            |d| d.user = Some("é".repeat(300)),
            |d| d.user.as_ref().unwrap().chars().count() == 250,
        ),
        (
            |d| put(&mut d.service, "version", 7.into()),
            |d| d.service["version"] == "7",
        ),
        (
            |d| put(&mut d.service, "version", Value::Null),
            |d| d.service.is_empty(),
        ),
        (
            |d| d.links = vec![Default::default()],
            |d| d.links.is_empty(),
        ),
        (
            |d| put(&mut d.annotations, "a-b", 1.into()),
            |d| d.annotations["a_b"] == 1,
        ),
        (
            |d| put(&mut d.annotations, "a", Value::Null),
            |d| d.annotations.is_empty(),
        ),
        (
            |d| put(&mut d.annotations, "a", vec![1].into()),
            |d| d.annotations.is_empty(),
        ),
        (
            |d| put(&mut d.annotations, "a", "x".repeat(1_001).into()),
            |d| d.annotations["a"].as_str().unwrap().ends_with("x…"),
        ),
        (
            |d| put(&mut d.metadata, "a", 1.into()),
            |d| d.metadata.is_empty(),
        ),
        (
            |d| put(&mut d.metadata, "a", json!({"b": deep(40)})),
            |d| d.metadata["a"]["b"] == "[trimmed: more than 32 levels]",
        ),
        (
            |d| put(&mut d.aws, "operation", 7.into()),
            |d| d.aws["operation"] == "7",
        ),
        (
            |d| put(&mut d.aws, "ecs", "a".into()),
            |d| !d.aws.contains_key("ecs"),
        ),
        (
            |d| put(&mut d.aws, "xray", 7.into()),
            |d| !d.aws.contains_key("xray"),
        ),
        (
            |d| put(&mut d.aws, "novel", json!([null, {"a": null}])),
            |d| d.aws["novel"] == json!([]),
        ),
        (
            |d| put(&mut d.other, "error", "yes".into()),
            |d| d.other.is_empty() && !d.error,
        ),
        (
            |d| put(&mut d.other, "novel", json!({"a": null, "b": 1})),
            |d| d.other["novel"] == json!({"b": 1}),
        ),
        (
            |d| d.cause = Some(Cause::Id("x".into())),
            |d| d.cause.is_none(),
        ),
        (
            |d| d.cause = from(json!({"exceptions": [{"message": "m"}]})),
            |d| d.cause.is_none(),
        ),
        (
            |d| d.cause = from(json!({"exceptions": [{"id": "53995c3f42cd8ad8", "cause": "x"}]})),
            |d| d.exceptions().len() == 1 && d.exceptions()[0].cause.is_none(),
        ),
        (
            |d| d.http = from(json!({"request": {}, "response": {}})),
            |d| d.http.is_none(),
        ),
        (
            |d| d.http = from(json!({"response": {"novel": 1}})),
            |d| d.http.is_some(),
        ),
        (|d| d.kind = Some("subsegment".into()), |d| d.kind.is_none()),
        (
            |d| d.subsegments[0].id.clear(),
            |d| d.subsegments.is_empty(),
        ),
        (
            |d| d.subsegments[0].id = d.id.clone(),
            |d| d.subsegments.is_empty(),
        ),
        (
            |d| d.subsegments[0].start_time = None,
            |d| d.subsegments[0].start_time == d.start_time,
        ),
        (
            |d| d.subsegments[0].user = Some("ann".into()),
            |d| d.subsegments[0].user.is_none(),
        ),
        (
            |d| d.subsegments[0].namespace = Some("x".into()),
            |d| d.subsegments[0].namespace.is_none(),
        ),
    ];
    for (at, (change, is_sent)) in changes.into_iter().enumerate() {
        let (recorder, capture) = hooked(64_000, move |document| {
            change(document);
            Keep::Send
        });
        let segment = recorder.begin_segment("shop");
        segment.begin_subsegment("call").close();
        segment.close();
        let json = capture.json().concat();
        common::accepted(&json);
        let documents = capture.documents();
        assert!(is_sent(&documents[0]), "{at}: {documents:?}");
        balance(&recorder);
    }
}

#[test]
fn a_hook_cannot_make_a_subsegments_url_invalid() {
    let (recorder, capture) = hooked(64_000, |document| {
        let call = &mut document.subsegments[0];
        call.sql = from(json!({"url": "db", "user": "ann"}));
        call.precursor_ids = vec!["x".into(), "53995c3f42cd8ad8".into()];
        put(&mut call.aws, "retries", "2".into());
        // One that a hook adds is a subsegment like any other.
        let mut added = Document::default();
        added.id = "53995c3f42cd8ad8".into();
        added.kind = Some("segment".into());
        added.trace_id = Some("x".into());
        call.subsegments.push(added);
        Keep::Send
    });
    let segment = recorder.begin_segment("shop");
    segment.begin_subsegment("call").close();
    segment.close();
    common::accepted(&capture.json().concat());
    let documents = capture.documents();
    let call = &documents[0].subsegments[0];
    let sql = call.sql.as_ref().unwrap();
    assert_eq!((sql.url.as_ref(), sql.user.as_deref()), (None, Some("ann")));
    assert_eq!(call.precursor_ids, ["53995c3f42cd8ad8"]);
    assert_eq!(call.aws["retries"], 2);
    let added = &call.subsegments[0];
    assert_eq!((added.name.as_str(), added.end_time), ("_", call.end_time));
    // URL, precursor, and of the one that was added name and times.
    assert_eq!(recorder.events().trimmed, 4);
}

fn put(members: &mut serde_json::Map<String, Value>, key: &str, value: Value) {
    members.insert(key.to_owned(), value);
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    Some(serde_json::from_value(value).unwrap())
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| json!([inner]))
}

/// Sent inline, a document of a hook's own would wait for the one it came from.
#[test]
fn a_hook_that_does_nothing_loses_no_raw_json() {
    for raw in ["1e999", r#""\ud800""#] {
        let (recorder, capture) = hooked(64_000, |_| Keep::Send);
        let segment = recorder.begin_segment("shop");
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(raw).unwrap();
        segment.metadata("raw", raw);
        segment.close();
        let document = &capture.documents()[0];
        let written = document.metadata["default"]["raw"].as_str().unwrap();
        assert!(written.starts_with("[not serialisable: "), "{written}");
        assert_eq!(recorder.events().trimmed, 1);
        balance(&recorder);
    }
}

#[test]
fn what_a_hook_does_is_not_traced() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let recorder = Recorder::builder("shop")
            .ignore_environment()
            .sampler(Always)
            .send_inline()
            .hook(|_| {
                xray_core::current().in_subsegment("in a hook", |_| ());
                Keep::Send
            })
            .build()
            .expect("nothing in it can fail");
        let segment = recorder.begin_segment("shop");
        let here = segment.clone();
        here.run(|| segment.close());
        tell.send((recorder.documents(), recorder.entities()))
    });
    let told = told.recv_timeout(std::time::Duration::from_secs(10));
    let (documents, entities) = told.expect("the hook waits for itself");
    assert_eq!((documents.created, documents.queued), (1, 0));
    assert_eq!((entities.begun, entities.unsampled), (2, 1));
}
