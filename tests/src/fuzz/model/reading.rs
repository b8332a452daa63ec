//! Settings and operations, read from any bytes.

use xray_core::{Class, Loss, Namespace};

use super::super::bytes::Bytes;
use super::operations::{
    Annotated, Answer, Caller, Choice, Failure, Handle, HookKind, How, Meta, Op, Settings,
    Tallying, Via, What,
};

const OPS: usize = 200;

/// Reads settings and operations from any bytes.
pub(super) fn read(bytes: &mut Bytes<'_>) -> (Settings, Vec<Op>) {
    let settings = Settings {
        open_limits: (
            [100_000, 100_000, 3, 8][bytes.below(4)],
            [250_000, 250_000, 3, 8][bytes.below(4)],
        ),
        document_limit: [65_474, 64_000, 16_000, 4_096][bytes.below(4)],
        hook: match bytes.below(10) {
            0 => HookKind::Edits,
            1 => HookKind::DropsSome,
            2 => HookKind::PanicsAtSome,
            _ => HookKind::Absent,
        },
        defers: bytes.below(4) == 0,
        named: bytes.flag(),
    };
    let mut ops = Vec::new();
    let mut numbers = Numbers::default();
    while !bytes.is_empty() && ops.len() < OPS {
        ops.push(op(bytes, &mut numbers));
    }
    if bytes.below(8) == 0 {
        ops.push(Op::Shutdown);
    }
    (settings, ops)
}

/// Handles and holds so far.
#[derive(Debug, Default)]
struct Numbers {
    handles: usize,
    holds: usize,
}

impl Numbers {
    fn handle(&mut self) -> Handle {
        self.handles += 1;
        self.handles - 1
    }

    fn hold(&mut self) -> usize {
        self.holds += 1;
        self.holds - 1
    }

    /// One of the handles, mostly one that began of late.
    fn pick(&self, bytes: &mut Bytes<'_>) -> Handle {
        pick(bytes, self.handles)
    }
}

fn pick(bytes: &mut Bytes<'_>, count: usize) -> usize {
    let choice = bytes.number::<2>() as usize;
    let among = if choice & 1 == 0 { count.min(6) } else { count };
    let back = (choice >> 1).checked_rem(among).unwrap_or(0);
    count.saturating_sub(1 + back)
}

fn op(bytes: &mut Bytes<'_>, numbers: &mut Numbers) -> Op {
    match bytes.byte() {
        0..=23 => segment(bytes, numbers.handle()),
        24..=31 => Op::Facade(
            numbers.handle(),
            match bytes.below(4) {
                0 => caller(bytes),
                _ => Caller::Sampled,
            },
        ),
        32..=83 => Op::Child {
            of: numbers.pick(bytes),
            to: numbers.handle(),
            name: bytes.byte(),
            namespace: match bytes.below(6) {
                0 => Some(Namespace::Aws),
                1 => Some(Namespace::Remote),
                _ => None,
            },
            start: start(bytes),
            keeps_clone: bytes.flag(),
        },
        84..=151 => Op::Write(numbers.pick(bytes), via(bytes), what(bytes, numbers)),
        152..=157 => Op::Clone(numbers.pick(bytes), numbers.handle()),
        158..=165 => Op::DropClone(numbers.pick(bytes)),
        166..=172 => Op::Hold(numbers.pick(bytes), via(bytes), numbers.hold()),
        173..=181 => Op::Release(pick(bytes, numbers.holds)),
        182..=215 => Op::Close(numbers.pick(bytes), how(bytes)),
        216..=224 => Op::Advance(advance(bytes)),
        225 | 226 => Op::StepWall(milliseconds(bytes)),
        227 => Op::Suppressed(numbers.handle(), caller(bytes), bytes.flag()),
        228..=230 => Op::Keep(bytes.flag()),
        231 | 232 => Op::Lose(bytes.byte() % 4, loss(bytes)),
        233..=238 => Op::Drain {
            newest_first: bytes.flag(),
        },
        239 => Op::Discard,
        240 | 241 => Op::Snapshot,
        242..=248 => Op::ShowOpen(i64::from(bytes.byte() % 4) * 400),
        249..=254 => Op::Flush,
        _ if bytes.below(3) == 0 => Op::Fork,
        _ => Op::Flush,
    }
}

fn segment(bytes: &mut Bytes<'_>, to: Handle) -> Op {
    Op::Segment {
        to,
        caller: caller(bytes),
        decide: match bytes.below(6) {
            0 => Some(Choice::Sampled),
            1 => Some(Choice::Unsampled),
            2 => Some(Choice::Recorded),
            _ => None,
        },
        answer: match bytes.below(8) {
            0 => Answer::Panic,
            1 => Answer::ByRule,
            choice => {
                Answer::Choice([Choice::Sampled, Choice::Unsampled, Choice::Recorded][choice % 3])
            }
        },
        start: start(bytes),
        keeps_clone: bytes.flag(),
    }
}

