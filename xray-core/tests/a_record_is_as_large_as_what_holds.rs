//! A value that is written again takes the place of the one before: in the
//! document, in memory, in the queue, and where finished parts are to leave.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::{Pieces, accepted, balance, builder};
use serde_json::json;
use xray_core::document::Document;
use xray_core::{Capture, Entity, HttpRequest, HttpResponse, Pace, Recorder, Sql, Tally};

const LONG: Duration = Duration::from_secs(20);

/// The estimated size of a segment that is closed once written to.
fn size(write: impl Fn(&Entity)) -> usize {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    write(&segment);
    segment.close();
    let [piece] = <[_; 1]>::try_from(pieces.take()).unwrap();
    piece.estimated_bytes()
}

/// The one document of a segment, and how many values were trimmed.
fn document(write: impl Fn(&Entity)) -> (Document, u64) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    write(&segment);
    segment.close();
    balance(&recorder);
    let trimmed = recorder.events().trimmed;
    (capture.documents().pop().unwrap(), trimmed)
}

#[test]
fn a_value_written_again_counts_once() {
    let state = "s".repeat(60_000);
    let once = size(|entity| entity.metadata("state", &state));
    let often = size(|entity| (0..600).for_each(|_| entity.metadata("state", &state)));
    assert_eq!(often, once);
    let once = size(|entity| entity.annotate("progress", 1));
    let often = size(|entity| (0..10_000).for_each(|at| entity.annotate("progress", at)));
    assert_eq!(often, once);
    let once = size(|entity| entity.set_name("last"));
    let often = size(|entity| {
        for name in ["a", "much longer", "last"] {
            entity.set_name(name);
        }
    });
    assert_eq!(often, once);
}

#[test]
fn a_value_that_went_leaves_its_place() {
    let (document, trimmed) = document(|entity| {
        for key in 0..17 {
            entity.metadata(&format!("full{key}"), "m".repeat(61_000));
        }
        let large = "l".repeat(60_000);
        for _ in 0..4_096 {
            entity.metadata("state", 1);
            entity.metadata("state", &large);
        }
        entity.annotate("last", 1);
    });
    assert_eq!(document.annotations["last"], 1);
    assert_eq!(trimmed, 4_096 + 17, "all that is large is too much for it");
}

#[test]
fn a_shorter_name_holds_in_a_full_record() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("a long name");
    let value = "m".repeat(60_000);
    let children: Vec<_> = (0..66).map(|_| segment.begin_subsegment("c")).collect();
    for child in &children {
        for key in 0..17 {
            child.metadata(&key.to_string(), &value);
        }
    }
    segment.set_name("b");
    segment.close();
    assert_eq!(capture.documents()[0].name, "b");
}

/// To a socket that nobody reads: all there is to see are the books.
fn sends() -> (UdpSocket, xray_core::RecorderBuilder) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let builder = Recorder::builder("test")
        .ignore_environment()
        .sampler(xray_core::Always)
        .pace(Pace::unlimited())
        .daemon_address(socket.local_addr().unwrap());
    (socket, builder)
}

#[test]
fn a_trace_that_rewrites_its_state_is_sent() {
    let (_socket, builder) = sends();
    let recorder = builder.build().unwrap();
    let segment = recorder.begin_segment("agent");
    let state = "s".repeat(60_000);
    for _ in 0..600 {
        segment.metadata("state", &state);
    }
    segment.close();
    assert!(recorder.flush(LONG).wait().is_complete());
    assert_eq!(recorder.documents().sent, 1, "{:?}", recorder.documents());
    balance(&recorder);
}

#[test]
fn an_empty_queue_takes_a_piece_of_any_size() {
    let (_socket, builder) = sends();
    let recorder = builder.queue_limits(64, 100_000).build().unwrap();
    let segment = recorder.begin_segment("large");
    for key in ["a", "b"] {
        segment
            .begin_subsegment("part")
            .metadata(key, "m".repeat(55_000));
    }
    segment.close();
    assert!(recorder.flush(LONG).wait().is_complete());
    assert_eq!(recorder.documents().lost, [].into());
    assert_eq!(recorder.entities().written, 3);
    balance(&recorder);
}

