//! Those who wait for a flush, on a thread or in a task.
//!
//! A thread waits here itself. Tasks are woken by one thread for all of them,
//! which is there as long as one of them waits, and is relieved by another before
//! it runs a waker while others wait: no runtime's timer is needed,
//! none can starve it, and a flush that is dropped leaves nothing behind.

use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::Flushed;
use crate::guard::guarded;
use crate::process;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

/// What is waited for. It rings the room whenever it may be reached.
pub(super) trait Goal: Send + Sync {
    /// How it stands: an answer, once it is reached.
    fn reached(&self) -> Option<Flushed>;

    /// The answer where nobody waits any longer.
    fn stand(&self) -> Flushed;

    /// The answer when the time is over.
    fn give_up(&self) -> Flushed {
        self.stand()
    }

    /// Whether it takes the calling thread to get there.
    fn is_up_to_this_thread(&self) -> bool;

    /// Somebody comes to wait.
    fn enter(&self);

    /// Who came to wait is gone.
    fn leave(&self);
}

#[derive(Default)]
pub(super) struct Room {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts up, so that no ring is missed.
    rings: u64,
    numbers: u64,
    seats: Vec<Seat>,
    /// Those who are to be woken, and have no seat any more.
    due: Vec<Seat>,
    /// There is a thread that wakes those who have a seat.
    is_attended: bool,
}

/// A task that waits.
struct Seat {
    number: u64,
    waker: Waker,
    goal: Arc<dyn Goal>,
    deadline: Instant,
}

/// Somebody who may come to wait, or does.
pub(super) struct Guest {
    room: Arc<Room>,
    goal: Arc<dyn Goal>,
    deadline: Instant,
    /// In any other, a forked one, there is nothing to wait for.
    process: u32,
    has_entered: bool,
    seat: Option<u64>,
}

impl Room {
    /// Something was done: all who wait look again.
    pub(super) fn ring(&self) {
        self.state.lock().rings += 1;
        self.rung.notify_all();
    }

    /// Waits for the next ring, at most until then.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        rings: u64,
        until: Instant,
    ) -> MutexGuard<'a, State> {
        while state.rings == rings {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.rung.wait_timeout(state, left);
        }
        state
    }

    /// Takes a seat, or the one that is taken already.
    fn sit(self: &Arc<Self>, guest: &mut Guest, waker: &Waker) -> bool {
        let waker = waker.clone(); // foreign code: not under the lock
        let mut state = self.state.lock();
        let number = *guest.seat.get_or_insert_with(|| {
            state.numbers += 1;
            state.numbers
        });
        let seat = Seat {
            number,
            waker,
            goal: guest.goal.clone(),
            deadline: guest.deadline,
        };
        let taken = state.seats.iter_mut().find(|seat| seat.number == number);
        let before = match taken {
            Some(taken) => Some(std::mem::replace(taken, seat)),
            None => {
                state.seats.push(seat);
                None
            }
        };
        let attends = !std::mem::replace(&mut state.is_attended, true);
        drop(state);
        drop(before);
        // The goal may have been reached since it was looked at.
        self.ring();
        if !attends {
            return true;
        }
        let spawned = self.spawn_attendant();
        if !spawned {
            self.state.lock().is_attended = false;
        }
        spawned
    }

    /// Gives a seat up, if it is taken.
    fn rise(&self, number: u64) {
        let mut state = self.state.lock();
        let taken = state.seats.iter().position(|seat| seat.number == number);
        let seat = taken.map(|at| state.seats.swap_remove(at));
        drop(state);
        drop(seat);
        self.ring();
    }

    /// Wakes those whose goal is reached, or whose time is over, until nobody
    /// has a seat. A waker may block: while others wait, another thread goes on.
    fn attend(self: &Arc<Self>) {
        while let Some((Seat { waker, .. }, is_last)) = self.next_due() {
            let is_relieved = is_last || self.spawn_attendant();
            guarded(|| waker.wake());
            if is_relieved {
                return;
            }
        }
    }

    fn spawn_attendant(self: &Arc<Self>) -> bool {
        let room = self.clone();
        let attendant = thread::Builder::new().name("xray-flush".to_owned());
        attendant.spawn(move || room.attend()).is_ok()
    }

    /// Waits for the next one to wake, and tells whether it is the last.
    fn next_due(&self) -> Option<(Seat, bool)> {
        let mut state = self.state.lock();
        loop {
            if let Some(seat) = state.due.pop() {
                state.is_attended = !(state.due.is_empty() && state.seats.is_empty());
                let is_last = !state.is_attended;
                return Some((seat, is_last));
            }
            if state.seats.is_empty() {
                state.is_attended = false;
                return None;
            }
            let rings = state.rings;
            let seats = state.seats.iter();
            let goals: Vec<_> = seats
                .map(|seat| (seat.number, seat.goal.clone(), seat.deadline))
                .collect();
            drop(state);
            let now = Instant::now();
            let due = goals.into_iter().filter_map(|(number, goal, deadline)| {
                (now >= deadline || goal.reached().is_some()).then_some(number)
            });
            let due: Vec<u64> = due.collect();
            state = self.state.lock();
            let (due, waiting) = std::mem::take(&mut state.seats)
                .into_iter()
                .partition::<Vec<_>, _>(|seat| due.contains(&seat.number));
            state.due.extend(due);
            state.seats = waiting;
            let until = state.seats.iter().map(|seat| seat.deadline).min();
            if state.due.is_empty()
                && let Some(until) = until
            {
                state = self.wait(state, rings, until);
            }
        }
    }
}

impl Guest {
    pub(super) fn new(room: Arc<Room>, goal: Arc<dyn Goal>, deadline: Instant) -> Self {
        Self {
            room,
            goal,
            deadline,
            process: process::id(),
            has_entered: false,
            seat: None,
        }
    }

    fn is_elsewhere(&self) -> bool {
        self.process != process::id()
    }

    /// The answer, where there is one by now. Whoever gets none has come to wait,
    /// and hears of all that is done from here on.
    fn answer(&mut self) -> Option<Flushed> {
        if self.is_elsewhere() {
            return Some(Flushed::leaving(0));
        }
        if !std::mem::replace(&mut self.has_entered, true) {
            self.goal.enter();
        }
        if let Some(flushed) = self.goal.reached() {
            return Some(flushed);
        }
        if self.goal.is_up_to_this_thread() {
            return Some(self.goal.stand());
        }
        (Instant::now() >= self.deadline).then(|| self.goal.give_up())
    }

    pub(super) fn wait(mut self) -> Flushed {
        let mut rings = 0;
        loop {
            if let Some(flushed) = self.answer() {
                return flushed;
            }
            let state = self.room.wait(self.room.state.lock(), rings, self.deadline);
            rings = state.rings;
        }
    }

    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Flushed> {
        if let Some(flushed) = self.answer() {
            return Poll::Ready(flushed);
        }
        let room = self.room.clone();
        if room.sit(self, waker) {
            Poll::Pending
        } else {
            Poll::Ready(self.goal.stand())
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_elsewhere() {
            return; // whoever held the locks at the fork holds them for ever
        }
        if let Some(number) = self.seat {
            self.room.rise(number);
        }
        if self.has_entered {
            self.goal.leave();
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}
