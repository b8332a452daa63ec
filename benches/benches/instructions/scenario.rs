//! Small fixed pieces of work, each done a given number of times.

use std::hint::black_box;
use std::net::UdpSocket;

use xray_core::{
    Always, Decision, Emitter, LocalRules, Never, Piece, Recorder, RecorderBuilder, RequestFacts,
    Rule, Sampler, SamplingRequest, Segment, SegmentId, TraceHeader,
};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How often it is done for a count that does not depend on the start.
    pub(crate) times: u32,
    pub(crate) work: fn(u32),
}

pub(crate) const ALL: [Scenario; 9] = [
    scenario("unsampled-request", 2_000, unsampled_request),
    scenario("trace-recorded", 500, trace_recorded),
    scenario("trace-sent-inline", 500, trace_sent_inline),
    scenario("header-parsed", 2_000, header_parsed),
    scenario("header-written", 2_000, header_written),
    scenario("25-rules-asked", 2_000, rules_asked),
    scenario("metadata-recorded", 500, metadata_recorded),
    scenario("metadata-recorded-and-encoded", 500, metadata_encoded),
    scenario("1000-subsegments-sent-inline", 20, long_trace_sent_inline),
];

const fn scenario(name: &'static str, times: u32, work: fn(u32)) -> Scenario {
    Scenario { name, times, work }
}

/// A fresh trace id, and the header of the next call.
fn unsampled_request(times: u32) {
    let recorder = build(builder().sampler(Never));
    for _ in 0..times {
        let segment = recorder.begin_segment("checkout");
        black_box(segment.header().to_text());
    }
}

/// A segment with nine subsegments of three values, thrown away when finished.
fn trace_recorded(times: u32) {
    let recorder = build(builder().emitter(Forget));
    for _ in 0..times {
        trace(&recorder.begin_segment("checkout"), 9);
    }
}

fn trace_sent_inline(times: u32) {
    sent_inline(times, 9);
}

fn long_trace_sent_inline(times: u32) {
    sent_inline(times, 1_000);
}

/// To a socket that nobody reads.
fn sent_inline(times: u32, subsegments: i64) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    let recorder = build(builder().daemon_address(address).send_inline());
    for _ in 0..times {
        trace(&recorder.begin_segment("checkout"), subsegments);
    }
}

fn trace(segment: &Segment, subsegments: i64) {
    for number in 0..subsegments {
        let child = segment.begin_subsegment("load");
        child.annotate("tenant", black_box("t-42"));
        child.annotate("count", black_box(number % 10));
        child.annotate("cached", black_box(number % 2 == 0));
    }
}

fn header_parsed(times: u32) {
    for _ in 0..times {
        let _ = black_box(TraceHeader::parse(black_box(HEADER)));
    }
}

fn header_written(times: u32) {
    let header = TraceHeader::parse(HEADER).with_parent(SegmentId::new(0x1122_3344_5566_7788));
    for _ in 0..times {
        black_box(black_box(&header).to_text());
    }
}

/// The last one matches.
fn rules_asked(times: u32) {
    let rule = |path: String| Rule::new().method("POST").path(path);
    let others = (0..24).map(|number| rule(format!("/resource-{number}/*")));
    let rules = others.chain([rule("/orders/*".to_owned())]);
    let rules = rules.fold(LocalRules::new(1, 0.05), LocalRules::rule);
    let recorder = build(builder().sampler(Repeat { rules, times }));
    drop(recorder.segment("checkout").request(&Request).begin());
}

/// A segment with one subsegment, which has an object of four members.
fn metadata_recorded(times: u32) {
    with_metadata(times, &build(builder().emitter(Forget)));
}

fn metadata_encoded(times: u32) {
    with_metadata(times, &build(builder().emitter(Encode)));
}

fn with_metadata(times: u32, recorder: &Recorder) {
    let cart = serde_json::json!({
        "id": "c-4711",
        "items": [{ "sku": "b-1", "count": 2 }, { "sku": "b-2", "count": 1 }],
        "total": 49.9,
        "gift": false,
    });
    for _ in 0..times {
        let segment = recorder.begin_segment("checkout");
        let child = segment.begin_subsegment("load");
        child.metadata("cart", black_box(&cart));
    }
}

fn builder() -> RecorderBuilder {
    let builder = Recorder::builder("shop").ignore_environment();
    builder.sampler(Always)
}

fn build(builder: RecorderBuilder) -> Recorder {
    builder.build().expect("every setting can be used")
}

const HEADER: &str = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";

/// Throws pieces away where they are.
#[derive(Debug)]
struct Forget;

impl Emitter for Forget {
    fn emit(&self, piece: Piece) {
        drop(piece);
    }
}

/// Throws documents away.
#[derive(Debug)]
struct Encode;

impl Emitter for Encode {
    fn emit(&self, piece: Piece) {
        piece.send_documents(64_000, |json| {
            black_box(json);
            Ok(())
        });
    }
}

/// Asks the rules again and again, within one question of a recorder's.
#[derive(Debug)]
struct Repeat {
    rules: LocalRules,
    times: u32,
}

impl Sampler for Repeat {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        for _ in 0..self.times {
            black_box(self.rules.decide(black_box(request)));
        }
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
