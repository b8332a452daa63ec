//! Who decides, what follows from it, and what the sampler hears in the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whatever is not as expected fails the test; a sampler that panics is wanted"
)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::balance;
use xray_core::{
    Capture, Class, Decision, HttpResponse, ManualClock, Outcome, Recorder, RequestFacts, Sampled,
    Sampler, SamplingRequest, TraceHeader,
};

/// An outcome, as it was when it was told.
#[derive(Debug, PartialEq)]
struct Heard {
    trace_id: Option<xray_core::TraceId>,
    decision: Decision,
    class: Class,
    status: Option<u16>,
    duration: Duration,
}

impl Heard {
    fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            trace_id: outcome.trace_id,
            decision: outcome.decision.clone(),
            class: outcome.class,
            status: outcome.status,
            duration: outcome.duration(),
        }
    }
}

/// Does as told, and notes what it is asked.
#[derive(Debug, Clone)]
struct Told {
    decision: Decision,
    keep: bool,
    asked: Arc<AtomicU64>,
    kept: Arc<Mutex<Vec<Heard>>>,
    closed: Arc<Mutex<Vec<Heard>>>,
}

impl Told {
    fn new(decision: Decision) -> Self {
        Self {
            decision,
            keep: false,
            asked: Arc::default(),
            kept: Arc::default(),
            closed: Arc::default(),
        }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn closed(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.closed.lock().unwrap())
    }
}

impl Sampler for Told {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.service, "shop");
        assert_eq!(request.service_type, Some("AWS::EC2::Instance"));
        self.decision.clone()
    }

    fn keep(&self, outcome: &Outcome<'_>) -> bool {
        self.kept.lock().unwrap().push(Heard::of(outcome));
        self.keep
    }

    fn closed(&self, outcome: &Outcome<'_>) {
        self.closed.lock().unwrap().push(Heard::of(outcome));
    }
}

fn capture(sampler: impl Sampler) -> (Recorder, Capture, Arc<ManualClock>) {
    let capture = Capture::new(65_474);
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let clock = Arc::new(ManualClock::at(epoch));
    let recorder = common::builder(capture.clone())
        .sampler(sampler)
        .origin("AWS::EC2::Instance")
        .clock(clock.clone());
    (recorder.build().unwrap(), capture, clock)
}

#[test]
fn the_header_decides_first() {
    let root = "Root=1-66f2a1c0-0123456789abcdef01234567";
    for (said, asks, sampled) in [
        (";Sampled=1", 0, true),
        (";Sampled=0", 0, false),
        (";Sampled=?", 1, true),
        ("", 1, true),
    ] {
        let sampler = Told::new(Decision::sampled().with_rule("mine"));
        let (recorder, capture, _) = capture(sampler.clone());
        let header =
            TraceHeader::parse(format!("{root};Parent=53995c3f42cd8ad8{said};Lineage=a:1"));
        let segment = recorder.segment("shop").header(&header).begin();
        assert_eq!(sampler.asked(), asks, "{said}");
        assert_eq!(segment.is_sampled(), sampled, "{said}");
        assert_eq!(segment.is_recorded(), sampled, "{said}");
        assert_eq!(segment.trace_id(), header.root());
        let child = segment.begin_subsegment("b");
        let onward = child.header();
        assert_eq!(onward.root(), header.root());
        assert_eq!(onward.parent(), child.id());
        assert_eq!(onward.extras(), "Lineage=a:1");
        let expected = if sampled { Sampled::Yes } else { Sampled::No };
        assert_eq!(onward.sampled(), expected, "{said}");
        drop((child, segment));
        let documents = capture.documents();
        assert_eq!(documents.len(), usize::from(sampled));
        for document in documents {
            assert_eq!(document.parent_id.as_deref(), Some("53995c3f42cd8ad8"));
            let rule = document.aws["xray"].get("sampling_rule_name");
            assert_eq!(
                rule.and_then(|rule| rule.as_str()),
                (asks == 1).then_some("mine")
            );
        }
        let entities = recorder.entities();
        assert_eq!(
            (entities.begun, entities.unsampled),
            (2, if sampled { 0 } else { 2 })
        );
        assert_eq!(sampler.closed().len(), 1);
        assert_eq!(sampler.kept.lock().unwrap().len(), 0);
        balance(&recorder);
    }
}

#[test]
fn recorded_but_unsampled_is_kept_or_thrown_away() {
    for keep in [false, true] {
        let sampler = Told {
            keep,
            ..Told::new(Decision::recorded())
        };
        let (recorder, capture, clock) = capture(sampler.clone());
        let segment = recorder.begin_segment("shop");
        let child = segment.begin_subsegment("b");
        let late = segment.begin_subsegment("late");
        assert!(child.is_recorded() && !child.is_sampled());
        assert_eq!(child.header().sampled(), Sampled::No);
        assert_eq!(recorder.entities().open, 3);
        child.close();
        segment.mark(Class::Throttle);
        segment.http_response(HttpResponse::new(429));
        clock.advance(Duration::from_millis(20));
        segment.close();
        late.close();
        let kept = std::mem::take(&mut *sampler.kept.lock().unwrap());
        let closed = sampler.closed();
        assert_eq!(kept, closed, "the same is told twice, and once each");
        let [outcome] = &closed[..] else {
            panic!("{closed:?}");
        };
        assert_eq!(outcome.decision, Decision::recorded());
        assert_eq!(
            (outcome.class, outcome.status),
            (Class::Throttle, Some(429))
        );
        assert_eq!(outcome.duration, Duration::from_millis(20));
        let entities = recorder.entities();
        if keep {
            assert_eq!((entities.written, entities.unsampled), (3, 0));
            assert_eq!(capture.documents().len(), 2);
            assert_eq!(capture.documents()[1].name, "late");
        } else {
            assert_eq!((entities.written, entities.unsampled), (0, 3));
            assert_eq!(capture.documents(), []);
            assert_eq!(recorder.documents().created, 0);
        }
        assert_eq!(entities.begun, 3);
        balance(&recorder);
    }
}

