//! Whether a response is a failure, and whose.

use std::fmt;
use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use xray_core::{Class, Entity};

/// Decides what a response means, in two stages: when its head is there, and
/// again when its body has ended, or was left before its end.
///
/// All methods have defaults: the class of the status ([`Class::of_status`]),
/// no change at the end, and [what leaving usually means](Abandoned::class). A
/// closure from the head to a class is a classifier, too.
///
/// The class of the head comes on top of what the program itself recorded, such
/// as a fault behind a 200; a different one at the end takes the place of both.
/// A panic in a method is caught and counted, and the default holds.
///
/// Errors of the service and of the body, and panics, are failures whatever a
/// classifier says.
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

    /// The class of an exchange that is left before its end: its future is
    /// dropped before the response, or its body before the last frame. With
    /// [`Class::Ok`] leaving is fine, and the class stays that of
    /// [`head`](Self::head); on a client [`end`](Self::end) may still change it.
    /// Any other class is recorded with an exception of type `Cancelled`. A
    /// panic that unwinds is a fault instead.
    ///
    /// ```
    /// use xray_core::Class;
    /// use xray_tower::{Abandoned, Classify};
    ///
    /// /// A client that stops to watch is content.
    /// struct Watches;
    ///
    /// impl Classify for Watches {
    ///     fn left(&self, exchange: &Abandoned<'_>) -> Class {
    ///         match exchange.content_type() {
    ///             Some("application/grpc") => Class::Ok,
    ///             _ => exchange.class(),
    ///         }
    ///     }
    /// }
    ///
    /// # let (recorder, _capture) = xray_core::Recorder::capture("shop");
    /// let layer: xray_tower::XRayLayer = xray_tower::XRayLayer::new(recorder).classify(Watches);
    /// # let _ = layer;
    /// ```
    fn left(&self, exchange: &Abandoned<'_>) -> Class {
        exchange.class()
    }
}

/// An exchange that was left before its end, for [`Classify::left`].
#[derive(Debug, Clone, Copy)]
pub struct Abandoned<'a> {
    pub(crate) status: Option<StatusCode>,
    pub(crate) content_type: Option<&'a HeaderValue>,
    pub(crate) sent: u64,
    pub(crate) is_client: bool,
}

impl Abandoned<'_> {
    /// The response's status; `None` where there was no response yet.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The response's `Content-Type`, with its parameters, as far as it is
    /// visible ASCII.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type?.to_str().ok()
    }

    /// Bytes of the body so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The class by default. Before the response it is [`Class::Error`]. After
    /// that it is [`Class::Ok`] for a client, as many callers look at the status
    /// only, and for a server that sends a stream of events
    /// (`text/event-stream`), which has no other end; else [`Class::Error`],
    /// since the caller did not get its answer.
    pub fn class(&self) -> Class {
        let is_fine = self.is_client || self.is_event_stream();
        match self.status {
            Some(_) if is_fine => Class::Ok,
            _ => Class::Error,
        }
    }

    fn is_event_stream(&self) -> bool {
        let kind = self.content_type().and_then(|kind| kind.split(';').next());
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
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

    pub(crate) fn left(&self, entity: &Entity, exchange: &Abandoned<'_>) -> Class {
        let asked = self.0.as_ref();
        let asked = asked.and_then(|own| entity.guard(|| own.left(exchange)));
        asked.unwrap_or_else(|| exchange.class())
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
