//! A text that stops growing: what formats for a user is foreign code, and may
//! go on for ever.

use std::fmt::{self, Display, Write};

use super::floor_char_boundary;
use crate::guard::guarded;

/// The beginning of a text.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) text: String,
    /// Whether the text went on.
    pub(crate) is_cut: bool,
    limit: usize,
}

impl Bounded {
    /// At most `limit` bytes of what `value` says. `None` when its `Display`
    /// panics before.
    pub(crate) fn of(value: &dyn Display, limit: usize) -> Option<Self> {
        let mut bounded = Self {
            text: String::new(),
            is_cut: false,
            limit,
        };
        let written = guarded(|| write!(bounded, "{value}"));
        (written.is_some() || bounded.is_cut).then_some(bounded)
    }

    /// At most `limit` bytes of a text.
    pub(crate) fn of_text(text: &str, limit: usize) -> Self {
        let end = floor_char_boundary(text, limit);
        Self {
            text: text[..end].to_owned(),
            is_cut: end < text.len(),
            limit,
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let end = floor_char_boundary(text, self.limit - self.text.len());
        self.text.push_str(&text[..end]);
        self.is_cut = end < text.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}
