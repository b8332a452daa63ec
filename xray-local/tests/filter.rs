//! Which traces a filter lets through.

mod common;

use common::{TRACE, document};
use std::time::Duration;
use xray_local::{Filter, Flag, Trace, join};

/// A shop that calls a store: 250 ms, with a fault above and a throttle below.
fn shop() -> Trace {
    let text = format!(
        r#"{{"name":"Shop","id":"000000000000000a","trace_id":"{TRACE}",
        "start_time":1727177152.0,"end_time":1727177152.25,"fault":true,
        "annotations":{{"tenant":"t-42","cached":false,"n":3,"ratio":0.5,"big":9007199254740993}},
        "subsegments":[{{"name":"store-ü.example.com","id":"000000000000000b",
          "start_time":1727177152.1,"end_time":1727177152.2,"error":true,"throttle":true,
          "annotations":{{"inner":"yes"}}}}]}}"#
    );
    join([document(&text)]).remove(0)
}

/// Has nothing but a name and, once started, no end.
fn open() -> Trace {
    let text = format!(
        r#"{{"name":"job","id":"000000000000000a","trace_id":"{TRACE}","start_time":10.0,"in_progress":true}}"#
    );
    join([document(&text)]).remove(0)
}

/// Only a placeholder above it.
fn orphan() -> Trace {
    let text = format!(
        r#"{{"name":"part","id":"000000000000000a","trace_id":"{TRACE}","parent_id":"000000000000000b","start_time":10.0,"end_time":11.0}}"#
    );
    join([document(&text)]).remove(0)
}

#[track_caller]
fn matches(filter: Filter) {
    assert!(filter.matches(&shop()), "{filter:?}");
}

#[track_caller]
fn differs(filter: Filter) {
    assert!(!filter.matches(&shop()), "{filter:?}");
}

fn all() -> Filter {
    Filter::default()
}

#[test]
fn without_conditions_everything_matches() {
    for trace in [shop(), open(), orphan()] {
        assert!(all().matches(&trace));
    }
}

#[test]
fn a_name_contains_text_in_any_case() {
    for text in ["Shop", "shop", "HO", "", "STORE-Ü", "example"] {
        matches(all().name(text));
    }
    for text in ["shops", "job", "000a", "shopstore", "store_"] {
        differs(all().name(text));
    }
    assert!(all().name("job").matches(&open()));
    assert!(!all().name("missing").matches(&orphan()));
}

#[test]
fn a_pattern_is_for_the_whole_name() {
    for pattern in [
        "*",
        "shop*",
        "*shop",
        "s?op",
        "????",
        "S**P",
        "*.example.*",
        "store-?.*.com",
        "*e*e*e*",
        "s*e-*e*m",
    ] {
        matches(all().name(pattern));
    }
    for pattern in [
        "?",
        "sho?p",
        "*sho",
        "hop*",
        "???",
        "*.example",
        "*e*e*e*e*",
        "s*x*p",
        "?*????????????????????",
        "shop?",
    ] {
        differs(all().name(pattern));
    }
    // No worse than length by length.
    let mut long = document(r#"{"id":"000000000000000a"}"#);
    long.name = "a".repeat(2000);
    let hard = "a*".repeat(1000) + "b";
    assert!(!all().name(&hard).matches(&join([long]).remove(0)));
}

#[test]
fn a_flag_is_set_somewhere() {
    let flags = [
        (Flag::Error, "error"),
        (Flag::Fault, "fault"),
        (Flag::InProgress, "in_progress"),
        (Flag::Throttle, "throttle"),
    ];
    for (set, field) in flags {
        let text = format!(
            r#"{{"name":"a","id":"000000000000000a","subsegments":[{{"name":"b","id":"000000000000000b","{field}":true}}]}}"#
        );
        let trace = join([document(&text)]).remove(0);
        for (flag, _) in flags {
            assert_eq!(all().flag(flag).matches(&trace), flag == set, "{flag:?}");
        }
    }
}

#[test]
fn an_annotation_has_its_key_and_value() {
    for key in ["tenant", "cached", "n", "inner"] {
        matches(all().annotation(key));
    }
    for key in ["Tenant", "tenan", "", "name"] {
        differs(all().annotation(key));
    }
    for (key, value) in [
        ("tenant", "t-42"),
        ("cached", "false"),
        ("n", "3"),
        ("n", "3.0"),
        ("n", "3e0"),
        ("ratio", "0.5"),
        ("ratio", "0.50"),
        ("big", "9007199254740993"),
        ("inner", "yes"),
    ] {
        matches(all().annotation_is(key, value));
    }
    for (key, value) in [
        ("tenant", "T-42"),
        ("tenant", "t-4"),
        ("tenant", "\"t-42\""),
        ("cached", "true"),
        ("cached", "0"),
        ("n", "4"),
        ("n", ""),
        ("n", "three"),
        ("ratio", "0"),
        ("big", "9007199254740992"),
        ("other", "t-42"),
    ] {
        differs(all().annotation_is(key, value));
    }
}

#[test]
fn a_trace_takes_longer_to_the_microsecond() {
    matches(all().longer_than(Duration::ZERO));
    matches(all().longer_than(Duration::from_micros(249_999)));
    // Just as long is not longer.
    differs(all().longer_than(Duration::from_millis(250)));
    differs(all().longer_than(Duration::from_micros(250_001)));
    differs(all().longer_than(Duration::MAX));
    assert!(!all().longer_than(Duration::ZERO).matches(&open()));
    // The trace's time, not that of something in it.
    differs(all().name("store").longer_than(Duration::from_millis(250)));
    matches(all().name("store").longer_than(Duration::from_millis(150)));
}

#[test]
fn a_rounded_duration_is_not_longer() {
    // As floats, the one lasts 200000.05 µs and the other 99999.90.
    for (end, micros) in [("1727177152.2", 200_000), ("1727177152.1", 100_000)] {
        let text = format!(
            r#"{{"name":"a","id":"000000000000000a","start_time":1727177152.0,"end_time":{end}}}"#
        );
        let trace = join([document(&text)]).remove(0);
        let longer_than = |micros| all().longer_than(Duration::from_micros(micros));
        assert!(!longer_than(micros).matches(&trace), "{end}");
        assert!(longer_than(micros - 1).matches(&trace), "{end}");
    }
}

#[test]
fn all_conditions_must_hold_each_anywhere() {
    let both = || all().name("shop").name("store");
    matches(both().flag(Flag::Fault).flag(Flag::Throttle));
    matches(both().annotation("tenant").annotation_is("inner", "yes"));
    differs(both().name("job"));
    differs(both().flag(Flag::InProgress));
    differs(both().annotation("tenant").annotation("other"));
    let long = Duration::from_secs(1);
    differs(both().longer_than(long).longer_than(Duration::ZERO));
    differs(both().longer_than(Duration::ZERO).longer_than(long));
}
