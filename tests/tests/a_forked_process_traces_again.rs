//! T-70: a process that was forked records and sends like any other, though the
//! thread that sends stayed behind with the parent, and whatever lock another
//! thread held at the fork. No id is drawn twice.
//!
//! A process of its own, as it has to know its threads. With `--ignored` the
//! children draw as many ids as the list of tests asks for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "whatever is not as expected fails the test"
)]
#![allow(unsafe_code, reason = "fork and its kin have no safe form")]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    unix::main();
}

#[cfg(unix)]
mod unix {
    use std::collections::HashSet;
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use xray_core::{Always, Decision, Entity, Keep, Loss, Recorder, TraceHeader};
    use xray_local::Daemon;
    use xray_tests::{balance, sends_to};

    const CHILDREN: usize = 64;
    const OWN: u64 = 5;
    const LONG: Duration = Duration::from_secs(20);
    /// Seconds after which a child counts as hanging, and is ended.
    const HANGS: u32 = 60;

    pub(super) fn main() {
        let long = std::env::args().any(|word| word == "--ignored");
        let ids = if long { 100_000 } else { 2_000 };
        for (name, test) in [
            ("ids", &(|| no_id_is_drawn_twice(ids)) as &dyn Fn()),
            ("thread", &|| children_trace_again(false)),
            ("inline", &|| children_trace_again(true)),
            ("grandchildren", &grandchildren_trace_again),
            ("unsampled", &unsampled_work_counts_where_it_begins),
        ] {
            print!("test {name} ... ");
            test();
            println!("ok");
        }
    }

    /// Runs `child` in a forked process; the process.
    fn fork(child: impl FnOnce()) -> libc::pid_t {
        // SAFETY: the child allocates and starts threads, which glibc, musl and
        // macOS keep fit for that; of locks it takes ours, which is the test.
        match unsafe { libc::fork() } {
            -1 => panic!("no fork"),
            0 => {
                // SAFETY: neither touches memory of ours. What the parent would
                // do at its end is not for the child to do.
                unsafe { libc::alarm(HANGS) };
                let done = catch_unwind(AssertUnwindSafe(child));
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
            process => process,
        }
    }

    /// Threads that go on until then do not hold up a failure.
    struct StopAtEnd<'a>(&'a AtomicBool);

    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Fails unless all of them end, and well.
    #[track_caller]
    fn wait_for(children: Vec<libc::pid_t>) {
        let mut ends = Vec::new();
        for child in children {
            let mut status = 0;
            // SAFETY: `status` is there for it to write to.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            ends.push(status);
        }
        let hung = ends.iter().filter(|end| **end == libc::SIGALRM);
        assert_eq!(hung.count(), 0, "children that hang");
        assert!(ends.iter().all(|end| *end == 0), "{ends:?}");
    }

    /// A daemon that remembers ids, none of which may come twice.
    fn daemon() -> (Daemon, Arc<Mutex<HashSet<String>>>) {
        let ids: Arc<Mutex<HashSet<String>>> = Arc::default();
        let seen = ids.clone();
        let daemon = Daemon::builder()
            .max_traces(1)
            .on_received(move |received| {
                let document = received.verdict.as_ref().unwrap();
                let mut seen = seen.lock().unwrap();
                for part in document.walk() {
                    assert!(seen.insert(part.id.clone()), "{} twice", part.id);
                }
            })
            .start()
            .unwrap();
        (daemon, ids)
    }

    /// Records some in a process that has recorded nothing yet, and sees them
    /// sent.
    fn record(recorder: &Recorder, before: impl FnOnce()) {
        for at in 0..OWN {
            let segment = recorder.begin_segment("child");
            segment.in_subsegment("inner", |inner| inner.annotate("at", at));
            segment.close();
        }
        before();
        assert!(recorder.flush(LONG).wait().is_complete());
        balance(recorder);
        let (entities, documents) = (recorder.entities(), recorder.documents());
        assert_eq!(documents.sent, OWN, "{documents:?}");
        assert_eq!(entities.written, 2 * OWN, "{entities:?}");
        let lost: u64 = documents.lost.values().sum();
        let forked = documents.lost.get(&Loss::Fork).copied().unwrap_or(0);
        assert!(lost == forked && lost <= 1, "{documents:?}");
        assert!(recorder.shutdown(LONG).wait().is_complete());
    }

    /// L21: a facade of nothing known, and what is below a segment that was begun
    /// before the fork.
    fn unsampled_work_counts_where_it_begins() {
        let (daemon, _) = daemon();
        let recorder = sends_to(daemon.address()).build().unwrap();
        let unsampled = || recorder.segment("quiet").decide(Decision::unsampled());
        let before = unsampled().begin();
        assert_eq!(recorder.entities().unsampled, 1);
        let child = fork(|| {
            recorder.begin_segment("child").close(); // begins anew
            assert_eq!(recorder.entities().unsampled, 0);
            let header = TraceHeader::parse("Root=1-66f2a1c0-0123456789abcdef01234567");
            recorder.begin_facade(&header).begin_subsegment("a").close();
            before.begin_subsegment("b").close();
            unsampled().begin().close();
            let entities = recorder.entities();
            assert_eq!((entities.begun, entities.unsampled), (5, 4), "{entities:?}");
        });
        wait_for(vec![child]);
        assert_eq!(recorder.entities().unsampled, 1);
    }

