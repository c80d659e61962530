//! Records: where one row of a file ends and the next begins, whatever its layout.
//!
//! Whoever cuts a file and whoever reads a piece of it ask the same function, so they agree on every record, also on those
//! that cannot be read: a line without an end in sight, a quote that is never closed.

use crate::chunk::MAX_LINE_BYTES;
use crate::format::Layout;
use crate::reject::{Code, RowError};

/// What stands at the beginning of some bytes. Lengths are in bytes, with the line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record, or a blank line between records.
    Record(usize),
    /// One that is longer than [`MAX_LINE_BYTES`]: this much of it is kept, and what follows up to the next newline is
    /// skipped.
    TooLong(usize),
    /// A line of CSV in which a quote opens that is not closed within [`MAX_LINE_BYTES`] or the file. Reading goes on with
    /// the line after it, so that one stray quote costs one line and not the rest of the file.
    Unbalanced(usize),
    /// Nothing that can be told yet: it goes on past the bytes.
    More,
}

/// What stands at the beginning of `bytes`, which begin with a record and, where `complete`, end with the file or with the
/// part of it that was cut off here. `limit` is the longest record, in bytes without its line end. Never [`Next::More`]
/// where `complete` and there are bytes.
#[must_use]
pub(crate) fn next(layout: Layout, bytes: &[u8], complete: bool, limit: usize) -> Next {
    match layout {
        Layout::Ndjson => next_line(bytes, complete, limit),
        Layout::Csv => next_csv(bytes, complete, limit),
    }
}

fn next_line(bytes: &[u8], complete: bool, limit: usize) -> Next {
    // the record, a carriage return, a newline
    let in_sight = &bytes[..bytes.len().min(limit + 2)];
    match memchr::memchr(b'\n', in_sight) {
        Some(newline) => Next::Record(newline + 1),
        None if in_sight.len() == limit + 2 => Next::TooLong(in_sight.len()),
        None if complete && !bytes.is_empty() => Next::Record(bytes.len()),
        None => Next::More,
    }
}

fn next_csv(bytes: &[u8], complete: bool, limit: usize) -> Next {
    match bytes {
        [b'\r', b'\n', ..] => return Next::Record(2),
        [b'\r'] if !complete => return Next::More,
        [b'\r' | b'\n', ..] => return Next::Record(1),
        _ => {}
    }
    // the record and the first byte of its end
    let in_sight = &bytes[..bytes.len().min(limit + 1)];
    let mut reader = csv_core::Reader::new();
    if let Some(length) = end_of_record(&mut reader, in_sight) {
        return match &bytes[length..] {
            [b'\n', ..] if bytes[length - 1] == b'\r' => Next::Record(length + 1),
            // the newline of a carriage return may be still to come
            [] if bytes[length - 1] == b'\r' && !complete => Next::More,
            _ => Next::Record(length),
        };
    }
    if bytes.is_empty() || in_sight.len() <= limit && !complete {
        return Next::More;
    }
    // a newline ends the record unless it stands inside of quotes
    let is_quoted = end_of_record(&mut reader, b"\n").is_none();
    match memchr::memchr(b'\n', in_sight) {
        Some(newline) if is_quoted => Next::Unbalanced(newline + 1),
        _ if in_sight.len() > limit => Next::TooLong(in_sight.len()),
        _ if is_quoted => Next::Unbalanced(in_sight.len()),
        _ => Next::Record(in_sight.len()),
    }
}

/// How many bytes of `input` the record takes that `reader` is in, its terminator's first byte included; `None` when it
/// goes on past them.
fn end_of_record(reader: &mut csv_core::Reader, mut input: &[u8]) -> Option<usize> {
    // where the fields' text would go: only the end matters here
    let (mut text, mut ends) = ([0; 4096], [0; 64]);
    let mut length = 0;
    while !input.is_empty() {
        let (result, read, ..) = reader.read_record(input, &mut text, &mut ends);
        length += read;
        input = &input[read..];
        if result == csv_core::ReadRecordResult::Record {
            return Some(length);
        }
    }
    None
}

/// One record of a piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// 0-based line on which it begins, within the piece.
    pub line: u32,
    /// Where it begins, in bytes from the start of the piece.
    pub offset: usize,
    /// It, without its line end.
    pub bytes: &'a [u8],
    /// Why it cannot be read, if it cannot.
    pub broken: Option<Broken>,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is over [`MAX_LINE_BYTES`], and cut off here.
    TooLong,
    /// A quote in it is not closed.
    Unbalanced,
}

impl Broken {
    /// As an error of the row that it would have been.
    #[must_use]
    pub fn error(self) -> RowError {
        match self {
            Self::TooLong => RowError::of_row(Code::LineTooLong, format!("the line is over {MAX_LINE_BYTES} bytes")),
            Self::Unbalanced => RowError::of_row(Code::UnbalancedQuote, "a quote opens in the line and is not closed"),
        }
    }
}

