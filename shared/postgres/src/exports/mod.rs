//! The books of exports: what was ordered, who works on it, how far the work has come, and where it may go on. What reads the
//! rows themselves is in `reading`. All fail with any [`Error`] of the database.

mod reading;

pub use reading::{Key, Range, RangeOfRows, Reader, Row, Rows, Snapshot, Walk, is_of_its_own};

use crate::Error;
use crate::database::Scope;
use intake_domain::export::{Column, Failure, Format, Shape, Source, State};
use intake_domain::format::Compression;
use intake_domain::order_filter::OrderFilter;
use intake_domain::trace::TraceId;
use serde_json::{Value, json};
use std::time::SystemTime;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("exports/", $name), include_str!(concat!("../../queries/exports/", $name, ".sql")))
    };
}
use sql;

/// What is to be taken out.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id.
    pub export_id: Uuid,
    /// Which rows.
    pub source: &'static Source,
    /// How they are written.
    pub format: Format,
    /// How the whole is compressed.
    pub compression: Compression,
    /// Which columns, in their order.
    pub columns: Vec<Column>,
    /// Which rows of all; what does not apply asks for nothing.
    pub filter: OrderFilter,
    /// Whether texts of CSV that begin a formula are defused.
    pub spreadsheet_safe: bool,
    /// The trace of all that it brings about.
    pub trace: Option<TraceId>,
}

impl Order {
    /// The file that it asks for.
    #[must_use]
    pub fn shape(&self, tenant_id: Uuid) -> Shape {
        Shape {
            tenant_id,
            export_id: self.export_id,
            source: self.source,
            format: self.format,
            compression: self.compression,
        }
    }
}

/// An export as it stands.
#[derive(Debug)]
pub struct Export {
    /// What was ordered.
    pub order: Order,
    /// Where it stands.
    pub state: State,
    /// When it was ordered.
    pub created_at: SystemTime,
    /// When the work on it began.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: Option<SystemTime>,
    /// Until when the file is there.
    pub expires_at: SystemTime,
    /// About how many rows there will be, once that is known; at its end, how many there are.
    pub rows_estimated: Option<i64>,
    /// How many rows are written.
    pub rows_done: i64,
    /// How many bytes are written.
    pub bytes_done: i64,
    /// Which try began the object, if one has.
    pub object_attempt: Option<i32>,
    /// Its multipart upload, while there is one.
    pub upload_id: Option<String>,
    /// The text of the JSON object that says what the file is, once it is there.
    pub manifest: Option<String>,
    /// Why it failed: a code and a sentence.
    pub error: Option<(String, String)>,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// From 1.
    pub number: i32,
    /// Its size.
    pub size_bytes: i64,
    /// Its version.
    pub etag: String,
}

/// What the bucket has of an unfinished object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which try began it.
    pub attempt: i32,
    /// Its multipart upload.
    pub upload_id: String,
}

/// Where a try may go on that finds the rows before as they were.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// The first row that is in no part.
    pub key: Key,
    /// How many rows are in the parts.
    pub rows: i64,
    /// How many bytes are in the parts.
    pub bytes: i64,
    /// The state of the hash over them.
    pub sha256: Vec<u8>,
    /// The oldest transaction that had not ended for the snapshot they were read in; its lower 32 bits.
    pub xmin: i64,
}

/// An export that is in hand.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The number of the try, under which alone its books are written.
    pub attempt: i32,
    /// The object of an earlier try.
    pub begun: Option<Begun>,
    /// Where it may go on.
    pub resume: Option<Resume>,
}

/// How far a try has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// About how many rows there will be.
    pub rows_estimated: Option<i64>,
    /// How many rows are written.
    pub rows: i64,
    /// How many bytes are written.
    pub bytes: i64,
    /// The multipart upload that the try has begun.
    pub upload_id: Option<String>,
    /// Parts that have arrived since the last time.
    pub parts: Vec<PartRecord>,
    /// Where the next try may go on: behind parts that have arrived.
    pub resume: Option<Resume>,
}

