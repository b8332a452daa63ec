//! Documents joined into traces.

use crate::{Document, Style, render};
use std::collections::HashMap;
use std::fmt;

/// Joins documents by trace, in the order in which the traces first appear.
///
/// Documents may come in any order and from several services. Of two with the
/// same id the later one counts, except that one in progress never replaces a
/// complete one. A parent that never came leaves a placeholder. Ids in upper and
/// lower case are the same.
///
/// ```
/// use xray_local::{Document, join};
///
/// let late = br#"{"name":"pay","id":"53995c3f42cd8ad8","parent_id":"70de5b6f19ff9a0a",
///     "type":"subsegment","trace_id":"1-66f2a1c0-0123456789abcdef01234567"}"#;
/// let root = br#"{"name":"shop","id":"70de5b6f19ff9a0a",
///     "trace_id":"1-66f2a1c0-0123456789abcdef01234567"}"#;
/// let traces = join([Document::from_json(late)?, Document::from_json(root)?]);
/// let parent = traces[0].find("pay").and_then(|pay| pay.parent());
/// assert_eq!(parent.map(|shop| shop.id()), Some("70de5b6f19ff9a0a"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn join(documents: impl IntoIterator<Item = Document>) -> Vec<Trace> {
    let mut places = HashMap::new();
    let mut joined: Vec<Joining> = Vec::new();
    for document in documents {
        let id = trace_id(&document);
        let place = *places.entry(id).or_insert_with_key(|id| {
            joined.push(Joining {
                id: id.clone(),
                ..Joining::default()
            });
            joined.len() - 1
        });
        joined[place].add(document);
    }
    joined.into_iter().map(Joining::finish).collect()
}

/// The trace of a document, in lower case; empty if it names none.
pub(crate) fn trace_id(document: &Document) -> String {
    let id = document.trace_id.as_deref().unwrap_or_default();
    id.to_ascii_lowercase()
}

/// The documents of one trace as a forest: usually one root, more when parts
/// are missing.
///
/// Nodes lie in one list, not inside each other, so that a trace of any depth
/// can be joined, walked, printed and dropped. Printing it draws the tree, see
/// [`render()`].
#[derive(Clone, Debug)]
pub struct Trace {
    id: String,
    documents: usize,
    entries: Vec<Entry>,
    roots: Vec<usize>,
}

impl Trace {
    /// `1-<8 hex>-<24 hex>`, in lower case; empty for documents that named no
    /// trace.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many documents were joined.
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// The nodes without a parent, by start time.
    pub fn roots(&self) -> impl Iterator<Item = Node<'_>> {
        self.roots.iter().map(|&index| self.at(index))
    }

    /// All nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.entries.len()).map(|index| self.at(index))
    }

    /// The first node of this name to arrive.
    pub fn find(&self, name: &str) -> Option<Node<'_>> {
        let named = |node: &Node<'_>| node.document().is_some_and(|found| found.name == name);
        self.nodes().find(named)
    }

    /// The node of this id, in any case.
    pub fn get(&self, id: &str) -> Option<Node<'_>> {
        self.nodes().find(|node| node.id().eq_ignore_ascii_case(id))
    }

    /// Whether a document in it is still in progress.
    pub fn is_open(&self) -> bool {
        self.recorded().any(|document| document.in_progress)
    }

    /// Whether nothing is missing or open: every parent is there, and above all
    /// stand segments.
    pub fn is_complete(&self) -> bool {
        let is_segment = |node: Node<'_>| node.document().is_some_and(|root| !root.is_subsegment());
        !self.is_open() && self.roots().all(is_segment)
    }

    /// Seconds since the Unix epoch, of the earliest document; `None` if none
    /// says when it began.
    pub fn start_time(&self) -> Option<f64> {
        let starts = self.recorded().filter_map(|document| document.start_time);
        starts.min_by(f64::total_cmp)
    }

    /// Seconds from the earliest start to the latest end; `None` while nothing
    /// has ended.
    pub fn duration_seconds(&self) -> Option<f64> {
        let ends = self.recorded().filter_map(|document| document.end_time);
        Some(ends.max_by(f64::total_cmp)? - self.start_time()?)
    }

    fn recorded(&self) -> impl Iterator<Item = &Document> {
        self.entries
            .iter()
            .filter_map(|entry| entry.document.as_ref())
    }

    fn at(&self, index: usize) -> Node<'_> {
        Node { trace: self, index }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render(self, Style::Plain, f)
    }
}

/// A segment, a subsegment, or the placeholder for one that never came.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    trace: &'a Trace,
    index: usize,
}

