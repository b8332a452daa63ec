//! A text without the secrets of the URLs in it.

use std::borrow::Cow;

use crate::url::{odd_port, without_secrets};

/// Cuts user information, query and fragment out of every URL in a text. A text
/// that `is_cut` went on: of a URL at its end nothing is told but the scheme
/// when its host may be a part of a password.
pub(crate) fn scrubbed(text: &str, is_cut: bool) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    while let Some(url) = next_url(text, done) {
        let whole = &text[url.start..url.end];
        out.push_str(&text[done..url.start]);
        if is_cut && url.end == text.len() && is_bare_host(whole) {
            out.push_str(&whole[..url.host]);
        } else {
            let (origin, rest) = without_secrets(whole);
            out.push_str(origin);
            out.push_str(rest);
        }
        done = url.end;
    }
    if done == 0 {
        return text.into();
    }
    out.push_str(&text[done..]);
    out.into()
}

/// Where a URL stands in a text.
struct Place {
    start: usize,
    end: usize,
    /// Bytes before its host.
    host: usize,
}

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
        if after.starts_with("//") || slashes > 0 && is_usual() {
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
/// that: then its `@` is still to come.
fn end_of_url(text: &str, start: usize, host: usize) -> usize {
    let stops = |c: char| c.is_whitespace() || c.is_control() || "\"<>`".contains(c);
    let end_from = |at: usize| text[at..].find(stops).map_or(text.len(), |end| at + end);
    let end = end_from(host);
    let url = without_punctuation(&text[start..end]);
    let authority = authority(&text[host..(start + url.len()).max(host)]);
    let is_odd = !url.contains('@') && odd_port(authority, false).is_some();
    let line = text[end..].find('\n').map_or(text.len(), |at| end + at);
    match text[end..line].find('@').filter(|_| is_odd) {
        Some(at) => end_from(end + at),
        None => (start + url.len()).max(host),
    }
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

/// Whether a URL stops before anything has told where its host ends.
fn is_bare_host(url: &str) -> bool {
    let host = url.split_once(":").map_or(url, |(_, rest)| rest);
    let host = host.trim_start_matches(['/', '\\']);
    authority(host).len() == host.len() && !host.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_query_is_never_told(
            before in "[^:]{0,10}",
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
        fn any_text_can_be_scrubbed(text in "[a:/\\\\@é%34\" ]{0,30}", is_cut: bool) {
            drop(scrubbed(&text, is_cut));
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
            ("at https://u:s and\nme@h", "at https://u and\nme@h"),
            ("at ://u:s@h/a", "at ://h/a"),
            ("http://", "http://"),
            ("at http://?s", "at http://"),
            ("é http://é/?s é", "é http://é/ é"),
            (
                "to /to/https%3A%2F%2Fu%3As%40h",
                "to /to/https%3A%2F%2Fu%3As%40h",
            ),
            (
                "to http://h/to/https%3A%2F%2Fu%3As%40h",
                "to http://h/to/https",
            ),
        ] {
            assert_eq!(scrubbed(given, false), expected, "{given}");
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
