//! What the operating system and the standard library take for what a trace
//! cannot do without.

use std::hint::black_box;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

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

/// One for each call that sends: whether anybody listens.
pub(crate) fn socket_error(calls: u32) -> Figures {
    let sink = Sink::new().expect("loopback has a free port");
    let socket = sink.sender().expect("loopback has a free port");
    measure::each(calls, |_| {
        let _ = black_box(socket.take_error());
    })
}

/// What is left of the send when one call takes as many traces as ours does.
pub(crate) fn sent_together(calls: u32) -> Figures {
    const TOGETHER: u32 = 19;
    const BYTES: u16 = 2_250;
    let sink = Sink::new().expect("loopback has a free port");
    let socket = sink.sender().expect("loopback has a free port");
    let datagrams = vec![b' '; TOGETHER as usize * usize::from(BYTES)];
    measure::each(calls, |number| {
        if number % TOGETHER == 0 {
            let parts = [ControlMessage::UdpGsoSegments(&BYTES)];
            let slices = [IoSlice::new(&datagrams)];
            let flags = MsgFlags::empty();
            let sent = sendmsg::<()>(socket.as_raw_fd(), &slices, &parts, flags, None);
            black_box(sent).expect("Linux parts datagrams");
        }
    })
}
