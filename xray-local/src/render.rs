//! Traces drawn as trees of text.

use crate::escape::{quote, shorten};
use crate::{Node, Trace};
use serde_json::Value;
use std::fmt::{self, Write};
use xray_core::document::{Cause, Document, Exception};

/// Draws a trace, one line for each segment and subsegment:
///
/// ```text
/// trace 1-66f2a1c0-0123456789abcdef01234567  2 documents  41.2 ms
/// └─ storefront  GET http://127.0.0.1:3000/checkout/7  500  FAULT  41.2 ms  {tenant="t-42"}
///    ├─ load_cart  1.3 ms  +0.2 ms
///    └─ pay  FAULT  2.0 ms  +1.6 ms
///         ! PaymentError: card refused
///         ! caused by IoError: connection reset
/// ```
///
/// The last time on a line says how long after the trace it began. Names and
/// values that could steer a terminal are escaped, see [`escape`](crate::escape),
/// and cut at 200 characters; the only escape sequences are those of `style`.
///
/// # Errors
///
/// Those of `out`.
pub fn render(trace: &Trace, style: Style, out: &mut impl Write) -> fmt::Result {
    let documents = trace.documents();
    let plural = if documents == 1 { "" } else { "s" };
    write!(
        out,
        "trace {}  {documents} document{plural}",
        shorten(trace.id())
    )?;
    if let Some(seconds) = trace.duration_seconds() {
        write!(out, "  {}", style.paint(DIM, Time(seconds)))?;
    }
    writeln!(out)?;

    let start = trace.start_time().unwrap_or_default();
    // Whether something follows below, for each level down to the line's.
    let mut levels: Vec<bool> = Vec::new();
    let mut ahead = Vec::new();
    push(&mut ahead, 0, trace.roots().collect());
    while let Some((depth, follows, node)) = ahead.pop() {
        levels.truncate(depth);
        indent(out, &levels)?;
        out.write_str(if follows { "├─ " } else { "└─ " })?;
        levels.push(follows);
        match node.document() {
            Some(document) => {
                line(out, style, document, start, depth > 0)?;
                exceptions(out, node, document, &levels)?;
            }
            None => writeln!(out, "(missing {})", shorten(node.id()))?,
        }
        push(&mut ahead, depth + 1, node.children().collect());
    }
    Ok(())
}

/// How [`render()`] marks what stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// With ANSI escape sequences: `FAULT` red, `ERROR` yellow, `THROTTLE`
    /// magenta, times dim.
    Coloured,
    /// As text alone.
    #[default]
    Plain,
}

impl Style {
    fn paint<T>(self, code: &'static str, text: T) -> Painted<T> {
        let code = (self == Self::Coloured).then_some(code);
        Painted { code, text }
    }
}

struct Painted<T> {
    /// Parameter of the escape sequence before the text, if any.
    code: Option<&'static str>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, text } = self;
        match code {
            Some(code) => write!(f, "\x1b[{code}m{text}\x1b[0m"),
            None => write!(f, "{text}"),
        }
    }
}

/// The last first, as they are taken from the end.
fn push<'a>(ahead: &mut Vec<(usize, bool, Node<'a>)>, depth: usize, nodes: Vec<Node<'a>>) {
    let last = nodes.len().saturating_sub(1);
    let nodes = nodes.into_iter().enumerate().rev();
    ahead.extend(nodes.map(|(index, node)| (depth, index < last, node)));
}

fn indent(out: &mut impl Write, levels: &[bool]) -> fmt::Result {
    // Bars for every level would make the text of a deep trace grow with the
    // square of its depth.
    let hidden = levels.len().saturating_sub(MAX_INDENT);
    if hidden > 0 {
        write!(out, "[{hidden} levels] ")?;
    }
    for &follows in &levels[hidden..] {
        out.write_str(if follows { "│  " } else { "   " })?;
    }
    Ok(())
}

