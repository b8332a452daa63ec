//! The addresses of the daemon's host, looked up where nobody waits for it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon_address::{DaemonAddress, literal};
use crate::guard::guarded;
use crate::report::{Report, report};

/// Finds the addresses of a host other than by the operating system; see
/// [`RecorderBuilder::resolver`](crate::RecorderBuilder::resolver).
///
/// Called on a short-lived thread of its own, at most once at a time, so it may
/// take as long as it likes.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host` with `port`, the one to be tried first in front.
    ///
    /// # Errors
    ///
    /// When there is none. Those found before stay in use, and it is asked
    /// again.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// Who resolves. The operating system by default.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Resolve>);

impl Resolver {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self(resolver)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(System))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Between two looks at a name that serves: a re-pointed one is noticed within
/// a minute.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between two looks at a name that does not.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Failures in a row after which a name is looked at soon.
const FAILURES: u32 = 3;

/// A host and what is known of its addresses.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    port: u16,
    resolver: Resolver,
    /// An address needs no looking up.
    is_name: bool,
    /// The last good ones.
    addresses: Vec<SocketAddr>,
    pending: Option<Receiver<Vec<SocketAddr>>>,
    looked: Option<Instant>,
    failures: u32,
}

impl Host {
    pub(super) fn new(address: &DaemonAddress, resolver: Resolver) -> Self {
        let (name, port) = address.udp();
        let known = literal(name, port);
        Self {
            name: name.to_owned(),
            port,
            resolver,
            is_name: known.is_none(),
            addresses: known.into_iter().collect(),
            pending: None,
            looked: None,
            failures: 0,
        }
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether a datagram could be handed over, as far as is known.
    pub(super) fn served(&mut self, served: bool) {
        self.failures = if served { 0 } else { self.failures + 1 };
    }

    /// Takes an answer that is there, and asks when it is time. `true` when the
    /// addresses are others than before. Never waits.
    pub(super) fn refresh(&mut self) -> bool {
        match &self.pending {
            Some(pending) => match pending.try_recv() {
                Err(TryRecvError::Empty) => false,
                Ok(addresses) => self.learn(addresses),
                Err(TryRecvError::Disconnected) => self.learn(Vec::new()),
            },
            None => {
                self.look_up();
                false
            }
        }
    }

    /// Asks when it is time.
    pub(super) fn look_up(&mut self) {
        if self.is_name && self.pending.is_none() && self.is_due() {
            self.ask();
        }
    }

    /// Waits for an answer while there is no address, at most until then.
    pub(super) fn wait(&mut self, until: Instant) {
        if let (true, Some(pending)) = (self.addresses.is_empty(), &self.pending) {
            let left = until.saturating_duration_since(Instant::now());
            match pending.recv_timeout(left) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(addresses) => {
                    self.learn(addresses);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.learn(Vec::new());
                }
            }
        }
    }

    /// `true` when the addresses are others than before.
    fn learn(&mut self, answer: Vec<SocketAddr>) -> bool {
        self.pending = None;
        self.looked = Some(Instant::now());
        self.failures = 0;
        let is_new = !answer.is_empty() && answer != self.addresses;
        if is_new {
            self.addresses = answer;
        }
        is_new
    }

    fn is_due(&self) -> bool {
        let soon = self.addresses.is_empty() || self.failures >= FAILURES;
        let pause = if soon { LOOK_SOON } else { LOOK_AGAIN };
        self.looked.is_none_or(|looked| looked.elapsed() >= pause)
    }

    fn ask(&mut self) {
        let (tell, answer) = mpsc::channel();
        let (name, port, resolver) = (self.name.clone(), self.port, self.resolver.clone());
        let thread = thread::Builder::new().name("xray-resolve".to_owned());
        let spawned = thread.spawn(move || {
            let answer = guarded(|| resolver.0.resolve(&name, port));
            let answer = answer.and_then(Result::ok).unwrap_or_default();
            if answer.is_empty() {
                // Said here: whoever sends does not wait for a logger.
                report(Report::Resolve, &format_args!("{name} cannot be resolved"));
            }
            let _ = tell.send(answer);
        });
        match spawned {
            Ok(_) => self.pending = Some(answer),
            Err(_) => self.looked = Some(Instant::now()), // not at every datagram
        }
    }
}
