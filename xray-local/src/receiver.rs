//! The socket and the thread that reads it.

use crate::store::Store;
use crate::{Filter, Received, Trace, kernel};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An open socket and its thread.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<UdpSocket>,
    thread: JoinHandle<()>,
}

impl Receiver {
    pub(crate) fn open(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        // The kernel grants what it allows, so a refusal is no reason to stop.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&address.into())?;
        socket.set_read_timeout(Some(TICK))?;
        let socket = Arc::new(UdpSocket::from(socket));
        shared.ask(Mode::Reading);
        let thread = std::thread::Builder::new()
            .name("xray-local".to_owned())
            .spawn({
                let (socket, shared) = (Arc::clone(&socket), Arc::clone(shared));
                move || shared.run(&socket)
            })?;
        Ok(Self { socket, thread })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn drops(&self) -> Option<u64> {
        kernel::drops(&self.socket)
    }

    /// Returns the kernel's drops over the whole life of the socket.
    ///
    /// A socket that is simply closed takes with it what it had not read yet,
    /// unseen by anyone. So it is first connected to a peer that never sends:
    /// from then on the kernel refuses what others send, and they are told.
    /// Then what was delivered before is read, and only then it is closed.
    pub(crate) fn close(self, shared: &Shared) -> u64 {
        // Kept to the end, so that nobody else gets its address.
        let peer = self.address().and_then(silent_peer);
        if let Ok(peer) = &peer
            && let Ok(address) = peer.local_addr()
        {
            let _ = self.socket.connect(address);
        }
        let _ = self.socket.set_read_timeout(Some(LAST_LOOK));
        shared.ask(Mode::Stopping);
        // It fails only if the thread panicked, which was reported already.
        let _ = self.thread.join();
        kernel::drops(&self.socket).unwrap_or_default()
    }
}

/// Reachable from a socket on this address; it sends nothing.
fn silent_peer(like: SocketAddr) -> io::Result<UdpSocket> {
    match like {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)),
    }
}

/// What the thread and the daemon's methods share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Mutex<Store>,
    /// Something was received.
    pub(crate) arrived: Condvar,
    control: Mutex<Control>,
    changed: Condvar,
    hooks: Hooks,
}

#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) count_only: bool,
    pub(crate) on_received: Option<Hook<Received>>,
    pub(crate) on_trace: Option<Hook<Trace>>,
    /// Which traces `on_trace` gets to see.
    pub(crate) filter: Filter,
}

type Hook<T> = Box<dyn Fn(&T) + Send + Sync>;

#[derive(Debug)]
struct Control {
    mode: Mode,
    /// The thread has seen that it shall pause.
    is_paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Reading,
    Paused,
    /// Ends when nothing is left to read.
    Stopping,
}

impl Shared {
    pub(crate) fn new(store: Store, hooks: Hooks) -> Self {
        Self {
            store: Mutex::new(store),
            arrived: Condvar::new(),
            control: Mutex::new(Control {
                mode: Mode::Reading,
                is_paused: false,
            }),
            changed: Condvar::new(),
            hooks,
        }
    }

    pub(crate) fn ask(&self, mode: Mode) {
        lock(&self.control).mode = mode;
        self.changed.notify_all();
    }

    /// Returns once the thread reads no more.
    pub(crate) fn pause(&self) {
        self.ask(Mode::Paused);
        let control = lock(&self.control);
        let waiting = |control: &mut Control| control.mode == Mode::Paused && !control.is_paused;
        drop(self.changed.wait_while(control, waiting));
    }

    /// Sits out a pause; `false` when stopping.
    fn go_on(&self) -> bool {
        let mut control = lock(&self.control);
        while control.mode == Mode::Paused {
            control.is_paused = true;
            self.changed.notify_all();
            control = self
                .changed
                .wait(control)
                .unwrap_or_else(PoisonError::into_inner);
        }
        control.is_paused = false;
        control.mode == Mode::Reading
    }

    fn run(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_536];
        let mut next_look = Instant::now();
        loop {
            let go_on = self.go_on();
            match socket.recv(&mut buffer) {
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if !go_on => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // Nothing known gets here; if something does, it shall not spin.
                Err(_) => std::thread::sleep(TICK),
            }
            let now = Instant::now();
            if self.hooks.on_trace.is_some() && next_look <= now {
                next_look = now + TICK;
                let due = lock(&self.store).due(now);
                self.report(due, |store, id| store.finish(id, now, &self.hooks.filter));
            }
        }
    }

    fn take(&self, bytes: &[u8]) {
        if self.hooks.count_only {
            lock(&self.store).counts.received += 1;
        } else {
            let received = Received::new(bytes);
            if let Some(hook) = &self.hooks.on_received {
                guarded(|| hook(&received));
            }
            lock(&self.store).add(received, Instant::now());
        }
        self.arrived.notify_all();
    }

    /// Reports the traces that no more will be waited for.
    pub(crate) fn report_unfinished(&self) {
        if self.hooks.on_trace.is_some() {
            let left = lock(&self.store).unreported();
            self.report(left, |store, id| store.end(id, &self.hooks.filter));
        }
    }

    /// Calls the hook outside the lock, so that it may use the daemon.
    fn report(&self, ids: Vec<String>, take: impl Fn(&mut Store, &str) -> Option<Trace>) {
        let Some(hook) = &self.hooks.on_trace else {
            return;
        };
        for id in ids {
            let trace = take(&mut lock(&self.store), &id);
            if let Some(trace) = trace {
                guarded(|| hook(&trace));
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// A hook that panics has shown its message; the thread must live on.
fn guarded(hook: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(hook));
}

/// A thread that panicked while it held the lock left nothing half done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asked of the kernel, which may grant less.
const RECEIVE_BUFFER: usize = 8 << 20;
/// How long a pause or stop may go unnoticed.
const TICK: Duration = Duration::from_millis(10);
/// For a datagram that another processor is just delivering while we stop.
const LAST_LOOK: Duration = Duration::from_millis(2);
