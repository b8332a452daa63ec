use super::*;
use crate::TraceId;
use crate::clock::Anchor;
use crate::emit::PieceHead;
use crate::record::Record;

fn piece() -> Piece {
    let head = PieceHead {
        trace_id: TraceId::MIN,
        anchor: Anchor::default(),
        rule: None,
    };
    Piece::new(&Arc::default(), head, Record::default(), 0)
}

/// What was emptied behind them used to stand for those at hand.
#[test]
fn what_is_lost_at_the_end_finishes_nothing_before() {
    let queue = Arc::new(Queue::new(8, 1 << 20));
    let (mut batch, mut progress) = (VecDeque::new(), Progress::default());
    queue.push(piece());
    queue.push(piece());
    let flush = |queue: &Arc<Queue>| Queue::flush(queue, Instant::now());
    let (flushes, flushed) = (flush(&queue), flush(&queue));
    assert_eq!(queue.take(&mut batch, &mut progress, None), Next::Send);
    queue.push(piece());
    queue.push(piece());
    let now = Instant::now();
    queue.close(now);
    assert_eq!(Queue::wait_closed(&queue, now).wait().remaining, 4);
    assert_eq!(flushes.wait().remaining, 2, "those at hand");
    progress.finish(2, true);
    queue.take(&mut VecDeque::new(), &mut progress, None);
    assert_eq!(flushed.wait().remaining, 0);
    assert_eq!(Queue::wait_closed(&queue, now).wait().remaining, 2);
}

/// More leaves in all than there is room for at once.
#[test]
fn what_leaves_makes_room() {
    let all = large_pieces(200);
    let bytes = all[0].estimated_bytes();
    let common = all[0].common.clone();
    // Two at once, and not three.
    let queue = Queue::new(64, bytes * 2);
    let (mut batch, mut progress) = (VecDeque::new(), Progress::default());
    let mut pieces = all.into_iter();
    while let (Some(first), Some(second)) = (pieces.next(), pieces.next()) {
        queue.push(first);
        queue.push(second);
        queue.take(&mut batch, &mut progress, None);
        assert_eq!(batch.len(), 2);
        batch
            .drain(..)
            .for_each(|mut piece| piece.decide(1, Ok(())));
    }
    let documents = common.ledger.documents();
    assert_eq!((documents.sent, documents.lost.len()), (200, 0));
}

/// It used to be lost with nothing else to send.
#[test]
fn an_empty_queue_takes_what_is_larger_than_it() {
    let mut pieces = large_pieces(2).into_iter();
    let queue = Queue::new(64, 10);
    queue.push(pieces.next().unwrap());
    assert_eq!(queue.state.lock().pieces.len(), 1);
    let second = pieces.next().unwrap();
    let common = second.common.clone();
    queue.push(second);
    assert_eq!(common.ledger.documents().lost[&Loss::QueueFull], 1);
}

/// So many pieces of 40 kB each.
fn large_pieces(count: usize) -> Vec<Piece> {
    #[derive(Debug, Clone, Default)]
    struct Keep(Arc<std::sync::Mutex<Vec<Piece>>>);

    impl crate::Emitter for Keep {
        fn emit(&self, piece: Piece) {
            self.0.lock().unwrap().push(piece);
        }
    }

    let kept = Keep::default();
    let builder = crate::Recorder::builder("test").ignore_environment();
    let builder = builder.sampler(crate::Always).emitter(kept.clone());
    let recorder = builder.build().unwrap();
    for _ in 0..count {
        let segment = recorder.begin_segment("shop");
        segment.metadata("m", "m".repeat(40_000));
    }
    std::mem::take(&mut *kept.0.lock().unwrap())
}
