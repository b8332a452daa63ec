//! tracing, bridged to the OpenTelemetry SDK and from there to X-Ray: how most
//! Rust services come to OpenTelemetry.

use std::collections::HashMap;
use std::hint::black_box;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_aws::trace::XrayPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::measure::{self, Figures};
use crate::opentelemetry_peer::{OpenTelemetry, never};
use crate::sink::Sink;
use crate::work::{Peer, Values, values};

pub(crate) struct Tracing(OpenTelemetry);

impl Tracing {
    pub(crate) fn flat(sink: &Sink) -> Self {
        let behind = OpenTelemetry::flat(sink);
        subscribe(&behind.provider);
        Self(behind)
    }
}

/// Without the values that the bridge would add of itself (thread, file and
/// line, busy and idle time, target), so that all rows carry the same.
fn subscribe(provider: &SdkTracerProvider) {
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("bench"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("set once in a process");
}

impl Peer for Tracing {
    fn trace(&self, round: u32) {
        let root = root();
        for values in values(round) {
            child(&root, values);
        }
    }

    fn waiting(&self, begun: u64) -> u64 {
        self.0.waiting(begun)
    }

    fn room(&self) -> u64 {
        self.0.room()
    }

    fn flush(&self) {
        self.0.flush();
    }

    fn sent(&self) -> Option<u64> {
        self.0.sent()
    }
}

fn root() -> Span {
    info_span!(parent: None, "checkout", otel.kind = "server")
}

fn child(root: &Span, values: Values) {
    drop(info_span!(
        parent: root,
        "load",
        tenant = values.tenant,
        count = values.count,
        cached = values.cached,
    ));
}

pub(crate) fn unsampled(calls: u32, subsegments: bool) -> Figures {
    subscribe(&never());
    let propagator = XrayPropagator::default();
    let mut headers = HashMap::new();
    let figures = measure::each(calls, |round| {
        let root = root();
        if subsegments {
            for values in values(round) {
                child(&root, values);
            }
        }
        propagator.inject_context(&root.context(), black_box(&mut headers));
    });
    assert_eq!(headers.len(), 1, "a header was written");
    figures
}
