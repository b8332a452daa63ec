//! A URL without its secrets.

use crate::secrets::is_secret;

/// Cuts query, fragment, session and user information out of a URL: what stands
/// before the user information, and what stands after it.
///
/// A password may hold, unescaped, what ends an authority; then what looks like
/// a port is no number, and all up to the last `@` goes.
pub(crate) fn without_secrets(url: &str) -> (&str, &str) {
    let Some(start) = authority(url) else {
        return ("", without_query(url, 0));
    };
    let rest = &url[start..];
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    if let Some(at) = end_of_user(host, path) {
        return (&url[..start], without_query(&rest[at + 1..], 0));
    }
    match odd_port(host, start == 0) {
        None => ("", without_query(url, start)),
        Some(colon) => match rest.rfind('@') {
            Some(at) => {
                // It may stand in a query, which then ends with more than this.
                let behind = &rest[at + 1..];
                let end = behind.find(['&', '=']).unwrap_or(behind.len());
                (&url[..start], without_query(&behind[..end], 0))
            }
            None => ("", &url[..start + colon]),
        },
    }
}

/// The `@` behind a user. A password may hold slashes, and begin like a port.
fn end_of_user(host: &str, path: &str) -> Option<usize> {
    let last = path.rfind('@')?;
    if host.contains('@') {
        return host.contains(':').then_some(last).or(host.rfind('@'));
    }
    let is_like_port = host.contains(':') && odd_port(host, false).is_none();
    // Of a port and `/@name` the host may be told.
    let is_name = path[..last].len() == host.len() + 1;
    (is_like_port && !is_name && !host.starts_with('[')).then_some(last)
}

/// Where the authority of a URL begins; a mere path has none.
fn authority(url: &str) -> Option<usize> {
    if url.starts_with("//") {
        return Some(2);
    }
    let path = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    // The first of either: a password may hold the other one.
    let schemes = [path.find("://"), path.find(":\\\\")];
    let scheme = schemes.into_iter().flatten().min();
    // Behind a user it is the path's; a path may well begin with one's address.
    let is_scheme = |colon: &usize| url.starts_with('/') || !path[..*colon].contains('@');
    match scheme.filter(is_scheme) {
        Some(colon) => {
            // One slash too many changes nothing for a browser.
            let rest = path[colon + 3..].trim_start_matches(['/', '\\']);
            Some(path.len() - rest.len())
        }
        None => (!url.starts_with('/')).then_some(0),
    }
}

/// The colon of a port that is no number: it is the one before a password.
/// `strict` takes an empty one for that, too.
pub(crate) fn odd_port(host: &str, strict: bool) -> Option<usize> {
    // Only an IPv6 address is all that stands before its port.
    let address = host.strip_prefix('[').and_then(|host| host.split_once(']'));
    let address = address.filter(|(_, port)| port.is_empty() || port.starts_with(':'));
    let brackets = address.map_or(0, |(address, _)| address.len() + 2);
    let colon = brackets + host[brackets..].find(':')?;
    let port = &host[colon + 1..];
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && !(strict && port.is_empty());
    (!is_port).then_some(colon)
}

/// Cuts off the query, and from `start` on a session or a user of another URL
/// that the path may hold, plain or percent-encoded.
fn without_query(url: &str, start: usize) -> &str {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let path = url[start..]
        .find(['/', '\\'])
        .map_or(url.len(), |at| start + at);
    let url = without_inner_secrets(url, path);
    let mut parameters = url.match_indices(';');
    let secret = parameters.find(|(at, _)| is_secret_parameter(&url[at + 1..]));
    secret.map_or(url, |(at, _)| &url[..at])
}

/// Cuts before a user in the path (`a:b@`), a URL that is encoded twice, and an
/// encoded query or parameter.
fn without_inner_secrets(url: &str, path: usize) -> &str {
    let lower = url.to_ascii_lowercase();
    let first = |texts: &[&str]| {
        let found = texts.iter().filter_map(|text| lower[path..].find(text));
        found.min().map(|at| path + at)
    };
    let last_at = [lower.rfind('@'), lower.rfind("%40")]
        .into_iter()
        .flatten()
        .max();
    let user = first(&[":", "%3a"]).filter(|colon| last_at.is_some_and(|at| *colon < at));
    let others = first(&["%253a%252f", "%253f", "%3f", "%23", "%3b"]);
    &url[..[user, others]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(url.len())]
}

