//! The model: an entity closes, and must or may leave its trace.

use serde_json::Value;

use super::ledger::{Books, Heard};
use super::trace::{Members, Model, Of, Phase, Shown, Verdict};

impl Model {
    /// The owner was dropped by a panic.
    pub(super) fn unwind(&mut self, of: Of) {
        if let Of::Entity(at) = of
            && self.is_owned(at)
        {
            self.entities[at].values.unwind(&mut self.next_exception);
        }
        self.close(of, None);
    }

    /// Closes an entity as of a wall time, or now.
    pub(super) fn close(&mut self, of: Of, end: Option<i64>) {
        let Of::Entity(at) = of else {
            return;
        };
        let anchor = self.trace_of(at).begun;
        let end = end.map(|wall| anchor.tick + (wall - anchor.wall));
        if self.is_owned(at) && self.entities[at].holds > 0 {
            self.entities[at].close_at_release = Some(end);
        } else {
            self.end(at, end);
        }
    }

    pub(super) fn end(&mut self, at: usize, end: Option<i64>) {
        let now = self.now.tick;
        let was_open = self.is_open(at);
        let entity = &mut self.entities[at];
        let (trace, parent) = (entity.trace, entity.parent);
        if was_open {
            entity.end = Some(end.unwrap_or(now).max(entity.start));
            entity.phase = Phase::Closed;
            let seen = entity.values.seen.clone();
            if let (Some(parent), Some(seen)) =
                (parent.filter(|parent| self.is_open(*parent)), seen)
            {
                self.entities[parent].values.seen = Some(seen);
            }
        }
        if self.traces[trace].root == Some(at) {
            self.end_root(at, end);
        } else if was_open && self.traces[trace].verdict != Verdict::Open {
            let stays = parent.is_some_and(|parent| {
                matches!(self.entities[parent].phase, Phase::Open | Phase::Closed)
            });
            if !stays {
                self.due_from(at);
            }
        }
        if was_open && self.traces[trace].foreign {
            self.books.forked += 1;
        }
        if was_open && self.traces[trace].verdict == Verdict::Discarded {
            self.books.unsampled.1 += u64::from(!self.traces[trace].foreign);
        }
    }

    fn end_root(&mut self, at: usize, end: Option<i64>) {
        let of = self.entities[at].trace;
        let entity = &self.entities[at];
        let last = end.unwrap_or(self.now.tick).max(entity.start);
        let is_given_up = entity.phase == Phase::GivenUp;
        let trace = &mut self.traces[of];
        self.heard.push(Heard {
            trace_id: Some(trace.id.clone()).filter(|id| !id.is_empty()),
            decision: trace.decision.clone(),
            class: entity.values.class(),
            status: entity.values.status,
            elapsed: u128::from(last.abs_diff(entity.start)),
        });
        if is_given_up || !(trace.decision.record || trace.decision.sampled) {
            self.entities[at].phase = Phase::Gone;
            return;
        }
        trace.verdict = if trace.decision.sampled || self.keeps {
            Verdict::Sent
        } else {
            Verdict::Discarded
        };
        let is_discarded = trace.verdict == Verdict::Discarded && !trace.foreign;
        // The root itself is counted by its caller.
        let waiting = self.entities.iter().enumerate().filter(|(other, entity)| {
            *other != at && entity.trace == of && entity.phase == Phase::Closed
        });
        if is_discarded {
            self.books.unsampled.1 += waiting.count() as u64;
        }
        self.due_from(at);
    }

    /// It must leave, with all that is closed below it.
    fn due_from(&mut self, at: usize) {
        let mut leaving = vec![at];
        // A child stands behind its parent.
        for child in at + 1..self.entities.len() {
            let entity = &self.entities[child];
            let is_below = entity
                .parent
                .is_some_and(|parent| leaving.contains(&parent));
            if is_below && entity.phase == Phase::Closed {
                leaving.push(child);
            }
        }
        for at in leaving {
            self.make_due(at);
        }
    }

