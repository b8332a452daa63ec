//! What users read from requests and responses themselves.

use std::fmt;
use std::sync::Arc;

use http::{request, response};
use xray_core::Entity;

type Callback<P> = dyn Fn(&P, &Entity) + Send + Sync;

/// Callbacks for heads of one kind, in the order in which they were added. A
/// panic in one of them harms neither the request nor the others.
pub(crate) struct Enrichers<P>(Arc<Vec<Arc<Callback<P>>>>);

pub(crate) type OnRequest = Enrichers<request::Parts>;
pub(crate) type OnResponse = Enrichers<response::Parts>;

impl<P> Enrichers<P> {
    pub(crate) fn add(&mut self, callback: impl Fn(&P, &Entity) + Send + Sync + 'static) {
        Arc::make_mut(&mut self.0).push(Arc::new(callback));
    }

    /// Asks nobody about what is not recorded.
    pub(crate) fn run(&self, head: &P, entity: &Entity) {
        for callback in self.0.iter().filter(|_| entity.is_recorded()) {
            entity.guard(|| callback(head, entity));
        }
    }
}

impl<P> Default for Enrichers<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P> Clone for Enrichers<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> fmt::Debug for Enrichers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrichers({})", self.0.len())
    }
}