/// Whether `;name=value` in a path is a session or a secret.
fn is_secret_parameter(parameter: &str) -> bool {
    let end = parameter.find(['=', '/', ';']).unwrap_or(parameter.len());
    is_secret(&parameter[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_out_of_urls() {
        for (url, expected) in [
            ("http://shop.example/a/b", "http://shop.example/a/b"),
            ("http://shop.example/a?token=t", "http://shop.example/a"),
            ("http://shop.example#t?x", "http://shop.example"),
            ("https://me:pass@shop.example/a", "https://shop.example/a"),
            ("https://me:p@ss@shop.example", "https://shop.example"),
            ("https://shop.example/@me", "https://shop.example/@me"),
            ("/a?b=http://x@y/", "/a"),
            (
                "https://me:p/a?s#s@shop.example/a?b",
                "https://shop.example/a",
            ),
            ("https://me:p/ass", "https://me"),
            ("//me:pass@shop.example/a", "//shop.example/a"),
            ("me:pass@shop.example:443", "shop.example:443"),
            ("shop.example:443", "shop.example:443"),
            ("https:/me:pass@shop.example/a", "shop.example/a"),
            (
                "https:\\\\me:pass@shop.example\\a",
                "https:\\\\shop.example\\a",
            ),
            ("http://[::1]:8080/a;JSessionID=s", "http://[::1]:8080/a"),
            ("http://[::1]/a;b=c", "http://[::1]/a;b=c"),
            ("https://me:p]/ass@shop.example/a", "https://shop.example/a"),
            ("https://me:[p]s/s@shop.example/a", "https://shop.example/a"),
            ("me:pass@shop.example/a://b", "shop.example/a://b"),
            ("//me:pass://@shop.example/a", "//shop.example/a"),
            (
                "https:\\\\me:pass://@shop.example",
                "https:\\\\shop.example",
            ),
            ("https://h/x/http://u:p@h2/", "https://h/x/http"),
            ("https://h/x/http://h2/", "https://h/x/http://h2/"),
            ("//h/x/http://u:p@h2", "//h/x/http"),
            ("/proxy/https://u:p@h2/", "/proxy/https://h2/"),
            ("https://me:pa/ss@h/p?mail=a@b.c&t=s", "https://b.c"),
            ("http://shop.example:80/@me", "http://shop.example:80/@me"),
            ("https://h/to/https:/u:p@h2/", "https://h/to/https"),
            ("/to/https:/u:p@h2/", "/to/https"),
            ("/to/https%3A%2F%2Fu%3Ap%40h2%2F", "/to/https"),
            ("/to/https%3a%2f%2fu:p@h2", "/to/https"),
            ("/to/https%3A%2F%2Fh2%2F%3Ft%3Ds", "/to/https%3A%2F%2Fh2%2F"),
            ("/to/https%3A%2F%2Fh2%2F%23t", "/to/https%3A%2F%2Fh2%2F"),
            ("/to/https%253A%252F%252Fh2", "/to/https"),
            ("/to/100%25", "/to/100%25"),
            ("https://h/a;token=s", "https://h/a"),
            ("https://h/a;b=c;Access_Token=s/d", "https://h/a;b=c"),
            ("https://h/a;PHPSESSID=s", "https://h/a"),
            ("", ""),
            ("https://me:12/s@h/a", "https://h/a"),
            ("https://me:p@x/s@h/a", "https://h/a"),
            ("https://h/a%3Ftoken=s", "https://h/a"),
            ("https://h/a%3Btoken=s", "https://h/a"),
            ("https://h/to/https:%2F%2Fme:s@h", "https://h/to/https"),
            (
                "https://h/to/https:%2F%2Fh%2F%3Ft=s",
                "https://h/to/https:%2F%2Fh%2F",
            ),
            ("https://h/to/postgres%3A//me:s@h", "https://h/to/postgres"),
            ("https://h/to/me:s@h", "https://h/to/me"),
            ("https://[::1]:80/a/@me", "https://[::1]:80/a/@me"),
            ("https://h/a:b/12:30", "https://h/a:b/12:30"),
        ] {
            let (origin, rest) = without_secrets(url);
            assert_eq!(format!("{origin}{rest}"), expected, "{url}");
        }
    }
}
