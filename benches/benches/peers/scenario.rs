//! What is measured, by name.

use xray_core::Pace;

use crate::fastrace_peer::{self, Fastrace};
use crate::floor;
use crate::measure::{self, Figures, Rate};
use crate::opentelemetry_peer::{self, OpenTelemetry};
use crate::ours::{self, BareSend, Long, Ours, Rules};
use crate::sink::Sink;
use crate::tracing_peer::{self, Tracing};
use crate::work::Peer;
use crate::xray_lite_peer::{self, XrayLite};

/// A row, and how it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// What it is called on the way to the process that measures it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The work, at both rates.
    Sending(fn(&Sink, Rate) -> Box<dyn Peer>),
    /// The work at the saturated rate, from two threads at once.
    TwoProducers(fn(&Sink, Rate) -> Box<dyn Peer>),
    /// Segment and header, or also the nine subsegments.
    Unsampled(fn(u32, bool) -> Figures),
    /// What no tracer can do without, so often a trace.
    Floor(fn(u32) -> Figures),
    Parse(fn(u32) -> Figures),
    Decide(Rules),
    Subsegments(u32),
}

impl Scenario {
    /// What is measured apart from each other, each in a process.
    pub(crate) fn parts(self) -> &'static [&'static str] {
        match self.kind {
            Kind::Sending(_) => &[SATURATED, PACED],
            Kind::Unsampled(_) => &[ROOT, TREE],
            _ => &[WHOLE],
        }
    }

    pub(crate) fn measure(self, part: &str, quick: bool) -> Figures {
        let calls = if quick { 30_000 } else { 150_000 };
        match self.kind {
            Kind::Sending(peer) => {
                let rate = match part {
                    PACED => Rate::Paced,
                    _ => Rate::Saturated,
                };
                sending(peer, rate, quick, 1)
            }
            Kind::TwoProducers(peer) => sending(peer, Rate::Saturated, quick, 2),
            Kind::Unsampled(unsampled) => unsampled(calls / 2, part == TREE),
            Kind::Floor(one) | Kind::Parse(one) => one(calls),
            Kind::Decide(rules) => ours::decide(calls, rules),
            Kind::Subsegments(subsegments) => {
                let sink = Sink::new().expect("loopback has a free port");
                let peer = Long::new(&sink, subsegments);
                let traces = (calls / subsegments).max(8);
                measure::sending(&peer, &sink, Rate::Saturated, traces, 1)
            }
        }
    }
}

fn sending(
    peer: fn(&Sink, Rate) -> Box<dyn Peer>,
    rate: Rate,
    quick: bool,
    producers: u32,
) -> Figures {
    let sink = Sink::new().expect("loopback has a free port");
    let traces = match (rate, quick) {
        (Rate::Saturated, false) => 4_096,
        (Rate::Saturated, true) => 2_048,
        (Rate::Paced, false) => 512,
        (Rate::Paced, true) => 128,
    };
    let peer = peer(&sink, rate);
    measure::sending(&*peer, &sink, rate, traces, producers)
}

/// Held to no pace where it is to send as fast as it can.
fn on_its_thread(sink: &Sink, rate: Rate) -> Box<dyn Peer> {
    let pace = match rate {
        Rate::Saturated => Pace::unlimited(),
        Rate::Paced => Pace::default(),
    };
    Box::new(Ours::on_its_thread(sink, pace))
}

pub(crate) const SATURATED: &str = "saturated";
pub(crate) const PACED: &str = "paced";
pub(crate) const ROOT: &str = "root";
pub(crate) const TREE: &str = "tree";
pub(crate) const WHOLE: &str = "whole";

const fn scenario(name: &'static str, title: &'static str, kind: Kind) -> Scenario {
    Scenario { name, title, kind }
}

