//! Rows as text: CSV (RFC 4180) and lines of JSON.

use super::{Column, Format};
use crate::json::without_spaces;
use memchr::{memchr2, memchr3};
use std::borrow::Cow;
use uuid::Uuid;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// An id.
    Uuid(Uuid),
    /// A text.
    Text(&'a str),
    /// A decimal number, in hundredths.
    Decimal(i64),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Bool(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Micros(i64),
    /// The text of a JSON value.
    Json(&'a str),
}

/// The signs with which a formula begins.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
const FORMULA: [u8; 4] = *b"=+-@";

/// A text with an apostrophe before each place at which a spreadsheet would run it as a formula: where it begins, and after
/// what ends a cell where lists are not written with commas, or a line, also within quotes: they protect nothing in the middle
/// of a cell. Spaces and quotes may come between.
fn defused(text: &str) -> Cow<'_, str> {
    let defused = marked(text, true, |sign| format!("'{}", char::from(sign)));
    if text.starts_with(['\t', '\r']) { format!("'{defused}").into() } else { defused }
}

/// JSON of the same value, in which no such sign comes after what ends a cell. It begins with a brace or a bracket, and signs of
/// numbers stay, as none of them comes there.
fn defused_json(text: &str) -> Cow<'_, str> {
    marked(text, false, |sign| format!("\\u{sign:04x}"))
}

/// A text in which the signs are replaced that a cell begins with; `is_begin` says whether one does with the text.
fn marked(text: &str, mut is_begin: bool, mark: impl Fn(u8) -> String) -> Cow<'_, str> {
    let mut marked = String::new();
    let (mut written, mut at) = (0, 0);
    while let Some(byte) = text.as_bytes().get(at).copied() {
        if !is_begin {
            let rest = &text.as_bytes()[at..];
            let end = memchr3(b';', b'|', b'\t', rest).into_iter().chain(memchr2(b'\r', b'\n', rest)).min();
            let Some(end) = end else { break };
            at += end;
            is_begin = true;
        } else if FORMULA.contains(&byte) {
            marked.push_str(&text[written..at]);
            marked.push_str(&mark(byte));
            written = at + 1;
            is_begin = false;
        } else {
            is_begin = matches!(byte, b' ' | b'"' | b';' | b'|' | b'\t' | b'\r' | b'\n');
        }
        at += 1;
    }
    if written == 0 {
        return Cow::Borrowed(text);
    }
    marked.push_str(&text[written..]);
    Cow::Owned(marked)
}

/// Writes rows of the same columns.
#[derive(Clone, Debug)]
pub struct TextWriter {
    /// What stands before each value.
    before: Vec<String>,
    is_json: bool,
    spreadsheet_safe: bool,
}

impl TextWriter {
    /// For rows of these columns; `None` for a format that is no text.
    #[must_use]
    pub fn new(format: Format, columns: &[Column], spreadsheet_safe: bool) -> Option<Self> {
        let before: Vec<_> = match format {
            Format::Csv => (0..columns.len()).map(|at| if at == 0 { "" } else { "," }.to_owned()).collect(),
            Format::Json => {
                let begin = |at| if at == 0 { '{' } else { ',' };
                // a column's name has nothing to escape
                (0..).zip(columns).map(|(at, column)| format!("{}\"{}\":", begin(at), column.name)).collect()
            }
            Format::Parquet => return None,
        };
        Some(Self { before, is_json: format == Format::Json, spreadsheet_safe })
    }

    /// What stands before the first row.
    #[must_use]
    pub fn header(&self, columns: &[Column]) -> Vec<u8> {
        if self.is_json {
            return Vec::new();
        }
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        (names.join(",") + "\r\n").into_bytes()
    }

    /// Writes a row: one cell for each column.
    pub fn row<'a, E>(&self, out: &mut Vec<u8>, cells: impl Iterator<Item = Result<Cell<'a>, E>>) -> Result<(), E> {
        for (before, cell) in self.before.iter().zip(cells) {
            out.extend_from_slice(before.as_bytes());
            if self.is_json { json(out, cell?) } else { self.csv(out, cell?) }
        }
        out.extend_from_slice(if self.is_json { b"}\n" } else { b"\r\n" });
        Ok(())
    }

    fn csv(&self, out: &mut Vec<u8>, cell: Cell<'_>) {
        match cell {
            // a line with nothing on it would be none
            Cell::Null if self.before.len() == 1 => quoted(out, ""),
            Cell::Null => {}
            Cell::Text(text) if self.spreadsheet_safe => quoted(out, &defused(text)),
            Cell::Json(text) if self.spreadsheet_safe => quoted(out, &defused_json(&without_spaces(text))),
            Cell::Text(text) => quoted(out, text),
            Cell::Json(text) => quoted(out, &without_spaces(text)),
            other => plain(out, other),
        }
    }
}

