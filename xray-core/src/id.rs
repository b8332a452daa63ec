//! The two identifiers of a trace, valid by construction.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::text::ascii;

/// Identifies one trace across every service it touches.
///
/// Printed as `1-<8 hex>-<24 hex>`: the version, the epoch second of the
/// original request, 96 random bits; 35 characters, lower case. An id of
/// nothing but zeros stands for "no trace" on the wire and cannot be built.
///
/// ```
/// # use xray_core::TraceId;
/// let id: TraceId = "1-66f2a1c0-0123456789abcdef01234567".parse()?;
/// assert_eq!(id.epoch_seconds(), 0x66f2_a1c0);
/// assert_eq!(id.to_string(), "1-66f2a1c0-0123456789abcdef01234567");
/// # Ok::<(), xray_core::ParseIdError>(())
/// ```
///
/// Source: [sending trace data](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// Characters in the printed form.
    pub const LEN: usize = 35;

    pub(crate) const MIN: Self = Self(1);

    /// A fresh one of the current second, given in nanoseconds since the Unix
    /// epoch.
    pub(crate) fn fresh(now: i64, high: u64, low: u64) -> Self {
        let epoch = now / 1_000_000_000;
        let random = u128::from(high) << 64 | u128::from(low);
        // All zero in one of 2^128 draws at the epoch itself.
        Self::from_parts(epoch as u32, random).unwrap_or(Self::MIN)
    }

    /// Joins an epoch second and 96 random bits (the upper 32 bits of
    /// `random` are ignored). `None` when all of it is zero.
    pub const fn from_parts(epoch_seconds: u32, random: u128) -> Option<Self> {
        let bits = (epoch_seconds as u128) << 96 | (random & (u128::MAX >> 32));
        Self::from_w3c(bits)
    }

    /// Reads the 128 bits of a W3C trace id; the first 32 take the place of the
    /// epoch second. `None` for zero.
    pub const fn from_w3c(bits: u128) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    /// The same id as the 128 bits of a W3C trace id.
    pub const fn to_w3c(self) -> u128 {
        self.0
    }

    /// The second of the original request, counted from the Unix epoch. An id
    /// that came in by W3C has random bits here.
    pub const fn epoch_seconds(self) -> u32 {
        (self.0 >> 96) as u32
    }

    /// Reads the printed form, upper case tolerated; `None` for anything else.
    pub(crate) fn from_bytes(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN || text[..2] != *b"1-" || text[10] != b'-' {
            return None;
        }
        let epoch = parse_hex(&text[2..10])?;
        let high = parse_hex(&text[11..19])?;
        let low = parse_hex(&text[19..])?;
        Self::from_parts(epoch as u32, u128::from(high) << 64 | u128::from(low))
    }

    /// The printed form, without an allocation.
    pub fn to_text(self) -> [u8; Self::LEN] {
        let mut text = *b"1-00000000-000000000000000000000000";
        write_hex(u64::from(self.epoch_seconds()), &mut text[2..10]);
        write_hex((self.0 >> 64) as u64 & 0xffff_ffff, &mut text[11..19]);
        write_hex(self.0 as u64, &mut text[19..]);
        text
    }
}

/// Identifies one segment or subsegment within its trace.
///
/// Printed as 16 lower-case hex digits. Zero means "none" on the wire and
/// cannot be built.
///
/// ```
/// # use xray_core::SegmentId;
/// let id: SegmentId = "53995c3f42cd8ad8".parse()?;
/// assert_eq!(id.to_string(), "53995c3f42cd8ad8");
/// # Ok::<(), xray_core::ParseIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(NonZeroU64);

impl SegmentId {
    /// Characters in the printed form.
    pub const LEN: usize = 16;

    /// `None` for zero.
    pub const fn new(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The 64 bits of the id, never zero.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Reads the printed form, upper case tolerated; `None` for anything else.
    pub(crate) fn from_bytes(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        Self::new(parse_hex(text)?)
    }

    /// The printed form, without an allocation.
    pub fn to_text(self) -> [u8; Self::LEN] {
        let mut text = [0; Self::LEN];
        write_hex(self.get(), &mut text);
        text
    }
}

/// The text was not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected {expected}")]
pub struct ParseIdError {
    expected: &'static str,
}

impl FromStr for TraceId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::from_bytes(text.as_bytes()).ok_or(ParseIdError {
            expected: "1-<8 hex digits>-<24 hex digits>, not all zero",
        })
    }
}

impl FromStr for SegmentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::from_bytes(text.as_bytes()).ok_or(ParseIdError {
            expected: "16 hex digits, not all zero",
        })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii(&self.to_text()))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii(&self.to_text()))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentId({self})")
    }
}

/// At most 16 hex digits, any case.
pub(crate) fn parse_hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &digit in digits {
        value = value << 4 | u64::from(HEX_VALUE[usize::from(digit)].checked_sub(1)?);
    }
    Some(value)
}

/// Fills `to`, of an even length, with the lowest digits of `value`.
pub(crate) fn write_hex(value: u64, to: &mut [u8]) {
    let mut rest = value;
    for pair in to.rchunks_exact_mut(2) {
        pair.copy_from_slice(&HEX_PAIR[(rest & 0xff) as usize]);
        rest >>= 8;
    }
}

/// The two digits of each byte.
const HEX_PAIR: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut value = 0;
    while value < 256 {
        pairs[value] = [digits[value >> 4], digits[value & 0xf]];
        value += 1;
    }
    pairs
};

/// Value of a hex digit plus one; zero for every other byte.
const HEX_VALUE: [u8; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8 + 1;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8 + 1;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn printed_ids_parse_back(bits in 1u128.., id in 1u64..) {
            let trace = TraceId::from_w3c(bits).unwrap();
            prop_assert_eq!(trace.to_string().parse(), Ok(trace));
            let segment = SegmentId::new(id).unwrap();
            prop_assert_eq!(segment.to_string().parse(), Ok(segment));
            prop_assert_eq!(segment.to_string(), format!("{id:016x}"));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*", near in "[01]-?[0-9a-fA-F]{7,9}-[0-9a-fA-F]{23,25}") {
            let _ = text.parse::<TraceId>();
            let _ = text.parse::<SegmentId>();
            let _ = near.parse::<TraceId>();
        }
    }

    #[test]
    fn only_the_exact_form_is_an_id() {
        for bad in [
            "",
            "2-66f2a1c0-0123456789abcdef01234567",
            "1-66f2a1c0-0123456789abcdef0123456",
            "1-66f2a1c0-0123456789abcdef012345678",
            "1-66f2a1c0_0123456789abcdef01234567",
            "1-66f2a1cg-0123456789abcdef01234567",
            "1-00000000-000000000000000000000000",
        ] {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "0000000000000000",
            "53995c3f42cd8ad",
            "53995c3f42cd8ad8a",
        ] {
            assert!(bad.parse::<SegmentId>().is_err(), "{bad}");
        }
        assert_eq!(
            "1-66F2A1C0-0123456789ABCDEF01234567"
                .parse::<TraceId>()
                .unwrap(),
            "1-66f2a1c0-0123456789abcdef01234567".parse().unwrap()
        );
    }
}
