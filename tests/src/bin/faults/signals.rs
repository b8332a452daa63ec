//! A daemon that is a process of its own, killed or stopped by signals.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xray_tests::{Random, balance, delivered, document_of, nobody, sends_to};

use crate::{Fault, process};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "daemon-kills",
        test: "T-02b",
        what: "SIGKILL to a receiving process under load, which starts again: what is missing was on its way to a socket that died, and fitted into its buffer",
        amount: 100,
        unit: "kills",
        minutes: 5,
        run: kills,
    },
    Fault {
        name: "daemon-stops",
        test: "T-03",
        what: "SIGSTOP to a receiving process for 30 s each: callers notice nothing, and what is missing the kernel dropped, to the document",
        amount: 10,
        unit: "stops",
        minutes: 10,
        run: stops,
    },
];

const LONG: Duration = Duration::from_secs(120);

/// The process: writes the id of each document it reads to its standard output.
/// It ends with its parent, whose end closes its standard input.
pub(crate) fn receive(words: &[String]) {
    let address: SocketAddr = words[0].parse().expect("an address");
    let socket = UdpSocket::bind(address).expect("a free port");
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut out = std::io::stdout().lock();
    let mut datagram = vec![0; 65_536];
    loop {
        let bytes = socket.recv(&mut datagram).expect("a datagram");
        let Some(document) = document_of(&datagram[..bytes]) else {
            continue;
        };
        let found = document.windows(6).position(|text| text == b"\"id\":\"");
        let at = found.expect("every document has an id") + 6;
        let line = [&document[at..at + 16], b"\n"].concat();
        // One write a document: what was read is told, whenever it is killed.
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// What all receiving processes told.
#[derive(Default)]
struct Told {
    ids: Mutex<BTreeSet<String>>,
    count: AtomicU64,
}

/// A receiving process.
struct Receiver {
    process: Child,
    reader: Option<JoinHandle<()>>,
}

impl Receiver {
    fn start(address: SocketAddr, told: &Arc<Told>) -> Self {
        let mut command = crate::start("receive");
        command.arg(address.to_string());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let told = told.clone();
        let reader = thread::spawn(move || {
            for id in lines.map_while(Result::ok) {
                let mut ids = told.ids.lock().unwrap_or_else(PoisonError::into_inner);
                ids.insert(id);
                told.count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let until = Instant::now() + LONG;
        while !process::is_bound(address.port()) {
            assert!(Instant::now() < until, "no receiver");
            thread::sleep(Duration::from_millis(1));
        }
        Self {
            process,
            reader: Some(reader),
        }
    }

    fn signal(&self, name: &str) {
        process::signal(self.process.id(), name);
    }
}

impl Drop for Receiver {
    /// Kills it; what it told before is read.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// How many datagrams of that size the default buffer of a socket holds.
fn buffer_holds(bytes: usize) -> u64 {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = receiver.local_addr().expect("bound");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let datagram = vec![b'x'; bytes];
    for _ in 0..20_000 {
        sender.send_to(&datagram, address).expect("loopback");
    }
    receiver.set_nonblocking(true).expect("a socket");
    let mut held = 0;
    while receiver.recv(&mut [0; 1]).is_ok() {
        held += 1;
    }
    held
}

/// Documents on their way to the receiver when it is killed were closed this
/// long before, at most: the emission thread naps, the receiver waits its turn.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

fn kills(kills: u64) -> String {
    let address = nobody().expect("a free port");
    let recorder = sends_to(address).queue_limits(1_000_000, 1 << 30);
    let recorder = recorder.build().expect("a thread");
    let told = Arc::new(Told::default());
    let enough = AtomicBool::new(false);
    let closed = Mutex::new(BTreeMap::new());
    let mut random = Random::new(7);
    let (mut drops, mut deaths) = (0, Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let segment = recorder.begin_segment("shop");
                    segment.begin_subsegment("part").close();
                    let id = segment.id().expect("recorded").to_string();
                    segment.close();
                    let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
                    closed.insert(id, Instant::now());
                    drop(closed);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        for _ in 0..kills {
            let receiver = Receiver::start(address, &told);
            // What was held while it was away has arrived long before it dies.
            thread::sleep(Duration::from_millis(250 + random.below(100)));
            drops += process::drops(address.port());
            let begun = Instant::now();
            drop(receiver);
            deaths.push((begun, Instant::now()));
            thread::sleep(Duration::from_millis(random.below(40)));
        }
        enough.store(true, Ordering::Relaxed);
    });
    let last = Receiver::start(address, &told);
    assert!(recorder.flush(LONG).wait().is_complete());
    let until = Instant::now() + LONG;
    while process::buffered(address.port()) > 0 {
        assert!(Instant::now() < until, "the receiver reads no more");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(50)); // for what it has read last
    drops += process::drops(address.port());
    drop(last);
    balance(&recorder);
    let documents = recorder.documents();
    assert_eq!(documents.lost.len(), 0, "{documents:?}");
    let ids = told.ids.lock().unwrap_or_else(PoisonError::into_inner);
    let received = ids.len() as u64;
    let twice = told.count.load(Ordering::SeqCst) - received;
    assert_eq!(twice, 0, "came twice");
    assert_eq!(drops, 0, "dropped by the kernel: the load was too much");
    // A dead process takes along what its buffer held, and the one it had read
    // but not told of.
    let holds = buffer_holds(400) + 1;
    let mut with_each = vec![0; deaths.len()];
    let closed = closed.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (id, at) in closed.iter().filter(|(id, _)| !ids.contains(*id)) {
        let with = deaths
            .iter()
            .position(|(begun, ended)| (*begun - ON_ITS_WAY..=*ended).contains(at));
        let after = deaths.iter().rev().find(|(_, ended)| ended < at);
        let after = after.map(|(_, ended)| *at - *ended);
        assert!(
            with.is_some(),
            "{id} is missing, closed {after:?} after a kill"
        );
        with_each[with.unwrap_or_default()] += 1;
    }
    let most = with_each.iter().max().copied().unwrap_or(0);
    assert!(most <= holds, "{most} missing after one kill");
    let missing: u64 = with_each.iter().sum();
    assert_eq!(documents.sent, received + missing);
    format!(
        "{kills} kills, {} documents created and sent, {received} received, {missing} missing, all closed within {ON_ITS_WAY:?} of a kill (at most {most} with one, a buffer holds {holds}), 0 twice, 0 lost by us",
        documents.created,
    )
}

/// How long closes took in one phase.
struct Phase {
    median: Duration,
    p999: Duration,
    slow: usize,
    closes: usize,
}

impl Phase {
    /// Closes segments at some 4,000 a second until `end`.
    fn run(recorder: &xray_core::Recorder, time: Duration) -> Self {
        let end = Instant::now() + time;
        let mut times = Vec::new();
        while Instant::now() < end {
            for _ in 0..4 {
                let segment = recorder.begin_segment("shop");
                segment.begin_subsegment("part").close();
                let begun = Instant::now();
                segment.close();
                times.push(begun.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        }
        times.sort_unstable();
        Self {
            median: times[times.len() / 2],
            p999: times[times.len() - 1 - times.len() / 1_000],
            slow: times
                .iter()
                .filter(|time| **time > Duration::from_millis(1))
                .count(),
            closes: times.len(),
        }
    }
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn stops(stops: u64) -> String {
    const STOPPED: Duration = Duration::from_secs(30);
    const RUNNING: Duration = Duration::from_secs(8);
    let address = nobody().expect("a free port");
    let recorder = sends_to(address).build().expect("a thread");
    let told = Arc::new(Told::default());
    let receiver = Receiver::start(address, &told);
    let (mut running, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..stops {
        running.push(Phase::run(&recorder, RUNNING));
        receiver.signal("STOP");
        stopped.push(Phase::run(&recorder, STOPPED));
        receiver.signal("CONT");
    }
    assert!(recorder.flush(LONG).wait().is_complete());
    let until = Instant::now() + LONG;
    let told_of = || told.count.load(Ordering::SeqCst);
    while recorder.documents().sent > told_of() + process::drops(address.port()) {
        assert!(
            Instant::now() < until,
            "{} received and {} dropped of {:?}",
            told_of(),
            process::drops(address.port()),
            recorder.documents()
        );
        thread::sleep(Duration::from_millis(5));
    }
    let drops = process::drops(address.port());
    drop(receiver);
    let documents = delivered(&recorder, told_of(), drops);
    assert_eq!(documents.lost.len(), 0, "{documents:?}");
    let of = |phases: &[Phase], what: fn(&Phase) -> Duration| median(phases.iter().map(what));
    let p999 = |phases: &[Phase]| of(phases, |phase| phase.p999);
    let (idle, away) = (p999(&running), p999(&stopped));
    assert!(
        away <= idle + Duration::from_micros(20),
        "p99.9 of close is {away:?}, and {idle:?} while the daemon runs"
    );
    // The scheduler takes a thread off its processor now and then, in both.
    let slow = |phases: &[Phase]| {
        let slow: usize = phases.iter().map(|phase| phase.slow).sum();
        let closes: usize = phases.iter().map(|phase| phase.closes).sum();
        slow as f64 * 1e6 / closes as f64
    };
    let (slow_idle, slow_away) = (slow(&running), slow(&stopped));
    assert!(
        slow_away <= 2.0 * slow_idle + 50.0,
        "of a million closes {slow_away:.0} took over 1 ms, and {slow_idle:.0} while the daemon runs"
    );
    format!(
        "{stops} stops of 30 s, {} documents created and sent, {} received, {drops} dropped by the kernel, 0 unaccounted for; close p50 {:?} p99.9 {away:?} (running: {:?}, {idle:?}); over 1 ms of a million: {slow_away:.0} (running: {slow_idle:.0})",
        documents.created,
        told_of(),
        of(&stopped, |phase| phase.median),
        of(&running, |phase| phase.median),
    )
}
