//! Whatever ends a piece of work other than well is recorded where it happened,
//! once; who passes it on points there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test; panics are wanted"
)]

mod common;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::balance;
use xray_core::document::{Cause, Document, Exception};
use xray_core::{Capture, Class, ExceptionReport, Recorder, TraceExt};

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("pending"),
    }
}

#[derive(Debug)]
struct Failed(&'static str, Option<Box<Self>>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn failed(message: &'static str) -> Failed {
    Failed(message, None)
}

/// Runs `work` in a segment and returns its document.
fn recorded(work: impl FnOnce(&xray_core::Segment)) -> Document {
    let (recorder, capture): (Recorder, Capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let entered = segment.enter();
    work(&segment);
    drop(entered);
    segment.close();
    balance(&recorder);
    capture.documents().pop().unwrap()
}

fn said(exception: &Exception) -> (&str, &str) {
    (
        exception.kind.as_deref().unwrap(),
        exception.message.as_deref().unwrap(),
    )
}

#[test]
fn a_panic_is_a_fault_with_its_message_and_goes_on() {
    let document = recorded(|segment| {
        let text = "with text";
        let panics: [Box<dyn FnOnce()>; 4] = [
            Box::new(|| segment.in_subsegment("a", |_| panic!("plain"))),
            Box::new(|| {
                let _: Result<(), Failed> = segment.try_in_subsegment("b", |_| panic!("{text}"));
            }),
            Box::new(|| ready(async { panic!("plain") }.subsegment("c"))),
            Box::new(|| {
                let work = async { panic!("{text}") };
                let _: Result<(), Failed> = ready(work.try_subsegment("d"));
            }),
        ];
        for (at, panic) in panics.into_iter().enumerate() {
            let payload = catch_unwind(AssertUnwindSafe(panic)).unwrap_err();
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or(payload.downcast_ref::<String>().cloned());
            assert_eq!(text.as_deref(), Some(["plain", "with text"][at % 2]));
        }
        let number = catch_unwind(AssertUnwindSafe(|| {
            segment.in_subsegment("e", |_| std::panic::panic_any(7));
        }));
        assert_eq!(number.unwrap_err().downcast_ref(), Some(&7));
    });
    assert!(!document.fault);
    assert_eq!(document.subsegments.len(), 5);
    for (at, child) in document.subsegments.iter().enumerate() {
        assert!(child.fault && !child.error);
        let expected = match at {
            4 => "panic with a payload that is not text",
            _ => ["plain", "with text"][at % 2],
        };
        let [exception] = child.exceptions() else {
            panic!("{child:?}");
        };
        assert_eq!(said(exception), ("panic", expected));
    }
}

#[test]
fn a_guard_dropped_in_unwinding_says_so() {
    let document = recorded(|segment| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _guard = segment.begin_subsegment("guard");
            panic!("somewhere else");
        }));
        assert!(unwound.is_err());
        // A future that is dropped by a panic was not cancelled.
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let mut future = pin!(std::future::pending::<()>().subsegment("future"));
            assert!(
                future
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            panic!("somewhere else");
        }));
        assert!(unwound.is_err());
    });
    for child in &document.subsegments {
        assert!(child.fault && !child.error, "{}", child.name);
        let said: Vec<_> = child.exceptions().iter().map(said).collect();
        assert_eq!(said, [("panic", "the thread panicked")], "{}", child.name);
    }
}

