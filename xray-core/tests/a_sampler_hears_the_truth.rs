//! A sampler hears once of each root that closed, and the same whether the root
//! was sampled, recorded or neither.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{balance, builder};
use xray_core::{
    Capture, Class, Decision, Entity, ExceptionReport, HttpResponse, ManualClock, Outcome,
    Recorder, RecorderBuilder, Sampler, SamplingRequest, Segment, TraceHeader, TraceId, current,
    suppressed,
};

const SECOND: Duration = Duration::from_secs(1);

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// An outcome, as it was when it was told.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    trace_id: Option<TraceId>,
    decision: Decision,
    class: Class,
    status: Option<u16>,
    duration: Duration,
}

/// Samples nothing, and keeps what it hears.
#[derive(Debug, Clone, Default)]
struct Ear(Arc<Mutex<Vec<Heard>>>);

impl Ear {
    fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Sampler for Ear {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::unsampled()
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        self.0.lock().unwrap().push(Heard {
            trace_id: outcome.trace_id,
            decision: outcome.decision.clone(),
            class: outcome.class,
            status: outcome.status,
            duration: outcome.duration(),
        });
    }
}

/// Where a case is tried.
struct Bench {
    recorder: Recorder,
    clock: Arc<ManualClock>,
    ear: Ear,
    decision: Decision,
}

impl Bench {
    fn new(decision: Decision, configure: impl Fn(RecorderBuilder) -> RecorderBuilder) -> Self {
        let clock = Arc::new(ManualClock::at(epoch()));
        let ear = Ear::default();
        let builder = builder(Capture::new(65_474)).sampler(ear.clone());
        let recorder = configure(builder).clock(clock.clone()).build().unwrap();
        Self {
            recorder,
            clock,
            ear,
            decision,
        }
    }

    fn begin(&self) -> Segment {
        let decision = self.decision.clone();
        self.recorder.segment("shop").decide(decision).begin()
    }
}

/// Tries a case under every decision: what is heard is the same, but for the
/// trace and the decision. Class, status and duration of each root.
#[track_caller]
fn heard_with(
    configure: impl Fn(RecorderBuilder) -> RecorderBuilder,
    case: impl Fn(&Bench),
) -> Vec<(Class, Option<u16>, Duration)> {
    let decisions = [
        Decision::sampled(),
        Decision::unsampled().with_rule("quiet"),
        Decision::recorded(),
    ];
    let [sampled, unsampled, recorded] = decisions.map(|decision| {
        let bench = Bench::new(decision, &configure);
        case(&bench);
        let heard = bench.ear.take();
        assert!(heard.iter().all(|heard| heard.decision == bench.decision));
        assert!(heard.iter().all(|heard| heard.trace_id.is_some()));
        balance(&bench.recorder);
        let told = heard.into_iter();
        told.map(|heard| (heard.class, heard.status, heard.duration))
            .collect()
    });
    assert_eq!(sampled, unsampled, "unsampled");
    assert_eq!(sampled, recorded, "recorded");
    sampled
}

fn heard(case: impl Fn(&Bench)) -> Vec<(Class, Option<u16>, Duration)> {
    heard_with(|builder| builder, case)
}

/// The one outcome of a root on which `set` was called by way of each path.
type Set = dyn Fn(&Entity);
type Path = dyn Fn(&Segment, &Set);

fn paths() -> Vec<(&'static str, bool, Box<Path>)> {
    vec![
        ("handle", true, Box::new(|root, set| set(root))),
        (
            "clone",
            true,
            Box::new(|root, set| set(&Entity::clone(root))),
        ),
        (
            "current",
            true,
            Box::new(|root, set| root.run(|| set(&current()))),
        ),
        ("segment", true, Box::new(|root, set| set(&root.segment()))),
        (
            "child's segment",
            true,
            Box::new(|root, set| set(&root.begin_subsegment("b").segment())),
        ),
        (
            "closed child's segment",
            true,
            Box::new(|root, set| {
                let child = root.begin_subsegment("b");
                let later = Entity::clone(&child);
                child.close();
                set(&later.segment());
            }),
        ),
        (
            "grandchild's segment",
            true,
            Box::new(|root, set| {
                let child = root.begin_subsegment("b");
                set(&child.begin_subsegment("c").segment());
            }),
        ),
        (
            "another thread",
            true,
            Box::new(|root, set| {
                let clone = Entity::clone(root);
                // Handles go anywhere; what is set is the caller's.
                let clone = std::thread::spawn(move || clone.segment()).join().unwrap();
                set(&clone);
            }),
        ),
        (
            "child",
            false,
            Box::new(|root, set| set(&root.begin_subsegment("b"))),
        ),
        (
            "grandchild",
            false,
            Box::new(|root, set| {
                let child = root.begin_subsegment("b");
                set(&child.begin_subsegment("c"));
            }),
        ),
    ]
}

