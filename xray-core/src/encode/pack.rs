//! Packs the closed part of a record into documents that fit.
//!
//! Every entity is written once, without its children. Then sizes are added up
//! from the leaves (children stand behind their parents, so one pass backwards
//! does it), children that make their parent too large are detached to leave as
//! documents of their own, and what is left together is joined. Exact, linear,
//! and without recursion, however deep the trace. A small piece that is one tree
//! is written whole at once.

use std::ops::Range;

use super::json::Seconds;
use super::members::{self, Trim};
use crate::emit::Piece;
use crate::ledger::Loss;
use crate::limits;
use crate::record::{Field, Node, NodeIndex};

/// `,"subsegments":[` and `]`
const CHILDREN_BYTES: usize = 17;
/// `,"trace_id":"…","parent_id":"…","type":"subsegment"`, the longest that
/// stands in a document's outermost object and nowhere else.
const ROOT_BYTES: usize = 100;

/// Buffers for packing, used again for each piece.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    bodies: Vec<u8>,
    seconds: Seconds,
    plans: Vec<Plan>,
    /// Outermost entities of the documents to come, last one first.
    roots: Vec<NodeIndex>,
    path: Vec<Step>,
    settling: Vec<NodeIndex>,
    datagram: Vec<u8>,
    limit: usize,
    /// Entities of the one document that holds the whole piece, once written.
    whole: Option<u64>,
    /// Values that were made valid behind the hooks, in the document that was
    /// written last.
    hooked: u64,
}

/// What is to become of one node.
#[derive(Debug, Clone, Default)]
struct Plan {
    fate: Fate,
    body: Range<usize>,
    /// Bytes with all attached children.
    size: usize,
    /// Levels with all attached children.
    depth: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    /// Not part of this piece: open, elsewhere, sent before or too large.
    #[default]
    Absent,
    /// In its parent's document.
    Attached,
    /// Outermost of a document of its own.
    Root,
}

#[derive(Debug)]
struct Step {
    next: Option<NodeIndex>,
    siblings: bool,
}

impl Packer {
    /// Plans the documents of `piece`, none larger than `limit`. May be called
    /// again with a smaller one: what was sent is left out then.
    pub(crate) fn plan(&mut self, piece: &mut Piece, limit: usize) {
        piece.leave_out_closed();
        self.limit = limit;
        let limit = (limit - piece.common.hooks.room()).max(limits::DOCUMENT_BYTES_MIN / 2);
        self.bodies.clear();
        self.plans.clear();
        self.roots.clear();
        self.whole = None;
        if self.write_whole(piece, limit) {
            self.roots.push(0);
            piece.expect(1);
            return;
        }
        let nodes = piece.record.nodes.len();
        self.plans.resize(nodes, Plan::default());
        for index in 0..nodes as NodeIndex {
            self.write(piece, index, limit);
        }
        for index in (0..nodes as NodeIndex).rev() {
            if self.plan_of(index).fate != Fate::Absent {
                self.fit(piece, index, limit);
            }
        }
        for index in (0..nodes as NodeIndex).rev() {
            if self.plan_of(index).fate == Fate::Root {
                self.roots.push(index);
            }
        }
        piece.expect(self.roots.len() as u64);
    }

    fn plan_of(&self, index: NodeIndex) -> &Plan {
        &self.plans[index as usize]
    }

    /// Writes a node's own members, trimmed as far as it takes.
    fn write(&mut self, piece: &mut Piece, index: NodeIndex, limit: usize) {
        let node = piece.record.node(index);
        if !piece.writes(node.state) {
            return;
        }
        let start = self.bodies.len();
        let room = limit - ROOT_BYTES - 1;
        let mut trim = Trim::Nothing;
        let (trimmed, size) = loop {
            self.bodies.truncate(start);
            let trimmed = members::write(&mut self.bodies, &mut self.seconds, piece, index, trim);
            let size = self.bodies.len() - start;
            match next_trim(piece, index, trim, size.saturating_sub(room)) {
                Some(next) => trim = next,
                None => break (trimmed, size),
            }
        };
        if size > room {
            self.bodies.truncate(start);
            piece.drop_entity(index, Loss::TooLarge);
            return;
        }
        piece.trim(index, trimmed);
        self.plans[index as usize] = Plan {
            fate: Fate::Root,
            body: start..self.bodies.len(),
            size: size + 1,
            depth: 1,
        };
    }