fn poll_and_drop(future: impl Future) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[test]
fn a_dropped_future_was_cancelled_unless_that_is_fine() {
    let document = recorded(|_| {
        poll_and_drop(std::future::pending::<()>().subsegment("polled"));
        poll_and_drop(std::future::pending::<()>().subsegment("fine").cancel_ok());
        ready(async {}.subsegment("done"));
        let fallible = std::future::pending::<Result<(), Failed>>();
        poll_and_drop(fallible.try_subsegment("fallible"));
        let pending = async |_| std::future::pending::<()>().await;
        poll_and_drop(xray_core::current().in_subsegment_async("closure", pending));
    });
    for child in &document.subsegments {
        let cancelled = !matches!(child.name.as_str(), "fine" | "done");
        assert_eq!(
            (child.error, child.fault),
            (cancelled, false),
            "{}",
            child.name
        );
        let said: Vec<_> = child.exceptions().iter().map(said).collect();
        let expected: &[_] = &[("Cancelled", "dropped before it was done")];
        assert_eq!(
            said,
            if cancelled { expected } else { &[] },
            "{}",
            child.name
        );
        assert!(child.end_time.is_some());
    }
    assert_eq!(document.subsegments.len(), 5);
}

#[test]
fn what_lives_in_a_future_is_dropped_inside_it() {
    struct Notes;
    impl Drop for Notes {
        fn drop(&mut self) {
            xray_core::current().annotate("dropped", true);
        }
    }
    let document = recorded(|_| {
        let notes = Notes;
        ready(
            async move {
                let _notes = &notes;
            }
            .subsegment("done"),
        );
        let notes = Notes;
        let waits = async move {
            let _notes = &notes;
            std::future::pending::<()>().await;
        };
        poll_and_drop(waits.subsegment("dropped"));
    });
    for child in &document.subsegments {
        assert_eq!(child.annotations["dropped"], true, "{}", child.name);
    }
    assert!(document.annotations.is_empty());
}

#[test]
fn every_usual_error_is_recorded_with_its_type() {
    let document = recorded(|segment| {
        let _: Result<(), _> = segment.try_in_subsegment("own", |_| Err(failed("m")));
        let _: Result<(), _> = segment.try_in_subsegment("io", |_| Err(std::io::Error::other("m")));
        let _: Result<(), _> = segment.try_in_subsegment("anyhow", |_| Err(anyhow::anyhow!("m")));
        let _: Result<(), _> =
            segment.try_in_subsegment("boxed", |_| Err(Box::<dyn Error>::from("m")));
        let _: Result<(), _> =
            segment.try_in_subsegment("sync", |_| Err(Box::<dyn Error + Send + Sync>::from("m")));
        let _: Result<(), _> = ready(async { Err(failed("m")) }.try_subsegment("own"));
        let _: Result<(), _> = ready(async { Err(anyhow::anyhow!("m")) }.try_subsegment("anyhow"));
        let _: Result<(), _> =
            ready(async { Err(Box::<dyn Error>::from("m")) }.try_subsegment("boxed"));
        let _: Result<(), _> =
            ready(async { Err(Box::<dyn Error + Send + Sync>::from("m")) }.try_subsegment("sync"));
    });
    assert_eq!(document.subsegments.len(), 9);
    for child in &document.subsegments {
        assert!(child.fault && !child.error, "{}", child.name);
        let [exception] = child.exceptions() else {
            panic!("{child:?}");
        };
        let kind = match child.name.as_str() {
            "own" => "an_error_is_recorded_once::Failed",
            "io" => "std::io::error::Error",
            "anyhow" => "anyhow::Error",
            _ => "Error",
        };
        assert_eq!(said(exception), (kind, "m"), "{}", child.name);
        assert!(exception.id.parse::<xray_core::SegmentId>().is_ok());
    }
}

