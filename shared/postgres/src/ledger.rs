//! The ledger of uploads. Every function runs inside the scope of a transaction; none commits.

use crate::Error;
use crate::database::Scope;
use intake_domain::chunk::ChunkRange;
use intake_domain::object_key::FileKey;
use intake_domain::reject::RowError;
use intake_domain::state::FileState;
use intake_domain::{Dataset, dataset};
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../queries/ledger/", $name, ".sql")))
    };
}

/// A session to create.
pub struct NewSession<'a> {
    /// Its id, time-ordered.
    pub session_id: Uuid,
    /// What the client holds.
    pub upload_token: Uuid,
    /// What the client says of the upload, as the text of a JSON object.
    pub manifest: Option<&'a str>,
    /// Whether nothing is promoted.
    pub dry_run: bool,
}

/// A file to declare.
pub struct NewFile {
    /// Its id, time-ordered.
    pub file_id: Uuid,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// As the client names it.
    pub name: String,
    /// Its exact size.
    pub size_bytes: i64,
    /// Its checksum, where declared.
    pub sha256: Option<Vec<u8>>,
    /// The id of its multipart upload, where it has one.
    pub multipart_upload_id: Option<String>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub session_id: Uuid,
    /// What the client holds.
    pub upload_token: Uuid,
    /// Whether nothing is promoted.
    pub dry_run: bool,
    /// When it was created.
    pub created_at: SystemTime,
    /// When it no longer waits for files.
    pub expires_at: SystemTime,
    /// Whether that has passed, by the database's clock.
    pub has_expired: bool,
}

/// Counts of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows read: every line that is not blank.
    pub accepted: i64,
    /// Rows whose id was new.
    pub inserted: i64,
    /// Rows that replaced one.
    pub updated: i64,
    /// Rows that were there already.
    pub unchanged: i64,
    /// Rows refused.
    pub rejected: i64,
}

/// A file as its status shows it.
#[derive(Debug)]
pub struct FileStatus {
    /// Its id.
    pub file_id: Uuid,
    /// As the client names it.
    pub name: String,
    /// What its rows are.
    pub dataset: String,
    /// How far it is.
    pub state: FileState,
    /// Its declared size.
    pub size_bytes: i64,
    /// Why it failed: code and detail.
    pub error: Option<(String, String)>,
    /// The id of its multipart upload, where it has one.
    pub multipart_upload_id: Option<String>,
    /// All its chunks.
    pub chunks: i64,
    /// Those validated and staged, promoted ones included.
    pub chunks_staged: i64,
    /// Those promoted.
    pub chunks_promoted: i64,
    /// Those given up.
    pub chunks_failed: i64,
    /// Bytes of the staged chunks.
    pub bytes_staged: i64,
    /// Its rows so far.
    pub rows: RowCounts,
    /// When its object arrived.
    pub uploaded_at: Option<SystemTime>,
    /// When its chunks were planned.
    pub planned_at: Option<SystemTime>,
    /// When the last of them was staged.
    pub staged_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: Option<SystemTime>,
    /// The latest of all these, and of any change to a chunk.
    pub last_activity: SystemTime,
}

/// A file as the workers see it.
#[derive(Clone, Debug)]
pub struct File {
    /// Names its object; the tenant is the ledger's.
    pub key: FileKey,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// Its declared size.
    pub size_bytes: u64,
    /// Its declared checksum.
    pub sha256: Option<Vec<u8>>,
    /// How far it is.
    pub state: FileState,
    /// The id of its multipart upload, where it has one.
    pub multipart_upload_id: Option<String>,
    /// The version of its object that all work is fenced on.
    pub object_etag: Option<String>,
    /// When its object arrived.
    pub uploaded_at: Option<SystemTime>,
    /// Whether nothing is promoted.
    pub dry_run: bool,
}

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
    /// Rows refused by what is there already.
    pub rejected: i32,
}

