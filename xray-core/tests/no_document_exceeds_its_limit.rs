//! Every document keeps to its limit, whatever is recorded; what was left out
//! is marked where it stood and counted.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use common::{Pieces, balance, builder, rejoin, written};
use proptest::prelude::*;
use serde_json::Value;
use xray_core::{Class, Entity, ExceptionReport, Loss, Recorder, Sql, Subsegment};

/// Members that stand in an outermost object only may take this much; whatever
/// fits beside them is never trimmed.
const PLACE: usize = 100;

/// Records one segment and returns its only document, by the bytes it takes.
fn one(limit: usize, record: impl FnOnce(&Entity)) -> (Recorder, Option<Value>, usize) {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("boundary");
    record(&segment);
    segment.close();
    let mut texts = Vec::new();
    for piece in pieces.take() {
        piece.send_documents(limit, |json| {
            texts.push(json.to_vec());
            Ok(())
        });
    }
    assert!(texts.len() <= 1);
    let text = texts.pop().unwrap_or_default();
    let bytes = text.len();
    assert!(bytes <= limit, "{bytes} bytes exceed {limit}");
    let document = (bytes > 0).then(|| serde_json::from_slice(&text).unwrap());
    balance(&recorder);
    (recorder, document, bytes)
}

#[test]
fn metadata_from_nothing_to_ten_megabytes() {
    let mut sizes: Vec<usize> = (0..24).map(|power| 1 << power).collect();
    sizes.extend([10_000_000, 60_000, 63_000, 65_474, 65_475]);
    for limit in [64_000, 65_474] {
        for &size in &sizes {
            let value = "x".repeat(size);
            let (recorder, document, _) = one(limit, |segment| segment.metadata("m", &value));
            let found = document.unwrap()["metadata"]["default"]["m"].clone();
            let fits = size + 600 < limit;
            if fits {
                assert_eq!(found, value.as_str(), "{size}");
            } else if size + 2 > 65_474 {
                assert_eq!(found, "[trimmed: more than 64 kB]", "{size}");
            } else if size + 2 >= limit {
                assert_eq!(found, format!("[trimmed: {} bytes]", size + 2), "{size}");
            }
            let trimmed = u64::from(found != value.as_str());
            assert_eq!(recorder.events().trimmed, trimmed, "{size}");
            assert_eq!(recorder.entities().written, 1);
        }
    }
}

/// A long query used to end without a mark, and nothing was counted.
#[test]
fn a_text_cut_when_it_was_stored_is_marked_and_counted() {
    for (over, trimmed) in [(0, 0), (1, 3)] {
        let text = |bytes| "x".repeat(bytes + over);
        let (query, kind, message) = (text(16 << 10), text(250), text(4_096));
        let (recorder, document, _) = one(64_000, |segment| {
            let call = segment.begin_subsegment("call");
            call.sql(&Sql::new().sanitized_query(&query));
            call.record_exception(&kind, &message, Class::Fault);
        });
        let document = &document.unwrap()["subsegments"][0];
        let exception = &document["cause"]["exceptions"][0];
        for (found, given) in [
            (&document["sql"]["sanitized_query"], query),
            (&exception["type"], kind),
            (&exception["message"], message),
        ] {
            let mark = if over > 0 { "…" } else { "" };
            assert_eq!(found, &format!("{}{mark}", &given[over..]));
        }
        assert_eq!(recorder.events().trimmed, trimmed);
    }
}

#[test]
fn every_size_about_the_limit() {
    for limit in [64_000, 65_474] {
        // What everything but the value takes.
        let (_, _, frame) = one(limit, |segment| segment.metadata("m", ""));
        let mut trims = 0;
        for size in 65_000 - 1_600..=66_000 {
            let value = "y".repeat(size - frame);
            let (recorder, document, bytes) = one(limit, |segment| segment.metadata("m", &value));
            let document = document.unwrap();
            let found = document["metadata"]["default"]["m"].as_str().unwrap();
            let trimmed = found != value;
            if size + PLACE <= limit {
                assert!(!trimmed, "{size} of {limit}");
                assert_eq!(bytes, size);
            } else if size > limit {
                assert!(trimmed, "{size} of {limit}");
            }
            if value.len() + 2 > 65_474 {
                assert_eq!(found, "[trimmed: more than 64 kB]");
            } else if trimmed {
                assert_eq!(found, format!("[trimmed: {} bytes]", value.len() + 2));
            }
            assert_eq!(recorder.events().trimmed, u64::from(trimmed));
            assert_eq!(recorder.documents().sent, 1);
            trims += u64::from(trimmed);
        }
        assert!(trims > 500, "{trims}");
    }
}

