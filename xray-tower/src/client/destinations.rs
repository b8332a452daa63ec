//! Who is told which trace a request is part of.

use http::{HeaderMap, HeaderName, HeaderValue};
use xray_core::{TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader};

use crate::hosts::Hosts;
use crate::url::Target;

/// APIs of providers of language models, which have no use for a trace of ours
/// and keep what they are sent; with every host below them. Not Bedrock, which
/// is AWS. Listed in the documentation of `XRayClientLayer::never_propagate_to`.
const MODEL_PROVIDERS: [&str; 14] = [
    "api.openai.com",
    "openai.azure.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "api.cohere.com",
    "api.cohere.ai",
    "api.mistral.ai",
    "api.groq.com",
    "openrouter.ai",
    "api.together.xyz",
    "api.together.ai",
    "api.deepseek.com",
    "api.x.ai",
    "api.perplexity.ai",
];

fn is_model_provider(host: &str) -> bool {
    MODEL_PROVIDERS.iter().any(|domain| {
        let below = host.len().checked_sub(domain.len());
        let parts = below.and_then(|at| host.split_at_checked(at));
        parts.is_some_and(|(below, end)| {
            end.eq_ignore_ascii_case(domain) && (below.is_empty() || below.ends_with('.'))
        })
    })
}

/// Which hosts get tracing headers.
#[derive(Debug, Clone, Default)]
pub(super) struct Destinations {
    /// `None`: every host.
    only: Option<Hosts>,
    /// On top of [`MODEL_PROVIDERS`].
    never: Hosts,
}

impl Destinations {
    pub(super) fn allow_only<P: AsRef<str>>(&mut self, patterns: impl IntoIterator<Item = P>) {
        // No pattern at all allows nobody.
        let only = self.only.get_or_insert_default();
        only.extend("propagate_only_to", patterns);
    }

    pub(super) fn deny<P: AsRef<str>>(&mut self, patterns: impl IntoIterator<Item = P>) {
        self.never.extend("never_propagate_to", patterns);
    }

    /// Whether a host may be told. One that is not known may where the program
    /// set no list.
    pub(super) fn allows(&self, target: Option<&Target<'_>>) -> bool {
        let Some(target) = target else {
            return self.only.is_none() && self.never.is_empty();
        };
        let is_allowed = |only: &Hosts| only.matches(target, false);
        // An invalid pattern may have meant any host.
        let is_denied = self.never.has_invalid() || self.never.matches(target, true);
        self.only.as_ref().is_none_or(is_allowed) && !is_denied && !is_model_provider(target.host)
    }
}

/// Tells the host of a request by its headers, or sees to it that they tell
/// nothing: what an earlier hop or an earlier attempt left there goes in either
/// case. W3C's headers only for a caller who spoke W3C, and in place of copies.
/// Without a trace to tell of, nothing changes.
pub(super) fn tell(trace: &TraceHeader, allowed: bool, headers: &mut HeaderMap) {
    let Some(line) = trace.to_line() else {
        return;
    };
    let is_w3c = trace.is_w3c() || headers.contains_key(TRACEPARENT_HEADER);
    let traceparent = trace.traceparent().filter(|_| is_w3c);
    let mut put = |name, text: Option<&str>| {
        let text = text.filter(|_| allowed);
        match text.and_then(|text| HeaderValue::from_str(text).ok()) {
            Some(value) => drop(headers.insert(HeaderName::from_static(name), value)),
            None => drop(headers.remove(name)),
        }
    };
    put(TRACE_HEADER, Some(&line));
    put(TRACEPARENT_HEADER, traceparent.as_deref());
    put(TRACESTATE_HEADER, trace.tracestate());
}
