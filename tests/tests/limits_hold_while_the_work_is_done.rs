//! Values, errors and texts without bound: what is made of them is bounded, not
//! what is kept alone.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]
#![allow(
    unsafe_code,
    reason = "a global allocator, which counts, is unsafe to write"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use serde::{Serialize, Serializer};
use xray_core::document::Document;
use xray_core::{Class, Entity, Recorder};

struct Counting;

thread_local! {
    /// Bytes that this thread holds, and the most it held.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        MOST.try_with(|most| most.set(most.get().max(held.get())))
    });
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Both may be there at once.
        count(bytes as isize);
        // SAFETY: as the caller promises.
        let at = unsafe { System.realloc(at, layout, bytes) };
        count(-(layout.size() as isize));
        at
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` held at once.
fn peak(work: impl FnOnce()) -> isize {
    let before = HELD.get();
    MOST.set(before);
    work();
    MOST.get() - before
}

/// Twice a value of 64 kB as it grows, and once more in the record.
const BOUND: isize = 300 << 10;

/// What a segment came to say, and how many of its values were trimmed.
fn recorded(work: impl FnOnce(&Entity)) -> (Document, u64) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let peak = peak(|| work(&segment));
    assert!(peak < BOUND, "{peak} bytes");
    segment.close();
    assert_eq!(recorder.events().callback_panics, 0);
    (capture.documents().remove(0), recorder.events().trimmed)
}

#[test]
fn the_peak_is_counted() {
    assert_eq!(peak(|| drop(vec![0_u8; 1 << 20])), 1 << 20);
}

/// Two million texts, or one of 100 MB that is written in pieces.
enum Large {
    Texts,
    Shown,
    Nested,
    Map,
}

impl Serialize for Large {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = (0..2_000_000).map(|_| "a text of fifty bytes, two million times over: x");
        match self {
            Self::Texts => serializer.collect_seq(texts),
            Self::Shown => serializer.collect_str(&Endless),
            Self::Nested => serializer.collect_seq((0..2_000_000).map(|_| Self::Texts)),
            Self::Map => serializer.collect_map(texts.map(|text| (text, Self::Shown))),
        }
    }
}

/// Writes 100 MB, whatever it is told.
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..1_000_000 {
            let _ = f.write_str("a hundred bytes of text, a million times over, by somebody who does not listen to what it is told. ");
        }
        Ok(())
    }
}

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endless")
    }
}

impl std::error::Error for Endless {}

#[test]
fn a_large_value_is_written_no_further_than_its_limit() {
    for large in [Large::Texts, Large::Shown, Large::Nested, Large::Map] {
        let (document, trimmed) = recorded(|segment| segment.metadata("rows", &large));
        let rows = &document.metadata["default"]["rows"];
        assert_eq!(rows, "[trimmed: more than 64 kB]");
        assert_eq!(trimmed, 1);
        let (document, trimmed) = recorded(|segment| segment.aws("rows", &large));
        assert!(!document.aws.contains_key("rows"));
        assert_eq!(trimmed, 1);
    }
}

/// An error whose `Serialize` is refused with an endless reason.
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(Endless))
    }
}

#[test]
fn a_text_of_an_error_is_read_no_further_than_its_limit() {
    let (document, trimmed) = recorded(|segment| {
        segment.record_fault(&Endless);
        segment.record_exception("Error", &"x".repeat(100_000), Class::Fault);
    });
    for exception in document.exceptions() {
        let message = exception.message.as_ref().unwrap();
        assert_eq!(message.len(), 4_096 + '…'.len_utf8());
        assert!(message.ends_with('…'));
    }
    assert_eq!((document.exceptions().len(), trimmed), (2, 2));
    let (document, trimmed) = recorded(|segment| segment.metadata("m", Refuses));
    let text = document.metadata["default"]["m"].as_str().unwrap();
    assert!(text.starts_with("[not serialisable: a hundred bytes") && text.len() < 5_000);
    assert_eq!(trimmed, 1);
}

#[derive(Serialize)]
struct Node {
    next: Option<Box<Self>>,
}

/// As serde has it under its feature `rc`.
struct Shared(Rc<RefCell<Vec<Self>>>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[test]
fn depth_and_rings_end_at_the_33rd_level() {
    let work = || {
        let list = (0..20_000).fold(None, |next, _| Some(Box::new(Node { next })));
        let ring = Shared(Rc::default());
        ring.0.borrow_mut().push(Shared(ring.0.clone()));
        let (document, trimmed) = recorded(|segment| {
            segment.metadata("list", &list);
            segment.metadata("ring", &ring);
            segment.aws("list", &list);
            segment.aws("ring", &ring);
        });
        for key in ["list", "ring"] {
            let value = &document.metadata["default"][key];
            assert_eq!(value, "[trimmed: more than 32 levels]");
            assert!(!document.aws.contains_key(key));
        }
        assert_eq!(trimmed, 4);
        ring.0.borrow_mut().clear();
        let mut rest = list;
        while let Some(node) = rest {
            rest = node.next;
        }
    };
    let small = std::thread::Builder::new().stack_size(512 << 10);
    small.spawn(work).unwrap().join().unwrap();
}
