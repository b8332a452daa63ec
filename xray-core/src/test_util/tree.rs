//! Documents joined to trees, and trees as text.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use crate::document::Document;

/// Joins documents to trees by id: a subsegment that was sent on its own goes
/// below its parent, and a segment below the subsegment that called it, if that
/// is among them. What was shown in progress is replaced by its finished form.
///
/// Siblings stand in the order of their start, then of their arrival. Each
/// result is the outermost part of a trace.
///
/// ```
/// use xray_core::document::Document;
/// use xray_core::test_util::join;
///
/// let late = br#"{"id":"53995c3f42cd8ad8","name":"load","type":"subsegment",
///                 "parent_id":"70de5b6f19ff9a0a","start_time":2,"end_time":3}"#;
/// let segment = br#"{"id":"70de5b6f19ff9a0a","name":"shop","start_time":1,"end_time":4}"#;
/// let documents = [Document::from_json(late)?, Document::from_json(segment)?];
/// let trees = join(documents);
/// assert_eq!(trees.len(), 1);
/// assert_eq!(trees[0].subsegments[0].name, "load");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn join(documents: impl IntoIterator<Item = Document>) -> Vec<Document> {
    let mut parts = take_apart(documents);
    parts.sort_by(|left, right| {
        let start = |part: &Part| part.own.start_time.unwrap_or(f64::INFINITY);
        start(left).total_cmp(&start(right))
    });
    let places: HashMap<Key, usize> = parts.iter().map(Part::key).zip(0..).collect();
    let parents: Vec<Option<usize>> = parts
        .iter()
        .map(|part| {
            places
                .get(&(part.trace.clone(), part.parent.clone()?))
                .copied()
        })
        .collect();
    let mut children = vec![Vec::new(); parts.len()];
    let mut roots = Vec::new();
    for (place, parent) in parents.iter().enumerate() {
        match parent {
            Some(parent) => children[*parent].push(place),
            None => roots.push(place),
        }
    }
    // Parents before children, then built from behind. What goes round in
    // circles is reached from no root, and left out.
    let mut order = roots.clone();
    let mut at = 0;
    while let Some(&place) = order.get(at) {
        order.extend(&children[place]);
        at += 1;
    }
    let mut done: Vec<Option<Document>> = parts.into_iter().map(|part| Some(part.own)).collect();
    for place in order.into_iter().rev() {
        let below: Vec<_> = children[place]
            .iter()
            .filter_map(|&child| done[child].take())
            .collect();
        if let Some(own) = &mut done[place] {
            own.subsegments = below;
        }
    }
    roots
        .into_iter()
        .filter_map(|root| done[root].take())
        .collect()
}

/// One segment or subsegment without what is below it.
struct Part {
    trace: Option<String>,
    parent: Option<String>,
    own: Document,
}

/// An id counts within its trace.
type Key = (Option<String>, String);

impl Part {
    fn key(&self) -> Key {
        (self.trace.clone(), self.own.id.clone())
    }
}

fn take_apart(documents: impl IntoIterator<Item = Document>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    for document in documents {
        let (trace, parent) = (document.trace_id.clone(), document.parent_id.clone());
        let mut ahead = vec![(parent, document)];
        while let Some((parent, mut own)) = ahead.pop() {
            let below = std::mem::take(&mut own.subsegments).into_iter().rev();
            ahead.extend(below.map(|child| (Some(own.id.clone()), child)));
            let trace = trace.clone();
            let part = Part { trace, parent, own };
            match known.get(&part.key()).copied() {
                Some(place) if part.own.in_progress && !parts[place].own.in_progress => {}
                Some(place) => parts[place] = part,
                None => {
                    known.insert(part.key(), parts.len());
                    parts.push(part);
                }
            }
        }
    }
    parts
}

/// A segment stands on its own and says to be nothing else.
pub(super) fn is_segment(document: &Document) -> bool {
    document.trace_id.is_some() && !document.is_subsegment()
}

/// `segment "shop"`.
pub(super) fn title(document: &Document) -> String {
    let kind = if is_segment(document) {
        "segment"
    } else {
        "subsegment"
    };
    format!("{kind} {:?}", document.name)
}

/// Trees, a line for each part, indented.
pub(super) struct Shown<'a>(pub(super) &'a [Document]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ahead: Vec<_> = self.0.iter().rev().map(|root| (1, root)).collect();
        if ahead.is_empty() {
            return f.write_str("  nothing\n");
        }
        while let Some((depth, document)) = ahead.pop() {
            ahead.extend(
                document
                    .subsegments
                    .iter()
                    .rev()
                    .map(|child| (depth + 1, child)),
            );
            line(f, 2 * depth, document)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, indent: usize, document: &Document) -> fmt::Result {
    write!(f, "{:indent$}{}", "", title(document))?;
    if let Some(namespace) = &document.namespace {
        write!(f, " {namespace}")?;
    }
    let http = document.http.as_ref();
    if let Some(status) = http.and_then(|http| http.response.as_ref()?.status) {
        write!(f, " status {status}")?;
    }
    let flags = [
        (document.error, "error"),
        (document.throttle, "throttle"),
        (document.fault, "fault"),
        (document.in_progress, "in progress"),
    ];
    for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
        write!(f, " {flag}")?;
    }
    for (key, value) in annotations(document) {
        write!(f, " {key}={value}")?;
    }
    for (namespace, key, _) in metadata(document) {
        write!(f, " [{namespace}.{key}]")?;
    }
    f.write_str("\n")?;
    for exception in document.exceptions() {
        let kind = exception.kind.as_deref().unwrap_or("?");
        let message = exception.message.as_deref().unwrap_or_default();
        writeln!(f, "{:indent$}  ! {kind}: {message:?}", "")?;
    }
    Ok(())
}

/// By key, whatever order the features of `serde_json` give a map.
pub(super) fn annotations(document: &Document) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = document.annotations.iter().collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    all
}

/// By namespace and key.
pub(super) fn metadata(document: &Document) -> Vec<(&String, &String, &Value)> {
    let namespaces = document.metadata.iter();
    let mut all: Vec<_> = namespaces
        .flat_map(|(namespace, values)| {
            let values = values.as_object().into_iter().flatten();
            values.map(move |(key, value)| (namespace, key, value))
        })
        .collect();
    all.sort_unstable_by_key(|(namespace, key, _)| (*namespace, *key));
    all
}
