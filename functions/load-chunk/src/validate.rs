//! From a chunk's bytes to staged rows and rejects.

use bytes::Bytes;
use intake_domain::csv::{self, Cells, Header};
use intake_domain::format::Layout;
use intake_domain::record::{Record, Records};
use intake_domain::reject::Code;
use intake_domain::row::{self, Refused};
use intake_lambda::batch::Retry;
use intake_postgres::ledger::{ChunkCounts, File, Reject};
use intake_postgres::staged::{Place, Writer};
use serde_json::value::RawValue;
use std::time::SystemTime;

/// How much of a record that is no JSON object is kept.
const KEPT_OF_NO_OBJECT: usize = 64 << 10;

/// How many rejects are kept in memory before they are written.
const REJECTS_AT_ONCE: usize = 1_000;

/// About how many bytes of rejects are.
const REJECT_BYTES_AT_ONCE: usize = 2 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Goes through the records of a chunk: rows into the staged object, the rest out as rejects.
pub(crate) struct Validation<'a> {
    file: &'a File,
    records: Records<'a>,
    /// Where the chunk's bytes begin in the file, unpacked.
    base: u64,
    /// When the file arrived, in microseconds since 1970.
    received_at: i64,
    /// What the columns of a CSV file are, and the cells of the record in hand.
    csv: Option<(Header, Cells)>,
    writer: Writer,
    counts: ChunkCounts,
}

impl<'a> Validation<'a> {
    /// Of `bytes`, which begin at `base` in the file.
    pub(crate) fn new(file: &'a File, bytes: &'a [u8], base: u64) -> Result<Self, Retry> {
        let received_at = file.uploaded_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let received_at = received_at.map_or(0, |since| since.as_micros() as i64);
        let writer = Writer::new(file.dataset, file.key.tenant_id, received_at, bytes.len() + bytes.len() / 4);
        let mut records = Records::new(file.format.layout, bytes);
        let header = file.csv_header.as_deref().filter(|_| file.format.layout == Layout::Csv);
        let csv = match header {
            Some(header) => Some((Header::parse(file.dataset, header.as_bytes())?, Cells::default())),
            None => None,
        };
        if csv.is_some() && base == 0 {
            // the header is the first record of the first chunk
            records.next();
        }
        Ok(Self { file, records, base, received_at, csv, writer, counts: ChunkCounts::default() })
    }

    /// Goes on to the next rejects or the end; `None` when there are no more.
    pub(crate) fn next_rejects(&mut self) -> Option<Vec<Reject>> {
        let (mut rejects, mut bytes) = (Vec::new(), 0);
        while rejects.len() < REJECTS_AT_ONCE && bytes < REJECT_BYTES_AT_ONCE {
            let Some(record) = self.records.next() else {
                break;
            };
            if let Some(reject) = self.take(&record) {
                bytes += reject.record.len();
                rejects.push(reject);
            }
        }
        Some(rejects).filter(|rejects| !rejects.is_empty())
    }

    /// The counts, and the object of the rows, once [`next_rejects`](Self::next_rejects) has gone through all records.
    pub(crate) fn finish(self) -> (ChunkCounts, Bytes) {
        (ChunkCounts { lines: self.records.lines(), ..self.counts }, self.writer.finish())
    }

    /// Writes the row of a record, or says why it is none.
    fn take(&mut self, record: &Record<'_>) -> Option<Reject> {
        let (dataset, tenant) = (self.file.dataset, self.file.key.tenant_id);
        let offset = self.base + record.offset as u64;
        let bytes = match record.bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if offset == 0 => rest,
            _ => record.bytes,
        };
        if record.broken.is_none() && bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        self.counts.accepted += 1;
        let parsed = match (record.broken, &mut self.csv) {
            (Some(broken), _) => Err(Refused { key: None, errors: vec![broken.error()] }),
            (None, None) => row::parse(dataset, tenant, bytes),
            (None, Some((header, cells))) => match cells.read(bytes) {
                Ok(()) => csv::parse(dataset, tenant, header, cells),
                Err(refused) => Err(refused),
            },
        };
        let refused = match parsed.and_then(|row| dataset.receive(row, self.received_at)) {
            Ok(mut row) => {
                row.identify(dataset, || self.file.key.row_id(offset));
                let place = Place { line: record.line, offset, length: record.bytes.len() as u32 };
                self.writer.push(&row, place);
                return None;
            }
            Err(refused) => refused,
        };
        self.counts.rejected += 1;
        let is_text = !refused.errors.iter().any(|error| error.code == Code::InvalidUtf8);
        let object = match &self.csv {
            Some((header, cells)) if record.broken.is_none() && is_text => csv::to_json(dataset, header, cells),
            _ => None,
        };
        // an object stands in the answer as it is; anything else as a string, which escapes may make six times as long
        let is_object = record.broken.is_none()
            && serde_json::from_slice::<&RawValue>(bytes).is_ok_and(|raw| raw.get().starts_with('{'));
        let kept = if is_object { bytes } else { &bytes[..bytes.len().min(KEPT_OF_NO_OBJECT)] };
        Some(Reject {
            line: record.line,
            offset,
            key: refused.key,
            errors: refused.errors,
            record: object.unwrap_or_else(|| String::from_utf8_lossy(kept).into_owned()),
        })
    }
}
