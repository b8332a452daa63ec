//! What the tests of recording share.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use xray_core::{Always, Emitter, Piece, Recorder, RecorderBuilder};

/// Fails unless both ledgers balance and nothing is open, queued or listed as
/// alive.
#[track_caller]
pub(crate) fn balance(recorder: &Recorder) {
    let (entities, documents) = (recorder.entities(), recorder.documents());
    assert!(entities.is_balanced(), "{entities:?}");
    assert!(documents.is_balanced(), "{documents:?}");
    assert_eq!(entities.open, 0, "{entities:?}");
    assert_eq!(documents.queued, 0, "{documents:?}");
    assert_eq!(recorder.open_entities(), 0);
    assert_eq!(recorder.snapshot(), []);
}

/// A recorder that reads no environment and hands its pieces to `emitter`.
pub(crate) fn builder(emitter: impl Emitter) -> RecorderBuilder {
    Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .emitter(emitter)
}

/// Keeps pieces as they cross the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pieces(pub(crate) Arc<Mutex<Vec<Piece>>>);

impl Pieces {
    pub(crate) fn take(&self) -> Vec<Piece> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Emitter for Pieces {
    fn emit(&self, piece: Piece) {
        self.0.lock().unwrap().push(piece);
    }
}

/// Serialises a piece to documents of at most `limit` bytes; each is checked
/// to be one.
#[track_caller]
pub(crate) fn written(piece: Piece, limit: usize) -> Vec<Value> {
    let (mut documents, mut texts) = (Vec::new(), Vec::new());
    piece.send_documents(limit, |json| {
        assert!(json.len() <= limit, "{} bytes exceed {limit}", json.len());
        texts.push(json.to_vec());
        documents.push(serde_json::from_slice(json).unwrap());
        Ok(())
    });
    // On a stack of its own: some callers have a small one on purpose.
    std::thread::scope(|scope| {
        let checked = scope.spawn(|| texts.iter().for_each(|json| accepted(json)));
        checked.join().unwrap();
    });
    documents
}

/// Fails unless the daemon and the collector take the document.
pub(crate) fn accepted(json: &[u8]) {
    if let Err(violations) = xray_local::check_document(json) {
        panic!("{violations:?} in {}", String::from_utf8_lossy(json));
    }
}

/// Where an entity belongs, and what it says without its children.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    pub(crate) parent: Option<String>,
    pub(crate) own: Map<String, Value>,
}

impl Joined {
    pub(crate) fn name(&self) -> &str {
        self.own["name"].as_str().unwrap()
    }
}

/// The whole tree by id, whichever documents its parts came in. Checks what an
/// outermost object must have and an inner one must not.
#[track_caller]
pub(crate) fn rejoin(documents: impl IntoIterator<Item = Value>) -> BTreeMap<String, Joined> {
    let mut tree = BTreeMap::new();
    let mut ahead: Vec<(Option<String>, Value)> =
        documents.into_iter().map(|whole| (None, whole)).collect();
    while let Some((above, document)) = ahead.pop() {
        let Value::Object(mut own) = document else {
            panic!("not an object: {document}");
        };
        let id = own["id"].as_str().unwrap().to_owned();
        let (trace, kind) = (own.remove("trace_id"), own.remove("type"));
        let parent = own.remove("parent_id");
        match &above {
            None => {
                assert!(trace.is_some(), "outermost without trace_id: {own:?}");
                let is_segment = own.get("aws").is_some_and(|aws| aws.get("xray").is_some());
                assert_eq!(kind.is_none(), is_segment, "{own:?}");
                assert!(is_segment || parent.is_some(), "{own:?}");
            }
            Some(_) => assert_eq!((trace, kind, &parent), (None, None, &None)),
        }
        let parent = above.or(parent.map(|id| id.as_str().unwrap().to_owned()));
        if let Some(children) = own.remove("subsegments") {
            for child in children.as_array().unwrap() {
                ahead.push((Some(id.clone()), child.clone()));
            }
        }
        let known = tree.insert(id, Joined { parent, own });
        assert_eq!(known, None, "an entity twice");
    }
    tree
}
