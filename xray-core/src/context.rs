//! Which entity is current: a stack on each thread, and futures that put
//! themselves on it while they are polled. Needs no runtime.
//!
//! The only place that touches thread-locals of the context.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::TraceId;
use crate::clock::Clock;
use crate::entity::{Entity, Inner};
use crate::entropy::{Entropy, IdSequence};
use crate::header::{Sampled, TraceHeader};
use crate::report::{Report, report};
use crate::unsampled::{Silence, Unsampled, Work};

thread_local! {
    static STACK: RefCell<Stack> = const { RefCell::new(Stack { frames: Vec::new(), next: 0 }) };
}

struct Stack {
    frames: Vec<(u64, Entity)>,
    next: u64,
}

/// The entity that is current here. Where no trace is, it is one on which every
/// method does nothing.
///
/// Below a [facade](crate::Recorder::begin_facade) the handler itself has the
/// facade current, which is sent by somebody else: what is written to it is
/// lost. Write to a subsegment.
///
/// Clone it into whatever outlives this moment: it is the one way to carry a
/// trace across threads and tasks.
///
/// ```
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// # let entered = segment.enter();
/// let here = xray_core::current();
/// std::thread::spawn(move || here.in_subsegment("elsewhere", |_| ())).join().unwrap();
/// # drop(entered);
/// # segment.close();
/// # assert_eq!(capture.documents()[0].subsegments[0].name, "elsewhere");
/// ```
pub fn current() -> Entity {
    STACK
        .try_with(|stack| match stack.borrow().frames.last() {
            Some((_, entity)) => entity.clone(),
            None => Entity::NOTHING,
        })
        .unwrap_or(Entity::NOTHING)
}

/// Runs a future, or stream, of which, and below which, nothing is recorded;
/// calls it makes carry `Sampled=0`, or the caller's header where the SDK is
/// switched off. This crate runs its own work in it.
///
/// Calls carry the trace that is current where this is called; where none is,
/// that of the first poll, so that a [`scope`](Entity::scope) reaches the future
/// it is given; and where there is none either, one that is made up.
///
/// A task that the future spawns runs outside of it and is recorded as ever. To
/// suppress the task, spawn it suppressed:
///
/// ```
/// # use std::task::{Context, Waker};
/// # use xray_core::suppressed;
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let poll_the_rules = || async { recorder.begin_segment("rules").close() };
/// # fn spawn(work: impl Future) {
/// #     drop(std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())));
/// # }
/// spawn(suppressed(poll_the_rules())); // not: suppressed(async { spawn(poll_the_rules()) })
/// # assert!(capture.documents().is_empty());
/// ```
pub fn suppressed<F>(future: F) -> Scoped<F> {
    Scoped {
        place: Place::Suppressed(current()),
        inner: Some(future),
    }
}

/// What is current, if nothing is to be recorded below it.
pub(crate) fn suppression() -> Option<Work> {
    let suppressing = |stack: &RefCell<Stack>| {
        let stack = stack.borrow();
        let (_, entity) = stack.frames.last()?;
        entity.suppressed().cloned()
    };
    STACK.try_with(suppressing).ok().flatten()
}

/// The entity of work that leaves its trace; inside of suppressed work, that work.
pub(crate) fn detached_entity() -> Entity {
    suppression().map_or(Entity::DETACHED, |work| {
        Entity(Inner::Unsampled(Unsampled::Unheard(work)))
    })
}

/// The entity of work that is suppressed here.
pub(crate) fn suppressed_entity() -> Entity {
    suppressed_below(&current())
}

fn suppressed_below(entity: &Entity) -> Entity {
    let work = entity.suppressed().cloned().unwrap_or_else(|| {
        let core = entity.core().cloned();
        let (header, silence) = match entity.trace_id() {
            // Off, headers go on as they came.
            _ if core.as_ref().is_some_and(|core| core.disabled) => {
                (entity.header(), Silence::Below)
            }
            Some(_) => (entity.header().with_sampled(Sampled::No), Silence::Below),
            None => (made_up(), Silence::Nowhere),
        };
        Work {
            core,
            header,
            silence,
        }
    });
    Entity(Inner::Unsampled(Unsampled::Unheard(work)))
}

/// A trace for calls, as they must say something, and for nothing else.
fn made_up() -> TraceHeader {
    let [high, low, seed] = Entropy::default().draw();
    let root = TraceId::fresh(Clock::default().now().wall, high, low);
    let header = TraceHeader::new(root).with_parent(Some(IdSequence(seed).next()));
    header.with_sampled(Sampled::No)
}

