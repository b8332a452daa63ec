//! Patterns for hosts, as programs write them: one reader for every list.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use xray_core::report_setting;

use crate::url::Target;

/// A list of patterns, and what was given as one and is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    patterns: Vec<Pattern>,
    invalid: Vec<String>,
}

impl Hosts {
    /// Adds patterns, and logs those that are none; `list` says where they were
    /// given.
    pub(crate) fn extend<P: AsRef<str>>(
        &mut self,
        list: &str,
        patterns: impl IntoIterator<Item = P>,
    ) {
        let before = self.invalid.len();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            match Pattern::parse(pattern) {
                Some(pattern) => self.patterns.push(pattern),
                None => self.invalid.push(shown(pattern)),
            }
        }
        if let invalid @ [_, ..] = &self.invalid[before..] {
            report_setting(&format!(
                "{list}: no host, `*.suffix`, address or range: {invalid:?}"
            ));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.invalid.is_empty()
    }

    pub(crate) fn has_invalid(&self) -> bool {
        !self.invalid.is_empty()
    }

    /// Whether a pattern matches; `unsure` where that cannot be told.
    pub(crate) fn matches(&self, target: &Target<'_>, unsure: bool) -> bool {
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.matches(target, unsure))
    }

    /// Whether a pattern matches that names this one host.
    pub(crate) fn names(&self, target: &Target<'_>) -> bool {
        let mut patterns = self.patterns.iter().filter(|pattern| pattern.is_one());
        patterns.any(|pattern| pattern.matches(target, false))
    }
}

/// Whether the text is one host, with or without a port: an IPv6 address stands
/// in brackets, as in a URL.
pub(crate) fn is_host(text: &str) -> bool {
    let pattern = Pattern::parse(text).filter(Pattern::is_one);
    pattern.is_some() && !text.contains('/') && Target::parse(text).is_some()
}

/// A wrong host or pattern as it may be shown: a password may stand before `@`.
pub(crate) fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: Host,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// In lower case, without the dot behind.
    Name(String),
    /// The suffix behind `*`, with its dot.
    Below(String),
    /// An address is a range of one.
    Range(IpNet),
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let any_port = |host| Self { host, port: None };
        if let Some(host) = Host::parse(text) {
            return Some(any_port(host));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let host = Host::Range(range(address).filter(|_| address.contains(':'))?);
            let Some(port) = port.strip_prefix(':') else {
                return port.is_empty().then(|| any_port(host));
            };
            let port = Some(parse_port(port)?);
            return Some(Self { host, port });
        }
        let (host, port) = text.rsplit_once(':')?;
        Some(Self {
            host: Host::parse(host).filter(|_| !host.contains(':'))?,
            port: Some(parse_port(port)?),
        })
    }

    fn is_one(&self) -> bool {
        match &self.host {
            Host::Name(_) => true,
            Host::Range(range) => range.prefix_len() == range.max_prefix_len(),
            Host::Any | Host::Below(_) => false,
        }
    }

    fn matches(&self, target: &Target<'_>, unsure: bool) -> bool {
        let is_port = match (self.port, target.port) {
            (None, _) => true,
            (Some(port), Some(found)) => port == found,
            (Some(_), None) => unsure,
        };
        is_port && self.host.matches(target.host, unsure)
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        if let Some(range) = range(text) {
            return Some(Self::Range(range));
        }
        let (suffix, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let in_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_label = |label: &str| (1..64).contains(&label.len()) && label.bytes().all(in_label);
        if name.len() > 253 || !name.split('.').all(is_label) || is_numeric(name) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        Some(if suffix {
            Self::Below(format!(".{name}"))
        } else {
            Self::Name(name)
        })
    }

    fn matches(&self, host: &str, unsure: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => {
                let start = host.len().checked_sub(suffix.len()).filter(|at| *at > 0);
                let end = start.and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
            Self::Range(range) => match host.parse::<IpAddr>() {
                // The system connects to both forms alike.
                Ok(address) => range.contains(&address) || range.contains(&address.to_canonical()),
                // `127.1` is an address for resolvers.
                Err(_) => unsure && is_numeric(host),
            },
        }
    }
}

/// An address or a CIDR range, in IPv4 where it is an IPv4 one in IPv6.
fn range(text: &str) -> Option<IpNet> {
    let range = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    let IpNet::V6(within) = range else {
        return Some(range);
    };
    let mapped = within.addr().to_ipv4_mapped();
    let prefix = within.prefix_len().checked_sub(96);
    Some(match (mapped, prefix) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).ok()?.into(),
        _ => range,
    })
}