/// Writes an order down.
pub async fn order(scope: &Scope<'_>, order: &Order) -> Result<(), Error> {
    let names: Vec<_> = order.columns.iter().map(|column| column.name).collect();
    let (name, sql) = sql!("insert");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&order.export_id as _, Type::UUID),
        (&order.source.name as _, Type::VARCHAR),
        (&order.format.as_str() as _, Type::VARCHAR),
        (&order.compression.as_str() as _, Type::VARCHAR),
        (&Json(json!(names)) as _, Type::JSONB),
        (&Json(write_filter(&order.filter)) as _, Type::JSONB),
        (&order.spreadsheet_safe as _, Type::BOOL),
        (&order.trace.map(|trace| trace.to_string()) as _, Type::VARCHAR),
    ];
    scope.execute(name, sql, &with).await.map(drop)
}

/// One export; `None` when the tenant has none of that id.
pub async fn find(scope: &Scope<'_>, export: Uuid) -> Result<Option<Export>, Error> {
    Ok(select(scope, Some(export), None, 1).await?.into_iter().next())
}

/// The newest exports, or the newest that are older than one.
pub async fn list(scope: &Scope<'_>, before: Option<Uuid>, limit: i64) -> Result<Vec<Export>, Error> {
    select(scope, None, before, limit).await
}

async fn select(
    scope: &Scope<'_>,
    export: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Export>, Error> {
    let (name, sql) = sql!("find");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&export as _, Type::UUID),
        (&before as _, Type::UUID),
        (&limit as _, Type::INT8),
    ];
    scope.query(name, sql, &with).await?.iter().map(read).collect()
}

fn read(row: &tokio_postgres::Row) -> Result<Export, Error> {
    let unknown = || Error::Corrupt("an export of something unknown");
    let source = Source::by_name(row.get("dataset")).ok_or_else(unknown)?;
    let Json(names) = row.get::<_, Json<Vec<String>>>("columns");
    let columns = names.iter().map(|name| source.column(name)).collect::<Option<_>>().ok_or_else(unknown)?;
    let Json(filter) = row.get::<_, Json<Value>>("filters");
    let order = Order {
        export_id: row.get("export_id"),
        source,
        format: Format::parse(row.get("format")).ok_or_else(unknown)?,
        compression: Compression::parse(row.get("compression")).ok_or_else(unknown)?,
        columns,
        filter: read_filter(&filter).ok_or_else(unknown)?,
        spreadsheet_safe: row.get("spreadsheet_safe"),
        trace: row.get::<_, Option<&str>>("trace_id").and_then(TraceId::parse),
    };
    Ok(Export {
        order,
        state: State::parse(row.get("state")).ok_or_else(unknown)?.at(row.get("has_expired")),
        created_at: row.get("created_at"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
        expires_at: row.get("expires_at"),
        rows_estimated: row.get("rows_estimated"),
        rows_done: row.get("rows_done"),
        bytes_done: row.get("bytes_done"),
        object_attempt: row.get("object_attempt"),
        upload_id: row.get("upload_id"),
        manifest: row.get("manifest"),
        error: row.get::<_, Option<String>>("error_code").zip(row.get("error_detail")),
    })
}

/// How a filter is stored.
fn write_filter(filter: &OrderFilter) -> Value {
    json!({
        "text": filter.text,
        "statuses": filter.statuses,
        "products": filter.products,
        "min_total": filter.min_total,
        "max_total": filter.max_total,
        "start": filter.start,
        "end": filter.end,
        "payload": filter.payload,
    })
}

fn read_filter(stored: &Value) -> Option<OrderFilter> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let texts = |name: &str| stored[name].as_array().map(|texts| texts.iter().filter_map(Value::as_str));
    Some(OrderFilter {
        text: text("text"),
        statuses: texts("statuses")?.map(str::to_owned).collect(),
        products: texts("products")?.map(Uuid::try_parse).collect::<Result<_, _>>().ok()?,
        min_total: stored["min_total"].as_i64(),
        max_total: stored["max_total"].as_i64(),
        start: stored["start"].as_i64(),
        end: stored["end"].as_i64(),
        payload: text("payload"),
    })
}

