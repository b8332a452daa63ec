//! A text without the secrets of the URLs in it.

use std::borrow::Cow;

use crate::url::{odd_port, without_secrets};

/// Cuts user information, query and fragment out of every URL in a text, with or
/// without a scheme. A text that `is_cut` went on: of a URL at its end nothing is
/// told but the scheme when its host may be a part of a password.
pub(crate) fn scrubbed(text: &str, is_cut: bool) -> Cow<'_, str> {
    if !text.contains([':', '/', '?', '@', '%']) {
        return text.into();
    }
    let mut out = String::new();
    let mut done = 0;
    while let Some(url) = next_url(text, done) {
        let whole = &text[url.start..url.end];
        push_words(&mut out, &text[done..url.start]);
        done = url.end;
        if is_cut && url.may_go_on(text) {
            out.push_str(&whole[..url.host]);
            done = text.len();
        } else {
            let (origin, rest) = without_secrets(whole);
            out.push_str(origin);
            out.push_str(rest);
        }
    }
    push_words(&mut out, &text[done..]);
    out.into()
}

/// Writes a text without the secrets of the words in it that are URLs without a
/// scheme, or percent-encoded ones.
fn push_words(out: &mut String, text: &str) {
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let opening = bare.len() - bare.trim_start_matches(OPENING).len();
        let shown = without_loose_secrets(&bare[opening..]);
        out.push_str(&bare[..opening]);
        out.push_str(shown.as_ref());
        out.push_str(&word[bare.len()..]);
    }
}

/// May stand before a URL in a sentence.
const OPENING: [char; 7] = ['"', '\'', '`', '(', '[', '{', '<'];

/// `/path?key=value`, `//user:password@host`, `user:password@host` or an encoded
/// URL, without what is secret in it.
fn without_loose_secrets(word: &str) -> Cow<'_, str> {
    if is_encoded_url(word) {
        // As a path: all of it is cut before a user, or before a query.
        let path = format!("/{word}");
        let (origin, rest) = without_secrets(&path);
        let shown = format!("{origin}{rest}");
        return shown.strip_prefix('/').unwrap_or(&shown).to_owned().into();
    }
    let query = word.find('?').filter(|at| word[*at..].contains('='));
    let (address, query) = word.split_at(query.unwrap_or(word.len()));
    let behind = match without_punctuation(query) {
        "" => query,
        query_alone => &query[query_alone.len()..],
    };
    let address = match address.strip_prefix("//") {
        Some(rest) => format!("//{}", without_user(rest)).into(),
        None => Cow::Borrowed(without_user(address)),
    };
    match behind {
        "" => address,
        behind => (address.into_owned() + behind).into(),
    }
}

/// What stands behind `user:password@`.
fn without_user(address: &str) -> &str {
    let is_user = |user: &str| {
        let password = user.replace("::", "").split_once(':').map(|(_, s)| s.len());
        password.is_some_and(|length| length > 0)
    };
    match address.rsplit_once('@') {
        Some((user, host)) if is_user(user) => host,
        _ => address,
    }
}

fn is_encoded_url(word: &str) -> bool {
    let is_part = |part: &&[u8]| {
        part.eq_ignore_ascii_case(b"%3a%2f") || part.eq_ignore_ascii_case(b"3a%252f")
    };
    let has_scheme = |length| word.as_bytes().windows(length).any(|part| is_part(&part));
    word.contains('%') && (has_scheme(6) || has_scheme(7))
}

/// Where a URL stands in a text.
struct Place {
    start: usize,
    end: usize,
    /// Bytes before its host.
    host: usize,
}

impl Place {
    /// Whether a text that was cut ends within this URL, before anything has
    /// told where its host ends.
    fn may_go_on(&self, text: &str) -> bool {
        let rest = &text[self.start + self.host..];
        let authority = authority(rest);
        if authority.contains('@') {
            return false;
        }
        // Behind a colon a password may be, and hold a blank.
        let has_colon = authority.contains(':') && !rest.starts_with('[');
        let behind = text[self.end..].trim_matches(|c| ".,;:!?'\\)]}".contains(c));
        let is_near = has_colon && text.len() - self.end < PASSWORD;
        match behind.is_empty() {
            true => authority.len() == rest.len() || has_colon,
            false => is_near && authority.len() == rest.len(),
        }
    }
}

