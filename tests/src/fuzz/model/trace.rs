//! The model: traces and entities in vectors, changed by one operation after
//! the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use xray_core::{Decision, Loss};

use super::entity::Values;
use super::ledger::{Books, Heard};
use super::members::Trims;
use super::operations::Settings;

/// The thing that a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A segment or subsegment; the root of an unsampled trace too.
    Entity(usize),
    /// The facade of a trace.
    Facade(usize),
    /// Below the root of an unsampled trace.
    Below(usize),
    /// Begun in that trace where too much was open, below that entity or the
    /// facade.
    Refused(usize, Option<usize>, Loss),
    /// Begun for a header that asks for no recording.
    Passing,
    /// Begun where recording is suppressed.
    Silent,
}

/// Both clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) wall: i64,
    pub(super) tick: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) id: String,
    pub(super) decision: Decision,
    /// None below a facade.
    pub(super) root: Option<usize>,
    pub(super) begun: Times,
    /// Counts up, as traces come to have something open.
    pub(super) listed: usize,
    pub(super) verdict: Verdict,
    pub(super) given_up: bool,
    /// Begun before the fork.
    pub(super) foreign: bool,
}

/// The end of a trace's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// It was sent, or is a facade.
    Sent,
    Discarded,
}

#[derive(Debug, Clone)]
pub(super) struct Entity {
    pub(super) trace: usize,
    pub(super) id: String,
    pub(super) parent_id: Option<String>,
    pub(super) parent: Option<usize>,
    /// The segment, or the outermost subsegment below a facade.
    pub(super) top: usize,
    pub(super) start: i64,
    pub(super) end: Option<i64>,
    pub(super) values: Values,
    pub(super) holds: u32,
    /// It was closed while held: the end it was given, if it was.
    pub(super) close_at_release: Option<Option<i64>>,
    pub(super) phase: Phase,
    pub(super) shown: Shown,
    /// It is closed, and must have left the trace by now.
    pub(super) due: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closed,
    /// A segment whose trace was given up: its owner has yet to close it, of
    /// which the sampler will hear.
    GivenUp,
    /// The emitter has it.
    Taken,
    /// Sent, lost, dropped or left out.
    Gone,
}

/// Whether an entity was shown as in progress.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    No,
    /// It must be shown like this.
    Due(Box<Members>),
    Yes,
}

/// The members of a document, without those below it.
pub(super) type Members = (Map<String, Value>, Trims);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) now: Times,
    pub(super) traces: Vec<Trace>,
    pub(super) entities: Vec<Entity>,
    pub(super) books: Books,
    pub(super) heard: Vec<Heard>,
    /// The places of entities by id.
    pub(super) places: BTreeMap<String, usize>,
    /// The next answer of a sampler's `keep`.
    pub(super) keeps: bool,
    pub(super) next_exception: usize,
    pub(super) listed: usize,
}

impl Model {
    pub(super) fn new(settings: Settings, now: Times) -> Self {
        Self {
            settings,
            now,
            traces: Vec::new(),
            entities: Vec::new(),
            books: Books::default(),
            heard: Vec::new(),
            places: BTreeMap::new(),
            keeps: false,
            next_exception: 0,
            listed: 0,
        }
    }

    pub(super) fn is_recorded(&self, trace: usize) -> bool {
        let decision = &self.traces[trace].decision;
        decision.record || decision.sampled
    }

    pub(super) fn trace_of(&self, entity: usize) -> &Trace {
        &self.traces[self.entities[entity].trace]
    }

    pub(super) fn is_open(&self, entity: usize) -> bool {
        self.entities[entity].phase == Phase::Open
    }

    /// Whether its owner has yet to close it.
    pub(super) fn is_owned(&self, entity: usize) -> bool {
        self.is_open(entity) || self.entities[entity].phase == Phase::GivenUp
    }

    /// Recorded entities of this process that are open, in one trace or all.
    pub(super) fn open(&self, trace: Option<usize>) -> Vec<usize> {
        let all = 0..self.entities.len();
        all.filter(|at| {
            let of = self.entities[*at].trace;
            self.is_open(*at)
                && self.is_recorded(of)
                && trace.map_or(!self.traces[of].foreign, |trace| trace == of)
        })
        .collect()
    }
}
