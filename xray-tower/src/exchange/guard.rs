//! Closes what records an exchange exactly once, whichever way it ends.
//!
//! armed → head seen → completed. Whoever holds the guard says how it goes on;
//! a guard that is dropped before its exchange is complete says so itself.

use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body;
use xray_core::{AnyError, Class, Entity, HttpResponse, Sampled, Segment, Subsegment, TraceHeader};

use crate::classify::{Abandoned, Classifier};
use crate::enrich::OnResponse;

/// The header of a trace, as requests and responses carry it.
pub(crate) const TRACE: HeaderName = HeaderName::from_static(xray_core::TRACE_HEADER);

/// What records the exchange.
#[derive(Debug)]
pub(crate) enum Owner {
    Segment(Segment),
    Subsegment(Subsegment),
    /// Records nothing: the exchange is skipped.
    Skipped(Entity),
}

impl Owner {
    fn close(self) {
        match self {
            Self::Segment(segment) => segment.close(),
            Self::Subsegment(subsegment) => subsegment.close(),
            Self::Skipped(_) => {}
        }
    }
}

impl Deref for Owner {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        match self {
            Self::Segment(segment) => segment,
            Self::Subsegment(subsegment) => subsegment,
            Self::Skipped(entity) => entity,
        }
    }
}

/// Which end of the exchange this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Answers. A body dropped before its end is an answer that did not arrive.
    Server {
        /// The caller wants to know the decision.
        decision_requested: bool,
    },
    /// Asks. Not to read a body to its end is the caller's good right.
    Client,
}

/// Whom to ask about the response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callbacks {
    pub(crate) classifier: Classifier,
    pub(crate) on_response: OnResponse,
}

#[derive(Debug)]
pub(crate) struct Guard {
    /// `None` once completed.
    owner: Option<Owner>,
    side: Side,
    callbacks: Callbacks,
    /// The method is one whose responses have no body: HEAD always, CONNECT
    /// when it succeeds.
    method: Bodiless,
    /// `None` while armed.
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodiless {
    Never,
    Always,
    Success,
}

/// What the response's head said.
#[derive(Debug)]
struct Head {
    status: StatusCode,
    class: Class,
    /// Length of the body, if known beforehand.
    length: Option<u64>,
    /// No body follows, whatever the type of the body says: it may be dropped
    /// without having been polled.
    bodiless: bool,
    content_type: Option<HeaderValue>,
    /// Bytes of data so far.
    sent: u64,
}

impl Head {
    /// Everything that will be sent was sent. A server stops polling then,
    /// whether or not the body knows that it is at its end.
    fn is_enough(&self) -> bool {
        self.bodiless || self.length.is_some_and(|length| self.sent >= length)
    }
}

impl Guard {
    pub(crate) fn new(owner: Owner, side: Side, method: &Method, callbacks: Callbacks) -> Self {
        Self {
            owner: Some(owner),
            side,
            callbacks,
            method: match *method {
                Method::HEAD => Bodiless::Always,
                Method::CONNECT => Bodiless::Success,
                _ => Bodiless::Never,
            },
            head: None,
        }
    }

    /// Runs a closure with the entity current.
    pub(crate) fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        match &self.owner {
            Some(owner) => owner.run(work),
            None => work(),
        }
    }

    /// Runs a part of the exchange with the entity current. A panic is
    /// recorded and handed back, for the caller to tidy up and let it go on.
    pub(crate) fn attempt<R>(&self, work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
        let result = self.scope(|| catch_unwind(AssertUnwindSafe(work)));
        if let (Err(payload), Some(owner)) = (&result, &self.owner) {
            owner.record_panic(&**payload);
            if self.head.is_none() && self.side != Side::Client {
                // What the peer gets, from whoever catches the panic.
                owner.http_response(HttpResponse::new(500));
            }
        }
        result
    }

    /// The exchange failed with an error.
    pub(crate) fn fail<K>(&self, error: &impl AnyError<K>) {
        if let Some(owner) = &self.owner {
            owner.report_error(error, Class::Fault, None);
        }
    }

