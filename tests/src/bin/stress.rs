//! Everything at once, for so many seconds. Meant to be run under a sanitizer:
//!
//! ```text
//! RUSTFLAGS=-Zsanitizer=address cargo +nightly run -p xray-tests --bin stress \
//!     --target x86_64-unknown-linux-gnu -- 600
//! ```
//!
//! Recorders of changing settings, one after the other. On each, threads begin
//! and close in any order, hand their handles to each other, write, look, flush,
//! panic, and shut down while the others go on. After each the books balance
//! exactly, and at the end all that was sent has been received.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "a program that says what it did, and fails where it must"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use xray_core::{
    Always, Class, Entity, Keep, Pace, Ratio, Recorder, Segment, Subsegment, Tally, current,
};
use xray_local::Daemon;
use xray_tests::{balance, sends_to};

const THREADS: u64 = 4;
const STEPS: u64 = 500;
/// A sanitizer on a busy machine takes its time.
const LONG: Duration = Duration::from_secs(300);

fn main() {
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let seconds = Duration::from_secs(seconds.expect("stress SECONDS"));
    let daemon = Daemon::builder().count_only().start().expect("a socket");
    let begun = Instant::now();
    let (mut rounds, mut entities, mut sent, mut lost) = (0, 0, 0, 0);
    while begun.elapsed() < seconds {
        rounds += 1;
        let recorder = round(&daemon, &mut Chance(rounds));
        balance(&recorder);
        let documents = recorder.documents();
        entities += recorder.entities().begun;
        sent += documents.sent;
        lost += documents.lost.values().sum::<u64>();
    }
    let arrived = || daemon.received_count() as u64 + daemon.kernel_drops().unwrap_or(0);
    let until = Instant::now() + LONG;
    while arrived() < sent && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!(
        "{rounds} recorders, {} steps, {entities} entities, {sent} documents sent, {lost} lost, \
         {} arrived",
        rounds * THREADS * STEPS,
        arrived()
    );
    assert_eq!(arrived(), sent);
    assert_eq!(daemon.rejected_count(), 0);
}

/// A handle that any thread may pick up.
enum Held {
    Segment(Segment),
    Subsegment(Subsegment),
}

impl Held {
    fn entity(&self) -> &Entity {
        match self {
            Self::Segment(segment) => segment,
            Self::Subsegment(subsegment) => subsegment,
        }
    }
}

fn round(daemon: &Daemon, chance: &mut Chance) -> Recorder {
    let recorder = settings(daemon, chance);
    let pool = Mutex::new(Vec::new());
    let shuts_down = chance.below(3) == 0;
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            let (recorder, pool) = (&recorder, &pool);
            let mut chance = Chance(chance.next() + at);
            scope.spawn(move || {
                for step_at in 0..STEPS {
                    if shuts_down && at == 0 && step_at == STEPS / 2 {
                        let _ = recorder.shutdown(Duration::from_millis(5)).wait();
                    }
                    step(recorder, pool, &mut chance);
                }
            });
        }
    });
    drop(pool);
    let left = recorder.flush(LONG).wait().remaining;
    assert_eq!(left, 0, "{recorder:?}, {:?}", recorder.documents());
    recorder
}

fn settings(daemon: &Daemon, chance: &mut Chance) -> Recorder {
    let mut builder = sends_to(daemon.address()).pace(Pace::unlimited());
    if chance.below(2) == 0 {
        builder = builder.send_inline();
    }
    if chance.below(3) == 0 {
        builder = builder.queue_limits(4, 64_000);
    }
    if chance.below(3) == 0 {
        builder = builder.open_limits(20, 10);
    }
    if chance.below(2) == 0 {
        builder = builder.show_after(Some(Duration::from_millis(1)));
    }
    builder = match chance.below(3) {
        0 => builder.sampler(Ratio::new(0.5)),
        _ => builder.sampler(Always),
    };
    match chance.below(3) {
        0 => {}
        1 => {
            builder = builder.hook(|document| {
                document.annotations.insert("hooked".into(), true.into());
                Keep::Send
            });
        }
        _ => {
            builder = builder.hook(|document| match document.subsegments.len() {
                0 => Keep::Send,
                1 => Keep::Drop,
                2 => resume_unwind(Box::new("a hook that panics")),
                _ => Keep::Send,
            });
        }
    }
    builder.build().expect("these settings are fine")
}

fn step(recorder: &Recorder, pool: &Mutex<Vec<Held>>, chance: &mut Chance) {
    let lock = || pool.lock().expect("no panic while it is held");
    // Whatever is picked up is in nobody else's hands meanwhile; its entity is.
    let picked = {
        let mut pool = lock();
        let count = pool.len() as u64;
        (count > 0).then(|| pool.swap_remove(chance.below(count) as usize))
    };
    let Some(held) = picked else {
        lock().push(Held::Segment(recorder.begin_segment("stress")));
        return;
    };
    let entity = held.entity().clone();
    match chance.below(16) {
        0 | 1 => lock().push(Held::Segment(recorder.begin_segment("stress"))),
        2..=4 => lock().push(Held::Subsegment(entity.begin_subsegment("part"))),
        // Children may be open, elsewhere.
        5..=7 => return,
        8 => {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _closed_as_fault = held;
                resume_unwind(Box::new("as intended"));
            }));
            assert!(unwound.is_err());
            return;
        }
        9 => {
            entity.annotate("step", chance.next());
            entity.metadata("text", "x".repeat(chance.below(30_000) as usize));
            entity.tally("tally", Tally::Sum(1.0));
            entity.mark(Class::Error);
        }
        10 => entity.in_subsegment("outer", |outer| {
            outer.record_exception("kind", "message", Class::Fault);
            current().in_subsegment("inner", |inner| inner.annotate("deep", true));
        }),
        11 => {
            let hold = entity.hold();
            drop(held);
            drop(hold);
            return;
        }
        12 => drop(recorder.snapshot()),
        13 => recorder.show_open(Duration::from_millis(chance.below(3))),
        14 => {
            let mut flush = recorder.flush(Duration::from_millis(1));
            if chance.below(2) == 0 {
                let mut context = Context::from_waker(Waker::noop());
                let _ = Future::poll(std::pin::Pin::new(&mut flush), &mut context);
            } else {
                let _ = flush.wait();
            }
        }
        _ => {
            assert!(recorder.documents().created > 0 || recorder.entities().begun > 0);
            for _ in 0..chance.below(100) {
                entity.begin_subsegment("many").close();
            }
        }
    }
    lock().push(held);
}

/// xorshift64*: the same steps for the same seed, as far as threads let it.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
