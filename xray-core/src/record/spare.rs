//! Records that were sent, kept for traces to come: memory that is allocated on
//! one thread and freed on another costs both of them dearly.

use std::sync::Mutex;

use super::Record;

/// Records kept at most.
const KEPT: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Record>>);

impl Spare {
    /// An empty record. A new one rather than waiting for another thread.
    pub(crate) fn take(&self) -> Record {
        let kept = self.0.try_lock().ok().and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(Record::with_usual_capacity)
    }

    pub(crate) fn give(&self, mut record: Record) {
        if !record.is_small() {
            return;
        }
        record.clear();
        if let Ok(mut kept) = self.0.try_lock()
            && kept.len() < KEPT
        {
            kept.push(record);
        }
    }
}