/// The records of a piece that was cut between records, blank lines left out.
pub struct Records<'a> {
    layout: Layout,
    bytes: &'a [u8],
    limit: usize,
    offset: usize,
    line: u32,
}

impl<'a> Records<'a> {
    /// Those of `bytes`.
    #[must_use]
    pub fn new(layout: Layout, bytes: &'a [u8]) -> Self {
        Self::within(layout, bytes, MAX_LINE_BYTES)
    }

    pub(crate) fn within(layout: Layout, bytes: &'a [u8], limit: usize) -> Self {
        Self { layout, bytes, limit, offset: 0, line: 0 }
    }

    /// How many lines have been passed, blank ones included. A last line without an end counts.
    #[must_use]
    pub fn lines(&self) -> u32 {
        self.line
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let rest = &self.bytes[self.offset..];
            if rest.is_empty() {
                return None;
            }
            let (length, skipped, broken) = match next(self.layout, rest, true, self.limit) {
                Next::Record(length) => (length, 0, None),
                Next::Unbalanced(length) => (length, 0, Some(Broken::Unbalanced)),
                Next::TooLong(length) => {
                    let skipped = memchr::memchr(b'\n', &rest[length..]).map_or(rest.len() - length, |at| at + 1);
                    (length, skipped, Some(Broken::TooLong))
                }
                Next::More => (rest.len(), 0, None),
            };
            let (whole, taken) = (&rest[..length], &rest[..length + skipped]);
            let newlines = memchr::memchr_iter(b'\n', taken).count();
            let is_unended = taken.last() != Some(&b'\n');
            let bytes = whole.strip_suffix(b"\n").unwrap_or(whole);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            // a line may be too long by its carriage return alone, or by one byte before its newline
            let broken = broken.or((bytes.len() > self.limit).then_some(Broken::TooLong));
            let record = Record { line: self.line, offset: self.offset, bytes, broken };
            self.offset += taken.len();
            self.line += newlines as u32 + u32::from(is_unended);
            if broken.is_some() || !bytes.iter().all(u8::is_ascii_whitespace) {
                return Some(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(layout: Layout, bytes: &str, limit: usize) -> Vec<(u32, usize, &str, Option<Broken>)> {
        Records::within(layout, bytes.as_bytes(), limit)
            .map(|record| (record.line, record.offset, str::from_utf8(record.bytes).expect("text"), record.broken))
            .collect()
    }

    #[test]
    fn quotes_may_hold_newlines_and_commas() {
        let text = "a,b\r\n\"1\n2\",\"x \"\"y\"\"\"\r\n\r\n3,5\" pipe\n4,";
        assert_eq!(
            found(Layout::Csv, text, 99),
            [
                (0, 0, "a,b", None),
                (1, 5, "\"1\n2\",\"x \"\"y\"\"\"", None),
                (4, 24, "3,5\" pipe", None),
                (5, 34, "4,", None),
            ]
        );
    }

    #[test]
    fn a_stray_quote_costs_one_line() {
        let broken = Some(Broken::Unbalanced);
        assert_eq!(
            found(Layout::Csv, "1,a\n2,\"b\n3,c\n4,d\n", 99),
            [(0, 0, "1,a", None), (1, 4, "2,\"b", broken), (2, 9, "3,c", None), (3, 13, "4,d", None)]
        );
        assert_eq!(found(Layout::Csv, "\"b", 99), [(0, 0, "\"b", broken)]);
        // within the limit nothing closes it, past it something does
        assert_eq!(found(Layout::Csv, "\"b\n1\n2\n3\n\"", 5)[0], (0, 0, "\"b", broken));
    }

    #[test]
    fn a_record_without_an_end_in_sight_is_cut_off() {
        let cut = Some(Broken::TooLong);
        assert_eq!(found(Layout::Ndjson, "123456\n1\n", 5), [(0, 0, "123456", cut), (1, 7, "1", None)]);
        assert_eq!(found(Layout::Ndjson, "12345\r\n1\n", 5), [(0, 0, "12345", None), (1, 7, "1", None)]);
        assert_eq!(found(Layout::Ndjson, "123456789\n1", 5), [(0, 0, "1234567", cut), (1, 10, "1", None)]);
        assert_eq!(found(Layout::Csv, "1,3456789\n1,2\n", 5), [(0, 0, "1,3456", cut), (1, 10, "1,2", None)]);
        assert_eq!(found(Layout::Csv, "\"23456789\n1,2", 5), [(0, 0, "\"23456", cut), (1, 10, "1,2", None)]);
    }

    #[test]
    fn blank_lines_count_and_are_no_records() {
        assert_eq!(found(Layout::Csv, "\n\r\n\n1\n\n", 9), [(3, 4, "1", None)]);
        assert_eq!(found(Layout::Ndjson, "\n \t\r\n1", 9), [(2, 5, "1", None)]);
        let mut records = Records::new(Layout::Csv, b"1\n\n\n2");
        assert_eq!(records.by_ref().count(), 2);
        assert_eq!(records.lines(), 4);
    }
}
