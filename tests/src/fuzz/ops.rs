//! Handles in any order, from two threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use xray_core::document::Document;
use xray_core::{
    Decision, Entity, Hold, Loss, ManualClock, Recorder, Segment, Subsegment, TraceHeader,
};

use super::bytes::Bytes;
use super::tree::{Pieces, joined, settled, written};
use crate::balance;

/// Any sequence of begin, close, annotate, flush, snapshot and losses over four
/// handles, each step on one of two threads: after every step the ledgers say
/// what a simple model says, and at the end every entity was written once, or
/// is counted.
pub fn ops(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let limit = [3, 8, 250_000][bytes.below(3)];
    let pieces = Pieces::default();
    let (builder, clock) = settled(pieces.clone());
    let Ok(recorder) = builder.open_limits(100_000, limit).build() else {
        return; // no setting in use can be wrong
    };
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < 512 {
        let (what, of) = (bytes.byte(), bytes.byte());
        steps.push(Step { what, of });
    }
    let elsewhere = steps.iter().any(|step| step.is_elsewhere());
    let world = Mutex::new(World::new(&recorder, &clock, &pieces, limit));
    let step = |step: Step| {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        world.step(step);
        world.check();
    };
    std::thread::scope(|scope| {
        let (to_other, given) = mpsc::channel::<Step>();
        let (done, is_done) = mpsc::channel::<()>();
        if elsewhere {
            let (step, done) = (&step, done);
            scope.spawn(move || {
                for given in given {
                    step(given);
                    if done.send(()).is_err() {
                        return;
                    }
                }
            });
        }
        for next in steps {
            if next.is_elsewhere() {
                assert!(to_other.send(next).is_ok() && is_done.recv().is_ok());
            } else {
                step(next);
            }
        }
        drop(to_other);
    });
    let world = world.into_inner().unwrap_or_else(PoisonError::into_inner);
    world.finish();
}

#[derive(Debug, Clone, Copy)]
struct Step {
    what: u8,
    of: u8,
}

impl Step {
    fn is_elsewhere(self) -> bool {
        self.of & 128 != 0
    }
}

/// The four handles, and the model of everything they stand for.
struct World<'a> {
    recorder: &'a Recorder,
    clock: &'a ManualClock,
    pieces: &'a Pieces,
    limit: usize,
    slots: [Option<Handle>; 4],
    /// Clones that outlive their handles.
    clones: Vec<(Entity, Option<usize>)>,
    holds: Vec<(Hold, Option<usize>)>,
    traces: Vec<TraceModel>,
    nodes: Vec<Node>,
    sent: Vec<Document>,
    /// Entities begun, those of them never recorded, and those beyond the limit.
    begun: u64,
    unsampled: u64,
    beyond: u64,
    lost_pieces: bool,
    now: i64,
}

struct Handle {
    owner: Owner,
    of: Of,
}

enum Owner {
    Segment(Segment),
    Subsegment(Subsegment),
}

/// What a handle stands for.
#[derive(Clone, Copy)]
enum Of {
    Node(usize),
    /// A facade of that trace.
    Facade(usize),
    /// Beyond the limit of that trace, as is everything below.
    Beyond(usize),
    /// Not recorded.
    Nothing,
}

struct TraceModel {
    sampled: bool,
}

struct Node {
    trace: usize,
    id: String,
    parent: Option<String>,
    /// The segment it belongs to, or what stands for it.
    top: usize,
    open: bool,
    holds: usize,
    close_at_release: bool,
    note: Option<i64>,
}

impl<'a> World<'a> {
    fn new(
        recorder: &'a Recorder,
        clock: &'a ManualClock,
        pieces: &'a Pieces,
        limit: usize,
    ) -> Self {
        Self {
            recorder,
            clock,
            pieces,
            limit,
            slots: [None, None, None, None],
            clones: Vec::new(),
            holds: Vec::new(),
            traces: Vec::new(),
            nodes: Vec::new(),
            sent: Vec::new(),
            begun: 0,
            unsampled: 0,
            beyond: 0,
            lost_pieces: false,
            now: 0,
        }
    }

