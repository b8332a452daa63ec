//! The daemon as its users see it.

use crate::receiver::{Hooks, Mode, Receiver, Shared, lock};
use crate::store::{Limits, Store};
use crate::{Document, Filter, Received, Trace, TraceCounts, join};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A daemon to send documents to: it reads them strictly and keeps them.
///
/// It has one thread, which ends when the value is dropped. All methods take
/// `&self`, so a test can stop and restart it while others send.
///
/// ```
/// use std::time::Duration;
/// use xray_local::Daemon;
///
/// let daemon = Daemon::start()?;
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let document = r#"{"name":"shop","id":"70de5b6f19ff9a0a","start_time":10.0,"end_time":10.25,
///     "trace_id":"1-66f2a1c0-0123456789abcdef01234567"}"#;
/// let datagram = format!("{{\"format\":\"json\",\"version\":1}}\n{document}");
/// socket.send_to(datagram.as_bytes(), daemon.address())?;
///
/// assert!(daemon.wait_for(1, Duration::from_secs(5)));
/// assert_eq!(daemon.documents()[0].name, "shop");
/// assert_eq!(
///     daemon.traces()[0].to_string(),
///     "trace 1-66f2a1c0-0123456789abcdef01234567  1 document  250.0 ms\n\
///      └─ shop  250.0 ms\n"
/// );
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Daemon {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    /// `None` while stopped.
    receiver: Option<Receiver>,
    /// Kernel drops of the sockets closed so far.
    earlier_drops: u64,
}

/// Sets up a [`Daemon`].
///
/// ```
/// let daemon = xray_local::Daemon::builder()
///     .max_bytes(16 << 20)
///     .on_trace(|trace| print!("{trace}"))
///     .bind("127.0.0.1:0")?;
/// # assert_eq!(daemon.received_count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Defaults
///
/// - 512 MiB held (an estimate), 100,000 traces; the oldest trace goes first
/// - 300 ms without a new document until a complete trace counts as finished
/// - no callbacks, no filter
#[must_use]
pub struct Builder {
    limits: Limits,
    hooks: Hooks,
}

impl Builder {
    /// Most traces held at a time; zero holds none. The oldest is thrown out as a whole and its
    /// documents count as [`evicted`](Daemon::evicted).
    pub fn max_traces(mut self, traces: usize) -> Self {
        self.limits.traces = traces;
        self
    }

    /// Most memory held, in bytes, by estimate. The oldest trace is thrown out as a whole
    /// and its documents count as [`evicted`](Daemon::evicted).
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How long nothing new must come before a complete trace counts as
    /// finished. A trace that misses a parent waits ten times as long, since
    /// the parent may still be at work; one with documents in progress waits
    /// for these.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.limits.quiet = quiet;
        self
    }

    /// Counts datagrams without reading or keeping them, for tests that send
    /// faster than documents can be read.
    pub fn count_only(mut self) -> Self {
        self.hooks.count_only = true;
        self
    }

    /// Called for every datagram, accepted or not, on the receiving thread:
    /// while it runs, nothing is read.
    pub fn on_received(mut self, hook: impl Fn(&Received) + Send + Sync + 'static) -> Self {
        self.hooks.on_received = Some(Box::new(hook));
        self
    }

    /// Called for every finished trace on the receiving thread, and for those
    /// not finished when the daemon stops. A trace of which more comes later is
    /// reported again, whole.
    pub fn on_trace(mut self, hook: impl Fn(&Trace) + Send + Sync + 'static) -> Self {
        self.hooks.on_trace = Some(Box::new(hook));
        self
    }

    /// Reports to [`on_trace`](Self::on_trace) only the traces that match. All
    /// the others are received, held and counted as ever.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.hooks.filter = filter;
        self
    }

    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Those of the socket and of starting a thread.
    pub fn start(self) -> io::Result<Daemon> {
        self.bind((Ipv4Addr::LOCALHOST, 0))
    }

    /// Starts on the first of these addresses.
    ///
    /// # Errors
    ///
    /// Those of the address, of the socket and of starting a thread.
    pub fn bind(self, address: impl ToSocketAddrs) -> io::Result<Daemon> {
        let mut addresses = address.to_socket_addrs()?;
        let address = addresses.next().ok_or(ErrorKind::AddrNotAvailable)?;
        let shared = Arc::new(Shared::new(Store::new(self.limits), self.hooks));
        let receiver = Receiver::open(address, &shared)?;
        Ok(Daemon {
            address: receiver.address()?,
            shared,
            running: Mutex::new(Running {
                receiver: Some(receiver),
                earlier_drops: 0,
            }),
        })
    }
}

