//! Writes X-Amzn-Trace-Id from typed values.

use super::{MAX_EXTRAS, Sampled, TraceHeader};
use crate::text::reads_as_str;

/// The text of an X-Amzn-Trace-Id header, held inline, so that writing one
/// allocates nothing. Made by [`TraceHeader::to_text`]; reads as a `str`, always
/// visible ASCII.
#[derive(Clone)]
pub struct HeaderText {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl HeaderText {
    /// Largest number of bytes: 74 of Root, Parent and Sampled, a `;`, 256 of
    /// extras.
    pub const MAX_LEN: usize = 74 + 1 + MAX_EXTRAS;

    pub(super) fn new(header: &TraceHeader) -> Self {
        let mut text = Self {
            bytes: [0; Self::MAX_LEN],
            len: 0,
        };
        if let Some(root) = header.root {
            text.pair(b"Root=", &root.to_text());
        }
        if let Some(parent) = header.parent {
            text.pair(b"Parent=", &parent.to_text());
        }
        match header.sampled {
            Sampled::Yes => text.pair(b"Sampled=", b"1"),
            Sampled::No => text.pair(b"Sampled=", b"0"),
            Sampled::Requested => text.pair(b"Sampled=", b"?"),
            Sampled::Unknown => {}
        }
        if !header.extras().is_empty() {
            text.pair(b"", header.extras().as_bytes());
        }
        text
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) {
        if self.len > 0 {
            self.push(b";");
        }
        self.push(key);
        self.push(value);
    }

    fn push(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        // Always there: each part's length is bounded, and MAX_LEN is their sum.
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(text);
            self.len = end;
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

reads_as_str!(HeaderText);
