//! The queue and those who wait for it, in every order of events.

use std::sync::Arc;

use super::*;
use crate::TraceId;
use crate::clock::Anchor;
use crate::emit::PieceHead;
use crate::emit::worker::finish;
use crate::ledger::Documents;
use crate::record::Record;
use crate::recorder::Common;
use crate::sync::{LONG, model, spawn, thread};

/// A queue, and what its pieces are booked in. In one for eight a single piece
/// waits for more to come.
#[derive(Clone)]
struct Model(Arc<Queue>, Arc<Common>);

impl Model {
    fn of(pieces: usize) -> Self {
        let queue = Arc::new(Queue::new(pieces, 1 << 20));
        Self(queue, Arc::default())
    }

    fn push(&self) {
        let head = PieceHead {
            trace_id: TraceId::MIN,
            anchor: Anchor::default(),
            rule: None,
        };
        self.0.push(Piece::new(&self.1, head, Record::default(), 0));
    }

    fn push_elsewhere(&self) -> thread::JoinHandle<()> {
        let queue = self.clone();
        spawn(move || queue.push())
    }

    /// What the emission thread does, without a socket.
    fn work(&self) -> thread::JoinHandle<()> {
        let Self(queue, _) = self.clone();
        spawn(move || {
            let (mut batch, mut progress) = (VecDeque::new(), Progress::default());
            while queue.take(&mut batch, &mut progress, None) == Next::Send {
                finish(
                    &queue,
                    &mut batch,
                    &mut progress,
                    |mut piece, progress, _| {
                        piece.decide(0, Ok(()));
                        progress.finish(1, true);
                    },
                );
            }
            queue.end();
        })
    }

    fn shut_down(&self, timeout: Duration) -> Flushed {
        let deadline = Instant::now() + timeout;
        self.0.close(deadline);
        Queue::wait_closed(&self.0, deadline).wait()
    }

    /// What became of so many documents, when nobody is at work any more.
    fn books(&self, created: u64) -> Documents {
        let books = self.1.ledger.documents();
        assert!(books.is_balanced(), "{books:?}");
        assert_eq!((books.created, books.queued), (created, 0), "{books:?}");
        books
    }
}

/// Longer than any model lasts.
const NEVER: Duration = LONG.saturating_mul(60);

fn lost(books: &Documents, reason: Loss) -> u64 {
    books.lost.get(&reason).copied().unwrap_or(0)
}

/// Two push, one takes until it has both: it is woken, or wakes by itself.
#[test]
fn whoever_waits_for_pieces_gets_all_of_them() {
    model(|| {
        let queue = Model::of(8);
        let other = queue.push_elsewhere();
        let takes = queue.0.clone();
        let taker = spawn(move || {
            let mut batch = VecDeque::new();
            while batch.len() < 2 {
                let mut taken = VecDeque::new();
                let mut progress = Progress::default();
                assert_eq!(takes.take(&mut taken, &mut progress, None), Next::Send);
                batch.append(&mut taken);
            }
            for mut piece in batch {
                piece.decide(0, Ok(()));
            }
        });
        queue.push();
        other.join().unwrap();
        taker.join().unwrap();
        assert_eq!(queue.books(2).sent, 2);
    });
}

#[test]
fn what_finds_no_room_is_lost_and_nothing_else() {
    model(|| {
        let queue = Model::of(1);
        let worker = queue.work();
        let other = queue.push_elsewhere();
        queue.push();
        other.join().unwrap();
        assert_eq!(queue.shut_down(NEVER).remaining, 0);
        worker.join().unwrap();
        let books = queue.books(2);
        assert!(books.sent >= 1, "{books:?}");
        assert_eq!(books.sent + lost(&books, Loss::QueueFull), 2, "{books:?}");
    });
}

#[test]
fn a_flush_is_back_when_all_before_it_is_sent() {
    model(|| {
        let queue = Model::of(8);
        let worker = queue.work();
        let other = queue.push_elsewhere();
        queue.push();
        let deadline = Instant::now() + NEVER;
        let flushed = Queue::flush(&queue.0, deadline).wait();
        assert_eq!(flushed.remaining, 0);
        assert!(queue.1.ledger.documents().sent >= 1);
        other.join().unwrap();
        assert_eq!(queue.shut_down(NEVER).remaining, 0);
        worker.join().unwrap();
        assert_eq!(queue.books(2).sent, 2);
    });
}

/// A task hears of it by the thread that looks after all of them.
#[test]
fn a_flush_that_is_awaited_is_back_as_well() {
    model(|| {
        let queue = Model::of(8);
        let worker = queue.work();
        queue.push();
        let deadline = Instant::now() + NEVER;
        let flushed = ::loom::future::block_on(Queue::flush(&queue.0, deadline));
        assert_eq!(flushed.remaining, 0);
        assert_eq!(queue.shut_down(NEVER).remaining, 0);
        worker.join().unwrap();
        assert_eq!(queue.books(1).sent, 1);
    });
}

/// T-63: what got in is sent, what came too late is counted.
#[test]
fn a_shutdown_with_time_misses_nothing() {
    model(|| {
        let queue = Model::of(8);
        let worker = queue.work();
        let pushes = queue.clone();
        let other = spawn(move || {
            pushes.push();
            pushes.push();
        });
        assert_eq!(queue.shut_down(NEVER).remaining, 0);
        other.join().unwrap();
        worker.join().unwrap();
        let books = queue.books(2);
        assert_eq!(books.sent + lost(&books, Loss::Shutdown), 2, "{books:?}");
    });
}

/// T-63, where the time is over at once.
#[test]
fn a_shutdown_without_time_counts_what_it_leaves() {
    model(|| {
        let queue = Model::of(8);
        let worker = queue.work();
        let other = queue.push_elsewhere();
        queue.push();
        let left = queue.shut_down(Duration::ZERO).remaining;
        other.join().unwrap();
        worker.join().unwrap();
        let books = queue.books(2);
        let late = lost(&books, Loss::Shutdown);
        assert_eq!(books.sent + late, 2, "{books:?}");
        // What was being sent just then counts as left.
        assert!(left <= 2 && late <= left + 1, "{left}, {books:?}");
    });
}

#[test]
fn two_shutdowns_and_a_push_end() {
    model(|| {
        let queue = Model::of(8);
        let worker = queue.work();
        let shuts = queue.clone();
        let other = spawn(move || shuts.shut_down(NEVER));
        queue.push();
        assert_eq!(queue.shut_down(NEVER).remaining, 0);
        assert_eq!(other.join().unwrap().remaining, 0);
        worker.join().unwrap();
        queue.books(1);
    });
}
