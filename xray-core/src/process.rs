//! Which process this is: a fork makes another one, and tells nobody.

use std::sync::atomic::{AtomicU32, Ordering};

static LAST_SEEN: AtomicU32 = AtomicU32::new(0);

/// Asks the operating system, which costs as much as a small lock.
pub(crate) fn id() -> u32 {
    let id = std::process::id();
    if last_seen() != id {
        LAST_SEEN.store(id, Ordering::Relaxed);
    }
    id
}

/// What was answered last, for nothing. Every recorder that is built and every
/// trace that is recorded asks, so this is the parent's only until the first of them
/// after a fork.
pub(crate) fn last_seen() -> u32 {
    LAST_SEEN.load(Ordering::Relaxed)
}
