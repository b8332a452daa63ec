//! `AWS_XRAY_DAEMON_ADDRESS`.

use std::net::Ipv6Addr;

use xray_core::DaemonAddress;

/// Any text is an address by the documented forms, and then prints as one that
/// reads back; or an error whose text is short and harmless.
pub fn daemon_address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let address = match text.parse::<DaemonAddress>() {
        Ok(address) => address,
        Err(error) => {
            assert!(model(&text).is_none(), "{text:?}");
            let told = error.to_string();
            assert!(told.len() < 1_200, "{told}");
            assert!(told.chars().all(|c| c.is_ascii() && !c.is_control()));
            return;
        }
    };
    let found = [address.udp(), address.tcp()].map(|(host, port)| (host.to_owned(), port));
    assert_eq!(Some(found), model(&text), "{text:?}");
    let shown = address.to_string();
    assert_eq!(shown.parse(), Ok(address), "{shown}");
}

type HostPort = (String, u16);

/// Where documents go, and where sampling is asked about.
fn model(text: &str) -> Option<[HostPort; 2]> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words[..] {
        [both] => Some([host_port(both)?, host_port(both)?]),
        [first, second] => {
            let (udp, tcp) = if first.starts_with("udp:") {
                (first, second)
            } else {
                (second, first)
            };
            let (udp, tcp) = (udp.strip_prefix("udp:")?, tcp.strip_prefix("tcp:")?);
            Some([host_port(udp)?, host_port(tcp)?])
        }
        _ => None,
    }
}

fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match inside {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(|_| address)?,
        None => host,
    };
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let valid = inside.is_some() || host.chars().all(of_a_name);
    (valid && !host.is_empty()).then(|| (host.to_owned(), port))
}
