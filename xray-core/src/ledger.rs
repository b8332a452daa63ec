//! What happened to everything recorded: two ledgers that balance.
//!
//! Entities: begun = written + unsampled + dropped by reason + open.
//! Documents: created = sent + lost by reason + queued.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::guard::guarded;
use crate::report::{Report, report};

/// Why an entity was dropped or a document lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// An emitter let go of a document without sending it.
    Discarded,
    /// It belongs to the process this one was forked from, or this one got no
    /// emission thread of its own.
    Fork,
    /// A hook said so.
    HookDropped,
    /// A hook panicked, maybe before it redacted what it was there for.
    HookPanic,
    /// Its trace had too many open entities.
    LimitChildren,
    /// Its trace was the oldest of too many that nobody closed.
    LimitOpen,
    /// The daemon's name could not be resolved.
    NoAddress,
    /// The queue to the emission thread was full.
    QueueFull,
    /// Nothing listened at the daemon's address.
    Refused,
    /// The operating system would not send it.
    SendError,
    /// It could not be read or written by a hook's model. Must not happen.
    Serialize,
    /// It came after `shutdown`, or was still queued when its time was over.
    Shutdown,
    /// It did not fit into a datagram even after everything that may be
    /// trimmed was trimmed.
    TooLarge,
    /// Its trace was kept by its sampler, but had held back too much by then.
    Undecided,
    /// The socket's own buffer stayed full.
    WouldBlock,
}

impl Loss {
    /// Every reason, in the order of [`Loss::name`].
    pub const ALL: [Self; 15] = [
        Self::Discarded,
        Self::Fork,
        Self::HookDropped,
        Self::HookPanic,
        Self::LimitChildren,
        Self::LimitOpen,
        Self::NoAddress,
        Self::QueueFull,
        Self::Refused,
        Self::SendError,
        Self::Serialize,
        Self::Shutdown,
        Self::TooLarge,
        Self::Undecided,
        Self::WouldBlock,
    ];

    /// The reason as it stands in ledgers and log lines, such as `queue_full`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Fork => "fork",
            Self::HookDropped => "hook_dropped",
            Self::HookPanic => "hook_panic",
            Self::LimitChildren => "limit_children",
            Self::LimitOpen => "limit_open",
            Self::NoAddress => "no_address",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::SendError => "send_error",
            Self::Serialize => "serialize",
            Self::Shutdown => "shutdown",
            Self::TooLarge => "too_large",
            Self::Undecided => "undecided",
            Self::WouldBlock => "would_block",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counters behind both ledgers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    begun: Counter,
    written: Counter,
    /// Unsampled from their beginning on, and not in `begun`.
    unsampled: Counter,
    /// Begun, and thrown away with their unsampled root.
    discarded: Counter,
    dropped: [Counter; Loss::ALL.len()],
    created: Counter,
    sent: Counter,
    lost: [Counter; Loss::ALL.len()],
    trimmed: Counter,
    callback_panics: Counter,
    refused_late: Counter,
}

impl Ledger {
    pub(crate) fn begin_entity(&self) {
        self.begun.add(1);
    }

    /// An entity that is unsampled from its beginning on.
    pub(crate) fn begin_unsampled(&self) {
        self.unsampled.add(1);
    }

    /// Entities that were recorded, then thrown away with their unsampled root.
    pub(crate) fn discard_unsampled(&self, entities: u64) {
        self.discarded.add(entities);
    }

    pub(crate) fn drop_entities(&self, reason: Loss, entities: u64) {
        self.dropped[reason as usize].add(entities);
    }

    pub(crate) fn create_documents(&self, documents: u64) {
        self.created.add(documents);
    }

    /// Books documents with the entities in them.
    pub(crate) fn decide(&self, documents: u64, entities: u64, verdict: Result<(), Loss>) {
        match verdict {
            Ok(()) => {
                self.written.add(entities);
                self.sent.add(documents);
            }
            Err(reason) => self.lose(reason, documents, entities),
        }
    }

