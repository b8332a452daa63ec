//! What an entity says of itself is what its calls are told, and what begins
//! below it is counted under what became of it: in every state there is.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::{balance, builder};
use xray_core::{
    Capture, Decision, Entity, Loss, Recorder, RecorderBuilder, Sampled, Segment, Subsegment,
    TraceHeader, current, suppressed,
};

const CALLER: &str =
    "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1";

/// What keeps an entity in its state.
struct State {
    entity: Entity,
    /// Closed in this order.
    children: Vec<Subsegment>,
    roots: Vec<Segment>,
}

impl State {
    fn of(root: Segment) -> Self {
        Self {
            entity: Entity::clone(&root),
            children: Vec::new(),
            roots: vec![root],
        }
    }

    fn child(root: Segment, child: Subsegment) -> Self {
        Self {
            entity: Entity::clone(&child),
            children: vec![child],
            roots: vec![root],
        }
    }
}

fn silent<R>(work: impl FnOnce() -> R) -> R {
    let mut work = pin!(suppressed(async { work() }));
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("there is nothing to wait for"),
    }
}

/// How to get there, and whether it is recorded, what calls are told, and what
/// two entities below it count as.
struct Case {
    name: &'static str,
    configure: fn(RecorderBuilder) -> RecorderBuilder,
    state: fn(&Recorder, &TraceHeader) -> State,
    is_recorded: bool,
    told: Sampled,
    counts: Counts,
}

#[derive(Clone, Copy)]
enum Counts {
    Written,
    Unsampled,
    Dropped(Loss),
    /// It belongs to no recorder.
    Nowhere,
}

const fn case(
    name: &'static str,
    state: fn(&Recorder, &TraceHeader) -> State,
    is_recorded: bool,
    told: Sampled,
    counts: Counts,
) -> Case {
    Case {
        name,
        configure: |builder| builder.open_limits(2, 4),
        state,
        is_recorded,
        told,
        counts,
    }
}

const CASES: [Case; 15] = [
    case(
        "sampled",
        |recorder, header| State::of(recorder.segment("shop").header(header).begin()),
        true,
        Sampled::Yes,
        Counts::Written,
    ),
    case(
        "recorded",
        |recorder, header| {
            let segment = recorder.segment("shop").header(header);
            State::of(segment.decide(Decision::recorded()).begin())
        },
        true,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "unsampled",
        |recorder, header| {
            let segment = recorder.segment("shop").header(header);
            State::of(segment.decide(Decision::unsampled()).begin())
        },
        false,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "below unsampled",
        |recorder, header| {
            let segment = recorder.segment("shop").header(header);
            let root = segment.decide(Decision::unsampled()).begin();
            let child = root.begin_subsegment("a");
            State::child(root, child)
        },
        false,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "refused",
        |recorder, header| refused(recorder.segment("shop").header(header).begin()),
        false,
        Sampled::Yes,
        Counts::Dropped(Loss::LimitChildren),
    ),
    case(
        "refused in a recorded trace",
        |recorder, header| {
            let segment = recorder.segment("shop").header(header);
            refused(segment.decide(Decision::recorded()).begin())
        },
        false,
        Sampled::No,
        Counts::Dropped(Loss::LimitChildren),
    ),
    case(
        "below refused",
        |recorder, header| {
            let mut state = refused(recorder.segment("shop").header(header).begin());
            let below = state.entity.begin_subsegment("below");
            state.entity = Entity::clone(&below);
            // There is room again: it is refused all the same.
            state.children = vec![below];
            state
        },
        false,
        Sampled::Yes,
        Counts::Dropped(Loss::LimitChildren),
    ),
    case(
        "given up",
        |recorder, header| {
            let begin = || recorder.segment("shop").header(header).begin();
            let first = begin();
            let child = first.begin_subsegment("late");
            let others = [begin(), begin(), begin()];
            let late = first.begin_subsegment("late");
            State {
                entity: Entity::clone(&late),
                children: vec![child, late],
                roots: others.into_iter().chain([first]).collect(),
            }
        },
        false,
        Sampled::Yes,
        Counts::Dropped(Loss::LimitOpen),
    ),
    case(
        "a facade",
        |recorder, header| State::of(recorder.begin_facade(header)),
        false,
        Sampled::Yes,
        Counts::Written,
    ),
    case(
        "a facade of an unsampled segment",
        |recorder, header| {
            let header = header.clone().with_sampled(Sampled::No);
            State::of(recorder.begin_facade(&header))
        },
        false,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "a facade of nothing known",
        |recorder, header| {
            let header = TraceHeader::new(header.root().unwrap());
            State::of(recorder.begin_facade(&header))
        },
        false,
        Sampled::Unknown,
        Counts::Unsampled,
    ),
    case(
        "a suppressed segment",
        |recorder, header| State::of(silent(|| recorder.segment("shop").header(header).begin())),
        false,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "suppressed",
        |recorder, header| {
            let root = recorder.segment("shop").header(header).begin();
            State {
                entity: root.run(|| silent(current)),
                children: Vec::new(),
                roots: vec![root],
            }
        },
        false,
        Sampled::No,
        Counts::Unsampled,
    ),
    case(
        "suppressed where no trace is",
        |_, _| State {
            entity: silent(current),
            children: Vec::new(),
            roots: Vec::new(),
        },
        false,
        Sampled::No,
        Counts::Nowhere,
    ),
    Case {
        configure: |builder| builder.enabled(false),
        ..case(
            "switched off",
            |recorder, header| State::of(recorder.segment("shop").header(header).begin()),
            false,
            Sampled::Yes,
            Counts::Unsampled,
        )
    },
];

