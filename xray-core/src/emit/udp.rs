//! The socket to the daemon.
//!
//! Connected, so that a refusal is heard of, and never blocking. On a loopback
//! address the refusal of a datagram stands in `SO_ERROR` as soon as `send` is
//! back; elsewhere it comes late or never, and speaks of an earlier datagram.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use super::bundle::Bundle;
use super::resolve::{Host, Resolver};
use super::{gso, pace};
use crate::daemon_address::DaemonAddress;

/// What one call sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load<'a> {
    One(&'a [u8]),
    /// All that are left of it, where [`Udp::joins`].
    All(&'a Bundle),
}

impl Load<'_> {
    fn documents(self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::All(bundle) => bundle.len() as u64,
        }
    }

    /// What it takes of the receiver's buffer.
    pub(super) fn kernel_bytes(self) -> usize {
        match self {
            Self::One(datagram) => pace::kernel_bytes(datagram.len(), 1),
            Self::All(bundle) => bundle.kernel_bytes(),
        }
    }
}

/// What came of one attempt to send.
#[derive(Debug)]
pub(super) enum Attempt {
    Sent,
    /// Sent; what the call before sent was refused, so many documents.
    SentAfterRefusal {
        of: u64,
    },
    /// Nobody listens: this datagram was refused.
    Refused,
    /// More than the network takes with one call.
    TooLarge,
    /// The socket's own buffer is full.
    Full,
    /// The daemon's name is being resolved, or could not be.
    NoAddress,
    /// Nothing was sent, and may be later: there is no socket, or no way to any
    /// address for now.
    Unreachable(io::Error),
    Failed,
}

#[derive(Debug)]
pub(super) struct Udp {
    host: Host,
    /// Which of the host's addresses is used: the next one after a refusal.
    at: usize,
    socket: Option<Socket>,
    /// Where the last socket led.
    leads_to: Option<SocketAddr>,
    /// That has changed since it was asked for.
    has_moved: bool,
    /// Stands in for a network that takes less than loopback does.
    #[cfg(test)]
    pub(super) takes: usize,
    #[cfg(test)]
    pub(super) fails: Fails,
}

/// Errors of the calls to come, as the operating system numbers them.
#[cfg(test)]
pub(super) type Fails = std::sync::Arc<std::sync::Mutex<std::collections::VecDeque<i32>>>;

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    /// Whoever refuses is heard of at once.
    is_of_this_host: bool,
    /// Whether it takes many datagrams with one call.
    joins: bool,
    /// Documents that the last call sent.
    last: u64,
    #[cfg(test)]
    fails: Fails,
}

impl Udp {
    pub(super) fn new(address: &DaemonAddress, resolver: Resolver) -> Self {
        Self {
            host: Host::new(address, resolver),
            at: 0,
            socket: None,
            leads_to: None,
            has_moved: false,
            #[cfg(test)]
            takes: usize::MAX,
            #[cfg(test)]
            fails: Fails::default(),
        }
    }

    /// Has the host's name looked up, if it is one.
    pub(super) fn look_up(&mut self) {
        self.host.look_up();
    }

    /// Waits while there is no address, at most until then.
    pub(super) fn wait_for_address(&mut self, until: Instant) {
        self.host.wait(until);
    }

    /// Whether many datagrams may leave with one call. Only within
    /// this host, where one datagram is never too large.
    pub(super) fn joins(&self) -> bool {
        #[cfg(test)]
        if self.takes != usize::MAX {
            return false;
        }
        self.socket.as_ref().is_some_and(|socket| socket.joins)
    }

    /// Tries each address of the host once, from the one that served last.
    pub(super) fn send(&mut self, load: Load<'_>) -> Attempt {
        if self.host.refresh() {
            (self.at, self.socket) = (0, None);
        }
        #[cfg(test)]
        if matches!(load, Load::One(datagram) if datagram.len() > self.takes) {
            return Attempt::TooLarge;
        }
        let mut attempt = Attempt::NoAddress;
        for _ in 0..self.host.addresses().len() {
            attempt = self.send_here(load);
            match attempt {
                Attempt::Refused | Attempt::Failed | Attempt::Unreachable(_) => self.move_on(),
                Attempt::SentAfterRefusal { .. } => {
                    self.move_on();
                    break;
                }
                _ => break,
            }
        }
        self.host
            .served(matches!(attempt, Attempt::Sent | Attempt::Full));
        attempt
    }

    /// Turns to the next address, if there is one.
    fn move_on(&mut self) {
        let addresses = self.host.addresses().len();
        if addresses > 1 {
            self.at = (self.at + 1) % addresses;
            self.socket = None;
        }
    }

    /// Whether another address is used than when this was asked last.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// A way that is gone may be back, which only a new socket finds out.
    fn send_here(&mut self, load: Load<'_>) -> Attempt {
        match self.send_once(load) {
            Attempt::Unreachable(_) => self.send_once(load),
            attempt => attempt,
        }
    }

