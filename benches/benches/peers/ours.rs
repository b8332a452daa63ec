//! This workspace's core.

use std::hint::black_box;
use std::net::UdpSocket;
use std::time::Duration;

use xray_core::{
    Always, Decision, LocalRules, Never, Pace, Recorder, RequestFacts, Rule, Sampler,
    SamplingRequest, TraceHeader,
};

use crate::measure::{self, Figures};
use crate::sink::Sink;
use crate::work::{Peer, SEGMENT, SUBSEGMENT, values};

/// As it comes, but that it samples everything, and is not held to the pace of
/// a receiver's buffer where it is to send as fast as it can.
pub(crate) struct Ours {
    recorder: Recorder,
    inline: bool,
}

impl Ours {
    pub(crate) fn on_its_thread(sink: &Sink, pace: Pace) -> Self {
        let builder = Recorder::builder("shop").ignore_environment();
        let builder = builder.sampler(Always).daemon_address(sink.address);
        let recorder = builder.pace(pace).build();
        Self {
            recorder: recorder.expect("every setting can be used"),
            inline: false,
        }
    }

    pub(crate) fn inline(sink: &Sink) -> Self {
        let builder = Recorder::builder("shop").ignore_environment();
        let builder = builder.sampler(Always).daemon_address(sink.address);
        let recorder = builder.send_inline().build();
        Self {
            recorder: recorder.expect("every setting can be used"),
            inline: true,
        }
    }
}

impl Peer for Ours {
    fn trace(&self, round: u32) {
        trace(&self.recorder, round);
    }

    fn waiting(&self, _: u64) -> u64 {
        if self.inline {
            return 0;
        }
        self.recorder.documents().queued
    }

    /// Its queue holds 4,096; its thread is awake from the 32nd on.
    fn room(&self) -> u64 {
        ROOM
    }

    fn flush(&self) {
        self.recorder.flush(Duration::from_secs(30)).wait();
    }

    fn sent(&self) -> Option<u64> {
        Some(self.recorder.documents().sent)
    }
}

fn trace(recorder: &Recorder, round: u32) {
    let segment = recorder.begin_segment(SEGMENT);
    for values in values(round) {
        let child = segment.begin_subsegment(SUBSEGMENT);
        child.annotate("tenant", values.tenant);
        child.annotate("count", values.count);
        child.annotate("cached", values.cached);
    }
}

const ROOM: u64 = 160;

/// The same bytes and nothing but their sending, on the calling thread.
pub(crate) struct BareSend {
    socket: UdpSocket,
    datagrams: [Vec<u8>; 2],
}

impl BareSend {
    pub(crate) fn new(sink: &Sink) -> Self {
        let (recorder, capture) = Recorder::capture("shop");
        let header = b"{\"format\":\"json\",\"version\":1}\n".as_slice();
        let datagrams = [0, 1].map(|round| {
            capture.clear();
            trace(&recorder, round);
            [header, &capture.json()[0]].concat()
        });
        Self {
            socket: sink.sender().expect("loopback has a free port"),
            datagrams,
        }
    }
}

impl Peer for BareSend {
    fn trace(&self, round: u32) {
        let _ = self.socket.send(&self.datagrams[round as usize % 2]);
    }

    fn waiting(&self, _: u64) -> u64 {
        0
    }

    fn flush(&self) {}

    fn sent(&self) -> Option<u64> {
        None
    }
}

/// A trace of any number of subsegments.
pub(crate) struct Long {
    ours: Ours,
    subsegments: u32,
}

impl Long {
    pub(crate) fn new(sink: &Sink, subsegments: u32) -> Self {
        Self {
            ours: Ours::on_its_thread(sink, Pace::unlimited()),
            subsegments,
        }
    }
}

impl Peer for Long {
    fn trace(&self, round: u32) {
        let segment = self.ours.recorder.begin_segment(SEGMENT);
        for _ in 0..self.subsegments {
            let Some(values) = values(round).next() else {
                return;
            };
            let child = segment.begin_subsegment(SUBSEGMENT);
            child.annotate("tenant", values.tenant);
            child.annotate("count", values.count);
            child.annotate("cached", values.cached);
        }
    }

