//! What was received, within a bound, and which traces are finished.

use crate::trace::trace_id;
use crate::{Document, Filter, Trace, Violation, escape, join, tidy};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// One datagram and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The datagram as it came, header line included.
    pub bytes: Vec<u8>,
    /// The document in it, if it keeps all rules.
    pub verdict: Result<Document, Rejected>,
}

impl Received {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            verdict: crate::check(bytes).map_err(|violations| Rejected::new(bytes, violations)),
        }
    }

    /// What is accepted but should not be written, see [`tidy`].
    pub fn untidy(&self) -> Vec<Violation> {
        tidy(&self.bytes)
    }
}

/// Says which document was turned down, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// Its name, if one could be read.
    pub name: Option<String>,
    /// Its id, if one could be read.
    pub id: Option<String>,
    /// Every rule it breaks.
    pub violations: Vec<Violation>,
}

impl Rejected {
    fn new(bytes: &[u8], violations: Vec<Violation>) -> Self {
        let start = bytes
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let document: serde_json::Value =
            serde_json::from_slice(&bytes[start..]).unwrap_or_default();
        let text = |key| Some(document.get(key)?.as_str()?.to_owned());
        Self {
            name: text("name"),
            id: text("id"),
            violations,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rejected")?;
        for part in [&self.name, &self.id].into_iter().flatten() {
            write!(f, " {}", escape::shorten(part))?;
        }
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}

/// What became of the traces. Each counts once, by its latest report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceCounts {
    /// Reported as finished, or complete when the daemon stopped.
    pub finished: usize,
    /// Still waited for, or reported as incomplete when the daemon stopped.
    pub unfinished: usize,
    /// Not reported because of the filter.
    pub filtered_out: usize,
    /// Thrown out to bound memory before they were reported.
    pub evicted: usize,
}

impl TraceCounts {
    fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Finished => &mut self.finished,
            Outcome::Unfinished => &mut self.unfinished,
            Outcome::FilteredOut => &mut self.filtered_out,
        } += 1;
    }
}

/// How much is held and how long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) traces: usize,
    pub(crate) bytes: usize,
    pub(crate) quiet: Duration,
}

/// The oldest trace goes first, as a whole, when a limit is reached.
#[derive(Debug)]
pub(crate) struct Store {
    limits: Limits,
    /// In order of arrival; `None` where a trace was thrown out.
    held: VecDeque<Option<Held>>,
    /// Number of the first in `held`, counted since the beginning.
    first: usize,
    bytes: usize,
    traces: HashMap<String, Progress>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) received: usize,
    pub(crate) rejected: usize,
    pub(crate) evicted: usize,
    /// Of the traces no longer held.
    past: TraceCounts,
}

#[derive(Debug)]
struct Held {
    received: Received,
    weight: usize,
}

#[derive(Debug)]
struct Progress {
    /// Numbers of its documents.
    documents: Vec<usize>,
    latest: Instant,
    /// When to look whether it is finished; `None` if only a further document
    /// can change that.
    due: Option<Instant>,
    /// `None` if it was not reported since its latest document.
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Finished,
    Unfinished,
    FilteredOut,
}

