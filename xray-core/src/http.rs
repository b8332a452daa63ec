//! The `http` block.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::limits;
use crate::record::{Field, NodeIndex, Record, Stored};
use crate::url::without_secrets;

/// The request side of the `http` block.
///
/// Each text is cut at 250 characters. The URL is taken without its query,
/// fragment, user information and `;jsessionid`, which may hold secrets. The
/// client is an address or left out.
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
    client_ip: Option<IpAddr>,
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

    /// The address of the peer, with or without port: recorded without, in
    /// canonical form. Any other text is ignored.
    #[must_use]
    pub fn client_ip(mut self, client_ip: &'a str) -> Self {
        if let Some(address) = address(client_ip) {
            self.client_ip = Some(address);
            self.forwarded = false;
        }
        self
    }

    /// The client as a proxy names it: the first element of `X-Forwarded-For`
    /// that is an address, with or without port, brackets and quotes, among the
    /// first 16. Without one nothing changes. Call it for each line of the
    /// header, in their order: the first address counts. Not trustworthy, and
    /// marked so by `x_forwarded_for`.
    ///
    /// ```
    /// # use xray_core::HttpRequest;
    /// # let (recorder, capture) = xray_core::Recorder::capture("shop");
    /// # let segment = recorder.begin_segment("shop");
    /// segment.http_request(
    ///     &HttpRequest::new("GET", "https://shop.example/")
    ///         .client_ip("192.0.2.1")
    ///         .forwarded_for("unknown, [2001:DB8::9]:41234, 198.51.100.2"),
    /// );
    /// # segment.close();
    /// # let request = capture.documents()[0].http.clone().unwrap().request.unwrap();
    /// # assert_eq!(request.client_ip.as_deref(), Some("2001:db8::9"));
    /// ```
    #[must_use]
    pub fn forwarded_for(mut self, header: &'a str) -> Self {
        let first = || header.split(',').take(FORWARDED).find_map(address);
        if !self.forwarded
            && let Some(address) = first()
        {
            self.client_ip = Some(address);
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
        match self.user_agent {
            Some(user_agent) => put(Field::HttpUserAgent, user_agent),
            None => withdraw(record, node, Field::HttpUserAgent),
        }
        match self.client_ip {
            Some(client_ip) => {
                let client_ip = client_ip.to_string();
                record.push_text(node, Field::HttpClientIp, &client_ip, limits::STRING_BYTES);
            }
            None => withdraw(record, node, Field::HttpClientIp),
        }
        match self.forwarded {
            true => record.push(node, Field::HttpForwarded, Stored::Boolean(true)),
            false => withdraw(record, node, Field::HttpForwarded),
        }
    }
}

/// Lets go of what an earlier request or response said, as a later one replaces
/// it whole. Its place is kept: what is false is not written.
fn withdraw(record: &mut Record, node: NodeIndex, field: Field) {
    if record.node(node).has(field) {
        record.push(node, field, Stored::Boolean(false));
    }
}

/// Elements of `X-Forwarded-For` that are looked at.
const FORWARDED: usize = 16;

/// The address that a text names, with or without port, brackets and quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    Some(address.or_else(with_port)?.to_canonical())
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

    /// Bytes of the body; of more than `i64::MAX`, that, as collectors read no more.
    #[must_use]
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.content_length = Some(bytes.min(u64::MAX >> 1));
        self
    }

    pub(crate) fn status(self) -> u16 {
        self.status
    }

    pub(crate) fn record(self, record: &mut Record, node: NodeIndex) {
        let status = Stored::Unsigned(u64::from(self.status));
        record.push(node, Field::HttpStatus, status);
        match self.content_length {
            Some(bytes) => {
                record.push(node, Field::HttpContentLength, Stored::Unsigned(bytes));
            }
            None => withdraw(record, node, Field::HttpContentLength),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_none() {
        for (text, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            (" 203.0.113.9:41234 ", Some("203.0.113.9")),
            ("\"203.0.113.9:41234\"", Some("203.0.113.9")),
            ("2001:DB8:0::9", Some("2001:db8::9")),
            ("[2001:db8::9]", Some("2001:db8::9")),
            ("[2001:db8::9]:41234", Some("2001:db8::9")),
            ("\"[2001:db8::9]:41234\"", Some("2001:db8::9")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("203.0.113.9:99999", None),
            ("203.0.113.9:", None),
            ("203.0.113", None),
            ("[203.0.113.9]", None),
            ("[2001:db8::9", None),
            ("\"203.0.113.9", None),
            ("203.0.113.9 x", None),
            ("<script>alert(1)</script>", None),
        ] {
            let found = address(text).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_later_request_replaces_all_of_an_earlier_one() {
        let (recorder, capture) = crate::Recorder::capture("shop");
        let segment = recorder.begin_segment("shop");
        let first = HttpRequest::new("GET", "https://shop.example/a");
        segment.http_request(&first.user_agent("curl/8").forwarded_for("203.0.113.9"));
        segment.http_request(&HttpRequest::new("POST", "https://shop.example/b"));
        segment.close();
        let json = serde_json::to_value(&capture.documents()[0].http).unwrap();
        let expected = serde_json::json!({
            "request": { "method": "POST", "url": "https://shop.example/b" }
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_first_forwarded_address_counts() {
        let client = |lines: &[&str]| {
            let request = HttpRequest::new("GET", "/").client_ip("192.0.2.1");
            let request = lines
                .iter()
                .fold(request, |request, line| request.forwarded_for(line));
            (request.client_ip.unwrap().to_string(), request.forwarded)
        };
        let peer = ("192.0.2.1".to_owned(), false);
        let forwarded = ("203.0.113.9".to_owned(), true);
        assert_eq!(client(&["unknown, 203.0.113.9, 198.51.100.2"]), forwarded);
        assert_eq!(client(&["", "203.0.113.9", "198.51.100.2"]), forwarded);
        assert_eq!(
            client(&["x,".repeat(15).as_str(), "203.0.113.9"]),
            forwarded
        );
        assert_eq!(client(&[&format!("{}203.0.113.9", "x,".repeat(16))]), peer);
        assert_eq!(client(&["unknown", ""]), peer);
        let request = HttpRequest::new("GET", "/").forwarded_for("203.0.113.9");
        let request = request.client_ip("nobody");
        assert_eq!(request.client_ip.unwrap().to_string(), "203.0.113.9");
        assert!(request.forwarded && !request.client_ip("192.0.2.1").forwarded);
    }
}
