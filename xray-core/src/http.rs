//! The `http` block.

use std::fmt;

use crate::limits;
use crate::record::{Field, NodeIndex, Record, Stored};

/// The request side of the `http` block.
///
/// Each text is cut at 250 characters. The URL is taken without its query,
/// fragment, user information and `;jsessionid`, which may hold secrets.
///
/// ```
/// # use xray_core::HttpRequest;
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// segment.http_request(
///     &HttpRequest::new("GET", "https://me:secret@shop.example/orders/7?token=t")
///         .user_agent("curl/8")
///         .client_ip("203.0.113.9"),
/// );
/// # segment.close();
/// # let http = capture.documents()[0].http.clone().unwrap();
/// # assert_eq!(http.request.unwrap().url.as_deref(), Some("https://shop.example/orders/7"));
/// ```
///
/// Source: [segment documents, http blocks](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html#api-segmentdocuments-http).
#[derive(Clone)]
pub struct HttpRequest<'a> {
    method: &'a str,
    url: &'a str,
    user_agent: Option<&'a str>,
    client_ip: Option<&'a str>,
    forwarded: bool,
}

impl<'a> HttpRequest<'a> {
    /// A request of a method and a full URL.
    pub fn new(method: &'a str, url: &'a str) -> Self {
        Self {
            method,
            url,
            user_agent: None,
            client_ip: None,
            forwarded: false,
        }
    }

    /// The `User-Agent` header.
    #[must_use]
    pub fn user_agent(mut self, user_agent: &'a str) -> Self {
        self.user_agent = Some(user_agent);
        self
    }

    /// The address of the peer.
    #[must_use]
    pub fn client_ip(mut self, client_ip: &'a str) -> Self {
        self.client_ip = Some(client_ip);
        self.forwarded = false;
        self
    }

    /// The client as a proxy names it: the first element of `X-Forwarded-For`.
    /// Not trustworthy, and marked so by `x_forwarded_for`. Does nothing when
    /// that element is empty.
    #[must_use]
    pub fn forwarded_for(mut self, header: &'a str) -> Self {
        let first = header.split(',').next().unwrap_or_default().trim();
        if !first.is_empty() {
            self.client_ip = Some(first);
            self.forwarded = true;
        }
        self
    }

    pub(crate) fn record(&self, record: &mut Record, node: NodeIndex) {
        let mut put = |field, text: &str| {
            record.push_text(node, field, text, limits::STRING_BYTES);
        };
        put(Field::HttpMethod, self.method);
        let (origin, path) = without_secrets(self.url);
        if origin.is_empty() {
            put(Field::HttpUrl, path);
        } else {
            put(Field::HttpUrl, &format!("{origin}{path}"));
        }
        if let Some(user_agent) = self.user_agent {
            put(Field::HttpUserAgent, user_agent);
        }
        if let Some(client_ip) = self.client_ip {
            put(Field::HttpClientIp, client_ip);
            // Said in either case, as a later request replaces an earlier one.
            record.push(node, Field::HttpForwarded, Stored::Boolean(self.forwarded));
        }
    }
}

/// Shows what would be recorded, not the URL as it was given.
impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, path) = without_secrets(self.url);
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &format_args!("{origin}{path}"))
            .finish_non_exhaustive()
    }
}

/// The response side of the `http` block.
#[derive(Debug, Clone, Copy)]
pub struct HttpResponse {
    status: u16,
    content_length: Option<u64>,
}

impl HttpResponse {
    /// A response of a status; its length is not known.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            content_length: None,
        }
    }

    /// Bytes of the body.
    #[must_use]
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.content_length = Some(bytes);
        self
    }

    pub(crate) fn status(self) -> u16 {
        self.status
    }

    pub(crate) fn record(self, record: &mut Record, node: NodeIndex) {
        let mut put = |field, number| record.push(node, field, Stored::Unsigned(number));
        put(Field::HttpStatus, u64::from(self.status));
        if let Some(bytes) = self.content_length {
            put(Field::HttpContentLength, bytes);
        }
    }
}

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
    if let Some(at) = host.rfind('@') {
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
/// that the path may hold.
fn without_query(url: &str, start: usize) -> &str {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let inner = url[start..].match_indices("://").map(|(at, _)| start + at);
    let user = inner.into_iter().find(|at| url[*at..].contains('@'));
    let url = &url[..user.unwrap_or(url.len())];
    let session = url.match_indices(';').find(|(at, _)| {
        let name = url.as_bytes()[at + 1..].get(..10);
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"jsessionid"))
    });
    session.map_or(url, |(at, _)| &url[..at])
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
            ("", ""),
        ] {
            let (origin, rest) = without_secrets(url);
            assert_eq!(format!("{origin}{rest}"), expected, "{url}");
        }
    }
}