#[test]
fn every_size_of_annotations_and_names_about_the_limit() {
    for limit in [64_000, 65_474] {
        for size in (limit - 700..limit + 700).step_by(3) {
            // 50 texts of 1,000 characters and keys that make up the rest.
            let rest = size - 56_000;
            let (recorder, document, bytes) = one(limit, |segment| {
                segment.set_name(&"n".repeat(200));
                for at in 0..50 {
                    let long = rest / 50 + usize::from(at < rest % 50);
                    segment.annotate(&format!("{at:0long$}"), "v".repeat(1_000));
                }
            });
            let document = document.unwrap();
            assert_eq!(document["name"].as_str().unwrap().len(), 200);
            assert_eq!(document["annotations"].as_object().unwrap().len(), 50);
            let cut = bytes < 50_000;
            assert_eq!(
                recorder.events().trimmed,
                if cut { 50 } else { 0 },
                "{size}"
            );
            for text in document["annotations"].as_object().unwrap().values() {
                let text = text.as_str().unwrap();
                assert_eq!(text.ends_with('…'), cut);
            }
        }
    }
}

#[test]
fn what_was_trimmed_when_it_was_recorded_is_not_trimmed_again() {
    let (recorder, document, _) = one(64_000, |segment| {
        segment.metadata("large", "m".repeat(70_000));
        segment.metadata("small", 7);
        for at in 0..50 {
            segment.annotate(&format!("{at:0400}"), "v".repeat(1_000));
        }
    });
    let document = document.unwrap();
    let metadata = &document["metadata"]["default"];
    assert_eq!(metadata["large"], "[trimmed: more than 64 kB]");
    assert_eq!(metadata["small"], 7);
    assert_eq!(recorder.events().trimmed, 51);
}

#[test]
fn no_more_is_trimmed_than_it_takes() {
    let large = "z".repeat(40_000);
    let (recorder, document, _) = one(64_000, |segment| {
        segment.metadata("small", "stays");
        for key in ["a", "b"] {
            segment.metadata(key, &large);
        }
        segment.annotate("text", "t".repeat(900));
    });
    let document = document.unwrap();
    assert_eq!(document["metadata"]["default"]["small"], "stays");
    assert_eq!(document["annotations"]["text"].as_str().unwrap().len(), 900);
    for key in ["a", "b"] {
        assert_eq!(
            document["metadata"]["default"][key],
            "[trimmed: 40002 bytes]"
        );
    }
    assert_eq!(recorder.events().trimmed, 2);
}

#[test]
fn a_text_cut_short_is_marked_and_counted() {
    for c in ["a", "é", "東", "𝒳"] {
        for (length, limit) in [(250, 250), (251, 250), (5_000, 250)] {
            let (recorder, document, _) =
                one(65_474, |segment| segment.set_user(&c.repeat(length)));
            let user = document.unwrap()["user"].as_str().unwrap().to_owned();
            assert_eq!(user.chars().count(), limit, "{c}");
            assert_eq!(user.ends_with('…'), length > limit, "{c} {length}");
            assert_eq!(recorder.events().trimmed, u64::from(length > limit));
        }
        for length in [1_000, 1_001, 5_000] {
            let text = c.repeat(length);
            let (recorder, document, _) = one(65_474, |segment| segment.annotate("k", &text));
            let text = document.unwrap()["annotations"]["k"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!(text.chars().count(), 1_000, "{c}");
            assert_eq!(text.ends_with('…'), length > 1_000, "{c} {length}");
            assert_eq!(recorder.events().trimmed, u64::from(length > 1_000));
        }
    }
}

#[test]
fn what_cannot_be_trimmed_is_dropped_and_counted() {
    let (recorder, document, _) = one(1_024, |segment| {
        for at in 0..50 {
            segment.annotate(&format!("{at:0500}"), at);
        }
    });
    assert_eq!(document, None);
    assert_eq!(recorder.documents().lost[&Loss::TooLarge], 1);
    assert_eq!(recorder.entities().dropped[&Loss::TooLarge], 1);
}

/// One record holds 64 MiB of text; what comes on top is left out whole.
#[test]
fn a_record_that_is_full_stays_readable() {
    for room in [0, 5, 11, 12] {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).build().unwrap();
        let segment = recorder.begin_segment("s");
        let child = segment.begin_subsegment("c");
        let mut left = (64 << 20) - 2;
        while left > room {
            let long = 60_000.min(left - room);
            let long = if (1..=2).contains(&(left - room - long)) {
                long - 3
            } else {
                long
            };
            if long <= 8 {
                segment.set_name(&"n".repeat(long));
                left -= long;
                continue;
            }
            // Quotes, namespace `default` and key `k` come with it.
            child.metadata("k", "m".repeat(long - 10.min(long)));
            left -= (long - 10.min(long)) + 10;
        }
        child.metadata_in("a namespace", "key", 1);
        child.annotate("key", "text");
        drop((child, segment));
        for piece in pieces.take() {
            assert!(!piece.to_documents().is_empty());
            assert!(!rejoin(written(piece, 64_000)).is_empty());
        }
        balance(&recorder);
    }
}

