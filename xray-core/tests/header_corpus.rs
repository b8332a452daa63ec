//! Every header of the corpus gives exactly what the corpus says.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken corpus fails its test"
)]

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use xray_core::{HeaderText, Sampled, TraceHeader};

const CORPUS: &str = include_str!("corpus/trace_headers.tsv");

struct Case {
    line: usize,
    value: Vec<u8>,
    /// Root, Parent, Sampled and extras, as the corpus writes them.
    expected: [String; 4],
}

fn cases() -> Vec<Case> {
    let lines = CORPUS.lines().enumerate();
    lines
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(at, text)| {
            let columns: Vec<&str> = text.split('\t').collect();
            let [value, root, parent, sampled, extras] = columns[..] else {
                panic!("line {} has not five columns", at + 1);
            };
            let extras = String::from_utf8(unescape(extras)).unwrap();
            Case {
                line: at + 1,
                value: unescape(value),
                expected: [root.into(), parent.into(), sampled.into(), extras],
            }
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        if let Some(run) = rest.strip_prefix(b"\\{") {
            let end = run.iter().position(|byte| *byte == b'}').unwrap();
            let star = run[..end].iter().rposition(|byte| *byte == b'*').unwrap();
            let count: usize = str::from_utf8(&run[star + 1..end])
                .unwrap()
                .parse()
                .unwrap();
            let byte = unescape_one(&mut &run[..star]);
            bytes.resize(bytes.len() + count, byte);
            rest = &run[end + 1..];
        } else {
            bytes.push(unescape_one(&mut rest));
        }
    }
    bytes
}

fn unescape_one(rest: &mut &[u8]) -> u8 {
    let (byte, used) = match **rest {
        [b'\\', b't', ..] => (b'\t', 2),
        [b'\\', b'r', ..] => (b'\r', 2),
        [b'\\', b'n', ..] => (b'\n', 2),
        [b'\\', b'0', ..] => (0, 2),
        [b'\\', b'\\', ..] => (b'\\', 2),
        [b'\\', b'x', high, low, ..] => {
            let digits = [high, low];
            let digits = str::from_utf8(&digits).unwrap().to_owned();
            (u8::from_str_radix(&digits, 16).unwrap(), 4)
        }
        [b'\\', ..] => panic!("unknown escape"),
        [byte, ..] => (byte, 1),
        [] => panic!("nothing to read"),
    };
    *rest = &rest[used..];
    byte
}

/// A header in the corpus's columns.
fn columns(header: &TraceHeader) -> [String; 4] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let sampled = match header.sampled() {
        Sampled::Yes => "1",
        Sampled::No => "0",
        Sampled::Requested => "?",
        Sampled::Unknown => "-",
    };
    let extras = match header.extras() {
        "" => "-",
        extras => extras,
    };
    [
        or_dash(header.root().map(|id| id.to_string())),
        or_dash(header.parent().map(|id| id.to_string())),
        sampled.to_owned(),
        extras.to_owned(),
    ]
}

#[test]
fn each_header_gives_what_the_corpus_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let found = columns(&TraceHeader::parse(&case.value));
        if found != case.expected {
            wrong.push((case.line, found, case.expected));
        }
    }
    assert!(wrong.is_empty(), "(line, found, expected): {wrong:#?}");
}

#[test]
fn each_header_is_written_so_that_it_reads_back() {
    for case in cases() {
        let header = TraceHeader::parse(&case.value);
        let text = header.to_text();
        assert_eq!(TraceHeader::parse(&*text), header, "line {}", case.line);
        assert!(text.len() <= HeaderText::MAX_LEN, "line {}", case.line);
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(visible, "line {}", case.line);
        assert!(!text.ends_with(';') && !text.contains(";;"), "{text}");
    }
}

#[test]
fn the_corpus_is_large_and_has_no_doubles() {
    let cases = cases();
    assert!(cases.len() >= 300, "{}", cases.len());
    let distinct: HashSet<_> = cases.iter().map(|case| &case.value).collect();
    assert_eq!(distinct.len(), cases.len());
}

/// GHSA-5wrp-cwcj-q835: a fix elsewhere removed the cap on a header's length,
/// and its size decided the work again. Only the first 1,024 bytes may matter.
#[test]
fn what_follows_the_first_1024_bytes_is_never_read() {
    const HUGE: usize = 64 << 20;
    let start = "Lineage=a:1;Root=1-66f2a1c0-0123456789abcdef01234567;Sampled=1;";
    let tails: [&[u8]; 6] = [b"a", b";", b"=", b",", b"\xff", b";Sampled=0;Foo=1"];
    for tail in tails {
        let mut head = start.as_bytes().to_vec();
        head.resize(1023, b'v');
        head.push(b';');
        let expected = TraceHeader::parse(&head);
        assert_eq!(expected.sampled(), Sampled::Yes);
        let value = [head, tail.repeat(HUGE / tail.len())].concat();
        assert_eq!(TraceHeader::parse(&value), expected);
    }
    // With no end of a pair in sight nothing is read at all.
    let value = vec![b'v'; HUGE];
    assert_eq!(TraceHeader::parse(&value), TraceHeader::default());
    let nothing = TraceHeader::from_headers(Some(&value), Some(&value), Some(&value));
    assert_eq!(nothing, TraceHeader::default());
}

/// How long one parse of each takes, by the fastest of many.
fn parse_times(values: &[Vec<u8>]) -> Vec<Duration> {
    let time = |value: &Vec<u8>| {
        let begun = Instant::now();
        let _ = black_box(TraceHeader::parse(black_box(value)));
        begun.elapsed()
    };
    let fastest = |value| (0..200).map(|_| time(value)).min().unwrap();
    values.iter().map(fastest).collect()
}

/// T-20 and T-23, the figures. They are those of a release build:
/// `cargo test --release -p xray-core --test header_corpus -- --ignored --nocapture`
#[test]
#[ignore = "a figure of release builds"]
fn each_header_takes_two_microseconds_and_64_megabytes_one() {
    let read_whole = |case: &Case| case.value.len() <= 1_024;
    let corpus = cases().into_iter().filter(read_whole);
    let corpus: Vec<Vec<u8>> = corpus.map(|case| case.value).collect();
    let longest = parse_times(&corpus).into_iter().max().unwrap();
    let endless = parse_times(&[vec![b'v'; 64 << 20]])[0];
    println!("{} headers: {longest:?} at most", corpus.len());
    println!("64 MiB in one: {endless:?}");
    assert!(longest <= Duration::from_micros(2), "{longest:?}");
    assert!(endless <= Duration::from_micros(1), "{endless:?}");
}
