//! For tests: record into memory, and say what is expected.
//!
//! A [`TestRecorder`] samples everything, keeps its documents in memory, has a
//! clock that moves only when told to, and gives the same ids in every run. What
//! it recorded is held against an expectation of [`expect`]; a difference fails
//! the test with the path to the step that differs and the tree that was found.
//!
//! The test of a handler:
//!
//! ```
//! use xray_core::test_util::{TestRecorder, expect};
//! # use xray_core::HttpResponse;
//! # fn place_order(recorder: &xray_core::Recorder, tenant: &str) {
//! #     let segment = recorder.begin_segment("shop");
//! #     segment.annotate("tenant", tenant);
//! #     segment.in_subsegment("load", |_| ());
//! #     segment.in_subsegment("charge", |charge| charge.annotate("cents", 1_999));
//! #     segment.http_response(HttpResponse::new(200));
//! # }
//!
//! // #[test]
//! fn an_order_is_charged_once() {
//!     let recorder = TestRecorder::new("shop");
//!     place_order(&recorder, "t-42"); // the handler
//!     recorder.expect(
//!         expect::segment("shop").annotation("tenant", "t-42").status(200).ok()
//!             .child(expect::subsegment("load"))
//!             .child(expect::subsegment("charge").annotation("cents", 1_999).exact()),
//!     );
//!     recorder.assert_finished();
//! }
//! # an_order_is_charged_once();
//! ```
//!
//! In `Cargo.toml` the feature `test-util` belongs to the dev-dependencies.

mod check;
pub mod expect;
mod tree;

pub use check::Mismatch;
pub use tree::join;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::RecorderBuilder;
use crate::document::Document;
use crate::emit::capture::Capture;
use crate::{Always, ManualClock, RandomSource, Recorder, limits};
use expect::Expectation;

/// Where the clock of a [`TestRecorder`] stands at first, in seconds since the
/// Unix epoch: 2023-11-14, 22:13:20 UTC.
pub const EPOCH_SECONDS: u64 = 1_700_000_000;

/// A [`Recorder`] for tests; see the [module](self).
///
/// Cheap to clone; all clones are one recorder. Nothing is checked when it is
/// dropped: call [`assert_finished`](Self::assert_finished).
#[derive(Debug, Clone)]
pub struct TestRecorder {
    recorder: Recorder,
    capture: Capture,
    clock: Arc<ManualClock>,
}

impl TestRecorder {
    /// Records everything for the service of that name. It reads no environment
    /// variables.
    pub fn new(name: &str) -> Self {
        Self::configured(name, |builder| builder)
    }

    /// As [`new`](Self::new), with settings of its own: a sampler, hooks, what
    /// may be open, `enabled(false)`. Settings of how documents leave, of the
    /// environment and of missing context have no effect.
    ///
    /// ```
    /// use xray_core::{Never, test_util::TestRecorder};
    ///
    /// let recorder = TestRecorder::configured("shop", |builder| builder.sampler(Never));
    /// recorder.begin_segment("shop").close();
    /// recorder.expect_nothing();
    /// ```
    pub fn configured(
        name: &str,
        configure: impl FnOnce(RecorderBuilder) -> RecorderBuilder,
    ) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS);
        let clock = Arc::new(ManualClock::at(start));
        let capture = Capture::new(limits::DOCUMENT_BYTES);
        let builder = Recorder::builder(name)
            .clock(clock.clone())
            .random(Arc::new(Counting(AtomicU64::new(1))))
            .sampler(Always);
        let recorder = configure(builder).captured(capture.clone());
        Self {
            recorder,
            capture,
            clock,
        }
    }

    /// The clock all times are read from. It stands at [`EPOCH_SECONDS`] until
    /// it is moved.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What would have been sent, document by document and as text.
    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// The traces recorded so far, each joined to one tree whichever documents
    /// its parts came in; see [`join`]. Oldest first.
    pub fn traces(&self) -> Vec<Document> {
        join(self.capture.documents())
    }

    /// The one trace recorded so far, as a tree.
    ///
    /// # Panics
    ///
    /// When there is none, or more than one.
    #[track_caller]
    pub fn trace(&self) -> Document {
        match <[Document; 1]>::try_from(self.traces()) {
            Ok([trace]) => trace,
            Err(traces) => fail(&check::wrong_number(1, &traces)),
        }
    }

    /// Exactly one trace was recorded so far, and as expected.
    ///
    /// # Panics
    ///
    /// When that is not so. The message names the step that differs.
    #[track_caller]
    pub fn expect(&self, expectation: Expectation) {
        self.expect_each([expectation]);
    }

    /// Exactly as many traces were recorded so far, each as expected, in the
    /// order in which they began.
    ///
    /// # Panics
    ///
    /// When that is not so. The message names the step that differs.
    #[track_caller]
    pub fn expect_each(&self, expectations: impl IntoIterator<Item = Expectation>) {
        let expectations: Vec<_> = expectations.into_iter().collect();
        let traces = self.traces();
        if expectations.len() != traces.len() {
            fail(&check::wrong_number(expectations.len(), &traces));
        }
        for (expectation, trace) in expectations.iter().zip(&traces) {
            if let Err(mismatch) = expectation.check(trace) {
                fail(&mismatch);
            }
        }
    }

    /// Nothing was recorded so far.
    ///
    /// # Panics
    ///
    /// When something was.
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.expect_each([]);
    }

    /// As the function [`assert_finished`].
    ///
    /// # Panics
    ///
    /// When something is open or was lost.
    #[track_caller]
    pub fn assert_finished(&self) {
        assert_finished(self);
    }

    /// Forgets the traces recorded so far.
    pub fn clear(&self) {
        self.capture.clear();
    }
}

impl Deref for TestRecorder {
    type Target = Recorder;

    fn deref(&self) -> &Recorder {
        &self.recorder
    }
}

/// Everything that was begun was closed and written, every document was sent,
/// nothing was lost on the way, and both ledgers balance. For any recorder;
/// flush one that has an emission thread before.
///
/// # Panics
///
/// When that is not so. The message shows what is open.
#[track_caller]
pub fn assert_finished(recorder: &Recorder) {
    let (entities, documents) = (recorder.entities(), recorder.documents());
    let snapshot = recorder.snapshot();
    if recorder.open_entities() > 0 || entities.open > 0 || !snapshot.is_empty() {
        let open = tree::Shown(&snapshot);
        let count = recorder.open_entities();
        fail(&format_args!(
            "not finished: {count} open\n{open}{entities:?}"
        ));
    }
    if documents.queued > 0 {
        fail(&format_args!(
            "not finished: not everything was sent: {documents:?}"
        ));
    }
    if !entities.dropped.is_empty() || !documents.lost.is_empty() {
        fail(&format_args!("lost: {entities:?}, {documents:?}"));
    }
    if !entities.is_balanced() || !documents.is_balanced() {
        fail(&format_args!(
            "ledgers do not balance: {entities:?}, {documents:?}"
        ));
    }
}

#[expect(clippy::panic, reason = "whatever is not as expected fails the test")]
#[track_caller]
fn fail(why: &dyn fmt::Display) -> ! {
    panic!("{why}")
}

/// Random bits that are not: one, two, three.
struct Counting(AtomicU64);

impl RandomSource for Counting {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
