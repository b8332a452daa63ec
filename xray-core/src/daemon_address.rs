//! Where the daemon listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use crate::text::escaped_beginning;

/// Address of the X-Ray daemon: one for documents (UDP), one for sampling (TCP).
///
/// Reads the forms of `AWS_XRAY_DAEMON_ADDRESS`: `host:port` for both, or
/// `tcp:host:port udp:host:port` in either order. The host may be a name, an
/// IPv4 address or an IPv6 address in brackets, with the number of its interface
/// where it is link-local, as in `[fe80::1%2]:2000`. Defaults to `127.0.0.1:2000`.
///
/// ```
/// # use xray_core::DaemonAddress;
/// let address: DaemonAddress = "udp:[::1]:2000 tcp:xray.internal:2001".parse()?;
/// assert_eq!(address.udp(), ("::1", 2000));
/// assert_eq!(address.tcp(), ("xray.internal", 2001));
/// # Ok::<(), xray_core::ParseDaemonAddressError>(())
/// ```
///
/// Source: [configuring the SDKs](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-go-configuration.html#xray-sdk-go-configuration-envvars).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonAddress {
    udp: HostPort,
    tcp: HostPort,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HostPort {
    host: String,
    port: u16,
}

impl DaemonAddress {
    /// Host and port that take documents.
    pub fn udp(&self) -> (&str, u16) {
        (&self.udp.host, self.udp.port)
    }

    /// Host and port that answer about sampling. Nothing asks them yet: the rules
    /// are local.
    pub fn tcp(&self) -> (&str, u16) {
        (&self.tcp.host, self.tcp.port)
    }
}

impl Default for DaemonAddress {
    fn default() -> Self {
        let local = HostPort {
            host: "127.0.0.1".to_owned(),
            port: 2000,
        };
        Self {
            udp: local.clone(),
            tcp: local,
        }
    }
}

impl From<SocketAddr> for DaemonAddress {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            // A link-local address means nothing without its interface.
            SocketAddr::V6(six) if six.scope_id() != 0 => {
                format!("{}%{}", six.ip(), six.scope_id())
            }
            _ => address.ip().to_string(),
        };
        let port = address.port();
        let both = HostPort { host, port };
        Self {
            udp: both.clone(),
            tcp: both,
        }
    }
}

/// The text was not an address of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not `host:port` or `tcp:host:port udp:host:port`: {reason}")]
pub struct ParseDaemonAddressError {
    text: String,
    reason: &'static str,
}

impl FromStr for DaemonAddress {
    type Err = ParseDaemonAddressError;

    fn from_str(text: &str) -> Result<Self, ParseDaemonAddressError> {
        Self::parse(text).map_err(|reason| ParseDaemonAddressError {
            text: escaped_beginning(text),
            reason,
        })
    }
}

impl DaemonAddress {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let foreign = FOREIGN.iter().find(|(mark, _)| text.contains(*mark));
        if let Some((_, reason)) = foreign {
            return Err(reason);
        }
        if text.split_ascii_whitespace().any(is_prefixed_in_capitals) {
            return Err("`tcp:` and `udp:` are in lower case");
        }
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(udp), None, None) if is_prefixed(udp, "udp:") => {
                Err("`tcp:host:port` is missing")
            }
            (Some(tcp), None, None) if is_prefixed(tcp, "tcp:") => {
                Err("`udp:host:port` is missing")
            }
            (Some(both), None, None) => {
                let both = HostPort::parse(both)?;
                Ok(Self {
                    udp: both.clone(),
                    tcp: both,
                })
            }
            (Some(first), Some(second), None) => {
                let udp_first = (first.strip_prefix("udp:"), second.strip_prefix("tcp:"));
                let tcp_first = (second.strip_prefix("udp:"), first.strip_prefix("tcp:"));
                match (udp_first, tcp_first) {
                    ((Some(udp), Some(tcp)), _) | (_, (Some(udp), Some(tcp))) => Ok(Self {
                        udp: HostPort::parse(udp)?,
                        tcp: HostPort::parse(tcp)?,
                    }),
                    _ => Err("two words must be one `tcp:` and one `udp:`"),
                }
            }
            (None, ..) => Err("it is empty"),
            _ => Err("it has more than two words"),
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, port) = rest.split_once(']').ok_or("a bracket is not closed")?;
                literal(inner, 0)
                    .filter(SocketAddr::is_ipv6)
                    .ok_or("only an IPv6 address stands in brackets")?;
                (inner, port.strip_prefix(':').ok_or("the port is missing")?)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
                let is_six = |text| literal(text, 0).is_some_and(|address| address.is_ipv6());
                if host.is_empty() {
                    return Err("the host is missing");
                }
                if is_six(host) || is_six(text) {
                    return Err("an IPv6 address stands in brackets");
                }
                if host.contains(':') {
                    return Err("it has more colons than the one before the port");
                }
                if !host.bytes().all(is_of_a_name) {
                    return Err("the host holds more than letters, digits, `-`, `_` and `.`");
                }
                (host, port)
            }
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number && port > 0 => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err("the port is no number from 1 to 65535"),
        }
    }
}

/// Whether this is the address for one protocol. `udp:2000` is a host and a port.
fn is_prefixed(word: &str, prefix: &str) -> bool {
    word.strip_prefix(prefix)
        .is_some_and(|rest| rest.contains(':'))
}