    fn step(&mut self, step: Step) {
        let [slot, other] = [step.of & 3, step.of >> 2 & 3].map(usize::from);
        self.now += 1;
        self.clock
            .advance(Duration::from_micros(u64::from(step.of)));
        match step.what % 16 {
            0 => self.begin(slot, Decision::sampled()),
            1 => self.begin(slot, Decision::recorded()),
            2 => self.begin(slot, Decision::unsampled()),
            3 => self.begin_facade(slot),
            4..=7 => self.begin_child(slot, other),
            8 => self.annotate(slot),
            9 => self.annotate_clone(step.of),
            10 => self.close(slot),
            11 => self.put(slot, None), // dropped, not closed
            12 => self.clone_or_hold(slot, other),
            13 => self.release(),
            14 => self.recorder.show_open(Duration::ZERO),
            _ if step.of & 4 == 0 => self.flush(),
            _ => {
                self.lost_pieces |= !self.pieces.take().is_empty();
            }
        }
    }

    /// Puts a handle where another one may be, which is dropped.
    fn put(&mut self, slot: usize, handle: Option<Handle>) {
        let before = std::mem::replace(&mut self.slots[slot], handle);
        if let Some(Handle { owner, of }) = before {
            drop(owner);
            self.closed(of);
        }
    }

    fn begin(&mut self, slot: usize, decision: Decision) {
        let (sampled, record) = (decision.sampled, decision.record);
        let segment = self.recorder.segment("root").decide(decision).begin();
        self.begun += 1;
        let of = if record {
            self.traces.push(TraceModel { sampled });
            self.node(&segment, None, self.traces.len() - 1, None)
        } else {
            self.unsampled += 1;
            Of::Nothing
        };
        let owner = Owner::Segment(segment);
        self.put(slot, Some(Handle { owner, of }));
    }

    fn begin_facade(&mut self, slot: usize) {
        let caller = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
        let segment = self.recorder.begin_facade(&TraceHeader::parse(caller));
        self.traces.push(TraceModel { sampled: true });
        let of = Of::Facade(self.traces.len() - 1);
        let owner = Owner::Segment(segment);
        self.put(slot, Some(Handle { owner, of }));
    }

    /// Without `top` it belongs to itself.
    fn node(
        &mut self,
        entity: &Entity,
        parent: Option<String>,
        trace: usize,
        top: Option<usize>,
    ) -> Of {
        self.nodes.push(Node {
            trace,
            id: id(entity),
            parent,
            top: top.unwrap_or(self.nodes.len()),
            open: true,
            holds: 0,
            close_at_release: false,
            note: None,
        });
        Of::Node(self.nodes.len() - 1)
    }

    fn begin_child(&mut self, slot: usize, other: usize) {
        let Some(parent) = &self.slots[slot] else {
            return;
        };
        let (of, entity) = (parent.of, parent.entity().clone());
        let child = entity.begin_subsegment("child");
        self.begun += 1;
        let (trace, top) = match of {
            Of::Node(node) => (Some(self.nodes[node].trace), Some(self.nodes[node].top)),
            Of::Facade(trace) | Of::Beyond(trace) => (Some(trace), None),
            Of::Nothing => (None, None),
        };
        let is_beyond = matches!(of, Of::Beyond(_));
        let of = match trace {
            Some(trace) if !is_beyond && self.open_in(trace) < self.limit => {
                self.node(&child, Some(id(&entity)), trace, top)
            }
            Some(trace) => {
                self.beyond += 1;
                Of::Beyond(trace)
            }
            None => {
                self.unsampled += 1;
                Of::Nothing
            }
        };
        assert_eq!(matches!(of, Of::Node(_)), child.is_recorded());
        assert!(child.header().root() == entity.trace_id());
        let owner = Owner::Subsegment(child);
        self.put(other, Some(Handle { owner, of }));
    }

    fn open_in(&self, trace: usize) -> usize {
        let nodes = self.nodes.iter();
        nodes
            .filter(|node| node.open && node.trace == trace)
            .count()
    }

    fn annotate(&mut self, slot: usize) {
        let now = self.now;
        if let Some(handle) = &self.slots[slot] {
            handle.entity().annotate("note", now);
            if let Of::Node(node) = handle.of {
                self.nodes[node].note = Some(now);
            }
        }
    }

