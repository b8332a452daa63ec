//! The `http` block.

use crate::limits;
use crate::record::trace::{Key, Trace};
use crate::record::{Field, Stored};

/// The request side of the `http` block.
///
/// Each text is cut at 250 characters. The URL is taken without its query,
/// fragment and user information, which may hold secrets.
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
#[derive(Debug, Clone)]
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

    pub(crate) fn record(&self, trace: &Trace, key: Key) {
        let put = |field, text: &str| {
            trace.put_text(key, field, "", text, limits::STRING_BYTES);
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
            if self.forwarded {
                trace.put(key, Field::HttpForwarded, "", Stored::Boolean(true));
            }
        }
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

    pub(crate) fn record(self, trace: &Trace, key: Key) {
        let put = |field, number| trace.put(key, field, "", Stored::Unsigned(number));
        put(Field::HttpStatus, u64::from(self.status));
        if let Some(bytes) = self.content_length {
            put(Field::HttpContentLength, bytes);
        }
    }
}

/// Cuts query, fragment and user information out of a URL: what stands before
/// the user information, and what stands after it.
pub(crate) fn without_secrets(url: &str) -> (&str, &str) {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let Some(scheme) = url.find("://") else {
        return ("", url);
    };
    let authority = scheme + 3;
    let path = url[authority..]
        .find('/')
        .map_or(url.len(), |at| authority + at);
    match url[authority..path].rfind('@') {
        Some(at) => (&url[..authority], &url[authority + at + 1..]),
        None => ("", url),
    }
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
            ("", ""),
        ] {
            let (origin, rest) = without_secrets(url);
            assert_eq!(format!("{origin}{rest}"), expected, "{url}");
        }
    }
}
