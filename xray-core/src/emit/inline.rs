//! Sends on the thread that closes a segment.

use std::sync::{Mutex, PoisonError};

use super::udp::Udp;
use super::worker::{Sender, Waits};
use super::{Emitter, Piece};
use crate::daemon_address::DaemonAddress;
use crate::encode::pack::Packer;

/// Sends before `close` returns; waits for nothing.
#[derive(Debug)]
pub(crate) struct InlineEmitter(Mutex<Sender>);

impl InlineEmitter {
    pub(crate) fn new(address: &DaemonAddress, limit: usize) -> Self {
        Self(Mutex::new(Sender {
            udp: Udp::new(address),
            limit,
            packer: Packer::default(),
        }))
    }
}

impl Emitter for InlineEmitter {
    fn emit(&self, piece: Piece) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sender.send(piece, &mut Waits::Never);
    }
}
