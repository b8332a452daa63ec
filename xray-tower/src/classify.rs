//! Whether a response is a failure, and whose.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::response::Parts;
use xray_core::{Class, Entity};

/// Decides what a response means, in two stages: when its head is there, and
/// again when its body has ended.
///
/// Both methods have defaults: the class of the status
/// ([`Class::of_status`]), and no change at the end. A closure from the head
/// to a class is a classifier, too.
///
/// The class of the head comes on top of what the program itself recorded, such
/// as a fault behind a 200; a different one at the end takes the place of both.
/// A panic in either method is caught and counted, and the default holds.
///
/// Errors of the service and of the body, panics and cancellation are not
/// asked about: they are failures whatever the head said.
///
/// ```
/// use http::{HeaderMap, StatusCode, response};
/// use xray_core::{Class, Entity};
/// use xray_tower::Classify;
///
/// /// The status of gRPC comes after the body.
/// struct Grpc;
///
/// impl Classify for Grpc {
///     fn end(&self, head: Class, trailers: Option<&HeaderMap>) -> Class {
///         match trailers.and_then(|trailers| trailers.get("grpc-status")) {
///             Some(status) if status != "0" => Class::Fault,
///             _ => head,
///         }
///     }
/// }
///
/// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
/// let layer: xray_tower::XRayLayer = xray_tower::XRayLayer::new(recorder).classify(Grpc);
///
/// // For a cache, absence is an answer.
/// let layer = layer.classify(|head: &response::Parts| match head.status {
///     StatusCode::NOT_FOUND => Class::Ok,
///     status => Class::of_status(status.as_u16()),
/// });
/// # let _ = layer;
/// ```
pub trait Classify: Send + Sync + 'static {
    /// The class as of the response's head.
    fn head(&self, head: &Parts) -> Class {
        Class::of_status(head.status.as_u16())
    }

    /// The class as of the body's end. `head` is what [`head`](Self::head)
    /// said; `trailers` are `None` when there were none, or when the body was
    /// let go of before they came.
    fn end(&self, head: Class, trailers: Option<&HeaderMap>) -> Class {
        let _ = trailers;
        head
    }
}

impl<F: Fn(&Parts) -> Class + Send + Sync + 'static> Classify for F {
    fn head(&self, head: &Parts) -> Class {
        self(head)
    }
}

/// A classifier of the user's, or none, whose panics harm nobody.
#[derive(Clone, Default)]
pub(crate) struct Classifier(Option<Arc<dyn Classify>>);

impl Classifier {
    pub(crate) fn new(classify: impl Classify) -> Self {
        Self(Some(Arc::new(classify)))
    }

    pub(crate) fn head(&self, entity: &Entity, head: &Parts) -> Class {
        let asked = self.0.as_ref();
        let asked = asked.and_then(|own| entity.guard(|| own.head(head)));
        asked.unwrap_or_else(|| Class::of_status(head.status.as_u16()))
    }

    pub(crate) fn end(&self, entity: &Entity, head: Class, trailers: Option<&HeaderMap>) -> Class {
        let asked = self.0.as_ref();
        let asked = asked.and_then(|own| entity.guard(|| own.end(head, trailers)));
        asked.unwrap_or(head)
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Classifier(custom)",
            None => "Classifier(by status)",
        })
    }
}
