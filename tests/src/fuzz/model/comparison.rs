//! What left, held against the model.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use xray_core::Loss;

use super::super::tree::strictly;
use super::members::{MARK, TRIMS, Trims};
use super::operations::HookKind;
use super::outside::{EDITED, Left, Part};
use super::trace::{Model, Phase, Shown};
use super::words::MARKS;

/// The ids that documents gave to the model's exceptions.
#[derive(Debug, Default)]
pub(super) struct Exceptions(BTreeMap<u64, String>);

impl Exceptions {
    /// Whether an exception has this id; the first one that is seen is it.
    fn is(&mut self, number: Option<u64>, id: Option<&str>) -> bool {
        let (Some(number), Some(id)) = (number, id) else {
            return false;
        };
        self.0.entry(number).or_insert_with(|| id.to_owned()) == id
    }
}

/// One entity of a document.
#[derive(Debug)]
pub(super) struct Found {
    id: String,
    parent_id: Option<String>,
    members: Map<String, Value>,
}

/// Takes a document apart: each entity without those below it, and without what
/// stands in the outermost alone. The trace comes first.
#[track_caller]
pub(super) fn apart(document: Value) -> (String, Vec<Found>) {
    let Value::Object(mut outermost) = document else {
        panic_at("no object", &document)
    };
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    let trace_id = text(outermost.remove("trace_id")).unwrap_or_default();
    let kind = text(outermost.remove("type"));
    let parent_id = text(outermost.remove("parent_id"));
    assert!(
        kind.as_deref() == Some("subsegment") || outermost.contains_key("aws"),
        "{outermost:?}"
    );
    let mut found = Vec::new();
    let mut ahead = vec![(parent_id, outermost)];
    while let Some((parent_id, mut members)) = ahead.pop() {
        let id = text(members.get("id").cloned()).unwrap_or_default();
        if let Some(Value::Array(below)) = members.remove("subsegments") {
            for child in below {
                match child {
                    Value::Object(child) => ahead.push((Some(id.clone()), child)),
                    other => panic_at("no object", &other),
                }
            }
        }
        found.push(Found {
            id,
            parent_id,
            members,
        });
    }
    (trace_id, found)
}

#[track_caller]
#[expect(clippy::panic, reason = "a broken promise ends the run")]
fn panic_at(why: &str, what: &dyn std::fmt::Debug) -> ! {
    panic!("{why}: {what:?}")
}

/// Takes note of what left: it may leave, it says what the model says, and each
/// entity is finished once.
#[track_caller]
pub(super) fn absorb(model: &mut Model, exceptions: &mut Exceptions, left: Left) {
    match left {
        Left::Document(json, verdict) => {
            match verdict {
                Ok(()) => model.books.sent += 1,
                Err(why) => model.books.lose_document(why),
            }
            // It takes longer than all the rest.
            if json.len().is_multiple_of(8) {
                strictly(&json);
            }
            let document = serde_json::from_slice(&json).unwrap_or_default();
            document_left(model, exceptions, document, verdict);
        }
        Left::Hooked(parts, why) => {
            model.books.lose_document(why);
            let places = places(model, &parts);
            for at in places {
                let trims = model.members(at).1;
                count_trims(model, trims);
            }
            lose(model, &parts, why);
        }
        Left::Taken(parts) => {
            if is_finished(&parts) {
                model.books.queued += 1;
            }
            for (at, (_, in_progress)) in places(model, &parts).into_iter().zip(&parts) {
                if !in_progress {
                    leaves(model, at);
                    model.entities[at].phase = Phase::Taken;
                }
            }
        }
        Left::Drained(parts) => {
            if is_finished(&parts) {
                model.books.queued -= 1;
            }
        }
        Left::Discarded(parts) => {
            model.books.lose_document(Loss::Discarded);
            if is_finished(&parts) {
                model.books.queued -= 1;
            }
            lose(model, &parts, Loss::Discarded);
        }
    }
}

fn is_finished(parts: &[Part]) -> bool {
    parts.iter().all(|(_, in_progress)| !in_progress)
}

#[track_caller]
fn places(model: &Model, parts: &[Part]) -> Vec<usize> {
    parts.iter().map(|(id, _)| place(model, id)).collect()
}

#[track_caller]
fn place(model: &Model, id: &str) -> usize {
    match model.places.get(id) {
        Some(at) => *at,
        None => panic_at("never begun", &id),
    }
}

/// Books the entities of a document that is lost.
#[track_caller]
fn lose(model: &mut Model, parts: &[Part], why: Loss) {
    for (at, (_, in_progress)) in places(model, parts).into_iter().zip(parts) {
        if *in_progress {
            model.entities[at].shown = Shown::Yes;
        } else {
            leaves(model, at);
            model.entities[at].phase = Phase::Gone;
            model.books.drop_entity(why);
        }
    }
}

/// Fails unless it is closed, has not left before, and may leave now.
#[track_caller]
fn leaves(model: &Model, at: usize) {
    let entity = &model.entities[at];
    assert!(
        matches!(entity.phase, Phase::Closed | Phase::Taken),
        "it leaves though it is {:?}: {entity:?}",
        entity.phase
    );
    assert!(
        entity.phase == Phase::Taken || model.may_leave(at),
        "it leaves too early: {entity:?}"
    );
}