#[test]
fn every_setter_by_every_way_is_heard() {
    let error = std::fmt::Error;
    let report = ExceptionReport::new("Timeout", "too slow");
    let (ok, fault, throttle) = (Class::Ok, Class::Fault, Class::Throttle);
    let setters: Vec<(&str, Class, Option<u16>, Box<Set>)> = vec![
        (
            "mark",
            throttle,
            None,
            Box::new(|of| of.mark(Class::Throttle)),
        ),
        (
            "mark twice",
            Class::Error,
            None,
            Box::new(|of| {
                of.mark(Class::Fault);
                of.mark(Class::Error);
            }),
        ),
        (
            "raise",
            fault,
            None,
            Box::new(|of| {
                of.raise(Class::Error);
                of.raise(Class::Fault);
                of.raise(Class::Throttle);
            }),
        ),
        (
            "raise and mark",
            throttle,
            None,
            Box::new(|of| {
                of.raise(Class::Fault);
                of.mark(Class::Ok);
                of.raise(Class::Throttle);
                of.raise(Class::Error);
            }),
        ),
        (
            "http_response",
            ok,
            Some(404),
            Box::new(|of| {
                of.http_response(HttpResponse::new(503));
                of.http_response(HttpResponse::new(404).content_length(7));
            }),
        ),
        (
            "record_fault",
            fault,
            None,
            Box::new(move |of| of.record_fault(&error)),
        ),
        (
            "record_error",
            Class::Error,
            None,
            Box::new(move |of| of.record_error(&error)),
        ),
        (
            "record_panic",
            fault,
            None,
            Box::new(|of| of.record_panic(&"boom")),
        ),
        (
            "record_exception",
            throttle,
            None,
            Box::new(|of| of.record_exception("Slow", "down", Class::Throttle)),
        ),
        (
            "report_exception",
            fault,
            None,
            Box::new(move |of| of.report_exception(&report, Class::Fault)),
        ),
        (
            "a failed subsegment",
            ok,
            None,
            Box::new(move |of| {
                let _ = of.try_in_subsegment("b", |_| Err::<(), _>(error));
            }),
        ),
        (
            "all others",
            ok,
            None,
            Box::new(|of| {
                of.annotate("a", 1);
                of.metadata("a", 1);
                of.set_user("ann");
                of.set_name("other");
                of.tally("a", xray_core::Tally::Sum(1.0));
            }),
        ),
    ];
    for (way, counts, path) in paths() {
        for (setter, class, status, set) in &setters {
            let told = heard(|bench| {
                let root = bench.begin();
                bench.clock.advance(SECOND);
                path(&root, &**set);
                root.close();
            });
            let (class, status) = if counts {
                (*class, *status)
            } else {
                (ok, None)
            };
            assert_eq!(told, [(class, status, SECOND)], "{setter} by {way}");
        }
    }
}

#[test]
fn of_two_threads_the_gravest_raise_is_heard() {
    let told = heard(|bench| {
        for _ in 0..100 {
            let root = bench.begin();
            std::thread::scope(|scope| {
                for class in [Class::Error, Class::Fault] {
                    let root = &root;
                    scope.spawn(move || root.raise(class));
                }
            });
        }
    });
    assert_eq!(told, [(Class::Fault, None, Duration::ZERO); 100]);
}

#[test]
fn the_time_is_monotonic_unless_it_was_given() {
    let begun = epoch() - 60 * SECOND;
    // A step of the wall clock.
    for wall in [begun, epoch() + 3_600 * SECOND] {
        let told = heard(|bench| {
            let root = bench.begin();
            bench.clock.advance(3 * SECOND);
            bench.clock.set_wall(wall);
            root.close();
        });
        assert_eq!(told, [(Class::Ok, None, 3 * SECOND)]);
    }
    // Start, end, both; an end before the start.
    for (start, end, lasts) in [
        (Some(begun), None, 63),
        (None, Some(epoch() + 2 * SECOND), 2),
        (Some(begun), Some(begun + 30 * SECOND), 30),
        (None, Some(begun), 0),
    ] {
        let told = heard(|bench| {
            let root = bench
                .recorder
                .segment("shop")
                .decide(bench.decision.clone());
            let root = match start {
                Some(start) => root.start_at(start).begin(),
                None => root.begin(),
            };
            bench.clock.advance(3 * SECOND);
            match end {
                Some(end) => root.close_at(end),
                None => root.close(),
            }
        });
        assert_eq!(told, [(Class::Ok, None, lasts * SECOND)]);
    }
}

