//! One trace, a segment with nine subsegments of three values each, finished,
//! serialised and sent over loopback: ours, fastrace, and the bare send of the
//! same bytes, in one run. `cargo bench -p xray-benches --bench peers`
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};
use xray_core::{Always, Emitter, Never, Pace, Piece, Recorder, TraceHeader};

fn main() {
    let sink = Sink::start();
    println!("{:<44} {:>10} {:>10}", "", "caller ns", "process ns");
    for _ in 0..2 {
        unsampled();
        record_only();
        ours_sent(&sink);
        bare_send(&sink);
        fastrace_reported();
    }
}

const TRACES: u32 = 100_000;
const WARM_UP: u32 = 10_000;

/// Runs `work` often, and prints what one run costs.
fn measure(name: &str, mut work: impl FnMut(u32), after: impl FnOnce()) {
    for round in 0..WARM_UP {
        work(round);
    }
    let (wall, thread, process) = (Instant::now(), ThreadTime::now(), ProcessTime::now());
    for round in 0..TRACES {
        work(round);
    }
    let thread = thread.elapsed();
    after();
    let process = process.elapsed();
    let each = |time: Duration| time.as_nanos() / u128::from(TRACES);
    println!(
        "{name:<44} {:>10} {:>10}   wall {} ns",
        each(thread),
        each(process),
        each(wall.elapsed())
    );
}

/// Traces in the measurement at a usual rate, one a millisecond.
const PACED: u32 = 2_000;

/// Runs `work` a thousand times a second: caches are cold, threads asleep. What
/// the loop itself costs is measured the same way and taken off.
fn measure_paced(name: &str, mut work: impl FnMut(u32), after: impl FnOnce()) {
    let run = |work: &mut dyn FnMut(u32)| {
        let (mut caller, process) = (Duration::ZERO, ProcessTime::now());
        for round in 0..PACED {
            std::thread::sleep(Duration::from_millis(1));
            let thread = ThreadTime::now();
            work(round);
            caller += thread.elapsed();
        }
        (caller, process)
    };
    let (bare_caller, bare_process) = run(&mut |_| ());
    let bare_process = bare_process.elapsed();
    let (caller, process) = run(&mut work);
    after();
    let process = process.elapsed();
    let each =
        |time: Duration, bare: Duration| time.saturating_sub(bare).as_nanos() / u128::from(PACED);
    println!(
        "{name:<44} {:>10} {:>10}   at 1,000 a second",
        each(caller, bare_caller),
        each(process, bare_process),
    );
}

/// Values that are known at run time only.
fn tenant(round: u32) -> &'static str {
    ["t-42", "tenant-with-a-longer-name"][black_box(round as usize % 2)]
}

fn trace(recorder: &Recorder, round: u32) {
    let segment = recorder.begin_segment("checkout");
    for number in 0..9_i64 {
        let child = segment.begin_subsegment("load");
        child.annotate("tenant", tenant(round));
        child.annotate("count", black_box(number));
        child.annotate("cached", black_box(number % 2 == 0));
    }
}

/// Throws pieces away where they are.
#[derive(Debug)]
struct Forget;

impl Emitter for Forget {
    fn emit(&self, piece: Piece) {
        drop(piece);
    }
}

fn record_only() {
    let builder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always);
    let Ok(recorder) = builder.emitter(Forget).build() else {
        return;
    };
    measure(
        "ours, recorded and dropped",
        |round| trace(&recorder, round),
        || {},
    );
}

fn ours_sent(sink: &Sink) {
    let recorder = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always)
        .daemon_address(sink.address)
        .pace(Pace::unlimited())
        .build();
    let Ok(recorder) = recorder else { return };
    measure(
        "ours, sent, as fast as it goes out",
        |round| {
            trace(&recorder, round);
            // Recording is faster than any socket: let it catch up, so that
            // what is measured is work and not a growing queue.
            if round % 64 == 0 {
                while recorder.documents().queued > 128 {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        },
        || {
            recorder.flush(Duration::from_secs(30)).wait();
        },
    );
    println!("    {}", recorder.documents().to_json());
    measure_paced(
        "ours, sent",
        |round| trace(&recorder, round),
        || {
            recorder.flush(Duration::from_secs(30)).wait();
        },
    );
    let Ok(recorder) = Recorder::builder("shop")
        .ignore_environment()
        .sampler(Always)
        .daemon_address(sink.address)
        .send_inline()
        .build()
    else {
        return;
    };
    measure("ours, sent inline", |round| trace(&recorder, round), || {});
}

fn unsampled() {
    let Ok(recorder) = Recorder::builder("shop")
        .ignore_environment()
        .emitter(Forget)
        .sampler(Never)
        .build()
    else {
        return;
    };
    measure(
        "ours, unsampled, fresh root, header written",
        |_| {
            let segment = recorder.begin_segment("checkout");
            black_box(segment.header().to_text());
        },
        || {},
    );
    let header = TraceHeader::parse(
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=0",
    );
    measure(
        "ours, unsampled by header, 9 subsegments",
        |round| {
            let segment = recorder.segment("checkout").header(&header).begin();
            for number in 0..9_i64 {
                let child = segment.begin_subsegment("load");
                child.annotate("tenant", tenant(round));
                child.annotate("count", black_box(number));
            }
        },
        || {},
    );
    measure(
        "header parsed",
        |_| {
            let text = "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1";
            let _ = black_box(TraceHeader::parse(black_box(text)));
        },
        || {},
    );
}

/// A socket that is read as fast as it goes.
struct Sink {
    address: std::net::SocketAddr,
    socket: UdpSocket,
}

impl Sink {
    fn start() -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let (Ok(socket), Ok(sender)) = (bind(), bind()) else {
            std::process::exit(1);
        };
        let Ok(address) = socket.local_addr() else {
            std::process::exit(1);
        };
        Self {
            address,
            socket: sender,
        }
        .reading(socket)
    }

    /// Not read at all: the kernel drops what does not fit, and no reader's CPU
    /// is counted to those who send.
    fn reading(self, socket: UdpSocket) -> Self {
        std::mem::forget(socket);
        self
    }
}

fn bare_send(sink: &Sink) {
    let (recorder, capture) = Recorder::capture("shop");
    trace(&recorder, 0);
    let datagram = [
        b"{\"format\":\"json\",\"version\":1}\n".as_slice(),
        &capture.json()[0],
    ]
    .concat();
    println!("    {} bytes", datagram.len());
    let _ = sink.socket.connect(sink.address);
    let send = |_| {
        let _ = sink.socket.send(&datagram);
    };
    measure("bare send of the same bytes", send, || {});
    measure_paced("bare send of the same bytes", send, || {});
}

struct Report;

impl fastrace::collector::Reporter for Report {
    fn report(&mut self, spans: Vec<fastrace::collector::SpanRecord>) {
        black_box(spans);
    }
}

fn fastrace_reported() {
    use fastrace::collector::{Config, SpanContext};
    fastrace::set_reporter(Report, Config::default());
    let traced = |round: u32| {
        let root = fastrace::Span::root("checkout", SpanContext::random());
        for number in 0..9_i64 {
            let _child = fastrace::Span::enter_with_parent("load", &root).with_properties(|| {
                [
                    ("tenant", tenant(round).to_owned()),
                    ("count", black_box(number).to_string()),
                    ("cached", black_box(number % 2 == 0).to_string()),
                ]
            });
        }
    };
    measure("fastrace, reported to nobody", traced, fastrace::flush);
    measure_paced("fastrace, reported to nobody", traced, fastrace::flush);
}
