//! The model: a trace or an entity begins, and the oldest make room.

use xray_core::{Decision, Loss, Namespace};

use super::entity::Values;
use super::trace::{Entity, Model, Of, Phase, Shown, Trace, Verdict};

/// An entity that is about to begin: the ids come from the recorder.
pub(super) struct Begun<'a> {
    pub(super) id: String,
    pub(super) name: &'a str,
    pub(super) namespace: Option<Namespace>,
    /// Wall time.
    pub(super) start: Option<i64>,
}

/// The fate of a subsegment, known before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Recorded,
    Unsampled,
    Refused(Loss),
    Uncounted,
}

impl Model {
    pub(super) fn begin_facade(&mut self, trace_id: String) -> Of {
        self.traces.push(Trace {
            id: trace_id,
            decision: Decision::sampled(),
            root: None,
            begun: self.now,
            listed: 0,
            verdict: Verdict::Sent,
            given_up: false,
            foreign: false,
        });
        Of::Facade(self.traces.len() - 1)
    }

    /// A facade for a header that asks for no recording.
    pub(super) fn pass(&mut self) -> Of {
        self.books.begun += 1;
        self.books.unsampled.0 += 1;
        self.books.unsampled.1 += 1;
        Of::Passing
    }

    /// A segment or facade where recording is suppressed.
    pub(super) fn begin_suppressed(&mut self, trace_id: String, id: String, facade: bool) -> Of {
        if facade {
            return self.pass();
        }
        let begun = Begun {
            id,
            name: "quiet",
            namespace: None,
            start: None,
        };
        self.begin_segment(trace_id, None, Decision::unsampled(), begun)
    }

    pub(super) fn begin_segment(
        &mut self,
        trace_id: String,
        parent_id: Option<String>,
        decision: Decision,
        begun: Begun<'_>,
    ) -> Of {
        self.books.begun += 1;
        if !(decision.record || decision.sampled) {
            self.books.unsampled.0 += 1;
            self.books.unsampled.1 += 1;
        }
        let root = self.entities.len();
        self.traces.push(Trace {
            id: trace_id,
            decision,
            root: Some(root),
            begun: self.now,
            listed: 0,
            verdict: Verdict::Open,
            given_up: false,
            foreign: false,
        });
        self.push(self.traces.len() - 1, parent_id, None, root, begun);
        Of::Entity(root)
    }

    pub(super) fn fate_of_child(&self, of: Of) -> Fate {
        let trace = match of {
            Of::Entity(entity) => self.entities[entity].trace,
            Of::Facade(trace) => trace,
            Of::Below(_) | Of::Passing => return Fate::Unsampled,
            Of::Refused(.., why) => return Fate::Refused(why),
            Of::Silent => return Fate::Uncounted,
        };
        if !self.is_recorded(trace) {
            Fate::Unsampled
        } else if self.traces[trace].given_up {
            Fate::Refused(Loss::LimitOpen)
        } else if self.open(Some(trace)).len() >= self.settings.open_limits.1 {
            Fate::Refused(Loss::LimitChildren)
        } else {
            Fate::Recorded
        }
    }

    /// Begins a subsegment whose fate is known.
    pub(super) fn begin_child(&mut self, of: Of, parent_id: String, begun: Begun<'_>) -> Of {
        let fate = self.fate_of_child(of);
        let foreign = match of {
            Of::Entity(_) if fate == Fate::Unsampled => false,
            Of::Entity(at) => self.trace_of(at).foreign,
            Of::Facade(trace) | Of::Refused(trace, ..) => self.traces[trace].foreign,
            _ => false,
        };
        if !foreign && fate != Fate::Uncounted {
            self.books.begun += 1;
        }
        match fate {
            Fate::Recorded => self.begin_recorded(of, parent_id, begun),
            Fate::Unsampled => {
                self.books.unsampled.0 += 1;
                self.books.unsampled.1 += 1;
                match of {
                    Of::Entity(entity) => Of::Below(self.entities[entity].trace),
                    other => other,
                }
            }
            Fate::Refused(why) => {
                if !foreign {
                    self.books.drop_entity(why);
                }
                match of {
                    Of::Entity(at) => Of::Refused(self.entities[at].trace, Some(at), why),
                    Of::Facade(trace) => Of::Refused(trace, None, why),
                    other => other,
                }
            }
            Fate::Uncounted => Of::Silent,
        }
    }

    fn begin_recorded(&mut self, of: Of, parent_id: String, begun: Begun<'_>) -> Of {
        let at = self.entities.len();
        let (trace, parent, top) = match of {
            Of::Entity(parent) => {
                let above = &self.entities[parent];
                // Once the segment has left, a late one belongs to itself.
                let is_late = !self.is_open(parent) && !self.is_open(above.top);
                (
                    above.trace,
                    Some(parent),
                    if is_late { at } else { above.top },
                )
            }
            Of::Facade(trace) => (trace, None, at),
            _ => return of,
        };
        self.push(trace, Some(parent_id), parent, top, begun);
        Of::Entity(at)
    }

    fn push(
        &mut self,
        trace: usize,
        parent_id: Option<String>,
        parent: Option<usize>,
        top: usize,
        begun: Begun<'_>,
    ) {
        if self.is_recorded(trace) && self.open(Some(trace)).is_empty() {
            self.list(trace);
        }
        let start = begun.start.map_or(self.now.tick, |wall| {
            let anchor = self.traces[trace].begun;
            anchor.tick + (wall - anchor.wall)
        });
        // Work that is suppressed where no trace is has no id.
        if !begun.id.is_empty() {
            let place = self.entities.len();
            assert!(self.places.insert(begun.id.clone(), place).is_none());
        }
        self.entities.push(Entity {
            trace,
            id: begun.id,
            parent_id,
            parent,
            top,
            start,
            end: None,
            values: Values::new(begun.name, begun.namespace),
            holds: 0,
            close_at_release: None,
            phase: Phase::Open,
            shown: Shown::No,
            due: false,
        });
    }

    /// Counts a trace as open, now that something of it is; where too many are,
    /// the oldest are given up.
    fn list(&mut self, trace: usize) {
        let foreign = self.traces[trace].foreign;
        let all = 0..self.traces.len();
        let mut live: Vec<usize> = all
            .filter(|trace| {
                self.traces[*trace].foreign == foreign && !self.open(Some(*trace)).is_empty()
            })
            .collect();
        live.sort_by_key(|trace| self.traces[*trace].listed);
        if live.len() >= self.settings.open_limits.0 {
            for trace in &live[..live.len() / 16 + 1] {
                self.give_up(*trace);
            }
        }
        self.listed += 1;
        self.traces[trace].listed = self.listed;
    }

    fn give_up(&mut self, trace: usize) {
        self.traces[trace].given_up = true;
        let foreign = self.traces[trace].foreign;
        let Trace { root, verdict, .. } = self.traces[trace];
        for (at, entity) in self.entities.iter_mut().enumerate() {
            if entity.trace != trace || !matches!(entity.phase, Phase::Open | Phase::Closed) {
                continue;
            }
            let waited = entity.phase == Phase::Closed && verdict == Verdict::Discarded;
            entity.phase = if root == Some(at) {
                Phase::GivenUp
            } else {
                Phase::Gone
            };
            if waited {
                self.books.waited += u64::from(!foreign);
            } else if !foreign {
                self.books.drop_entity(Loss::LimitOpen);
            }
        }
    }
}
