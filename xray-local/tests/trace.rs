//! Joining documents and drawing the result.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{TRACE, document, hostile_trace};
use xray_local::{Style, Trace, join, render};

fn one(texts: &[String]) -> Trace {
    let mut traces = join(texts.iter().map(|text| document(text)));
    assert_eq!(traces.len(), 1);
    traces.remove(0)
}

fn piece(name: &str, id: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","id":"{id}","trace_id":"{TRACE}","start_time":10.0,"end_time":10.5{more}}}"#
    )
}

#[track_caller]
fn drawn(texts: &[String], expected: &[&str]) {
    let text = one(texts).to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1..], *expected, "\n{text}");
}

/// Two services and a streamed part, as they end: the innermost first.
fn checkout() -> Vec<String> {
    vec![
        format!(
            r#"{{"name":"inventory","id":"000000000000000d","trace_id":"{TRACE}","parent_id":"000000000000000c",
            "start_time":1727177152.0125,"end_time":1727177152.0226,
            "http":{{"request":{{"method":"GET","url":"http://127.0.0.1:3001/stock"}},"response":{{"status":200}}}}}}"#
        ),
        format!(
            r#"{{"name":"pay","id":"000000000000000e","trace_id":"{TRACE}","parent_id":"000000000000000a","type":"subsegment",
            "start_time":1727177152.025,"end_time":1727177152.027,"fault":true,"cause":{{"exceptions":[
              {{"id":"aaaaaaaaaaaaaaaa","type":"PaymentError","message":"card refused","cause":"bbbbbbbbbbbbbbbb"}},
              {{"id":"bbbbbbbbbbbbbbbb","type":"IoError","message":"connection reset","remote":true}}]}}}}"#
        ),
        format!(
            r#"{{"name":"storefront","id":"000000000000000a","trace_id":"{TRACE}",
            "start_time":1727177152.0,"end_time":1727177152.0412,"fault":true,"cause":"aaaaaaaaaaaaaaaa",
            "annotations":{{"tenant":"t-42","cached":false,"n":3}},
            "http":{{"request":{{"method":"GET","url":"http://127.0.0.1:3000/checkout/7"}},"response":{{"status":500}}}},
            "subsegments":[
              {{"name":"inventory:3001","id":"000000000000000c","start_time":1727177152.012,"end_time":1727177152.024,
                "namespace":"remote","http":{{"request":{{"method":"GET","url":"http://127.0.0.1:3001/stock"}},"response":{{"status":200}}}}}},
              {{"name":"load_cart","id":"000000000000000b","start_time":1727177152.00025,"end_time":1727177152.0015,
                "subsegments":[{{"name":"DynamoDB","id":"000000000000000f","start_time":1727177152.0005,"end_time":1727177152.0009,
                  "namespace":"aws","aws":{{"operation":"GetItem"}},"error":true,"throttle":true}}]}}]}}"#
        ),
    ]
}

const CHECKOUT: &str = "\
trace 1-66f2a1c0-0123456789abcdef01234567  3 documents  41.2 ms
└─ storefront  GET http://127.0.0.1:3000/checkout/7  500  FAULT  41.2 ms  {cached=false n=3 tenant=\"t-42\"}
   │ ! exception aaaaaaaaaaaaaaaa, recorded elsewhere
   ├─ load_cart  1.2 ms  +250 µs
   │  └─ DynamoDB [aws]  GetItem  ERROR  THROTTLE  400 µs  +500 µs
   ├─ inventory:3001 [remote]  GET http://127.0.0.1:3001/stock  200  12.0 ms  +12.0 ms
   │  └─ inventory  GET http://127.0.0.1:3001/stock  200  10.1 ms  +12.5 ms
   └─ pay  FAULT  2.0 ms  +25.0 ms
        ! PaymentError: card refused
        ! caused by remote IoError: connection reset
";

#[test]
fn draws_a_trace_exactly() {
    assert_eq!(one(&checkout()).to_string(), CHECKOUT);
}