/// The parts that have arrived, in their order.
pub async fn parts(scope: &Scope<'_>, export: Uuid) -> Result<Vec<PartRecord>, Error> {
    let (name, sql) = sql!("parts");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&export, Type::UUID)]).await?;
    let part = |row: &tokio_postgres::Row| PartRecord {
        number: row.get("part_number"),
        size_bytes: row.get("size_bytes"),
        etag: row.get("etag"),
    };
    Ok(rows.iter().map(part).collect())
}

/// Whether nobody else has the export in hand; if so, it is this transaction's until it ends, and its connection's death
/// ends it.
pub async fn hold(scope: &Scope<'_>, export: Uuid) -> Result<bool, Error> {
    // the lower half of a v7 id is random
    let lock = export.as_u64_pair().1.cast_signed();
    let (name, sql) = sql!("hold");
    let row = scope.query_opt(name, sql, &[(&lock, Type::INT8)]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Begins a try; `None` when the export has ended. Whoever had it in hand before can write nothing down any more.
pub async fn claim(scope: &Scope<'_>, export: Uuid) -> Result<Option<Claim>, Error> {
    let (name, sql) = sql!("claim");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&export, Type::UUID)]).await?;
    let Some(row) = row else { return Ok(None) };
    let begun = row.get::<_, Option<i32>>("object_attempt").zip(row.get::<_, Option<String>>("upload_id"));
    let resume = || {
        let Json(key) = row.get::<_, Option<Json<Value>>>("resume_key")?;
        Some(Resume {
            key: Key::read(&key)?,
            rows: row.get::<_, Option<i64>>("resume_rows")?,
            bytes: row.get::<_, Option<i64>>("resume_bytes")?,
            sha256: row.get::<_, Option<Vec<u8>>>("resume_sha256")?,
            xmin: row.get::<_, Option<i64>>("resume_xmin")?,
        })
    };
    Ok(Some(Claim {
        attempt: row.get("attempt"),
        begun: begun.map(|(attempt, upload_id)| Begun { attempt, upload_id }),
        resume: resume(),
    }))
}

/// Says that this try begins an object of its own: what there is of another is forgotten. `false` when the try has the export
/// in hand no more.
pub async fn begin_object(scope: &Scope<'_>, export: Uuid, attempt: i32) -> Result<bool, Error> {
    let (name, sql) = sql!("begin_object");
    let with = [(&scope.tenant() as _, Type::UUID), (&export as _, Type::UUID), (&attempt as _, Type::INT4)];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Forgets the parts after one: a try that goes on behind it sends them anew.
pub async fn keep_parts(scope: &Scope<'_>, export: Uuid, last: i32) -> Result<(), Error> {
    let (name, sql) = sql!("keep_parts");
    let with = [(&scope.tenant() as _, Type::UUID), (&export as _, Type::UUID), (&last as _, Type::INT4)];
    scope.execute(name, sql, &with).await.map(drop)
}

/// Writes down how far a try has come. `false` when the export has ended, or another try has it in hand.
pub async fn record(scope: &Scope<'_>, export: Uuid, attempt: i32, progress: &Progress) -> Result<bool, Error> {
    let resume = progress.resume.as_ref();
    let (name, sql) = sql!("record");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&export as _, Type::UUID),
        (&attempt as _, Type::INT4),
        (&progress.rows_estimated as _, Type::INT8),
        (&progress.rows as _, Type::INT8),
        (&progress.bytes as _, Type::INT8),
        (&progress.upload_id as _, Type::TEXT),
        (&resume.map(|resume| Json(resume.key.write())) as _, Type::JSONB),
        (&resume.map(|resume| resume.rows) as _, Type::INT8),
        (&resume.map(|resume| resume.bytes) as _, Type::INT8),
        (&resume.map(|resume| resume.sha256.as_slice()) as _, Type::BYTEA),
        (&resume.map(|resume| resume.xmin) as _, Type::INT8),
    ];
    if scope.execute(name, sql, &with).await? == 0 {
        return Ok(false);
    }
    if !progress.parts.is_empty() {
        let numbers: Vec<_> = progress.parts.iter().map(|part| part.number).collect();
        let sizes: Vec<_> = progress.parts.iter().map(|part| part.size_bytes).collect();
        let etags: Vec<_> = progress.parts.iter().map(|part| part.etag.as_str()).collect();
        let (name, sql) = sql!("insert_parts");
        let with = [
            (&scope.tenant() as _, Type::UUID),
            (&export as _, Type::UUID),
            (&numbers as _, Type::INT4_ARRAY),
            (&sizes as _, Type::INT8_ARRAY),
            (&etags as _, Type::TEXT_ARRAY),
        ];
        scope.execute(name, sql, &with).await?;
    }
    Ok(true)
}

