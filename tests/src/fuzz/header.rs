//! What a request's headers say about its trace.

use xray_core::test_util::TestRecorder;
use xray_core::{HeaderText, LogId, Sampled, SegmentId, TraceHeader, TraceId, TraceparentText};

use super::bytes::Bytes;

/// Any value of X-Amzn-Trace-Id gives what the documented rules say, put down
/// here a second time without regard to speed, and nothing behind its first
/// 1,024 bytes counts.
pub fn header_parse(data: &[u8]) {
    let header = TraceHeader::parse(data);
    let expected = Model::of(data);
    assert_eq!(Model::from(&header), expected);
    assert_eq!(
        TraceHeader::from_headers(Some(data), None, Some(data)),
        header
    );
    if data.len() >= 1_024 {
        let more = [data, b";Sampled=0;Root=1-66f2a1c0-0123456789abcdef01234567"].concat();
        let cut = [&data[..1_024], b"\xff"].concat();
        assert_eq!(TraceHeader::parse(&cut), TraceHeader::parse(&more));
    }
    is_safe(&header);
}

/// A header of any ids, decision and extras is written so that it reads back,
/// and what a recorder tells those it calls is safe whatever it was told.
pub fn header_round_trip(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let high = u128::from(bytes.number::<8>()) << 64;
    let root = TraceId::from_w3c(high | u128::from(bytes.number::<8>()));
    let parent = SegmentId::new(bytes.number::<8>());
    let sampled = match bytes.byte() % 4 {
        0 => Sampled::Yes,
        1 => Sampled::No,
        2 => Sampled::Requested,
        _ => Sampled::Unknown,
    };
    let extras = bytes.rest();
    let own = match root {
        Some(root) => TraceHeader::new(root)
            .with_parent(parent)
            .with_sampled(sampled),
        None => TraceHeader::default().with_sampled(sampled),
    };
    // Its own pairs in front, so that those of the input may replace them.
    let text = [own.to_text().as_bytes(), b";", extras].concat();
    let header = TraceHeader::parse(&text);
    for header in [own, header.clone().with_parent(parent), header] {
        is_safe(&header);
        passes_on(&header);
    }
}

fn passes_on(header: &TraceHeader) {
    let recorder = TestRecorder::new("fuzz");
    let segment = recorder.segment("fuzz").header(header).begin();
    let told = segment.begin_subsegment("call").header();
    is_safe(&told);
    assert_eq!(told.extras(), header.extras());
    assert_eq!(told.tracestate(), header.tracestate());
    assert!(header.root().is_none() || told.root() == header.root());
    let refused = header.sampled() == Sampled::No;
    let expected = if refused { Sampled::No } else { Sampled::Yes };
    assert_eq!(told.sampled(), expected);
    assert!(told.root().is_some() && told.parent().is_some());
    assert_eq!(segment.log_id().len(), LogId::MAX_LEN);
    drop(segment);
    // Switched off, and below somebody else's segment that is not recorded, the
    // header goes on as it came.
    let off = TestRecorder::configured("fuzz", |builder| builder.enabled(false));
    assert_eq!(off.segment("fuzz").header(header).begin().header(), *header);
    let facade = recorder.begin_facade(header);
    assert_eq!(facade.header(), *header);
    is_safe(&facade.header());
}

/// Three headers of one request give what the documented rules say, and ids
/// survive the way there and back in either form.
pub fn w3c_convert(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (parent_line, state_line) = (lines.next(), lines.next());
    let amzn = lines.next();
    let header = TraceHeader::from_headers(amzn, parent_line, state_line);
    let amzn = amzn.map(TraceHeader::parse).unwrap_or_default();
    is_safe(&header);
    assert_eq!(header.extras(), amzn.extras());
    let w3c = parent_line.and_then(traceparent);
    let lone = amzn.parent().is_none() && amzn.sampled() == Sampled::Unknown;
    let yields = amzn.root().is_none() || lone;
    let Some((root, parent, flag)) = w3c.filter(|_| yields) else {
        assert_eq!(header, amzn);
        assert!(!header.is_w3c() && header.tracestate().is_none());
        return;
    };
    assert!(header.is_w3c());
    assert_eq!(header.root(), TraceId::from_w3c(root));
    assert_eq!(header.parent(), SegmentId::new(parent));
    let expected = match amzn.sampled() {
        Sampled::Unknown if flag => Sampled::Yes,
        Sampled::Unknown => Sampled::No,
        said => said,
    };
    assert_eq!(header.sampled(), expected);
    let state = state_line.filter(|state| state.len() <= 512);
    let state = state.map(trim).filter(|state| !state.is_empty());
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let state = state.filter(|state| state.iter().all(visible));
    assert_eq!(header.tracestate().map(str::as_bytes), state);
    passes_on(&header);
}

/// What is written is short, of visible ASCII and well formed, and reads back to
/// the same in both forms.
fn is_safe(header: &TraceHeader) {
    let text = header.to_text();
    assert!(text.len() <= HeaderText::MAX_LEN, "{text}");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    assert!(!text.contains(',') && !text.contains(";;"), "{text}");
    assert!(!text.starts_with(';') && !text.ends_with(';'), "{text}");
    let again = TraceHeader::parse(&*text);
    assert_eq!(Model::from(&again), Model::from(header));
    assert_eq!(again.to_text().as_bytes(), text.as_bytes());
    let Some(text) = header.traceparent() else {
        assert!(header.root().is_none() || header.parent().is_none());
        return;
    };
    assert_eq!(text.len(), TraceparentText::LEN);
    let again = TraceHeader::from_headers(None, Some(text.as_bytes()), None);
    assert_eq!(
        (again.root(), again.parent()),
        (header.root(), header.parent())
    );
    let recorded = header.sampled() == Sampled::Yes;
    assert_eq!(again.sampled() == Sampled::Yes, recorded);
    assert_eq!(again.traceparent(), Some(text));
}

