//! A trace packed to any limit.

use std::collections::BTreeMap;

use serde_json::Value;
use xray_core::document::Document;
use xray_core::{Class, Entity, ExceptionReport, Loss, Sql, Subsegment};

use super::bytes::Bytes;
use super::tree::{Pieces, joined, settled, written};
use crate::balance;

/// A tree of any shape and size under any limit leaves in documents that keep
/// to it, and that join to the same tree; what was left out is marked where it
/// stood and counted, and a whole entity is missing only where it is counted.
pub fn split_rejoin(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let limit = MIN_LIMIT + bytes.below(MAX_LIMIT - MIN_LIMIT + 1);
    let pieces = Pieces::default();
    let Ok(recorder) = settled(pieces.clone()).0.build() else {
        return; // no setting in use can be wrong
    };
    let segment = recorder.begin_segment("root");
    let mut entities = vec![Entity::clone(&segment)];
    let mut open: Vec<Subsegment> = Vec::new();
    let mut parents = BTreeMap::new();
    let mut given = BTreeMap::new();
    parents.insert(id(&segment), (None, "root".to_owned()));
    while !bytes.is_empty() && entities.len() < 100 {
        let parent = &entities[bytes.below(entities.len())];
        let shape = bytes.byte();
        let name = "né東".repeat(1 + usize::from(shape & 31));
        let child = parent.begin_subsegment(&name);
        let name: String = name.chars().take(200).collect();
        parents.insert(id(&child), (Some(id(parent)), name));
        if shape & 32 != 0 {
            given.insert(id(&child), fill(&child, &mut bytes));
        }
        entities.push(Entity::clone(&child));
        if shape & 64 != 0 {
            open.push(child);
        }
    }
    let late = open.split_off(open.len() / 2);
    drop(open);
    segment.close();
    drop((late, entities));
    let sent: Vec<Document> = pieces
        .take()
        .into_iter()
        .flat_map(|piece| written(piece, limit))
        .collect();
    balance(&recorder);
    let (documents, events) = (recorder.documents(), recorder.events());
    assert_eq!(documents.sent, sent.len() as u64);
    assert!(documents.lost.keys().all(|why| *why == Loss::TooLarge));
    let tree = joined(sent);
    let entities = recorder.entities();
    let dropped = entities.dropped.get(&Loss::TooLarge).copied().unwrap_or(0);
    assert_eq!(entities.written, tree.len() as u64);
    assert_eq!(entities.written + dropped, parents.len() as u64);
    let mut marks = 0;
    for (id, (parent, document)) in &tree {
        assert_eq!(
            parents.get(id),
            Some(&(parent.clone(), document.name.clone()))
        );
        marks += marks_in(document, given.get(id).copied().unwrap_or_default());
    }
    assert_eq!(events.trimmed, marks);
}

const MIN_LIMIT: usize = 1_024;
/// Larger than any limit that can be set, since an emitter chooses its own.
const MAX_LIMIT: usize = 65_507;

fn id(entity: &Entity) -> String {
    entity.id().map(|id| id.to_string()).unwrap_or_default()
}

/// What an entity was given that leaves no mark where it is left out.
#[derive(Clone, Copy, Default)]
struct Given {
    frames: usize,
    metadata: usize,
    aws: usize,
}

/// Texts of any length, of which none looks like one that was cut.
fn fill(child: &Entity, bytes: &mut Bytes<'_>) -> Given {
    let what = bytes.byte();
    let mut given = Given::default();
    for at in 0..what & 3 {
        let text = "t\"é".repeat(bytes.below(251));
        child.annotate(&format!("k{at}"), text);
    }
    for at in 0..what >> 2 & 3 {
        let text = "m\u{1}".repeat(size(bytes, 9_000));
        child.metadata(&format!("k{at}"), text);
        given.metadata += 1;
    }
    if what & 16 != 0 {
        child.sql(&Sql::new().sanitized_query(&"q".repeat(size(bytes, 16_000))));
    }
    if what & 32 != 0 {
        let message = "e".repeat(size(bytes, 4_000));
        let count = bytes.below(51);
        let mut report = ExceptionReport::new("Error", &message);
        for line in 0..count {
            report = report.frame("src/a_rather_long_path/file.rs", line as u32, "function");
        }
        child.report_exception(&report, Class::Fault);
        given.frames = count;
    }
    if what & 64 != 0 {
        child.aws("resource_names", vec!["n".repeat(100); bytes.below(99)]);
        given.aws = 1;
    }
    given
}

/// Mostly small: what is large takes the fuzzer's time.
fn size(bytes: &mut Bytes<'_>, end: usize) -> usize {
    let large = bytes.byte() & 7 == 7;
    bytes.below(if large { end } else { 300 })
}

/// How many values a document says were shortened or left out.
fn marks_in(document: &Document, given: Given) -> u64 {
    let no_stack = |stack: &[_]| stack.is_empty() && given.frames > 0;
    let exceptions = document.exceptions().iter();
    let stacks = exceptions.filter(|exception| no_stack(&exception.stack));
    let mut marks = stacks.count() as u64;
    let metadata = document.metadata.get("default").and_then(Value::as_object);
    marks += (given.metadata - metadata.map_or(0, serde_json::Map::len)) as u64;
    marks += given.aws as u64 - u64::from(document.aws.contains_key("resource_names"));
    let mut ahead = vec![serde_json::to_value(document).unwrap_or_default()];
    while let Some(value) = ahead.pop() {
        match value {
            Value::Array(items) => ahead.extend(items),
            Value::Object(members) => ahead.extend(members.into_iter().map(|(_, value)| value)),
            Value::String(text) => {
                marks += u64::from(text.ends_with('…') || text.starts_with("[trimmed: "));
            }
            _ => {}
        }
    }
    marks
}
