//! Sends on the thread that closes a segment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::resolve::Resolver;
use super::udp::Udp;
use super::worker::{Sender, Waits};
use super::{Emitter, Flush, Piece};
use crate::daemon_address::DaemonAddress;
use crate::encode::pack::Packer;
use crate::ledger::Loss;

/// Sends before `close` returns; waits for nothing.
#[derive(Debug)]
pub(crate) struct InlineEmitter {
    sender: Mutex<Sender>,
    is_shut_down: AtomicBool,
}

impl InlineEmitter {
    pub(crate) fn new(address: &DaemonAddress, resolver: Resolver, limit: usize) -> Self {
        Self {
            sender: Mutex::new(Sender {
                udp: Udp::new(address, resolver),
                limit,
                packer: Packer::default(),
            }),
            is_shut_down: AtomicBool::new(false),
        }
    }
}

impl Emitter for InlineEmitter {
    fn emit(&self, mut piece: Piece) {
        if self.is_shut_down.load(Ordering::Acquire) {
            piece.lose(Loss::Shutdown);
            return;
        }
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.send(piece, &mut Waits::Never);
    }

    fn shutdown(&self, _: Duration) -> Flush {
        self.is_shut_down.store(true, Ordering::Release);
        Flush::done()
    }
}
