//! Keeps documents in memory, for tests.

use std::sync::Arc;

use super::{Emitter, Piece};
use crate::document::Document;
use crate::sync::Mutex;

/// What a recorder would have sent; see
/// [`Recorder::capture`](crate::Recorder::capture).
#[derive(Debug, Clone)]
pub struct Capture {
    limit: usize,
    documents: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Capture {
    /// Captures documents of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            documents: Arc::default(),
        }
    }

    /// The documents so far, as JSON text, oldest first.
    pub fn json(&self) -> Vec<Vec<u8>> {
        self.documents.lock().clone()
    }

    /// The documents so far, read by the lenient model, oldest first. One that
    /// cannot be read is left out, which no test should let happen.
    pub fn documents(&self) -> Vec<Document> {
        let documents = self.documents.lock();
        let read = documents
            .iter()
            .filter_map(|json| Document::from_json(json).ok());
        read.collect()
    }

    /// Forgets what was captured.
    pub fn clear(&self) {
        self.documents.lock().clear();
    }
}

impl Emitter for Capture {
    fn emit(&self, piece: Piece) {
        piece.send_documents(self.limit, |json| {
            self.documents.lock().push(json.to_vec());
            Ok(())
        });
    }
}