#[test]
fn sources_are_a_chain_of_ids() {
    let document = recorded(|segment| {
        let chain = Failed(
            "a",
            Some(Box::new(Failed("b", Some(Box::new(failed("c")))))),
        );
        segment.record_error(&chain);
        let context = anyhow::Error::new(failed("y")).context("x");
        segment.begin_subsegment("anyhow").record_fault(&context);
    });
    assert!(document.error && !document.fault);
    let linked = |document: &Document| {
        let chain = document.exceptions();
        for (at, exception) in chain.iter().enumerate() {
            let next = chain.get(at + 1).map(|next| next.id.clone());
            assert_eq!(exception.cause, next);
        }
        let texts = chain
            .iter()
            .map(|exception| exception.message.clone().unwrap());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(linked(&document), ["a", "b", "c"]);
    assert_eq!(linked(&document.subsegments[0]), ["x", "y"]);
}

#[test]
fn who_passes_an_error_on_points_to_it() {
    let document = recorded(|segment| {
        let outcome: Result<(), Failed> = segment.try_in_subsegment("outer", |outer| {
            outer.try_in_subsegment("inner", |_| Err(failed("lost")))
        });
        segment.record_fault(&outcome.unwrap_err());
    });
    let outer = &document.subsegments[0];
    let inner = &outer.subsegments[0];
    let id = &inner.exceptions()[0].id;
    assert_eq!(document.cause, Some(Cause::Id(id.clone())));
    assert!(document.fault && outer.fault && inner.fault);
    assert_eq!(outer.cause, Some(Cause::Id(id.clone())));
}

/// A chain of two, of which no link is lost for want of room.
#[test]
fn a_full_entity_has_room_for_its_errors() {
    let fill = |entity: &xray_core::Entity| {
        for key in 0..5_000 {
            entity.annotate(&format!("k{key}"), 1);
        }
    };
    let lost = || Failed("lost", Some(Box::new(failed("no tea"))));
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    fill(&segment);
    let child = segment.begin_subsegment("full");
    fill(&child);
    child.record_fault(&lost());
    child.close();
    segment.record_fault(&lost());
    segment.close();
    assert_eq!(recorder.events().trimmed, 2 * 904);
    let documents = capture.documents();
    let parts: Vec<_> = documents.iter().flat_map(Document::walk).collect();
    let named = |name| parts.iter().find(|part| part.name == name).unwrap();
    let exceptions = named("full").exceptions();
    let said: Vec<_> = exceptions.iter().map(|e| said(e).1).collect();
    assert_eq!(said, ["lost", "no tea"]);
    let id = &exceptions[0].id;
    assert_eq!(named("shop").cause, Some(Cause::Id(id.clone())));
}

/// The 64 exceptions that a full entity has room for are taken: what comes then
/// is left out, and is written where it comes next.
#[test]
fn an_error_that_was_left_out_is_recorded_above() {
    let document = recorded(|segment| {
        segment.in_subsegment("full", |full| {
            for key in 0..4_096 {
                full.annotate(&format!("k{key}"), 1);
            }
            let report = ExceptionReport::new("E", "before");
            for _ in 0..63 {
                full.report_exception(&report, Class::Fault);
            }
            full.record_fault(&Failed("half", Some(Box::new(failed("no tea")))));
            full.record_fault(&failed("lost"));
        });
        segment.record_fault(&failed("lost"));
    });
    let full = &document.subsegments[0];
    assert_eq!(full.exceptions().len(), 64);
    let half = &full.exceptions()[63];
    assert_eq!(said(half).1, "half");
    assert_eq!((&half.cause, half.skipped), (&None, Some(1)));
    let [alone] = document.exceptions() else {
        panic!("{document:?}");
    };
    assert_eq!(said(alone).1, "lost");
}

#[test]
fn who_wraps_an_error_points_to_it() {
    let document = recorded(|segment| {
        let outcome: Result<(), Failed> = segment.try_in_subsegment("outer", |outer| {
            let inner = outer.try_in_subsegment("inner", |_| Err::<(), _>(failed("lost")));
            inner.map_err(|error| {
                Failed(
                    "no cart",
                    Some(Box::new(Failed("no row", Some(Box::new(error))))),
                )
            })
        });
        // Another error than the child's stands alone.
        drop(outcome);
        segment.record_fault(&failed("something else"));
    });
    let outer = &document.subsegments[0];
    let inner = &outer.subsegments[0];
    let said: Vec<_> = outer.exceptions().iter().map(|e| said(e).1).collect();
    assert_eq!(said, ["no cart", "no row"]);
    let [first, second] = outer.exceptions() else {
        panic!("{outer:?}");
    };
    assert_eq!(first.cause.as_ref(), Some(&second.id));
    assert_eq!(second.cause.as_ref(), Some(&inner.exceptions()[0].id));
    let [alone] = document.exceptions() else {
        panic!("{document:?}");
    };
    assert_eq!(alone.cause, None);
}

#[test]
fn an_error_whose_text_panics_harms_nobody() {
    #[derive(Debug)]
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose");
        }
    }
    impl Error for Broken {}
    let document = recorded(|segment| segment.record_fault(&Broken));
    assert_eq!(
        said(&document.exceptions()[0]).1,
        "the error's own message panicked"
    );
}