/// A longer password than this with blanks is not looked for.
const PASSWORD: usize = 128;

/// The first URL from `from` on: `scheme://`, or the one slash (or backslash)
/// that some readers of the usual schemes put up with.
fn next_url(text: &str, from: usize) -> Option<Place> {
    let colons = text[from..].match_indices(':').map(|(at, _)| from + at);
    for colon in colons {
        let before = &text[from..colon];
        let letters = before
            .bytes()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
        let start = colon - letters.count();
        let after = &text[colon + 1..];
        let slashes = after.len() - after.trim_start_matches(['/', '\\']).len();
        let is_usual = || {
            USUAL
                .iter()
                .any(|usual| ends_with(&text[start..colon], usual))
        };
        if after.starts_with("//") || after.starts_with("\\/\\/") || slashes > 0 && is_usual() {
            return Some(Place {
                start,
                end: end_of_url(text, start, colon + 1 + slashes),
                host: colon + 1 + slashes - start,
            });
        }
    }
    None
}

/// Schemes for which one slash will do.
const USUAL: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];

fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.is_some_and(|start| text[start..].eq_ignore_ascii_case(end))
}

/// A URL ends at a blank, a quote or an angle bracket, unless a password holds
/// that: then its `@` is still to come. Behind a `?` only a blank ends it, or
/// the quote that stands before it.
fn end_of_url(text: &str, start: usize, host: usize) -> usize {
    let end_from = |at: usize| text[at..].find(stops).map_or(text.len(), |end| at + end);
    let end = end_from(host);
    let url = without_punctuation(&text[start..end]);
    let authority = authority(&text[host..(start + url.len()).max(host)]);
    let has_colon = authority.contains(':') && !authority.starts_with('[');
    let is_open = has_colon && host + authority.len() >= start + url.len();
    let is_odd = !url.contains('@') && odd_port(authority, false).is_some();
    if let Some(at) = text[end..].find('@').filter(|_| is_open || is_odd) {
        return end_from(end + at);
    }
    match text[host..end].find(['?', '#']) {
        Some(query) => end_of_query(text, start, host + query),
        None => (start + url.len()).max(host),
    }
}

fn stops(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"<>`".contains(c)
}

/// Quotes and brackets that are opened within a query belong to it.
fn end_of_query(text: &str, start: usize, query: usize) -> usize {
    let is_quote = |c: &char| "\"'`<".contains(*c);
    let opening = text[..start].chars().next_back().filter(is_quote);
    let closing = opening.map(|c| if c == '<' { '>' } else { c });
    let mut depth = 0_usize;
    let ends = |(_, c): &(usize, char)| {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c.is_whitespace() || c.is_control() || (depth == 0 && Some(*c) == closing)
    };
    let end = text[query..].char_indices().find(ends);
    let end = end.map_or(text.len(), |(at, _)| query + at);
    start + without_punctuation(&text[start..end]).len()
}

fn authority(rest: &str) -> &str {
    &rest[..rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len())]
}