    /// The response's head is there.
    pub(crate) fn head<B: Body>(&mut self, parts: &mut Parts, body: &B) {
        let Some(owner) = self.recording() else {
            return;
        };
        let status = parts.status;
        let without_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status.is_informational();
        let declared = parts.headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let bodiless = without_body
            || match self.method {
                Bodiless::Never => false,
                Bodiless::Always => true,
                Bodiless::Success => status.is_success(),
            };
        // Of what a HEAD would have got, a server may know the length.
        let is_told = !bodiless || self.method == Bodiless::Always && self.side != Side::Client;
        let length = match declared {
            None if is_told && !without_body => body.size_hint().exact(),
            declared => declared,
        };
        let head = Head {
            status,
            class: self.callbacks.classifier.head(owner, parts),
            length,
            bodiless,
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            sent: 0,
        };
        owner.http_response(response(status, length));
        // A fault that the handler recorded stays, whatever it answers.
        owner.raise(head.class);
        self.callbacks.on_response.run(parts, owner);
        if let Side::Server { decision_requested } = self.side
            && let Some(value) = answer(owner, decision_requested)
        {
            parts.headers.insert(TRACE, value);
        }
        self.head = Some(head);
    }

    /// A frame of data has passed.
    pub(crate) fn count(&mut self, bytes: usize) {
        if let Some(head) = &mut self.head {
            head.sent = head.sent.saturating_add(bytes as u64);
        }
    }

    /// The exchange is over, and well.
    pub(crate) fn complete(&mut self, trailers: Option<&HeaderMap>) {
        let (Some(owner), Some(head)) = (&self.owner, &self.head) else {
            return;
        };
        if head.length.is_none() && !head.bodiless {
            owner.http_response(response(head.status, Some(head.sent)));
        }
        self.classify_end(trailers);
        self.close();
    }

    /// The exchange is over; what there is to say about it was said.
    pub(crate) fn close(&mut self) {
        if let Some(owner) = self.owner.take() {
            owner.close();
        }
    }

    fn classify_end(&self, trailers: Option<&HeaderMap>) {
        if let (Some(owner), Some(head)) = (&self.owner, &self.head) {
            let class = self.callbacks.classifier.end(owner, head.class, trailers);
            if class != head.class {
                owner.mark(class);
            }
        }
    }

    /// The owner, unless the exchange is skipped.
    fn recording(&self) -> Option<&Owner> {
        let owner = self.owner.as_ref();
        owner.filter(|owner| !matches!(owner, Owner::Skipped(_)))
    }

    /// The exchange is left before its end.
    fn leave(&mut self) {
        if let Some(owner) = self.recording() {
            let head = self.head.as_ref();
            if let Some(head) = head.filter(|head| head.length.is_none()) {
                owner.http_response(response(head.status, Some(head.sent)));
            }
            let abandoned = Abandoned {
                status: head.map(|head| head.status),
                content_type: head.and_then(|head| head.content_type.as_ref()),
                sent: head.map_or(0, |head| head.sent),
                is_client: self.side == Side::Client,
            };
            match self.callbacks.classifier.left(owner, &abandoned) {
                Class::Ok if abandoned.is_client => self.classify_end(None),
                Class::Ok => {}
                class => self.cancel(owner, class),
            }
        }
        self.close();
    }

    fn cancel(&self, owner: &Owner, class: Class) {
        let what = match &self.head {
            None => "dropped before there was a response",
            Some(_) => "the response body was dropped before its end",
        };
        owner.record_exception("Cancelled", what, class);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match &self.head {
            _ if self.owner.is_none() => {}
            Some(head) if head.is_enough() => self.complete(None),
            // The owner, dropped next, records just that.
            _ if std::thread::panicking() => {}
            _ => self.leave(),
        }
    }
}

fn response(status: StatusCode, length: Option<u64>) -> HttpResponse {
    let response = HttpResponse::new(status.as_u16());
    match length {
        Some(length) => response.content_length(length),
        None => response,
    }
}

/// Tells the caller which trace its request became a part of.
fn answer(entity: &Entity, decision_requested: bool) -> Option<HeaderValue> {
    let header = TraceHeader::new(entity.trace_id()?).with_sampled(if !decision_requested {
        Sampled::Unknown
    } else if entity.is_sampled() {
        Sampled::Yes
    } else {
        Sampled::No
    });
    HeaderValue::from_str(&header.to_line()?).ok()
}
