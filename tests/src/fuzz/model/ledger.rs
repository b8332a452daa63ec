//! The model of both ledgers, and the story that a sampler is told.

use std::collections::BTreeMap;

use xray_core::{Class, Decision, Documents, Entities, Events, Loss};

/// Numbers that a recorder must say at a quiet step. Where two numbers stand,
/// any from the first to the second will do.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    pub(super) begun: u64,
    pub(super) written: u64,
    pub(super) unsampled: (u64, u64),
    pub(super) dropped: BTreeMap<Loss, u64>,
    /// Entities of discarded traces that were given up while they waited: they
    /// count as `limit_open`, or as unsampled.
    pub(super) waited: u64,
    /// Entities of the process before the fork, which may be lost here.
    pub(super) forked: u64,
    pub(super) sent: u64,
    pub(super) lost: BTreeMap<Loss, u64>,
    pub(super) queued: u64,
    pub(super) trimmed: (u64, u64),
    pub(super) panics: (u64, u64),
}

impl Books {
    pub(super) fn drop_entity(&mut self, why: Loss) {
        *self.dropped.entry(why).or_default() += 1;
    }

    pub(super) fn lose_document(&mut self, why: Loss) {
        *self.lost.entry(why).or_default() += 1;
    }

    pub(super) fn panic(&mut self) {
        self.panics.0 += 1;
        self.panics.1 += 1;
    }

    #[track_caller]
    pub(super) fn agree(&self, entities: &Entities, documents: &Documents, events: Events) {
        assert!(entities.is_balanced(), "{entities:?}");
        assert!(documents.is_balanced(), "{documents:?}");
        let (forked, dropped) = without_forked(&entities.dropped);
        assert!(forked <= self.forked, "{entities:?}, {self:?}");
        assert_eq!(entities.begun, self.begun + forked, "begun: {entities:?}");
        assert_eq!(entities.written, self.written, "written: {entities:?}");
        let mut least = self.dropped.clone();
        let given_up = |dropped: &BTreeMap<Loss, u64>| {
            let count = dropped.get(&Loss::LimitOpen);
            count.copied().unwrap_or(0)
        };
        let waited = given_up(&dropped).saturating_sub(given_up(&least));
        if (1..=self.waited).contains(&waited) {
            *least.entry(Loss::LimitOpen).or_default() += waited;
        }
        assert_eq!(dropped, least, "dropped entities: {entities:?}");
        within(entities.unsampled, self.unsampled, "unsampled", entities);
        let (_, lost) = without_forked(&documents.lost);
        assert_eq!(documents.sent, self.sent, "sent: {documents:?}");
        assert_eq!(lost, self.lost, "lost documents: {documents:?}");
        assert_eq!(documents.queued, self.queued, "queued: {documents:?}");
        within(events.trimmed, self.trimmed, "trimmed", &events);
        within(
            events.callback_panics,
            self.panics,
            "callback_panics",
            &events,
        );
    }
}

#[track_caller]
fn within(found: u64, (least, most): (u64, u64), name: &str, all: &dyn std::fmt::Debug) {
    assert!(
        (least..=most).contains(&found),
        "{name}: {found} instead of {least} to {most}: {all:?}"
    );
}

fn without_forked(reasons: &BTreeMap<Loss, u64>) -> (u64, BTreeMap<Loss, u64>) {
    let mut others = reasons.clone();
    let forked = others.remove(&Loss::Fork);
    (forked.unwrap_or(0), others)
}

/// An outcome, as a sampler hears it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(super) trace_id: Option<String>,
    pub(super) decision: Decision,
    pub(super) class: Class,
    pub(super) status: Option<u16>,
    /// Nanoseconds.
    pub(super) elapsed: u128,
}
