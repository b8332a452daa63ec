//! The trace on log lines, through `tracing-subscriber` and `log`.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

use log::kv::{Key, Value as KvValue, VisitSource};
use log::{Log, Metadata, Record};
use serde_json::Value;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use xray_core::test_util::TestRecorder;
use xray_core::{LogId, XRayFormat, XRayLogger};

use super::bytes::Bytes;

/// Whatever a format writes, in whatever pieces, the line is that with the
/// trace put in: in front of a text, as the first member of an object. Where no
/// trace is, it is that alone. The pairs of a `log` record stay as they are.
pub fn tracing_bridge_fields(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte();
    let chunks = chunks(&mut bytes, kind);
    let whole = chunks.concat();
    let recorder = TestRecorder::new("fuzz");
    let segment = recorder.begin_segment("fuzz");
    let id = segment.log_id();
    for shape in [Shape::Text, Shape::Object] {
        assert_eq!(line(shape, &chunks), whole, "no trace");
        let found = segment.run(|| line(shape, &chunks));
        assert_eq!(found, expected(shape, &whole, id));
    }
    // The format that comes with `tracing-subscriber`, too.
    let found = segment.run(|| line(Shape::Json, &chunks));
    let found: Option<Value> = serde_json::from_str(&found).ok();
    let found = found.unwrap_or_default();
    assert_eq!(found["xray"].as_str(), Some(&*id));
    assert_eq!(found["fields"]["message"].as_str(), Some(&*whole));
    pairs(&chunks, id, || segment.enter());
}

/// What a format writes, and where it cuts: JSON or any text.
fn chunks(bytes: &mut Bytes<'_>, kind: u8) -> Vec<String> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() && chunks.len() < 64 {
        chunks.push(bytes.text());
    }
    if kind & 1 == 0 {
        return chunks;
    }
    // An object of all texts, cut where they were long.
    let members = chunks.iter().enumerate();
    let members = members.map(|(at, text)| (format!("{at}{text}"), Value::from(text.as_str())));
    let object = Value::Object(members.collect()).to_string();
    let mut rest = &*object;
    let mut pieces = Vec::new();
    for chunk in &chunks {
        let cut = boundary(rest, chunk.len());
        pieces.push(rest[..cut].to_owned());
        rest = &rest[cut..];
    }
    pieces.push(rest.to_owned());
    pieces
}

fn boundary(text: &str, at: usize) -> usize {
    let ends = (0..=at.min(text.len())).rev();
    ends.into_iter()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0)
}

fn expected(shape: Shape, whole: &str, id: LogId) -> String {
    if shape == Shape::Text {
        return format!("xray={id} {whole}");
    }
    let Some((before, behind)) = whole.split_once('{') else {
        return whole.to_owned();
    };
    let next = behind.trim_start().chars().next();
    let comma = if next.is_none_or(|next| next == '}') {
        ""
    } else {
        ","
    };
    // The comma follows where it is known to be needed, which is the first
    // chunk with anything in it.
    let blanks = behind.len() - behind.trim_start().len();
    let written = PIECES.with_borrow(|pieces| comma_at(pieces, before.len() + 1, blanks));
    let (first, second) = behind.split_at(written);
    format!("{before}{{\"xray\":\"{id}\"{first}{comma}{second}")
}

/// How many blanks behind the brace were written before the chunk that holds
/// the first member.
fn comma_at(pieces: &[String], brace: usize, blanks: usize) -> usize {
    let mut begin = 0;
    for piece in pieces {
        let end = begin + piece.len();
        if end > brace + blanks {
            return begin.saturating_sub(brace);
        }
        begin = end;
    }
    0
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Text,
    Object,
    Json,
}

thread_local! {
    /// What the format is to write.
    static PIECES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// What was written.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One event of a subscriber of that shape, as it is written.
fn line(shape: Shape, chunks: &[String]) -> String {
    static ALL: OnceLock<[Dispatch; 3]> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let plain = || tracing_subscriber::fmt().with_writer(ToLine);
        let json = || plain().fmt_fields(JsonFields::new());
        [
            Dispatch::new(plain().event_format(XRayFormat::text(Given)).finish()),
            Dispatch::new(plain().event_format(XRayFormat::json(Given)).finish()),
            Dispatch::new(
                json()
                    .event_format(XRayFormat::json(json_format()))
                    .finish(),
            ),
        ]
    });
    PIECES.set(chunks.to_vec());
    let message = chunks.concat();
    tracing::dispatcher::with_default(&all[shape as usize], || {
        tracing::info!("{message}");
    });
    String::from_utf8(LINE.take()).unwrap_or_default()
}

fn json_format() -> Format<Json> {
    Format::default().json()
}

/// Writes the pieces, whatever the event.
struct Given;

impl<S, N> FormatEvent<S, N> for Given
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        _: &Event<'_>,
    ) -> fmt::Result {
        PIECES.with_borrow(|pieces| pieces.iter().try_for_each(|piece| writer.write_str(piece)))
    }
}

/// Where lines go.
struct ToLine;

impl Write for ToLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINE.with_borrow_mut(|line| line.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ToLine {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// A record of `log` keeps its pairs, and gets the trace behind them unless it
/// has that key already.
fn pairs<G>(texts: &[String], id: LogId, enter: impl FnOnce() -> G) {
    let given: Vec<(&str, &str)> = texts.iter().map(|text| (&**text, &**text)).collect();
    let args = format_args!("line");
    let source = given.as_slice();
    let record = Record::builder().args(args).key_values(&source).build();
    let logger = XRayLogger::new(KeepPairs);
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut expected: Vec<(String, String)> = given.iter().map(owned).collect();
    logger.log(&record);
    assert_eq!(PAIRS.take(), expected);
    let _entered = enter();
    logger.log(&record);
    if !given.iter().any(|(key, _)| *key == "xray") {
        expected.push(("xray".to_owned(), id.to_string()));
    }
    assert_eq!(PAIRS.take(), expected);
}

thread_local! {
    static PAIRS: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

struct KeepPairs;

impl Log for KeepPairs {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut pairs = Pairs(Vec::new());
        let visited = record.key_values().visit(&mut pairs);
        assert!(visited.is_ok(), "{visited:?}");
        PAIRS.set(pairs.0);
    }

    fn flush(&self) {}
}

struct Pairs(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: KvValue<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
