//! Names, keys and texts made valid: what is not allowed becomes `_`, what is
//! too long is cut between characters.

use std::borrow::Cow;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::limits;

/// A name of 1 to 200 characters: letters, digits, white space and
/// `_ . : / % & # = + - @`.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    if is_usual_name(text) {
        return Cow::Borrowed(text);
    }
    let allowed = |c: char| {
        use GeneralCategoryGroup::{Letter, Number, Separator};
        if c.is_ascii() {
            return NAME[usize::from(c as u8)];
        }
        matches!(c.general_category_group(), Letter | Number | Separator)
    };
    replace(text, limits::NAME_CHARS, allowed)
}

/// An annotation key of 1 to 500 characters: `A-Z a-z 0-9 _ .`.
pub(crate) fn key(text: &str) -> Cow<'_, str> {
    if is_usual_key(text) {
        return Cow::Borrowed(text);
    }
    let allowed = |c: char| c.is_ascii() && KEY[usize::from(c as u8)];
    replace(text, limits::KEY_CHARS, allowed)
}

/// Whether a name is valid as it stands, and needs no escapes.
pub(crate) fn is_usual_name(text: &str) -> bool {
    is_usual(text, limits::NAME_CHARS, &NAME)
}

/// Whether an annotation key is valid as it stands.
pub(crate) fn is_usual_key(text: &str) -> bool {
    is_usual(text, limits::KEY_CHARS, &KEY)
}

fn is_usual(text: &str, limit: usize, allowed: &[bool; 256]) -> bool {
    let bytes = text.as_bytes();
    let known = bytes.iter().all(|byte| allowed[usize::from(*byte)]);
    known && !bytes.is_empty() && bytes.len() <= limit
}

/// The ASCII part of what a name may hold.
const NAME: [bool; 256] = table(b" _.:/%&#=+-@");
/// What a key may hold.
const KEY: [bool; 256] = table(b"_.");

/// Letters, digits and some more.
const fn table(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
}

fn replace(text: &str, limit: usize, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.is_empty() {
        return Cow::Borrowed("_");
    }
    let chars = text.chars().take(limit);
    Cow::Owned(chars.map(|c| if allowed(c) { c } else { '_' }).collect())
}

/// At most `limit` characters; `true` when something was cut off. What is cut
/// ends in `…`.
pub(crate) fn text(text: &str, limit: usize) -> (Cow<'_, str>, bool) {
    if text.len() <= limit {
        return (Cow::Borrowed(text), false);
    }
    let mut cuts = text.char_indices().skip(limit - 1);
    match (cuts.next(), cuts.next()) {
        (Some((last, _)), Some(_)) => (Cow::Owned(format!("{}…", &text[..last])), true),
        _ => (Cow::Borrowed(text), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_is_allowed() {
        for (given, expected) in [
            (
                "shop.example:8080/a%b&c#d=e+f-g@h",
                "shop.example:8080/a%b&c#d=e+f-g@h",
            ),
            ("Größe 7 東京", "Größe 7 東京"),
            ("a?b;c*d(e)!f$g~h^i<j>k\\l\"m", "a_b_c_d_e__f_g_h_i_j_k_l_m"),
            ("a\nb\u{1b}c\u{0}", "a_b_c_"),
            ("", "_"),
        ] {
            assert_eq!(name(given), expected);
        }
    }

    #[test]
    fn limits_count_characters_not_bytes() {
        for c in ["a", "é", "東", "𝒳"] {
            let (just, over) = (c.repeat(200), c.repeat(201));
            assert_eq!(name(&just), just);
            assert_eq!(name(&over), just);
            assert_eq!(text(&just, 200), (just.as_str().into(), false));
            let cut = format!("{}…", c.repeat(199));
            assert_eq!(text(&over, 200), (cut.into(), true));
        }
        assert_eq!(key(&"k".repeat(501)).len(), 500);
        assert_eq!(key("a-b.c_d é"), "a_b.c_d__");
    }
}
