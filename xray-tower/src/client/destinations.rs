//! Who is told which trace a request is part of.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use xray_core::{Pattern, TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceHeader};

use crate::url::host;

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
    only: Option<Vec<Pattern>>,
    /// On top of [`MODEL_PROVIDERS`].
    never: Vec<Pattern>,
}

impl Destinations {
    pub(super) fn allow_only(&mut self, pattern: Option<&str>) {
        let only = self.only.get_or_insert_default();
        only.extend(pattern.map(Pattern::new));
    }

    pub(super) fn deny(&mut self, pattern: &str) {
        self.never.push(Pattern::new(pattern));
    }

    /// Tells the host of a request by its headers, or sees to it that they tell
    /// nothing.
    pub(super) fn tell(&self, trace: &TraceHeader, request: &mut Parts) {
        if self.allows(host(request)) {
            inject(trace, &mut request.headers);
        } else {
            withhold(trace, &mut request.headers);
        }
    }

    pub(super) fn allows(&self, host: Option<&str>) -> bool {
        let Some(host) = host else {
            return self.only.is_none();
        };
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(host));
        self.only.as_deref().is_none_or(any) && !any(&self.never) && !is_model_provider(host)
    }
}

/// Puts the trace in, in place of what an earlier hop or an earlier attempt left
/// there. W3C's headers only for a caller who spoke W3C.
fn inject(header: &TraceHeader, headers: &mut HeaderMap) {
    let mut put = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put(TRACE_HEADER, &header.to_text());
    if !header.is_w3c() {
        return;
    }
    if let Some(traceparent) = header.traceparent() {
        put(TRACEPARENT_HEADER, &traceparent);
    }
    match header.tracestate() {
        Some(tracestate) => put(TRACESTATE_HEADER, tracestate),
        None => {
            headers.remove(TRACESTATE_HEADER); // of other ids
        }
    }
}

/// Takes out what [`inject`] would have replaced: a header of an earlier hop is
/// no better than one of ours.
fn withhold(header: &TraceHeader, headers: &mut HeaderMap) {
    headers.remove(TRACE_HEADER);
    if header.is_w3c() {
        headers.remove(TRACEPARENT_HEADER);
        headers.remove(TRACESTATE_HEADER);
    }
}
