//! Where `flush` and `shutdown` may be called, and what the daemon does
//! meanwhile.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Runtime};
use xray_core::{Always, DaemonAddress, Flush, Flushed, Recorder, RecorderBuilder, Resolve};
use xray_local::Daemon;

use crate::nobody;

/// A flush or a shutdown, not called yet.
pub type Call = Box<dyn FnOnce() -> Flush + Send>;

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn workers(count: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).build().expect("a runtime")
}

/// Calls when it is dropped.
struct OnDrop(Option<Call>, mpsc::Sender<Flushed>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let call = self.0.take().expect("dropped once");
        self.1.send(call().wait()).expect("somebody listens");
    }
}

/// Makes the call somewhere, and waits for it there.
pub type Place = fn(Call) -> Flushed;

/// Everywhere a process need not end.
pub const PLACES: [(&str, Place); 10] = [
    ("no runtime", |call| call().wait()),
    ("current_thread", |call| {
        current_thread().block_on(async { call().await })
    }),
    ("one worker", |call| {
        let runtime = workers(1);
        runtime.block_on(async {
            tokio::spawn(async { call().await })
                .await
                .expect("a task that does not panic")
        })
    }),
    ("eight workers", |call| {
        let runtime = workers(8);
        runtime.block_on(async {
            tokio::spawn(async { call().await })
                .await
                .expect("a task that does not panic")
        })
    }),
    ("blocking inside block_on", |call| {
        current_thread().block_on(async { call().wait() })
    }),
    ("blocking the only worker", |call| {
        let runtime = workers(1);
        runtime.block_on(async {
            tokio::spawn(async { call().wait() })
                .await
                .expect("a task that does not panic")
        })
    }),
    ("spawn_blocking", |call| {
        let runtime = current_thread();
        runtime.block_on(async {
            tokio::task::spawn_blocking(|| call().wait())
                .await
                .expect("a task that does not panic")
        })
    }),
    ("after the runtime is dropped", |call| {
        let runtime = current_thread();
        let entered = runtime.enter();
        let mut flush = call();
        drop(entered);
        let mut cx = Context::from_waker(Waker::noop());
        let polled = runtime.block_on(async { Pin::new(&mut flush).poll(&mut cx) });
        drop(runtime);
        match polled {
            std::task::Poll::Ready(flushed) => flushed,
            std::task::Poll::Pending => flush.wait(),
        }
    }),
    ("in Drop", |call| {
        let (tell, told) = mpsc::channel();
        drop(OnDrop(Some(call), tell));
        told.recv().expect("it was dropped")
    }),
    ("in Drop while unwinding", |call| {
        let (tell, told) = mpsc::channel();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _on_drop = OnDrop(Some(call), tell);
            resume_unwind(Box::new("quietly"));
        }));
        assert!(unwound.is_err());
        told.recv().expect("it was dropped")
    }),
];

/// What a daemon does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a table of all there are")]
pub enum State {
    /// It reads.
    Up,
    /// Nobody listens there.
    Down,
    /// Alive, but reads nothing.
    Stopped,
    /// Its name has no address.
    Unresolvable,
}

/// All of them.
pub const STATES: [State; 4] = [State::Up, State::Down, State::Stopped, State::Unresolvable];

impl State {
    /// Whether the kernel takes documents for it.
    pub fn is_reachable(self) -> bool {
        matches!(self, Self::Up | Self::Stopped)
    }
}

/// Knows no names.
#[derive(Debug)]
struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        Err(std::io::Error::other("no such name"))
    }
}

/// A daemon in that state, and the settings of a recorder that sends to it.
///
/// # Errors
///
/// When there is no socket for it.
pub fn in_state(state: State) -> io::Result<(Daemon, RecorderBuilder)> {
    let daemon = Daemon::start()?;
    let address: DaemonAddress = match state {
        State::Up => daemon.address().into(),
        State::Down => nobody()?.into(),
        State::Stopped => {
            daemon.pause();
            daemon.address().into()
        }
        State::Unresolvable => "xray.test:2000".parse().map_err(io::Error::other)?,
    };
    let builder = Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .resolver(Arc::new(NoNames))
        .daemon_address(address);
    Ok((daemon, builder))
}