    fn annotate_clone(&mut self, of: u8) {
        let at = usize::from(of).checked_rem(self.clones.len());
        if let Some((entity, node)) = at.map(|at| &self.clones[at]) {
            entity.annotate("note", self.now);
            if let Some(node) = node
                .map(|node| &mut self.nodes[node])
                .filter(|node| node.open)
            {
                node.note = Some(self.now);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(Handle { owner, of }) = self.slots[slot].take() {
            match owner {
                Owner::Segment(segment) => segment.close(),
                Owner::Subsegment(subsegment) => subsegment.close(),
            }
            self.closed(of);
        }
    }

    fn closed(&mut self, of: Of) {
        let Of::Node(node) = of else {
            return;
        };
        let node = &mut self.nodes[node];
        if node.holds > 0 {
            node.close_at_release = true;
        } else {
            node.open = false;
        }
    }

    fn clone_or_hold(&mut self, slot: usize, other: usize) {
        let Some(handle) = &self.slots[slot] else {
            return;
        };
        let entity = handle.entity().clone();
        let node = match handle.of {
            Of::Node(node) => Some(node),
            Of::Facade(_) | Of::Beyond(_) | Of::Nothing => None,
        };
        if other & 1 == 0 {
            self.clones.push((entity, node));
        } else {
            let top = node.map(|node| self.nodes[node].top);
            let top = top.filter(|top| self.nodes[*top].open);
            self.holds.push((entity.hold(), top));
            if let Some(top) = top {
                self.nodes[top].holds += 1;
            }
        }
    }

    fn release(&mut self) {
        let Some((hold, top)) = self.holds.pop() else {
            return;
        };
        drop(hold);
        if let Some(top) = top.map(|top| &mut self.nodes[top]) {
            top.holds -= 1;
            if top.close_at_release && top.holds == 0 {
                top.open = false;
            }
        }
    }

    fn flush(&mut self) {
        assert!(self.recorder.flush(Duration::ZERO).wait().is_complete());
        for piece in self.pieces.take() {
            self.sent.append(&mut written(piece, 4_096));
        }
        assert_eq!(self.recorder.documents().queued, 0);
    }

    /// What must hold after every step.
    fn check(&self) {
        let (entities, documents) = (self.recorder.entities(), self.recorder.documents());
        assert!(entities.is_balanced(), "{entities:?}");
        assert!(documents.is_balanced(), "{documents:?}");
        let open = self.nodes.iter().filter(|node| node.open);
        assert_eq!(self.recorder.open_entities(), open.clone().count());
        assert_eq!(entities.begun, self.begun);
        assert!(entities.open >= self.recorder.open_entities() as u64);
        let beyond = entities.dropped.get(&Loss::LimitChildren).copied();
        assert_eq!(beyond.unwrap_or(0), self.beyond);
        let expected: BTreeMap<&str, Option<i64>> =
            open.map(|node| (&*node.id, node.note)).collect();
        let snapshot = self.recorder.snapshot();
        let found = snapshot.iter().flat_map(Document::walk);
        let found = found.filter(|document| document.in_progress);
        let found: BTreeMap<&str, Option<i64>> = found
            .map(|document| (&*document.id, note(document)))
            .collect();
        assert_eq!(found, expected);
    }

    fn finish(mut self) {
        for slot in 0..4 {
            self.close(slot);
        }
        while !self.holds.is_empty() {
            self.release();
        }
        self.check();
        self.clones.clear();
        self.flush();
        balance(self.recorder);
        let entities = self.recorder.entities();
        let (mut shown, mut done) = (Vec::new(), Vec::new());
        for document in self.sent {
            let is_shown = document.in_progress;
            let all = if is_shown { &mut shown } else { &mut done };
            all.push(document);
        }
        let tree = joined(done);
        let sampled = |node: &&Node| self.traces[node.trace].sampled;
        let recorded = self.nodes.iter().filter(sampled);
        let discarded = self.nodes.len() - recorded.clone().count();
        assert_eq!(entities.unsampled, self.unsampled + discarded as u64);
        assert_eq!(entities.written, tree.len() as u64);
        let lost = entities.dropped.get(&Loss::Discarded).copied().unwrap_or(0);
        assert!(lost == 0 || self.lost_pieces);
        assert_eq!(entities.written + lost, recorded.clone().count() as u64);
        let nodes: BTreeMap<&str, &Node> = recorded.map(|node| (&*node.id, node)).collect();
        for (id, (parent, document)) in &tree {
            let node = nodes.get(&**id);
            let expected = node.map(|node| (&node.parent, node.note));
            assert_eq!(Some((parent, note(document))), expected);
            assert!(!document.in_progress && document.end_time >= document.start_time);
        }
        for document in shown.iter().flat_map(Document::walk) {
            assert!(document.in_progress && nodes.contains_key(&*document.id));
        }
    }
}

impl Handle {
    fn entity(&self) -> &Entity {
        match &self.owner {
            Owner::Segment(segment) => segment,
            Owner::Subsegment(subsegment) => subsegment,
        }
    }
}

fn id(entity: &Entity) -> String {
    entity.id().map(|id| id.to_string()).unwrap_or_default()
}

fn note(document: &Document) -> Option<i64> {
    document.annotations.get("note")?.as_i64()
}