#[track_caller]
fn document_left(
    model: &mut Model,
    exceptions: &mut Exceptions,
    document: Value,
    verdict: Result<(), Loss>,
) {
    let (trace_id, mut found) = apart(document);
    if model.settings.hook == HookKind::Edits {
        let edited = take_edit(&mut found[0].members);
        assert_eq!(edited, Some(true.into()), "{:?}", found[0]);
    }
    for found in found {
        let at = place(model, &found.id);
        let entity = &model.entities[at];
        assert_eq!(trace_id, model.traces[entity.trace].id);
        assert_eq!(found.parent_id, entity.parent_id, "{found:?}");
        let trims = if found.members.contains_key("in_progress") {
            shown(model, exceptions, at, found)
        } else {
            leaves(model, at);
            let (members, trims) = model.members(at);
            model.entities[at].phase = Phase::Gone;
            match verdict {
                Ok(()) => model.books.written += 1,
                Err(why) => model.books.drop_entity(why),
            }
            agrees(model, exceptions, (members, trims), found)
        };
        count_trims(model, trims);
    }
}

fn count_trims(model: &mut Model, trims: Trims) {
    model.books.trimmed.0 += trims.0;
    model.books.trimmed.1 += trims.1;
}

/// A document in progress: it is open still, and was to be shown like this.
#[track_caller]
fn shown(model: &mut Model, exceptions: &mut Exceptions, at: usize, found: Found) -> Trims {
    let entity = &mut model.entities[at];
    assert_eq!(entity.phase, Phase::Open, "its end left before: {entity:?}");
    match std::mem::replace(&mut entity.shown, Shown::Yes) {
        Shown::Due(members) => agrees(model, exceptions, *members, found),
        other => panic_at("it was not to be shown", &(other, found)),
    }
}

fn take_edit(members: &mut Map<String, Value>) -> Option<Value> {
    let annotations = members.get_mut("annotations")?.as_object_mut()?;
    let edited = annotations.remove(EDITED);
    if annotations.is_empty() {
        members.remove("annotations");
    }
    edited
}

/// Fails unless an entity says what the model says; what is too large for a
/// document may be trimmed.
#[track_caller]
pub(super) fn agrees(
    model: &Model,
    exceptions: &mut Exceptions,
    (expected, trims): (Map<String, Value>, Trims),
    found: Found,
) -> Trims {
    let expected = Value::Object(expected);
    let actual = Value::Object(found.members);
    if same(exceptions, "", &expected, &actual, false) {
        return trims;
    }
    let is_large =
        trims.1 >= TRIMS || expected.to_string().len() + 1_000 > model.settings.document_limit;
    assert!(
        is_large && same(exceptions, "", &expected, &actual, true),
        "expected {expected:#}\nfound {actual:#}"
    );
    Trims(trims.0, trims.1 + TRIMS)
}

/// Whether two values are the same. With `trims` the second may be shortened.
fn same(
    exceptions: &mut Exceptions,
    key: &str,
    expected: &Value,
    actual: &Value,
    trims: bool,
) -> bool {
    match (expected, actual) {
        (Value::String(expected), Value::String(actual)) if expected == MARK => is_mark(actual),
        (Value::Number(number), Value::String(id)) if matches!(key, "id" | "cause") => {
            exceptions.is(number.as_u64(), Some(id))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            let known = actual.keys().all(|key| {
                expected.contains_key(key) || (key == "line" || (trims && key == "truncated"))
            });
            known
                && expected
                    .iter()
                    .all(|(key, expected)| match actual.get(key) {
                        Some(actual) => same(exceptions, key, expected, actual, trims),
                        None => trims,
                    })
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let mut pairs = expected.iter().zip(actual);
            (expected.len() == actual.len() || trims)
                && pairs.all(|(expected, actual)| same(exceptions, "", expected, actual, trims))
        }
        (_, Value::String(actual)) if trims => {
            expected == actual || actual.ends_with('…') || is_mark(actual)
        }
        _ => expected == actual,
    }
}

fn is_mark(text: &str) -> bool {
    MARKS.iter().any(|mark| text.starts_with(mark))
}

/// Fails unless a snapshot holds all that is open as it is, and of what is
/// closed only what has not left.
#[track_caller]
pub(super) fn snapshot(model: &Model, exceptions: &mut Exceptions, documents: Vec<Value>) {
    let mut open = Vec::new();
    for document in documents {
        let (trace_id, found) = apart(document);
        for found in found {
            let at = place(model, &found.id);
            let entity = &model.entities[at];
            assert_eq!(trace_id, model.traces[entity.trace].id);
            assert_eq!(found.parent_id, entity.parent_id, "{found:?}");
            if found.members.contains_key("in_progress") {
                open.push(at);
            } else {
                assert_eq!(entity.phase, Phase::Closed, "{entity:?}");
            }
            agrees(model, exceptions, model.members(at), found);
        }
    }
    open.sort_unstable();
    assert_eq!(open, model.open(None), "open in a snapshot");
}
