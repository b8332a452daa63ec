//! How documents leave, so that it can begin anew in a forked process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::inline::InlineEmitter;
use super::resolve::Resolver;
use super::worker::{Watched, WorkerEmitter};
use super::{Emitter, Pace, Piece};
use crate::daemon_address::DaemonAddress;
use crate::ledger::Loss;

/// Which emitter.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Thread(Settings),
    Inline(Settings),
    /// A recorder that is off sends nothing, and asks for no address.
    Off(Settings),
    Custom(Arc<dyn Emitter>),
}

/// What the emitters of ours need.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) address: DaemonAddress,
    pub(crate) resolver: Resolver,
    pub(crate) limit: usize,
    /// Pieces and bytes.
    pub(crate) queue: (usize, usize),
    pub(crate) pace: Pace,
    pub(crate) show_after: Option<Duration>,
}

impl Way {
    pub(crate) fn start(&self, watched: &Watched) -> io::Result<Arc<dyn Emitter>> {
        Ok(match self {
            Self::Thread(settings) => Arc::new(WorkerEmitter::start(settings, watched.clone())?),
            Self::Inline(settings) => Arc::new(InlineEmitter::new(settings).look_up()),
            Self::Off(settings) => Arc::new(InlineEmitter::new(settings)),
            Self::Custom(emitter) => emitter.clone(),
        })
    }

    /// How old what is open must be to be shown by the emission thread.
    pub(crate) fn show_after(&self) -> Option<Duration> {
        match self {
            Self::Thread(settings) => settings.show_after,
            _ => None,
        }
    }
}

/// Sends nothing: a forked process that gets no thread.
#[derive(Debug)]
pub(crate) struct Stranded;

impl Emitter for Stranded {
    fn emit(&self, mut piece: Piece) {
        piece.lose(Loss::Fork);
    }
}
