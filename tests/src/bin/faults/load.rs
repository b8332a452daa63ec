//! More than the queue, the kernel or the daemon can take.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xray_core::{Documents, Loss, Pace};
use xray_local::Daemon;
use xray_tests::{balance, delivered, nobody, record, sends_to};

use crate::{Fault, process};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "full-load",
        test: "T-01",
        what: "8 threads record as fast as they can, 1 to 20 subsegments each: every document is received, lost by reason, or dropped by the kernel",
        amount: 10_000_000,
        unit: "segments",
        minutes: 20,
        run: full_load,
    },
    Fault {
        name: "queue-overflow",
        test: "T-04",
        what: "queues of 1, 16 and 1,024 pieces, producers a hundred times as fast as the emission thread: bounds hold, a loss costs the same in each",
        amount: 300_000,
        unit: "segments a queue",
        minutes: 5,
        run: queue_overflow,
    },
    Fault {
        name: "burst",
        test: "T-05",
        what: "closes at once, before AWS's own daemon ($XRAY_DAEMON) with its default buffer: at its pace at most 0.1 % are dropped by the kernel",
        amount: 50_000,
        unit: "segments",
        minutes: 5,
        run: burst,
    },
];

const LONG: Duration = Duration::from_secs(120);

fn lost(documents: &Documents) -> u64 {
    documents.lost.values().sum()
}

