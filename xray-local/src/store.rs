//! What was received, within a bound, and which traces are finished.

use crate::{Document, Trace, Violation, escape, join, tidy};
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
    reported: bool,
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
                let id = document.trace_id.clone().unwrap_or_default();
                let progress = self.traces.entry(id).or_insert_with(|| Progress {
                    documents: Vec::new(),
                    latest: now,
                    due: None,
                    reported: false,
                });
                progress.documents.push(number);
                progress.latest = now;
                progress.due = Some(now + self.limits.quiet);
                progress.reported = false;
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

    /// The traces that have become finished by `now`, each reported once unless
    /// more of it comes later.
    ///
    /// Finished is a trace that is complete and quiet. One that misses a parent
    /// gets [`PATIENCE`] times as long, as the parent may belong to a slower
    /// service; one with open documents waits for them without end.
    pub(crate) fn finished(&mut self, now: Instant) -> Vec<Trace> {
        let quiet = self.limits.quiet;
        let is_due = |progress: &&Progress| progress.due.is_some_and(|due| due <= now);
        let due: Vec<Vec<usize>> = {
            let due = self.traces.values().filter(is_due);
            due.map(|progress| progress.documents.clone()).collect()
        };
        let mut traces = Vec::new();
        for numbers in in_order(due) {
            let Some(trace) = self.join(&numbers) else {
                continue;
            };
            let Some(progress) = self.traces.get_mut(trace.id()) else {
                continue;
            };
            let patience_ends = progress.latest + quiet * PATIENCE;
            progress.due = None;
            if trace.is_open() {
                continue;
            }
            if trace.is_complete() || patience_ends <= now {
                progress.reported = true;
                traces.push(trace);
            } else {
                progress.due = Some(patience_ends);
            }
        }
        traces
    }

    /// Whatever was not reported yet, finished or not.
    pub(crate) fn unfinished(&mut self) -> Vec<Trace> {
        let mut left = Vec::new();
        for progress in self
            .traces
            .values_mut()
            .filter(|progress| !progress.reported)
        {
            progress.reported = true;
            progress.due = None;
            left.push(progress.documents.clone());
        }
        let left = in_order(left).into_iter();
        left.filter_map(|numbers| self.join(&numbers)).collect()
    }

    fn join(&self, numbers: &[usize]) -> Option<Trace> {
        let held = numbers
            .iter()
            .filter_map(|number| self.held.get(number - self.first)?.as_ref());
        let documents = held.filter_map(|held| held.received.verdict.clone().ok());
        join(documents).pop()
    }

    /// Throws out the oldest trace or rejected datagram.
    fn evict(&mut self) -> bool {
        let Some(oldest) = self.held.iter().flatten().next() else {
            return false;
        };
        let trace = oldest
            .received
            .verdict
            .as_ref()
            .ok()
            .map(|document| document.trace_id.clone().unwrap_or_default());
        let numbers = match trace.and_then(|id| self.traces.remove(&id)) {
            Some(progress) => progress.documents,
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

/// By arrival of their first documents.
fn in_order(mut traces: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    traces.sort_unstable_by_key(|numbers| numbers.first().copied());
    traces
}

/// Estimates the memory a datagram keeps occupied, rather too high: a few bytes
/// of JSON can become a hundred times as many in memory.
fn weight(received: &Received) -> usize {
    let parsed = received.verdict.as_ref().map_or(0, |document| {
        let grown = received.bytes.iter().map(|byte| match byte {
            b'{' => 640, // a map allocates room for eleven fields
            b'[' => 128, // a list for four values
            b',' => 64,  // and twice as many when full
            b'"' => 16,  // half a small allocation
            _ => 1,
        });
        document.walk().count() * size_of::<Document>() + grown.sum::<usize>()
    });
    size_of::<Held>() + received.bytes.len() + parsed
}

/// A trace that misses a parent waits so many quiet times.
const PATIENCE: u32 = 10;
