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
