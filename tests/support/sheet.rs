//! Rows on their way into a file, in any format.

use super::{Dice, File};
use intake_domain::Dataset;
use intake_domain::format::{Compression, Format, Layout};
use intake_domain::reject::Code;
use serde_json::Value;

/// What is written as one row.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A JSON object; for CSV no value in it may be one that only JSON can say.
    Row(Value),
    /// What can be read as no row of any layout.
    Broken,
    /// Nothing but a line end.
    Blank,
}

/// A row as it stands in a file.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// 1-based, in the unpacked file.
    pub(crate) line: usize,
    /// In the unpacked file.
    pub(crate) byte_offset: usize,
    /// The row as a line of NDJSON, or why it cannot be one.
    pub(crate) row: Result<String, Code>,
}

/// Writes a file of rows, and says where each row of it stands.
pub(crate) fn write(
    name: &str,
    dataset: &Dataset,
    format: Format,
    entries: &[Entry],
    dice: &mut Dice,
) -> (File, Vec<Written>) {
    let (text, rows) = match format.layout {
        Layout::Ndjson => write_ndjson(entries),
        Layout::Csv => write_csv(dataset, entries, dice),
    };
    let (ending, bytes) = match format.compression {
        Compression::None => ("", text),
        Compression::Gzip => (".gz", gzip(&text, dice)),
        Compression::Zstd => (".zst", zstd(&text, dice)),
    };
    (File::new(format!("{name}.{}{ending}", format.layout.as_str()), bytes), rows)
}

fn write_ndjson(entries: &[Entry]) -> (Vec<u8>, Vec<Written>) {
    let (mut text, mut rows) = (String::new(), Vec::new());
    for (line, entry) in (1..).zip(entries) {
        let written = match entry {
            Entry::Row(row) => row.to_string(),
            Entry::Broken => "{\"broken\": ".to_owned(),
            Entry::Blank => String::new(),
        };
        if !written.is_empty() {
            rows.push(Written { line, byte_offset: text.len(), row: Ok(written.clone()) });
        }
        text.push_str(&written);
        text.push('\n');
    }
    (text.into_bytes(), rows)
}

fn write_csv(dataset: &Dataset, entries: &[Entry], dice: &mut Dice) -> (Vec<u8>, Vec<Written>) {
    let mut columns: Vec<&str> = dataset.fields.iter().map(|field| field.name).collect();
    columns.extend(dataset.created_at.then_some("created_at"));
    dice.shuffle(&mut columns);
    let (mut text, mut rows, mut line) = (format!("{}\n", columns.join(",")), Vec::new(), 2);
    for entry in entries {
        let (record, row) = match entry {
            Entry::Row(row) => {
                let cells: Vec<_> = columns.iter().map(|column| cell(&row[*column], dice)).collect();
                (cells.join(","), Ok(row.to_string()))
            }
            Entry::Broken => (vec!["x"; columns.len() + 1].join(","), Err(Code::ColumnCount)),
            Entry::Blank => (String::new(), Err(Code::ColumnCount)),
        };
        if !record.is_empty() {
            rows.push(Written { line, byte_offset: text.len(), row });
        }
        line += 1 + record.matches('\n').count();
        text.push_str(&record);
        text.push('\n');
    }
    (text.into_bytes(), rows)
}

/// A cell (RFC 4180), in quotes where it needs them and sometimes where it does not.
fn cell(value: &Value, dice: &mut Dice) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains(['"', ',', '\n', '\r']) || dice.chance(10) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Parts of a text, each of which is packed by itself: a file may have many members.
fn parts<'a>(text: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    text.chunks(if dice.chance(50) { text.len().max(1) } else { dice.within(200..3_000) as usize }).collect()
}

fn gzip(text: &[u8], dice: &mut Dice) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut packed = Vec::new();
    for part in parts(text, dice) {
        let mut encoder = GzEncoder::new(&mut packed, Compression::fast());
        encoder.write_all(part).and_then(|()| encoder.finish().map(drop)).expect("memory takes all");
    }
    packed
}

fn zstd(text: &[u8], dice: &mut Dice) -> Vec<u8> {
    let pack = |part| zstd::encode_all(part, 1).expect("memory takes all");
    parts(text, dice).into_iter().flat_map(pack).collect()
}