/// What X-Amzn-Trace-Id says, by the documentation of [`TraceHeader::parse`].
#[derive(Debug, Default, PartialEq)]
struct Model {
    root: Option<String>,
    parent: Option<String>,
    sampled: Sampled,
    extras: String,
}

impl From<&TraceHeader> for Model {
    fn from(header: &TraceHeader) -> Self {
        Self {
            root: header.root().map(|id| id.to_string()),
            parent: header.parent().map(|id| id.to_string()),
            sampled: header.sampled(),
            extras: header.extras().to_owned(),
        }
    }
}

const NAMES: [&str; 5] = ["root", "parent", "sampled", "lineage", "self"];

impl Model {
    fn of(value: &[u8]) -> Self {
        // Every byte a character, so that texts can be used.
        let value: String = value.iter().take(1_025).copied().map(char::from).collect();
        let whole = if value.chars().count() > 1_024 {
            let head: String = value.chars().take(1_024).collect();
            head.rsplit_once(';')
                .map_or(String::new(), |(head, _)| head.to_owned())
        } else {
            value
        };
        let whole = trim_text(&whole);
        let commas = whole.match_indices(',').map(|(at, _)| at);
        let line = commas
            .clone()
            .find(|at| begins_line(&whole[at + 1..]))
            .map_or(whole, |at| &whole[..at]);
        let pairs = line.split(';').filter(|pair| !trim_text(pair).is_empty());
        let pairs: Vec<(&str, &str)> = pairs
            .take(16)
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let value_of = |name: &str| {
            let named = pairs
                .iter()
                .filter(|(key, _)| trim_text(key).eq_ignore_ascii_case(name));
            let exact = named.clone().rfind(|(key, _)| *key == name);
            exact
                .or_else(|| named.clone().next_back())
                .map_or("", |(_, value)| trim_text(value))
        };
        let root = id(value_of("Root"), &[8, 24]);
        let parent = root
            .as_ref()
            .and_then(|_| id(&format!("1-{}", value_of("Parent")), &[16]));
        let mut extras = String::new();
        let mut count = 0;
        let others = pairs.iter().filter(|(key, _)| {
            let key = trim_text(key).to_ascii_lowercase();
            !NAMES.contains(&key.as_str())
        });
        let lineage = ("Lineage", value_of("Lineage"));
        for (key, value) in [&lineage].into_iter().chain(others) {
            let (key, value) = (trim_text(key), trim_text(value));
            let pair = format!("{key}={value}");
            let visible = pair.chars().all(|c| c.is_ascii_graphic() && c != ',');
            let separator = if extras.is_empty() { "" } else { ";" };
            let fits = extras.len() + separator.len() + pair.len() <= 256;
            if visible && !key.is_empty() && !value.is_empty() && fits && count < 13 {
                extras = format!("{extras}{separator}{pair}");
                count += 1;
            }
        }
        Self {
            root,
            parent: parent.map(|id| id[2..].to_owned()),
            sampled: match value_of("Sampled") {
                "1" => Sampled::Yes,
                "0" => Sampled::No,
                "?" => Sampled::Requested,
                _ => Sampled::Unknown,
            },
            extras,
        }
    }
}

/// `1-` and groups of hex digits, not all of them zero; in lower case.
fn id(text: &str, groups: &[usize]) -> Option<String> {
    let mut parts = text.split('-');
    if parts.next() != Some("1") {
        return None;
    }
    let parts: Vec<&str> = parts.collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let digits = parts.concat();
    let valid = lengths == groups
        && digits.chars().all(|c| c.is_ascii_hexdigit())
        && digits.chars().any(|c| c != '0');
    valid.then(|| text.to_ascii_lowercase())
}

fn begins_line(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let named = NAMES.contains(&word.to_ascii_lowercase().as_str());
    named && rest.trim_start_matches([' ', '\t']).starts_with('=')
}

/// Root, parent and flag, by the W3C's rules.
fn traceparent(line: &[u8]) -> Option<(u128, u64, bool)> {
    if line.len() > 1_024 {
        return None;
    }
    let line: String = trim(line).iter().copied().map(char::from).collect();
    let fields: Vec<&str> = line.splitn(5, '-').collect();
    let [version, root, parent, flags, ref more @ ..] = fields[..] else {
        return None;
    };
    let hex = |field: &str, length| {
        let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        field.len() == length && field.chars().all(digit)
    };
    if !(hex(version, 2) && hex(root, 32) && hex(parent, 16) && hex(flags, 2)) {
        return None;
    }
    if version == "ff" || (version == "00" && !more.is_empty()) {
        return None;
    }
    let root = u128::from_str_radix(root, 16).ok().filter(|id| *id > 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id > 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((root, parent, flags & 1 == 1))
}

fn trim_text(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = bytes.iter().position(|byte| !blank(byte)) else {
        return b"";
    };
    let end = bytes.iter().rposition(|byte| !blank(byte));
    &bytes[start..end.map_or(start, |end| end + 1)]
}