fn is_prefixed_in_capitals(word: &str) -> bool {
    let small = word.to_ascii_lowercase();
    let is_prefixed = |prefix| is_prefixed(&small, prefix) && !word.starts_with(prefix);
    is_prefixed("udp:") || is_prefixed("tcp:")
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// Marks of other notations, and the answer to each.
const FOREIGN: [(&str, &str); 8] = [
    ("\u{feff}", "it begins with a byte order mark"),
    ("\"", "it has quotes"),
    ("'", "it has quotes"),
    ("`", "it has quotes"),
    ("://", "it has a scheme such as `http://`"),
    (
        ",",
        "it has a comma; a space stands between `tcp:` and `udp:`",
    ),
    (
        ";",
        "it has a semicolon; a space stands between `tcp:` and `udp:`",
    ),
    ("=", "it has `=`; a colon stands behind `tcp` and `udp`"),
];

/// The address that `host` is, unless it is a name.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port)),
        // With an interface, as in `fe80::1%2`.
        Err(_) => {
            let six: SocketAddrV6 = format!("[{host}]:{port}").parse().ok()?;
            Some(six.into())
        }
    }
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.udp == self.tcp {
            write!(f, "{}", self.udp)
        } else {
            write!(f, "tcp:{} udp:{}", self.tcp, self.udp)
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form_is_read() {
        for (text, udp, tcp) in [
            ("10.0.0.1:3000", ("10.0.0.1", 3000), ("10.0.0.1", 3000)),
            ("xray:2000", ("xray", 2000), ("xray", 2000)),
            ("udp:2000", ("udp", 2000), ("udp", 2000)),
            ("TCP:2000", ("TCP", 2000), ("TCP", 2000)),
            (
                "x-ray_1.local:1",
                ("x-ray_1.local", 1),
                ("x-ray_1.local", 1),
            ),
            ("[::1]:2000", ("::1", 2000), ("::1", 2000)),
            ("[fe80::1%2]:3", ("fe80::1%2", 3), ("fe80::1%2", 3)),
            ("tcp:a:1 udp:b:2", ("b", 2), ("a", 1)),
            ("udp:b:2   tcp:a:1", ("b", 2), ("a", 1)),
        ] {
            let address: DaemonAddress = text.parse().unwrap();
            assert_eq!((address.udp(), address.tcp()), (udp, tcp), "{text}");
        }
    }

    #[test]
    fn a_wrong_form_says_why() {
        for (text, reason) in [
            ("", "it is empty"),
            ("host", "the port is missing"),
            (":2000", "the host is missing"),
            ("host:0", "the port is no number from 1 to 65535"),
            ("host:65536", "the port is no number from 1 to 65535"),
            ("::1:2000", "an IPv6 address stands in brackets"),
            ("::1", "an IPv6 address stands in brackets"),
            ("fe80::1%2:2000", "an IPv6 address stands in brackets"),
            (
                "127.0.0.1:2000:2001",
                "it has more colons than the one before the port",
            ),
            ("[::1:2000", "a bracket is not closed"),
            ("[::1]", "the port is missing"),
            ("[::1]2000", "the port is missing"),
            ("xray:", "the port is no number from 1 to 65535"),
            ("xray:+2000", "the port is no number from 1 to 65535"),
            ("[::1]:+2000", "the port is no number from 1 to 65535"),
            ("UDP:127.0.0.1:2000", "`tcp:` and `udp:` are in lower case"),
            ("Tcp:a:1 udp:b:2", "`tcp:` and `udp:` are in lower case"),
            (
                "a:1;b:2",
                "it has a semicolon; a space stands between `tcp:` and `udp:`",
            ),
            (
                "tcp=127.0.0.1:2000",
                "it has `=`; a colon stands behind `tcp` and `udp`",
            ),
            ("[::1%]:2000", "only an IPv6 address stands in brackets"),
            ("[1.2.3.4]:2000", "only an IPv6 address stands in brackets"),
            ("[host]:2000", "only an IPv6 address stands in brackets"),
            ("udp:127.0.0.1:2000", "`tcp:host:port` is missing"),
            ("tcp:127.0.0.1:2000", "`udp:host:port` is missing"),
            ("tcp:[::1]:2000", "`udp:host:port` is missing"),
            ("http://127.0.0.1:2000", "it has a scheme such as `http://`"),
            ("udp://xray:2000", "it has a scheme such as `http://`"),
            ("\"127.0.0.1:2000\"", "it has quotes"),
            ("'xray:2000'", "it has quotes"),
            ("\u{feff}xray:2000", "it begins with a byte order mark"),
            (
                "a:1,b:2",
                "it has a comma; a space stands between `tcp:` and `udp:`",
            ),
            (
                "tcp:a:1, udp:b:2",
                "it has a comma; a space stands between `tcp:` and `udp:`",
            ),
            (
                "me@xray:2000",
                "the host holds more than letters, digits, `-`, `_` and `.`",
            ),
            (
                "udp:a:1 udp:b:2",
                "two words must be one `tcp:` and one `udp:`",
            ),
            ("a:1 b:2 c:3", "it has more than two words"),
        ] {
            assert_eq!(
                text.parse::<DaemonAddress>().unwrap_err().reason,
                reason,
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_comes_back_as_it_went_in() {
        for text in ["10.0.0.1:3000", "[::1]:2000", "[fe80::1%7]:2000"] {
            let given: SocketAddr = text.parse().unwrap();
            let address = DaemonAddress::from(given);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_string().parse(), Ok(address.clone()));
            let (host, port) = address.udp();
            assert_eq!(literal(host, port), Some(given));
        }
        assert_eq!(literal("localhost", 2000), None);
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in "\\PC*") {
            if let Ok(address) = text.parse::<DaemonAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