#[test]
fn a_queue_has_room_again_for_what_was_taken() {
    let (_socket, builder) = sends();
    let recorder = builder.queue_limits(64, 100_000).build().unwrap();
    for _ in 0..10 {
        for _ in 0..3 {
            let segment = recorder.begin_segment("small");
            segment.metadata("m", "m".repeat(30_000));
        }
        assert!(recorder.flush(LONG).wait().is_complete());
    }
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.lost), (30, [].into()));
}

#[test]
fn finished_children_leave_whatever_was_rewritten() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    for at in 0..20_000 {
        segment.annotate("progress", at);
    }
    for _ in 0..300 {
        segment.in_subsegment("part", |part| part.metadata("m", "m".repeat(1_000)));
    }
    assert!(capture.json().len() > 100, "{}", capture.json().len());
    segment.close();
    balance(&recorder);
}

#[test]
fn the_later_value_holds_however_often_it_was_written() {
    let (document, trimmed) = document(|entity| {
        let text = "t".repeat(4_000);
        for _ in 0..17_000 {
            entity.annotate("text", &text);
        }
        entity.annotate("text", "last");
        entity.begin_subsegment("has a name").close();
    });
    assert_eq!(document.annotations["text"], "last");
    assert_eq!(document.subsegments[0].name, "has a name");
    assert_eq!(trimmed, 0);
}

#[test]
fn only_what_holds_is_trimmed() {
    let (document, trimmed) = document(|entity| {
        entity.metadata("a", "a".repeat(60_000));
        entity.metadata("a", "a".repeat(1_000));
        entity.metadata("b", "b".repeat(30_000));
        for at in 0..50 {
            entity.metadata(&format!("c{at}"), "c".repeat(700));
        }
        entity.annotate("text", "t".repeat(300));
    });
    assert_eq!(trimmed, 1);
    let metadata = &document.metadata["default"];
    assert_eq!(metadata["b"], "[trimmed: 30002 bytes]");
    assert_eq!(metadata["a"], "a".repeat(1_000));
    assert_eq!(metadata["c49"], "c".repeat(700));
    assert_eq!(document.annotations["text"], "t".repeat(300));
}

#[test]
fn keys_are_compared_as_they_are_written() {
    let (document, trimmed) = document(|entity| {
        entity.annotate("llm-tokens", 1);
        entity.annotate("llm_tokens", 2);
        entity.annotate("é", 1);
        entity.annotate("_", 2);
        let long = "k".repeat(500);
        entity.annotate(&format!("{long}a"), 1);
        entity.annotate(&format!("{long}b"), 2);
        entity.tally("llm tokens", Tally::Sum(5.0));
        entity.tally("llm-tokens", Tally::Sum(7.0));
        entity.metadata_in("a", "bc", 1);
        entity.metadata_in("ab", "c", 2);
        entity.metadata_in("a", "bc", 3);
        entity.metadata_in("a", "b-c", 4);
    });
    let long = "k".repeat(500);
    let expected = json!({ "llm_tokens": 12, "_": 2, long: 2 });
    assert_eq!(json!(document.annotations), expected);
    let expected = json!({ "a": { "bc": 3, "b-c": 4 }, "ab": { "c": 2 } });
    assert_eq!(json!(document.metadata), expected);
    // Every value whose key was changed: two that are short, one of 501 bytes, one
    // tally.
    assert_eq!(trimmed, 4);
}

#[test]
fn what_a_document_has_once_is_replaced() {
    let write = |entity: &Entity, status: u16, text: &str| {
        entity.http_response(HttpResponse::new(status).content_length(u64::from(status)));
        entity.set_user(text);
        entity.set_origin(text);
        entity.set_service_version(text);
        entity.aws("region", text);
        entity.sql(&Sql::new().sanitized_query(text));
    };
    let once = size(|entity| write(entity, 200, "once"));
    let twice = size(|entity| {
        write(entity, 503, "a longer text");
        write(entity, 200, "once");
    });
    assert_eq!(twice, once);
    let (document, _) = document(|entity| {
        write(entity, 503, "a longer text");
        write(entity, 200, "once");
    });
    assert_eq!(document.http.unwrap().response.unwrap().status, Some(200));
    assert_eq!(document.user.as_deref(), Some("once"));
    assert_eq!(document.origin.as_deref(), Some("once"));
    assert_eq!(document.service["version"], "once");
    assert_eq!(document.aws["region"], "once");
}

