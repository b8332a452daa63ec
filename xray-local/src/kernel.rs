//! What the operating system knows about a socket.

use std::net::UdpSocket;

/// Datagrams thrown away because the socket's buffer was full.
#[cfg(target_os = "linux")]
pub(crate) fn drops(socket: &UdpSocket) -> Option<u64> {
    use std::os::fd::AsRawFd;
    // The port may be shared by sockets on other addresses; the inode may not.
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    let table = match socket.local_addr().ok()? {
        std::net::SocketAddr::V4(_) => "/proc/net/udp",
        std::net::SocketAddr::V6(_) => "/proc/net/udp6",
    };
    let table = std::fs::read_to_string(table).ok()?;
    // Columns: sl local remote st queues tr tm retrnsmt uid timeout inode ref pointer drops
    let mut rows = table.lines().map(str::split_whitespace);
    let mut row = rows.find(|row| row.clone().nth(9) == Some(inode))?;
    row.nth(12)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn drops(_: &UdpSocket) -> Option<u64> {
    None
}
