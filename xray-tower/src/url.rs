//! Where a request goes, without anything that may be secret.

use http::header::HOST;
use http::request::Parts;

/// Host and port: of the URI if it has one (absolute form, HTTP/2), else of the
/// `Host` header. Without user information.
pub(crate) fn authority(parts: &Parts) -> Option<&str> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    (!host.is_empty()).then_some(host)
}

/// The host alone: no port, no brackets round an IPv6 address, no dot behind.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    let authority = authority(parts)?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// `scheme://host:port/path`, or as much of it as is known. No query: that is
/// where tokens are.
pub(crate) fn url(parts: &Parts) -> String {
    let path = parts.uri.path();
    let path = if path.starts_with('/') { path } else { "" }; // `*`, and CONNECT's nothing
    match authority(parts) {
        Some(authority) => {
            let scheme = parts.uri.scheme_str().unwrap_or("http");
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
    use http::Request;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn urls_and_hosts_have_no_secrets() {
        for (uri, header, expected_url, expected_host) in [
            (
                "/a/b?token=t",
                Some("shop:80"),
                "http://shop:80/a/b",
                Some("shop"),
            ),
            ("/a", None, "/a", None),
            ("*", Some("shop"), "http://shop", Some("shop")),
            (
                "https://shop.example/a?t=1",
                Some("other"),
                "https://shop.example/a",
                Some("shop.example"),
            ),
            (
                "https://me:pw@shop.example:8443/",
                None,
                "https://shop.example:8443/",
                Some("shop.example"),
            ),
            ("http://[::1]:80/x", None, "http://[::1]:80/x", Some("::1")),
            (
                "shop.example:443",
                None,
                "http://shop.example:443",
                Some("shop.example"),
            ),
            ("/", Some("me:pw@shop"), "http://shop/", Some("shop")),
            ("/", Some(""), "/", None),
            ("/", Some("shop.:80"), "http://shop.:80/", Some("shop")),
            ("/", Some(":80"), "http://:80/", None),
        ] {
            let parts = parts(uri, header);
            assert_eq!(url(&parts), expected_url, "{uri} {header:?}");
            assert_eq!(host(&parts), expected_host, "{uri} {header:?}");
        }
    }
}
