//! JSON text: strings, numbers, times.

/// Writes a string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Writes the inside of a string. Control characters, and what would turn the
/// direction of text or break a line where it is shown, become `\uXXXX`; all
/// else stays as it is.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    let mut at = 0;
    while let Some(odd) = bytes[at..]
        .iter()
        .position(|byte| !PLAIN[usize::from(*byte)])
    {
        at += odd;
        let byte = bytes[at];
        let width = if byte < 0x80 { 1 } else { 3 };
        if byte == 0xe2 && !is_hostile(&bytes[at..]) {
            at += 3;
            continue;
        }
        out.extend_from_slice(&bytes[clean..at]);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                let point = 0x2000
                    + (u64::from(bytes[at + 1] & 0x3f) << 6)
                    + u64::from(bytes[at + 2] & 0x3f);
                unicode(out, point);
            }
            control => unicode(out, u64::from(control)),
        }
        at += width;
        clean = at;
    }
    out.extend_from_slice(&bytes[clean..]);
}

/// Bidirectional controls (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069)
/// and the separators U+2028 and U+2029. All of them begin with the byte e2 and
/// are three bytes long, as is every character that begins so.
fn is_hostile(text: &[u8]) -> bool {
    matches!(
        text,
        [0xe2, 0x80, 0x8e | 0x8f | 0xa8..=0xae, ..] | [0xe2, 0x81, 0xa6..=0xa9, ..]
    )
}

fn unicode(out: &mut Vec<u8>, point: u64) {
    let mut digits = *b"\\u0000";
    crate::id::write_hex(point, &mut digits[2..]);
    out.extend_from_slice(&digits);
}

/// Bytes that need no look: all but quotes, backslashes, controls, DEL and e2.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut control = 0;
    while control < 0x20 {
        plain[control] = false;
        control += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[0x7f] = false;
    plain[0xe2] = false;
    plain
};

pub(crate) fn integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a number; what JSON cannot express becomes a text.
pub(crate) fn float(out: &mut Vec<u8>, number: f64) {
    match not_finite(number) {
        Some(text) => string(out, text),
        // Writing a finite number to a vector cannot fail.
        None => drop(serde_json::to_writer(out, &number)),
    }
}

/// The text for a number that JSON cannot express.
pub(crate) fn not_finite(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number == f64::INFINITY {
        Some("Infinity")
    } else if number == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// Times of one trace: most of them lie in the same second.
#[derive(Debug, Default)]
pub(crate) struct Seconds {
    second: u64,
    /// The second with its point, and room for the decimals.
    text: [u8; 27],
    point: usize,
}

impl Seconds {
    /// Writes microseconds since the epoch as seconds with six decimals.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, micros: u64) {
        let (second, rest) = (micros / 1_000_000, micros % 1_000_000);
        if second != self.second || self.point == 0 {
            self.second = second;
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(second).as_bytes();
            self.text[..digits.len()].copy_from_slice(digits);
            self.text[digits.len()] = b'.';
            self.point = digits.len() + 1;
        }
        let end = self.point + 6;
        let pairs = [rest / 10_000, rest / 100 % 100, rest % 100];
        for (to, pair) in self.text[self.point..end].chunks_exact_mut(2).zip(pairs) {
            to.copy_from_slice(&DECIMAL_PAIR[pair as usize]);
        }
        out.extend_from_slice(&self.text[..end]);
    }
}

/// The two digits of the numbers below 100.
const DECIMAL_PAIR: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Escapes in valid JSON what [`escaped`] escapes and serde_json does not; it
/// can only stand inside a string.
pub(crate) fn harmless(json: String) -> String {
    let is_plain = |c: char| {
        let mut bytes = [0; 4];
        c != '\x7f' && !is_hostile(c.encode_utf8(&mut bytes).as_bytes())
    };
    if json.is_ascii() && !json.contains('\x7f') || json.chars().all(is_plain) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

/// What stands where a value was left out.
pub(crate) fn trimmed(bytes: usize) -> String {
    format!("[trimmed: {bytes} bytes]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn strings_read_back(text in any::<String>()) {
            let json = written(|out| string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn seconds_are_exact(micros in 0u64..=4_102_444_800_000_000) {
            let json = written(|out| Seconds::default().write(out, micros));
            let read: f64 = json.parse().unwrap();
            prop_assert_eq!((read * 1e6).round() as u64, micros);
        }

        #[test]
        fn finite_floats_read_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let json = written(|out| float(out, number));
            if number.is_finite() {
                prop_assert_eq!(serde_json::from_str::<f64>(&json).unwrap(), number);
            } else {
                prop_assert!(serde_json::from_str::<String>(&json).is_ok());
            }
        }
    }

    #[test]
    fn what_could_deceive_a_reader_is_escaped() {
        let text = "\u{0}\u{1b}[31m\u{7f}\u{202e}\u{2028}\u{2066}é€\u{200d}";
        assert_eq!(
            written(|out| string(out, text)),
            "\"\\u0000\\u001b[31m\\u007f\\u202e\\u2028\\u2066é€\u{200d}\""
        );
    }
}
