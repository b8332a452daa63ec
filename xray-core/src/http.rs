//! The `http` block.

use std::fmt;

use crate::limits;
use crate::record::{Field, NodeIndex, Record, Stored};
use crate::url::without_secrets;

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
