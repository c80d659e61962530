//! What became of a slice's rows: counts, and rejects of those that were refused.

use bytes::BytesMut;
use intake_aws::{Error as AwsError, Objects};
use intake_domain::csv::{self, Cells, Header};
use intake_domain::promotion::{Missing, Outcome};
use intake_domain::reject::{Code, RowError};
use intake_postgres::ledger::{File, PlannedChunk, Reject, SliceCounts};
use intake_postgres::promotion::Applied;
use intake_postgres::staged::StagedRow;

/// A byte order mark at the start of a file is no part of its first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// How far apart two refused records may lie to be read together, in bytes.
const GAP_BYTES: u64 = 256 << 10;

/// Where the records of a slice are found again.
pub(crate) struct Source<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) file: &'a File,
    pub(crate) index: i32,
    pub(crate) plan: &'a PlannedChunk,
}

/// Counts outcomes, and makes rejects of the rows that were refused.
pub(crate) async fn account(
    source: &Source<'_>,
    rows: &[StagedRow],
    applied: &Applied,
) -> Result<(SliceCounts, Vec<Reject>), AwsError> {
    let mut counts =
        SliceCounts { dangling: i32::try_from(applied.dangling).unwrap_or(i32::MAX), ..Default::default() };
    let mut refused = Vec::new();
    for (row, outcome) in rows.iter().zip(&applied.outcomes) {
        match outcome {
            Outcome::Inserted => counts.inserted += 1,
            Outcome::Updated => counts.updated += 1,
            Outcome::Unchanged => counts.unchanged += 1,
            Outcome::NaturalKeyTaken(_)
            | Outcome::MissingReferences(_)
            | Outcome::StockConflict(_)
            | Outcome::SuspectPrice => {
                counts.rejected += 1;
                refused.push((row, *outcome));
            }
        }
    }
    let header = source.file.csv_header.as_deref();
    let header = header.and_then(|header| Header::parse(source.file.dataset, header.as_bytes()).ok());
    let mut rejects = Vec::with_capacity(refused.len());
    // the records themselves are in the file: neighbours are read together
    let ends = |row: &StagedRow| row.place.offset + u64::from(row.place.length);
    for near in refused.chunk_by(|(one, _), (next, _)| next.place.offset - ends(one) < GAP_BYTES) {
        let (Some((first, _)), Some((last, _))) = (near.first(), near.last()) else { continue };
        let (start, end) = (first.place.offset, ends(last));
        let bytes = source.read(start, end).await?;
        for (row, outcome) in near {
            let at = (row.place.offset - start) as usize;
            let record = bytes.get(at..at + row.place.length as usize).unwrap_or_default();
            rejects.push(Reject {
                line: row.place.line,
                offset: row.place.offset,
                key: Some(row.id.to_string()),
                errors: errors(source.file, row, *outcome),
                record: source.show(record, header.as_ref()),
            });
        }
    }
    Ok((counts, rejects))
}

impl Source<'_> {
    /// The bytes from `start` to `end` of the file, unpacked; both within the chunk.
    async fn read(&self, start: u64, end: u64) -> Result<BytesMut, AwsError> {
        let (key, etag, base) = match &self.plan.piece_etag {
            Some(etag) => (self.file.piece(self.index, self.plan.range), etag.as_str(), self.plan.range.start),
            None => (self.file.key.to_string(), self.file.object_etag.as_deref().unwrap_or_default(), 0),
        };
        let mut bytes = BytesMut::new();
        self.objects.read_range(&key, etag, start - base, end - base, &mut bytes).await?;
        Ok(bytes)
    }

    /// A record as a reject shows it: as it was sent, or what it says as a JSON object.
    fn show(&self, record: &[u8], header: Option<&Header>) -> String {
        let mut cells = Cells::default();
        let object = header
            .filter(|_| cells.read(record).is_ok())
            .and_then(|header| csv::to_json(self.file.dataset, header, &cells));
        object.unwrap_or_else(|| String::from_utf8_lossy(record).trim_start_matches(BYTE_ORDER_MARK).to_owned())
    }
}

fn errors(file: &File, row: &StagedRow, outcome: Outcome) -> Vec<RowError> {
    let dataset = file.dataset;
    match outcome {
        Outcome::NaturalKeyTaken(owner) => {
            let natural = dataset.natural_field().map_or("", |field| field.name);
            let detail = format!("the {natural} belongs to {} {owner}", dataset.id_field().name);
            vec![RowError::of_field(Code::NaturalKeyTaken, natural, detail)]
        }
        Outcome::MissingReferences(missing) => missing_references(file, row, missing),
        Outcome::StockConflict(Some(reason)) => {
            vec![RowError::of_field(reason.code(), reason.field(), reason.detail())]
        }
        Outcome::StockConflict(None) => {
            let detail = "another event of the product has a conflict";
            vec![RowError::of_field(Code::ProductConflict, "product_id", detail)]
        }
        Outcome::SuspectPrice => {
            let detail = "the product's history does not explain the price, and the policy for prices is to reject it";
            vec![RowError::of_field(Code::SuspectPrice, "new_price", detail)]
        }
        Outcome::Inserted | Outcome::Updated | Outcome::Unchanged => Vec::new(),
    }
}

fn missing_references(file: &File, row: &StagedRow, missing: Missing) -> Vec<RowError> {
    let references = file.dataset.references.iter().enumerate().filter(|(at, _)| missing.contains(*at));
    let errors = references.map(|(_, reference)| {
        let field = file.dataset.fields[reference.field].name;
        // the tenant's column stands before the fields
        let id = row.uuid_in_column(1 + reference.field).unwrap_or_default();
        RowError::of_field(Code::MissingReference, field, format!("there is no {id} in {}", reference.to))
    });
    errors.collect()
}
