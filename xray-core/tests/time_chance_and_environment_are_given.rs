//! Clock, randomness and environment can be replaced, and a wall clock that is
//! set while a request runs changes no duration.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::{balance, builder};
use xray_core::{Capture, ConfigError, ManualClock, RandomSource, Recorder};

const EPOCH: u64 = 1_700_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Shows the epoch of these tests; its monotonic scale began long before.
fn clock() -> Arc<ManualClock> {
    let clock = ManualClock::at(at(0));
    clock.advance(Duration::from_secs(12_345));
    clock.set_wall(at(EPOCH));
    Arc::new(clock)
}

#[test]
fn a_manual_clock_gives_exact_times() {
    let capture = Capture::new(65_474);
    let clock = clock();
    let recorder = builder(capture.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let segment = recorder.begin_segment("a");
    clock.advance(Duration::from_micros(1));
    let child = segment.begin_subsegment("b");
    clock.advance(Duration::from_micros(999_998));
    child.close();
    clock.advance(Duration::from_nanos(1_999));
    segment.close();
    let text = String::from_utf8(capture.json()[0].clone()).unwrap();
    for expected in [
        r#""start_time":1700000000.000000,"end_time":1700000001.000000"#,
        r#""start_time":1700000000.000001,"end_time":1700000000.999999"#,
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(
        capture.documents()[0]
            .trace_id
            .as_ref()
            .unwrap()
            .starts_with("1-6553f100-")
    );
}

#[test]
fn a_step_of_the_wall_clock_changes_no_duration() {
    for wall in [EPOCH - 3_600, EPOCH, EPOCH + 3_600, 0] {
        let capture = Capture::new(65_474);
        let clock = clock();
        let recorder = builder(capture.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        let segment = recorder.begin_segment("a");
        clock.advance(Duration::from_millis(1));
        let child = segment.begin_subsegment("b");
        clock.set_wall(at(wall));
        clock.advance(Duration::from_millis(1));
        child.close();
        let after = segment.begin_subsegment("c");
        clock.advance(Duration::from_millis(1));
        after.close();
        segment.close();
        let document = &capture.documents()[0];
        let start = document.start_time.unwrap();
        let times: Vec<(u64, u64)> = document
            .walk()
            .map(|part| {
                let micros = |time: f64| ((time - start) * 1e6).round() as u64;
                (
                    micros(part.start_time.unwrap()),
                    micros(part.end_time.unwrap()),
                )
            })
            .collect();
        assert_eq!(
            times,
            [(0, 3_000), (1_000, 2_000), (2_000, 3_000)],
            "{wall}"
        );
        balance(&recorder);
    }
}

/// Counts up from a seed.
struct Counts(AtomicU64);

impl RandomSource for Counts {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[test]
fn a_random_source_fixes_every_id() {
    let ids = |seed: u64| {
        let capture = Capture::new(65_474);
        let recorder = builder(capture.clone())
            .clock(Arc::new(ManualClock::at(at(EPOCH))))
            .random(Arc::new(Counts(AtomicU64::new(seed))))
            .sampler(xray_core::Always)
            .build()
            .unwrap();
        for _ in 0..2 {
            let segment = recorder.begin_segment("a");
            segment.in_subsegment("b", |_| ());
        }
        capture.json()
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
    let text = String::from_utf8(ids(0x0123_4567_89ab_cdef)[0].clone()).unwrap();
    // One word for the sampler, then two for the trace; the low 96 bits.
    assert!(
        text.contains("\"trace_id\":\"1-6553f100-89abcdf00123456789abcdf1\""),
        "{text}"
    );
}

#[test]
fn without_a_source_ids_differ() {
    let (recorder, _capture) = Recorder::capture("a");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1_000 {
        let segment = recorder.begin_segment("a");
        assert!(seen.insert(segment.trace_id().unwrap().to_w3c()));
        assert!(seen.insert(u128::from(segment.id().unwrap().get())));
        assert!(seen.insert(u128::from(
            segment.begin_subsegment("b").id().unwrap().get()
        )));
    }
}

/// The test runs itself again, in an environment that std cannot set here.
#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_skipped_and_listed() {
    use std::os::unix::ffi::OsStrExt;
    let value = std::ffi::OsStr::from_bytes(b"127.0.0.1:2000\xff");
    let variables = ["AWS_XRAY_DAEMON_ADDRESS", "AWS_XRAY_TRACING_NAME"];
    if std::env::var_os(variables[0]).as_deref() != Some(value) {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_variable_that_is_not_utf8_is_skipped_and_listed",
            ])
            .envs(variables.map(|variable| (variable, value)))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    let recorder = Recorder::builder("code")
        .emitter(Capture::new(65_474))
        .build()
        .unwrap();
    let told: Vec<String> = recorder
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = variables
        .map(|variable| format!("{variable} is `127.0.0.1:2000\\u{{fffd}}`, expected UTF-8"));
    assert_eq!(told, expected);
    assert_eq!(recorder.name(), "code");
}

#[test]
fn the_environment_is_asked_and_beats_the_code() {
    let built = |name: &'static str, address: &'static str| {
        Recorder::builder("code")
            .emitter(Capture::new(65_474))
            .environment(move |variable| match variable {
                "AWS_XRAY_TRACING_NAME" => Some(name.to_owned()),
                "AWS_XRAY_DAEMON_ADDRESS" => Some(address.to_owned()),
                _ => None,
            })
            .build()
            .unwrap()
    };
    assert_eq!(built("operator", "").name(), "operator");
    assert_eq!(built("", "").name(), "code");
    assert!(built("", "127.0.0.1:2000").warnings().is_empty());
    let wrong = built("operator", "no port");
    assert!(matches!(wrong.warnings(), [ConfigError::DaemonAddress(_)]));
    assert_eq!(wrong.name(), "operator");
    let nameless = Recorder::builder("").ignore_environment().build();
    assert!(matches!(nameless, Err(ConfigError::EmptyName)));
}

/// L20: of the name that is the recorder's own, by code; others stand for
/// themselves.
#[test]
fn the_operators_name_beats_the_recorders_own() {
    for (variable, renamed) in [("operator", "operator"), ("", "shop")] {
        let capture = Capture::new(65_474);
        let recorder = Recorder::builder("shop")
            .emitter(capture.clone())
            .sampler(xray_core::Always)
            .environment(move |name| (name == "AWS_XRAY_TRACING_NAME").then(|| variable.to_owned()))
            .build()
            .unwrap();
        for name in ["shop", "nightly job", recorder.name()] {
            let segment = recorder.begin_segment(name);
            segment.in_subsegment("shop", |_| ());
            segment.close();
        }
        let documents = capture.documents();
        let names = documents.iter().map(|document| document.name.as_str());
        let names: Vec<_> = names.collect();
        assert_eq!(names, [renamed, "nightly job", recorder.name()]);
        let inner = documents.iter().flat_map(|document| &document.subsegments);
        assert!(inner.into_iter().all(|part| part.name == "shop"));
        balance(&recorder);
    }
}

/// Sees the name that the segment gets.
#[derive(Debug)]
struct Sees;

impl xray_core::Sampler for Sees {
    fn decide(&self, request: &xray_core::SamplingRequest<'_>) -> xray_core::Decision {
        assert_eq!(request.service, "operator");
        xray_core::Decision::sampled()
    }
}

#[test]
fn a_sampler_sees_the_operators_name() {
    let recorder = Recorder::builder("shop")
        .emitter(Capture::new(65_474))
        .sampler(Sees)
        .environment(|name| (name == "AWS_XRAY_TRACING_NAME").then(|| "operator".to_owned()))
        .build()
        .unwrap();
    assert!(recorder.begin_segment("shop").is_sampled());
    assert_eq!(recorder.events().callback_panics, 0);
}

#[test]
fn an_impossible_limit_is_refused() {
    for (limit, fine) in [
        (1_023, false),
        (1_024, true),
        (65_474, true),
        (65_475, false),
    ] {
        let built = builder(Capture::new(65_474)).document_limit(limit).build();
        assert_eq!(built.is_ok(), fine, "{limit}");
    }
}
