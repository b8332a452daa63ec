//! Hooks on finished documents.

use std::fmt;
use std::sync::Arc;

use crate::document::Document;
use crate::document::rewrite::rewrite;
use crate::document::valid::make_valid;
use crate::guard::guarded;
use crate::ledger::Loss;
use crate::limits;

/// What a hook says of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Keep {
    /// Send it, as it now is.
    Send,
    /// Do not send it; it is lost as `hook_dropped`.
    Drop,
}

type Hook = dyn Fn(&mut Document) -> Keep + Send + Sync;

/// All hooks of a recorder, in the order they were added.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Vec<Arc<Hook>>);

impl Hooks {
    pub(crate) fn add(&mut self, hook: Arc<Hook>) {
        self.0.push(hook);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes to leave free in a document for what hooks add.
    pub(crate) fn room(&self) -> usize {
        if self.is_empty() {
            0
        } else {
            limits::HOOK_BYTES
        }
    }

    /// Runs the hooks over the document in `datagram`, which stands behind the
    /// header line, and returns how many values were made valid. A hook that
    /// panics may have been about to redact, so its document is not sent.
    pub(crate) fn run(&self, datagram: &mut Vec<u8>, limit: usize) -> Result<u64, Loss> {
        let header = limits::DATAGRAM_HEADER.len();
        let hooked = guarded(|| self.changed(&datagram[header..]));
        let Some((json, trimmed)) = hooked.unwrap_or(Err(Loss::HookPanic))? else {
            return Ok(0);
        };
        if json.len() > limit {
            return Err(Loss::TooLarge);
        }
        datagram.truncate(header);
        datagram.extend_from_slice(json.as_bytes());
        Ok(trimmed)
    }

    /// What the hooks make of a document; `None` when they leave it as it is.
    fn changed(&self, text: &[u8]) -> Result<Option<(String, u64)>, Loss> {
        // What we wrote ourselves can be read.
        let before = Document::from_json(text).map_err(|_| Loss::Serialize)?;
        let mut document = before.clone();
        // What a hook does is not traced: it would come back to be hooked.
        let hooks = || self.0.iter().all(|hook| hook(&mut document) == Keep::Send);
        if !crate::context::suppressed_entity().run(hooks) {
            return Err(Loss::HookDropped);
        }
        if document == before {
            return Ok(None);
        }
        let trimmed = make_valid(&mut document, &before);
        let json = rewrite(document, &before, text).map_err(|_| Loss::Serialize)?;
        Ok(Some((json, trimmed)))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hooks({})", self.0.len())
    }
}