#[test]
fn many_values_hold_their_latest_each() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    for round in 0..3 {
        for key in 0..1_000 {
            segment.annotate(&format!("key-{key}"), key + round);
        }
        // Parts that leave meanwhile take the record apart.
        for _ in 0..1_001 {
            segment.begin_subsegment("part").close();
        }
    }
    segment.close();
    let documents: Vec<Document> = capture.documents();
    let segment = documents.iter().find(|one| one.name == "shop").unwrap();
    assert_eq!(segment.annotations.len(), 1_000);
    for key in 0..1_000 {
        assert_eq!(segment.annotations[&format!("key_{key}")], key + 2);
    }
    capture.json().iter().for_each(|json| accepted(json));
    balance(&recorder);
}

fn with(write: impl Fn(&Entity)) -> (Capture, u64) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    write(&segment);
    segment.close();
    balance(&recorder);
    (capture, recorder.events().trimmed)
}

#[test]
fn an_entity_has_so_many_values_and_no_more() {
    let (capture, trimmed) = with(|entity| {
        for key in 0..5_000 {
            entity.annotate(&key.to_string(), 1);
        }
        // Those that are there are written anew all the same.
        entity.annotate("4095", 2);
        entity.annotate("4096", 2);
    });
    assert_eq!(trimmed, 5_000 - 4_096 + 1);
    let annotations = capture.documents().pop().unwrap().annotations;
    assert_eq!(annotations.len(), 4_096);
    assert_eq!(annotations["4095"], 2);
}

#[test]
fn an_entity_has_so_many_bytes_and_no_more() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    segment.metadata("grows", 1);
    for key in 0..30 {
        segment.metadata(&key.to_string(), "m".repeat(60_000));
    }
    // A value without room goes, as does the one it would replace.
    segment.metadata("grows", "g".repeat(60_000));
    segment.annotate("small", 1);
    segment.close();
    let [piece] = <[_; 1]>::try_from(pieces.take()).unwrap();
    assert!(piece.estimated_bytes() <= 1 << 20);
    let [document] = <[_; 1]>::try_from(piece.to_documents()).unwrap();
    let metadata = document.metadata["default"].as_object().unwrap();
    assert_eq!(metadata.len(), 17);
    assert!(!metadata.contains_key("grows"));
    assert_eq!(document.annotations["small"], 1);
    assert_eq!(recorder.events().trimmed, 13 + 1);
}

#[test]
fn a_metadata_key_that_is_cut_counts_once() {
    let (capture, trimmed) = with(|entity| {
        entity.metadata_in(&"n".repeat(300), &"k".repeat(3_000), 1);
        entity.metadata_in(&"n".repeat(400), &"k".repeat(4_000), 2);
    });
    let metadata = capture.documents().pop().unwrap().metadata;
    let expected = json!({ "n".repeat(200): { "k".repeat(2_000): 2 } });
    assert_eq!((json!(metadata), trimmed), (expected, 1));
}

/// What the first one had, and the second had not, used to stay.
#[test]
fn a_later_request_or_response_replaces_all() {
    let full = HttpRequest::new("GET", "https://shop.example/a");
    let full = full.user_agent("curl/8").forwarded_for("203.0.113.9");
    let bare = HttpRequest::new("PUT", "https://shop.example/b");
    let both = |entity: &Entity, request: &HttpRequest<'_>, response| {
        entity.http_request(request);
        entity.http_response(response);
    };
    let (answer, long) = (HttpResponse::new(200), HttpResponse::new(200));
    let long = long.content_length(7);
    let only = |request, response| document(|entity| both(entity, request, response)).0.http;
    for (request, response) in [(&bare, answer), (&full, long)] {
        let (last, trimmed) = document(|entity| {
            for _ in 0..4_200 {
                both(entity, &full, long);
                both(entity, &bare, answer);
            }
            both(entity, request, response);
        });
        assert_eq!(last.http, only(request, response));
        assert_eq!(trimmed, 0);
    }
    let request = only(&bare, answer).unwrap().request.unwrap();
    assert_eq!((request.user_agent, request.client_ip), (None, None));
}
