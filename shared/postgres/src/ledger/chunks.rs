//! Chunks: planned, staged, promoted, or given up.

use super::{
    File, Tolerances, fail_file,
    files::{lock_file, read_file},
    sql,
};
use crate::Error;
use crate::database::{Parameter, Scope};
use intake_domain::chunk::{ChunkRange, WINDOW};
use intake_domain::failure::Failure;
use intake_domain::tolerance::Tolerance;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// What a validated chunk holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkCounts {
    /// All its lines, blank ones included.
    pub lines: u32,
    /// Lines that are rows.
    pub accepted: u32,
    /// Rows refused.
    pub rejected: u32,
}

/// What became of a slice's rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceCounts {
    /// Rows whose id was new.
    pub inserted: i32,
    /// Rows that replaced one.
    pub updated: i32,
    /// Rows that were there already.
    pub unchanged: i32,
    /// Rows refused by what is there already, or by what is not.
    pub rejected: i32,
    /// References of the other rows to rows that are not there.
    pub dangling: i32,
}

/// A chunk as it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Its bytes in the file, unpacked.
    pub range: ChunkRange,
    /// The version of the object that holds them, where the file was unpacked into objects of its chunks.
    pub piece_etag: Option<String>,
}

/// A chunk as its worker sees it.
pub struct Chunk {
    /// Its file.
    pub file: File,
    /// Where its bytes are.
    pub plan: PlannedChunk,
    /// Whether it waits to be loaded.
    pub is_planned: bool,
}

/// Writes a file's chunks down, with the header of a CSV file, and lets loading begin. Running it again changes nothing, and
/// returns `false`.
pub async fn plan(
    scope: &Scope<'_>,
    file: Uuid,
    csv_header: Option<&str>,
    chunks: &[PlannedChunk],
) -> Result<bool, Error> {
    let tenant = scope.tenant();
    let (name, sql) = sql!("begin_loading");
    let with: [Parameter<'_>; 3] = [(&tenant, Type::UUID), (&file, Type::UUID), (&csv_header, Type::TEXT)];
    if scope.execute(name, sql, &with).await? == 0 {
        // planned before, perhaps with chunks of another size
        return Ok(false);
    }
    let (mut starts, mut ends, mut etags) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        starts.push(i64::try_from(chunk.range.start).unwrap_or(i64::MAX));
        ends.push(i64::try_from(chunk.range.end).unwrap_or(i64::MAX));
        etags.push(chunk.piece_etag.as_deref());
    }
    let indexes: Vec<_> = (0_i32..).take(starts.len()).collect();
    let (name, sql) = sql!("plan_chunks");
    let with: [Parameter<'_>; 6] = [
        (&tenant, Type::UUID),
        (&file, Type::UUID),
        (&indexes, Type::INT4_ARRAY),
        (&starts, Type::INT8_ARRAY),
        (&ends, Type::INT8_ARRAY),
        (&etags, Type::TEXT_ARRAY),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(true)
}

/// The chunks with which loading begins, or goes on after it stood still: at most [`WINDOW`] of those that wait.
pub async fn first_of_window(scope: &Scope<'_>, file: Uuid) -> Result<Vec<i32>, Error> {
    let (name, sql) = sql!("first_of_window");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&WINDOW as _, Type::INT4)];
    let rows = scope.query(name, sql, &with).await?;
    Ok(rows.iter().map(|row| row.get("chunk_index")).collect())
}

/// The chunk that is loaded once chunk `after` is, if one is left.
pub async fn next_in_window(scope: &Scope<'_>, file: Uuid, after: i32) -> Result<Option<i32>, Error> {
    let (name, sql) = sql!("next_in_window");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&after as _, Type::INT4),
        (&WINDOW as _, Type::INT4),
    ];
    Ok(scope.query_opt(name, sql, &with).await?.map(|row| row.get("chunk_index")))
}

/// A chunk with its file.
pub async fn chunk(scope: &Scope<'_>, file: Uuid, index: i32) -> Result<Option<Chunk>, Error> {
    let (name, sql) = sql!("chunk");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&index as _, Type::INT4)];
    let row = scope.query_opt(name, sql, &with).await?;
    row.map(|row| {
        Ok(Chunk {
            file: read_file(scope, &row)?,
            plan: planned_chunk(&row),
            is_planned: row.get::<_, &str>("chunk_state") == "planned",
        })
    })
    .transpose()
}

fn planned_chunk(row: &Row) -> PlannedChunk {
    PlannedChunk { range: range(row), piece_etag: row.get("piece_etag") }
}

fn range(row: &Row) -> ChunkRange {
    let byte = |name| u64::try_from(row.get::<_, i64>(name)).unwrap_or_default();
    ChunkRange { start: byte("start_byte"), end: byte("end_byte") }
}