    /// Attaches as many children as fit; the largest stay apart.
    fn fit(&mut self, piece: &Piece, index: NodeIndex, limit: usize) {
        let own = self.plan_of(index).size;
        let mut size = own + CHILDREN_BYTES;
        let mut depth = 1;
        let mut children = 0;
        for child in piece.record.children(index) {
            let child = &mut self.plans[child as usize];
            if child.fate == Fate::Root && child.depth < limits::DOCUMENT_DEPTH {
                child.fate = Fate::Attached;
                size += child.size + 1;
                depth = depth.max(child.depth + 1);
                children += 1;
            }
        }
        if children == 0 {
            return;
        }
        let room = limit - ROOT_BYTES;
        if size > room {
            let attached =
                |packer: &Self, child: &NodeIndex| packer.plan_of(*child).fate == Fate::Attached;
            let children = piece.record.children(index);
            let mut largest: Vec<NodeIndex> =
                children.filter(|child| attached(self, child)).collect();
            largest.sort_by_key(|child| std::cmp::Reverse(self.plan_of(*child).size));
            for child in largest {
                if size <= room {
                    break;
                }
                let child = &mut self.plans[child as usize];
                child.fate = Fate::Root;
                size -= child.size + 1;
            }
        }
        let plan = &mut self.plans[index as usize];
        plan.size = size.max(own);
        plan.depth = depth;
    }

    /// Writes a piece that is one tree, and so small that all of it fits, as its
    /// document at once. `false` if it is not of that kind.
    fn write_whole(&mut self, piece: &mut Piece, limit: usize) -> bool {
        let mut nodes = piece.record.indices().zip(&piece.record.nodes);
        let is_small = piece.estimated_bytes() <= limit / 8;
        let is_tree = |(index, node): (NodeIndex, &Node)| {
            piece.writes(node.state) && node.parent().is_none() == (index == 0)
        };
        if !is_small || piece.record.nodes.is_empty() || !nodes.all(is_tree) {
            return false;
        }
        let mut trims = Vec::new();
        let walked = self.walk(piece, 0, |packer, index| {
            let Self {
                datagram, seconds, ..
            } = packer;
            let trimmed = members::write(datagram, seconds, piece, index, Trim::Nothing);
            if trimmed > 0 {
                trims.push((index, trimmed));
            }
            true
        });
        let size = self.datagram.len() - limits::DATAGRAM_HEADER.len();
        if walked.levels > usize::from(limits::DOCUMENT_DEPTH) || size > limit {
            return false;
        }
        for (index, trimmed) in trims {
            piece.trim(index, trimmed);
        }
        self.whole = Some(walked.entities);
        true
    }

