//! A flush that is dropped leaves no thread behind, and one that is waited for
//! on the thread that would have to send is back at once.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::future::Future;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use xray_core::document::Document;
use xray_core::{Always, Flush, Flushed, Keep, Recorder, RecorderBuilder};

const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

/// One test at a time: threads are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn recorder(socket: &UdpSocket) -> RecorderBuilder {
    Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .daemon_address(socket.local_addr().unwrap())
}

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn poll(flush: &mut Flush, waker: &Waker) -> Poll<Flushed> {
    Pin::new(flush).poll(&mut Context::from_waker(waker))
}

/// Threads of this process that wait for flushes: the harness has others, which
/// come and go.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    names
        .filter(|name| name.as_ref().is_ok_and(|name| name.trim() == "xray-flush"))
        .count()
}

/// Waits until there are so many threads.
#[cfg(target_os = "linux")]
fn threads_become(expected: usize) {
    let begun = Instant::now();
    while threads() != expected {
        assert!(begun.elapsed() < LONG, "{} for {expected}", threads());
        std::thread::yield_now();
    }
}

/// Each used to keep a thread until its own time was over.
#[test]
#[cfg(target_os = "linux")]
fn flushes_that_are_dropped_leave_no_thread() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let away = socket();
    let recorder = recorder(&away).build().unwrap();
    drop(away);
    recorder.begin_segment("shop").close();
    let mut together = Vec::new();
    for time in [HOUR, Duration::MAX].repeat(25) {
        let mut dropped = recorder.flush(time);
        assert!(poll(&mut dropped, Waker::noop()).is_pending());
        let mut kept = recorder.flush(time);
        assert!(poll(&mut kept, Waker::noop()).is_pending());
        together.push(kept);
    }
    threads_become(1);
    drop(together);
    threads_become(0);
    assert_eq!(recorder.shutdown(Duration::ZERO).wait().remaining, 1);
    assert_eq!(recorder.documents().sent, 0);
}

/// Tells that it was woken.
struct Woken(std::sync::mpsc::Sender<()>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

#[test]
fn each_that_awaits_is_woken_when_it_is_due() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let away = socket();
    let address = away.local_addr().unwrap();
    let recorder = recorder(&away).build().unwrap();
    drop(away);
    recorder.begin_segment("shop").close();
    let (tell, woken) = channel();
    let waker = Waker::from(Arc::new(Woken(tell)));
    let mut long = recorder.flush(HOUR);
    assert!(poll(&mut long, Waker::noop()).is_pending());
    let mut short = recorder.flush(Duration::from_millis(50));
    assert!(poll(&mut short, &waker).is_pending());
    woken.recv_timeout(LONG).unwrap();
    assert_eq!(poll(&mut short, &waker), Poll::Ready(Flushed::leaving(1)));
    assert!(poll(&mut long, &waker).is_pending());
    let _back = UdpSocket::bind(address).unwrap();
    woken.recv_timeout(LONG).unwrap();
    assert_eq!(poll(&mut long, &waker), Poll::Ready(Flushed::leaving(0)));
    assert_eq!(recorder.documents().sent, 1);
}

/// Blocks the thread that wakes it.
struct Blocks(std::sync::mpsc::Sender<()>, Mutex<Receiver<()>>);

impl Wake for Blocks {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
        let _ = self.1.lock().unwrap().recv_timeout(LONG * 6);
    }
}

/// All others used to wait for it, also beyond their deadlines.
#[test]
fn a_waker_that_blocks_stops_no_other_flush() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let away = socket();
    let recorder = recorder(&away).build().unwrap();
    drop(away);
    recorder.begin_segment("shop").close();
    let ((blocks, is_blocked), (let_go, go)) = (channel(), channel());
    let (tell, woken) = channel();
    let (blocking, waker) = (
        Waker::from(Arc::new(Blocks(blocks, Mutex::new(go)))),
        Waker::from(Arc::new(Woken(tell))),
    );
    let mut first = recorder.flush(Duration::from_millis(50));
    assert!(poll(&mut first, &blocking).is_pending());
    let mut second = recorder.flush(Duration::from_millis(200));
    assert!(poll(&mut second, &waker).is_pending());
    is_blocked.recv_timeout(LONG).unwrap();
    woken.recv_timeout(LONG).unwrap();
    assert_eq!(poll(&mut second, &waker), Poll::Ready(Flushed::leaving(1)));
    let mut third = recorder.flush(Duration::from_millis(50));
    assert!(poll(&mut third, &waker).is_pending());
    woken.recv_timeout(LONG).unwrap();
    assert_eq!(poll(&mut third, &waker), Poll::Ready(Flushed::leaving(1)));
    let_go.send(()).unwrap();
}

/// It used to wait for itself as long as it was told to.
#[test]
fn a_hook_that_waits_for_its_own_document_is_answered() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for inline in [false, true] {
        let (tell, told) = channel();
        let own = Arc::new(OnceLock::<Recorder>::new());
        let of_hook = own.clone();
        let hook = move |_: &mut Document| {
            let recorder = of_hook.wait();
            let waited = recorder.flush(HOUR).wait().remaining;
            let mut awaited = recorder.flush(HOUR);
            tell.send((waited, poll(&mut awaited, Waker::noop())))
                .unwrap();
            Keep::Send
        };
        let listens = socket();
        let mut builder = recorder(&listens).hook(hook);
        if inline {
            builder = builder.send_inline();
        }
        let recorder = builder.build().unwrap();
        own.set(recorder.clone()).unwrap();
        let segment = recorder.begin_segment("shop");
        let closes = std::thread::spawn(move || segment.close());
        let answer = told.recv_timeout(LONG).unwrap();
        // The document that is being sent.
        assert_eq!(answer, (1, Poll::Ready(Flushed::leaving(1))));
        closes.join().unwrap();
        assert!(recorder.flush(LONG).wait().is_complete());
        assert_eq!(recorder.documents().sent, 1);
    }
}