pub(crate) const ALL: [Scenario; 33] = [
    scenario("ours", "**xray-core**", Kind::Sending(on_its_thread)),
    scenario(
        "inline",
        "**xray-core**, `send_inline`",
        Kind::Sending(|sink, _| Box::new(Ours::inline(sink))),
    ),
    scenario(
        "bare",
        "the bare send of the bytes of xray-core",
        Kind::Sending(|sink, _| Box::new(BareSend::new(sink))),
    ),
    scenario(
        "fastrace",
        "fastrace, dropped by its reporter: neither serialised nor sent",
        Kind::Sending(|_, rate| Box::new(Fastrace::dropping(rate))),
    ),
    scenario(
        "fastrace-json",
        "fastrace, a JSON datagram a trace by serde_json",
        Kind::Sending(|sink, rate| Box::new(Fastrace::sending(sink, rate))),
    ),
    scenario(
        "otel-flat",
        "OpenTelemetry, opentelemetry-aws, a document a span",
        Kind::Sending(|sink, _| Box::new(OpenTelemetry::flat(sink))),
    ),
    scenario(
        "otel-nested",
        "OpenTelemetry, opentelemetry-aws, nested",
        Kind::Sending(|sink, _| Box::new(OpenTelemetry::nested(sink))),
    ),
    scenario(
        "otel-otlp",
        "OpenTelemetry, OTLP in a datagram for 256 spans, no gRPC",
        Kind::Sending(|sink, _| Box::new(OpenTelemetry::otlp(sink))),
    ),
    scenario(
        "tracing",
        "tracing-opentelemetry, opentelemetry-aws, a document a span",
        Kind::Sending(|sink, _| Box::new(Tracing::flat(sink))),
    ),
    scenario(
        "xray-lite",
        "xray-lite, nine subsegments twice, no segment",
        Kind::Sending(|sink, _| Box::new(XrayLite::new(sink))),
    ),
    scenario("ours-2", "**xray-core**", Kind::TwoProducers(on_its_thread)),
    scenario(
        "fastrace-2",
        "fastrace, dropped by its reporter",
        Kind::TwoProducers(|_, rate| Box::new(Fastrace::dropping(rate))),
    ),
    scenario(
        "otel-nested-2",
        "OpenTelemetry, opentelemetry-aws, nested",
        Kind::TwoProducers(|sink, _| Box::new(OpenTelemetry::nested(sink))),
    ),
    scenario(
        "ours-off",
        "**xray-core**",
        Kind::Unsampled(ours::unsampled),
    ),
    scenario(
        "fastrace-off",
        "fastrace, `sampled(false)`, `traceparent`",
        Kind::Unsampled(fastrace_peer::unsampled),
    ),
    scenario(
        "otel-off",
        "OpenTelemetry, `AlwaysOff`, opentelemetry-aws's header",
        Kind::Unsampled(opentelemetry_peer::unsampled),
    ),
    scenario(
        "tracing-off",
        "tracing-opentelemetry, the same",
        Kind::Unsampled(tracing_peer::unsampled),
    ),
    scenario(
        "clock",
        "a reading of the clock, 21 a trace",
        Kind::Floor(floor::clock),
    ),
    scenario(
        "lock",
        "a lock nobody else wants, 47 a trace",
        Kind::Floor(floor::lock),
    ),
    scenario(
        "process-id",
        "the process id, once a trace",
        Kind::Floor(floor::process_id),
    ),
    scenario(
        "socket-error",
        "`SO_ERROR`, once a call that sends",
        Kind::Floor(floor::socket_error),
    ),
    scenario(
        "sent-together",
        "a datagram of 2.2 kB, where one call sends 19 of them",
        Kind::Floor(floor::sent_together),
    ),
    scenario("ours-parse", "**xray-core**", Kind::Parse(ours::parse)),
    scenario(
        "otel-parse",
        "opentelemetry-aws, its propagator",
        Kind::Parse(opentelemetry_peer::parse),
    ),
    scenario(
        "lite-parse",
        "xray-lite",
        Kind::Parse(xray_lite_peer::parse),
    ),
    scenario(
        "rules-methods",
        "another method: `DELETE`, `/resource-7/*` (best)",
        Kind::Decide(Rules::OtherMethods),
    ),
    scenario(
        "rules-prefixes",
        "a path each: `POST`, `/resource-7/*` (typical)",
        Kind::Decide(Rules::Prefixes),
    ),
    scenario(
        "rules-hosts",
        "a host each: `*.tenant-7.example`, `POST`, `/orders/*`",
        Kind::Decide(Rules::Hosts),
    ),
    scenario(
        "rules-walks",
        "two stars, equal ends and letters: `POST`, `/*/de*/items` (worst)",
        Kind::Decide(Rules::Walks),
    ),
    scenario("10", "10", Kind::Subsegments(10)),
    scenario("100", "100", Kind::Subsegments(100)),
    scenario("1000", "1,000", Kind::Subsegments(1_000)),
    scenario("10000", "10,000", Kind::Subsegments(10_000)),
];