    /// An entity that is closed must have left the trace, unless it waits for a
    /// verdict.
    fn make_due(&mut self, at: usize) {
        let trace = self.trace_of(at);
        let waits = trace.verdict == Verdict::Open && !trace.decision.sampled;
        if self.entities[at].phase != Phase::Closed || waits {
            return;
        }
        if trace.verdict == Verdict::Discarded || trace.foreign {
            self.books.unsampled.0 += u64::from(!trace.foreign);
            self.entities[at].phase = Phase::Gone;
        }
        self.entities[at].due = true;
    }

    /// Everything that is closed must leave.
    pub(super) fn flush(&mut self) {
        for at in 0..self.entities.len() {
            self.make_due(at);
        }
    }

    /// What has been open so long must be shown, and the end of what was shown.
    pub(super) fn show_open(&mut self, age: i64) {
        let before = self.now.tick - age;
        for at in 0..self.entities.len() {
            let trace = self.trace_of(at);
            if trace.foreign || trace.given_up || !self.is_recorded(self.entities[at].trace) {
                continue;
            }
            let (is_sampled, is_sent) = (trace.decision.sampled, trace.verdict == Verdict::Sent);
            let entity = &self.entities[at];
            if entity.phase == Phase::Closed && entity.shown == Shown::Yes {
                self.make_due(at);
            } else if entity.phase == Phase::Open
                && entity.shown == Shown::No
                && entity.start <= before
                && (is_sampled || is_sent)
            {
                let members = Box::new(self.members(at));
                self.entities[at].shown = Shown::Due(members);
            }
        }
    }

    /// Whether a finished document of it may leave now.
    pub(super) fn may_leave(&self, at: usize) -> bool {
        let trace = self.trace_of(at);
        !trace.foreign
            && !trace.given_up
            && (trace.decision.sampled || trace.verdict == Verdict::Sent)
            && trace.verdict != Verdict::Discarded
    }

    /// Fails where something is late.
    pub(super) fn nothing_is_late(&self, shown_too: bool) {
        for entity in &self.entities {
            assert!(
                !(entity.due && entity.phase == Phase::Closed),
                "it should have left: {} {:?}",
                entity.id,
                entity.values.name
            );
            assert!(
                !(shown_too && matches!(entity.shown, Shown::Due(_))),
                "it should have been shown: {} {:?}",
                entity.id,
                entity.values.name
            );
        }
    }

    /// Its document, without those below it.
    pub(super) fn members(&self, at: usize) -> Members {
        let entity = &self.entities[at];
        let trace = &self.traces[entity.trace];
        let is_segment = trace.root == Some(at);
        let rule = trace.decision.rule.as_deref();
        let (mut document, trims) = entity.values.members(is_segment, &self.settings, rule);
        let seconds = |tick: i64| {
            let nanos = (trace.begun.wall + (tick - trace.begun.tick)).max(0);
            Value::from((nanos / 1_000) as f64 / 1e6)
        };
        document.insert("id".into(), entity.id.clone().into());
        document.insert("start_time".into(), seconds(entity.start));
        match entity.end {
            Some(end) => document.insert("end_time".into(), seconds(end)),
            None => document.insert("in_progress".into(), true.into()),
        };
        (document, trims)
    }

    /// This is the child now: all of before belongs to its parent.
    pub(super) fn fork(&mut self) {
        for trace in &mut self.traces {
            trace.foreign = true;
        }
        for entity in &mut self.entities {
            if entity.phase == Phase::Taken {
                entity.phase = Phase::Gone;
            }
        }
        let waiting = self.entities.iter();
        let waiting = waiting
            .filter(|entity| entity.phase == Phase::Closed)
            .count();
        self.books = Books {
            forked: waiting as u64,
            ..Books::default()
        };
    }
}
