//! Chunk arithmetic: how a file of lines is cut into byte ranges that can be read alone.
//!
//! A file is cut at fixed offsets without being read. Chunk *i* covers the bytes `[start, end)`, and owns the lines that
//! begin in `(start, end]`; the first chunk also owns the line that begins at 0. So every line has exactly one owner, and a
//! worker finds its lines by skipping to the first newline in its range and reading on to the first newline past it.

use std::ops::Range;

/// The longest line, in bytes without its line end. A longer one is rejected, never buffered whole.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// How many chunks of one file are under way at a time. The one that is done makes room for the next waiting one of the same
/// remainder; so a large file never fills the queue, and a small one that comes later waits for at most so many.
pub const WINDOW: i32 = 32;

/// The bytes of a file that one chunk covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// How many chunks of `chunk_bytes` (≥ 1) a file of `size_bytes` has. An empty file has none.
#[must_use]
pub fn count(size_bytes: u64, chunk_bytes: u64) -> u64 {
    size_bytes.div_ceil(chunk_bytes)
}

/// The range of chunk `index` (0-based, below [`count`]).
#[must_use]
pub fn range(size_bytes: u64, chunk_bytes: u64, index: u64) -> ChunkRange {
    let start = index * chunk_bytes;
    ChunkRange { start, end: (start + chunk_bytes).min(size_bytes) }
}

/// What a buffer that begins at a chunk's start says about the lines the chunk owns.
#[derive(Debug, PartialEq, Eq)]
pub enum Owned {
    /// The owned lines lie in this part of the buffer.
    Lines(Range<usize>),
    /// The last owned line has no end yet: read on from the buffer's end.
    ReadOn,
}

/// The part of `buffer` that the chunk owns, where `buffer[0]` is the byte at `chunk.start`.
///
/// `complete` says that the file ends with the buffer. A last line that is longer than [`MAX_LINE_BYTES`] is cut off where
/// the buffer ends; [`Records`](crate::record::Records) then gives it as too long.
#[must_use]
pub fn owned(chunk: ChunkRange, buffer: &[u8], complete: bool) -> Owned {
    let covered = usize::try_from(chunk.end - chunk.start).unwrap_or(usize::MAX).min(buffer.len());
    let first = if chunk.start == 0 {
        0
    } else {
        match memchr::memchr(b'\n', &buffer[..covered]) {
            Some(newline) => newline + 1,
            None => return Owned::Lines(0..0),
        }
    };
    match memchr::memchr(b'\n', &buffer[covered..]) {
        Some(newline) => Owned::Lines(first..covered + newline + 1),
        None if complete || buffer.len() - covered > MAX_LINE_BYTES => Owned::Lines(first..buffer.len()),
        None => Owned::ReadOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Layout;
    use crate::record::{Broken, Records};
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
        Records::new(Layout::Ndjson, bytes).map(|record| (record.offset, record.bytes.to_vec())).collect()
    }

    /// Reads a file as the workers do, each chunk alone, growing its buffer by `step` while it must read on.
    fn read_by_chunks(file: &[u8], chunk_bytes: u64, step: usize) -> Vec<(usize, Vec<u8>)> {
        let size = file.len() as u64;
        let mut found = Vec::new();
        for index in 0..count(size, chunk_bytes) {
            let chunk = range(size, chunk_bytes, index);
            let (start, mut end) = (chunk.start as usize, chunk.end as usize);
            let part = loop {
                match owned(chunk, &file[start..end], end == file.len()) {
                    Owned::Lines(part) => break part,
                    Owned::ReadOn => end = (end + step).min(file.len()),
                }
            };
            let base = start + part.start;
            found.extend(lines(&file[start..end][part]).into_iter().map(|(offset, line)| (base + offset, line)));
        }
        found
    }

    proptest! {
        #[test]
        fn every_line_has_exactly_one_owner(
            file in proptest::collection::vec(prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 6 => any::<u8>()], 0..300),
            chunk_bytes in 1_u64..80,
            step in 1_usize..20,
        ) {
            prop_assert_eq!(read_by_chunks(&file, chunk_bytes, step), lines(&file));
        }

        #[test]
        fn ranges_tile_the_file(size in 0_u64..10_000, chunk_bytes in 1_u64..700) {
            let mut at = 0;
            for index in 0..count(size, chunk_bytes) {
                let chunk = range(size, chunk_bytes, index);
                prop_assert_eq!(chunk.start, at);
                prop_assert!(chunk.end > chunk.start);
                at = chunk.end;
            }
            prop_assert_eq!(at, size);
        }
    }

    #[test]
    fn a_line_without_end_is_cut_off_past_the_limit() {
        let buffer = vec![b'x'; MAX_LINE_BYTES + 12];
        let chunk = ChunkRange { start: 0, end: 10 };
        assert_eq!(owned(chunk, &buffer[..100], false), Owned::ReadOn);
        assert_eq!(owned(chunk, &buffer, false), Owned::Lines(0..buffer.len()));
        let records: Vec<_> = Records::new(Layout::Ndjson, &buffer).map(|record| record.broken).collect();
        assert_eq!(records, [Some(Broken::TooLong)]);
    }
}