/// Takes a planned chunk for this transaction; `false` when it is no longer planned or its file no longer loads. Waits for whoever holds it.
pub async fn lock_planned_chunk(scope: &Scope<'_>, file: Uuid, index: i32) -> Result<bool, Error> {
    let (name, sql) = sql!("lock_planned_chunk");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&index as _, Type::INT4)];
    Ok(scope.query_opt(name, sql, &with).await?.is_some())
}

/// Marks a planned chunk staged.
pub async fn stage(scope: &Scope<'_>, file: Uuid, index: i32, counts: ChunkCounts) -> Result<(), Error> {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let (name, sql) = sql!("stage_chunk");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&number(counts.lines) as _, Type::INT4),
        (&number(counts.accepted) as _, Type::INT4),
        (&number(counts.rejected) as _, Type::INT4),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// Lets a file whose chunks are all staged go on to promotion, or ends it: with more rejects than it may have, or with a
/// chunk that was given up. Returns whether it did either.
pub async fn finish_staging(scope: &Scope<'_>, file: Uuid) -> Result<bool, Error> {
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&file, Type::UUID)];
    let (name, sql) = sql!("is_all_loaded");
    if !scope.query_opt(name, sql, &with).await?.is_some_and(|row| row.get(0)) {
        return Ok(false);
    }
    // what is counted is seen after whoever holds the file has ended: it may just have let a chunk be loaded again
    lock_file(scope, file).await?;
    let (name, sql) = sql!("finish_staging");
    let Some(row) = scope.query_opt(name, sql, &with).await? else {
        return Ok(false);
    };
    if !row.get::<_, bool>("has_failed") {
        let (accepted, rejected) = rows_of(&row);
        let tolerance = Tolerances::join(&row);
        if !tolerance.allows(rejected, accepted) {
            let detail = too_many_rejects(accepted, rejected, tolerance);
            fail_file(scope, file, Failure::TooManyRejects, &detail).await?;
        }
    }
    Ok(true)
}

fn rows_of(row: &Row) -> (u64, u64) {
    let count = |name| u64::try_from(row.get::<_, i64>(name)).unwrap_or_default();
    (count("accepted"), count("rejected"))
}

/// What is said of a file with more rejects than it may have.
#[must_use]
pub fn too_many_rejects(accepted: u64, rejected: u64, tolerance: Tolerance) -> String {
    format!("{rejected} of {accepted} rows were refused, at most {tolerance} may be; nothing of the file was promoted")
}

/// How many rows a file has, and how many of them are refused so far.
pub async fn rejected_so_far(scope: &Scope<'_>, file: Uuid) -> Result<(u64, u64), Error> {
    let (name, sql) = sql!("rejected_so_far");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(row.map_or((0, 0), |row| rows_of(&row)))
}

/// Adds to a staged chunk's rejects those that only promotion found, without promoting it.
pub async fn reject_in_chunk(scope: &Scope<'_>, file: Uuid, index: i32, rejected: i32) -> Result<(), Error> {
    let (name, sql) = sql!("reject_in_chunk");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&rejected as _, Type::INT4),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// The chunks of a file that wait for promotion, in their order.
pub async fn staged_chunks(scope: &Scope<'_>, file: Uuid) -> Result<Vec<i32>, Error> {
    let (name, sql) = sql!("staged_chunks");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("chunk_index")).collect())
}

/// Takes a staged chunk for this transaction; `None` when it is no longer staged, or its file no longer promoted. Waits for
/// whoever holds it.
pub async fn lock_staged_chunk(scope: &Scope<'_>, file: Uuid, index: i32) -> Result<Option<PlannedChunk>, Error> {
    let (name, sql) = sql!("lock_staged_chunk");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&index as _, Type::INT4)];
    Ok(scope.query_opt(name, sql, &with).await?.map(|row| planned_chunk(&row)))
}

/// Marks a chunk promoted; `false` when it was before.
pub async fn promote_chunk(scope: &Scope<'_>, file: Uuid, index: i32, counts: SliceCounts) -> Result<bool, Error> {
    let (name, sql) = sql!("promote_chunk");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&counts.inserted as _, Type::INT4),
        (&counts.updated as _, Type::INT4),
        (&counts.unchanged as _, Type::INT4),
        (&counts.rejected as _, Type::INT4),
        (&counts.dangling as _, Type::INT4),
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// The bytes of each chunk of a file.
pub async fn ranges_of_chunks(scope: &Scope<'_>, file: Uuid) -> Result<Vec<ChunkRange>, Error> {
    let (name, sql) = sql!("ranges_of_chunks");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(rows.iter().map(range).collect())
}

/// Marks a chunk given up that still waits to be loaded; `false` when it does not.
pub async fn fail_chunk(
    scope: &Scope<'_>,
    file: Uuid,
    index: i32,
    failure: Failure,
    detail: &str,
) -> Result<bool, Error> {
    let (name, sql) = sql!("fail_chunk");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&failure.as_str() as _, Type::TEXT),
        (&detail as _, Type::TEXT),
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
}