impl Store {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: VecDeque::new(),
            first: 0,
            bytes: 0,
            traces: HashMap::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn add(&mut self, received: Received, now: Instant) {
        self.counts.received += 1;
        let number = self.first + self.held.len();
        match &received.verdict {
            Ok(document) => {
                let id = trace_id(document);
                let progress = self.traces.entry(id).or_insert_with(|| Progress {
                    documents: Vec::new(),
                    latest: now,
                    due: None,
                    outcome: None,
                });
                progress.documents.push(number);
                progress.latest = now;
                progress.due = now.checked_add(self.limits.quiet);
                progress.outcome = None;
            }
            Err(_) => self.counts.rejected += 1,
        }
        let weight = weight(&received);
        self.bytes += weight;
        self.held.push_back(Some(Held { received, weight }));
        while self.bytes > self.limits.bytes || self.traces.len() > self.limits.traces {
            if !self.evict() {
                break;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    pub(crate) fn received(&self) -> impl Iterator<Item = &Received> {
        self.held.iter().flatten().map(|held| &held.received)
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.received()
            .filter_map(|received| received.verdict.as_ref().ok())
    }

    pub(crate) fn trace_counts(&self) -> TraceCounts {
        let mut counts = self.counts.past;
        for progress in self.traces.values() {
            counts.add(progress.outcome.unwrap_or(Outcome::Unfinished));
        }
        counts
    }

    /// The traces to ask [`finish`](Self::finish) about.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        self.select(|progress| progress.due.is_some_and(|due| due <= now))
    }

    /// The traces to ask [`end`](Self::end) about.
    pub(crate) fn unreported(&self) -> Vec<String> {
        self.select(|progress| progress.outcome.is_none())
    }

    /// The trace, if it is finished by `now` and matches, to be reported.
    ///
    /// Finished is a trace that is complete and quiet. One that misses a parent
    /// gets [`PATIENCE`] times as long, as the parent may belong to a slower
    /// service; one with open documents waits for them without end.
    pub(crate) fn finish(&mut self, id: &str, now: Instant, filter: &Filter) -> Option<Trace> {
        let trace = self.join(id)?;
        let patience = self.limits.quiet.saturating_mul(PATIENCE);
        let progress = self.traces.get_mut(id)?;
        let patience_ends = progress.latest.checked_add(patience);
        progress.due = None;
        if trace.is_open() {
            return None;
        }
        if !trace.is_complete() && patience_ends.is_none_or(|ends| now < ends) {
            progress.due = patience_ends;
            return None;
        }
        progress.report(trace, Outcome::Finished, filter)
    }

    /// The trace as it is, if it matches, to be reported since no more of it
    /// will come.
    pub(crate) fn end(&mut self, id: &str, filter: &Filter) -> Option<Trace> {
        let trace = self.join(id)?;
        let outcome = if trace.is_complete() {
            Outcome::Finished
        } else {
            Outcome::Unfinished
        };
        let progress = self.traces.get_mut(id)?;
        progress.due = None;
        progress.report(trace, outcome, filter)
    }

    /// By arrival of their first documents. Ids, not traces: those are joined
    /// one at a time, as copies of all would take as much room as all that is held.
    fn select(&self, wanted: impl Fn(&Progress) -> bool) -> Vec<String> {
        let mut found: Vec<_> = (self.traces.iter())
            .filter(|(_, progress)| wanted(progress))
            .map(|(id, progress)| (progress.documents.first(), id))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn join(&self, id: &str) -> Option<Trace> {
        let numbers = self.traces.get(id)?.documents.iter();
        let held = numbers.filter_map(|number| self.held.get(number - self.first)?.as_ref());
        let documents = held.filter_map(|held| held.received.verdict.clone().ok());
        join(documents).pop()
    }

    /// Throws out the oldest trace or rejected datagram.
    fn evict(&mut self) -> bool {
        let Some(oldest) = self.held.iter().flatten().next() else {
            return false;
        };
        let trace = oldest.received.verdict.as_ref().ok().map(trace_id);
        let numbers = match trace.and_then(|id| self.traces.remove(&id)) {
            Some(progress) => {
                match progress.outcome {
                    Some(outcome) => self.counts.past.add(outcome),
                    None => self.counts.past.evicted += 1,
                }
                progress.documents
            }
            None => vec![self.first], // the front is never empty, see below
        };
        for number in numbers {
            if let Some(held) = self
                .held
                .get_mut(number - self.first)
                .and_then(Option::take)
            {
                self.bytes -= held.weight;
                self.counts.evicted += 1;
            }
        }
        while let Some(None) = self.held.front() {
            self.held.pop_front();
            self.first += 1;
        }
        true
    }
}

impl Progress {
    fn report(&mut self, trace: Trace, outcome: Outcome, filter: &Filter) -> Option<Trace> {
        let matches = filter.matches(&trace);
        self.outcome = Some(if matches {
            outcome
        } else {
            Outcome::FilteredOut
        });
        matches.then_some(trace)
    }
}

/// Estimates the memory a datagram keeps occupied, rather too high: a few bytes
/// of JSON can become a hundred times as many in memory.
fn weight(received: &Received) -> usize {
    let told = |violation: &Violation| {
        size_of::<Violation>() + violation.path.len() + violation.reason.len()
    };
    let rejected = |rejected: &Rejected| {
        let texts = [&rejected.name, &rejected.id].into_iter().flatten();
        texts.map(String::len).sum::<usize>() + rejected.violations.iter().map(told).sum::<usize>()
    };
    let parsed = |document: &Document| {
        let grown = received.bytes.iter().map(|byte| match byte {
            b'{' => 640, // a map allocates room for eleven fields
            b'[' => 128, // a list for four values
            b',' => 64,  // and twice as many when full
            b'"' => 16,  // half a small allocation
            _ => 1,
        });
        document.walk().count() * size_of::<Document>() + grown.sum::<usize>()
    };
    let verdict = received.verdict.as_ref().map_or_else(rejected, parsed);
    size_of::<Held>() + received.bytes.len() + verdict
}

/// A trace that misses a parent waits so many quiet times.
const PATIENCE: u32 = 10;
