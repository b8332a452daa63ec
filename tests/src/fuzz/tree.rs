//! What came out, joined to one tree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use xray_core::document::Document;
use xray_core::{Always, Emitter, ManualClock, Piece, RandomSource, Recorder, RecorderBuilder};
use xray_local::{check_document, tidy};

use crate::HEADER;

/// Entities by id: the parent, and the document without what is below it and
/// without what only an outermost one says.
pub(super) type Tree = BTreeMap<String, (Option<String>, Document)>;

/// Fails when an entity comes twice.
pub(super) fn joined(documents: impl IntoIterator<Item = Document>) -> Tree {
    let mut tree = Tree::new();
    let mut ahead: Vec<(Option<String>, Document)> = Vec::new();
    for mut document in documents {
        assert!(document.trace_id.take().is_some(), "{document:?}");
        let subsegment = document.kind.take().is_some();
        let parent = document.parent_id.take();
        assert!(!subsegment || parent.is_some(), "{document:?}");
        ahead.push((parent, document));
    }
    while let Some((parent, mut document)) = ahead.pop() {
        assert_eq!((&document.kind, &document.trace_id), (&None, &None));
        let id = document.id.clone();
        for inner in std::mem::take(&mut document.subsegments) {
            ahead.push((Some(id.clone()), inner));
        }
        let known = tree.insert(id, (parent, document));
        assert!(known.is_none(), "an entity twice: {known:?}");
    }
    tree
}

/// Reads a document as strictly as there is: the daemon and the collector take
/// it, and it says nothing without need. More annotations than X-Ray indexes
/// are the caller's choice.
pub(super) fn strictly(json: &[u8]) -> Document {
    let text = || String::from_utf8_lossy(json);
    let datagram = [HEADER, b"\n", json].concat();
    let mut untidy = tidy(&datagram);
    untidy.retain(|violation| !violation.reason.ends_with("X-Ray indexes 50 in a trace"));
    assert_eq!(untidy, [], "{}", text());
    match check_document(json) {
        Ok(document) => document,
        Err(broken) => {
            assert!(broken.is_empty(), "{broken:?} in {}", text());
            Document::default()
        }
    }
}

/// The settings of a recorder with nothing left to chance, and its clock.
pub(super) fn settled(emitter: impl Emitter) -> (RecorderBuilder, Arc<ManualClock>) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS);
    let clock = Arc::new(ManualClock::at(start));
    let builder = Recorder::builder("fuzz")
        .ignore_environment()
        .sampler(Always)
        .random(Arc::new(Counting(AtomicU64::new(1))))
        .clock(clock.clone())
        .emitter(emitter);
    (builder, clock)
}

/// Where the clock stands at first.
pub(super) const EPOCH_SECONDS: u64 = 1_700_000_000;

struct Counting(AtomicU64);

impl RandomSource for Counting {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Keeps pieces until somebody takes them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Piece>>>);

impl Pieces {
    pub(super) fn take(&self) -> Vec<Piece> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emitter for Pieces {
    fn emit(&self, piece: Piece) {
        self.lock().push(piece);
    }
}

/// The documents of a piece, each within the limit.
pub(super) fn written(piece: Piece, limit: usize) -> Vec<Document> {
    let mut documents = Vec::new();
    piece.send_documents(limit, |json| {
        assert!(json.len() <= limit, "{} bytes exceed {limit}", json.len());
        documents.push(strictly(json));
        Ok(())
    });
    documents
}
