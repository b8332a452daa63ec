//! Configuration of a recorder: what code says, and what the operator says.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, TimeSource};
use crate::context::ContextMissing;
use crate::daemon_address::DaemonAddress;
use crate::document::Document;
use crate::emit::capture::Capture;
use crate::emit::hook::Keep;
use crate::emit::resolve::{Resolve, Resolver};
use crate::emit::way::{Settings, Way};
use crate::emit::worker::Watched;
use crate::emit::{Emitter, Pace};
use crate::entropy::{Entropy, RandomSource};
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::limits;
use crate::live::Live;
use crate::process;
use crate::recorder::{Common, Core, Heir, OpenLimits, Recorder};
use crate::report::{Report, report};
use crate::sampling::{Guarded, LocalRules, Sampler};
use crate::unsampled::Pool;

/// Configures a [`Recorder`].
///
/// The environment beats what is set here, as in every X-Ray SDK, unless
/// [`ignore_environment`](Self::ignore_environment) is called:
///
/// | variable | value | stands for |
/// |---|---|---|
/// | `AWS_XRAY_DAEMON_ADDRESS` | `host:port`, or `tcp:host:port udp:host:port` | [`daemon_address`](Self::daemon_address) |
/// | `AWS_XRAY_TRACING_NAME` | any text | the name, and that of each segment that begins under the name set here |
/// | `AWS_XRAY_CONTEXT_MISSING` | `LOG_ERROR`, `IGNORE_ERROR`, `RUNTIME_ERROR` | [`context_missing`](Self::context_missing) |
/// | `AWS_XRAY_SDK_ENABLED` | `true`, `false` | [`enabled`](Self::enabled) |
/// | `AWS_XRAY_SDK_DISABLED` | `true`, `false` | [`enabled(false)`](Self::enabled) |
///
/// For `true` and `false` there are also `t`, `yes`, `y`, `on`, `1` and `f`, `no`,
/// `n`, `off`, `0`, in any case. An empty variable counts as unset; one that is
/// wrong, or no UTF-8, is skipped, logged, and listed
/// in [`Recorder::warnings`].
#[must_use = "nothing is recorded before `build`"]
pub struct RecorderBuilder {
    name: String,
    /// By the operator's.
    replaced_name: Option<String>,
    enabled: bool,
    context_missing: Option<ContextMissing>,
    daemon_address: Option<DaemonAddress>,
    resolver: Resolver,
    sampler: Arc<dyn Sampler>,
    emission: Emission,
    document_limit: usize,
    queue_pieces: usize,
    queue_bytes: usize,
    show_after: Option<Duration>,
    open: OpenLimits,
    pace: Pace,
    clock: Clock,
    entropy: Entropy,
    common: Common,
    environment: Lookup,
}

/// How documents leave.
enum Emission {
    Thread,
    Inline,
    Custom(Arc<dyn Emitter>),
}

/// Reads one variable; `None` where the environment is ignored.
struct Lookup(Option<Box<ReadVariable>>);

