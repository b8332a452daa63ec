//! What crosses from a trace to whoever sends it: a piece of record, and what
//! its documents are booked in.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::TraceId;
use crate::clock::Anchor;
use crate::document::Document;
use crate::emit::deferred::Window;
use crate::encode::pack::Packer;
use crate::ledger::Loss;
use crate::limits;
use crate::record::trace::Trace;
use crate::record::{NodeIndex, Record, State};
use crate::recorder::Common;

/// A finished piece of one trace: a segment with what is closed below it, or
/// subtrees that closed before or after it. Not serialised yet: that is done by
/// whoever sends it, to the limit that holds there.
pub struct Piece {
    pub(crate) common: Arc<Common>,
    pub(crate) head: PieceHead,
    pub(crate) record: Record,
    /// Documents to come, neither sent nor lost. They are booked as created;
    /// those in progress only together with what becomes of them.
    undecided: u64,
    /// Entities neither written nor dropped.
    unwritten: u64,
    /// Values trimmed, by entity: one that is packed again counts them once.
    trimmed: Vec<(NodeIndex, u64)>,
    bytes: usize,
    purpose: Purpose,
}

enum Purpose {
    /// To be sent: what is closed.
    Finished,
    /// To be sent: what is open in this trace. Its entities are booked when they
    /// close.
    InProgress(Weak<Trace>),
    /// To be looked at.
    Snapshot,
}

/// What the documents of a piece have in common.
#[derive(Debug, Clone)]
pub(crate) struct PieceHead {
    pub(crate) trace_id: TraceId,
    pub(crate) anchor: Anchor,
    pub(crate) rule: Option<Arc<str>>,
}

impl Piece {
    /// A piece of `closed` entities, which counts as one document until it is
    /// packed.
    pub(crate) fn new(
        common: &Arc<Common>,
        head: PieceHead,
        record: Record,
        closed: usize,
    ) -> Self {
        common.ledger.create_documents(1);
        if record.left_out() > 0 {
            common.ledger.trim(record.left_out());
        }
        Self {
            common: common.clone(),
            head,
            bytes: record.bytes(),
            record,
            undecided: 1,
            unwritten: closed as u64,
            trimmed: Vec::new(),
            purpose: Purpose::Finished,
        }
    }

    /// What has been open for long, as one document until it is packed.
    pub(crate) fn in_progress(
        common: &Arc<Common>,
        head: PieceHead,
        record: Record,
        trace: &Arc<Trace>,
    ) -> Self {
        let mut piece = Self::snapshot(common, head, record);
        piece.undecided = 1;
        piece.purpose = Purpose::InProgress(Arc::downgrade(trace));
        piece
    }

    /// A copy of a trace under way, which is in no ledger.
    pub(crate) fn snapshot(common: &Arc<Common>, head: PieceHead, record: Record) -> Self {
        Self {
            common: common.clone(),
            head,
            bytes: record.bytes(),
            record,
            undecided: 0,
            unwritten: 0,
            trimmed: Vec::new(),
            purpose: Purpose::Snapshot,
        }
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.head.trace_id
    }

    /// Estimate of its documents' size, in bytes.
    pub fn estimated_bytes(&self) -> usize {
        self.bytes
    }

    /// Gives each document to `send` as JSON text, none larger than `limit`
    /// bytes (raised to 1,024 if lower), and books it as sent, or as lost for
    /// the reason `send` returns. What closes in a trace while it is sent as in
    /// progress is given to `send` afterwards, so that it comes last.
    ///
    /// ```
    /// use xray_core::{Emitter, Piece};
    ///
    /// #[derive(Debug)]
    /// struct Print;
    ///
    /// impl Emitter for Print {
    ///     fn emit(&self, piece: Piece) {
    ///         piece.send_documents(64_000, |json| {
    ///             println!("{}", String::from_utf8_lossy(json));
    ///             Ok(())
    ///         });
    ///     }
    /// }
    /// ```
    pub fn send_documents(self, limit: usize, mut send: impl FnMut(&[u8]) -> Result<(), Loss>) {
        let window = self.open_window();
        self.send_each(limit, &mut send);
        if let Some(window) = window {
            window.finish(|closed| closed.send_each(limit, &mut send));
        }
    }

    fn send_each(mut self, limit: usize, send: &mut impl FnMut(&[u8]) -> Result<(), Loss>) {
        let limit = limit.max(limits::DOCUMENT_BYTES_MIN);
        let mut packer = Packer::default();
        packer.plan(&mut self, limit);
        while let Some(packed) = packer.next(&self) {
            let entities = packed.entities;
            let json = &packed.datagram[limits::DATAGRAM_HEADER.len()..];
            let verdict = packed.hooked.and_then(|()| send(json));
            self.decide(entities, verdict);
            packer.advance(&mut self);
        }
    }