#[test]
fn every_root_is_heard_of_with_its_outcome() {
    for decision in [
        Decision::sampled(),
        Decision::unsampled(),
        Decision::recorded(),
    ] {
        let sampler = Told::new(decision.clone());
        let (recorder, _capture, clock) = capture(sampler.clone());
        for (class, status) in [
            (Class::Ok, Some(200)),
            (Class::Error, Some(404)),
            (Class::Throttle, Some(429)),
            (Class::Fault, Some(503)),
            (Class::Fault, None),
        ] {
            let segment = recorder.begin_segment("shop");
            let trace_id = segment.trace_id().unwrap();
            segment.mark(Class::Fault); // replaced by the next
            segment.mark(class);
            if let Some(status) = status {
                segment.http_response(HttpResponse::new(500));
                segment.http_response(HttpResponse::new(status));
            }
            segment.begin_subsegment("b").mark(Class::Fault); // not the root's
            clock.advance(Duration::from_millis(7));
            segment.close();
            let [outcome] = <[Heard; 1]>::try_from(sampler.closed()).unwrap();
            assert_eq!(outcome.trace_id, Some(trace_id));
            assert_eq!(outcome.decision, decision);
            assert_eq!(
                (outcome.class, outcome.status),
                (class, status),
                "{decision:?}"
            );
            assert_eq!(outcome.duration, Duration::from_millis(7), "{decision:?}");
        }
        balance(&recorder);
    }
}

#[test]
fn a_root_that_unwinds_is_a_fault_to_its_sampler() {
    for decision in [
        Decision::sampled(),
        Decision::unsampled(),
        Decision::recorded(),
    ] {
        let sampler = Told::new(decision.clone());
        let (recorder, _capture, _) = capture(sampler.clone());
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _segment = recorder.begin_segment("shop");
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(unwound.is_err());
        let [outcome] = <[Heard; 1]>::try_from(sampler.closed()).unwrap();
        assert_eq!(outcome.class, Class::Fault, "{decision:?}");
        balance(&recorder);
    }
}

#[derive(Debug)]
struct Panics(&'static str);

impl Sampler for Panics {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        assert_ne!(self.0, "decide", "on purpose");
        Decision::recorded()
    }

    fn keep(&self, _: &Outcome<'_>) -> bool {
        assert_ne!(self.0, "keep", "on purpose");
        true
    }

    fn closed(&self, _: &Outcome<'_>) {
        assert_ne!(self.0, "closed", "on purpose");
    }
}

#[test]
fn a_sampler_that_panics_harms_nobody() {
    for (method, written) in [("decide", 0), ("keep", 0), ("closed", 1)] {
        let (recorder, capture, _) = capture(Panics(method));
        for times in 1..=3 {
            let segment = recorder.begin_segment("shop");
            assert_eq!(segment.header().sampled(), Sampled::No);
            segment.close();
            assert_eq!(recorder.events().callback_panics, times, "{method}");
            assert_eq!(capture.json().len() as u64, times * written, "{method}");
        }
        balance(&recorder);
    }
}

#[derive(Default)]
struct Counting {
    host: AtomicU64,
    method: AtomicU64,
    path: AtomicU64,
}

impl Counting {
    fn calls(&self) -> [u64; 3] {
        [&self.host, &self.method, &self.path].map(|calls| calls.load(Ordering::SeqCst))
    }
}

impl RequestFacts for Counting {
    fn host(&self) -> Option<&str> {
        self.host.fetch_add(1, Ordering::SeqCst);
        Some("shop.example")
    }

    fn method(&self) -> Option<&str> {
        self.method.fetch_add(1, Ordering::SeqCst);
        Some("GET")
    }

    fn path(&self) -> Option<&str> {
        self.path.fetch_add(1, Ordering::SeqCst);
        Some("/cart")
    }
}

#[derive(Debug)]
struct ReadsPath;

impl Sampler for ReadsPath {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        assert_eq!(request.facts.path(), Some("/cart"));
        Decision::sampled()
    }
}

#[test]
fn facts_are_read_when_a_rule_asks() {
    let facts = Counting::default();
    let (recorder, _capture, _) = capture(ReadsPath);
    let sampled = TraceHeader::default().with_sampled(Sampled::Yes);
    recorder
        .segment("shop")
        .request(&facts)
        .header(&sampled)
        .begin()
        .close();
    assert_eq!(facts.calls(), [0, 0, 0]);
    recorder.segment("shop").request(&facts).begin().close();
    assert_eq!(facts.calls(), [0, 0, 1]);
    assert_eq!(recorder.events().callback_panics, 0);
    let (recorder, _capture, _) = capture(xray_core::Never);
    recorder.segment("shop").request(&facts).begin().close();
    assert_eq!(facts.calls(), [0, 0, 1]);
}