#[test]
fn a_root_that_is_held_is_heard_of_when_let_go() {
    let told = heard(|bench| {
        let root = bench.begin();
        let child = root.begin_subsegment("b");
        let holds = [root.hold(), child.hold(), current().hold()];
        child.close();
        let later = Entity::clone(&root);
        bench.clock.advance(SECOND);
        root.close();
        assert_eq!(bench.ear.0.lock().unwrap().len(), 0, "it is held");
        // It is open still, and may be held again.
        later.mark(Class::Error);
        let again = later.hold();
        bench.clock.advance(SECOND);
        drop(holds);
        later.raise(Class::Fault);
        bench.clock.advance(SECOND);
        drop(again);
        // Closed now: nothing changes it, nothing holds it.
        later.mark(Class::Ok);
        drop(later.hold());
    });
    assert_eq!(told, [(Class::Fault, None, 3 * SECOND)]);
}

/// T11: as documents say it, too.
#[test]
fn an_end_given_while_it_is_held_holds() {
    let told = heard(|bench| {
        let root = bench.begin();
        let hold = root.hold();
        bench.clock.advance(5 * SECOND);
        root.close_at(epoch() + 2 * SECOND);
        bench.clock.advance(5 * SECOND);
        drop(hold);
    });
    assert_eq!(told, [(Class::Ok, None, 2 * SECOND)]);
    let (recorder, capture) = Recorder::capture("shop");
    let root = recorder.segment("shop").start_at(epoch()).begin();
    let hold = root.hold();
    root.close_at(epoch() + 2 * SECOND);
    assert_eq!(capture.documents(), []);
    drop(hold);
    assert_eq!(capture.documents()[0].end_time, Some(1_700_000_002.0));
}

/// Closes what it is given while its thread unwinds.
struct InDrop<T, F: Fn(T)>(Option<T>, F);

impl<T, F: Fn(T)> Drop for InDrop<T, F> {
    fn drop(&mut self) {
        (self.1)(self.0.take().unwrap());
    }
}

#[test]
fn whatever_closes_while_unwinding_is_a_fault() {
    let ways: [fn(Segment); 3] = [
        |root| root.close(),
        |root| root.close_at(epoch() + SECOND),
        |root| drop(root),
    ];
    for close in ways {
        for held in [false, true] {
            let told = heard(|bench| {
                let root = bench.begin();
                let hold = held.then(|| root.hold());
                bench.clock.advance(SECOND);
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    let _closes = InDrop(Some(root), close);
                    std::panic::resume_unwind(Box::new("on purpose"));
                }));
                assert!(unwound.is_err());
                drop(hold);
            });
            assert_eq!(told, [(Class::Fault, None, SECOND)], "held: {held}");
        }
    }
}

/// In documents, and of subsegments, too; a closure knows that it ended well.
#[test]
fn an_explicit_close_while_unwinding_is_recorded() {
    let (recorder, capture) = Recorder::capture("shop");
    let root = recorder.begin_segment("shop");
    let child = root.begin_subsegment("b");
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _closes = InDrop(Some((root, child)), |(root, child): (Segment, _)| {
            root.in_subsegment("tidy", |_| ());
            xray_core::Subsegment::close(child);
            root.close();
        });
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(unwound.is_err());
    let document = &capture.documents()[0];
    let faults: Vec<_> = document
        .walk()
        .map(|part| (part.name.as_str(), part.fault))
        .collect();
    assert_eq!(faults, [("shop", true), ("b", true), ("tidy", false)]);
}