/// A cell of CSV, in quotes where it needs them; an empty text does, or it would be no value.
fn quoted(out: &mut Vec<u8>, text: &str) {
    let needs_quotes = text.is_empty() || text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
    if !needs_quotes {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn json(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        // writing into memory does not fail, and a text is always JSON
        Cell::Text(text) => drop(serde_json::to_writer(out, text)),
        Cell::Json(text) => out.extend_from_slice(without_spaces(text).as_bytes()),
        Cell::Uuid(_) | Cell::Micros(_) => {
            out.push(b'"');
            plain(out, cell);
            out.push(b'"');
        }
        other => plain(out, other),
    }
}

/// What looks the same in every text.
fn plain(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Uuid(id) => {
            let mut text = [0; 36];
            out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
        }
        Cell::Decimal(hundredths) => {
            if hundredths < 0 {
                out.push(b'-');
            }
            let magnitude = hundredths.unsigned_abs();
            number(out, magnitude / 100, 1);
            out.push(b'.');
            number(out, magnitude % 100, 2);
        }
        Cell::Integer(integer) => {
            if integer < 0 {
                out.push(b'-');
            }
            number(out, integer.unsigned_abs(), 1);
        }
        Cell::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Cell::Micros(micros) => timestamp(out, micros),
        Cell::Null | Cell::Text(_) | Cell::Json(_) => {}
    }
}

