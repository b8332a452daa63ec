//! The cause of an entity: its exceptions, or the one it shares.

use super::json;
use super::members::{Members, Trim};
use crate::limits;
use crate::record::{Exception, Field, Frame, Message, Stored};

impl Members<'_> {
    pub(super) fn cause(&mut self) {
        if !self.has(Field::Exception) && !self.has(Field::CauseLink) {
            return;
        }
        let record = self.record;
        let all = self
            .values_of(Field::Exception)
            .filter_map(|value| match value.stored {
                Stored::Exception(index) => Some(&record.exceptions[index as usize]),
                _ => None,
            });
        let mut exceptions: Vec<&Exception> = all.collect();
        if self.few && exceptions.len() > limits::EXCEPTIONS {
            self.trimmed += (exceptions.len() - limits::EXCEPTIONS) as u64;
            exceptions.truncate(limits::EXCEPTIONS);
        }
        let mut opening = ",\"cause\":{\"exceptions\":[";
        for exception in &exceptions {
            self.raw(opening);
            opening = ",";
            self.exception(exception);
        }
        if !exceptions.is_empty() {
            self.raw("]}");
        } else if let Some(Stored::Id(id)) = self.only(Field::CauseLink).map(|link| link.stored) {
            self.raw(",\"cause\":\"");
            self.id(id);
            self.raw("\"");
        }
    }

    fn exception(&mut self, exception: &Exception) {
        self.raw("{\"id\":\"");
        self.out.extend_from_slice(&exception.id.to_text());
        self.raw("\",\"type\":");
        self.cut_before(&exception.kind, limits::EXCEPTION_KIND_BYTES);
        self.raw(",\"message\":");
        self.message(&exception.message);
        if exception.remote {
            self.raw(",\"remote\":true");
        }
        if let Some(cause) = exception.cause {
            self.raw(",\"cause\":\"");
            self.out.extend_from_slice(&cause.to_text());
            self.raw("\"");
        }
        let mut truncated = exception.truncated;
        if self.trim < Trim::Stacks {
            self.stack(&exception.stack);
        } else if !exception.stack.is_empty() {
            self.trimmed += 1;
            truncated = truncated.saturating_add(exception.stack.len() as u32);
        }
        for (name, count) in [("truncated", truncated), ("skipped", exception.skipped)] {
            if count > 0 {
                self.raw(",");
                self.key(name);
                json::integer(self.out, count);
            }
        }
        self.raw("}");
    }

    fn message(&mut self, message: &Message) {
        let trimmed = self.trimmed;
        self.bounded(&message.text, limits::MESSAGE_BYTES + 1);
        if message.is_cut {
            self.trimmed = trimmed + 1;
        }
    }

    fn stack(&mut self, stack: &[Frame]) {
        let mut opening = ",\"stack\":[{\"path\":";
        for frame in stack {
            self.raw(opening);
            opening = ",{\"path\":";
            self.cut_before(&frame.path, limits::FRAME_BYTES);
            self.raw(",\"line\":");
            json::integer(self.out, frame.line);
            self.raw(",\"label\":");
            self.cut_before(&frame.label, limits::FRAME_BYTES);
            self.raw("}");
        }
        if !stack.is_empty() {
            self.raw("]");
        }
    }
}