/// What happens when a subsegment is begun where no trace is. Work that is
/// [detached](crate::TraceExt::detached) misses none.
///
/// One setting for the process, as such work belongs to no recorder:
/// [`RecorderBuilder::context_missing`](crate::RecorderBuilder::context_missing),
/// or the variable `AWS_XRAY_CONTEXT_MISSING`. The work itself is never
/// recorded, and always counted by [`context_missing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ContextMissing {
    /// A log line, at most one in ten seconds. The default; `LOG_ERROR`.
    #[default]
    Log,
    /// Nothing; `IGNORE_ERROR`.
    Ignore,
    /// A panic in whoever begins the subsegment; `RUNTIME_ERROR`. For tests
    /// and staging: it finds the task that was spawned without its context.
    /// Never while the thread unwinds already.
    Panic,
}

/// The policy, as a number: an enum is not atomic.
static POLICY: AtomicU8 = AtomicU8::new(0);
/// Times a subsegment was begun where no trace is, in this process.
static MISSING: AtomicU64 = AtomicU64::new(0);

impl ContextMissing {
    /// Makes this the policy of the process.
    pub(crate) fn set(self) {
        POLICY.store(self as u8, Ordering::Relaxed);
    }
}

#[expect(
    clippy::panic,
    reason = "the one permitted panic, asked for by the operator"
)]
pub(crate) fn missing(name: &str) {
    MISSING.fetch_add(1, Ordering::Relaxed);
    let policy = POLICY.load(Ordering::Relaxed);
    if policy == ContextMissing::Log as u8 {
        report(
            Report::ContextMissing,
            &format_args!("no trace for subsegment {name:?}"),
        );
    } else if policy == ContextMissing::Panic as u8 && !std::thread::panicking() {
        panic!("X-Ray: no trace is current where subsegment {name:?} begins");
    }
}

/// How often a subsegment was begun where no trace was current, since the
/// process began. Such work is not recorded; usually a task was spawned
/// without [`in_current`](crate::TraceExt::in_current).
pub fn context_missing() -> u64 {
    MISSING.load(Ordering::Relaxed)
}

/// Makes an entity current on its thread while it lives; see [`Entity::enter`],
/// also for the lints that find a guard held across an `.await` or dropped at
/// once.
///
/// Guards may be dropped out of order: each takes away what it put there.
#[derive(Debug)]
#[must_use = "the entity is current only while this lives"]
pub struct Entered<'a> {
    token: u64,
    /// Bound to its thread, and not to outlive the handle it came from.
    bound: PhantomData<(&'a Entity, *const ())>,
}

/// The token of what was not made current: there is nothing to take away.
const NONE: u64 = 0;

impl Entered<'_> {
    /// An empty entity leaves current what is; and what is suppressed stays so.
    pub(crate) fn new(entity: &Entity) -> Self {
        let entity = entity.clone();
        let token = STACK.try_with(move |stack| {
            let mut stack = stack.borrow_mut();
            let around = stack.frames.last().map(|(_, around)| around);
            let stays = match entity.0 {
                Inner::Nothing => true,
                Inner::Detached => around.is_some_and(|around| around.suppressed().is_some()),
                _ => false,
            };
            if stays {
                return NONE;
            }
            stack.next += 1;
            let token = stack.next;
            stack.frames.push((token, entity));
            token
        });
        Self {
            token: token.unwrap_or(NONE), // the thread is ending
            bound: PhantomData,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let left = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let at = stack
                .frames
                .iter()
                .rposition(|frame| frame.0 == self.token)?;
            Some(stack.frames.remove(at))
        });
        // Dropped only here, as the last handle of a trace may do work of its own.
        drop(left);
    }
}

pin_project! {
    /// A future or stream with an entity current whenever it is polled, and
    /// while it is dropped; see [`Entity::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        place: Place,
        #[pin]
        inner: Option<F>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.place.entity().enter();
            this.inner.set(None);
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(entity: Entity, inner: F) -> Self {
        Self {
            place: Place::Entity(entity),
            inner: Some(inner),
        }
    }
}

/// What is current in a future or stream.
#[derive(Debug)]
enum Place {
    Entity(Entity),
    /// What the first poll makes of where it was written.
    Suppressed(Entity),
}

impl Place {
    fn entity(&mut self) -> &Entity {
        if let Self::Suppressed(written) = self {
            let around = current();
            let below = match written.yields_to(&around) {
                true => &around,
                false => &*written,
            };
            *self = Self::Entity(suppressed_below(below));
        }
        match self {
            Self::Entity(entity) | Self::Suppressed(entity) => entity,
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.place.entity().enter();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Pending, // never: only the drop takes it away
        }
    }
}

impl<S: Stream> Stream for Scoped<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let _entered = this.place.entity().enter();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}