    /// In traces of ten.
    fn waiting(&self, begun: u64) -> u64 {
        self.ours.waiting(begun) * u64::from(self.subsegments.min(1_000)) / 10
    }

    fn room(&self) -> u64 {
        ROOM
    }

    fn flush(&self) {
        self.ours.flush();
    }

    fn sent(&self) -> Option<u64> {
        None
    }
}

/// Not sampled, a fresh trace id, the header of the next call written out.
pub(crate) fn unsampled(calls: u32, subsegments: bool) -> Figures {
    let builder = Recorder::builder("shop").ignore_environment();
    let recorder = builder.sampler(Never).build();
    let recorder = recorder.expect("every setting can be used");
    measure::each(calls, |round| {
        let segment = recorder.begin_segment(SEGMENT);
        if subsegments {
            for values in values(round) {
                let child = segment.begin_subsegment(SUBSEGMENT);
                child.annotate("tenant", values.tenant);
                child.annotate("count", values.count);
                child.annotate("cached", values.cached);
            }
        }
        black_box(segment.header().to_text());
    })
}

pub(crate) fn parse(calls: u32) -> Figures {
    measure::each(calls, |_| {
        let _ = black_box(TraceHeader::parse(black_box(crate::HEADER)));
    })
}

/// 25 rules of which the last one decides.
#[derive(Clone, Copy)]
pub(crate) enum Rules {
    /// A method that differs: nothing of host or path is read.
    OtherMethods,
    /// The rules of a service with 25 resources: a method, `/resource/*`.
    Prefixes,
    /// A host each, `*.tenant.example`, and `/api/*`.
    Hosts,
    /// Two stars, equal ends and no character that the path lacks, so that each
    /// is walked through in vain.
    Walks,
}

impl Rules {
    fn rule(self, number: usize) -> Rule {
        let last = number == RULES - 1;
        let rule = Rule::new().rate(0.0);
        match self {
            _ if last => rule.method("POST").path("/orders/*"),
            Self::OtherMethods => rule.method("DELETE").path(format!("/resource-{number}/*")),
            Self::Prefixes => rule.method("POST").path(format!("/resource-{number}/*")),
            Self::Hosts => {
                let rule = rule.host(format!("*.tenant-{number}.example"));
                rule.method("POST").path("/orders/*")
            }
            Self::Walks => {
                let letter = |at: usize| char::from(b"oders"[at % 5]);
                let (one, other) = (letter(number / 5), letter(number));
                rule.method("POST").path(format!("/*/{one}{other}*/items"))
            }
        }
    }
}

const RULES: usize = 25;

/// Asks the rules again and again, within one question of a recorder's.
#[derive(Debug)]
struct Repeat {
    rules: LocalRules,
    calls: u32,
    figures: std::sync::mpsc::SyncSender<Figures>,
}

impl Sampler for Repeat {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        let figures = measure::each(self.calls, |_| {
            black_box(self.rules.decide(black_box(request)));
        });
        let _ = self.figures.send(figures);
        Decision::unsampled()
    }
}

struct Request;

impl RequestFacts for Request {
    fn host(&self) -> Option<&str> {
        black_box(Some("eu.shop.example"))
    }

    fn method(&self) -> Option<&str> {
        black_box(Some("POST"))
    }

    fn path(&self) -> Option<&str> {
        black_box(Some("/orders/4711/items"))
    }
}

pub(crate) fn decide(calls: u32, rules: Rules) -> Figures {
    let local = (0..RULES).map(|number| rules.rule(number));
    let rules = local.fold(LocalRules::new(1, 0.05), LocalRules::rule);
    let (figures, found) = std::sync::mpsc::sync_channel(1);
    let sampler = Repeat {
        rules,
        calls,
        figures,
    };
    let builder = Recorder::builder("shop").ignore_environment();
    let recorder = builder.sampler(sampler).build();
    let recorder = recorder.expect("every setting can be used");
    drop(recorder.segment("shop").request(&Request).begin());
    found.try_recv().unwrap_or_default()
}
