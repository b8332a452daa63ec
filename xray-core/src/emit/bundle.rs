//! Documents that leave with one call.
//!
//! Most of what a document costs is the call that sends it. Over loopback Linux
//! takes many datagrams in one ([`gso`](super::gso)), which then cost a quarter
//! each and take less of the receiver's buffer. But for the last they have to be
//! equally long: blanks at the end of the header line fill them up, which is
//! read as JSON by whoever receives it, and the documents are as they were.

use std::io::IoSlice;
use std::sync::Arc;

use super::pace;
use crate::ledger::{Ledger, Loss};
use crate::limits::DATAGRAM_HEADER;
use crate::recorder::Common;

/// Datagrams in one call; Linux has taken 64 since 4.18.
pub(super) const DATAGRAMS: usize = 64;
/// What is longer leaves alone: there is little to win.
pub(super) const LONGEST: usize = 8 << 10;
/// Bytes of the receiver's buffer that one call may take, as bursts do by
/// default.
const BURST: usize = 64 << 10;

const HEADER: usize = DATAGRAM_HEADER.len() - 1;

/// The header line without its line feed, and blanks.
static HEADER_AND_BLANKS: [u8; HEADER + LONGEST] = {
    let mut bytes = [b' '; HEADER + LONGEST];
    let (header, _) = bytes.split_at_mut(HEADER);
    header.copy_from_slice(DATAGRAM_HEADER.split_at(HEADER).0);
    bytes
};

/// Datagrams of documents that are packed and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// How many of them are sent or lost.
    decided: usize,
    longest: usize,
    /// Pieces whose last document is among them.
    pieces: u64,
    /// Where they are booked.
    common: Option<Arc<Common>>,
}

#[derive(Debug)]
struct Part {
    end: usize,
    entities: u64,
}

impl Bundle {
    pub(super) fn is_empty(&self) -> bool {
        self.decided == self.parts.len()
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.parts.len() - self.decided
    }

    /// Whether a datagram of `bytes` may be added: within what one call takes,
    /// and with blanks for at most a third of all.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let (count, longest) = (self.parts.len() + 1, self.longest.max(bytes));
        self.is_empty()
            || count <= DATAGRAMS
                && pace::kernel_bytes(longest, count) <= BURST
                && longest * count * 2 <= (self.bytes.len() + bytes) * 3
    }

    /// Adds a datagram whose document holds so many entities to be booked.
    pub(super) fn push(&mut self, common: &Arc<Common>, datagram: &[u8], entities: u64) {
        self.common.get_or_insert_with(|| common.clone());
        self.bytes.extend_from_slice(datagram);
        self.longest = self.longest.max(datagram.len());
        self.parts.push(Part {
            end: self.bytes.len(),
            entities,
        });
    }

    /// The piece of the last datagram has no more. `false` if there is nothing
    /// to wait for.
    pub(super) fn close_piece(&mut self) -> bool {
        let waits = !self.is_empty();
        self.pieces += u64::from(waits);
        waits
    }

    /// The first datagram that is left.
    pub(super) fn first(&self) -> &[u8] {
        self.datagram(self.decided)
    }

    fn datagram(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.parts[before].end);
        &self.bytes[start..self.parts[at].end]
    }

    /// All that are left as one, each but the last of the length that is
    /// returned.
    pub(super) fn joined<'a>(&'a self, slices: &mut [IoSlice<'a>; 2 * DATAGRAMS]) -> usize {
        for (pair, at) in slices.chunks_mut(2).zip(self.decided..self.parts.len()) {
            let datagram = self.datagram(at);
            let is_last = at + 1 == self.parts.len();
            let blanks = if is_last {
                0
            } else {
                self.longest - datagram.len()
            };
            pair[0] = IoSlice::new(&HEADER_AND_BLANKS[..HEADER + blanks]);
            pair[1] = IoSlice::new(&datagram[HEADER..]);
        }
        self.longest
    }

    /// What all that are left take of the receiver's buffer.
    pub(super) fn kernel_bytes(&self) -> usize {
        pace::kernel_bytes(self.longest, self.len())
    }

    /// Books the first `count` that are left.
    pub(super) fn decide(&mut self, count: usize, verdict: Result<(), Loss>) {
        let parts = &self.parts[self.decided..][..count];
        let entities = parts.iter().map(|part| part.entities).sum();
        if let Some(ledger) = self.ledger() {
            ledger.decide(count as u64, entities, verdict);
        }
        self.decided += count;
    }

    /// Where what is left is booked, if anything is.
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        let common = self.common.as_ref().filter(|_| !self.is_empty())?;
        Some(&common.ledger)
    }

    /// Makes room for others, and tells how many pieces are done with.
    pub(super) fn clear(&mut self) -> u64 {
        self.bytes.clear();
        self.parts.clear();
        (self.decided, self.longest) = (0, 0);
        self.common = None;
        std::mem::take(&mut self.pieces)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.decide(self.len(), Err(Loss::Discarded));
    }
}