/// Ends in a number, as an address does and no name of DNS.
fn is_numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_host_suffix_address_or_range() {
        let hosts = [
            "a",
            "shop.example",
            "h_1",
            "x.0x.example",
            "10.0.0.7",
            "10.0.1.7",
            "11.0.0.7",
            "[::1]",
            "[::ffff:10.0.0.7]",
            "[2001:db8::7]",
            "shop.example:80",
            "eu.shop.example.:443",
        ];
        for (pattern, matched) in [
            ("*", &hosts[..]),
            ("Shop.Example", &["shop.example", "shop.example:80"]),
            ("shop.example.", &["shop.example", "shop.example:80"]),
            ("shop.example:80", &["shop.example:80"]),
            (
                "*.example",
                &[
                    "shop.example",
                    "x.0x.example",
                    "shop.example:80",
                    "eu.shop.example.:443",
                ],
            ),
            ("*.shop.example:443", &["eu.shop.example.:443"]),
            ("*:443", &["eu.shop.example.:443"]),
            ("h_1", &["h_1"]),
            ("10.0.0.7", &["10.0.0.7", "[::ffff:10.0.0.7]"]),
            (
                "10.0.0.0/16",
                &["10.0.0.7", "10.0.1.7", "[::ffff:10.0.0.7]"],
            ),
            ("10.0.0.0/16:80", &[]),
            ("::ffff:10.0.0.0/120", &["10.0.0.7", "[::ffff:10.0.0.7]"]),
            (
                "0.0.0.0/0",
                &["10.0.0.7", "10.0.1.7", "11.0.0.7", "[::ffff:10.0.0.7]"],
            ),
            ("::/0", &["[::1]", "[::ffff:10.0.0.7]", "[2001:db8::7]"]),
            ("[::ffff:0:0/90]", &["[::ffff:10.0.0.7]"]),
            ("::1", &["[::1]"]),
            ("[::1]", &["[::1]"]),
            ("[::1]:80", &[]),
            ("2001:DB8::/32", &["[2001:db8::7]"]),
            ("[2001:db8::/32]", &["[2001:db8::7]"]),
            ("[2001:db8::/32]:80", &[]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let is_matched = |host: &&&str| {
                let target = Target::parse(host).unwrap();
                pattern.matches(&target, false)
            };
            let found: Vec<&str> = hosts.iter().filter(is_matched).copied().collect();
            assert_eq!(found, matched, "{pattern:?}");
        }
    }

    #[test]
    fn anything_else_is_no_pattern() {
        for pattern in [
            "",
            ".",
            "https://evil.example",
            "evil.example/",
            "evil.example/a",
            "me@evil.example",
            "evil.example:",
            "evil.example:https",
            "evil.example:99999",
            "evil.example:0",
            "[::1]:0",
            "evil.example:+80",
            "evil..example",
            ".evil.example",
            "evil example",
            " evil.example",
            "*evil.example",
            "*.*.example",
            "a*.example",
            "10.0.*",
            "10.0.0.?",
            "10.0",
            "10.0.0.256",
            "0x7f.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "[::1",
            "[::1]80",
            "[10.0.0.1]",
            "[shop.example]",
            "::1/129",
            "::1:x",
            "bücher.example",
            "*.",
            "**",
            "1:2:3",
        ] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern}");
        }
        let long = "a".repeat(64);
        assert_eq!(Pattern::parse(&long), None);
        assert!(Pattern::parse(&long[1..]).is_some());
    }

    #[test]
    fn a_host_is_one_name_or_address() {
        for host in [
            "stock.internal",
            "stock.internal.:50051",
            "10.0.0.7",
            "10.0.0.7:80",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_host(host), "{host}");
        }
        for other in [
            "",
            "*",
            "*.internal",
            "10.0.0.0/8",
            "10.0.0.7/32",
            "[::1/128]",
            "::1",
            "127.1",
            "stock.internal:0",
            "stock.internal/",
            "me@stock.internal",
            "no host/",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }

    /// A list that denies counts these as matched.
    #[test]
    fn what_cannot_be_told_is_for_the_list_to_say() {
        for (pattern, host) in [
            ("evil.example:443", "evil.example"),
            ("127.0.0.0/8", "127.1"),
            ("127.0.0.1", "0x7f000001"),
            ("127.0.0.1", "2130706433"),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let target = Target::parse(host).unwrap();
            for unsure in [false, true] {
                assert_eq!(pattern.matches(&target, unsure), unsure, "{host}");
            }
        }
    }
}