fn full_load(segments: u64) -> String {
    const THREADS: u64 = 8;
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let recorder = sends_to(daemon.address());
    let recorder = recorder.pace(Pace::unlimited()).build().expect("a thread");
    let entities: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|seed| {
                scope.spawn({
                    let recorder = &recorder;
                    move || record(recorder, seed, segments / THREADS)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let received = daemon.received_count() as u64;
    let documents = delivered(&recorder, received, drops);
    assert_eq!(documents.created, segments / THREADS * THREADS);
    let reasons: Vec<Loss> = documents.lost.keys().copied().collect();
    assert!(
        reasons.is_empty() || reasons == [Loss::QueueFull],
        "{reasons:?}"
    );
    assert_eq!(recorder.entities().begun, entities);
    format!(
        "{} documents created, {received} received, {} lost (queue_full), {drops} dropped by the kernel, 0 unaccounted for",
        documents.created,
        lost(&documents)
    )
}

fn queue_overflow(segments: u64) -> String {
    let mut told = Vec::new();
    let mut medians = Vec::new();
    for pieces in [1, 16, 1_024] {
        let daemon = Daemon::builder().count_only().start().expect("a socket");
        // Some 330 documents a second when it hurries.
        let slow = Pace::new(64 << 10, 0);
        let recorder = sends_to(daemon.address())
            .pace(slow)
            .queue_limits(pieces, 1 << 20);
        let recorder = recorder.build().expect("a thread");
        let mut times = Vec::with_capacity(segments as usize);
        let (mut most, begun) = (0, Instant::now());
        for at in 0..segments {
            let segment = recorder.begin_segment("shop");
            let before = Instant::now();
            segment.close();
            times.push(before.elapsed());
            if at % 64 == 0 {
                most = most.max(recorder.documents().queued);
            }
        }
        let rate = segments as f64 / begun.elapsed().as_secs_f64();
        let ratio = segments / recorder.documents().sent.max(1);
        // Beside the queue, the thread holds the batch it took: what there was,
        // at most 64.
        let bound = (pieces + pieces.min(64)) as u64;
        assert!(most <= bound, "{most} queued, {pieces} allowed and a batch");
        assert!(recorder.flush(LONG).wait().is_complete());
        daemon.stop();
        let drops = daemon.kernel_drops().expect("Linux");
        let documents = delivered(&recorder, daemon.received_count() as u64, drops);
        let reasons: Vec<Loss> = documents.lost.keys().copied().collect();
        assert_eq!(reasons, [Loss::QueueFull], "{documents:?}");
        assert!(ratio >= 100, "only {ratio} times as fast");
        times.sort_unstable();
        medians.push(times[times.len() / 2]);
        told.push(format!(
            "{pieces} pieces: {} of {} lost at {rate:.0}/s, at most {most} queued, a loss {:?}",
            lost(&documents),
            documents.created,
            times[times.len() / 2]
        ));
    }
    let (least, most) = (medians.iter().min(), medians.iter().max());
    let (least, most) = (*least.expect("three"), *most.expect("three"));
    assert!(
        most <= least * 3,
        "a loss takes {medians:?}: not the same in each queue"
    );
    bytes_are_bounded();
    told.join("; ")
}

/// A queue of ten pieces' bytes holds ten pieces, whatever their number.
fn bytes_are_bounded() {
    let address = nobody().expect("a socket");
    let recorder = sends_to(address).queue_limits(1_000_000, 200_000);
    let recorder = recorder.build().expect("a thread");
    for _ in 0..10_000 {
        let segment = recorder.begin_segment("large");
        segment.metadata("m", black_box("m".repeat(20_000)));
        segment.close();
        let queued = recorder.documents().queued;
        assert!(
            queued <= 20,
            "{queued} pieces of 20 kB, in and beside 200 kB"
        );
    }
    let _ = recorder.shutdown(Duration::from_millis(50)).wait();
    balance(&recorder);
}

fn burst(segments: u64) -> String {
    let percent = |drops: u64| 100.0 * drops as f64 / segments as f64;
    let (mut paced, sent) = (Vec::new(), Instant::now());
    for _ in 0..3 {
        paced.push(burst_at(Pace::default(), segments));
    }
    let sent = sent.elapsed() / 3;
    paced.sort_unstable();
    let unpaced = burst_at(Pace::unlimited(), segments);
    assert!(
        percent(paced[1].0) <= 0.1,
        "{paced:?} dropped, and closed in"
    );
    format!(
        "{segments} closed in {:.0?}; paced, sent in {sent:.1?}: {} dropped by the kernel ({:.2} %, of three runs: {}); unpaced: {} dropped ({:.0} %)",
        paced[1].1,
        paced[1].0,
        percent(paced[1].0),
        paced
            .iter()
            .map(|(drops, _)| drops.to_string())
            .collect::<Vec<_>>()
            .join(", "),
        unpaced.0,
        percent(unpaced.0),
    )
}

/// What the kernel dropped before AWS's daemon, and how long closing took.
fn burst_at(pace: Pace, segments: u64) -> (u64, Duration) {
    let daemon = RealDaemon::start();
    // Room for all of them: what is lost is lost on the way.
    let recorder = sends_to(daemon.address).queue_limits(4 * segments as usize, 1 << 30);
    let recorder = recorder.pace(pace).build().expect("a thread");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..segments / 2 {
                    recorder.begin_segment("shop").close();
                }
            });
        }
    });
    let closed = begun.elapsed();
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    let documents = recorder.documents();
    assert_eq!((documents.sent, lost(&documents)), (documents.created, 0));
    (process::drops(daemon.address.port()), closed)
}

/// AWS's daemon. What it takes it fails to upload: nobody is there.
struct RealDaemon {
    process: Child,
    address: SocketAddr,
}

impl RealDaemon {
    fn start() -> Self {
        let program = std::env::var("XRAY_DAEMON").expect("XRAY_DAEMON, AWS's daemon");
        let free = nobody().expect("a socket").port();
        let (udp, log) = (format!("127.0.0.1:{free}"), "/dev/null");
        let mut command = Command::new(program);
        command.args(["-o", "-n", "us-east-1", "-b", &udp, "-t", &udp, "-f", log]);
        command.envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")]);
        // Nothing may leave the machine: every upload ends at this closed port.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
        command.args(["-p", "http://127.0.0.1:9"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("AWS's daemon starts");
        let daemon = Self {
            process,
            address: udp.parse().expect("an address"),
        };
        let until = Instant::now() + LONG;
        while !process::is_bound(free) {
            assert!(Instant::now() < until, "AWS's daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        // It begins to read a moment later: wait until it has read something.
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        probe
            .send_to(b"no document", daemon.address)
            .expect("loopback");
        while process::buffered(free) > 0 {
            assert!(Instant::now() < until, "AWS's daemon does not read");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