impl Daemon {
    /// Starts on a free port of 127.0.0.1 with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of the socket and of starting a thread.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts on this address with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of the address, of the socket and of starting a thread.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::builder().bind(address)
    }

    /// For other settings than the defaults.
    pub fn builder() -> Builder {
        Builder {
            limits: Limits {
                traces: 100_000,
                bytes: 512 << 20,
                quiet: Duration::from_millis(300),
            },
            hooks: Hooks::default(),
        }
    }

    /// Where to send; the same after a restart, and known while stopped.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every datagram held, accepted or not, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.store).received().cloned().collect()
    }

    /// The accepted documents held, in order of arrival.
    pub fn documents(&self) -> Vec<Document> {
        lock(&self.shared.store).documents().cloned().collect()
    }

    /// The rejected datagrams held, in order of arrival.
    pub fn rejected(&self) -> Vec<Received> {
        let store = lock(&self.shared.store);
        let rejected = store
            .received()
            .filter(|received| received.verdict.is_err());
        rejected.cloned().collect()
    }

    /// The accepted documents held, joined.
    pub fn traces(&self) -> Vec<Trace> {
        join(self.documents())
    }

    /// Datagrams received since the start or since [`clear`](Self::clear), also
    /// those rejected or no longer held.
    pub fn received_count(&self) -> usize {
        lock(&self.shared.store).counts.received
    }

    /// How many of these were rejected.
    pub fn rejected_count(&self) -> usize {
        lock(&self.shared.store).counts.rejected
    }

    /// How many of these are no longer held, because a limit was reached.
    pub fn evicted(&self) -> usize {
        lock(&self.shared.store).counts.evicted
    }

    /// What became of the traces since the start or since
    /// [`clear`](Self::clear). Without [`on_trace`](Builder::on_trace) none is
    /// looked at, and all that are held count as unfinished.
    pub fn trace_counts(&self) -> TraceCounts {
        lock(&self.shared.store).trace_counts()
    }

    /// Waits until at least `count` datagrams were received, accepted or not;
    /// `false` if that took too long.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> bool {
        self.wait(timeout, |store| store.counts.received >= count)
    }

    /// Waits until the accepted documents satisfy `enough`; `false` if that
    /// took too long. It is asked once at first and after every arrival, with
    /// the daemon locked, so it must not use the daemon itself.
    pub fn wait_until(
        &self,
        timeout: Duration,
        mut enough: impl FnMut(&[&Document]) -> bool,
    ) -> bool {
        self.wait(timeout, |store| {
            let documents: Vec<_> = store.documents().collect();
            enough(&documents)
        })
    }

    fn wait(&self, timeout: Duration, mut enough: impl FnMut(&Store) -> bool) -> bool {
        let store = lock(&self.shared.store);
        let waited = (self.shared.arrived)
            .wait_timeout_while(store, timeout, |store| !enough(store))
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Forgets all that was received and sets the counts to zero, except
    /// [`kernel_drops`](Self::kernel_drops).
    pub fn clear(&self) {
        lock(&self.shared.store).clear();
    }

    /// Datagrams that the kernel threw away because they came faster than they
    /// were read, over all restarts. `None` where it does not tell (elsewhere
    /// than on Linux).
    pub fn kernel_drops(&self) -> Option<u64> {
        let running = lock(&self.running);
        let current = match &running.receiver {
            Some(receiver) => receiver.drops()?,
            None if cfg!(target_os = "linux") => 0,
            None => return None,
        };
        Some(running.earlier_drops + current)
    }

    /// Stays alive but reads nothing until [`resume`](Self::resume): the kernel
    /// keeps what fits its buffer and drops the rest. Once this returns,
    /// nothing more is read. Not to be called from a callback.
    pub fn pause(&self) {
        if lock(&self.running).receiver.is_some() {
            self.shared.pause();
        }
    }

    /// Reads again after [`pause`](Self::pause).
    pub fn resume(&self) {
        if lock(&self.running).receiver.is_some() {
            self.shared.ask(Mode::Reading);
        }
    }

    /// Closes the socket so that every datagram is accounted for: what was
    /// delivered before is read, what comes later is refused to its sender.
    /// Then reports the traces that are not finished. Not to be called from a
    /// callback.
    pub fn stop(&self) {
        let mut running = lock(&self.running);
        let Some(receiver) = running.receiver.take() else {
            return;
        };
        running.earlier_drops += receiver.close(&self.shared);
        drop(running);
        self.shared.report_unfinished();
    }

    /// Opens the same port again, stopping first if need be. What was received
    /// is kept.
    ///
    /// # Errors
    ///
    /// When the port was taken in the meantime.
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        lock(&self.running).receiver = Some(Receiver::open(self.address, &self.shared)?);
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Daemon");
        out.field("address", &self.address);
        out.field("received", &self.received_count());
        out.finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Builder");
        out.field("limits", &self.limits).finish_non_exhaustive()
    }
}
