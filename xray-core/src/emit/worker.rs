//! The emission thread: takes finished pieces and sends them at a pace.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::flush::deadline;
use super::pace::Bucket;
use super::queue::{Next, Progress, Queue};
use super::sender::{Outbox, Sender, Waits};
use super::way::Settings;
use super::{Emitter, Flush, Piece};
use crate::process;
use crate::recorder::{Core, Recorder};

/// How long what is queued may still be sent after the last recorder is gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// Sends on a thread of its own.
#[derive(Debug)]
pub(super) struct WorkerEmitter {
    queue: Arc<Queue>,
    process: u32,
}

impl WorkerEmitter {
    pub(super) fn start(settings: &Settings, watched: Watched) -> io::Result<Self> {
        let Settings { queue, pace, .. } = *settings;
        let queue = Arc::new(Queue::new(queue.0, queue.1));
        let resolver = settings.resolver.clone();
        let sender = Sender::new(&settings.address, resolver, settings.limit);
        let of_thread = EndWithThread(queue.clone());
        let thread = thread::Builder::new().name("xray-emit".to_owned());
        thread.spawn(move || {
            let queue = &of_thread.0;
            queue.is_taken_here();
            let mut bucket = Bucket::new(pace);
            let mut outbox = Outbox::default();
            let (mut batch, mut progress) = (VecDeque::new(), Progress::default());
            let mut looked = Instant::now();
            while queue.take(&mut batch, &mut progress, watched.interval()) == Next::Send {
                finish(
                    queue,
                    &mut batch,
                    &mut progress,
                    |piece, progress, is_over| {
                        let mut waits = Waits::Thread(queue, progress, &mut bucket);
                        if is_over {
                            sender.give_up(&mut outbox, piece, &mut waits);
                        } else {
                            sender.send(&mut outbox, piece, &mut waits);
                        }
                    },
                );
                let mut waits = Waits::Thread(queue, &mut progress, &mut bucket);
                sender.send_bundle(&mut outbox, &mut waits);
                if watched
                    .interval()
                    .is_some_and(|interval| looked.elapsed() >= interval)
                {
                    watched.show_open();
                    looked = Instant::now();
                }
            }
        })?;
        let process = process::id();
        Ok(Self { queue, process })
    }
}

/// Gives what was taken to `send`, which says when it is done with, and hears
/// whether the time of a shutdown is over.
pub(super) fn finish(
    queue: &Queue,
    batch: &mut VecDeque<Piece>,
    progress: &mut Progress,
    mut send: impl FnMut(Piece, &mut Progress, bool),
) {
    while let Some(piece) = batch.pop_front() {
        let is_over = queue.is_over(progress);
        send(piece, progress, is_over);
    }
}

/// The recorder whose open traces the thread looks after, once it is built. How
/// often to look is known before: the thread may be the first to go on.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    age: Option<Duration>,
    core: Arc<OnceLock<Weak<Core>>>,
}

impl Watched {
    /// Shows what has been open for `age`.
    pub(crate) fn new(age: Option<Duration>) -> Self {
        Self {
            age,
            core: Arc::default(),
        }
    }

    pub(crate) fn set(&self, core: &Arc<Core>) {
        let _ = self.core.set(Arc::downgrade(core));
    }

    /// How often to look.
    fn interval(&self) -> Option<Duration> {
        self.age.map(|age| age.max(Duration::from_millis(10)))
    }

    fn show_open(&self) {
        if let Some(age) = self.age
            && let Some(core) = self.core.get().and_then(Weak::upgrade)
        {
            Recorder(core).show_open(age);
        }
    }
}

/// Nobody waits for a thread that is gone, however it went.
struct EndWithThread(Arc<Queue>);

impl Drop for EndWithThread {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Emitter for WorkerEmitter {
    fn emit(&self, piece: Piece) {
        self.queue.push(piece);
    }

    fn flush(&self, timeout: Duration) -> Flush {
        Queue::flush(&self.queue, deadline(timeout))
    }

    fn shutdown(&self, timeout: Duration) -> Flush {
        let deadline = deadline(timeout);
        // The thread ends a little earlier, so that it has told what it lost.
        let margin = (timeout / 4).min(Duration::from_millis(100));
        let end = deadline.checked_sub(margin).unwrap_or(deadline);
        self.queue.close(end);
        Queue::wait_closed(&self.queue, deadline)
    }
}

impl Drop for WorkerEmitter {
    fn drop(&mut self) {
        // In a forked process there is no thread to tell, and whoever held the
        // lock at the fork holds it for ever.
        if self.process == process::id() {
            self.queue.close(deadline(FAREWELL));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::sampling::Always;

    #[test]
    fn an_age_beyond_all_clocks_shows_nothing_and_loses_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .daemon_address(socket.local_addr().unwrap())
            .show_after(Some(Duration::MAX))
            .build()
            .unwrap();
        recorder.begin_segment("shop").close();
        let flushed = recorder.flush(Duration::from_secs(10)).wait();
        assert!(flushed.is_complete());
        assert_eq!(recorder.documents().sent, 1, "{:?}", recorder.documents());
    }
}