#[test]
fn colours_flags_and_times_exactly() {
    let mut coloured = String::new();
    render(&one(&checkout()), Style::Coloured, &mut coloured).unwrap();
    let expected = [
        "trace 1-66f2a1c0-0123456789abcdef01234567  3 documents  \x1b[2m41.2 ms\x1b[0m",
        "└─ storefront  GET http://127.0.0.1:3000/checkout/7  500  \x1b[31mFAULT\x1b[0m  \x1b[2m41.2 ms\x1b[0m  {cached=false n=3 tenant=\"t-42\"}",
        "   │ ! exception aaaaaaaaaaaaaaaa, recorded elsewhere",
        "   ├─ load_cart  \x1b[2m1.2 ms\x1b[0m  \x1b[2m+250 µs\x1b[0m",
        "   │  └─ DynamoDB [aws]  GetItem  \x1b[33mERROR\x1b[0m  \x1b[35mTHROTTLE\x1b[0m  \x1b[2m400 µs\x1b[0m  \x1b[2m+500 µs\x1b[0m",
        "   ├─ inventory:3001 [remote]  GET http://127.0.0.1:3001/stock  200  \x1b[2m12.0 ms\x1b[0m  \x1b[2m+12.0 ms\x1b[0m",
        "   │  └─ inventory  GET http://127.0.0.1:3001/stock  200  \x1b[2m10.1 ms\x1b[0m  \x1b[2m+12.5 ms\x1b[0m",
        "   └─ pay  \x1b[31mFAULT\x1b[0m  \x1b[2m2.0 ms\x1b[0m  \x1b[2m+25.0 ms\x1b[0m",
        "        ! PaymentError: card refused",
        "        ! caused by remote IoError: connection reset",
    ];
    assert_eq!(coloured.lines().collect::<Vec<_>>(), expected);

    let mut plain = String::new();
    render(&one(&checkout()), Style::Plain, &mut plain).unwrap();
    assert_eq!(plain, CHECKOUT);
}

#[test]
fn what_is_in_progress_has_no_colour() {
    let open =
        piece("a", "000000000000000a", r#","in_progress":true"#).replace(r#","end_time":10.5"#, "");
    let mut coloured = String::new();
    render(&one(&[open]), Style::Coloured, &mut coloured).unwrap();
    assert!(coloured.ends_with("\n└─ a  IN PROGRESS\n"), "{coloured:?}");
}

#[test]
fn any_order_of_arrival_gives_the_same_tree() {
    let documents = checkout();
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let trace = one(&order.map(|index| documents[index].clone()));
        assert_eq!(trace.to_string(), CHECKOUT);
        assert!(trace.is_complete());
    }
}

#[test]
fn ids_in_any_case_are_one() {
    let lower = piece(
        "a",
        "000000000000000a",
        r#","cause":{"exceptions":[{"id":"aaaaaaaaaaaaaaaa","type":"Outer","cause":"BBBBBBBBBBBBBBBB"},{"id":"bbbbbbbbbbbbbbbb","type":"Inner"}]}"#,
    );
    let upper = piece(
        "b",
        "000000000000000B",
        r#","parent_id":"000000000000000A","type":"subsegment""#,
    )
    .replace(TRACE, &TRACE.to_uppercase());
    for documents in [[&lower, &upper], [&upper, &lower]] {
        let documents = documents.map(Clone::clone);
        drawn(
            &documents,
            &[
                "└─ a  500.0 ms",
                "   │ ! Outer",
                "   │ ! caused by Inner",
                "   └─ b  500.0 ms  +0 µs",
            ],
        );
        let trace = one(&documents);
        assert_eq!(trace.id(), TRACE);
        assert!(trace.is_complete());
        for id in ["000000000000000b", "000000000000000B"] {
            let found = trace.get(id).unwrap();
            assert_eq!(found.id(), "000000000000000b");
        }
    }
}

#[test]
fn a_missing_parent_leaves_a_placeholder() {
    let documents = [
        piece(
            "a",
            "000000000000000a",
            r#","parent_id":"53995C3F42cd8ad8""#,
        ),
        piece(
            "b",
            "000000000000000b",
            r#","parent_id":"53995c3f42cd8ad8","type":"subsegment""#,
        ),
        piece("root", "000000000000000c", ""),
    ];
    drawn(
        &documents,
        &[
            "├─ root  500.0 ms",
            "└─ (missing 53995c3f42cd8ad8)",
            "   ├─ a  500.0 ms  +0 µs",
            "   └─ b  500.0 ms  +0 µs",
        ],
    );
    let trace = one(&documents);
    assert!(!trace.is_complete());
    let placeholder = trace.find("a").unwrap().parent().unwrap();
    assert!(placeholder.document().is_none());
    assert_eq!(placeholder.id(), "53995c3f42cd8ad8");
}