impl<'a> Node<'a> {
    /// `None` for a placeholder. The nested subsegments are nodes of their own
    /// and no longer in the document.
    pub fn document(self) -> Option<&'a Document> {
        self.entry().document.as_ref()
    }

    /// 16 hex digits in lower case, also of a placeholder.
    pub fn id(self) -> &'a str {
        &self.entry().id
    }

    /// The node above.
    pub fn parent(self) -> Option<Self> {
        Some(self.trace.at(self.entry().parent?))
    }

    /// The nodes directly below, by start time.
    pub fn children(self) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let children = self.entry().children.iter();
        children.map(move |&index| self.trace.at(index))
    }

    fn entry(self) -> &'a Entry {
        &self.trace.entries[self.index]
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.document().map(|document| &document.name);
        let mut out = f.debug_struct("Node");
        out.field("id", &self.id()).field("name", &name);
        out.finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
struct Entry {
    id: String,
    document: Option<Document>,
    parent: Option<usize>,
    children: Vec<usize>,
}

#[derive(Default)]
struct Joining {
    id: String,
    documents: usize,
    entries: Vec<Entry>,
    /// What each entry says its parent is, empty for none.
    parents: Vec<String>,
    by_id: HashMap<String, usize>,
}

impl Joining {
    fn add(&mut self, document: Document) {
        self.documents += 1;
        let parent = document.parent_id.clone().unwrap_or_default();
        let mut ahead = vec![(parent, document)];
        while let Some((parent, mut document)) = ahead.pop() {
            let id = document.id.to_ascii_lowercase();
            // Some SDKs write a parent into nested documents, not always the
            // right one; where a document stands says it better.
            let inner = std::mem::take(&mut document.subsegments);
            ahead.extend(inner.into_iter().rev().map(|inner| (id.clone(), inner)));
            self.put(id, parent.to_ascii_lowercase(), document);
        }
    }

    fn put(&mut self, id: String, parent: String, document: Document) {
        if let Some(&index) = self.by_id.get(&id).filter(|_| !id.is_empty()) {
            let known = &mut self.entries[index].document;
            let is_stale =
                document.in_progress && known.as_ref().is_some_and(|known| !known.in_progress);
            if !is_stale {
                *known = Some(document);
                if !parent.is_empty() {
                    self.parents[index] = parent;
                }
            }
            return;
        }
        self.push(id, Some(document));
        self.parents.push(parent);
    }

    fn push(&mut self, id: String, document: Option<Document>) -> usize {
        let index = self.entries.len();
        self.by_id.insert(id.clone(), index);
        self.entries.push(Entry {
            id,
            document,
            ..Entry::default()
        });
        index
    }

    fn finish(mut self) -> Trace {
        for (index, parent) in std::mem::take(&mut self.parents).into_iter().enumerate() {
            if !parent.is_empty() {
                let known = self.by_id.get(&parent).copied();
                let parent = known.unwrap_or_else(|| self.push(parent, None));
                self.entries[index].parent = Some(parent);
            }
        }
        self.cut_cycles();
        let mut roots = Vec::new();
        for index in 0..self.entries.len() {
            match self.entries[index].parent {
                Some(parent) => self.entries[parent].children.push(index),
                None => roots.push(index),
            }
        }
        let starts: Vec<f64> = (0..self.entries.len())
            .map(|index| self.start(index))
            .collect();
        let by_start = |a: &usize, b: &usize| starts[*a].total_cmp(&starts[*b]);
        roots.sort_by(by_start);
        for entry in &mut self.entries {
            entry.children.sort_by(by_start);
        }
        Trace {
            id: self.id,
            documents: self.documents,
            entries: self.entries,
            roots,
        }
    }

    /// A placeholder starts with the first of what it holds.
    fn start(&self, index: usize) -> f64 {
        let entry = &self.entries[index];
        let start_of = |entry: &Entry| entry.document.as_ref()?.start_time;
        let held = entry
            .children
            .iter()
            .filter_map(|&child| start_of(&self.entries[child]));
        start_of(entry)
            .or_else(|| held.min_by(f64::total_cmp))
            .unwrap_or(f64::INFINITY)
    }

    /// Documents that are each other's ancestors would hang below no root; the
    /// parent of one of them is forgotten.
    fn cut_cycles(&mut self) {
        const UNSEEN: usize = usize::MAX;
        // By which walk an entry was first seen.
        let mut seen = vec![UNSEEN; self.entries.len()];
        for from in 0..self.entries.len() {
            let mut index = from;
            while seen[index] == UNSEEN {
                seen[index] = from;
                let Some(parent) = self.entries[index].parent else {
                    break;
                };
                if seen[parent] == from {
                    self.entries[index].parent = None;
                    break;
                }
                index = parent;
            }
        }
    }
}
