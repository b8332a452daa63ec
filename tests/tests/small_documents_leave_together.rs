//! What leaves with one call is paced, held, counted and lost as if each
//! document had left alone.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use xray_core::document::Document;
use xray_core::{Keep, Loss, Pace, Recorder};
use xray_tests::{Daemon, Random, balance, document_of, sends_to};

const LONG: Duration = Duration::from_secs(20);

/// A recorder that knows already that the daemon's socket takes many at once.
fn warm(daemon: &Daemon, recorder: &Recorder) {
    recorder.begin_segment("first").close();
    assert_eq!(daemon.document().unwrap().name, "first");
}

/// Reads what is there, and how much of the socket's buffer it took.
fn drain(socket: &UdpSocket) -> (u64, usize) {
    let timeout = Duration::from_millis(200);
    socket.set_read_timeout(Some(timeout)).unwrap();
    let (mut documents, mut taken, mut datagram) = (0, 0, vec![0; 65_536]);
    while let Ok(bytes) = socket.recv(&mut datagram) {
        Document::from_json(document_of(&datagram[..bytes]).unwrap()).unwrap();
        documents += 1;
        taken += bytes + 896 + bytes / 32;
    }
    (documents, taken)
}

/// It used to wait for all that was taken from the queue with it.
#[test]
fn nothing_waits_for_the_hook_of_what_follows() {
    let daemon = Daemon::start().unwrap();
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let hook = move |document: &mut Document| {
        if document.name == "slow" {
            gone.lock().unwrap().recv_timeout(LONG).unwrap();
        }
        Keep::Send
    };
    let recorder = sends_to(daemon.address().unwrap())
        .hook(hook)
        .build()
        .unwrap();
    warm(&daemon, &recorder);
    recorder.begin_segment("quick").close();
    recorder.begin_segment("slow").close();
    assert_eq!(daemon.document().unwrap().name, "quick");
    go.send(()).unwrap();
    assert_eq!(daemon.document().unwrap().name, "slow");
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
}

#[test]
fn what_is_refused_together_is_held_and_sent_once() {
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = UdpSocket::bind(loopback) else {
            assert!(loopback.starts_with('['), "no IPv6 here");
            continue;
        };
        let address = socket.local_addr().unwrap();
        let recorder = sends_to(address).build().unwrap();
        recorder.begin_segment("first").close();
        assert!(recorder.flush(LONG).wait().is_complete());
        assert_eq!(drain(&socket).0, 1);
        drop(socket);
        for _ in 0..40 {
            recorder.begin_segment("held").close();
        }
        let flushed = recorder.flush(Duration::from_millis(100)).wait();
        assert_eq!(flushed.remaining, 40);
        assert_eq!(recorder.documents().sent, 1);
        let socket = UdpSocket::bind(address).unwrap();
        assert!(recorder.flush(LONG).wait().is_complete());
        assert_eq!(drain(&socket).0, 40, "{loopback}");
        assert_eq!(recorder.documents().sent, 41);
        balance(&recorder);
    }
}

/// Each call used to wait for a second at most, however much it sent.
#[test]
fn a_burst_larger_than_a_seconds_worth_keeps_to_the_pace() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let pace = Pace::new(10_000, 40_000);
    let begun = Instant::now();
    let recorder = sends_to(socket.local_addr().unwrap())
        .pace(pace)
        .build()
        .unwrap();
    for _ in 0..200 {
        recorder.begin_segment("shop").close();
    }
    std::thread::sleep(Duration::from_secs(3));
    let sent = recorder.documents().sent;
    let seconds = begun.elapsed().as_secs_f64();
    let (documents, taken) = drain(&socket);
    assert!(documents >= sent);
    // And one call that was about to be made.
    let allowed = 40_000.0 + 10_000.0 * (seconds + 0.2) + 10_000.0;
    assert!((taken as f64) <= allowed, "{taken} of {allowed}");
    assert!(taken > 40_000, "{taken}");
    recorder.shutdown(Duration::ZERO).wait();
}

/// Hooks that drop, receivers that go, flushes of any length: what `shutdown`
/// says is left is what is lost by it.
#[test]
fn what_a_shutdown_leaves_is_what_it_loses() {
    let mut random = Random::new(1);
    for round in 0..12 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut builder = sends_to(socket.local_addr().unwrap());
        if round % 2 == 0 {
            builder = builder.hook(|document: &mut Document| match document.name.as_str() {
                "dropped" => Keep::Drop,
                _ => Keep::Send,
            });
        }
        let recorder = builder.build().unwrap();
        let mut created = 0;
        let mut socket = Some(socket);
        for _ in 0..random.below(6) {
            for _ in 0..random.below(120) {
                let name = if random.below(5) == 0 {
                    "dropped"
                } else {
                    "kept"
                };
                let segment = recorder.begin_segment(name);
                let sizes = [20_000, 7_900, 9_000, 300, 250, 200, 150, 100];
                let size = sizes[random.below(8) as usize];
                segment.metadata("m", "m".repeat(size));
                created += 1;
            }
            if random.below(4) == 0 {
                socket = None;
            }
            recorder
                .flush(Duration::from_millis(random.below(30)))
                .wait();
        }
        let timeout = Duration::from_millis(100 + random.below(200));
        let left = recorder.shutdown(timeout).wait().remaining;
        balance(&recorder);
        let books = recorder.documents();
        let lost = books.lost.get(&Loss::Shutdown).copied().unwrap_or(0);
        assert_eq!((books.created, lost), (created, left), "{books:?}");
        drop(socket);
    }
}