#[test]
fn the_complete_version_replaces_the_one_in_progress() {
    let early = format!(
        r#"{{"name":"a","id":"000000000000000a","trace_id":"{TRACE}","start_time":10.0,"in_progress":true,
        "subsegments":[{{"name":"b","id":"000000000000000b","start_time":10.0,"in_progress":true}}]}}"#
    );
    let streamed = piece(
        "b",
        "000000000000000b",
        r#","parent_id":"000000000000000a","type":"subsegment""#,
    );
    let last = piece("a", "000000000000000a", r#","error":true"#);
    drawn(
        std::slice::from_ref(&early),
        &["└─ a  IN PROGRESS", "   └─ b  IN PROGRESS  +0 µs"],
    );
    assert!(one(std::slice::from_ref(&early)).is_open());
    let complete = ["└─ a  ERROR  500.0 ms", "   └─ b  500.0 ms  +0 µs"];
    drawn(&[early.clone(), streamed.clone(), last.clone()], &complete);
    drawn(&[last, early, streamed], &complete);
}

/// As a part of a subsegment that was sent on its own, written anew without it.
#[test]
fn a_later_part_without_a_parent_keeps_the_known_one() {
    let below = r#","parent_id":"000000000000000a","type":"subsegment""#;
    drawn(
        &[
            piece("a", "000000000000000a", ""),
            piece("b", "000000000000000b", below),
            piece("c", "000000000000000b", ""),
        ],
        &["└─ a  500.0 ms", "   └─ c  500.0 ms  +0 µs"],
    );
}

#[test]
fn of_two_complete_versions_the_later_counts() {
    drawn(
        &[
            piece("a", "000000000000000a", ""),
            piece("b", "000000000000000a", ""),
        ],
        &["└─ b  500.0 ms"],
    );
}

#[test]
fn documents_that_contain_each_other_are_still_shown() {
    drawn(
        &[
            piece(
                "a",
                "000000000000000a",
                r#","parent_id":"000000000000000b""#,
            ),
            piece(
                "b",
                "000000000000000b",
                r#","parent_id":"000000000000000a""#,
            ),
            piece(
                "self",
                "000000000000000c",
                r#","parent_id":"000000000000000c""#,
            ),
        ],
        &[
            "├─ b  500.0 ms",
            "│  └─ a  500.0 ms  +0 µs",
            "└─ self  500.0 ms",
        ],
    );
}

#[test]
fn traces_are_kept_apart_in_order_of_appearance() {
    let other = piece("x", "000000000000000c", "").replace("4567\"", "4568\"");
    let texts = [
        other,
        piece("a", "000000000000000a", ""),
        piece("b", "000000000000000b", ""),
    ];
    let traces = join(texts.iter().map(|text| document(text)));
    let found: Vec<_> = traces
        .iter()
        .map(|trace| (trace.id(), trace.documents()))
        .collect();
    assert_eq!(
        found,
        [("1-66f2a1c0-0123456789abcdef01234568", 1), (TRACE, 2)]
    );
}

#[test]
fn a_trace_of_any_depth_is_joined_drawn_and_dropped() {
    const DEPTH: usize = 50_000;
    let run = || {
        let documents = (1..=DEPTH).map(|level| {
            document(&piece(
                "n",
                &format!("{level:016x}"),
                &match level {
                    1 => String::new(),
                    _ => format!(r#","parent_id":"{:016x}""#, level - 1),
                },
            ))
        });
        let trace = join(documents).remove(0);
        let text = trace.to_string();
        assert_eq!(text.lines().count(), DEPTH + 1);
        assert!(
            text.len() < DEPTH * 200,
            "grows with the depth, not its square"
        );
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("[49959 levels] "), "{last}");
    };
    let small_stack = std::thread::Builder::new().stack_size(256 << 10);
    small_stack.spawn(run).unwrap().join().unwrap();
}

#[test]
fn hostile_text_is_shown_harmlessly() {
    let trace = hostile_trace();
    let text = trace.to_string();
    assert_eq!(text.lines().count(), 5, "no line of its own making: {text}");
    let harmless =
        |character: char| matches!(character, ' '..='~' | '\n' | '│' | '├' | '└' | '─' | 'µ');
    assert!(text.chars().all(harmless), "{text:?}");
    assert!(text.contains(r"\u{1b}]0;owned\u{7}\r\n\u{202e}\u{200b}\u{9b}2J\u{2028}"));
    assert!(text.contains(r#"="\"\u{1b}"#), "{text}");

    // With colours, what is left without ours is the same.
    let mut coloured = String::new();
    render(&trace, Style::Coloured, &mut coloured).unwrap();
    let without = coloured.replace("\x1b[2m", "").replace("\x1b[0m", "");
    assert_eq!(without, text);
}

#[test]
fn long_text_is_cut() {
    let mut segment = document(&piece("a", "000000000000000a", ""));
    segment.name = "ü".repeat(201);
    let text = join([segment])[0].to_string();
    assert!(
        text.contains(&format!("─ {}…  500.0 ms", "ü".repeat(200))),
        "{text}"
    );
}
