//! The socket to the daemon.
//!
//! Connected, so that a refusal is heard of, and never blocking. On a loopback
//! address the refusal of a datagram stands in `SO_ERROR` as soon as `send` is
//! back; elsewhere it comes late or never, and speaks of an earlier datagram.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon_address::DaemonAddress;
use crate::report::{Report, report};

/// What came of one attempt to send.
#[derive(Debug)]
pub(super) enum Attempt {
    Sent,
    /// Sent; an earlier datagram, booked as sent, was refused.
    SentAfterRefusal,
    /// Nobody listens: this datagram was refused.
    Refused,
    /// Larger than the network takes.
    TooLarge,
    /// The socket's own buffer is full.
    Full,
    /// The daemon's name is being resolved, or could not be.
    NoAddress,
    Failed,
}

#[derive(Debug)]
pub(super) struct Udp {
    host: String,
    port: u16,
    /// The addresses of the host, for as long as they serve.
    addresses: Vec<SocketAddr>,
    resolving: Option<Receiver<Vec<SocketAddr>>>,
    resolve_after: Option<Instant>,
    socket: Option<Socket>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    is_loopback: bool,
}

/// Between two attempts to resolve a name that cannot be resolved.
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);

impl Udp {
    pub(super) fn new(address: &DaemonAddress) -> Self {
        let (host, port) = address.udp();
        let addresses = host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
        Self {
            host: host.to_owned(),
            port,
            addresses: addresses.into_iter().collect(),
            resolving: None,
            resolve_after: None,
            socket: None,
        }
    }

    pub(super) fn send(&mut self, datagram: &[u8]) -> Attempt {
        let Some(socket) = self.connected() else {
            return Attempt::NoAddress;
        };
        match socket.send(datagram) {
            Ok(attempt) => attempt,
            Err(_) => {
                self.socket = None; // begin anew with the next datagram
                Attempt::Failed
            }
        }
    }

    /// The socket, if the daemon's address is known.
    fn connected(&mut self) -> Option<&Socket> {
        if self.socket.is_none() {
            if self.addresses.is_empty() {
                self.resolve();
            }
            let mut open = self
                .addresses
                .iter()
                .filter_map(|address| Socket::open(*address).ok());
            self.socket = open.next();
        }
        self.socket.as_ref()
    }

    /// Resolves the name on a thread that ends with it: a resolver may take
    /// many seconds.
    fn resolve(&mut self) {
        if let Some(answer) = &self.resolving {
            match answer.try_recv() {
                Ok(addresses) => self.addresses = addresses,
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    report(
                        Report::Resolve,
                        &format_args!("{} cannot be resolved", self.host),
                    );
                }
            }
            self.resolving = None;
            self.resolve_after = Some(Instant::now() + RESOLVE_PAUSE);
            return;
        }
        if self
            .resolve_after
            .is_some_and(|after| Instant::now() < after)
        {
            return;
        }
        let (tell, answer) = mpsc::channel();
        let (host, port) = (self.host.clone(), self.port);
        let thread = thread::Builder::new().name("xray-resolve".to_owned());
        let spawned = thread.spawn(move || {
            if let Ok(addresses) = (host.as_str(), port).to_socket_addrs() {
                let _ = tell.send(addresses.collect());
            }
        });
        self.resolving = spawned.is_ok().then_some(answer);
    }
}

impl fmt::Display for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, UDP port {}", self.host, self.port)
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
        Ok(Self {
            socket,
            is_loopback: address.ip().is_loopback(),
        })
    }

    fn send(&self, datagram: &[u8]) -> io::Result<Attempt> {
        let mut earlier_refused = false;
        loop {
            match self.socket.send(datagram) {
                Ok(_) if self.is_loopback => {
                    return Ok(match self.socket.take_error()? {
                        Some(error) if is_refusal(&error) => Attempt::Refused,
                        _ => Attempt::Sent,
                    });
                }
                Ok(_) if earlier_refused => return Ok(Attempt::SentAfterRefusal),
                Ok(_) => return Ok(Attempt::Sent),
                // The refused call sent nothing, so it is made again.
                Err(error) if is_refusal(&error) && !earlier_refused => earlier_refused = true,
                Err(error) if is_refusal(&error) => return Ok(Attempt::Refused),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Attempt::Full);
                }
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
