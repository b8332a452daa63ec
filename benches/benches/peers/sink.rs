//! The receiver: a socket that nobody reads, so that no reader's CPU is
//! counted to those who send. What does not fit into its buffer the kernel
//! drops, and says how much that was.

use std::io;
use std::net::{SocketAddr, UdpSocket};

pub(crate) struct Sink {
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Sink {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// A socket that sends here.
    pub(crate) fn sender(&self) -> io::Result<UdpSocket> {
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        sender.connect(self.address)?;
        Ok(sender)
    }

    /// Datagrams that arrived since this was last asked, those dropped for want
    /// of room included. Linux alone tells of these; elsewhere this is `None`.
    pub(crate) fn arrived(&self, before: &mut u64) -> Option<u64> {
        let mut read = 0;
        while self.socket.recv(&mut [0; 1]).is_ok() {
            read += 1;
        }
        let dropped = dropped(self.address.port())?;
        let arrived = read + dropped - *before;
        *before = dropped;
        Some(arrived)
    }
}

/// The column `drops` of the socket with this port.
fn dropped(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").ok()?;
    let port = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        columns.nth(1)?.ends_with(&port).then_some(())?;
        columns.next_back()?.parse().ok()
    })
}