type ReadVariable = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl RecorderBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            replaced_name: None,
            enabled: true,
            context_missing: None,
            daemon_address: None,
            resolver: Resolver::default(),
            sampler: Arc::new(LocalRules::default()),
            emission: Emission::Thread,
            document_limit: limits::DOCUMENT_BYTES,
            queue_pieces: limits::QUEUE_PIECES,
            queue_bytes: limits::QUEUE_BYTES,
            show_after: Some(limits::SHOW_AFTER),
            open: OpenLimits {
                open_traces: limits::OPEN_TRACES,
                open_entities: limits::OPEN_ENTITIES,
            },
            pace: Pace::default(),
            clock: Clock::default(),
            entropy: Entropy::default(),
            common: Common::default(),
            environment: Lookup(Some(Box::new(|name| std::env::var_os(name)))),
        }
    }

    /// Whether anything is recorded. Switched off, every handle does nothing,
    /// and the caller's header is passed on as it came. Defaults to true.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// What happens where a subsegment is begun and no trace is current: one
    /// setting for the process, the last recorder built decides. Defaults to
    /// [`ContextMissing::Log`].
    pub fn context_missing(mut self, policy: ContextMissing) -> Self {
        self.context_missing = Some(policy);
        self
    }

    /// Looks at every finished document before it is sent, and may change it or
    /// keep it back: default annotations, redaction, filters. Hooks run in the
    /// order they were added, on the thread that sends; what they do themselves
    /// is not traced. A hook that waits for a flush waits for itself, until the time
    /// of that flush is over.
    ///
    /// A hook may add 512 bytes to a document; one that is too large after it
    /// is lost as `too_large`. A hook that panics loses its document as
    /// `hook_panic`, as it may have been about to redact it, and harms nothing
    /// else. While there is none, nothing is paid for it.
    ///
    /// The recorder holds its hooks, so a hook that holds the recorder, or a
    /// handle of it, keeps both for ever, and the emission thread with them. Give
    /// it a [`Weak`](std::sync::Weak) of something that the program owns:
    ///
    /// ```
    /// # use std::sync::{Arc, OnceLock};
    /// # use xray_core::{ConfigError, Keep, Recorder};
    /// let own: Arc<OnceLock<Recorder>> = Arc::default();
    /// let weak = Arc::downgrade(&own);
    /// # let weak_of_all = weak.clone();
    /// let recorder = Recorder::builder("shop").hook(move |document| {
    ///     if let Some(recorder) = weak.upgrade().as_deref().and_then(OnceLock::get) {
    ///         let lost: u64 = recorder.documents().lost.values().sum();
    ///         document.annotations.insert("lost".into(), lost.into());
    ///     }
    ///     Keep::Send
    /// });
    /// own.set(recorder.build()?).expect("it is the only one");
    /// # drop(own);
    /// # assert!(weak_of_all.upgrade().is_none());
    /// # Ok::<(), ConfigError>(())
    /// ```
    ///
    /// A document stays valid whatever a hook writes: names, keys, ids, times and
    /// members of a known type are made valid as recorded ones are, or left out,
    /// which counts as trimmed ([`Events::trimmed`](crate::Events)). `aws`,
    /// annotations and metadata that no hook changes are sent to the letter as they
    /// were recorded.
    ///
    /// ```
    /// use xray_core::{Keep, Recorder};
    ///
    /// let builder = Recorder::builder("shop").hook(|document| {
    ///     document.annotations.insert("stage".into(), "prod".into());
    ///     if document.name == "health" { Keep::Drop } else { Keep::Send }
    /// });
    /// ```
    pub fn hook(mut self, hook: impl Fn(&mut Document) -> Keep + Send + Sync + 'static) -> Self {
        self.common.hooks.add(Arc::new(hook));
        self
    }

    /// Where the daemon listens. Defaults to `127.0.0.1:2000`.
    pub fn daemon_address(mut self, address: impl Into<DaemonAddress>) -> Self {
        self.daemon_address = Some(address.into());
        self
    }

    /// Finds the addresses of the daemon's host, where that is a name. Asked
    /// again every half minute, and soon when nobody listens at any of those
    /// found; they stay in use until others are known, and nobody waits. The
    /// operating system's resolver by default.
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = Resolver::new(resolver);
        self
    }

    /// Decides about requests whose header leaves it open. Defaults to
    /// [`LocalRules::default`]: 1 request a second, then 5 %, as in every X-Ray
    /// SDK. [`Always`](crate::Always) samples everything.
    pub fn sampler(mut self, sampler: impl Sampler) -> Self {
        self.sampler = Arc::new(sampler);
        self
    }

    /// The version of the service, shown on each segment. None by default.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.common.service_version = Some(version.into());
        self
    }

    /// The AWS resource type the service runs on, such as
    /// `AWS::ECS::Container`. None by default.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.common.origin = Some(origin.into());
        self
    }

    /// Sends on the thread that closes a segment, before `close` returns,
    /// instead of on a thread of our own. For processes that may be stopped as
    /// soon as their answer is out.
    ///
    /// Nothing waits for the daemon. Where its address is a name, that is looked
    /// up from [`build`](Self::build) on, and what is closed before there is an
    /// answer waits for it, at most until a second after `build`; later it is
    /// lost as `no_address`.
    pub fn send_inline(mut self) -> Self {
        self.emission = Emission::Inline;
        self
    }

    /// Hands finished pieces to an emitter of your own.
    pub fn emitter(mut self, emitter: impl Emitter) -> Self {
        self.emission = Emission::Custom(Arc::new(emitter));
        self
    }

    /// Largest document, in bytes. A trace that exceeds it is split into
    /// several; a single entity that exceeds it is trimmed, and one that cannot
    /// be trimmed below it is dropped as `too_large`. Choose it below what the
    /// daemon and the network take: too high a value makes the operating system
    /// refuse the datagram. Defaults to 64,000.
    ///
    /// [`build`](Self::build) fails below 1,024 and above 65,474, which is what
    /// a UDP datagram over IPv4 carries behind the header line.
    pub fn document_limit(mut self, bytes: usize) -> Self {
        self.document_limit = bytes;
        self
    }

    /// What may wait for the emission thread: finished pieces of traces, and
    /// their estimated bytes. What comes on top is lost as `queue_full`. A few
    /// pieces wait for 20 ms at most, as documents that leave together cost less.
    /// Defaults to 4,096 pieces and 32 MiB.
    pub fn queue_limits(mut self, pieces: usize, bytes: usize) -> Self {
        self.queue_pieces = pieces;
        self.queue_bytes = bytes;
        self
    }

    /// How long something may be open before it is shown as in progress, so
    /// that long work can be seen while it goes on. Looked after by the
    /// emission thread, within twice that time; `None` never shows anything.
    /// Defaults to one minute.
    pub fn show_after(mut self, age: Option<Duration>) -> Self {
        self.show_after = age;
        self
    }

    /// What may be open at once, against handles that are never closed: traces
    /// in this recorder, and segments and subsegments in one trace. Of too many
    /// traces the oldest are given up, a sixteenth at a time, as `limit_open`;
    /// what is begun in a trace that is full is not recorded, as
    /// `limit_children`, and what it calls gets the header of its parent. Traces
    /// are counted by threads apart, so where many begin them at once there may
    /// be up to twice as many for a while. Defaults to 100,000 and 250,000.
    pub fn open_limits(mut self, traces: usize, entities: usize) -> Self {
        self.open = OpenLimits {
            open_traces: traces,
            open_entities: entities,
        };
        self
    }

    /// How fast the emission thread may send; see [`Pace`].
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Reads time from a source of your own.
    pub fn clock(mut self, clock: Arc<dyn TimeSource>) -> Self {
        self.clock = Clock::new(clock);
        self
    }

    /// Draws ids and chances from a source of your own.
    pub fn random(mut self, random: Arc<dyn RandomSource>) -> Self {
        self.entropy = Entropy::new(random);
        self
    }

    /// Reads environment variables from a source of your own.
    pub fn environment(
        mut self,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let lookup = move |name: &str| lookup(name).map(OsString::from);
        self.environment = Lookup(Some(Box::new(lookup)));
        self
    }

    /// Reads no environment variables.
    pub fn ignore_environment(mut self) -> Self {
        self.environment = Lookup(None);
        self
    }

    /// Builds the recorder, and starts its emission thread if it has one.
    ///
    /// # Errors
    ///
    /// When a setting cannot be used, or the thread cannot be started. A daemon
    /// that is absent is no error.
    pub fn build(mut self) -> Result<Recorder, ConfigError> {
        let environment = match &self.environment.0 {
            Some(lookup) => Environment::read(|name| lookup(name)),
            None => Environment::default(),
        };
        let (min, max) = (limits::DOCUMENT_BYTES_MIN, limits::DOCUMENT_BYTES_MAX);
        let given = self.document_limit;
        if !(min..=max).contains(&given) {
            return Err(ConfigError::DocumentLimit { given, min, max });
        }
        if let Some(name) = environment.tracing_name {
            self.replaced_name = Some(std::mem::replace(&mut self.name, name));
        }
        if self.name.is_empty() {
            return Err(ConfigError::EmptyName);
        }
        self.enabled = environment.enabled.unwrap_or(self.enabled);
        if let Some(policy) = environment.context_missing.or(self.context_missing) {
            policy.set();
        }
        for warning in &environment.wrong {
            report(Report::Environment, &format_args!("skipped: {warning}"));
        }
        let address = environment.daemon_address.or(self.daemon_address.take());
        let settings = Settings {
            address: address.unwrap_or_default(),
            resolver: self.resolver.clone(),
            limit: given,
            queue: (self.queue_pieces, self.queue_bytes),
            pace: self.pace,
            show_after: self.show_after,
        };
        let way = match std::mem::replace(&mut self.emission, Emission::Inline) {
            Emission::Custom(emitter) => Way::Custom(emitter),
            _ if !self.enabled => Way::Off(settings),
            Emission::Thread => Way::Thread(settings),
            Emission::Inline => Way::Inline(settings),
        };
        process::id(); // or its locks would be the parent's, if this is a fork
        let watched = Watched::new(way.show_after());
        let emitter = way.start(&watched).map_err(ConfigError::Thread)?;
        let core = self.assemble(way, emitter, environment.wrong);
        watched.set(&core);
        Ok(Recorder(core))
    }

    /// A recorder that keeps its documents; there is nothing in it that can
    /// fail.
    pub(crate) fn captured(self, capture: Capture) -> Recorder {
        let emitter: Arc<dyn Emitter> = Arc::new(capture);
        Recorder(self.assemble(Way::Custom(emitter.clone()), emitter, Vec::new()))
    }

    fn assemble(
        self,
        way: Way,
        emitter: Arc<dyn Emitter>,
        warnings: Vec<ConfigError>,
    ) -> Arc<Core> {
        let process = process::id();
        Arc::new(Core {
            name: self.name,
            replaced_name: self.replaced_name,
            disabled: !self.enabled,
            clock: self.clock,
            entropy: self.entropy,
            sampler: Guarded::new(self.sampler),
            way,
            emitter,
            live: Live::new(self.open.open_traces),
            unsampled: Pool::default(),
            limits: self.open,
            common: Arc::new(self.common),
            warnings,
            process,
            heir: Heir::default(),
        })
    }
}

impl fmt::Debug for RecorderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("name", &self.name)
            .field("daemon_address", &self.daemon_address)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}