#[test]
fn frames_that_were_left_out_are_counted_to_the_end_and_no_further() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let report = ExceptionReport::new("Error", "no tea").frame("tea.py", 7, "brew");
    let report = report.truncated(u32::MAX).truncated(1);
    segment.report_exception(&report, Class::Fault);
    // Its stack has to go, too.
    segment.metadata("m", "m".repeat(63_900));
    segment.close();
    let exceptions = capture.documents()[0].exceptions().to_vec();
    assert_eq!(exceptions[0].truncated, Some(u32::MAX));
    balance(&recorder);
}

/// As `Failed`, of another type.
#[derive(Debug)]
struct Other(&'static str, Option<Failed>);

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Other {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_ref().map(|source| source as _)
    }
}

#[test]
fn one_text_of_two_types_is_two_errors() {
    let document = recorded(|segment| {
        segment
            .begin_subsegment("a")
            .record_error(&failed("timed out"));
        let outer = segment.begin_subsegment("outer");
        outer
            .begin_subsegment("b")
            .record_error(&failed("timed out"));
        outer.record_fault(&Other("timed out", None));
        let outer = segment.begin_subsegment("wraps another");
        outer
            .begin_subsegment("c")
            .record_error(&Other("timed out", None));
        outer.record_fault(&Failed("no row", Some(Box::new(failed("timed out")))));
        let outer = segment.begin_subsegment("a report");
        outer
            .begin_subsegment("d")
            .record_exception("Failed", "timed out", Class::Error);
        outer.record_fault(&failed("timed out"));
    });
    let kinds = |at: usize| {
        let exceptions = document.subsegments[at].exceptions().iter();
        exceptions
            .map(|e| e.kind.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let (own, other) = (
        "an_error_is_recorded_once::Failed",
        "an_error_is_recorded_once::Other",
    );
    assert_eq!(kinds(1), [other]);
    assert_eq!(kinds(2), [own, "Error"]);
    assert_eq!(kinds(3), [own]);
}

/// The type in a box is not known, so the text decides.
#[test]
fn an_error_is_known_again_in_any_box() {
    type Passes = fn(&xray_core::Subsegment, Failed);
    let boxes: [(&str, Passes); 4] = [
        ("own box", |outer, error| {
            outer.record_fault(&Box::new(error));
        }),
        ("shared", |outer, error| {
            outer.record_fault(&std::sync::Arc::new(error));
        }),
        ("any", |outer, error| {
            outer.record_fault(&Box::<dyn Error>::from(error));
        }),
        ("anyhow", |outer, error| {
            outer.record_fault(&anyhow::Error::new(error));
        }),
    ];
    let document = recorded(|segment| {
        for (name, pass_on) in boxes {
            let outer = segment.begin_subsegment(name);
            outer
                .begin_subsegment("inner")
                .record_fault(&failed("lost"));
            pass_on(&outer, failed("lost"));
        }
        let outer = segment.begin_subsegment("out of a box");
        outer
            .begin_subsegment("inner")
            .record_fault(&anyhow::Error::new(failed("lost")));
        outer.record_fault(&failed("lost"));
    });
    assert_eq!(document.subsegments.len(), 5);
    for outer in &document.subsegments {
        let id = outer.subsegments[0].exceptions()[0].id.clone();
        assert_eq!(outer.cause, Some(Cause::Id(id)), "{}", outer.name);
    }
}

#[test]
fn a_chain_has_sixteen_links_at_most() {
    for (links, recorded_links) in [(15, 15), (16, 16), (17, 16), (100, 16)] {
        let document = recorded(|segment| {
            let link = |source, _| Some(Box::new(Failed("link", source)));
            let chain: Option<Box<Failed>> = (0..links).fold(None, link);
            segment.record_fault(&*chain.unwrap());
        });
        assert_eq!(document.exceptions().len(), recorded_links, "{links}");
        let last = document.exceptions().last().unwrap();
        assert_eq!(last.cause, None);
    }
}

#[test]
fn a_payload_says_its_text_in_any_number_of_boxes() {
    let document = recorded(|segment| {
        let payload = catch_unwind(|| panic!("no tea")).unwrap_err();
        segment.begin_subsegment("as it is").record_panic(&*payload);
        segment.begin_subsegment("boxed").record_panic(&payload);
        let payload: Box<dyn std::any::Any + Send> = Box::new(payload);
        segment.begin_subsegment("twice").record_panic(&payload);
        let owned: Box<dyn std::any::Any + Send> = Box::new("no tea".to_owned());
        segment.begin_subsegment("owned").record_panic(&owned);
    });
    assert_eq!(document.subsegments.len(), 4);
    for child in &document.subsegments {
        assert_eq!(
            said(&child.exceptions()[0]),
            ("panic", "no tea"),
            "{}",
            child.name
        );
    }
}

/// An error whose text shows a URL once with its query, once without.
#[derive(Debug)]
struct ShowsUrl(&'static str);

impl fmt::Display for ShowsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}", self.0)
    }
}

