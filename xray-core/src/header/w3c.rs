//! Reads the W3C headers, traceparent and tracestate, and writes traceparent.

use super::parse::MAX_LEN;
use super::{Sampled, trim};
use crate::id::{parse_hex, write_hex};
use crate::text::{ascii, reads_as_str};
use crate::{SegmentId, TraceId};

/// Largest tracestate kept, in bytes: what the specification asks a sender to
/// pass on at least.
const MAX_TRACESTATE: usize = 512;

/// What a usable traceparent says.
pub(super) struct Traceparent {
    pub(super) root: TraceId,
    pub(super) parent: SegmentId,
    pub(super) sampled: Sampled,
}

pub(super) fn parse_traceparent(value: &[u8]) -> Option<Traceparent> {
    if value.len() > MAX_LEN {
        return None;
    }
    let value = trim(value);
    let (text, rest) = value.split_first_chunk::<{ TraceparentText::LEN }>()?;
    let known_end = match &text[..2] {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.is_empty() || rest[0] == b'-', // later versions only add fields
    };
    let dashes = [2, 35, 52].iter().all(|at| text[*at] == b'-');
    if !known_end || !dashes || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    parse_hex(&text[..2])?;
    let high = parse_hex(&text[3..19])?;
    let low = parse_hex(&text[19..35])?;
    let flags = parse_hex(&text[53..])?;
    Some(Traceparent {
        root: TraceId::from_w3c(u128::from(high) << 64 | u128::from(low))?,
        parent: SegmentId::from_bytes(&text[36..52])?,
        sampled: if flags & 1 == 1 {
            Sampled::Yes
        } else {
            Sampled::No
        },
    })
}

pub(super) fn parse_tracestate(value: &[u8]) -> Option<&str> {
    if value.len() > MAX_TRACESTATE {
        return None;
    }
    let value = trim(value);
    let allowed = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if value.is_empty() || !value.iter().all(allowed) {
        return None;
    }
    Some(ascii(value))
}

/// A traceparent's text, held inline: `00-<32 hex>-<16 hex>-<01 or 00>`, lower
/// case. Made by [`TraceHeader::traceparent`](super::TraceHeader::traceparent);
/// reads as a `str`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceparentText([u8; Self::LEN]);

impl TraceparentText {
    /// Bytes of the text.
    pub const LEN: usize = 55;

    pub(super) fn new(root: TraceId, parent: SegmentId, sampled: Sampled) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex((root.to_w3c() >> 64) as u64, &mut text[3..19]);
        write_hex(root.to_w3c() as u64, &mut text[19..35]);
        write_hex(parent.get(), &mut text[36..52]);
        if sampled == Sampled::Yes {
            text[54] = b'1';
        }
        Self(text)
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

reads_as_str!(TraceparentText);
