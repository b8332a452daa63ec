//! An unsampled request allocates nothing, and a sampled one little.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]
#![allow(
    unsafe_code,
    reason = "a global allocator, which counts, is unsafe to write"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use xray_core::{
    Always, Class, Decision, Emitter, Never, Outcome, Piece, Recorder, RecorderBuilder, Sampler,
    SamplingRequest, TraceExt, TraceHeader,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the calling thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn counting_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
}

fn unsampled(recorder: &Recorder, header: &TraceHeader) {
    let segment = recorder.segment("shop").header(header).begin();
    assert!(!segment.is_recorded());
    let entered = segment.enter();
    for _ in 0..10 {
        let child = xray_core::current().begin_subsegment("child");
        let within = child.enter();
        let here = xray_core::current();
        here.annotate("text", "text");
        here.annotate("number", 7_u64);
        here.metadata("list", [1, 2, 3]);
        here.segment().tally("sum", xray_core::Tally::Sum(1.0));
        here.record_fault(&std::fmt::Error);
        here.segment().record_fault(&std::fmt::Error);
        let hold = here.hold();
        assert_eq!(here.header().to_text().len(), black_box(74));
        drop(within);
        child.close();
        drop(hold);
    }
    segment.in_subsegment("closure", |_| ());
    let long = "a name that is longer than the place that a future has for one";
    run(async {}.subsegment(long));
    run(segment.in_subsegment_async(long, async |_| ()));
    segment.http_response(xray_core::HttpResponse::new(200));
    drop(entered);
    // Where it is written no trace is current, so that the name is kept.
    run(segment.scope(async {}.subsegment("a name as others have it")));
    segment.close();
}

fn run(work: impl Future<Output = ()>) {
    let polled = pin!(work).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready());
}

/// Samples nothing, and listens.
#[derive(Debug, Default)]
struct Listens(AtomicU64);

impl Sampler for Listens {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::unsampled()
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        assert_eq!((outcome.class, outcome.status), (Class::Fault, Some(200)));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_unsampled_request_allocates_nothing() {
    allocates_nothing(|builder| builder.sampler(Never));
    allocates_nothing(|builder| builder.sampler(Listens::default()));
}

/// What begins on one thread and ends on another takes and gives back, too.
#[test]
fn an_unsampled_request_may_end_on_another_thread() {
    let builder = Recorder::builder("test").ignore_environment();
    let recorder = builder.sampler(Listens::default()).build().unwrap();
    let request = || {
        let segment = recorder.begin_segment("shop");
        segment.http_response(xray_core::HttpResponse::new(200));
        segment.raise(Class::Fault);
        segment
    };
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel::<xray_core::Segment>();
        let (done, wait) = std::sync::mpsc::channel::<u64>();
        scope.spawn(move || {
            for segment in receive {
                done.send(allocations(|| segment.close())).unwrap();
            }
        });
        for round in 0..100 {
            let mut begun = None;
            let count = allocations(|| begun = Some(request()));
            send.send(begun.unwrap()).unwrap();
            let count = count + wait.recv().unwrap();
            assert!(round == 0 || count == 0, "round {round}: {count}");
        }
        drop(send);
    });
}

fn allocates_nothing(sampler: impl FnOnce(RecorderBuilder) -> RecorderBuilder) {
    let recorder = sampler(Recorder::builder("test").ignore_environment());
    let recorder = recorder.build().unwrap();
    for text in [
        "",
        "Root=1-66f2a1c0-0123456789abcdef01234567",
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=0",
    ] {
        unsampled(&recorder, &TraceHeader::default()); // the thread's first
        let count = allocations(|| {
            for _ in 0..100 {
                unsampled(&recorder, &TraceHeader::parse(text));
            }
        });
        assert_eq!(count, 0, "{text}");
    }
    assert_eq!(recorder.entities().unsampled, 15 * 303);
}

#[derive(Debug, Clone)]
struct Pieces(Arc<Mutex<Vec<Piece>>>);

impl Emitter for Pieces {
    fn emit(&self, piece: Piece) {
        self.0.lock().unwrap().push(piece);
    }
}

#[test]
fn a_sampled_request_allocates_little() {
    let pieces = Pieces(Arc::new(Mutex::new(Vec::with_capacity(1_000))));
    let recorder = Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .emitter(pieces.clone())
        .build()
        .unwrap();
    let request = || {
        let segment = recorder.begin_segment("shop");
        let annotate = |entity: &xray_core::Entity| {
            entity.annotate("text", "some text");
            entity.annotate("number", 7_u64);
            entity.annotate("flag", true);
        };
        annotate(&segment);
        for _ in 0..9 {
            let child = segment.begin_subsegment("child");
            let within = child.enter();
            annotate(&xray_core::current());
            drop(within);
            child.close();
        }
        segment.close();
    };
    request();
    let count = (0..10).map(|_| allocations(request)).max().unwrap();
    println!("a segment with nine subsegments and thirty values: {count} allocations");
    assert!(count <= 12, "{count}");
    assert!(count > 0, "nothing was counted");
    assert_eq!(pieces.0.lock().unwrap().len(), 11);
}