/// A child beyond the limit, and one that closed since.
fn refused(root: Segment) -> State {
    let mut children: Vec<_> = (0..4).map(|_| root.begin_subsegment("a")).collect();
    let entity = Entity::clone(&children[3]);
    children.remove(0).close();
    State {
        entity,
        children,
        roots: vec![root],
    }
}

#[test]
fn what_is_said_is_what_calls_are_told() {
    for case in &CASES {
        let builder = builder(Capture::new(65_474));
        let recorder = (case.configure)(builder).build().unwrap();
        let state = (case.state)(&recorder, &TraceHeader::parse(CALLER));
        for entity in [&state.entity, &*state.entity.begin_subsegment("call")] {
            let told = entity.header();
            assert_eq!(told.sampled(), case.told, "{}", case.name);
            assert_eq!(
                entity.is_sampled(),
                told.sampled() == Sampled::Yes,
                "{}",
                case.name
            );
            assert!(told.root().is_some(), "{}", case.name);
            if entity.trace_id().is_some() {
                assert_eq!(told.root(), entity.trace_id(), "{}", case.name);
                assert_eq!(told.parent(), entity.id(), "{}", case.name);
            }
        }
        assert_eq!(
            state.entity.is_recorded(),
            case.is_recorded,
            "{}",
            case.name
        );
        drop((state.children, state.roots));
        balance(&recorder);
    }
}

#[test]
fn what_begins_below_counts_as_what_became_of_it() {
    for case in &CASES {
        let builder = builder(Capture::new(65_474));
        let recorder = (case.configure)(builder).build().unwrap();
        let counts = |recorder: &Recorder| {
            let entities = recorder.entities();
            let dropped: BTreeMap<Loss, u64> = entities.dropped;
            let of = |reason| dropped.get(&reason).copied().unwrap_or(0);
            [
                entities.begun,
                entities.written,
                entities.unsampled,
                of(Loss::LimitChildren),
                of(Loss::LimitOpen),
            ]
        };
        let run = |below: bool| {
            let before = counts(&recorder);
            let state = (case.state)(&recorder, &TraceHeader::parse(CALLER));
            if below {
                let outer = state.entity.begin_subsegment("outer");
                outer.in_subsegment("inner", |_| ());
                outer.close();
            }
            drop(state.children);
            drop(state.roots);
            let after = counts(&recorder);
            std::array::from_fn::<u64, 5, _>(|at| after[at] - before[at])
        };
        let without = run(false);
        let with = run(true);
        let more: [u64; 5] = std::array::from_fn(|at| with[at] - without[at]);
        let expected = match case.counts {
            Counts::Written => [2, 2, 0, 0, 0],
            Counts::Unsampled => [2, 0, 2, 0, 0],
            Counts::Dropped(Loss::LimitChildren) => [2, 0, 0, 2, 0],
            Counts::Dropped(_) => [2, 0, 0, 0, 2],
            Counts::Nowhere => [0; 5],
        };
        assert_eq!(more, expected, "{}", case.name);
        balance(&recorder);
    }
}
