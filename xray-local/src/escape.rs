//! Text of unknown origin, made safe for a terminal.

use std::fmt::{self, Write};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Shows `text` with every character escaped that could steer a terminal or
/// mislead a reader: control characters (ANSI escapes begin with one), line
/// separators, bidirectional controls and other invisible characters.
///
/// ```
/// assert_eq!(xray_local::escape("a\u{1b}[31m\u{202e}b\n").to_string(), r"a\u{1b}[31m\u{202e}b\n");
/// ```
pub fn escape(text: &str) -> impl fmt::Display {
    Escaped {
        text,
        quoted: false,
        limit: usize::MAX,
    }
}

/// The same between quotation marks, with those inside escaped.
pub(crate) fn quote(text: &str) -> impl fmt::Display {
    Escaped {
        text,
        quoted: true,
        limit: LIMIT,
    }
}

/// The same, cut when long.
pub(crate) fn shorten(text: &str) -> impl fmt::Display {
    Escaped {
        text,
        quoted: false,
        limit: LIMIT,
    }
}

struct Escaped<'a> {
    text: &'a str,
    quoted: bool,
    limit: usize,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted {
            f.write_char('"')?;
        }
        for (count, character) in self.text.chars().enumerate() {
            if count == self.limit {
                f.write_char('…')?;
                break;
            }
            if is_harmful(character) || self.quoted && matches!(character, '"' | '\\') {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        if self.quoted {
            f.write_char('"')?;
        }
        Ok(())
    }
}

pub(crate) fn is_harmful(character: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Unassigned,
    };
    // Printable ASCII is nearly all there is; the table is for the rest.
    !matches!(character, ' '..='~')
        && matches!(
            character.general_category(),
            Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Unassigned
        )
}

/// A line stays readable; a name never gets here with more.
const LIMIT: usize = 200;
