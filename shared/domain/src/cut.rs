//! Cutting a file that must be read through, as its bytes come, into chunks of whole records.
//!
//! A chunk begins with a record and ends with one, so it can be read alone. Chunks lie one behind the other; between two
//! there is a gap only where a record was too long to keep.

use crate::chunk::MAX_LINE_BYTES;
use crate::format::Layout;
use crate::record::{Next, next};

/// A chunk that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it begins, in bytes from the start of the file, unpacked.
    pub start: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Cuts bytes as they come. Holds at most one chunk, one record, and what was pushed last.
pub struct Cutter {
    layout: Layout,
    chunk_bytes: usize,
    limit: usize,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    start: u64,
    /// How much of the buffer is known to be whole records.
    whole: usize,
    /// Whether the buffer ends with a record that is cut off.
    is_cut_off: bool,
    /// Whether what comes is the rest of a record that was too long.
    skips: bool,
}

impl Cutter {
    /// Cuts chunks of `chunk_bytes` (≥ 1), and as much more as their last record has.
    #[must_use]
    pub fn new(layout: Layout, chunk_bytes: usize) -> Self {
        Self::within(layout, chunk_bytes, MAX_LINE_BYTES)
    }

    fn within(layout: Layout, chunk_bytes: usize, limit: usize) -> Self {
        let (buffer, start, whole, is_cut_off, skips) = (Vec::new(), 0, 0, false, false);
        Self { layout, chunk_bytes, limit, buffer, start, whole, is_cut_off, skips }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = if self.skips { self.skip(bytes) } else { bytes };
        self.buffer.extend_from_slice(bytes);
    }

    /// Passes over the rest of a record, and gives what follows it.
    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let newline = memchr::memchr(b'\n', bytes);
        self.skips = newline.is_none();
        let (passed, rest) = bytes.split_at(newline.map_or(bytes.len(), |at| at + 1));
        self.start += passed.len() as u64;
        rest
    }

    /// The next chunk, as soon as it is whole; `complete` says that the file ends here.
    pub fn cut(&mut self, complete: bool) -> Option<Cut> {
        while !self.is_cut_off && self.whole < self.chunk_bytes {
            match next(self.layout, &self.buffer[self.whole..], complete, self.limit) {
                Next::Record(length) | Next::Unbalanced(length) => self.whole += length,
                Next::TooLong(length) => {
                    self.whole += length;
                    self.is_cut_off = true;
                }
                Next::More => break,
            }
        }
        let is_due = self.is_cut_off || self.whole >= self.chunk_bytes || complete;
        if !is_due || self.whole == 0 {
            return None;
        }
        let rest = self.buffer.split_off(self.whole);
        let cut = Cut { start: self.start, bytes: std::mem::take(&mut self.buffer) };
        self.start += cut.bytes.len() as u64;
        self.whole = 0;
        if std::mem::take(&mut self.is_cut_off) {
            self.skips = true;
            self.buffer = self.skip(&rest).to_vec();
        } else {
            self.buffer = rest;
        }
        Some(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Broken, Records};
    use proptest::prelude::*;

    type Found = Vec<(u64, u32, Vec<u8>, Option<Broken>)>;

    fn records(layout: Layout, bytes: &[u8], start: u64, first_line: u32, limit: usize) -> (Found, u32) {
        let mut records = Records::within(layout, bytes, limit);
        let found = records
            .by_ref()
            .map(|record| {
                (start + record.offset as u64, first_line + record.line, record.bytes.to_vec(), record.broken)
            })
            .collect();
        (found, first_line + records.lines())
    }

    /// As the workers do: cut while bytes come in blocks, then every chunk read alone.
    fn by_chunks(layout: Layout, file: &[u8], chunk_bytes: usize, block: usize, limit: usize) -> Found {
        let mut cutter = Cutter::within(layout, chunk_bytes, limit);
        let mut cuts = Vec::new();
        for bytes in file.chunks(block) {
            cutter.push(bytes);
            while let Some(cut) = cutter.cut(false) {
                cuts.push(cut);
            }
        }
        while let Some(cut) = cutter.cut(true) {
            cuts.push(cut);
        }
        let (mut found, mut line) = (Vec::new(), 0);
        for cut in cuts {
            assert_eq!(cut.bytes, file[cut.start as usize..][..cut.bytes.len()], "a chunk holds the file's own bytes");
            assert!(cut.bytes.len() <= chunk_bytes + limit + 2 || layout == Layout::Csv);
            let (records, lines) = records(layout, &cut.bytes, cut.start, line, limit);
            found.extend(records);
            line = lines;
        }
        found
    }

    /// Bytes of which records are made, those that matter most often.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 3 => Just(b'"'), 2 => Just(b','), 6 => any::<u8>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_file_in_chunks_has_the_records_of_the_whole(
            file in proptest::collection::vec(byte(), 0..400),
            chunk_bytes in 1_usize..90,
            block in 1_usize..40,
            limit in 3_usize..60,
        ) {
            for layout in [Layout::Csv, Layout::Ndjson] {
                let whole = records(layout, &file, 0, 0, limit).0;
                prop_assert_eq!(by_chunks(layout, &file, chunk_bytes, block, limit), whole, "{:?}", layout);
            }
        }
    }

    #[test]
    fn what_is_held_does_not_grow_with_a_record_without_an_end() {
        let mut cutter = Cutter::within(Layout::Ndjson, 10, 20);
        let mut kept = 0;
        for _ in 0..10_000 {
            cutter.push(&[b'x'; 7]);
            while let Some(cut) = cutter.cut(false) {
                kept += cut.bytes.len();
            }
            assert!(cutter.buffer.len() <= 10 + 20 + 2 + 7);
        }
        assert_eq!(kept, 22);
    }
}