/// Creates a session and returns when it expires.
///
/// # Errors
/// Any [`Error`] of the database; so for every function here.
pub async fn create_session(
    scope: &Scope<'_>,
    session: &NewSession<'_>,
    files: &[NewFile],
) -> Result<SystemTime, Error> {
    let tenant = scope.tenant();
    let (name, sql) = sql!("insert_session");
    let row = scope
        .query_opt(
            name,
            sql,
            &[
                (&session.session_id, Type::UUID),
                (&tenant, Type::UUID),
                (&session.upload_token, Type::UUID),
                (&session.manifest, Type::TEXT),
                (&session.dry_run, Type::BOOL),
            ],
        )
        .await?
        .ok_or(Error::Corrupt("an insert without its row"))?;
    let column = |of: fn(&NewFile) -> String| files.iter().map(of).collect::<Vec<_>>();
    let ids: Vec<_> = files.iter().map(|file| file.file_id).collect();
    let ranks: Vec<_> = files.iter().map(|file| file.dataset.rank()).collect();
    let ordinals: Vec<_> = (0_i32..).take(files.len()).collect();
    let datasets = column(|file| file.dataset.name.to_owned());
    let names = column(|file| file.name.clone());
    let sizes: Vec<_> = files.iter().map(|file| file.size_bytes).collect();
    let checksums: Vec<_> = files.iter().map(|file| file.sha256.as_deref()).collect();
    let uploads: Vec<_> = files.iter().map(|file| file.multipart_upload_id.as_deref()).collect();
    let (name, sql) = sql!("insert_files");
    scope
        .execute(
            name,
            sql,
            &[
                (&tenant, Type::UUID),
                (&session.session_id, Type::UUID),
                (&ids, Type::UUID_ARRAY),
                (&ranks, Type::INT2_ARRAY),
                (&ordinals, Type::INT4_ARRAY),
                (&datasets, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&sizes, Type::INT8_ARRAY),
                (&checksums, Type::BYTEA_ARRAY),
                (&uploads, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(row.get(0))
}

/// The session of a token.
pub async fn session_by_token(scope: &Scope<'_>, upload_token: Uuid) -> Result<Option<Session>, Error> {
    let (name, sql) = sql!("session_by_token");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&upload_token, Type::UUID)]).await?;
    Ok(row.map(|row| Session {
        session_id: row.get("session_id"),
        upload_token: row.get("upload_token"),
        dry_run: row.get("dry_run"),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        has_expired: row.get("has_expired"),
    }))
}

/// The files of a session in their turn, with all that has been counted.
pub async fn files_of_session(scope: &Scope<'_>, session: Uuid) -> Result<Vec<FileStatus>, Error> {
    let (name, sql) = sql!("files_of_session");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    rows.iter().map(file_status).collect()
}

fn file_status(row: &Row) -> Result<FileStatus, Error> {
    let at = |name| row.get::<_, Option<SystemTime>>(name);
    let code: Option<String> = row.get("error_code");
    let times = ["uploaded_at", "planned_at", "staged_at", "finished_at", "changed_at"];
    let last_activity = times.into_iter().filter_map(at).fold(row.get("created_at"), SystemTime::max);
    Ok(FileStatus {
        file_id: row.get("file_id"),
        name: row.get("name"),
        dataset: row.get("dataset"),
        state: state(row)?,
        size_bytes: row.get("size_bytes"),
        error: code.map(|code| (code, row.get::<_, Option<String>>("error_detail").unwrap_or_default())),
        multipart_upload_id: row.get("multipart_upload_id"),
        chunks: row.get("chunks"),
        chunks_staged: row.get("chunks_staged"),
        chunks_promoted: row.get("chunks_promoted"),
        chunks_failed: row.get("chunks_failed"),
        bytes_staged: row.get("bytes_staged"),
        rows: RowCounts {
            accepted: row.get("accepted"),
            inserted: row.get("inserted"),
            updated: row.get("updated"),
            unchanged: row.get("unchanged"),
            rejected: row.get("rejected"),
        },
        uploaded_at: at("uploaded_at"),
        planned_at: at("planned_at"),
        staged_at: at("staged_at"),
        finished_at: at("finished_at"),
        last_activity,
    })
}

