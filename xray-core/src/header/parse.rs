//! Reads X-Amzn-Trace-Id: bytes in, a header out, whatever the bytes are.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Carried, MAX_EXTRAS, Sampled, TraceHeader, trim, trim_start};
use crate::text::ascii;
use crate::{SegmentId, TraceId};

/// Bytes looked at, so that a value's size never decides the work.
pub(super) const MAX_LEN: usize = 1024;

/// Pairs looked at.
const MAX_PAIRS: usize = 16;

/// Extra pairs kept: with Root, Parent and Sampled written before them, the
/// next reader still sees them all.
const MAX_EXTRA_PAIRS: usize = MAX_PAIRS - 3;

pub(super) fn parse(value: &[u8]) -> TraceHeader {
    canonical(value).unwrap_or_else(|| general(value))
}

/// The form that nearly every request has; `None` sends the rest to [`general`].
fn canonical(value: &[u8]) -> Option<TraceHeader> {
    let value: &[u8; 74] = value.try_into().ok()?;
    if value[..5] != *b"Root=" || value[40..48] != *b";Parent=" || value[64..73] != *b";Sampled=" {
        return None;
    }
    let root = TraceId::from_bytes(&value[5..40])?;
    let parent = SegmentId::from_bytes(&value[48..64])?;
    let sampled = match value[73] {
        b'1' => Sampled::Yes,
        b'0' => Sampled::No,
        b'?' => Sampled::Requested,
        _ => return None,
    };
    Some(TraceHeader::from_carried(root, Some(parent), sampled, None))
}

fn general(value: &[u8]) -> TraceHeader {
    let mut root = Latest::default();
    let mut parent = Latest::default();
    let mut sampled = Latest::default();
    let mut lineage = Latest::default();
    let mut others: [&[u8]; MAX_PAIRS] = [b""; MAX_PAIRS];
    let mut other_count = 0;

    let line = first_line(trim(capped(value)));
    let pairs = line.split(|byte| *byte == b';');
    for pair in pairs.filter(|pair| !trim(pair).is_empty()).take(MAX_PAIRS) {
        let Some((key, value)) = key_and_value(pair) else {
            continue;
        };
        let latest = match Name::of(trim(key)) {
            Some(Name::Root) => &mut root,
            Some(Name::Parent) => &mut parent,
            Some(Name::Sampled) => &mut sampled,
            Some(Name::Lineage) => &mut lineage,
            Some(Name::Own) => continue,
            None => {
                others[other_count] = pair;
                other_count += 1;
                continue;
            }
        };
        latest.put(trim(value), Name::is_exact(key));
    }

    let root = TraceId::from_bytes(root.value);
    TraceHeader {
        root,
        parent: root.and(SegmentId::from_bytes(parent.value)),
        sampled: match sampled.value {
            b"1" => Sampled::Yes,
            b"0" => Sampled::No,
            b"?" => Sampled::Requested,
            _ => Sampled::Unknown,
        },
        carried: Extras::collect(lineage.value, &others[..other_count]),
    }
}

/// The pairs that are whole within the first [`MAX_LEN`] bytes.
fn capped(value: &[u8]) -> &[u8] {
    if value.len() <= MAX_LEN {
        return value;
    }
    let head = &value[..MAX_LEN];
    let end = head.iter().rposition(|byte| *byte == b';').unwrap_or(0);
    &head[..end]
}

/// Gateways fold several header lines into one, with `,` between. No value of
/// ours has a comma, so one with a known name after it begins another line;
/// pairs of two lines must not mix.
fn first_line(value: &[u8]) -> &[u8] {
    let mut commas = (0..value.len()).filter(|at| value[*at] == b',');
    match commas.find(|at| begins_line(&value[at + 1..])) {
        Some(end) => &value[..end],
        None => value,
    }
}

/// Looks at blanks and one name only: this runs for every comma.
fn begins_line(text: &[u8]) -> bool {
    let text = trim_start(text);
    if !text.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic());
    let (name, rest) = text.split_at(letters.take(*Name::LENGTHS.end() + 1).count());
    Name::of(name).is_some() && trim_start(rest).starts_with(b"=")
}

fn key_and_value(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..]))
}

/// The names with a meaning of their own.
#[derive(Clone, Copy)]
enum Name {
    Root,
    Parent,
    Sampled,
    Lineage,
    /// `Self`, which load balancers add for themselves.
    Own,
}

