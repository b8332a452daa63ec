//! Taking a record apart: what leaves is moved or copied, whichever is less, so
//! that it costs its own size, whatever else is open.

use super::{NONE, Node, NodeIndex, Record, State, Stored, Text, Value, ValueIndex};

/// Estimated bytes of nodes that are gone which are not worth moving the rest
/// together.
const REMAINS: u32 = 4 << 10;

/// The old and the new place of a node that was copied.
type Copied = (NodeIndex, NodeIndex);

/// Where nodes went, in order.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Copied>);

impl Places {
    pub(super) fn of(&self, old: NodeIndex) -> Option<NodeIndex> {
        let at = self.0.binary_search_by_key(&old, |place| place.0);
        at.ok().map(|at| self.0[at].1)
    }
}

/// What is to leave of what is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Everything,
    /// That one, and what is closed below it down to the open.
    Below(NodeIndex),
}

/// What was taken out of a record.
pub(super) struct Taken {
    pub(super) record: Record,
    pub(super) closed: usize,
    /// Where those are now that stayed, if they moved.
    pub(super) moved: Option<Places>,
}

impl Record {
    #[inline]
    pub(super) fn close(&mut self, index: NodeIndex, end: i64) {
        let before = std::mem::replace(&mut self.closed.last, index);
        let node = &mut self.nodes[index as usize];
        node.end = end.max(node.start);
        node.state = State::Closed;
        node.closed_before = before;
        self.closed.count += 1;
        self.closed.bytes += node.bytes;
    }

    /// How many are closed, and how large they are.
    #[inline]
    pub(super) fn closed(&self) -> (usize, usize) {
        (self.closed.count as usize, self.closed.bytes as usize)
    }

    /// Whether the parent of a node is elsewhere.
    #[inline]
    pub(super) fn is_outermost(&self, index: NodeIndex) -> bool {
        let parent = self.node(index).parent();
        parent.is_none_or(|parent| self.node(parent).state == State::Gone)
    }

    /// Whether something was shown as in progress that is closed by now.
    pub(super) fn is_outdated(&self) -> bool {
        self.all_closed().any(|index| self.node(index).shown)
    }

    /// Takes out what is closed, while something else is open.
    pub(super) fn take_closed(&mut self, leaving: Leaving) -> Taken {
        let stays = self.bytes.saturating_sub(self.closed.bytes) + self.gone;
        match leaving {
            Leaving::Everything if self.closed.bytes >= stays => self.leave_behind_open(),
            Leaving::Everything => self.extract(self.all_closed().collect()),
            Leaving::Below(top) => self.extract(self.closed_below(top)),
        }
    }

    /// All of it leaves but what is open, which is less.
    fn leave_behind_open(&mut self) -> Taken {
        let closed = self.closed.count as usize;
        let (rest, moved) = self.copy(self.nodes_in(State::Open));
        let mut record = std::mem::replace(self, rest);
        for (open, _) in &moved.0 {
            record.forget(*open);
        }
        Taken {
            record,
            closed,
            moved: Some(moved),
        }
    }

    /// Copies some closed nodes to a record of their own; here they are gone.
    fn extract(&mut self, mut leaving: Vec<NodeIndex>) -> Taken {
        leaving.sort_unstable();
        let (mut record, _) = self.copy(leaving.iter().copied());
        record.left_out = std::mem::take(&mut self.left_out);
        for index in &leaving {
            self.forget(*index);
        }
        self.closed.count -= leaving.len() as u32;
        self.closed.bytes -= record.bytes;
        if self.closed.count == 0 {
            self.closed.last = NONE;
        }
        Taken {
            record,
            closed: leaving.len(),
            moved: self.move_together(),
        }
    }

    /// Lets go of the nodes that are gone once they outweigh the rest, which
    /// pays for it.
    fn move_together(&mut self) -> Option<Places> {
        if self.gone <= self.bytes + REMAINS {
            return None;
        }
        let stay = self.indices();
        let stay = stay.filter(|index| self.node(*index).state != State::Gone);
        let (mut rest, places) = self.copy(stay);
        rest.left_out = self.left_out;
        for index in rest.nodes_in(State::Closed).collect::<Vec<_>>() {
            let end = rest.node(index).end;
            rest.close(index, end);
        }
        *self = rest;
        Some(places)
    }

