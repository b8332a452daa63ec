//! The model: an entity that is open is written to, or held.

use super::operations::What;
use super::trace::{Model, Of};

impl Model {
    /// The entity that is found by way of `segment()`.
    pub(super) fn segment(&self, of: Of) -> Of {
        match of {
            Of::Entity(entity) => Of::Entity(self.entities[entity].top),
            Of::Below(trace) => self.traces[trace].root.map_or(of, Of::Entity),
            Of::Refused(_, Some(entity), _) => Of::Entity(self.entities[entity].top),
            other => other,
        }
    }

    pub(super) fn write(&mut self, of: Of, what: &What) {
        let of = match what {
            What::User(_) | What::Version(_) | What::Origin(_) | What::Link(_) => self.segment(of),
            _ => of,
        };
        let marks = match what {
            What::Metadata(_, _, meta) => meta.marks(),
            _ => None,
        };
        self.books.trimmed.1 += what.may_trim();
        match of {
            Of::Entity(at) if self.is_owned(at) => {
                let trace = self.entities[at].trace;
                let is_counted = self.is_recorded(trace) && !self.traces[trace].foreign;
                let values = &mut self.entities[at].values;
                values.write(what, &mut self.next_exception);
                if let Some(panics) = marks.filter(|_| is_counted) {
                    self.books.trimmed.0 += u64::from(!panics);
                    self.books.trimmed.1 += 1;
                    self.books.panics.0 += u64::from(panics);
                    self.books.panics.1 += u64::from(panics);
                }
            }
            // It may be serialised, though nothing is recorded.
            _ => {
                self.books.trimmed.1 += u64::from(marks.is_some());
                self.books.panics.1 += u64::from(marks == Some(true));
            }
        }
    }

    pub(super) fn write_precursor(&mut self, of: Of, id: String) {
        if let Of::Entity(at) = of
            && self.is_open(at)
        {
            self.entities[at].values.precursor(id);
            self.books.trimmed.1 += 1; // where it is a segment
        }
    }

    /// Holds the segment; the token to release it with.
    pub(super) fn hold(&mut self, of: Of) -> Option<usize> {
        let Of::Entity(top) = self.segment(of) else {
            return None;
        };
        self.is_owned(top).then(|| {
            self.entities[top].holds += 1;
            top
        })
    }

    pub(super) fn release(&mut self, top: usize) {
        let entity = &mut self.entities[top];
        entity.holds -= 1;
        if entity.holds == 0
            && let Some(end) = entity.close_at_release.take()
        {
            self.end(top, end);
        }
    }
}
