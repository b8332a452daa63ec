//! What the operating system and the standard library take for what a trace
//! cannot do without.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::measure::{self, Figures};
use crate::sink::Sink;

/// 21 of ten entities: each begins and closes, and one wall reading.
pub(crate) fn clock(calls: u32) -> Figures {
    measure::each(calls, |_| {
        black_box(Instant::now());
    })
}

/// 47 of the work: each call of a handle.
pub(crate) fn lock(calls: u32) -> Figures {
    let lock = Mutex::new(0_u64);
    measure::each(calls, |_| {
        *black_box(&lock)
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
    })
}

/// One a trace: a forked process must not repeat its parent's ids.
pub(crate) fn process_id(calls: u32) -> Figures {
    measure::each(calls, |_| {
        black_box(std::process::id());
    })
}

/// One a datagram: whether anybody listens.
pub(crate) fn socket_error(calls: u32) -> Figures {
    let sink = Sink::new().expect("loopback has a free port");
    let socket = sink.sender().expect("loopback has a free port");
    measure::each(calls, |_| {
        let _ = black_box(socket.take_error());
    })
}