    /// Copies what has been open since `before` and was not shown yet, and
    /// marks it as shown. `None` when there is nothing of the kind.
    pub(super) fn show_open(&mut self, before: i64) -> Option<(Self, Places)> {
        let open = self.nodes_in(State::Open);
        let due = open.filter(|index| {
            let node = self.node(*index);
            !node.shown && node.start <= before
        });
        let (shown, places) = self.copy(due);
        for (index, _) in &places.0 {
            self.node_mut(*index).shown = true;
        }
        (!places.0.is_empty()).then_some((shown, places))
    }

    /// Whether something closed in it was shown as in progress.
    pub(crate) fn was_shown(&self) -> bool {
        let mut closed = self.nodes_in(State::Closed);
        closed.any(|index| self.node(index).shown)
    }

    fn nodes_in(&self, state: State) -> impl Iterator<Item = NodeIndex> {
        let nodes = self.indices();
        nodes.filter(move |index| self.node(*index).state == state)
    }

    /// What is closed, the last one first.
    fn all_closed(&self) -> impl Iterator<Item = NodeIndex> {
        let next = |index: NodeIndex| (index != NONE).then_some(index);
        let closed = std::iter::successors(next(self.closed.last), move |index| {
            next(self.node(*index).closed_before)
        });
        closed.filter(|index| self.node(*index).state == State::Closed)
    }

    fn closed_below(&self, top: NodeIndex) -> Vec<NodeIndex> {
        let mut found = vec![top];
        let mut at = 0;
        while let Some(index) = found.get(at) {
            let children = self.children(*index);
            let closed = children.filter(|child| self.node(*child).state == State::Closed);
            found.extend(closed.collect::<Vec<_>>());
            at += 1;
        }
        found
    }

    /// A node that is not written from here any more.
    fn forget(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index as usize];
        node.state = State::Gone;
        (node.first_value, node.last_value) = (NONE, NONE);
        node.name = Text::default();
        self.bytes = self.bytes.saturating_sub(node.bytes);
        self.gone = self.gone.saturating_add(node.bytes);
    }

    /// Copies nodes, given in order, to a record of their own, below each other
    /// as here.
    fn copy(&self, nodes: impl Iterator<Item = NodeIndex>) -> (Self, Places) {
        let mut copies = Self::default();
        // A parent stands before its children, so it has its new place first.
        let mut places = Places::default();
        for old in nodes {
            let parent = self.node(old).parent();
            let parent = parent.and_then(|parent| places.of(parent));
            let new = self.copy_to(&mut copies, old, parent);
            places.0.push((old, new));
        }
        (copies, places)
    }

    /// Copies a node with its values, but not its children.
    fn copy_to(&self, to: &mut Self, old: NodeIndex, parent: Option<NodeIndex>) -> NodeIndex {
        let node = self.node(old);
        let new = to.nodes.len() as NodeIndex;
        let name = to.store(self.text(node.name));
        to.nodes.push(Node {
            parent: parent.unwrap_or(NONE),
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            first_value: NONE,
            last_value: NONE,
            closed_before: NONE,
            name,
            ..node.clone()
        });
        to.bytes = to.bytes.saturating_add(node.bytes);
        if let Some(parent) = parent {
            to.link(parent, new);
        }
        for value in self.values(old) {
            let key = to.store(self.text(value.key));
            let stored = match value.stored {
                Stored::Text(text) => Stored::Text(to.store(self.text(text))),
                Stored::Json(text) => Stored::Json(to.store(self.text(text))),
                Stored::Exception(index) => {
                    let exceptions = to.exceptions.len() as u32;
                    to.exceptions.push(self.exceptions[index as usize].clone());
                    Stored::Exception(exceptions)
                }
                plain => plain,
            };
            to.hang(
                new,
                Value {
                    next: NONE,
                    key,
                    stored,
                    ..*value
                },
            );
        }
        new
    }

    /// Hangs a value on its node, behind those already there.
    fn hang(&mut self, node: NodeIndex, value: Value) {
        let index = self.values.len() as ValueIndex;
        let owner = &mut self.nodes[node as usize];
        let last = std::mem::replace(&mut owner.last_value, index);
        match self.values.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => owner.first_value = index,
        }
        self.values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentId;

    #[test]
    fn what_was_left_out_leaves_once() {
        let mut record = Record::default();
        let id = SegmentId::new(7).unwrap();
        let root = record.begin(id, None, None, "root", 0);
        record.rename(root, &"long name".repeat(50));
        let child = record.begin(id, Some(root), Some(id), "child", 0);
        record.leave_out(3);
        record.close(child, 1);
        let taken = record.take_closed(Leaving::Below(child));
        assert_eq!((taken.closed, taken.record.left_out()), (1, 3));
        assert_eq!(record.left_out(), 0);
    }
}