    /// Books documents as lost, with the entities in them.
    pub(crate) fn lose(&self, reason: Loss, documents: u64, entities: u64) {
        if entities > 0 {
            self.drop_entities(reason, entities);
        }
        if documents > 0 {
            self.lost[reason as usize].add(documents);
            let text = format_args!("documents lost as {reason}: {documents}");
            report(Report::Lost, &text);
        }
    }

    /// Documents that are booked as sent were refused at `daemon`.
    pub(crate) fn refuse_late(&self, documents: u64, daemon: &str) {
        self.refused_late.add(documents);
        let text = format_args!("documents refused by {daemon} after they were sent: {documents}");
        report(Report::RefusedLate, &text);
    }

    pub(crate) fn trim(&self, values: u64) {
        self.trimmed.add(values);
    }

    /// Runs foreign code whose panic ends here and is counted.
    pub(crate) fn guard<R>(&self, callback: impl FnOnce() -> R) -> Option<R> {
        let returned = guarded(callback);
        if returned.is_none() {
            self.callback_panics.add(1);
        }
        returned
    }

    pub(crate) fn entities(&self) -> Entities {
        // What ends an entity is read before what begins it, so that `open`
        // never falls below zero while others record.
        let written = self.written.sum();
        let dropped = by_reason(&self.dropped);
        let discarded = self.discarded.sum();
        let begun = self.begun.sum();
        let unsampled = self.unsampled.sum();
        let gone = written + discarded + dropped.values().sum::<u64>();
        Entities {
            begun: begun + unsampled,
            written,
            unsampled: unsampled + discarded,
            dropped,
            open: begun.saturating_sub(gone),
        }
    }

    pub(crate) fn documents(&self) -> Documents {
        // What ends a document is read before what makes one, as above.
        let sent = self.sent.sum();
        let lost = by_reason(&self.lost);
        let gone = sent + lost.values().sum::<u64>();
        let created = self.created.sum().max(gone);
        Documents {
            created,
            sent,
            lost,
            queued: created - gone,
        }
    }

    /// Entities and documents lost as `fork`.
    pub(crate) fn forked(&self) -> (u64, u64) {
        let reason = Loss::Fork as usize;
        (self.dropped[reason].sum(), self.lost[reason].sum())
    }

    pub(crate) fn events(&self) -> Events {
        Events {
            trimmed: self.trimmed.sum(),
            callback_panics: self.callback_panics.sum(),
            refused_late: self.refused_late.sum(),
        }
    }
}

/// The ledger of segments and subsegments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entities {
    /// All segments and subsegments ever begun.
    pub begun: u64,
    /// Those that were written into a document.
    pub written: u64,
    /// Those of unsampled roots.
    pub unsampled: u64,
    /// Those that were recorded and then dropped, by reason.
    pub dropped: BTreeMap<Loss, u64>,
    /// Those not closed yet, or closed and waiting to be written.
    pub open: u64,
}

impl Entities {
    /// Adds what was begun and lost where the books were copied by a fork.
    pub(crate) fn lose_forked(&mut self, entities: u64) {
        if entities > 0 {
            self.begun += entities;
            *self.dropped.entry(Loss::Fork).or_default() += entities;
        }
    }

    /// Whether `begun = written + unsampled + dropped + open`.
    pub fn is_balanced(&self) -> bool {
        let dropped: u64 = self.dropped.values().sum();
        self.begun == self.written + self.unsampled + dropped + self.open
    }
}

/// The ledger of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Documents {
    /// All documents ever made; a finished piece of a trace that has not been
    /// packed yet counts as one. A document in progress counts from the moment
    /// it is sent or lost, as it is withdrawn when its trace is finished first.
    pub created: u64,
    /// Those the operating system accepted. It cannot tell what became of them;
    /// see [`Events::refused_late`].
    pub sent: u64,
    /// Those that will never be sent, by reason.
    pub lost: BTreeMap<Loss, u64>,
    /// Those on their way.
    pub queued: u64,
}

impl Documents {
    /// Adds what was made and lost where the books were copied by a fork.
    pub(crate) fn lose_forked(&mut self, documents: u64) {
        if documents > 0 {
            self.created += documents;
            *self.lost.entry(Loss::Fork).or_default() += documents;
        }
    }