fn line(
    out: &mut impl Write,
    style: Style,
    document: &Document,
    start: f64,
    nested: bool,
) -> fmt::Result {
    write!(out, "{}", shorten(&document.name))?;
    if let Some(namespace @ ("aws" | "remote")) = document.namespace.as_deref() {
        write!(out, " [{namespace}]")?;
    }
    if let Some(operation) = document.aws.get("operation").and_then(Value::as_str) {
        write!(out, "  {}", shorten(operation))?;
    }
    let http = document.http.as_ref();
    if let Some(request) = http.and_then(|http| http.request.as_ref()) {
        let mut gap = "  ";
        for part in [&request.method, &request.url].into_iter().flatten() {
            write!(out, "{gap}{}", shorten(part))?;
            gap = " ";
        }
    }
    if let Some(status) = http.and_then(|http| http.response.as_ref()?.status) {
        write!(out, "  {status}")?;
    }
    let flags = [
        (document.error, style.paint(YELLOW, "ERROR")),
        (document.throttle, style.paint(MAGENTA, "THROTTLE")),
        (document.fault, style.paint(RED, "FAULT")),
        (document.in_progress, Style::Plain.paint(DIM, "IN PROGRESS")),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        write!(out, "  {flag}")?;
    }
    if let Some(seconds) = document.duration_seconds() {
        write!(out, "  {}", style.paint(DIM, Time(seconds)))?;
    }
    let offset = document.start_time.map(|time| time - start);
    if let Some(seconds) = offset.filter(|&seconds| nested || seconds > 0.0) {
        let offset = format!("+{}", Time(seconds));
        write!(out, "  {}", style.paint(DIM, offset))?;
    }
    if !document.annotations.is_empty() {
        let mut gap = "  {";
        for (key, value) in &document.annotations {
            write!(out, "{gap}{}=", shorten(key))?;
            match value {
                Value::String(text) => write!(out, "{}", quote(text))?,
                other => write!(out, "{}", shorten(&other.to_string()))?,
            }
            gap = " ";
        }
        out.write_char('}')?;
    }
    writeln!(out)
}

fn exceptions(
    out: &mut impl Write,
    node: Node<'_>,
    document: &Document,
    levels: &[bool],
) -> fmt::Result {
    let bar = if node.children().len() > 0 {
        "│ ! "
    } else {
        "  ! "
    };
    let mut expected = None;
    for exception in document.exceptions() {
        indent(out, levels)?;
        out.write_str(bar)?;
        if expected.is_some_and(|id: &str| exception.id.eq_ignore_ascii_case(id)) {
            out.write_str("caused by ")?;
        }
        expected = exception.cause.as_deref();
        self::exception(out, exception)?;
    }
    let elsewhere = match &document.cause {
        Some(Cause::Id(id)) => Some(id.as_str()),
        // Node's way to say the same.
        Some(Cause::Exceptions(cause)) => cause.other.get("id").and_then(Value::as_str),
        _ => None,
    };
    if let Some(id) = elsewhere {
        indent(out, levels)?;
        writeln!(out, "{bar}exception {}, recorded elsewhere", shorten(id))?;
    }
    Ok(())
}

fn exception(out: &mut impl Write, exception: &Exception) -> fmt::Result {
    if exception.remote {
        out.write_str("remote ")?;
    }
    match (&exception.kind, &exception.message) {
        (Some(kind), Some(message)) => writeln!(out, "{}: {}", shorten(kind), shorten(message)),
        (Some(text), None) | (None, Some(text)) => writeln!(out, "{}", shorten(text)),
        (None, None) => writeln!(out, "exception {}", shorten(&exception.id)),
    }
}

/// Seconds, in the unit that reads best. Epoch seconds as floats are exact to
/// about a quarter of a microsecond, so nothing finer is shown.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = (self.0 * 1e6).round();
        match micros.abs() {
            ..1e3 => write!(f, "{} µs", micros as i64),
            ..1e6 => write!(f, "{:.1} ms", micros / 1e3),
            _ => write!(f, "{:.2} s", micros / 1e6),
        }
    }
}

const DIM: &str = "2";
const MAGENTA: &str = "35";
const RED: &str = "31";
const YELLOW: &str = "33";

const MAX_INDENT: usize = 40;
