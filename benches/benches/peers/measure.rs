//! Takes the times. CPU, not wall time: the machine is shared.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};

use crate::allocations;
use crate::sink::Sink;
use crate::work::Peer;

/// What a scenario found out, under short names.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// How often traces begin.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// As fast as what is behind can send: a producer waits when as many traces
    /// do as the peer has [`room`](Peer::room) for, until it is less than half.
    Saturated,
    /// A thousand a second: caches are cold, threads asleep.
    Paced,
}

/// What a trace costs, from begin until it is sent.
pub(crate) fn sending(
    peer: &dyn Peer,
    sink: &Sink,
    rate: Rate,
    traces: u32,
    producers: u32,
) -> Figures {
    let begun = AtomicU64::new(0);
    let run = |traces| run(peer, rate, traces, producers, &begun);
    let mut before = 0;
    run(traces / 2);
    sink.arrived(&mut before);
    let sent_before = peer.sent();
    let timed = run(traces);
    let arrived = sink.arrived(&mut before);
    let all = f64::from(traces);
    let mut figures = vec![
        ("caller", timed.caller / all),
        ("process", timed.process / all),
        ("wall", timed.wall / all),
    ];
    if let (Some(after), Some(before)) = (peer.sent(), sent_before) {
        figures.push(("sent", (after - before) as f64 / all));
    }
    figures.extend(arrived.map(|datagrams| ("datagrams", datagrams as f64 / all)));
    allocations::count(true);
    let counted = run(traces / 2);
    allocations::count(false);
    let all = f64::from(traces / 2);
    figures.push(("caller_allocations", counted.caller_allocations / all));
    figures.push(("process_allocations", counted.process_allocations / all));
    figures
}

/// Nanoseconds of CPU and of the clock on the wall, and allocations.
struct Run {
    caller: f64,
    process: f64,
    wall: f64,
    caller_allocations: f64,
    process_allocations: f64,
}

/// Traces between two looks at the clock, at the saturated rate.
const CHUNK: u32 = 16;

/// Producers that begin `traces` among them; then what waits is flushed.
fn run(peer: &dyn Peer, rate: Rate, traces: u32, producers: u32, begun: &AtomicU64) -> Run {
    let clock = cost_of_a_reading();
    let share = traces / producers;
    let ready = Barrier::new(producers as usize + 1);
    std::thread::scope(|scope| {
        let produce = || {
            ready.wait();
            producer(peer, rate, share, begun, clock)
        };
        let threads: Vec<_> = (0..producers).map(|_| scope.spawn(produce)).collect();
        let (allocated, process, wall) = (
            allocations::of_process(),
            ProcessTime::now(),
            Instant::now(),
        );
        ready.wait();
        let ends = threads.into_iter();
        let ends = ends.map(|thread| thread.join().expect("a producer does not panic"));
        let ends = ends.reduce(Spent::and).unwrap_or_default();
        peer.flush();
        let process = process.elapsed().saturating_sub(ends.idle);
        let allocated = allocations::of_process() - allocated - ends.idle_allocations;
        Run {
            caller: ends.caller.as_nanos() as f64,
            process: process.as_nanos() as f64,
            wall: wall.elapsed().as_nanos() as f64,
            caller_allocations: ends.caller_allocations as f64,
            process_allocations: allocated as f64,
        }
    })
}

/// What a producer spent on its traces, and on waiting between them.
#[derive(Default)]
struct Spent {
    caller: Duration,
    idle: Duration,
    caller_allocations: u64,
    idle_allocations: u64,
}

impl Spent {
    fn and(self, other: Self) -> Self {
        Self {
            caller: self.caller + other.caller,
            idle: self.idle + other.idle,
            caller_allocations: self.caller_allocations + other.caller_allocations,
            idle_allocations: self.idle_allocations + other.idle_allocations,
        }
    }
}

fn producer(peer: &dyn Peer, rate: Rate, share: u32, begun: &AtomicU64, clock: Duration) -> Spent {
    let (life, allocated) = (ThreadTime::now(), allocations::of_thread());
    let mut spent = Spent::default();
    let chunk = if rate == Rate::Saturated { CHUNK } else { 1 };
    let mut next = Instant::now();
    let mut patient = true;
    for first in (0..share).step_by(chunk as usize) {
        let (counted, thread) = (allocations::of_thread(), ThreadTime::now());
        let end = share.min(first + chunk);
        for round in first..end {
            peer.trace(round);
        }
        spent.caller += thread.elapsed().saturating_sub(clock);
        spent.caller_allocations += allocations::of_thread() - counted;
        let traces = u64::from(end - first);
        let begun = begun.fetch_add(traces, Ordering::Relaxed) + traces;
        match rate {
            Rate::Saturated => patient = patient && wait_for_room(peer, begun),
            Rate::Paced => {
                next += Duration::from_millis(1);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
    }
    spent.idle = life.elapsed().saturating_sub(spent.caller);
    spent.idle_allocations = allocations::of_thread() - allocated - spent.caller_allocations;
    spent
}

/// Waits until the peer has room for more; `false` where it never does. What
/// was lost inside a peer counts as waiting: the column of what was sent tells.
fn wait_for_room(peer: &dyn Peer, begun: u64) -> bool {
    if peer.waiting(begun) <= peer.room() {
        return true;
    }
    let end = Instant::now() + Duration::from_secs(1);
    while peer.waiting(begun) > peer.room() * 2 / 5 {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    true
}

/// Reading the clock is a system call, and part of what it measures.
fn cost_of_a_reading() -> Duration {
    let mut costs: Vec<Duration> = (0..501).map(|_| ThreadTime::now().elapsed()).collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// What one call of `work` costs, for what needs no other thread.
pub(crate) fn each(calls: u32, mut work: impl FnMut(u32)) -> Figures {
    for round in 0..calls / 8 {
        work(round);
    }
    let thread = ThreadTime::now();
    for round in 0..calls {
        work(round);
    }
    let caller = thread.elapsed().as_nanos() as f64 / f64::from(calls);
    allocations::count(true);
    let before = allocations::of_thread();
    for round in 0..COUNTED {
        work(black_box(round));
    }
    let allocated = (allocations::of_thread() - before) as f64 / f64::from(COUNTED);
    allocations::count(false);
    vec![("caller", caller), ("caller_allocations", allocated)]
}

const COUNTED: u32 = 1_000;