/// Ends an export whose file is there. `false` when it has ended otherwise, or another try has it in hand.
pub async fn complete(
    scope: &Scope<'_>,
    export: Uuid,
    attempt: i32,
    rows: i64,
    bytes: i64,
    manifest: &Value,
) -> Result<bool, Error> {
    let (name, sql) = sql!("complete");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&export as _, Type::UUID),
        (&attempt as _, Type::INT4),
        (&rows as _, Type::INT8),
        (&bytes as _, Type::INT8),
        (&Json(manifest) as _, Type::JSON),
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Ends an export without a file; nothing of one that has ended. Gives the key and the multipart upload of its object, which are
/// to be dropped.
pub async fn fail(
    scope: &Scope<'_>,
    export: Uuid,
    failure: Failure,
    detail: &str,
) -> Result<Option<(String, Option<String>)>, Error> {
    let (name, sql) = sql!("fail");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&export as _, Type::UUID),
        (&failure.as_str() as _, Type::VARCHAR),
        (&detail as _, Type::TEXT),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(find(scope, export).await?.and_then(|export| export.unwanted(scope.tenant())))
}

/// Ends an export because somebody asked. `false` when it has ended.
pub async fn cancel(scope: &Scope<'_>, export: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("cancel");
    Ok(scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&export, Type::UUID)]).await? == 1)
}

/// Exports whose message may be lost: send it again.
pub async fn due(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("due");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("export_id")).collect())
}

impl Export {
    /// The key of its object, if one was begun.
    #[must_use]
    pub fn object_key(&self, tenant: Uuid) -> Option<String> {
        self.object_attempt.map(|attempt| self.order.shape(tenant).object_key(attempt))
    }

    /// The key of an object that nobody wants, and its multipart upload if it was begun: of an export that failed or was cancelled,
    /// perhaps just when all of it was written.
    #[must_use]
    pub fn unwanted(&self, tenant: Uuid) -> Option<(String, Option<String>)> {
        if matches!(self.state, State::Failed | State::Cancelled) {
            self.object_key(tenant).map(|key| (key, self.upload_id.clone()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reads_back() {
        let filter = OrderFilter {
            text: Some("a %_\\".to_owned()),
            statuses: vec!["shipped".to_owned()],
            products: vec![Uuid::from_u128(7)],
            min_total: Some(0),
            max_total: None,
            start: Some(-1),
            end: Some(i64::MAX),
            payload: Some("{\"n\":1.50}".to_owned()),
        };
        assert_eq!(read_filter(&write_filter(&filter)), Some(filter));
        assert_eq!(read_filter(&write_filter(&OrderFilter::default())), Some(OrderFilter::default()));
        assert_eq!(read_filter(&json!({})), None);
    }
}
