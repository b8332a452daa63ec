//! Operations, as data: they print, and a sequence may lose any of them.

use xray_core::{Class, Loss, Namespace};

use super::members::TRIMS;

/// The settings of one sequence.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Open traces of the recorder, open entities of a trace.
    pub(super) open_limits: (usize, usize),
    pub(super) document_limit: usize,
    pub(super) hook: HookKind,
    /// The emitter keeps its pieces until an operation asks for them.
    pub(super) defers: bool,
    /// The recorder names an origin and a version.
    pub(super) named: bool,
}

impl Settings {
    /// Usual settings, the simplest first.
    pub(super) fn simpler(&self) -> [Self; 3] {
        let usual = Self {
            open_limits: (100_000, 250_000),
            document_limit: 65_474,
            hook: HookKind::Absent,
            defers: false,
            named: false,
        };
        let deferred = Self {
            defers: true,
            ..usual.clone()
        };
        let limited = Self {
            open_limits: self.open_limits,
            ..usual.clone()
        };
        [usual, deferred, limited]
    }
}

/// The hook of a recorder: at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookKind {
    Absent,
    Edits,
    DropsSome,
    PanicsAtSome,
}

/// The number of a handle. It stays the same when other operations are left out.
pub(super) type Handle = usize;

/// The number of a hold.
pub(super) type Held = usize;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Segment {
        to: Handle,
        caller: Caller,
        decide: Option<Choice>,
        answer: Answer,
        start: Option<i64>,
        keeps_clone: bool,
    },
    Facade(Handle, Caller),
    Child {
        of: Handle,
        to: Handle,
        name: u8,
        namespace: Option<Namespace>,
        start: Option<i64>,
        keeps_clone: bool,
    },
    Write(Handle, Via, What),
    /// Clones the first into the second.
    Clone(Handle, Handle),
    DropClone(Handle),
    Hold(Handle, Via, Held),
    Release(Held),
    Close(Handle, How),
    /// Nanoseconds that pass.
    Advance(i64),
    /// Milliseconds that the wall clock steps, in either direction.
    StepWall(i64),
    /// A segment, or a facade, that begins in `suppressed`.
    Suppressed(Handle, Caller, bool),
    Keep(bool),
    /// The emitter loses as many documents as come next.
    Lose(u8, Loss),
    /// The emitter sends what it deferred, the newest first or last.
    Drain {
        newest_first: bool,
    },
    /// The emitter lets go of a piece that it deferred.
    Discard,
    Snapshot,
    /// Milliseconds that something must have been open.
    ShowOpen(i64),
    Flush,
    Shutdown,
    Fork,
}

/// The header that a caller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Absent,
    Sampled,
    Unsampled,
    /// `Sampled=?`
    Asks,
    RootOnly,
}

impl Caller {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::Sampled => {
                "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
            }
            Self::Unsampled => {
                "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=0"
            }
            Self::Asks => {
                "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=?"
            }
            Self::RootOnly => "Root=1-66f2a1c0-0123456789abcdef01234567",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Sampled,
    Unsampled,
    Recorded,
}

/// The sampler's answer, should it be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Choice(Choice),
    /// `Choice::Sampled`, by a rule with a name.
    ByRule,
    Panic,
}

/// The way to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Handle,
    Clone,
    Segment,
    Current,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Close,
    /// Milliseconds from now.
    CloseAt(i64),
    Drop,
    /// Dropped by a panic.
    Unwind,
    /// Closed on purpose while a panic unwinds.
    CloseUnwinding,
}

/// Something that is written to an entity. Numbers choose from short lists, so
/// that values are replaced.
#[derive(Debug, Clone)]
pub(super) enum What {
    Annotate(u8, Annotated),
    Tally(u8, Tallying),
    Metadata(u8, u8, Meta),
    Aws(u8, u8),
    Sql(u8, u8),
    Request(u8, u8),
    Response(u16, Option<u64>),
    Link(u8),
    Precursor(Handle),
    User(u8),
    Version(u8),
    Origin(u8),
    Name(u8),
    Mark(Class),
    Raise(Class),
    /// An error, and whether it is a fault.
    Failure(Failure, bool),
    Exception(u8, Class),
    Panicked(u8),
    /// For subsegments that still have their owner.
    Traced,
    /// Many annotations, under as many keys or under one.
    Flood {
        one_key: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Annotated {
    Text(u8),
    Integer(i64),
    Unsigned(u64),
    Float(u8),
    /// A number of 32 bits.
    Short(u8),
    Boolean(bool),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Tallying {
    Sum(i8),
    Max(i8),
    Any(bool),
    Last(Annotated),
}

/// A value of metadata.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meta {
    Null,
    Number(u8),
    Text(u8),
    Nested(u8),
    /// Text of so many kilobytes.
    Large(u8),
    /// Larger than any datagram.
    TooLarge,
    TooDeep,
    Fails,
    Panics,
}

impl What {
    /// Values at most that count as trimmed where they are written: under a key
    /// that is not valid, of which there are too many, or of no use there.
    pub(super) fn may_trim(&self) -> u64 {
        match self {
            Self::Flood { one_key: false } => TRIMS,
            Self::Annotate(..) | Self::Tally(..) => 1,
            Self::Sql(..) => 4,
            _ => 0,
        }
    }
}

impl Meta {
    /// Whether a text stands for it, as serialising it panics (`true`) or is no
    /// use.
    pub(super) fn marks(self) -> Option<bool> {
        match self {
            Self::TooLarge | Self::TooDeep | Self::Fails => Some(false),
            Self::Panics => Some(true),
            _ => None,
        }
    }
}

/// An error to be recorded. The numbers are few, so that it is handed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Flat(u8),
    /// Of another type, with the text of `Flat`.
    Like(u8),
    /// Has `Flat` as its source.
    Wrapping(u8),
    Boxed(u8),
}
