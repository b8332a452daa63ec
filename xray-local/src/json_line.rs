//! Traces written as JSON.

use crate::escape::is_harmful;
use crate::{Node, Trace};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::fmt::{self, Write};
use std::io;

/// Writes a trace as one line of JSON, without the line feed:
///
/// ```text
/// {"id":"1-66f2a1c0-0123456789abcdef01234567","duration":0.0412,"complete":true,"roots":[…]}
/// ```
///
/// - `id`: the trace's; empty if its documents named none
/// - `duration`: seconds from the earliest start to the latest end, to the
///   microsecond; `null` while nothing has ended
/// - `complete`: [`Trace::is_complete`]
/// - `roots`: what has no parent, by start time
///
/// A root is the document as it was read, `null`s and false flags left out. Its
/// last field `subsegments`, left out when empty, holds all that the trace has
/// below it, in the same form and by start time: what was nested, what was sent
/// on its own, and the segments of the services called. Where a parent never
/// came stands `{"id":"…","missing":true,"subsegments":[…]}`. Fields may be
/// added in later versions; those listed stay.
///
/// Characters that could steer a terminal or mislead a reader are written as
/// `\u` and four digits, so the line is harmless to print and means the same.
/// The nesting is as deep as the trace, which can be more than readers accept.
///
/// # Errors
///
/// Those of `out`.
pub fn render_json(trace: &Trace, out: &mut impl Write) -> fmt::Result {
    // Of the value being written; kept for its room.
    let mut text = Vec::new();
    let seconds = trace.duration_seconds();
    let duration = seconds.map(|seconds| (seconds * 1e6).round() / 1e6);
    write!(out, "{{\"id\":{}", encode(trace.id(), &mut text)?)?;
    write!(out, ",\"duration\":{}", encode(&duration, &mut text)?)?;
    write!(out, ",\"complete\":{},\"roots\":[", trace.is_complete())?;
    let mut ahead = Vec::new();
    push(&mut ahead, trace.roots().collect());
    while let Some(step) = ahead.pop() {
        let Step::Begin(node, gap) = step else {
            out.write_str("]}")?;
            continue;
        };
        out.write_str(gap)?;
        match node.document() {
            Some(document) => {
                // Its own subsegments are nodes, so it writes none.
                let fields = encode(document, &mut text)?.strip_suffix('}');
                out.write_str(fields.ok_or(fmt::Error)?)?;
            }
            None => {
                let id = encode(node.id(), &mut text)?;
                write!(out, "{{\"id\":{id},\"missing\":true")?;
            }
        }
        let children: Vec<_> = node.children().collect();
        if children.is_empty() {
            out.write_char('}')?;
        } else {
            out.write_str(",\"subsegments\":[")?;
            ahead.push(Step::End);
            push(&mut ahead, children);
        }
    }
    out.write_str("]}")
}

/// What is left to write; a list, so that depth costs no call frames.
enum Step<'a> {
    Begin(Node<'a>, &'static str),
    End,
}

/// The last first, as they are taken from the end.
fn push<'a>(ahead: &mut Vec<Step<'a>>, nodes: Vec<Node<'a>>) {
    let nodes = nodes.into_iter().enumerate().rev();
    ahead.extend(nodes.map(|(index, node)| Step::Begin(node, if index > 0 { "," } else { "" })));
}

fn encode<'t, T>(value: &T, text: &'t mut Vec<u8>) -> Result<&'t str, fmt::Error>
where
    T: Serialize + ?Sized,
{
    text.clear();
    let mut serializer = Serializer::with_formatter(&mut *text, Harmless);
    value.serialize(&mut serializer).map_err(|_| fmt::Error)?;
    str::from_utf8(text).map_err(|_| fmt::Error)
}

/// Compact JSON; of text, `serde_json` itself escapes no more than it must.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_harmful) {
            let (harmless, harmful) = rest.split_at(at);
            out.write_all(harmless.as_bytes())?;
            let mut following = harmful.chars();
            for unit in following.next().into_iter().flat_map(utf16) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = following.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

fn utf16(character: char) -> impl Iterator<Item = u16> {
    let mut units = [0; 2];
    let length = character.encode_utf16(&mut units).len();
    units.into_iter().take(length)
}
