//! Counts allocations while it is told to. While times are taken it is not: an
//! allocation then costs one more load.
#![allow(
    unsafe_code,
    reason = "a global allocator, which counts, is unsafe to write"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static OF_PROCESS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OF_THREAD: Cell<u64> = const { Cell::new(0) };
}

/// Begins to count, or ends.
pub(crate) fn count(whether: bool) {
    COUNTS.store(whether, Ordering::SeqCst);
}

/// Those of the calling thread so far.
pub(crate) fn of_thread() -> u64 {
    OF_THREAD.get()
}

/// Those of all threads so far.
pub(crate) fn of_process() -> u64 {
    OF_PROCESS.load(Ordering::SeqCst)
}

fn allocate() {
    if COUNTS.load(Ordering::Relaxed) {
        OF_PROCESS.fetch_add(1, Ordering::Relaxed);
        let _ = OF_THREAD.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocate();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocate();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        allocate();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
