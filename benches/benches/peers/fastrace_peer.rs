//! fastrace. Its spans carry text alone, so that integers and bools are
//! formatted by the caller; it has no X-Ray documents, and no exporter in the
//! crate: a `Reporter` gets the spans of many traces at once, on a thread.

use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrace::Span;
use fastrace::collector::{Config, Reporter, SpanContext, SpanId, SpanRecord, TraceId};
use serde::Serialize;

use crate::measure::{self, Figures, Rate};
use crate::sink::Sink;
use crate::work::{Peer, SEGMENT, SUBSEGMENT, Values, values};

pub(crate) struct Fastrace(Arc<AtomicU64>);

impl Fastrace {
    /// The reporter drops what it is given: nothing is serialised or sent.
    pub(crate) fn dropping(rate: Rate) -> Self {
        let reported = Arc::new(AtomicU64::new(0));
        let drop = Drop(reported.clone());
        fastrace::set_reporter(drop, interval(rate));
        Self(reported)
    }

    /// The reporter does what a user would write: each trace as JSON, in a
    /// datagram.
    pub(crate) fn sending(sink: &Sink, rate: Rate) -> Self {
        let reported = Arc::new(AtomicU64::new(0));
        let send = Send {
            socket: sink.sender().expect("loopback has a free port"),
            text: Vec::new(),
            reported: reported.clone(),
        };
        fastrace::set_reporter(send, interval(rate));
        Self(reported)
    }
}

/// By default it reports once a second, or sooner when a queue is half full,
/// which it may not be when a producer waits.
fn interval(rate: Rate) -> Config {
    match rate {
        Rate::Saturated => Config::default().report_interval(Duration::from_millis(5)),
        Rate::Paced => Config::default(),
    }
}

impl Peer for Fastrace {
    fn trace(&self, round: u32) {
        let root = Span::root(SEGMENT, SpanContext::random());
        for values in values(round) {
            child(&root, values);
        }
    }

    fn waiting(&self, begun: u64) -> u64 {
        begun.saturating_sub(self.0.load(Ordering::Relaxed))
    }

    /// Its queue for a thread holds 10,240 commands, some twelve a trace.
    fn room(&self) -> u64 {
        640
    }

    fn flush(&self) {
        fastrace::flush();
    }

    fn sent(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed))
    }
}

fn child(root: &Span, values: Values) {
    let _child = Span::enter_with_parent(SUBSEGMENT, root).with_properties(|| {
        [
            ("tenant", values.tenant.to_owned()),
            ("count", values.count.to_string()),
            ("cached", values.cached.to_string()),
        ]
    });
}

struct Drop(Arc<AtomicU64>);

impl Reporter for Drop {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        let roots = black_box(spans).iter().filter(|span| is_root(span)).count();
        self.0.fetch_add(roots as u64, Ordering::Relaxed);
    }
}

fn is_root(span: &SpanRecord) -> bool {
    span.parent_id == SpanId::default()
}

struct Send {
    socket: UdpSocket,
    text: Vec<u8>,
    reported: Arc<AtomicU64>,
}

impl Reporter for Send {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        for trace in spans.chunk_by(|one, next| one.trace_id == next.trace_id) {
            self.text.clear();
            let documents: Vec<Document<'_>> = trace.iter().map(Document::from).collect();
            if serde_json::to_writer(&mut self.text, &documents).is_ok()
                && self.socket.send(&self.text).is_ok()
            {
                self.reported.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    trace_id: TraceId,
    id: SpanId,
    parent_id: SpanId,
    name: &'a str,
    start_time: f64,
    end_time: f64,
    annotations: Annotations<'a>,
}

/// A map, from the pairs as they are.
struct Annotations<'a>(&'a SpanRecord);

impl Serialize for Annotations<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.properties.iter().map(|(key, value)| (key, value)))
    }
}

impl<'a> From<&'a SpanRecord> for Document<'a> {
    fn from(span: &'a SpanRecord) -> Self {
        Self {
            trace_id: span.trace_id,
            id: span.span_id,
            parent_id: span.parent_id,
            name: &span.name,
            start_time: span.begin_time_unix_ns as f64 / 1e9,
            end_time: (span.begin_time_unix_ns + span.duration_ns) as f64 / 1e9,
            annotations: Annotations(span),
        }
    }
}

/// The trace goes on by `traceparent`, the only header it writes.
pub(crate) fn unsampled(calls: u32, subsegments: bool) -> Figures {
    let _reporting = Fastrace::dropping(Rate::Paced);
    measure::each(calls, |round| {
        let context = SpanContext::random().sampled(false);
        let root = Span::root(SEGMENT, context);
        if subsegments {
            for values in values(round) {
                child(&root, values);
            }
        }
        black_box(context.encode_w3c_traceparent());
    })
}
