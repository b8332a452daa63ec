//! A fuzzer's bytes, read as the parts of something with a structure.

/// Bytes that are left to read. Where none are, everything is zero or empty,
/// so that every input is a whole one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// At most so many.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn number<const N: usize>(&mut self) -> u64 {
        let taken = self.take(N).iter();
        taken.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// From 0 to below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let number = if end > 256 {
            self.number::<2>() as usize
        } else {
            usize::from(self.byte())
        };
        number % end.max(1)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A length, then as many bytes, which need not be UTF-8.
    pub(super) fn text(&mut self) -> String {
        let length = usize::from(self.byte());
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    /// One of a few keys, so that some come twice, or any text.
    pub(super) fn key(&mut self) -> String {
        const FEW: [&str; 8] = ["a", "ab", "b", "bc", "", "a b", "a_b", "a\0b"];
        let choice = usize::from(self.byte());
        match FEW.get(choice) {
            Some(key) => (*key).to_owned(),
            None => self.text(),
        }
    }
}
