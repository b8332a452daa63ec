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
    /// The operating system gives no socket to any address.
    NoSocket,
    Failed,
}

#[derive(Debug)]
pub(super) struct Udp {
    host: Host,
    /// Which of the host's addresses is used: the next one after a refusal.
    at: usize,
    socket: Option<Socket>,
    /// Stands in for a network that takes less than loopback does.
    #[cfg(test)]
    pub(super) takes: usize,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    is_loopback: bool,
    /// Whether it takes many datagrams with one call.
    joins: bool,
    /// Documents that the last call sent.
    last: u64,
}

impl Udp {
    pub(super) fn new(address: &DaemonAddress, resolver: Resolver) -> Self {
        Self {
            host: Host::new(address, resolver),
            at: 0,
            socket: None,
            #[cfg(test)]
            takes: usize::MAX,
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

    /// Whether many datagrams may leave with one call. Only over loopback,
    /// where one datagram is never too large.
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
                Attempt::Refused | Attempt::Failed | Attempt::NoSocket => self.move_on(),
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

    fn send_here(&mut self, load: Load<'_>) -> Attempt {
        if self.socket.is_none() {
            self.socket = Socket::open(self.host.addresses()[self.at]).ok();
        }
        let Some(socket) = &mut self.socket else {
            return Attempt::NoSocket;
        };
        socket.send(load).unwrap_or_else(|_| {
            self.socket = None; // begin anew with the next datagram
            Attempt::Failed
        })
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
        let is_loopback = address.ip().is_loopback();
        Ok(Self {
            joins: is_loopback && gso::is_supported(&socket),
            socket,
            is_loopback,
            last: 0,
        })
    }

    fn send(&mut self, load: Load<'_>) -> io::Result<Attempt> {
        let mut earlier_refused = false;
        loop {
            let sent = match load {
                Load::One(datagram) => self.socket.send(datagram).map(|_| ()),
                Load::All(_) if !self.joins => return Ok(Attempt::TooLarge),
                Load::All(bundle) => gso::send(&self.socket, bundle),
            };
            match sent {
                Ok(()) => {
                    let error = if self.is_loopback {
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
