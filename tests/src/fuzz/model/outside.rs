//! The outside of a recorder: the emitter, the hook and the sampler, which do
//! as they are told and note all they see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xray_core::document::Document;
use xray_core::{Decision, Emitter, Flush, Keep, Loss, Outcome, Piece, Sampler, SamplingRequest};

use super::ledger::Heard;
use super::operations::{Answer, Choice, HookKind};

/// An id, and whether it was in progress.
pub(super) type Part = (String, bool);

/// A step of what leaves.
#[derive(Debug)]
pub(super) enum Left {
    /// A document, and its end.
    Document(Vec<u8>, Result<(), Loss>),
    /// The entities of a document that a hook kept back.
    Hooked(Vec<Part>, Loss),
    /// The entities of a piece that waits.
    Taken(Vec<Part>),
    /// A piece that waited is about to be sent.
    Drained(Vec<Part>),
    /// A piece that waited was dropped.
    Discarded(Vec<Part>),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Left>>>);

impl Log {
    pub(super) fn take(&self) -> Vec<Left> {
        std::mem::take(&mut *lock(&self.0))
    }

    fn push(&self, left: Left) {
        lock(&self.0).push(left);
    }

    /// A hook of that kind, which notes what it keeps back.
    pub(super) fn hook(self, kind: HookKind) -> impl Fn(&mut Document) -> Keep + Send + Sync {
        move |document| match kind {
            HookKind::DropsSome if document.name == "dropped by its hook" => {
                self.push(Left::Hooked(parts([&*document]), Loss::HookDropped));
                Keep::Drop
            }
            HookKind::PanicsAtSome if document.name == "panics its hook" => {
                self.push(Left::Hooked(parts([&*document]), Loss::HookPanic));
                std::panic::resume_unwind(Box::new(()))
            }
            HookKind::Edits => {
                document.annotations.insert(EDITED.into(), true.into());
                Keep::Send
            }
            _ => Keep::Send,
        }
    }
}

/// The annotation that a hook adds to each document.
pub(super) const EDITED: &str = "edited";

/// The emitter.
#[derive(Debug, Clone)]
pub(super) struct Outside(Arc<State>);

#[derive(Debug)]
struct State {
    log: Log,
    limit: usize,
    defers: bool,
    pieces: Mutex<Vec<Piece>>,
    /// So many documents to come are lost.
    losing: Mutex<(u8, Loss)>,
}

impl Outside {
    pub(super) fn new(log: Log, limit: usize, defers: bool) -> Self {
        Self(Arc::new(State {
            log,
            limit,
            defers,
            pieces: Mutex::default(),
            losing: Mutex::new((0, Loss::Refused)),
        }))
    }

    pub(super) fn lose(&self, count: u8, why: Loss) {
        *lock(&self.0.losing) = (count, why);
    }

    pub(super) fn drain(&self, newest_first: bool) {
        let mut pieces = std::mem::take(&mut *lock(&self.0.pieces));
        if newest_first {
            pieces.reverse();
        }
        for piece in pieces {
            self.0.log.push(Left::Drained(parts(&piece.to_documents())));
            self.send(piece);
        }
    }

    /// Lets go of the oldest piece.
    pub(super) fn discard(&self) {
        let mut pieces = lock(&self.0.pieces);
        if !pieces.is_empty() {
            let piece = pieces.remove(0);
            self.0
                .log
                .push(Left::Discarded(parts(&piece.to_documents())));
        }
    }

    /// This is the child of a fork: its parent sends what waits.
    pub(super) fn fork(&self) {
        lock(&self.0.pieces).clear();
    }

    fn send(&self, piece: Piece) {
        piece.send_documents(self.0.limit, |json| {
            assert!(json.len() <= self.0.limit, "{} bytes", json.len());
            let mut losing = lock(&self.0.losing);
            let verdict = match losing.0.checked_sub(1) {
                Some(left) => {
                    losing.0 = left;
                    Err(losing.1)
                }
                None => Ok(()),
            };
            self.0.log.push(Left::Document(json.to_vec(), verdict));
            verdict
        });
    }
}

impl Emitter for Outside {
    fn emit(&self, piece: Piece) {
        if self.0.defers {
            self.0.log.push(Left::Taken(parts(&piece.to_documents())));
            lock(&self.0.pieces).push(piece);
        } else {
            self.send(piece);
        }
    }

    fn flush(&self, _: Duration) -> Flush {
        self.drain(false);
        Flush::done()
    }
}

fn parts<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<Part> {
    let all = documents.into_iter().flat_map(Document::walk);
    all.map(|part| (part.id.clone(), part.in_progress))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sampler: says as it was told, and notes what it hears.
#[derive(Debug, Clone)]
pub(super) struct Script(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    answer: Answer,
    keeps: bool,
    heard: Vec<Heard>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Lines {
            answer: Answer::Choice(Choice::Sampled),
            keeps: false,
            heard: Vec::new(),
        })))
    }

    pub(super) fn answer(&self, answer: Answer) {
        lock(&self.0).answer = answer;
    }

    pub(super) fn keep(&self, keeps: bool) {
        lock(&self.0).keeps = keeps;
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut lock(&self.0).heard)
    }
}

/// The decision of each choice.
pub(super) fn decision(choice: Choice) -> Decision {
    match choice {
        Choice::Sampled => Decision::sampled(),
        Choice::Unsampled => Decision::unsampled(),
        Choice::Recorded => Decision::recorded(),
    }
}

/// The decision of each answer; none where it panics.
pub(super) fn answered(answer: Answer) -> Option<Decision> {
    match answer {
        Answer::Choice(choice) => Some(decision(choice)),
        Answer::ByRule => Some(Decision::sampled().with_rule("orders")),
        Answer::Panic => None,
    }
}

impl Sampler for Script {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        let answer = lock(&self.0).answer;
        answered(answer).unwrap_or_else(|| std::panic::resume_unwind(Box::new(())))
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        lock(&self.0).keeps
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        let heard = Heard {
            trace_id: outcome.trace_id.map(|id| id.to_string()),
            decision: outcome.decision.clone(),
            class: outcome.class,
            status: outcome.status,
            elapsed: outcome.duration().as_nanos(),
        };
        lock(&self.0).heard.push(heard);
    }
}
