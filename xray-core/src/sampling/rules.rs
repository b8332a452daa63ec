//! Rules of this process's own: so many requests a second, then a share.

use super::glob::Glob;
use super::json;
use super::matcher::{Facts, Matcher, Ordered};
use super::reservoir::Reservoir;
use super::{Decision, Sampler, SamplingRequest, SamplingRulesError};

/// Samples by rules that this process brings along, without asking X-Ray.
///
/// The first rule that matches a request decides; where none does, the default.
/// Either lets a fixed number of requests through in each second of the wall
/// clock, and a share of the rest. `LocalRules::default()` is the default of
/// every X-Ray SDK, and of a [`Recorder`](crate::Recorder): 1 request a second,
/// then 5 %.
///
/// The rules are built here, or read from the
/// [JSON](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-java-configuration.html#xray-sdk-java-configuration-sampling)
/// that the other SDKs read ([`from_json`](Self::from_json)):
///
/// ```
/// use xray_core::{LocalRules, Rule};
///
/// let built = LocalRules::new(1, 0.05)
///     .rule(Rule::new().path("/health"))
///     .rule(Rule::new().method("POST").path("/orders/*").fixed_target(10).rate(0.1));
///
/// let read = LocalRules::from_json(r#"{
///     "version": 2,
///     "default": { "fixed_target": 1, "rate": 0.05 },
///     "rules": [
///         { "description": "never", "host": "*", "http_method": "*",
///           "url_path": "/health", "fixed_target": 0, "rate": 0 },
///         { "description": "orders", "host": "*", "http_method": "POST",
///           "url_path": "/orders/*", "fixed_target": 10, "rate": 0.1 }
///     ]
/// }"#)?;
/// # let _ = (built, read);
/// # Ok::<(), xray_core::SamplingRulesError>(())
/// ```
///
/// # Patterns
///
/// In host, method and path `*` stands for any run of characters and `?` for
/// one. Nothing else is special, the whole text must match, and upper and lower
/// case are one. The path has no query; the host is what the `Host` header
/// says, with the port if that has one.
///
/// # What a request does not have
///
/// A host, method or path that is absent matches every pattern, as in the SDKs
/// for Go, Python and Node. A rule for `/orders/*` thus takes all that is no
/// HTTP request, too. [`absent_as_empty`](Self::absent_as_empty) chooses the
/// reading of the SDK for Java instead.
///
/// # The clock
///
/// Seconds are counted by the recorder's clock. When that is set back by more
/// than five seconds, the number for the second it then shows counts as used
/// up; by less, until it is where it was before. The share goes on in either
/// case.
#[derive(Debug)]
pub struct LocalRules {
    ordered: Ordered<Budget>,
    absent: Option<&'static str>,
}

impl LocalRules {
    /// Rules that hold a default alone: so many requests a second, then a share
    /// (as for [`Rule::rate`]).
    pub fn new(fixed_target: u32, rate: f64) -> Self {
        Self {
            ordered: Ordered::new(Budget::new(fixed_target, rate)),
            absent: None,
        }
    }

    /// Reads the JSON that all X-Ray SDKs read, version 1 or 2; version 1 says
    /// `service_name` for `host`.
    ///
    /// An attribute that is `null` counts as absent, and one that is unknown is
    /// skipped, as other SDKs do (that for Node rejects it). A rate above 1 is
    /// an error here, which it is not everywhere. A byte order mark before the
    /// JSON is skipped.
    ///
    /// # Errors
    ///
    /// When the text is no JSON; when `version`, `default` or anything a rule
    /// needs is missing, of the wrong type or out of range; when an attribute
    /// belongs to the other version; when `default` names a host, a method or a
    /// path. Only the description of a rule, and the list of rules itself, may
    /// be left out.
    pub fn from_json(text: &str) -> Result<Self, SamplingRulesError> {
        json::read(text)
    }

    /// Adds a rule, to be tried after those before it.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        let budget = Budget::new(rule.fixed_target, rule.rate);
        let matcher = Matcher {
            host: Glob::new(&rule.host),
            method: Glob::new(&rule.method),
            path: Glob::new(&rule.path),
        };
        self.ordered.push(matcher, budget);
        self
    }

    /// Reads a host, method or path that is absent as empty text, as the SDK
    /// for Java does: it then matches `*` and the empty pattern alone. The
    /// better choice for a process that does not only answer HTTP requests.
    #[must_use]
    pub fn absent_as_empty(mut self) -> Self {
        self.absent = Some("");
        self
    }
}

/// 1 request a second, then 5 %.
impl Default for LocalRules {
    fn default() -> Self {
        Self::new(1, 0.05)
    }
}

/// The decision names no rule: that is for rules which X-Ray knows.
impl Sampler for LocalRules {
    fn decide(&self, request: &SamplingRequest<'_>) -> Decision {
        let facts = Facts::new(request.facts, self.absent);
        if self.ordered.find(facts).grants(request) {
            Decision::sampled()
        } else {
            Decision::unsampled()
        }
    }

    fn listens(&self) -> bool {
        false
    }
}

/// A rule of [`LocalRules`]: which requests it is for, and how many of them are
/// sampled.
///
/// Without further words it is for all requests, and samples none of them.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a rule holds where it is added"]
pub struct Rule {
    host: String,
    method: String,
    path: String,
    fixed_target: u32,
    rate: f64,
}

impl Rule {
    /// A rule for everything, which samples nothing.
    pub fn new() -> Self {
        Self {
            host: "*".to_owned(),
            method: "*".to_owned(),
            path: "*".to_owned(),
            fixed_target: 0,
            rate: 0.0,
        }
    }

    /// The `Host` header, as a pattern. Defaults to `*`.
    pub fn host(mut self, pattern: impl Into<String>) -> Self {
        self.host = pattern.into();
        self
    }

    /// The method, as a pattern. Defaults to `*`.
    pub fn method(mut self, pattern: impl Into<String>) -> Self {
        self.method = pattern.into();
        self
    }

    /// The path of the URL without its query, as a pattern. Defaults to `*`.
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.path = pattern.into();
        self
    }

    /// How many requests are sampled in each second before
    /// [`rate`](Self::rate) is asked. Each process counts its own. Defaults to 0.
    pub fn fixed_target(mut self, a_second: u32) -> Self {
        self.fixed_target = a_second;
        self
    }

    /// The share of further requests that is sampled: 1 and above is all of
    /// them, 0 and below or NaN none. Defaults to 0.
    pub fn rate(mut self, share: f64) -> Self {
        self.rate = share;
        self
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::new()
    }
}

/// What a rule lets through.
#[derive(Debug)]
struct Budget {
    reservoir: Reservoir,
    rate: f64,
}

impl Budget {
    fn new(fixed_target: u32, rate: f64) -> Self {
        Self {
            reservoir: Reservoir::new(fixed_target),
            rate,
        }
    }

    fn grants(&self, request: &SamplingRequest<'_>) -> bool {
        self.reservoir.take(request.now) || request.bernoulli(self.rate)
    }
}
