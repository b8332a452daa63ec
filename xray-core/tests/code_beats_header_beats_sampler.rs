//! Who decides whether a segment is recorded: code, then header, then sampler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use xray_core::{
    Capture, Decision, LocalRules, ManualClock, RandomSource, Recorder, RecorderBuilder,
    RequestFacts, Rule, Sampled, Sampler, SamplingRequest, TraceHeader, suppressed,
};

/// Counts down from the top: different ids, and never lucky.
struct Unlucky(AtomicU64);

impl RandomSource for Unlucky {
    fn next(&self) -> u64 {
        self.0.fetch_sub(1, Ordering::Relaxed)
    }
}

fn recorder() -> (RecorderBuilder, Capture, Arc<ManualClock>) {
    let capture = Capture::new(64_000);
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let clock = Arc::new(clock);
    let builder = Recorder::builder("shop")
        .ignore_environment()
        .emitter(capture.clone())
        .random(Arc::new(Unlucky(AtomicU64::new(u64::MAX))))
        .clock(clock.clone());
    (builder, capture, clock)
}

fn names(capture: &Capture) -> Vec<String> {
    let documents = capture.documents().into_iter();
    documents.map(|document| document.name).collect()
}

#[test]
fn by_default_one_segment_a_second_is_sampled() {
    let (builder, capture, clock) = recorder();
    let recorder = builder.build().unwrap();
    for second in 0..3 {
        for at in 0..5 {
            let segment = recorder.begin_segment(&format!("{second} {at}"));
            assert_eq!(segment.is_sampled(), at == 0);
            segment.close();
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(names(&capture), ["0 0", "1 0", "2 0"]);
}

#[test]
fn the_recorder_of_tests_samples_everything() {
    let (recorder, capture) = Recorder::capture("shop");
    for _ in 0..50 {
        recorder.begin_segment("shop").close();
    }
    assert_eq!(capture.documents().len(), 50);
}

struct Path(&'static str);

impl RequestFacts for Path {
    fn path(&self) -> Option<&str> {
        Some(self.0)
    }
}

#[test]
fn rules_see_the_request_and_the_recorders_clock() {
    let rules = LocalRules::new(0, 0.0).rule(Rule::new().path("/api/*").fixed_target(2));
    let (builder, capture, clock) = recorder();
    let recorder = builder.sampler(rules).build().unwrap();
    for path in ["/", "/api/1", "/api/2", "/api/3"] {
        recorder.segment(path).request(&Path(path)).begin().close();
    }
    clock.advance(Duration::from_secs(1));
    recorder
        .segment("/api/4")
        .request(&Path("/api/4"))
        .begin()
        .close();
    assert_eq!(names(&capture), ["/api/1", "/api/2", "/api/4"]);
    let document = String::from_utf8(capture.json().remove(0)).unwrap();
    assert!(!document.contains("rule_name"), "{document}");
}

/// Samples nothing, and counts how often it was asked.
#[derive(Debug, Clone, Default)]
struct Asked(Arc<AtomicUsize>);

impl Sampler for Asked {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        self.0.fetch_add(1, Ordering::Relaxed);
        Decision::unsampled()
    }
}

#[test]
fn code_beats_the_header_beats_the_sampler() {
    let yes = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
    let no = yes.replace("Sampled=1", "Sampled=0");
    let open = yes.replace("Sampled=1", "Sampled=?");
    let (sampled, unsampled) = (Some(Decision::sampled()), Some(Decision::unsampled()));
    for (code, header, expected, asks) in [
        (&None, "", false, 1),
        (&None, &open, false, 1),
        (&None, yes, true, 0),
        (&None, &no, false, 0),
        (&sampled, "", true, 0),
        (&sampled, &open, true, 0),
        (&sampled, yes, true, 0),
        (&sampled, &no, true, 0),
        (&unsampled, "", false, 0),
        (&unsampled, &open, false, 0),
        (&unsampled, yes, false, 0),
        (&unsampled, &no, false, 0),
    ] {
        let asked = Asked::default();
        let (builder, capture, _) = recorder();
        let recorder = builder.sampler(asked.clone()).build().unwrap();
        let header = TraceHeader::parse(header);
        let mut segment = recorder.segment("shop").header(&header);
        if let Some(decision) = code {
            segment = segment.decide(decision.clone());
        }
        let segment = segment.begin();
        let case = format!("{code:?}, {header:?}");
        assert_eq!(segment.is_sampled(), expected, "{case}");
        let said = segment.header();
        let told = if expected { Sampled::Yes } else { Sampled::No };
        assert_eq!(said.sampled(), told, "{case}");
        if header.root().is_some() {
            assert_eq!(said.root(), header.root(), "{case}");
        }
        segment.close();
        let documents = capture.documents();
        assert_eq!(documents.len(), usize::from(expected), "{case}");
        if let Some(document) = documents.first() {
            let parent = header.parent().map(|parent| parent.to_string());
            assert_eq!(document.parent_id, parent, "{case}");
        }
        assert_eq!(asked.0.load(Ordering::Relaxed), asks, "{case}");
    }
}

#[test]
fn a_decision_from_code_may_name_a_rule_and_record_without_sampling() {
    let (builder, capture, _) = recorder();
    let recorder = builder.build().unwrap();
    let decision = Decision::sampled().with_rule("refunds");
    recorder.segment("refund").decide(decision).begin().close();
    let document = String::from_utf8(capture.json().remove(0)).unwrap();
    assert!(
        document.contains(r#""sampling_rule_name":"refunds""#),
        "{document}"
    );
    capture.clear();
    let segment = recorder.segment("quiet").decide(Decision::recorded());
    let segment = segment.begin();
    assert_eq!(segment.header().sampled(), Sampled::No);
    segment.close();
    assert_eq!(names(&capture), [""; 0]);
}

#[test]
fn what_is_suppressed_stays_so() {
    let (builder, capture, _) = recorder();
    let recorder = builder.build().unwrap();
    let mut future = std::pin::pin!(suppressed(async {
        let segment = recorder.segment("shop").decide(Decision::sampled());
        let segment = segment.begin();
        assert!(!segment.is_sampled());
        segment.close();
    }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_ready());
    assert_eq!(names(&capture), [""; 0]);
}