fn state(row: &Row) -> Result<FileState, Error> {
    FileState::parse(row.get("state")).ok_or(Error::Corrupt("a file in an unknown state"))
}

fn dataset(row: &Row) -> Result<&'static Dataset, Error> {
    dataset::by_name(row.get("dataset")).ok_or(Error::Corrupt("a file of an unknown dataset"))
}

fn read_file(scope: &Scope<'_>, row: &Row) -> Result<File, Error> {
    Ok(File {
        key: FileKey { tenant_id: scope.tenant(), session_id: row.get("session_id"), file_id: row.get("file_id") },
        dataset: dataset(row)?,
        size_bytes: u64::try_from(row.get::<_, i64>("size_bytes")).unwrap_or_default(),
        sha256: row.get("sha256"),
        state: state(row)?,
        multipart_upload_id: row.get("multipart_upload_id"),
        object_etag: row.get("object_etag"),
        uploaded_at: row.get("uploaded_at"),
        dry_run: row.get("dry_run"),
    })
}

/// A file.
pub async fn file(scope: &Scope<'_>, file: Uuid) -> Result<Option<File>, Error> {
    let (name, sql) = sql!("file");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    row.map(|row| read_file(scope, &row)).transpose()
}

/// Notes that a file's object is there, in this version; `false` when that was noted before.
pub async fn arrive(scope: &Scope<'_>, file: Uuid, etag: &str) -> Result<bool, Error> {
    let (name, sql) = sql!("arrive");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&etag as _, Type::TEXT)];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Writes a file's chunks down and lets loading begin. Running it again changes nothing.
pub async fn plan(scope: &Scope<'_>, file: Uuid, chunks: impl Iterator<Item = ChunkRange>) -> Result<(), Error> {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for chunk in chunks {
        starts.push(i64::try_from(chunk.start).unwrap_or(i64::MAX));
        ends.push(i64::try_from(chunk.end).unwrap_or(i64::MAX));
    }
    let indexes: Vec<_> = (0_i32..).take(starts.len()).collect();
    let tenant = scope.tenant();
    let (name, sql) = sql!("begin_loading");
    if scope.execute(name, sql, &[(&tenant, Type::UUID), (&file, Type::UUID)]).await? == 0 {
        // planned before, perhaps with chunks of another size
        return Ok(());
    }
    let (name, sql) = sql!("plan_chunks");
    let with: [crate::database::Parameter<'_>; 5] = [
        (&tenant, Type::UUID),
        (&file, Type::UUID),
        (&indexes, Type::INT4_ARRAY),
        (&starts, Type::INT8_ARRAY),
        (&ends, Type::INT8_ARRAY),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// Up to `limit` chunks after `after` (-1 for the first) that wait to be loaded, by index.
pub async fn planned_chunks(scope: &Scope<'_>, file: Uuid, after: i32, limit: i64) -> Result<Vec<i32>, Error> {
    let (name, sql) = sql!("planned_chunks");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&after as _, Type::INT4),
        (&limit as _, Type::INT8),
    ];
    let rows = scope.query(name, sql, &with).await?;
    Ok(rows.iter().map(|row| row.get("chunk_index")).collect())
}

fn range(row: &Row) -> ChunkRange {
    let byte = |name| u64::try_from(row.get::<_, i64>(name)).unwrap_or_default();
    ChunkRange { start: byte("start_byte"), end: byte("end_byte") }
}

/// A chunk with its file, and whether it still waits to be loaded.
pub async fn chunk(scope: &Scope<'_>, file: Uuid, index: i32) -> Result<Option<(File, ChunkRange, bool)>, Error> {
    let (name, sql) = sql!("chunk");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&index as _, Type::INT4)];
    let row = scope.query_opt(name, sql, &with).await?;
    row.map(|row| {
        let is_planned = row.get::<_, &str>("chunk_state") == "planned";
        Ok((read_file(scope, &row)?, range(&row), is_planned))
    })
    .transpose()
}

