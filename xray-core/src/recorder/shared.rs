//! What the clones of a recorder and its traces share, and what stands in for
//! it in a forked process.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::emit::deferred::Deferred;
use crate::emit::flush::deadline;
use crate::emit::hook::Hooks;
use crate::emit::in_hand::InHand;
use crate::emit::way::{Stranded, Way};
use crate::emit::worker::Watched;
use crate::emit::{Emitter, Flush, Piece};
use crate::entropy::Entropy;
use crate::error::ConfigError;
use crate::ledger::{Ledger, Loss};
use crate::live::Live;
use crate::process;
use crate::record::Spare;
use crate::sampling::Guarded;
use crate::unsampled::Pool;

/// What every trace of a recorder needs.
pub(crate) struct Core {
    pub(crate) name: String,
    /// The name that code gave, where the operator gave another.
    pub(crate) replaced_name: Option<String>,
    /// Off by the operator: nothing is recorded, headers are passed on.
    pub(crate) disabled: bool,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) sampler: Guarded,
    pub(crate) way: Way,
    pub(crate) emitter: Arc<dyn Emitter>,
    pub(crate) live: Live,
    pub(crate) unsampled: Pool,
    pub(crate) limits: OpenLimits,
    pub(crate) common: Arc<Common>,
    pub(crate) warnings: Vec<ConfigError>,
    /// The one this was made in: in any other the emission thread is missing,
    /// and whoever held a lock holds it for ever.
    pub(crate) process: u32,
    pub(crate) heir: Heir,
}

/// What stands in for a [`Core`] in a forked process, once it was needed there.
#[derive(Default)]
pub(crate) struct Heir {
    /// The process that makes it. If that is forked meanwhile, its child finds
    /// something half made that will never be done.
    maker: AtomicU32,
    core: OnceLock<Arc<Core>>,
}

/// What may be open at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenLimits {
    pub(crate) open_traces: usize,
    /// Of one trace.
    pub(crate) open_entities: usize,
}

/// What even a finished piece on its way out needs.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    pub(crate) service_version: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) spare: Spare,
    pub(crate) deferred: Deferred,
    pub(crate) in_hand: InHand,
}

impl Common {
    /// The same, with nothing counted yet.
    fn anew(&self) -> Self {
        Self {
            ledger: Ledger::default(),
            service_version: self.service_version.clone(),
            origin: self.origin.clone(),
            hooks: self.hooks.clone(),
            spare: Spare::default(),
            deferred: Deferred::default(),
            in_hand: InHand::default(),
        }
    }
}

impl Core {
    /// What stands for this one in `process`. This one, where it could not be
    /// replaced.
    pub(crate) fn here(self: &Arc<Self>, process: u32) -> &Arc<Self> {
        let mut core = self;
        while core.process != process {
            match core.heir(process) {
                Some(heir) => core = heir,
                None => break,
            }
        }
        core
    }

    #[cold]
    fn heir(&self, process: u32) -> Option<&Arc<Self>> {
        let Heir { maker, core } = &self.heir;
        if let Some(core) = core.get() {
            return Some(core);
        }
        match maker.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(core.get_or_init(|| self.anew(process))),
            Err(maker) if maker == process => Some(core.wait()),
            Err(_) => None,
        }
    }

    /// The same in another process: nothing open, nothing queued, nothing counted.
    fn anew(&self, process: u32) -> Arc<Self> {
        let watched = Watched::new(self.way.show_after());
        let emitter = self.way.start(&watched);
        let core = Arc::new(Self {
            name: self.name.clone(),
            replaced_name: self.replaced_name.clone(),
            disabled: self.disabled,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            sampler: self.sampler.clone(),
            way: self.way.clone(),
            emitter: emitter.unwrap_or_else(|_| Arc::new(Stranded)),
            live: Live::new(self.limits.open_traces),
            unsampled: Pool::default(),
            limits: self.limits,
            common: Arc::new(self.common.anew()),
            warnings: Vec::new(), // the first one's are asked for
            process,
            heir: Heir::default(),
        });
        watched.set(&core);
        core
    }

    /// Entities and documents lost as `fork` by those that `core` stands in for.
    pub(super) fn forked_before(self: &Arc<Self>, core: &Arc<Self>) -> (u64, u64) {
        let mut forked = (0, 0);
        let mut before = self;
        while !Arc::ptr_eq(before, core) {
            let (entities, documents) = before.common.ledger.forked();
            forked = (forked.0 + entities, forked.1 + documents);
            let Some(heir) = before.heir.core.get() else {
                break;
            };
            before = heir;
        }
        forked
    }

    pub(crate) fn emit(&self, mut piece: Piece) {
        if self.process == process::last_seen() {
            self.emitter.emit(piece);
        } else {
            piece.lose(Loss::Fork);
        }
    }

    /// Lets what is closed leave, wherever it waits for more.
    fn hand_over_closed(&self) {
        for trace in self.live.traces() {
            trace.hand_over_closed();
        }
    }

    /// To wait until the emitter has what left its trace before, if it has not.
    fn under_way(common: &Arc<Common>, deadline: Instant) -> Option<Flush> {
        let Some(in_hand) = InHand::flush(common, deadline) else {
            return Deferred::flush(common, deadline);
        };
        // What is in hand now may be deferred.
        let common = common.clone();
        Some(in_hand.then(move || Deferred::flush(&common, deadline).unwrap_or_else(Flush::done)))
    }

    /// Gives the emitter what is under way to it first.
    pub(super) fn flush(&self, timeout: Duration) -> Flush {
        if self.process != process::last_seen() {
            return Flush::done();
        }
        self.hand_over_closed();
        let (emitter, deadline) = (self.emitter.clone(), deadline(timeout));
        match Self::under_way(&self.common, deadline) {
            None => emitter.flush(timeout),
            Some(under_way) => under_way.then(move || {
                let left = deadline.saturating_duration_since(Instant::now());
                emitter.flush(left)
            }),
        }
    }

    pub(super) fn shutdown(&self, timeout: Duration) -> Flush {
        if self.process != process::last_seen() {
            return Flush::done();
        }
        self.hand_over_closed();
        let under_way = Self::under_way(&self.common, deadline(timeout));
        let shutdown = self.emitter.shutdown(timeout);
        match under_way {
            None => shutdown,
            Some(under_way) => under_way.then(move || shutdown),
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("name", &self.name)
            .field("sampler", &self.sampler.sampler)
            .field("emitter", &self.emitter)
            .finish_non_exhaustive()
    }
}