/// Without what belongs to the sentence: the bracket round a URL, a full stop.
fn without_punctuation(mut url: &str) -> &str {
    for _ in 0..PUNCTUATION {
        let Some(last) = url.chars().next_back() else {
            break;
        };
        let count = |c: char| url.matches(c).count();
        let is_extra = match last {
            ')' => count('(') < count(')'),
            ']' => count('[') < count(']'),
            '}' => count('{') < count('}'),
            c => ".,;:!?'\\".contains(c),
        };
        if !is_extra {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url
}

/// A sentence ends in fewer; more of it belong to the URL.
const PUNCTUATION: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_query_is_never_told(
            before in "[^:?@%]{0,10}",
            host in "[a-zé]{1,10}",
            secret in "[a-zA-Z0-9=&/+%?#@:;é]{0,20}",
            behind in any::<String>(),
            is_cut: bool,
        ) {
            let text = format!("{before} https://{host}/a?s3cr3t{secret} {behind}");
            let scrubbed = scrubbed(&text, is_cut);
            let expected = format!("{before} https://{host}/a");
            prop_assert!(scrubbed.starts_with(&expected), "{}", scrubbed);
            prop_assert!(!scrubbed.contains("s3cr3t"), "{}", scrubbed);
        }

        #[test]
        fn any_text_can_be_scrubbed(
            text in "([a:/\\\\@é?=(;\" ]|%3a%2f|%40){0,30}",
            is_cut: bool,
        ) {
            drop(scrubbed(&text, is_cut));
            drop(crate::connection_string::masked(&text));
        }
    }

    #[test]
    fn every_url_of_a_text_loses_its_secrets() {
        for (given, expected) in [
            ("no URL: at /all", "no URL: at /all"),
            (
                "error sending request for url (http://127.0.0.1:1/7?token=s)",
                "error sending request for url (http://127.0.0.1:1/7)",
            ),
            ("at http://h/?a=(s)&t=s): refused", "at http://h/): refused"),
            ("a://u:s@h/x b://h?s, c://h#s.", "a://h/x b://h, c://h."),
            ("http://[::1]", "http://[::1]"),
            ("http://[::1]:80/a?s", "http://[::1]:80/a"),
            ("is http://h:80: refused", "is http://h:80: refused"),
            (
                "{\"url\":\"http://h/p?s\",\"a\":1}",
                "{\"url\":\"http://h/p\",\"a\":1}",
            ),
            ("\\\"http://h/p?s\\\" failed", "\\\"http://h/p\\\" failed"),
            ("https:/u:s@h/a failed", "h/a failed"),
            ("https:\\/\\/u:s@h/a failed", "h/a failed"),
            ("path:/etc/a?b", "path:/etc/a?b"),
            ("at https://u:s s@h/a now", "at https://h/a now"),
            ("at https://u:s\"s@h/a now", "at https://h/a now"),
            ("at https://u:s and\nme@h", "at https://h"),
            ("at ://u:s@h/a", "at ://h/a"),
            ("http://", "http://"),
            ("at http://?s", "at http://"),
            ("é http://é/?s é", "é http://é/ é"),
            ("to /to/https%3A%2F%2Fu%3As%40h", "to /to/https"),
            (
                "to http://h/to/https%3A%2F%2Fu%3As%40h",
                "to http://h/to/https",
            ),
        ] {
            assert_eq!(scrubbed(given, false), expected, "{given}");
        }
    }

    #[test]
    fn no_part_of_a_secret_is_told() {
        for text in [
            r#"GET http://h/p?f={"token":"s3cr3t"} failed"#,
            r#"GET http://h/p?f="s3cr3t" failed"#,
            "GET http://h/p?f=<s3cr3t> failed",
            "no route for /7?token=s3cr3t",
            "GET /k?X-Amz-Signature=s3cr3t is 403",
            "b.s3.amazonaws.com/k?X-Amz-Signature=s3cr3t is 403",
            "//h/a?token=s3cr3t refused",
            "//me:s3cr3t@h/a refused",
            "proxy me:s3cr3t@proxy:8080 refused",
            "jdbc:oracle:thin:me/s3cr3t@//db:1521/o refused",
            "jdbc:oracle:thin:me/s3cr3t@db:1521:o refused",
            "https:me:s3cr3t@h/a",
            "file:/a?token=s3cr3t",
            "urn:x?token=s3cr3t",
            r#"{"url":"https:\/\/me:s3cr3t@h\/a"}"#,
            r#"{"url":"postgres:\/\/me:s3cr3t@db\/o"}"#,
            r#"{"url":"redis:\/\/:s3cr3t@db\/0"}"#,
            "to https%3A%2F%2Fme%3As3cr3t%40h%2F failed",
            "redirect_uri=https%3A%2F%2Fh%2F%3Ftoken%3Ds3cr3t failed",
            "at https://me:pa s3cr3t@h/a now",
            "at https://me:p@ss s3cr3t@h/a now",
            "at https://me:12 s3cr3t@h/a now",
            "at https://me:pa\ns3cr3t@h/a now",
            "at https://u:123 s3cr3t@h/a",
            "at https://u:123/s3cr3t@h/a",
            "at https://h/a?q={\"t\":\"s3cr3t\"} failed",
            "at https://h/a?q=<s3cr3t>",
            "at https://h/a?q=a`s3cr3t",
            "at https://h/a?q='s3cr3t'",
            "at https://h/a#s3cr3t",
            "at https://h/a?q=[s3cr3t]",
            "at https://h/a?q=a|s3cr3t",
            "at https://h/a?q=a,https://x/?b=s3cr3t",
            "at HTTPS://u:s3cr3t@h",
            "at https:u:s3cr3t@h",
            "at https:///u:s3cr3t@h",
            "at https:/\\u:s3cr3t@h",
            "at https%3A//u:s3cr3t@h",
            "at https://s3cr3t@h",
            "at //u:s3cr3t@h/a",
            "at u:s3cr3t@h:80/a",
            "at /a?token=s3cr3t",
            "at h.example/a?X-Amz-Signature=s3cr3t",
            "at amqp://u:s3cr3t@h",
            "at postgres://u:p\ns3cr3t@h",
            "at mailto:u?body=s3cr3t",
            "at https://h/a\\?q=s3cr3t",
            "at https://h/a%3Fq=s3cr3t",
            "at https://h:443?s3cr3t",
            "at https://[::1]?s3cr3t",
            "at https://u:[s3cr3t]@h",
            "at https://u:(s3cr3t)@h)",
            "at https://h/;token=s3cr3t",
            "at wss:/h?s3cr3t",
        ] {
            let told = scrubbed(text, false);
            assert!(!told.contains("cr3t"), "{text} -> {told}");
        }
    }

    #[test]
    fn a_text_without_secrets_stays() {
        for text in [
            "the stock is empty: try again at 12:30, or not?",
            "C:\\data\\a.db: cannot open (os error 2)",
            "called `Option::unwrap()` on a `None` value",
            "a::b::C<d::E> failed at src/main.rs:12:30",
            "[::1]:5432 refused",
            "fe80::1%eth0 refused",
            "crate::a@1.0 is yanked",
            "ask ann@shop.example",
            "100% of {\"a\":1} is done",
            "is x == y? no",
            "at http://h:80/a: refused, and then 12:30",
        ] {
            assert_eq!(scrubbed(text, false), text);
            assert_eq!(scrubbed(text, true), text);
        }
    }

    #[test]
    fn a_cut_behind_any_byte_of_a_password_is_safe() {
        for url in [
            "https://s3cr3t.jwt@h/",
            "https://s3cr3t!@h/",
            "https://me:pa s3cr3t@h/",
            "https://me:12 s3cr3t@h/",
            "https://me:12/s3cr3t@h/",
            "https://me:pa/s3cr3t@h/",
        ] {
            for end in 1..url.len() {
                let told = scrubbed(&url[..end], true);
                assert!(!told.contains("cr3t"), "{} -> {told}", &url[..end]);
            }
        }
    }

    #[test]
    fn a_url_that_was_cut_may_end_in_a_password() {
        for (given, expected) in [
            ("at https://s3cr3t", "at https://"),
            ("at https://me:s3c", "at https://"),
            ("at https://h/a", "at https://h/a"),
            ("at https://me@h", "at https://h"),
            ("at https://s3cr3t now", "at https://s3cr3t now"),
        ] {
            assert_eq!(scrubbed(given, true), expected, "{given}");
        }
    }
}