    fn send_once(&mut self, load: Load<'_>) -> Attempt {
        let mut socket = match self.socket.take().map_or_else(|| self.open(), Ok) {
            Ok(socket) => socket,
            Err(error) => return Attempt::Unreachable(error),
        };
        match socket.send(load) {
            Ok(attempt) => {
                self.socket = Some(socket);
                attempt
            }
            // Begins anew with the next datagram.
            Err(error) if is_unreachable(&error) => Attempt::Unreachable(error),
            Err(_) => Attempt::Failed,
        }
    }

    fn open(&mut self) -> io::Result<Socket> {
        let address = self.host.addresses()[self.at];
        let before = self.leads_to.replace(address);
        self.has_moved |= before.is_some_and(|before| before != address);
        let socket = Socket::open(address)?;
        #[cfg(test)]
        let socket = Socket {
            fails: self.fails.clone(),
            ..socket
        };
        Ok(socket)
    }
}

impl Socket {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        let (local, peer) = (socket.local_addr()?.ip(), socket.peer_addr()?.ip());
        let is_of_this_host = peer.to_canonical().is_loopback() || peer == local;
        Ok(Self {
            joins: is_of_this_host && gso::is_supported(&socket),
            socket,
            is_of_this_host,
            last: 0,
            #[cfg(test)]
            fails: Fails::default(),
        })
    }

    fn call(&self, load: Load<'_>) -> io::Result<()> {
        #[cfg(test)]
        if let Some(code) = self.fails.lock().unwrap().pop_front() {
            return Err(io::Error::from_raw_os_error(code));
        }
        match load {
            Load::One(datagram) => self.socket.send(datagram).map(|_| ()),
            Load::All(bundle) => gso::send(&self.socket, bundle),
        }
    }

    fn send(&mut self, load: Load<'_>) -> io::Result<Attempt> {
        let mut earlier_refused = false;
        loop {
            if matches!(load, Load::All(_)) && !self.joins {
                return Ok(Attempt::TooLarge);
            }
            match self.call(load) {
                Ok(()) => {
                    let error = if self.is_of_this_host {
                        self.socket.take_error()?
                    } else {
                        None
                    };
                    if error.as_ref().is_some_and(is_refusal) {
                        return Ok(Attempt::Refused);
                    }
                    let of = std::mem::replace(&mut self.last, load.documents());
                    return Ok(if earlier_refused {
                        Attempt::SentAfterRefusal { of }
                    } else {
                        Attempt::Sent
                    });
                }
                // The refused call sent nothing, so it is made again.
                Err(error) if is_refusal(&error) && !earlier_refused => earlier_refused = true,
                Err(error) if is_refusal(&error) => return Ok(Attempt::Refused),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Attempt::Full);
                }
                // Whatever is the matter, each alone will show it.
                Err(_) if matches!(load, Load::All(_)) => self.joins = false,
                Err(error) if is_too_large(&error) => return Ok(Attempt::TooLarge),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// No network, no way to it, or a firewall that says no (`EPERM`): it may pass.
fn is_unreachable(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable => true,
        // `EACCES` is of that kind, too, and stays: a broadcast address.
        io::ErrorKind::PermissionDenied => cfg!(windows) || error.raw_os_error() == Some(1),
        _ => false,
    }
}

/// `EMSGSIZE`, which has no `ErrorKind`.
fn is_too_large(error: &io::Error) -> bool {
    let code = if cfg!(windows) {
        10_040
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        90
    } else {
        40
    };
    error.raw_os_error() == Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that lead to a port of this host, written in other ways.
    fn of_this_host(port: u16) -> Vec<SocketAddr> {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let mut addresses = vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (mapped, port).into(),
        ];
        // Nothing is sent: it is asked which address would be used.
        let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if own.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).is_ok() {
            addresses.push((own.local_addr().unwrap().ip(), port).into());
        }
        addresses
    }

    /// All but the first used to count as another host, whose refusals come late.
    #[test]
    fn this_host_is_known_however_it_is_written() {
        let listens = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let addresses = of_this_host(listens.local_addr().unwrap().port());
        let mut ways: Vec<Udp> = Vec::new();
        for address in &addresses {
            let mut udp = Udp::new(&(*address).into(), Resolver::default());
            let attempt = udp.send(Load::One(b"tea"));
            let has_no_ipv6 = matches!(attempt, Attempt::Unreachable(_)) && address.is_ipv6();
            if !has_no_ipv6 {
                assert!(matches!(attempt, Attempt::Sent), "{address}: {attempt:?}");
                assert_eq!(udp.joins(), cfg!(target_os = "linux"), "{address}");
                ways.push(udp);
            }
        }
        drop(listens);
        for udp in &mut ways {
            for _ in 0..2 {
                let attempt = udp.send(Load::One(b"tea"));
                assert!(matches!(attempt, Attempt::Refused), "{udp:?}: {attempt:?}");
            }
        }
    }
}