/// Takes a planned chunk for this transaction; `false` when it is no longer planned. Waits for whoever holds it.
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

/// Lets a file go on to promotion when none of its chunks waits to be loaded.
pub async fn finish_staging(scope: &Scope<'_>, file: Uuid) -> Result<(), Error> {
    let (name, sql) = sql!("finish_staging");
    scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(())
}

/// The file that may be promoted now: the first of its session that has not ended, if it is staged. A dry run waits until
/// all are, because it promotes them together to undo them together.
pub async fn next_promotion(scope: &Scope<'_>, session: Uuid, dry_run: bool) -> Result<Option<Uuid>, Error> {
    let open = open_files(scope, session).await?;
    let waits = open.iter().take(if dry_run { open.len() } else { 1 }).any(|(_, state)| *state != FileState::Promoting);
    Ok(open.first().filter(|_| !waits).map(|(file, _)| *file))
}

/// The files of a session that have not ended, in their turn.
pub async fn open_files(scope: &Scope<'_>, session: Uuid) -> Result<Vec<(Uuid, FileState)>, Error> {
    let (name, sql) = sql!("open_files_of_session");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    rows.iter().map(|row| Ok((row.get("file_id"), state(row)?))).collect()
}

/// The chunks of a file that wait for promotion, in their order.
pub async fn staged_chunks(scope: &Scope<'_>, file: Uuid) -> Result<Vec<i32>, Error> {
    let (name, sql) = sql!("staged_chunks");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("chunk_index")).collect())
}

/// Takes a staged chunk for this transaction; `false` when it is no longer staged. Waits for whoever holds it.
pub async fn lock_staged_chunk(scope: &Scope<'_>, file: Uuid, index: i32) -> Result<bool, Error> {
    let (name, sql) = sql!("lock_staged_chunk");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&index as _, Type::INT4)];
    Ok(scope.query_opt(name, sql, &with).await?.is_some())
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
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// How many chunks a file has.
pub async fn count_chunks(scope: &Scope<'_>, file: Uuid) -> Result<i32, Error> {
    let (name, sql) = sql!("count_chunks");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Ends a file all of whose chunks are promoted; `false` when they are not, or it has ended before.
pub async fn finish_file(scope: &Scope<'_>, file: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("finish_file");
    Ok(scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await? == 1)
}

/// Ends a file that cannot go on; one that has ended stays as it is.
pub async fn fail_file(scope: &Scope<'_>, file: Uuid, code: &str, detail: &str) -> Result<(), Error> {
    let (name, sql) = sql!("fail_file");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&code as _, Type::TEXT),
        (&detail as _, Type::TEXT),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// Marks a chunk given up that is still `planned` or `staged`, as `state` says; `false` when it is not.
pub async fn fail_chunk(scope: &Scope<'_>, file: Uuid, index: i32, state: &str, code: &str) -> Result<bool, Error> {
    let (name, sql) = sql!("fail_chunk");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&index as _, Type::INT4),
        (&code as _, Type::TEXT),
        (&state as _, Type::TEXT),
    ];
    Ok(scope.execute(name, sql, &with).await? == 1)
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

/// Ends the files of expired sessions that never arrived, and returns the sessions.
pub async fn expire_files(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("expire_files");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("session_id")).collect())
}

/// A file whose work has stood still.
pub struct StalledFile {
    /// Names its object.
    pub key: FileKey,
    /// How far it is.
    pub state: FileState,
    /// Whether its session has expired, so that it is not tried again.
    pub has_expired: bool,
}

/// Files whose work has stood still for two hours, longer than any message stays hidden.
pub async fn stalled_files(scope: &Scope<'_>) -> Result<Vec<StalledFile>, Error> {
    let (name, sql) = sql!("stalled_files");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    rows.iter()
        .map(|row| {
            let (session_id, file_id) = (row.get("session_id"), row.get("file_id"));
            let key = FileKey { tenant_id: scope.tenant(), session_id, file_id };
            Ok(StalledFile { key, state: state(row)?, has_expired: row.get("has_expired") })
        })
        .collect()
}
