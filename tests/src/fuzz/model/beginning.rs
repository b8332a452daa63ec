//! Begins segments, facades and subsegments, twice.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use xray_core::{Decision, Namespace, TraceHeader, suppressed};

use super::begin::{Begun, Fate};
use super::driver::{Driver, id, time, trace_id};
use super::operations::{Answer, Caller, Choice};
use super::outside::{answered, decision};
use super::trace::Of;
use super::writing::Owner;

impl Driver {
    pub(super) fn begin_segment(
        &mut self,
        caller: Caller,
        decide: Option<Choice>,
        answer: Answer,
        start: Option<i64>,
    ) -> (Owner, Of) {
        let header = TraceHeader::parse(caller.text());
        let start = start.map(|start| self.wall(start));
        self.script.answer(answer);
        let mut builder = self.recorder.segment("shop").header(&header);
        if let Some(choice) = decide {
            builder = builder.decide(decision(choice));
        }
        if let Some(start) = start {
            builder = builder.start_at(time(start));
        }
        let segment = builder.begin();
        let decision = match (decide, caller) {
            (Some(choice), _) => decision(choice),
            (None, Caller::Sampled) => Decision::sampled(),
            (None, Caller::Unsampled) => Decision::unsampled(),
            (None, _) => answered(answer).unwrap_or_else(|| {
                self.model.books.panic();
                Decision::unsampled()
            }),
        };
        assert!(header.root().is_none() || header.root() == segment.trace_id());
        assert_eq!(segment.is_sampled(), decision.sampled);
        assert_eq!(segment.is_recorded(), decision.record || decision.sampled);
        let begun = Begun {
            id: id(&segment),
            name: "shop",
            namespace: None,
            start,
        };
        let parent = header.parent().map(|id| id.to_string());
        let of = self
            .model
            .begin_segment(trace_id(&segment), parent, decision, begun);
        (Owner::Segment(segment), of)
    }

    pub(super) fn begin_facade(&mut self, caller: Caller) -> (Owner, Of) {
        let header = TraceHeader::parse(caller.text());
        let segment = self.recorder.begin_facade(&header);
        assert_eq!(segment.trace_id(), header.root());
        assert_eq!(segment.id(), header.parent());
        let of = if caller == Caller::Sampled {
            self.model.begin_facade(trace_id(&segment))
        } else {
            self.model.pass()
        };
        (Owner::Segment(segment), of)
    }

    pub(super) fn begin_child(
        &mut self,
        of: usize,
        name: &str,
        namespace: Option<Namespace>,
        start: Option<i64>,
    ) -> Option<(Owner, Of)> {
        let start = start.map(|start| self.wall(start));
        let handle = self.handles.get(&of)?;
        let parent = handle.entity()?;
        let mut builder = parent.subsegment(name);
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        if let Some(start) = start {
            builder = builder.start_at(time(start));
        }
        let child = builder.begin();
        let fate = self.model.fate_of_child(handle.of);
        assert_eq!(child.is_recorded(), fate == Fate::Recorded, "{fate:?}");
        assert_eq!(child.trace_id(), parent.trace_id());
        if fate != Fate::Recorded {
            assert_eq!(child.header(), parent.header());
        }
        let begun = Begun {
            id: id(&child),
            name,
            namespace,
            start,
        };
        let of = self.model.begin_child(handle.of, id(parent), begun);
        Some((Owner::Subsegment(child), of))
    }

    pub(super) fn suppressed(&mut self, caller: Caller, facade: bool) -> Option<(Owner, Of)> {
        let header = TraceHeader::parse(caller.text());
        let recorder = &self.recorder;
        let segment = ready(suppressed(async {
            if facade {
                recorder.begin_facade(&header)
            } else {
                recorder.segment("quiet").header(&header).begin()
            }
        }));
        let segment = segment?;
        assert!(!segment.is_recorded());
        let of = self
            .model
            .begin_suppressed(trace_id(&segment), id(&segment), facade);
        Some((Owner::Segment(segment), of))
    }
}

/// The output of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
