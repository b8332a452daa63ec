//! Below what a program skips on purpose, nothing is recorded and nothing is
//! missing: one policy for the process, so one file.

mod common;

use common::balance;
use xray_core::{ContextMissing, Recorder, Sampled, TraceHeader, context_missing, current};

const ROOT: &str = "1-66f2a1c0-0123456789abcdef01234567";

/// Where missing context is a panic.
fn strict(enabled: bool) -> Recorder {
    let builder = Recorder::builder("shop").ignore_environment().send_inline();
    let builder = builder.context_missing(ContextMissing::Panic);
    let builder = builder.enabled(enabled);
    builder.build().expect("nothing in it can fail")
}

/// The header of a call below what is skipped, which no book has seen.
fn call(recorder: &Recorder, caller: &str) -> TraceHeader {
    let skipped = recorder.suppress(&TraceHeader::parse(caller));
    let header = skipped.run(|| {
        let work = current().begin_subsegment("ping");
        assert!(!work.is_recorded());
        work.run(|| current().in_subsegment("query", |query| query.header()))
    });
    assert_eq!(recorder.entities().begun, 0);
    assert_eq!(context_missing(), 0);
    balance(recorder);
    header
}

#[test]
fn calls_carry_the_callers_trace_and_sampled_0() {
    let recorder = strict(true);
    for (caller, expected) in [
        (
            "Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1",
            "Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:1",
        ),
        ("Sampled=?", "Sampled=0"),
    ] {
        let header = call(&recorder, &format!("Root={ROOT};{caller}"));
        assert_eq!(header.to_string(), format!("Root={ROOT};{expected}"));
    }
}

#[test]
fn without_a_caller_calls_carry_a_new_trace() {
    let recorder = strict(true);
    let [one, two] = ["", "Sampled=1;Lineage=a:1"].map(|caller| call(&recorder, caller));
    for header in [&one, &two] {
        assert!(header.root().is_some() && header.parent().is_some());
        assert_eq!(header.sampled(), Sampled::No);
    }
    assert_ne!(one.root(), two.root());
    assert_eq!(two.extras(), "Lineage=a:1");
}

#[test]
fn switched_off_the_header_goes_on_as_it_came() {
    let recorder = strict(false);
    let caller = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1");
    assert_eq!(call(&recorder, &caller).to_string(), caller);
    assert_eq!(call(&recorder, ""), TraceHeader::default());
}