    /// Whether `created = sent + lost + queued`.
    pub fn is_balanced(&self) -> bool {
        let lost: u64 = self.lost.values().sum();
        self.created == self.sent + lost + self.queued
    }

    /// `{"created":N,"sent":N,"lost":{"reason":N}}`, on one line.
    pub fn to_json(&self) -> String {
        let lost: Vec<String> = self
            .lost
            .iter()
            .map(|(reason, count)| format!("\"{reason}\":{count}"))
            .collect();
        format!(
            "{{\"created\":{},\"sent\":{},\"lost\":{{{}}}}}",
            self.created,
            self.sent,
            lost.join(",")
        )
    }
}

/// Events that are worth watching and in no ledger.
///
/// ```
/// let (recorder, _capture) = xray_core::Recorder::capture("shop");
/// recorder.begin_segment("shop").close();
/// let events = recorder.events();
/// assert_eq!((events.trimmed, events.callback_panics, events.refused_late), (0, 0, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Events {
    /// Values that were shortened so that their document fits, each marked where
    /// it stood if a text may stand there; and those left out because their entity
    /// had no room for more.
    pub trimmed: u64,
    /// Panics of a sampler or another callback, caught.
    pub callback_panics: u64,
    /// Documents that count as sent, and that the daemon's host refused
    /// afterwards: over a network a refusal arrives after the call that sent
    /// them, with the next one. Over loopback it arrives in time, and this stays
    /// zero.
    pub refused_late: u64,
}

fn by_reason(counters: &[Counter; Loss::ALL.len()]) -> BTreeMap<Loss, u64> {
    Loss::ALL
        .into_iter()
        .map(|reason| (reason, counters[reason as usize].sum()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Counters and lists of what is shared are kept in so many parts.
pub(crate) const STRIPES: usize = 8;

/// A counter in stripes, so that threads do not pull one cache line to and fro.
#[derive(Debug, Default)]
struct Counter([Stripe; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Counter {
    fn add(&self, count: u64) {
        self.0[stripe()].0.fetch_add(count, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        let stripes = self.0.iter();
        stripes.map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// The calling thread's stripe, dealt out in turn.
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    STRIPE
        .try_with(|stripe| {
            if stripe.get() == usize::MAX {
                stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
            }
            stripe.get()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let ledger = Ledger::default();
        for (times, reason) in Loss::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                ledger.create_documents(1);
                ledger.lose(reason, 1, 0);
            }
        }
        let documents = ledger.documents();
        for (times, reason) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(documents.lost[&reason], times as u64 + 1, "{reason}");
        }
        assert!(documents.is_balanced(), "{documents:?}");
        assert!(Loss::ALL.is_sorted_by_key(|reason| reason.name()));
    }

    /// One thread makes documents, another sends them, a third looks.
    #[test]
    fn documents_balance_while_threads_count() {
        const ALL: u64 = 100_000;
        let (ledger, made) = (Ledger::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ALL {
                    ledger.create_documents(1);
                    made.fetch_add(1, Ordering::Release);
                }
            });
            scope.spawn(|| {
                for sent in 0..ALL {
                    while made.load(Ordering::Acquire) <= sent {
                        std::thread::yield_now();
                    }
                    ledger.decide(1, 0, Ok(()));
                }
            });
            loop {
                let documents = ledger.documents();
                assert!(documents.queued <= ALL, "{documents:?}");
                assert!(documents.is_balanced(), "{documents:?}");
                if documents.sent == ALL {
                    break;
                }
            }
        });
    }

    #[test]
    fn the_json_line_names_each_reason_that_occurred() {
        let ledger = Ledger::default();
        ledger.create_documents(3);
        ledger.decide(1, 0, Ok(()));
        ledger.decide(1, 0, Err(Loss::Refused));
        assert_eq!(
            ledger.documents().to_json(),
            r#"{"created":3,"sent":1,"lost":{"refused":1}}"#
        );
    }
}