impl Error for ShowsUrl {}

#[test]
fn errors_are_compared_without_their_secrets() {
    let document = recorded(|segment| {
        let outer = segment.begin_subsegment("outer");
        outer
            .begin_subsegment("inner")
            .record_fault(&ShowsUrl("https://h/7"));
        outer.record_fault(&ShowsUrl("https://me:s3cr3t@h/7?token=s3cr3t"));
    });
    let outer = &document.subsegments[0];
    let [inner] = outer.subsegments[0].exceptions() else {
        panic!("{outer:?}");
    };
    assert_eq!(inner.message.as_deref(), Some("no answer from https://h/7"));
    assert_eq!(outer.cause, Some(Cause::Id(inner.id.clone())));
}

/// Its text ends in the middle of a password when it is cut.
#[test]
fn a_text_is_cut_without_telling_half_a_password() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let text = format!("{} https://s3cr3t:s3cr3t@h/", "x".repeat(4_096 - 12));
    segment.record_exception("Error", &text, Class::Fault);
    segment.close();
    let documents = capture.documents();
    let message = documents[0].exceptions()[0].message.clone().unwrap();
    assert_eq!(message, format!("{} https://…", "x".repeat(4_096 - 12)));
    assert_eq!(recorder.events().trimmed, 1);
}

/// Fails, and then fails to say why.
#[derive(Debug)]
struct Baseless;

impl fmt::Display for Baseless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("baseless")
    }
}

impl Error for Baseless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        panic!("no source")
    }
}

#[test]
fn a_source_that_panics_ends_the_chain() {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    segment.record_fault(&Baseless);
    segment.close();
    let documents = capture.documents();
    assert!(documents[0].fault);
    let [exception] = documents[0].exceptions() else {
        panic!("{documents:?}");
    };
    assert_eq!(exception.message.as_deref(), Some("baseless"));
    balance(&recorder);
}