    fn children_trace_again(inline: bool) {
        let (daemon, ids) = daemon();
        let builder = sends_to(daemon.address()).queue_limits(64, 1 << 20);
        let builder = builder.hook(|_| Keep::Send);
        let builder = if inline {
            builder.send_inline()
        } else {
            builder
        };
        let recorder = builder.build().unwrap();
        let mut shared = Some(recorder.begin_segment("shared"));
        let entity = Entity::clone(shared.as_ref().unwrap());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            // They hold every lock there is as often as they can.
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        recorder.begin_segment("parent").close();
                        entity.tally("written", xray_core::Tally::Sum(1.0));
                        let _ = (
                            recorder.flush(Duration::ZERO).wait(),
                            recorder.open_entities(),
                        );
                    }
                });
            }
            let mut children = Vec::new();
            for at in 0..CHILDREN {
                children.push(fork(|| {
                    let mut close = || drop(shared.take());
                    if at % 2 == 0 {
                        close();
                        record(&recorder, || ());
                    } else {
                        record(&recorder, close);
                    }
                    drop(recorder.clone());
                }));
                std::thread::sleep(Duration::from_millis(2));
            }
            wait_for(children);
        });
        drop(shared);
        assert!(recorder.flush(LONG).wait().is_complete());
        balance(&recorder);
        let documents = recorder.documents();
        assert!(!documents.lost.contains_key(&Loss::Fork), "{documents:?}");
        let sent = documents.sent + CHILDREN as u64 * OWN;
        // What is sent inline keeps to no pace, and the daemon may be slower.
        let drops = || daemon.kernel_drops().unwrap_or(0);
        let end = Instant::now() + LONG;
        while daemon.received_count() as u64 + drops() < sent && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (received, drops) = (daemon.received_count() as u64, drops());
        assert_eq!(received + drops, sent, "{drops} dropped");
        // One entity each, and the inner ones.
        let ids = ids.lock().unwrap().len() as u64;
        let inner = CHILDREN as u64 * OWN;
        assert!(ids <= received + inner, "{ids} of {received}");
        assert!(drops > 0 || ids == received + inner, "{ids} of {received}");
    }

    fn grandchildren_trace_again() {
        let (daemon, ids) = daemon();
        let recorder = sends_to(daemon.address()).build().unwrap();
        recorder.begin_segment("first").close();
        assert!(recorder.flush(LONG).wait().is_complete());
        let children = (0..4).map(|_| {
            fork(|| {
                let grandchildren = (0..4).map(|_| fork(|| record(&recorder, || ())));
                let before: Vec<_> = grandchildren.collect();
                record(&recorder, || ());
                // One that is forked from a process whose recorder began anew,
                // and was shut down.
                wait_for(before);
                wait_for(vec![fork(|| record(&recorder, || ()))]);
            })
        });
        wait_for(children.collect());
        let sent = 1 + (4 + 4 * 5) * OWN as usize;
        assert!(daemon.wait_for(sent, LONG));
        assert_eq!(daemon.received_count(), sent);
        assert_eq!(ids.lock().unwrap().len(), 2 * sent - 1);
    }

    fn no_id_is_drawn_twice(count: usize) {
        let begun = Instant::now();
        let recorder = Recorder::builder("test")
            .ignore_environment()
            .sampler(Always)
            .build()
            .unwrap();
        let draw = |file: &std::path::Path| {
            let mut words = Vec::with_capacity(count * 40);
            for _ in 0..count {
                let segment = recorder.begin_segment("one");
                let child = segment.begin_subsegment("inner");
                for id in [segment.id(), child.id()] {
                    words.extend_from_slice(&id.unwrap().get().to_be_bytes());
                }
                let trace = segment.trace_id().unwrap().to_string();
                words.extend_from_slice(&trace.as_bytes()[11..]);
            }
            fs::write(file, words).unwrap();
        };
        let folder = std::env::temp_dir().join(format!("xray-fork-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |at: usize| folder.join(at.to_string());
        draw(&file(CHILDREN));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    recorder.begin_segment("meanwhile").close();
                }
            });
            let children = (0..CHILDREN).map(|at| fork(|| draw(&file(at))));
            wait_for(children.collect());
        });
        // Its locks were contended, too, and are its own.
        assert!(!recorder.documents().lost.contains_key(&Loss::Fork));
        let mut ids = Vec::new();
        let mut traces = Vec::new();
        for at in 0..=CHILDREN {
            let words = fs::read(file(at)).unwrap();
            assert_eq!(words.len(), count * 40);
            for one in words.chunks_exact(40) {
                ids.extend([0, 8].map(|at| one[at..at + 8].to_vec()));
                traces.push(one[16..].to_vec());
            }
        }
        fs::remove_dir_all(&folder).unwrap();
        for drawn in [&mut ids, &mut traces] {
            let all = drawn.len();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(all - drawn.len(), 0, "drawn twice, of {all}");
        }
        print!("{} ids in {:?} ... ", ids.len(), begun.elapsed());
    }
}