fn caller(bytes: &mut Bytes<'_>) -> Caller {
    [
        Caller::Absent,
        Caller::Absent,
        Caller::Sampled,
        Caller::Unsampled,
        Caller::Asks,
        Caller::RootOnly,
    ][bytes.below(6)]
}

fn via(bytes: &mut Bytes<'_>) -> Via {
    [Via::Handle, Via::Clone, Via::Segment, Via::Current][bytes.below(4)]
}

/// Mostly none.
fn start(bytes: &mut Bytes<'_>) -> Option<i64> {
    (bytes.below(6) == 0).then(|| milliseconds(bytes))
}

fn milliseconds(bytes: &mut Bytes<'_>) -> i64 {
    (bytes.below(41) as i64 - 20) * 250
}

fn advance(bytes: &mut Bytes<'_>) -> i64 {
    [1, 999, 1_000, 1_500_000, 700_000_000, 3_000_000_000][bytes.below(6)]
}

fn how(bytes: &mut Bytes<'_>) -> How {
    match bytes.below(16) {
        0 => How::Unwind,
        1 => How::CloseUnwinding,
        2 | 3 => How::CloseAt(milliseconds(bytes)),
        4..=7 => How::Drop,
        _ => How::Close,
    }
}

fn loss(bytes: &mut Bytes<'_>) -> Loss {
    [Loss::Refused, Loss::SendError, Loss::WouldBlock][bytes.below(3)]
}

fn class(bytes: &mut Bytes<'_>) -> Class {
    [Class::Ok, Class::Error, Class::Throttle, Class::Fault][bytes.below(4)]
}

fn what(bytes: &mut Bytes<'_>, numbers: &Numbers) -> What {
    match bytes.below(48) {
        0..=7 => What::Annotate(bytes.byte(), annotated(bytes)),
        8..=12 => What::Tally(
            bytes.byte(),
            match bytes.below(4) {
                0 => Tallying::Sum(bytes.byte().cast_signed()),
                1 => Tallying::Max(bytes.byte().cast_signed()),
                2 => Tallying::Any(bytes.flag()),
                _ => Tallying::Last(annotated(bytes)),
            },
        ),
        13..=18 => What::Metadata(bytes.byte(), bytes.byte(), meta(bytes)),
        19 | 20 => What::Aws(bytes.byte(), bytes.byte()),
        21 | 22 => What::Sql(bytes.byte(), bytes.byte()),
        23 | 24 => What::Request(bytes.byte(), bytes.byte()),
        25..=27 => What::Response(
            [200, 404, 429, 503][bytes.below(4)],
            bytes.flag().then(|| u64::from(bytes.byte())),
        ),
        28 => What::Link(bytes.byte()),
        29 => What::Precursor(numbers.pick(bytes)),
        30 => What::User(bytes.byte()),
        31 => What::Version(bytes.byte()),
        32 => What::Origin(bytes.byte()),
        33 => What::Name(bytes.byte()),
        34 | 35 => What::Mark(class(bytes)),
        36 | 37 => What::Raise(class(bytes)),
        38..=42 => {
            let number = bytes.byte() % 2;
            let failure = match bytes.below(6) {
                0 => Failure::Like(number),
                1 | 2 => Failure::Wrapping(number),
                3 => Failure::Boxed(number),
                _ => Failure::Flat(number),
            };
            What::Failure(failure, bytes.flag())
        }
        43 | 44 => What::Exception(bytes.byte() % 3, class(bytes)),
        45 => What::Panicked(bytes.byte() % 3),
        46 => What::Traced,
        // Rare, as it takes long.
        _ if bytes.number::<2>() % 1_024 == 7 => What::Flood {
            one_key: bytes.flag(),
        },
        _ => What::Annotate(bytes.byte(), annotated(bytes)),
    }
}

fn annotated(bytes: &mut Bytes<'_>) -> Annotated {
    match bytes.below(6) {
        0 => Annotated::Text(bytes.byte()),
        1 => Annotated::Integer(i64::from(bytes.byte().cast_signed())),
        2 => Annotated::Unsigned(u64::MAX - u64::from(bytes.byte())),
        3 => Annotated::Float(bytes.byte()),
        4 => Annotated::Short(bytes.byte()),
        _ => Annotated::Boolean(bytes.flag()),
    }
}

fn meta(bytes: &mut Bytes<'_>) -> Meta {
    match bytes.below(40) {
        0 => Meta::Large(1 + bytes.byte() % 64),
        1 => Meta::TooLarge,
        2 => Meta::TooDeep,
        3 => Meta::Fails,
        4 => Meta::Panics,
        5..=9 => Meta::Null,
        10..=20 => Meta::Number(bytes.byte()),
        21..=30 => Meta::Text(bytes.byte()),
        _ => Meta::Nested(bytes.byte()),
    }
}