/// Digits, with zeros before them up to so many.
fn number(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut first = text.len();
    while number > 0 || text.len() - first < digits {
        first -= 1;
        text[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[first..]);
}

const DAY_MICROS: i64 = 86_400_000_000;

/// ISO 8601 in UTC: `2026-01-31T03:04:05Z`, with six more digits where the second has a fraction. Years of other than four
/// digits have a sign and six.
fn timestamp(out: &mut Vec<u8>, micros: i64) {
    let (days, of_day) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS).unsigned_abs());
    // days to a civil date: https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..10_000).contains(&year) {
        number(out, year.unsigned_abs(), 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        number(out, year.unsigned_abs(), 6);
    }
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    for (mark, part) in [
        (b'-', month.unsigned_abs()),
        (b'-', day.unsigned_abs()),
        (b'T', seconds / 3_600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        out.push(mark);
        number(out, part, 2);
    }
    if fraction > 0 {
        out.push(b'.');
        number(out, fraction, 6);
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Source};
    use super::*;
    use crate::chunk::MAX_LINE_BYTES;
    use crate::csv::Cells;
    use crate::dataset;
    use crate::json::MAX_BYTES;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// The longest text that a dataset takes.
    const MAX_CHARACTERS: usize = 255;

    fn text_of(format: Format, safe: bool, cells: &[Cell<'_>]) -> String {
        let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Text];
        let names = ["a", "b", "c", "d"];
        let columns: Vec<_> =
            names.iter().zip(kinds).map(|(name, kind)| Column { name, kind, is_nullable: true }).collect();
        let writer = TextWriter::new(format, &columns[..cells.len()], safe).expect("a text");
        let mut out = Vec::new();
        let Ok(()) = writer.row(&mut out, cells.iter().copied().map(Ok::<_, Infallible>));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn values_look_as_they_should() {
        let id = Uuid::from_u128(0x1d00_0000_0000_4000_8000_0000_0000_0001);
        let cells = [Cell::Uuid(id), Cell::Decimal(-5), Cell::Micros(1_767_225_600_000_001), Cell::Bool(true)];
        assert_eq!(
            text_of(Format::Csv, true, &cells),
            "1d000000-0000-4000-8000-000000000001,-0.05,2026-01-01T00:00:00.000001Z,true\r\n"
        );
        assert_eq!(
            text_of(Format::Json, true, &cells),
            "{\"a\":\"1d000000-0000-4000-8000-000000000001\",\"b\":-0.05,\"c\":\"2026-01-01T00:00:00.000001Z\",\"d\":true}\n"
        );
        let cells = [Cell::Null, Cell::Text(""), Cell::Text("a \"b\", c"), Cell::Json("{\"n\": [1, \"x\"]}")];
        assert_eq!(text_of(Format::Csv, true, &cells), ",\"\",\"a \"\"b\"\", c\",\"{\"\"n\"\":[1,\"\"x\"\"]}\"\r\n");
        assert_eq!(
            text_of(Format::Json, true, &cells),
            "{\"a\":null,\"b\":\"\",\"c\":\"a \\\"b\\\", c\",\"d\":{\"n\":[1,\"x\"]}}\n"
        );
        assert_eq!(text_of(Format::Csv, true, &[Cell::Null]), "\"\"\r\n", "no empty line");
    }

    #[test]
    fn the_longest_row_of_a_dataset_is_a_line_that_can_be_sent_again() {
        for dataset in dataset::ALL {
            let Some(source) = Source::by_name(dataset.name) else { continue };
            let writer = TextWriter::new(Format::Json, source.columns, false).expect("a text");
            let is_sent = |name: &str| dataset.fields.iter().any(|field| field.name == name);
            let (text, json) = ("\u{1}".repeat(MAX_CHARACTERS), format!("[{}1]", "1, ".repeat(MAX_BYTES / 2 - 2)));
            let cells = source.columns.iter().map(|column| match column.kind {
                Kind::Uuid => Cell::Uuid(Uuid::nil()),
                Kind::Text => Cell::Text(&text),
                Kind::Decimal(_) | Kind::Integer | Kind::Long => Cell::Integer(i64::MIN),
                Kind::Bool => Cell::Bool(false),
                Kind::Timestamp => Cell::Micros(1),
                Kind::Json if is_sent(column.name) => Cell::Json(&json),
                Kind::Json => Cell::Json("[]"),
            });
            let mut line = Vec::new();
            let Ok(()) = writer.row(&mut line, cells.map(Ok::<_, Infallible>));
            assert!(line.len() <= MAX_LINE_BYTES, "{}: {} bytes", dataset.name, line.len());
        }
    }

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=HYPERLINK(\"http://x\")"] {
            let cells = [Cell::Text(text), Cell::Decimal(-100), Cell::Integer(-7)];
            let safe = text_of(Format::Csv, true, &cells);
            assert!(safe.starts_with('\'') || safe.starts_with("\"'"), "{safe}");
            assert!(safe.ends_with(",-1.00,-7\r\n"), "{safe}");
            let plain = text_of(Format::Csv, false, &cells);
            assert!(!plain.contains('\''), "{plain}");
            assert!(!text_of(Format::Json, true, &cells).contains('\''));
        }
        assert_eq!(text_of(Format::Csv, true, &[Cell::Text("a=1"), Cell::Text("'x")]), "a=1,'x\r\n");
        // where lists are written with semicolons, and quotes are none in the middle of a cell
        for (text, safe) in [
            ("x;=1;y", "x;'=1;y"),
            ("a,b\n +1", "\"a,b\n '+1\""),
            ("a\t\"@x", "\"a\t\"\"'@x\""),
            ("\u{4}\u{e4}, -1", "\"\u{4}\u{e4}, -1\""),
            ("\u{e4};-1|=2;x-1;\u{e4}=3", "\u{e4};'-1|'=2;x-1;\u{e4}=3"),
            ("+49 30", "'+49 30"),
        ] {
            assert_eq!(text_of(Format::Csv, true, &[Cell::Text(text)]), format!("{safe}\r\n"));
        }
        let json = [Cell::Json(r#"{"a":"x; =1","b":[1,-1,";"],"c":-1}"#)];
        let safe = r#""{""a"":""x; \u003d1"",""b"":[1,-1,"";""],""c"":-1}""#;
        assert_eq!(text_of(Format::Csv, true, &json), format!("{safe}\r\n"));
        assert!(text_of(Format::Csv, false, &json).contains("; =1"));
    }

    #[test]
    fn a_header_names_the_columns() {
        let source = Source::by_name("order_items").expect("a source");
        let header = |format| TextWriter::new(format, source.columns, true).map(|text| text.header(source.columns));
        let csv = header(Format::Csv).expect("a text");
        assert_eq!(csv, b"order_item_id,order_id,product_id,quantity,unit_price,line_total\r\n");
        assert_eq!(header(Format::Json), Some(Vec::new()));
        assert_eq!(header(Format::Parquet), None);
    }

    proptest! {
        #[test]
        fn instants_are_those_of_the_calendar(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let mut text = Vec::new();
            timestamp(&mut text, micros);
            let text = String::from_utf8(text).expect("text");
            prop_assert_eq!(text.parse::<jiff::Timestamp>().expect("an instant").as_microsecond(), micros);
        }

        #[test]
        fn texts_read_back(texts in proptest::collection::vec("\\PC*|[=+@,\"\r\n\ta-]{0,6}", 1..4)) {
            let cells: Vec<_> = texts.iter().map(|text| Cell::Text(text)).collect();
            let csv = text_of(Format::Csv, false, &cells);
            let mut read = Cells::default();
            read.read(csv.trim_end_matches("\r\n").as_bytes()).expect("a record");
            // where a cell ends with what was trimmed it is in quotes
            let read: Vec<_> = read.iter().collect();
            prop_assert_eq!(&read, &texts);
            let json: serde_json::Value = serde_json::from_str(&text_of(Format::Json, false, &cells)).expect("JSON");
            for (name, text) in ["a", "b", "c"].iter().zip(&texts) {
                prop_assert_eq!(&json[name], text);
            }
        }

        #[test]
        fn no_safe_cell_begins_a_formula(text in "[=+@\t\r\na\" ,;|-]{0,8}") {
            let csv = text_of(Format::Csv, true, &[Cell::Text(&text)]);
            for cell in csv.split([';', '|', '\t', '\r', '\n']) {
                let cell = cell.trim_start_matches([' ', '"']);
                prop_assert!(!cell.starts_with(['=', '+', '-', '@']), "{csv:?}");
            }
        }
    }
}
