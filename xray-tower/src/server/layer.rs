//! Configuration of the server side.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::request::Parts;
use http::response;
use xray_core::{Entity, ErrorKind, Recorder};

use super::XRay;
use super::names::HostNames;
use super::request::asked_uri;
use crate::classify::{Classifier, Classify};
use crate::enrich::OnRequest;
use crate::exchange::Callbacks;
use crate::untraced::Untraced;
use crate::wrap;

/// Records every request that comes in as a segment, named like the recorder
/// or, with [`name_from_host`](Self::name_from_host), after the host.
///
/// Below a segment or subsegment that is current already (a Lambda invocation,
/// another of these layers) it is a subsegment. See the [crate's
/// documentation](crate) for what is recorded when.
///
/// Cheap to clone; all clones share what was configured. `K` tells kinds of
/// errors apart and is inferred; see
/// [`BoxedErrors`](crate::BoxedErrors).
#[must_use = "a layer does nothing before it wraps a service"]
pub struct XRayLayer<K = (ErrorKind, ErrorKind)> {
    options: Arc<Options>,
    kinds: PhantomData<fn() -> K>,
}

/// What a [`XRayLayer`] hands to its services.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) recorder: Recorder,
    pub(super) on_request: OnRequest,
    pub(super) callbacks: Callbacks,
    pub(super) host_names: HostNames,
    skipped_paths: Vec<String>,
    skip: Vec<Arc<Skip>>,
}

type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

impl Options {
    pub(super) fn is_skipped(&self, request: &Parts) -> bool {
        let path = asked_uri(request).path();
        let asked = |skip: &Arc<Skip>| self.recorder.guard(|| skip(request));
        Untraced::marks(&request.extensions)
            || self.skipped_paths.iter().any(|skipped| skipped == path)
            || self.skip.iter().any(|skip| asked(skip).unwrap_or(false))
    }
}

wrap::layer!(XRayLayer, XRay);

impl<K> XRayLayer<K> {
    /// A layer that records with `recorder`. Nothing is skipped, and responses
    /// are classified by their status.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            options: Arc::new(Options {
                recorder,
                on_request: OnRequest::default(),
                callbacks: Callbacks::default(),
                host_names: HostNames::default(),
                skipped_paths: Vec::new(),
                skip: Vec::new(),
            }),
            kinds: PhantomData,
        }
    }

    /// Names segments after the host that their request is for, where it matches
    /// one of these patterns; otherwise, and without a host, like the recorder.
    /// The name is the host in lower case without its port. May be called
    /// several times, for more patterns.
    ///
    /// A pattern is a host (`shop.example`), all hosts below one
    /// (`*.shop.example`), an address, a CIDR range (`10.0.0.0/16`) or `*` for
    /// any host; with or without a port, for which an IPv6 address or range
    /// stands in brackets. Clients leave out the usual port: a request without
    /// one matches the ports 80 and 443. Anything else is logged once, shown by
    /// the layer's `Debug`, and ignored. Callers choose the host, so say as much
    /// as you know: `*.shop.example` is better than `*`.
    ///
    /// ```
    /// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
    /// let layer: xray_tower::XRayLayer = xray_tower::XRayLayer::new(recorder)
    ///     .name_from_host(["shop.example", "*.shop.example"]);
    /// # let _ = layer;
    /// ```
    ///
    /// Each name is a node of the service map. Patterns for more than one host
    /// let in the first 100 ([`host_name_limit`](Self::host_name_limit)); those
    /// after them are named like the recorder, so that nobody can fill the map.
    /// A host or address that is written out here is always let in.
    pub fn name_from_host<P: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.options_mut().host_names.allow(patterns);
        self
    }

    /// How many names `*`, suffixes and ranges of
    /// [`name_from_host`](Self::name_from_host) may let in, over the life of this layer and all its clones: 100 unless set.
    pub fn host_name_limit(mut self, names: usize) -> Self {
        self.options_mut().host_names.set_limit(names);
        self
    }

    /// Records nothing of requests for exactly this path, such as `/health`: they
    /// have no segment, and the response has no header. The handler's work is
    /// silent, the ledgers leave it out, and its calls carry the caller's trace,
    /// or a new one, with `Sampled=0`. May be called for several paths.
    ///
    /// The path is the one that the client asked for: with the feature `axum`
    /// it has the prefix of `nest`, such as `/api/health`.
    pub fn skip_path(mut self, path: impl Into<String>) -> Self {
        self.options_mut().skipped_paths.push(path.into());
        self
    }

    /// Records nothing of requests for which the closure says so, as
    /// [`skip_path`](Self::skip_path). May be called several times: one `true`
    /// is enough. A closure that panics says nothing. A layer further out can
    /// say so, too, by the extension [`Untraced`].
    pub fn skip(mut self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.options_mut().skip.push(Arc::new(skip));
        self
    }

    /// Decides which responses are failures. By their status unless called.
    pub fn classify(mut self, classify: impl Classify) -> Self {
        self.options_mut().callbacks.classifier = Classifier::new(classify);
        self
    }

    /// Reads more from each request that is recorded, once the layer's own
    /// fields are. May be called several times. A closure that panics is
    /// [counted](xray_core::Events), and nothing else happens.
    ///
    /// ```
    /// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
    /// let layer: xray_tower::XRayLayer = xray_tower::XRayLayer::new(recorder)
    ///     .on_request(|request, segment| {
    ///         if let Some(Ok(tenant)) = request.headers.get("x-tenant").map(|id| id.to_str()) {
    ///             segment.annotate("tenant", tenant);
    ///         }
    ///     })
    ///     .on_response(|response, segment| {
    ///         segment.annotate("cached", response.headers.contains_key("age"));
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn on_request(mut self, enrich: impl Fn(&Parts, &Entity) + Send + Sync + 'static) -> Self {
        self.options_mut().on_request.add(enrich);
        self
    }

    /// Reads more from the head of each response, once status and class are
    /// recorded. As [`on_request`](Self::on_request) otherwise. Not called where
    /// there is no response: the service failed, or the future was dropped.
    pub fn on_response(
        mut self,
        enrich: impl Fn(&response::Parts, &Entity) + Send + Sync + 'static,
    ) -> Self {
        self.options_mut().callbacks.on_response.add(enrich);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("recorder", &self.recorder)
            .field("on_request", &self.on_request)
            .field("callbacks", &self.callbacks)
            .field("host_names", &self.host_names)
            .field("skipped_paths", &self.skipped_paths)
            .finish_non_exhaustive()
    }
}
