//! Documents that leave with one call.
//!
//! Most of what a document costs is the call that sends it. Over loopback Linux
//! takes many datagrams in one ([`gso`](super::gso)), which then cost a quarter
//! each and take less of the receiver's buffer.

use std::sync::Arc;

use super::pace;
use crate::ledger::{Ledger, Loss};
use crate::recorder::Common;

/// Datagrams in one call; Linux has taken 64 since 4.18.
pub(super) const DATAGRAMS: usize = 64;
/// What is longer leaves alone: there is little to win.
pub(super) const LONGEST: usize = 8 << 10;
/// Bytes of the receiver's buffer that one call may take, whatever the pace: a
/// third of the default one.
const KERNEL_BYTES: usize = 64 << 10;

/// Datagrams of documents that are packed and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// How many of them are sent or lost.
    decided: usize,
    longest: usize,
    /// Where they are booked.
    common: Option<Arc<Common>>,
}

#[derive(Debug)]
struct Part {
    end: usize,
    entities: u64,
    /// What is done with when this one is.
    done: Pieces,
}

/// Pieces that are done with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) count: u64,
    /// Of these, those lost because the time was over.
    pub(super) late: u64,
}

impl Bundle {
    pub(super) fn is_empty(&self) -> bool {
        self.decided == self.parts.len()
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.parts.len() - self.decided
    }

    /// The length of the longest.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether a datagram of `bytes` may be added: within what one call takes
    /// and a burst allows, and so that all would not grow by more than half, were
    /// each as long as the longest.
    pub(super) fn has_room(&self, bytes: usize, burst: usize) -> bool {
        let (count, longest) = (self.parts.len() + 1, self.longest.max(bytes));
        self.is_empty()
            || count <= DATAGRAMS
                && pace::kernel_bytes(longest, count) <= burst.min(KERNEL_BYTES)
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
            done: Pieces::default(),
        });
    }

    /// One more piece is done with as soon as all that are left are: those wait
    /// here, and whoever flushes waits for pieces in their order.
    pub(super) fn end_piece(&mut self, in_time: bool) {
        if let Some(part) = self.parts.last_mut() {
            part.done.count += 1;
            part.done.late += u64::from(!in_time);
        }
    }

    /// The first datagram that is left.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.datagrams().next()
    }

    /// The datagrams that are left.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.parts.iter().map(|part| part.end);
        let starts = std::iter::once(0).chain(ends.clone());
        let datagrams = starts.zip(ends).map(|(start, end)| &self.bytes[start..end]);
        datagrams.skip(self.decided)
    }

    /// What all that are left take of the receiver's buffer.
    pub(super) fn kernel_bytes(&self) -> usize {
        pace::kernel_bytes(self.longest(), self.len())
    }

    /// Books the first `count` that are left, and tells which pieces are done
    /// with. Makes room for others when nothing is left.
    pub(super) fn decide(&mut self, count: usize, verdict: Result<(), Loss>) -> Pieces {
        let parts = &self.parts[self.decided..][..count];
        let entities = parts.iter().map(|part| part.entities).sum();
        let done = parts.iter().fold(Pieces::default(), |sum, part| Pieces {
            count: sum.count + part.done.count,
            late: sum.late + part.done.late,
        });
        if let Some(ledger) = self.ledger() {
            ledger.decide(count as u64, entities, verdict);
        }
        self.decided += count;
        if self.is_empty() {
            self.bytes.clear();
            self.parts.clear();
            (self.decided, self.longest) = (0, 0);
            self.common = None;
        }
        done
    }

    /// Where what is left is booked, if anything is.
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.common.as_ref().map(|common| &common.ledger)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.decide(self.len(), Err(Loss::Discarded));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::Documents;
    use crate::limits::DATAGRAM_HEADER;

    fn datagram(bytes: usize) -> Vec<u8> {
        let mut datagram = DATAGRAM_HEADER.to_vec();
        datagram.resize(DATAGRAM_HEADER.len() + bytes, b'd');
        datagram
    }

    fn books(common: &Common) -> Documents {
        let books = common.ledger.documents();
        assert!(books.is_balanced(), "{books:?}");
        books
    }

    proptest! {
        #[test]
        fn a_bundle_keeps_to_what_one_call_takes(
            sizes in prop::collection::vec(0..LONGEST - 64, 1..200),
            alike in prop::option::of(1..64_usize),
        ) {
            let common: Arc<Common> = Arc::default();
            let mut bundle = Bundle::default();
            let mut put = Vec::new();
            for size in sizes {
                // Lengths that lie close together fill a bundle.
                let datagram = datagram(alike.map_or(size, |alike| 300 + size % alike));
                if !bundle.has_room(datagram.len(), usize::MAX) {
                    break;
                }
                bundle.push(&common, &datagram, 0);
                put.push(datagram);
            }
            prop_assert!((1..=DATAGRAMS).contains(&bundle.len()));
            prop_assert!(bundle.datagrams().eq(put.iter().map(|datagram| &datagram[..])));
            prop_assert_eq!(Some(bundle.longest()), put.iter().map(Vec::len).max());
            prop_assert!(bundle.len() == 1 || bundle.kernel_bytes() <= KERNEL_BYTES);
            let joined = bundle.longest() * bundle.len();
            prop_assert!(joined <= crate::limits::DATAGRAM_BYTES);
            let bytes: usize = put.iter().map(Vec::len).sum();
            prop_assert!(joined * 2 <= bytes * 3, "{joined} of {bytes}");
            common.ledger.create_documents(bundle.len() as u64);
            bundle.decide(bundle.len(), Ok(()));
            prop_assert!(books(&common).queued == 0);
        }
    }

    #[test]
    fn a_burst_bounds_a_bundle() {
        let (common, mut bundle) = (Arc::default(), Bundle::default());
        assert!(bundle.has_room(8_000, 0), "one is always sent");
        bundle.push(&common, &datagram(1_000), 0);
        let two = pace::kernel_bytes(1_030, 2);
        assert!(bundle.has_room(1_030, two) && !bundle.has_room(1_030, two - 1));
        common.ledger.create_documents(1);
        bundle.decide(1, Ok(()));
    }

    #[test]
    fn what_is_let_go_of_is_booked() {
        let common: Arc<Common> = Arc::default();
        common.ledger.create_documents(3);
        let mut bundle = Bundle::default();
        for entities in [1, 2, 4] {
            bundle.push(&common, &datagram(100), entities);
        }
        bundle.decide(1, Ok(()));
        drop(bundle);
        let books = books(&common);
        assert_eq!((books.sent, books.queued), (1, 0));
        assert_eq!(books.lost[&Loss::Discarded], 2);
        let entities = common.ledger.entities();
        assert_eq!(
            (entities.written, entities.dropped[&Loss::Discarded]),
            (1, 6)
        );
    }
}