#[test]
fn a_root_that_was_given_up_is_heard_of_once() {
    // Of many, the oldest are given up where anything is recorded.
    let told = heard_with(
        |builder| builder.open_limits(4, 10),
        |bench| {
            let roots: Vec<_> = (0..20_u16)
                .map(|at| {
                    let root = bench.begin();
                    root.http_response(HttpResponse::new(200 + at));
                    root.begin_subsegment("b").segment().raise(Class::Error);
                    root
                })
                .collect();
            bench.clock.advance(SECOND);
            // Whether given up or not, what is set later counts.
            let mut holds = Vec::new();
            for root in roots {
                let child = root.begin_subsegment("late");
                child.segment().raise(Class::Fault);
                child.mark(Class::Ok);
                holds.push(child.hold());
                root.close();
            }
            assert_eq!(bench.ear.0.lock().unwrap().len(), 0, "all are held");
            bench.clock.advance(SECOND);
            drop(holds);
        },
    );
    let expected: Vec<_> = (0..20)
        .map(|at| (Class::Fault, Some(200 + at), 2 * SECOND))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn a_child_that_was_refused_leads_to_its_segment() {
    let told = heard_with(
        |builder| builder.open_limits(4, 2),
        |bench| {
            let root = bench.begin();
            let children: Vec<_> = (0..5).map(|_| root.begin_subsegment("b")).collect();
            let below = children[4].begin_subsegment("below");
            below.mark(Class::Fault); // not the root's
            below.segment().raise(Class::Error);
            let hold = below.hold();
            root.close();
            assert_eq!(bench.ear.0.lock().unwrap().len(), 0, "it is held");
            bench.clock.advance(SECOND);
            drop(hold);
        },
    );
    assert_eq!(told, [(Class::Error, None, SECOND)]);
}

/// The segment of another process closes there.
#[test]
fn of_a_facade_no_sampler_hears() {
    let root = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8";
    for said in ["", ";Sampled=0", ";Sampled=1", ";Sampled=?"] {
        let bench = Bench::new(Decision::sampled(), |builder| builder);
        let header = TraceHeader::parse(format!("{root}{said}"));
        let facade = bench.recorder.begin_facade(&header);
        let child = facade.begin_subsegment("b");
        let hold = child.hold();
        child.segment().mark(Class::Fault);
        drop((child, facade));
        drop(hold);
        assert_eq!(bench.ear.take(), [], "{said}");
        balance(&bench.recorder);
    }
}

/// A segment is one wherever it begins.
#[test]
fn segments_that_are_off_or_suppressed_are_heard_of() {
    let off = Bench::new(Decision::sampled(), |builder| builder.enabled(false));
    off.begin().close();
    let [heard] = <[Heard; 1]>::try_from(off.ear.take()).unwrap();
    assert_eq!(
        (heard.trace_id, heard.decision),
        (None, Decision::unsampled())
    );
    let on = Bench::new(Decision::sampled(), |builder| builder);
    let mut silent = std::pin::pin!(suppressed(async { on.begin().mark(Class::Fault) }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(silent.as_mut().poll(&mut context).is_ready());
    let [heard] = <[Heard; 1]>::try_from(on.ear.take()).unwrap();
    assert_eq!((heard.trace_id, heard.class), (None, Class::Fault));
}

/// Says that it does not listen.
#[derive(Debug)]
struct Deaf(Ear);

impl Sampler for Deaf {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::unsampled()
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        self.0.closed(outcome);
    }

    fn listens(&self) -> bool {
        false
    }
}

#[test]
fn a_sampler_that_does_not_listen_is_not_called() {
    let ear = Ear::default();
    let deaf = builder(Capture::new(65_474)).sampler(Deaf(ear.clone()));
    let recorder = deaf.build().unwrap();
    recorder.begin_segment("shop").close();
    let sampled = Decision::sampled();
    recorder.segment("shop").decide(sampled).begin().close();
    assert_eq!(ear.take(), []);
    balance(&recorder);
}

/// Takes its time.
#[derive(Debug)]
struct Slow(Arc<ManualClock>, Decision);

impl Sampler for Slow {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        assert_eq!(request.now, epoch());
        self.0.advance(50 * SECOND / 1_000);
        self.1.clone()
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        assert_eq!(outcome.duration(), SECOND);
    }
}

#[test]
fn a_slow_sampler_shifts_no_time() {
    for decision in [Decision::sampled(), Decision::unsampled()] {
        let (capture, clock) = (Capture::new(65_474), Arc::new(ManualClock::at(epoch())));
        let slow = Slow(clock.clone(), decision.clone());
        let builder = builder(capture.clone()).sampler(slow);
        let recorder = builder.clock(clock.clone()).build().unwrap();
        let root = recorder.begin_segment("shop");
        let child = root.begin_subsegment("b");
        clock.advance(SECOND);
        drop((child, root));
        assert_eq!(recorder.events().callback_panics, 0);
        for part in capture
            .documents()
            .iter()
            .flat_map(xray_core::document::Document::walk)
        {
            assert_eq!(part.start_time, Some(1_700_000_000.05), "{part:?}");
            assert_eq!(part.end_time, Some(1_700_000_001.05), "{part:?}");
        }
        assert_eq!(capture.documents().len(), usize::from(decision.sampled));
    }
}