    /// Writes the next document, header line included.
    pub(crate) fn next(&mut self, piece: &Piece) -> Option<Packed<'_>> {
        let root = *self.roots.last()?;
        let entities = match self.whole {
            Some(entities) => entities,
            None => {
                let walked = self.walk(piece, root, |packer, index| {
                    let plan = &packer.plans[index as usize];
                    let belongs = index == root || plan.fate == Fate::Attached;
                    if belongs {
                        let body = &packer.bodies[plan.body.clone()];
                        packer.datagram.extend_from_slice(body);
                    }
                    belongs
                });
                walked.entities
            }
        };
        let hooks = &piece.common.hooks;
        let hooked = if hooks.is_empty() {
            Ok(0)
        } else {
            hooks.run(&mut self.datagram, self.limit)
        };
        self.hooked = hooked.unwrap_or_default();
        Some(Packed {
            datagram: &self.datagram,
            entities,
            hooked: hooked.map(drop),
        })
    }

    /// Writes the document of the tree below `root`: `open` writes a node's own
    /// members, or says that it does not belong.
    fn walk(
        &mut self,
        piece: &Piece,
        root: NodeIndex,
        mut open: impl FnMut(&mut Self, NodeIndex) -> bool,
    ) -> Walked {
        self.datagram.clear();
        self.datagram.extend_from_slice(limits::DATAGRAM_HEADER);
        open(self, root);
        self.write_place(piece, piece.record.node(root));
        self.path.clear();
        self.path.push(Step {
            next: piece.record.children(root).next(),
            siblings: false,
        });
        let mut walked = Walked {
            entities: 1,
            levels: 1,
        };
        while let Some(step) = self.path.last_mut() {
            let Some(child) = step.next else {
                let closing: &[u8] = if step.siblings { b"]}" } else { b"}" };
                self.datagram.extend_from_slice(closing);
                self.path.pop();
                continue;
            };
            step.next = piece.record.sibling(child);
            let before = self.datagram.len();
            let opening: &[u8] = if step.siblings {
                b","
            } else {
                b",\"subsegments\":["
            };
            self.datagram.extend_from_slice(opening);
            if !open(self, child) {
                self.datagram.truncate(before);
                continue;
            }
            if let Some(step) = self.path.last_mut() {
                step.siblings = true;
            }
            walked.entities += 1;
            self.path.push(Step {
                next: piece.record.children(child).next(),
                siblings: false,
            });
            walked.levels = walked.levels.max(self.path.len());
        }
        walked
    }

    /// The document that `next` wrote is sent or lost; goes on to the one
    /// behind it.
    pub(crate) fn advance(&mut self, piece: &mut Piece) {
        let Some(root) = self.roots.pop() else {
            return;
        };
        // Not while it may be planned again.
        piece.common.ledger.trim(std::mem::take(&mut self.hooked));
        if self.whole.take().is_some() {
            return;
        }
        // What went out is not planned again.
        self.settling.push(root);
        while let Some(index) = self.settling.pop() {
            let children = piece.record.children(index);
            let attached = |child: &NodeIndex| self.plans[*child as usize].fate == Fate::Attached;
            self.settling.extend(children.filter(attached));
            piece.settle(index);
        }
    }

    /// What only the outermost object of a document has.
    fn write_place(&mut self, piece: &Piece, node: &Node) {
        let out = &mut self.datagram;
        out.extend_from_slice(b",\"trace_id\":\"");
        out.extend_from_slice(&piece.head.trace_id.to_text());
        if let Some(parent) = node.parent_id {
            out.extend_from_slice(b"\",\"parent_id\":\"");
            out.extend_from_slice(&parent.to_text());
        }
        let rest: &[u8] = if node.is_segment {
            b"\""
        } else {
            b"\",\"type\":\"subsegment\""
        };
        out.extend_from_slice(rest);
    }
}

/// What a document came to hold.
struct Walked {
    entities: u64,
    levels: usize,
}

/// A document ready to be sent.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) datagram: &'a [u8],
    pub(crate) entities: u64,
    /// What the hooks said.
    pub(crate) hooked: Result<(), Loss>,
}

/// What is left out next, if so many bytes are too many.
fn next_trim(piece: &Piece, index: NodeIndex, trim: Trim, excess: usize) -> Option<Trim> {
    let largest = |field, left| {
        let sizes = members::sizes(&piece.record, index, field);
        largest_to_keep(&sizes, excess, left)
    };
    if excess == 0 {
        return None;
    }
    match trim {
        Trim::Nothing => Some(Trim::Links),
        Trim::Links => Some(Trim::Stacks),
        // A mark stays behind, and takes some of the room.
        Trim::Stacks => Some(Trim::Metadata(largest(Field::Metadata, limits::MARK_BYTES))),
        Trim::Metadata(_) => Some(Trim::Everything),
        Trim::Everything => Some(Trim::Keys),
        Trim::Keys => Some(Trim::Aws(largest(Field::Aws, 0))),
        Trim::Aws(0) => None,
        Trim::Aws(_) => Some(Trim::Aws(0)),
    }
}

/// The size of the largest of several values that may stay so that `excess`
/// bytes go; `left` stay behind of each.
fn largest_to_keep(sizes: &[usize], excess: usize, left: usize) -> usize {
    let mut gone = 0;
    for size in sizes.iter().rev() {
        gone += size.saturating_sub(left);
        if gone >= excess {
            return size - 1;
        }
    }
    0
}