    /// The documents as the lenient model, each subtree whole, whatever its
    /// size: to look at. No hook sees them, and nothing is counted: a piece that
    /// is dropped then loses its documents as
    /// [`Loss::Discarded`](crate::Loss::Discarded). To send them use
    /// [`send_documents`](Self::send_documents), which runs the hooks and counts.
    pub fn to_documents(&self) -> Vec<Document> {
        crate::document::convert::documents(self)
    }

    /// Whether it holds nothing that is still open.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.purpose, Purpose::Finished)
    }

    /// Whether a node in that state is written with this piece.
    pub(crate) fn writes(&self, state: State) -> bool {
        match state {
            State::Closed => true,
            State::Open => !self.is_finished(),
            State::Gone => false,
        }
    }

    /// While it is open, what closes in the trace that this shows as in progress
    /// waits.
    pub(super) fn open_window(&self) -> Option<Window> {
        match &self.purpose {
            Purpose::InProgress(trace) => trace.upgrade().map(Window::open),
            _ => None,
        }
    }

    /// Leaves out what was closed since it was to be shown as in progress: its
    /// finished document may be on its way already, and must stay the last word.
    /// With nothing left there is no document.
    pub(crate) fn leave_out_closed(&mut self) {
        let Purpose::InProgress(trace) = &self.purpose else {
            return;
        };
        let open = trace.upgrade().map(|trace| trace.open_ids());
        let is_open = |id| open.as_ref().is_some_and(|open| open.contains(id));
        let mut is_empty = true;
        for node in &mut self.record.nodes {
            // What is gone was sent before.
            if node.state != State::Gone && is_open(&node.id) {
                is_empty = false;
            } else {
                node.state = State::Gone;
            }
        }
        if is_empty {
            self.undecided = 0;
        }
    }

    /// Learns how many documents are to come. Fewer than was thought are lost, as
    /// their entities were too large; of those in progress only the last.
    pub(crate) fn expect(&mut self, documents: u64) {
        if self.is_finished() {
            let ledger = &self.common.ledger;
            ledger.create_documents(documents.saturating_sub(self.undecided));
            let too_many = self.undecided.saturating_sub(documents);
            ledger.lose(Loss::TooLarge, too_many, 0);
        } else if documents == 0 {
            self.lose(Loss::TooLarge);
        }
        self.undecided = documents;
    }

    /// Lets go of a document: whoever has it books it, with as many of its
    /// entities as are returned. Those that are still open are not booked.
    pub(crate) fn hand_over(&mut self, entities: u64) -> u64 {
        self.undecided -= 1;
        self.hand_over_entities(entities)
    }

    /// Books documents in progress as created, now that they are decided.
    fn create_shown(&self, documents: u64) {
        if !self.is_finished() && documents > 0 {
            self.common.ledger.create_documents(documents);
        }
    }

    fn hand_over_entities(&mut self, entities: u64) -> u64 {
        if !self.is_finished() {
            return 0;
        }
        self.unwritten -= entities;
        entities
    }

    /// Books one document with its entities.
    pub(crate) fn decide(&mut self, entities: u64, verdict: Result<(), Loss>) {
        let entities = self.hand_over(entities);
        self.create_shown(1);
        self.common.ledger.decide(1, entities, verdict);
    }

    /// Books everything that is left as lost.
    pub(crate) fn lose(&mut self, reason: Loss) {
        let documents = std::mem::take(&mut self.undecided);
        self.create_shown(documents);
        let entities = self.hand_over_entities(self.unwritten);
        self.common.ledger.lose(reason, documents, entities);
    }

    /// An entity that no document can hold.
    pub(crate) fn drop_entity(&mut self, index: NodeIndex, reason: Loss) {
        self.settle(index);
        let entities = self.hand_over_entities(1);
        self.common.ledger.drop_entities(reason, entities);
    }

    /// So many values of an entity were trimmed, those of before included.
    pub(crate) fn trim(&mut self, index: NodeIndex, values: u64) {
        if values == 0 {
            return;
        }
        let at = match self.trimmed.binary_search_by_key(&index, |known| known.0) {
            Ok(at) => at,
            Err(at) => {
                self.trimmed.insert(at, (index, 0));
                at
            }
        };
        let known = &mut self.trimmed[at].1;
        self.common.ledger.trim(values.saturating_sub(*known));
        *known = values.max(*known);
    }

    /// A node that is done with.
    pub(crate) fn settle(&mut self, index: NodeIndex) {
        self.record.nodes[index as usize].state = State::Gone;
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.lose(Loss::Discarded);
        self.common.spare.give(std::mem::take(&mut self.record));
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece")
            .field("trace_id", &self.head.trace_id)
            .field("entities", &self.record.nodes.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
