//! Requests that lie, through the layer of a server.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};
use xray_core::{Always, Emitter, Loss, Piece, Recorder, TRACE_HEADER};
use xray_tests::balance;
use xray_tower::XRayLayer;

use crate::{Fault, process};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "header-lines",
        test: "T-21",
        what: "a request with so many lines of trace header of 8 kB each: it takes no longer than one with as many lines of another, and nothing of them is kept",
        amount: 10_000,
        unit: "lines",
        minutes: 2,
        run: header_lines,
    },
    Fault {
        name: "host-names",
        test: "T-27",
        what: "requests for different hosts, each of which may name its segment: there are a hundred names, and memory does not grow",
        amount: 1_000_000,
        unit: "hosts",
        minutes: 5,
        run: host_names,
    },
];

type Plain = Empty<Bytes>;

async fn hello(_: Request<Plain>) -> Result<Response<Plain>, Infallible> {
    Ok(Response::new(Plain::new()))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn recorder(emitter: impl Emitter) -> Recorder {
    let builder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always);
    builder.emitter(emitter).build().expect("no thread")
}

/// Keeps the names of segments, and the longest document.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<(BTreeSet<String>, usize)>>);

impl Emitter for Names {
    fn emit(&self, piece: Piece) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for document in piece.to_documents() {
            found.0.insert(document.name);
        }
        piece.send_documents(64_000, |json| {
            found.1 = found.1.max(json.len());
            Ok::<(), Loss>(())
        });
    }
}

const FIRST: &str = "Root=1-66f2a1c0-0123456789abcdef01234567;Sampled=1";

/// How long the layer takes until its handler begins, for a request with a
/// trace header and so many lines more of `name`; and the longest document.
fn with_lines(name: &str, lines: u64) -> (Duration, usize) {
    let names = Names::default();
    let recorder = recorder(names.clone());
    let mut service = XRayLayer::new(recorder.clone()).layer(service_fn(hello));
    let runtime = runtime();
    let long = format!("Lineage={};Root=1-0-0", "x".repeat(8_000));
    let build = |lines| {
        let mut request = Request::get("http://shop.example/").header(TRACE_HEADER, FIRST);
        for _ in 0..lines {
            request = request.header(name, &long);
        }
        request.body(Plain::new()).expect("a request")
    };
    let mut times = Vec::new();
    for _ in 0..9 {
        // Building 80 MB leaves nothing of the layer in the caches.
        let (request, usual) = (build(lines), build(0));
        drop(runtime.block_on(service.call(usual)));
        let begun = Instant::now();
        let future = service.call(request);
        times.push(begun.elapsed());
        let response = runtime.block_on(future).expect("infallible");
        let answered = &response.headers()[TRACE_HEADER];
        assert_eq!(answered, "Root=1-66f2a1c0-0123456789abcdef01234567");
    }
    balance(&recorder);
    assert_eq!(recorder.documents().sent, 18);
    times.sort_unstable();
    let longest = names.0.lock().unwrap_or_else(PoisonError::into_inner).1;
    (times[times.len() / 2], longest)
}

fn header_lines(lines: u64) -> String {
    let (one, short) = with_lines(TRACE_HEADER, 0);
    let (others, _) = with_lines("x-other", lines);
    let (many, long) = with_lines(TRACE_HEADER, lines);
    let bound = Duration::from_micros(10);
    assert!(
        many <= bound,
        "{many:?} for {lines} lines, {others:?} for others, {one:?} for one"
    );
    assert!(
        long <= short,
        "{long} bytes of document, {short} for one line"
    );
    format!(
        "{lines} lines of 8 kB: {many:?} a request (as many of another header: {others:?}, one line: {one:?}), documents of at most {long} bytes"
    )
}

fn host_names(hosts: u64) -> String {
    let names = Names::default();
    let recorder = recorder(names.clone());
    let layer = XRayLayer::new(recorder.clone()).name_from_host(["*"]);
    let mut service = layer.layer(service_fn(hello));
    let runtime = runtime();
    let mut early = 0;
    for at in 0..hosts {
        let request = Request::get("/").header("host", format!("h{at}.example"));
        let request = request.body(Plain::new()).expect("a request");
        let response = runtime.block_on(service.call(request)).expect("infallible");
        drop(response);
        if at == hosts / 10 {
            early = process::status("VmRSS");
        }
    }
    balance(&recorder);
    assert_eq!(recorder.documents().sent, hosts);
    let names = names.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(names.0.len(), 101, "a hundred, and the service's own");
    let grown = process::status("VmRSS").saturating_sub(early);
    assert!(grown <= 1_024, "{grown} kB more than after a tenth");
    format!(
        "{hosts} hosts, {} names, {grown} kB more than after a tenth of them",
        names.0.len()
    )
}
