//! Sends on the thread that closes a segment.

use std::time::{Duration, Instant};

use super::sender::{Outbox, Sender, Waits};
use super::way::Settings;
use super::{Emitter, Flush, Piece};
use crate::ledger::Loss;
use crate::process;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// What is closed before the daemon's name is resolved waits so long for it,
/// from the start: a name that is not served costs a process this much, once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Kept for threads to come.
const OUTBOXES: usize = 8;

/// Sends before `close` returns; waits for nothing but a name's first answer.
#[derive(Debug)]
pub(super) struct InlineEmitter {
    sender: Sender,
    process: u32,
    patience: Instant,
    /// One for each thread that is sending: packing runs hooks, which may take
    /// their time, or close something themselves.
    outboxes: Mutex<Vec<Outbox>>,
    is_shut_down: AtomicBool,
}

impl InlineEmitter {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { address, limit, .. } = settings;
        Self {
            sender: Sender::new(address, settings.resolver.clone(), *limit),
            process: process::id(),
            patience: Instant::now() + PATIENCE,
            outboxes: Mutex::default(),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// Looks for the daemon before there is anything to send.
    pub(super) fn look_up(self) -> Self {
        self.sender.look_up();
        self
    }

    fn send(&self, outbox: &mut Outbox, piece: Piece) {
        self.sender.send(outbox, piece, &mut Waits::Never);
        self.sender.send_bundle(outbox, &mut Waits::Never);
    }
}

impl Emitter for InlineEmitter {
    fn emit(&self, mut piece: Piece) {
        // The socket is the parent's, too, and so is the piece.
        if self.process != process::id() {
            piece.lose(Loss::Fork);
            return;
        }
        if self.is_shut_down.load(Ordering::Acquire) {
            piece.lose(Loss::Shutdown);
            return;
        }
        let window = piece.open_window();
        let kept = self.outboxes.lock().pop();
        let mut outbox = kept.unwrap_or_default();
        self.sender.wait_for_address(self.patience);
        self.send(&mut outbox, piece);
        if let Some(window) = window {
            window.finish(|closed| self.send(&mut outbox, closed));
        }
        let mut outboxes = self.outboxes.lock();
        if outboxes.len() < OUTBOXES {
            outboxes.push(outbox);
        }
    }

    fn shutdown(&self, _: Duration) -> Flush {
        self.is_shut_down.store(true, Ordering::Release);
        Flush::done()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use crate::sampling::Always;
    use crate::{Keep, Recorder, RecorderBuilder, Segment};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// Whoever listens, and a recorder to be built that sends there.
    fn inline() -> (UdpSocket, RecorderBuilder) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let builder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(socket.local_addr().unwrap())
            .send_inline();
        (socket, builder)
    }

    /// The hook used to run under the socket's lock, which its own close needs.
    #[test]
    fn a_hook_may_close_what_was_begun_before() {
        let (_socket, builder) = inline();
        let earlier: Arc<Mutex<Option<Segment>>> = Arc::default();
        let of_hook = earlier.clone();
        let hook = move |_: &mut _| {
            let earlier = of_hook.lock().unwrap().take();
            drop(earlier);
            Keep::Send
        };
        let recorder = builder.hook(hook).build().unwrap();
        *earlier.lock().unwrap() = Some(recorder.begin_segment("earlier"));
        let later = recorder.begin_segment("later");
        let (closed, is_closed) = channel();
        thread::spawn(move || {
            later.close();
            closed.send(())
        });
        assert_eq!(is_closed.recv_timeout(LONG), Ok(()), "it waits for itself");
        assert_eq!(recorder.documents().sent, 2);
        assert!(recorder.entities().is_balanced());
        assert_eq!(recorder.open_entities(), 0);
    }

    /// A hook that takes its time used to hold up every thread that closes.
    #[test]
    fn nobody_waits_for_anothers_hook() {
        type Ends<T> = (Sender<T>, Mutex<Receiver<T>>);
        let ends = || {
            let (tell, told) = channel();
            Arc::new((tell, Mutex::new(told)))
        };
        let (_socket, builder) = inline();
        let (entered, released): (Arc<Ends<()>>, Arc<Ends<()>>) = (ends(), ends());
        let of_hook = (entered.clone(), released.clone());
        let hook = move |document: &mut crate::document::Document| {
            if document.name == "slow" {
                of_hook.0.0.send(()).unwrap();
                of_hook.1.1.lock().unwrap().recv_timeout(LONG).unwrap();
            }
            Keep::Send
        };
        let recorder = builder.hook(hook).build().unwrap();
        let slow = recorder.begin_segment("slow");
        let slow = thread::spawn(move || slow.close());
        entered.1.lock().unwrap().recv_timeout(LONG).unwrap();
        let begun = Instant::now();
        recorder.begin_segment("quick").close();
        assert_eq!(recorder.documents().sent, 1);
        assert!(begun.elapsed() < LONG);
        released.0.send(()).unwrap();
        slow.join().unwrap();
        // A hook that was not let go in time panicked.
        assert_eq!(recorder.documents().sent, 2);
    }
}
