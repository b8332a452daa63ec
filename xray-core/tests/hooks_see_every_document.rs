//! Hooks look at finished documents, change them or keep them back.

mod common;

use std::collections::BTreeMap;

use common::balance;
use serde_json::Value;
use xray_core::document::Document;
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
    for (added, fits) in [(490, true), (2_000, false)] {
        let (recorder, capture) = hooked(4_000, move |document| {
            document.user = Some("u".repeat(added));
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

/// Sent inline, a document of a hook's own would wait for the one it came from.
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
