//! Many ids.

use std::thread;

use xray_core::{Always, Emitter, Piece, Recorder, SegmentId, TraceId};

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[Fault {
    name: "ids",
    test: "T-71",
    what: "ids of traces and of their segments, drawn on two threads: no trace id twice, segment ids within the birthday bound, bits and bytes evenly spread",
    amount: 100_000_000,
    unit: "traces",
    minutes: 15,
    run: ids,
}];

/// Throws pieces away.
#[derive(Debug)]
struct Nowhere;

impl Emitter for Nowhere {
    fn emit(&self, piece: Piece) {
        drop(piece);
    }
}

/// The random part of a trace id, and the id of its segment.
type Drawn = ([u32; 3], u64);

fn draw(recorder: &Recorder, count: u64) -> (Vec<[u32; 3]>, Vec<u64>) {
    let mut roots = Vec::with_capacity(count as usize);
    let mut segments = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (root, segment) = one(recorder);
        roots.push(root);
        segments.push(segment);
    }
    (roots, segments)
}

fn one(recorder: &Recorder) -> Drawn {
    let segment = recorder.begin_segment("shop");
    let root = segment.trace_id().map(TraceId::to_w3c).expect("recorded");
    let id = segment.id().map(SegmentId::get).expect("recorded");
    ([(root >> 64) as u32, (root >> 32) as u32, root as u32], id)
}

/// How often each value of a byte and each bit occurs.
#[derive(Default)]
struct Spread {
    bytes: Vec<u64>,
}

impl Spread {
    fn of(ids: impl Iterator<Item = [u8; 4]>) -> Self {
        let mut bytes = vec![0; 256];
        for id in ids {
            for byte in id {
                bytes[usize::from(byte)] += 1;
            }
        }
        Self { bytes }
    }

    /// The bits that are set, in standard deviations from one half.
    fn monobit(&self) -> f64 {
        let bytes: u64 = self.bytes.iter().sum();
        let ones = |(value, count): (usize, &u64)| u64::from(value.count_ones()) * count;
        let ones: u64 = self.bytes.iter().enumerate().map(ones).sum();
        let bits = bytes as f64 * 8.0;
        (ones as f64 - bits / 2.0) / (bits / 4.0).sqrt()
    }

    /// Chi squared over the 256 values, in standard deviations from its mean.
    fn bytes(&self) -> f64 {
        let expected = self.bytes.iter().sum::<u64>() as f64 / 256.0;
        let part = |count: &u64| (*count as f64 - expected).powi(2) / expected;
        let chi_squared: f64 = self.bytes.iter().map(part).sum();
        (chi_squared - 255.0) / (2.0 * 255.0_f64).sqrt()
    }

    /// Six deviations happen once in five hundred million runs.
    fn check(&self, what: &str) -> String {
        let (bits, bytes) = (self.monobit(), self.bytes());
        assert!(bits.abs() < 6.0, "bits of {what}: {bits:.1} deviations");
        assert!(bytes.abs() < 6.0, "bytes of {what}: {bytes:.1} deviations");
        format!("{what} {bits:+.2} and {bytes:+.2}")
    }
}

fn twice<T: Ord>(ids: &mut [T]) -> usize {
    ids.sort_unstable();
    ids.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

fn ids(traces: u64) -> String {
    let recorder = Recorder::builder("test")
        .ignore_environment()
        .sampler(Always);
    let recorder = recorder.emitter(Nowhere).build().expect("no thread");
    let (mut roots, mut segments) = thread::scope(|scope| {
        let other = scope.spawn(|| draw(&recorder, traces / 2));
        let (mut roots, mut segments) = draw(&recorder, traces - traces / 2);
        let other = other.join().expect("no panic");
        roots.extend(other.0);
        segments.extend(other.1);
        (roots, segments)
    });
    let spread = [
        Spread::of(roots.iter().flatten().map(|word| word.to_ne_bytes())).check("roots"),
        Spread::of(
            segments
                .iter()
                .flat_map(|id| [*id as u32, (*id >> 32) as u32])
                .map(u32::to_ne_bytes),
        )
        .check("segments"),
    ];
    assert_eq!(twice(&mut roots), 0, "trace ids that came twice");
    // So many pairs of 64 random bits are expected to be equal.
    let count = traces as f64;
    let expected = count * count / 2.0 / 2.0_f64.powi(64);
    let equal = twice(&mut segments);
    assert!(
        equal as f64 <= expected + 1.0,
        "{equal} segment ids twice, {expected:.4} expected"
    );
    format!(
        "{traces} trace ids of 96 random bits, 0 twice; as many segment ids, {equal} twice ({expected:.4} expected); deviations of bits and of bytes: {}",
        spread.join(", ")
    )
}