impl Name {
    const ALL: [(Self, &[u8]); 5] = [
        (Self::Root, b"Root"),
        (Self::Parent, b"Parent"),
        (Self::Sampled, b"Sampled"),
        (Self::Lineage, b"Lineage"),
        (Self::Own, b"Self"),
    ];

    /// Bytes of a name.
    const LENGTHS: RangeInclusive<usize> = 4..=7;

    /// In any case.
    fn of(key: &[u8]) -> Option<Self> {
        if !Self::LENGTHS.contains(&key.len()) {
            return None;
        }
        let mut all = Self::ALL.iter();
        let (name, _) = all.find(|(_, text)| key.eq_ignore_ascii_case(text))?;
        Some(*name)
    }

    /// As this crate and the other SDKs write it, no blank round it.
    fn is_exact(key: &[u8]) -> bool {
        Self::ALL.iter().any(|(_, text)| key == *text)
    }
}

/// The value that counts among pairs of one name.
///
/// Some SDKs pass on pairs whose spelling they do not know, after their own
/// ones: the exact spelling is then the nearest hop's word, the other one stale.
#[derive(Default)]
struct Latest<'a> {
    value: &'a [u8],
    exact: bool,
}

impl<'a> Latest<'a> {
    fn put(&mut self, value: &'a [u8], exact: bool) {
        if exact || !self.exact {
            *self = Self { value, exact };
        }
    }
}

/// The extra pairs that are kept, collected before the one allocation.
struct Extras {
    text: [u8; MAX_EXTRAS],
    len: usize,
    pairs: usize,
}

impl Extras {
    fn collect(lineage: &[u8], others: &[&[u8]]) -> Option<Arc<Carried>> {
        if lineage.is_empty() && others.is_empty() {
            return None;
        }
        let mut extras = Self {
            text: [0; MAX_EXTRAS],
            len: 0,
            pairs: 0,
        };
        extras.push(b"Lineage", lineage); // first: Lambda stops endless loops by it
        for pair in others {
            if let Some((key, value)) = key_and_value(pair) {
                extras.push(trim(key), trim(value));
            }
        }
        if extras.len == 0 {
            return None;
        }
        Some(Arc::new(Carried {
            extras: ascii(&extras.text[..extras.len]).into(),
            ..Carried::default()
        }))
    }

    /// Takes a pair whole or not at all.
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let at = if self.len == 0 { 0 } else { self.len + 1 };
        let end = at + key.len() + 1 + value.len();
        if !is_extra(key) || !is_extra(value) || end > MAX_EXTRAS || self.pairs == MAX_EXTRA_PAIRS {
            return;
        }
        if at > 0 {
            self.text[at - 1] = b';';
        }
        let equals = at + key.len();
        self.text[at..equals].copy_from_slice(key);
        self.text[equals] = b'=';
        self.text[equals + 1..end].copy_from_slice(value);
        self.len = end;
        self.pairs += 1;
    }
}

/// Safe to write into any header: visible ASCII, and no `;` or `,`, which end
/// a pair or a line.
fn is_extra(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b';' | b',');
    !text.is_empty() && text.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_paths_agree(
            root in "[12]-[0-9a-fA-Fg]{8}-[0-9a-f]{24}|1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}|1-0{8}-0{24}",
            parent in "[0-9a-fA-F]{16}|0{16}|[0-9a-g;]{16}",
            sampled in "[01?2; ]",
        ) {
            let text = format!("Root={root};Parent={parent};Sampled={sampled}");
            prop_assert_eq!(text.len(), 74);
            if let Some(header) = canonical(text.as_bytes()) {
                prop_assert_eq!(header, general(text.as_bytes()));
            }
        }

        #[test]
        fn both_paths_agree_on_spoilt_bytes(at in 0usize..74, byte: u8) {
            let mut text = *b"Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
            prop_assert!(canonical(&text).is_some());
            text[at] = byte;
            if let Some(header) = canonical(&text) {
                prop_assert_eq!(header, general(&text));
            }
        }
    }

    #[test]
    fn the_usual_form_takes_the_short_path() {
        for sampled in ["0", "1", "?"] {
            let text = format!(
                "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled={sampled}"
            );
            assert!(canonical(text.as_bytes()).is_some());
            assert!(canonical(format!("{text};").as_bytes()).is_none());
        }
    }
}