#[derive(Debug, Clone)]
struct Planned {
    parent: usize,
    name: String,
    text: usize,
    metadata: usize,
    closes_first: bool,
}

fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let one = (
        any::<usize>(),
        "[a-zé東 ]{1,30}",
        0usize..1_200,
        0usize..3_000,
        any::<bool>(),
    )
        .prop_map(|(parent, name, text, metadata, closes_first)| Planned {
            parent,
            name,
            text: if text > 300 { 0 } else { text },
            metadata: if metadata > 1_500 { 0 } else { metadata },
            closes_first,
        });
    prop::collection::vec(one, 0..40)
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: ProptestConfig::default().cases.max(10_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_tree_under_any_limit(
        plan in planned(),
        limit in prop_oneof![1_024usize..4_000, 1_024usize..=65_474],
    ) {
        let pieces = Pieces::default();
        let recorder = builder(pieces.clone()).build().unwrap();
        let segment = recorder.begin_segment("root");
        let mut entities = vec![Entity::clone(&segment)];
        let mut open: Vec<Subsegment> = Vec::new();
        let mut parents = std::collections::BTreeMap::new();
        for node in &plan {
            let parent = &entities[node.parent % entities.len()];
            let child = parent.begin_subsegment(&node.name);
            parents.insert(child.id().unwrap().to_string(), parent.id().unwrap().to_string());
            child.annotate("t", "t".repeat(node.text));
            child.metadata("m", "m".repeat(node.metadata));
            entities.push(Entity::clone(&child));
            if !node.closes_first {
                open.push(child);
            }
        }
        let late = open.split_off(open.len() / 2);
        drop(open);
        segment.close();
        drop(late);
        drop(entities);
        let all = plan.len() as u64 + 1;
        prop_assert_eq!(recorder.entities().begun, all);
        let mut documents = Vec::new();
        for piece in pieces.take() {
            documents.append(&mut written(piece, limit));
        }
        let count = documents.len() as u64;
        prop_assert_eq!(recorder.documents().sent, count);
        prop_assert_eq!(recorder.documents().created, count);
        prop_assert_eq!(recorder.entities().written, all);
        let tree = rejoin(documents);
        prop_assert_eq!(tree.len() as u64, all);
        let mut trimmed = 0;
        for (id, joined) in &tree {
            prop_assert_eq!(joined.parent.as_ref(), parents.get(id));
            let text = |outer: &str, inner: &str| {
                let within = joined.own.get(outer).map(|value| &value[inner]);
                within.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let metadata = joined.own.get("metadata").map_or(String::new(), |m| {
                m["default"]["m"].as_str().unwrap_or_default().to_owned()
            });
            trimmed += u64::from(text("annotations", "t").ends_with('…'));
            trimmed += u64::from(metadata.starts_with("[trimmed"));
        }
        prop_assert_eq!(recorder.events().trimmed, trimmed);
        balance(&recorder);
    }
}

/// The queue is bounded by what its pieces are estimated to take.
#[test]
fn the_estimate_knows_how_large_an_exception_is() {
    let pieces = Pieces::default();
    let recorder = builder(pieces.clone()).build().unwrap();
    let segment = recorder.begin_segment("shop");
    let text = "t".repeat(250);
    let report = (0..50).fold(ExceptionReport::new("Error", &text), |report, line| {
        report.frame(&text, line, &text)
    });
    segment.report_exception(&report, Class::Fault);
    segment.close();
    for piece in pieces.take() {
        let estimated = piece.estimated_bytes();
        let bytes = written(piece, 64_000)[0].to_string().len();
        assert!(
            (bytes * 9 / 10..bytes * 11 / 10).contains(&estimated),
            "{estimated} for {bytes}"
        );
    }
    balance(&recorder);
}
