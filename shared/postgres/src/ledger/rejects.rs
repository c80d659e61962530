//! Refused rows.

use super::sql;
use crate::Error;
use crate::database::Scope;
use intake_domain::reject::RowError;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// A refused row, as its chunk's worker knows it.
#[derive(Clone, Debug)]
pub struct Reject {
    /// 0-based line within the chunk.
    pub line: u32,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// By which people find the row.
    pub key: Option<String>,
    /// All that is wrong with it.
    pub errors: Vec<RowError>,
    /// The line; bytes that are not UTF-8 replaced.
    pub record: String,
}

/// Keeps rejects of a chunk.
pub async fn insert_rejects(scope: &Scope<'_>, file: Uuid, index: i32, rejects: &[Reject]) -> Result<(), Error> {
    if rejects.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = rejects.iter().map(|reject| i32::try_from(reject.line).unwrap_or(i32::MAX)).collect();
    let offsets: Vec<_> = rejects.iter().map(|reject| i64::try_from(reject.offset).unwrap_or(i64::MAX)).collect();
    // U+0000 is valid in a line and in what is said of it, but PostgreSQL stores it nowhere
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let keys: Vec<_> = rejects.iter().map(|reject| reject.key.as_deref().map(clean)).collect();
    let errors: Vec<_> =
        rejects.iter().map(|reject| serde_json::to_string(&reject.errors).unwrap_or_default()).collect();
    let records: Vec<_> = rejects.iter().map(|reject| clean(&reject.record)).collect();
    let (name, sql) = sql!("insert_rejects");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&lines as _, Type::INT4_ARRAY),
        (&offsets as _, Type::INT8_ARRAY),
        (&keys as _, Type::TEXT_ARRAY),
        (&errors as _, Type::TEXT_ARRAY),
        (&records as _, Type::TEXT_ARRAY),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// A file that has rejects.
#[derive(Debug)]
pub struct RejectingFile {
    /// Its id.
    pub file_id: Uuid,
    /// Its name.
    pub name: String,
}

/// The files of a session that have rejects, in their turn.
pub async fn files_with_rejects(scope: &Scope<'_>, session: Uuid) -> Result<Vec<RejectingFile>, Error> {
    let (name, sql) = sql!("files_with_rejects");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    Ok(rows.iter().map(|row| RejectingFile { file_id: row.get("file_id"), name: row.get("name") }).collect())
}

/// A reject as clients see it.
#[derive(Debug)]
pub struct RejectRow {
    /// Its chunk and its line in it: where it stands in its file.
    pub position: (i32, i32),
    /// 1-based line in the file; `None` while chunks before it are not loaded.
    pub line: Option<i64>,
    /// Bytes from the start of the file.
    pub byte_offset: i64,
    /// By which people find the row.
    pub key: Option<String>,
    /// The text of a JSON array of errors.
    pub errors: String,
    /// The line.
    pub record: String,
}

/// Rejects of a file after a position, in the order of lines: up to `limit`, and up to about `bytes` of them, but at
/// least one.
pub async fn rejects_page(
    scope: &Scope<'_>,
    file: Uuid,
    after: (i32, i32),
    limit: i64,
    bytes: i64,
) -> Result<Vec<RejectRow>, Error> {
    let (name, sql) = sql!("rejects_page");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&after.0 as _, Type::INT4),
        (&after.1 as _, Type::INT4),
        (&limit as _, Type::INT8),
        (&bytes as _, Type::INT8),
    ];
    let rows = scope.query(name, sql, &with).await?;
    Ok(rows
        .iter()
        .map(|row| RejectRow {
            position: (row.get("chunk_index"), row.get("line")),
            line: row.get("absolute_line"),
            byte_offset: row.get("byte_offset"),
            key: row.get("key"),
            errors: row.get("errors"),
            record: row.get("record"),
        })
        .collect())
}
