//! Whether a request is recorded and sent.
//!
//! Code decides first, then the caller's header; a [`Sampler`] is asked only
//! where both leave it open.

mod glob;
mod json;
mod matcher;
mod outcome;
mod pattern;
mod reservoir;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::TraceId;
use crate::guard::guarded;
use crate::ledger::Ledger;

pub use json::SamplingRulesError;
pub use outcome::Outcome;
pub(crate) use outcome::{Elapsed, Marks};
pub use pattern::Pattern;
pub use rules::{LocalRules, Rule};

/// What is to happen to a trace in this process.
///
/// `sampled` is what downstream services are told; `record` is whether anything
/// is written down here. Recorded but not sampled means: propagate `Sampled=0`
/// and decide when the root closes ([`Sampler::keep`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// The trace is sent, and downstream services are told so.
    pub sampled: bool,
    /// What happens is written down; always true when `sampled` is.
    pub record: bool,
    /// The sampling rule that decided, for `aws.xray.sampling_rule_name`.
    pub rule: Option<Arc<str>>,
}

impl Decision {
    /// Record and send.
    pub const fn sampled() -> Self {
        Self {
            sampled: true,
            record: true,
            rule: None,
        }
    }

    /// Neither record nor send.
    pub const fn unsampled() -> Self {
        Self {
            sampled: false,
            record: false,
            rule: None,
        }
    }

    /// Record, tell downstream services `Sampled=0`, and let
    /// [`Sampler::keep`] decide at the end. Until then finished subsegments wait,
    /// up to some 1 MiB: beyond, those that wait are let go. They count as
    /// unsampled if the trace is not kept, else as dropped:
    /// [`Loss::Undecided`](crate::Loss::Undecided).
    pub const fn recorded() -> Self {
        Self {
            sampled: false,
            record: true,
            rule: None,
        }
    }

    /// Names the rule that decided.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<Arc<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }
}

/// What a rule may look at. Read only when a rule asks, so implement it on the
/// request itself. Everything may be absent.
pub trait RequestFacts {
    /// The `Host` header.
    fn host(&self) -> Option<&str> {
        None
    }

    /// The HTTP method.
    fn method(&self) -> Option<&str> {
        None
    }

    /// The path of the URL, without a query.
    fn path(&self) -> Option<&str> {
        None
    }
}

/// No request: every fact is absent.
impl RequestFacts for () {}

/// The question put to a [`Sampler`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SamplingRequest<'a> {
    /// The name the segment will have.
    pub service: &'a str,
    /// The AWS resource type this process runs on, such as `AWS::ECS::Container`.
    pub service_type: Option<&'a str>,
    /// The trace, if the caller began it.
    pub trace_id: Option<TraceId>,
    /// The request, read lazily.
    pub facts: &'a dyn RequestFacts,
    /// When the question is put, by the recorder's clock, so that a sampler
    /// needs no clock of its own.
    pub now: SystemTime,
    /// 64 random bits, so that a sampler needs no generator of its own.
    pub random: u64,
}

impl SamplingRequest<'_> {
    /// True with the given probability; 0 and below, or NaN, is never.
    pub fn bernoulli(&self, probability: f64) -> bool {
        // 53 bits: each of them is exact in an f64, so 1.0 is always.
        ((self.random >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

impl fmt::Debug for SamplingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplingRequest")
            .field("service", &self.service)
            .field("host", &self.facts.host())
            .field("method", &self.facts.method())
            .field("path", &self.facts.path())
            .finish_non_exhaustive()
    }
}

/// Decides which traces are recorded and sent.
///
/// Called on the request's thread: answer in nanoseconds and do not block. A
/// panic in any method is caught and counted
/// ([`Events::callback_panics`](crate::Events)), and reads as "unsampled".
///
/// ```
/// use xray_core::{Decision, Sampler, SamplingRequest};
///
/// #[derive(Debug)]
/// struct OnlyCheckout;
///
/// impl Sampler for OnlyCheckout {
///     fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
///         if request.facts.path().is_some_and(|path| path.starts_with("/checkout")) {
///             Decision::sampled().with_rule("checkout")
///         } else {
///             Decision::unsampled()
///         }
///     }
/// }
/// ```
pub trait Sampler: fmt::Debug + Send + Sync + 'static {
    /// Answers for one root whose header left the decision open.
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision;

    /// Whether a root that was recorded but not sampled is sent after all.
    /// Nothing is kept by default.
    fn keep(&self, outcome: &Outcome<'_>) -> bool {
        let _ = outcome;
        false
    }

    /// Hears once of each root that closed, with the same outcome whether it was
    /// sampled, recorded or neither, however its header or the code decided, and
    /// though it was given up as `limit_open` meanwhile. A root closes when its
    /// owner closed it and all [holds](crate::Entity::hold) are gone. A facade
    /// ([`Recorder::begin_facade`](crate::Recorder::begin_facade)) is the segment
    /// of another process, which closes there. Does nothing by default.
    fn closed(&self, outcome: &Outcome<'_>) {
        let _ = outcome;
    }

    /// Whether [`closed`](Self::closed) is called at all, asked once for each
    /// recorder. True by default; say no where it does nothing, which saves the
    /// call and its outcome.
    fn listens(&self) -> bool {
        true
    }
}

/// Samples everything.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "there is nothing to it but its name"
)]
pub struct Always;

impl Sampler for Always {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::sampled()
    }

    fn listens(&self) -> bool {
        false
    }
}

/// Samples nothing.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "there is nothing to it but its name"
)]
pub struct Never;

impl Sampler for Never {
    fn decide(&self, _: &SamplingRequest<'_>) -> Decision {
        Decision::unsampled()
    }

    fn listens(&self) -> bool {
        false
    }
}

/// Samples a fixed share of all traces, whatever their number.
///
/// ```
/// use xray_core::{Ratio, Recorder};
///
/// let builder = Recorder::builder("shop").sampler(Ratio::new(0.01));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// A share from 0 to 1: 1 and above is all of them, 0 and below or NaN none.
    pub const fn new(share: f64) -> Self {
        Self(share)
    }
}

impl Sampler for Ratio {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        if request.bernoulli(self.0) {
            Decision::sampled()
        } else {
            Decision::unsampled()
        }
    }

    fn listens(&self) -> bool {
        false
    }
}

/// The sampler of a recorder, whose panics harm nobody.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    pub(crate) sampler: Arc<dyn Sampler>,
    listens: bool,
}

impl Guarded {
    pub(crate) fn new(sampler: Arc<dyn Sampler>) -> Self {
        let listens = guarded(|| sampler.listens()).unwrap_or(true);
        Self { sampler, listens }
    }

    pub(crate) fn decide(&self, request: &SamplingRequest<'_>, ledger: &Ledger) -> Decision {
        ledger
            .guard(|| self.sampler.decide(request))
            .unwrap_or(Decision::unsampled())
    }

    pub(crate) fn keep(&self, outcome: &Outcome<'_>, ledger: &Ledger) -> bool {
        ledger.guard(|| self.sampler.keep(outcome)).unwrap_or(false)
    }

    /// Whether it wants to hear of what closed.
    pub(crate) fn listens(&self) -> bool {
        self.listens
    }

    pub(crate) fn closed(&self, outcome: &Outcome<'_>, ledger: &Ledger) {
        if self.listens {
            ledger.guard(|| self.sampler.closed(outcome));
        }
    }
}
