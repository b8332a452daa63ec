//! The OpenTelemetry SDK, with three ways out: X-Ray documents by
//! opentelemetry-aws, one for each span or nested; and OTLP, its own encoding.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_aws::trace::{XrayIdGenerator, XrayPropagator};
use opentelemetry_aws::xray_exporter::daemon_client::XrayDaemonClient;
use opentelemetry_aws::xray_exporter::{SegmentTranslator, XrayExporter};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
    SpanExporter,
};
use prost::Message;

use crate::measure::{self, Figures};
use crate::sink::Sink;
use crate::work::{Peer, SEGMENT, SPANS, SUBSEGMENT, Values, values};

/// The batch processor as it comes, which exports on a thread of its own.
pub(crate) struct OpenTelemetry {
    pub(crate) provider: SdkTracerProvider,
    tracer: SdkTracer,
    exported: Arc<AtomicU64>,
}

impl OpenTelemetry {
    /// One document for each span: what the exporter does unless told otherwise.
    pub(crate) fn flat(sink: &Sink) -> Self {
        Self::xray(sink, translator())
    }

    /// Subsegments within their segment, where one batch has both; each names
    /// those that ended before it.
    pub(crate) fn nested(sink: &Sink) -> Self {
        Self::xray(sink, translator().always_nest_subsegments())
    }

    fn xray(sink: &Sink, translator: SegmentTranslator) -> Self {
        let client = XrayDaemonClient::new(sink.address).expect("loopback has a free port");
        let exporter = XrayExporter::new(client).with_translator(translator);
        Self::new(exporter, None)
    }

    /// As the OTLP exporters encode it, but in a datagram for each batch, with
    /// no gRPC or HTTP and no answer. Batches are the half of the usual 512
    /// spans, so that they fit.
    pub(crate) fn otlp(sink: &Sink) -> Self {
        let socket = sink.sender().expect("loopback has a free port");
        let resource = ResourceAttributesWithSchema::default();
        Self::new(Otlp { socket, resource }, Some(256))
    }

    fn new(exporter: impl SpanExporter + 'static, batch: Option<usize>) -> Self {
        let exported = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: exporter,
            exported: exported.clone(),
        };
        let mut config = BatchConfigBuilder::default();
        if let Some(spans) = batch {
            config = config.with_max_export_batch_size(spans);
        }
        let processor = BatchSpanProcessor::builder(counted);
        let processor = processor.with_batch_config(config.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(XrayIdGenerator::default())
            .with_resource(resource())
            .with_span_processor(processor)
            .build();
        Self {
            tracer: provider.tracer("bench"),
            provider,
            exported,
        }
    }
}

/// The three values are annotations, as with us.
fn translator() -> SegmentTranslator {
    let keys = ["tenant", "count", "cached"].map(str::to_owned);
    SegmentTranslator::new().with_indexed_attrs(keys)
}

fn resource() -> Resource {
    Resource::builder_empty().with_service_name("shop").build()
}

impl Peer for OpenTelemetry {
    fn trace(&self, round: u32) {
        trace(&self.tracer, round);
    }

    fn waiting(&self, begun: u64) -> u64 {
        let exported = self.exported.load(Ordering::Relaxed);
        (begun * SPANS).saturating_sub(exported) / SPANS
    }

    /// Its queue holds 2,048 spans, and is sent when there are 512.
    fn room(&self) -> u64 {
        160
    }

    fn flush(&self) {
        let _ = self.provider.force_flush();
    }

    fn sent(&self) -> Option<u64> {
        Some(self.exported.load(Ordering::Relaxed) / SPANS)
    }
}

fn trace(tracer: &SdkTracer, round: u32) {
    let root = tracer.span_builder(SEGMENT).with_kind(SpanKind::Server);
    let context = Context::new().with_span(root.start_with_context(tracer, &Context::new()));
    for values in values(round) {
        child(tracer, values, &context);
    }
}

fn child(tracer: &SdkTracer, values: Values, context: &Context) {
    let child = tracer.span_builder(SUBSEGMENT).with_attributes([
        KeyValue::new("tenant", values.tenant.to_owned()),
        KeyValue::new("count", values.count),
        KeyValue::new("cached", values.cached),
    ]);
    drop(child.start_with_context(tracer, context));
}

/// Counts spans whose export succeeded; after that each of them was sent.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    exported: Arc<AtomicU64>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        self.inner.export(batch).await?;
        self.exported.fetch_add(spans, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[derive(Debug)]
struct Otlp {
    socket: UdpSocket,
    resource: ResourceAttributesWithSchema,
}

impl SpanExporter for Otlp {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let sent = self.socket.send(&request.encode_to_vec());
        let failed = |error: std::io::Error| OTelSdkError::InternalFailure(error.to_string());
        sent.map(drop).map_err(failed)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// A provider that samples nothing.
pub(crate) fn never() -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_id_generator(XrayIdGenerator::default())
        .with_sampler(Sampler::AlwaysOff)
        .build()
}

/// With X-Ray's header, by opentelemetry-aws.
pub(crate) fn unsampled(calls: u32, subsegments: bool) -> Figures {
    let tracer = never().tracer("bench");
    let propagator = XrayPropagator::default();
    let mut headers = HashMap::new();
    let figures = measure::each(calls, |round| {
        let root = tracer.span_builder(SEGMENT).with_kind(SpanKind::Server);
        let context = Context::new().with_span(root.start_with_context(&tracer, &Context::new()));
        if subsegments {
            for values in values(round) {
                child(&tracer, values, &context);
            }
        }
        propagator.inject_context(&context, black_box(&mut headers));
    });
    assert_eq!(headers.len(), 1, "a header was written");
    figures
}

pub(crate) fn parse(calls: u32) -> Figures {
    let propagator = XrayPropagator::default();
    let name = "x-amzn-trace-id".to_owned();
    let headers = HashMap::from([(name, crate::HEADER.to_owned())]);
    let empty = Context::new();
    measure::each(calls, |_| {
        black_box(propagator.extract_with_context(&empty, black_box(&headers)));
    })
}
