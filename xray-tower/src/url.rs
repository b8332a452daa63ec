//! Where a request goes, without anything that may be secret.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Uri};

/// The host and port that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Host and port as they stand there, without user information.
    pub(crate) authority: &'a str,
    /// The host alone: no port, no brackets round an IPv6 address, no dot
    /// behind.
    pub(crate) host: &'a str,
    /// The one that stands there, or else that of the scheme.
    pub(crate) port: Option<u16>,
}

impl<'a> Target<'a> {
    /// The one of the URI if it has one (absolute form, HTTP/2), else of the
    /// `Host` header. A header that is no authority counts as absent: its rest
    /// would be taken for a part of the URL.
    pub(crate) fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        let Some(authority) = uri.authority() else {
            return Self::parse(headers.get(HOST)?.to_str().ok()?);
        };
        let mut target = Self::split(authority.as_str())?;
        target.port = target.port.or_else(|| default_port(uri.scheme()?));
        Some(target)
    }

    /// Reads `host`, `host:port` or `[address]:port`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        // The usual one is split as strictly as that, and nothing is copied.
        let is_authority = text.bytes().all(usual) || text.parse::<Authority>().is_ok();
        is_authority.then(|| Self::split(text)).flatten()
    }

    /// Splits what holds nothing but the characters of an authority.
    fn split(text: &'a str) -> Option<Self> {
        let authority = text.rsplit('@').next()?;
        let (host, rest) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                address.split('%').next()?.parse::<Ipv6Addr>().ok()?;
                (address, rest)
            }
            None => {
                let end = authority.find([':', '[', ']']).unwrap_or(authority.len());
                authority.split_at(end)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some("") => None,
            Some(port) if port.starts_with('+') => return None,
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        (!host.is_empty()).then_some(Self {
            authority,
            host,
            port,
        })
    }

    /// Of a host as URLs of the WHATWG hold it.
    #[cfg(feature = "reqwest")]
    pub(crate) fn with_port(host: &'a str, port: Option<u16>) -> Option<Self> {
        Some(Self {
            port,
            ..Self::split(host)?
        })
    }
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `scheme://host:port/path`, or as much of it as is known. No query: that is
/// where tokens are.
pub(crate) fn url(uri: &Uri, target: Option<&Target<'_>>) -> String {
    let path = uri.path();
    let path = if path.starts_with('/') { path } else { "" }; // `*`, and CONNECT's nothing
    match target {
        Some(Target { authority, .. }) => {
            let scheme = uri.scheme_str().unwrap_or("http");
            let mut url = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
            for part in [scheme, "://", authority, path] {
                url.push_str(part);
            }
            url
        }
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Uri};

    #[test]
    fn urls_and_hosts_have_no_secrets() {
        for (uri, header, expected_url, expected_host, port) in [
            (
                "/a/b?token=t",
                "shop:80",
                "http://shop:80/a/b",
                "shop",
                Some(80),
            ),
            ("/a", "", "/a", "", None),
            ("*", "shop", "http://shop", "shop", None),
            (
                "https://shop.example/a?t=1",
                "other",
                "https://shop.example/a",
                "shop.example",
                Some(443),
            ),
            (
                "https://me:pw@shop.example:8443/",
                "",
                "https://shop.example:8443/",
                "shop.example",
                Some(8443),
            ),
            (
                "http://[::1]:80/x",
                "",
                "http://[::1]:80/x",
                "::1",
                Some(80),
            ),
            (
                "shop.example:443",
                "",
                "http://shop.example:443",
                "shop.example",
                Some(443),
            ),
            (
                "ws://shop.example/",
                "",
                "ws://shop.example/",
                "shop.example",
                Some(80),
            ),
            (
                "wss://shop.example/",
                "",
                "wss://shop.example/",
                "shop.example",
                Some(443),
            ),
            ("/", "me:pw@shop", "http://shop/", "shop", None),
            ("/", "shop.:80", "http://shop.:80/", "shop", Some(80)),
            ("/", "sh_op!:", "http://sh_op!:/", "sh_op!", None),
            ("/", "[::1]", "http://[::1]/", "::1", None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(header))]);
            let target = Target::of(&uri, &headers);
            assert_eq!(url(&uri, target.as_ref()), expected_url, "{uri} {header:?}");
            let host = target.map_or("", |target| target.host);
            let found = target.and_then(|target| target.port);
            assert_eq!((host, found), (expected_host, port), "{uri} {header:?}");
        }
    }

    /// None of these may end the URL before its path.
    #[test]
    fn a_host_that_is_no_authority_is_absent() {
        for header in [
            "",
            ".",
            ":80",
            "shop?",
            "shop#",
            "shop/harmless?",
            "a:b",
            "shop:80abc",
            "shop:99999",
            "shop:+80",
            "a:1:2",
            "[::1",
            "::1",
            "[::1]x",
            "[shop]",
            "a[::1]",
            "a b",
            "me@",
            "%41",
            "shop\\x",
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(header))]);
            let uri: Uri = "/admin/delete?token=t".parse().unwrap();
            let target = Target::of(&uri, &headers);
            assert_eq!(target, None, "{header}");
            assert_eq!(url(&uri, target.as_ref()), "/admin/delete");
        }
    }
}
