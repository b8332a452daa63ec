//! The work every row does: a segment with nine subsegments of three values
//! each, finished, serialised and sent.

use std::hint::black_box;

/// One way of doing it.
pub(crate) trait Peer: Sync {
    /// One trace, on the calling thread.
    fn trace(&self, round: u32);

    /// Of `begun` traces, those that still wait for a thread of the peer's own.
    fn waiting(&self, begun: u64) -> u64;

    /// How many may, so that the peer has work enough and loses nothing.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// Waits until nothing does.
    fn flush(&self);

    /// Traces that left, by the peer's own account; `None` where it keeps none.
    fn sent(&self) -> Option<u64>;
}

/// The values of the subsegments, known at run time only.
#[derive(Clone, Copy)]
pub(crate) struct Values {
    pub(crate) tenant: &'static str,
    pub(crate) count: i64,
    pub(crate) cached: bool,
}

/// What stands in the nine subsegments of a trace.
pub(crate) fn values(round: u32) -> impl Iterator<Item = Values> {
    (0..SUBSEGMENTS).map(move |number| Values {
        tenant: ["t-42", "tenant-with-a-longer-name"][black_box(round as usize % 2)],
        count: black_box(number),
        cached: black_box(number % 2 == 0),
    })
}

pub(crate) const SEGMENT: &str = "checkout";
pub(crate) const SUBSEGMENT: &str = "load";
pub(crate) const SUBSEGMENTS: i64 = 9;

/// Segment and subsegments.
pub(crate) const SPANS: u64 = SUBSEGMENTS as u64 + 1;
