//! How far a session is, as clients see it.

use super::{Policy, Tolerances, read_format, sql, state};
use crate::Error;
use crate::database::Scope;
use intake_domain::format::Format;
use intake_domain::state::{FileState, session_state};
use std::iter::Sum;
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Counts of a file's rows. Of those accepted, each is one of the others.
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
    /// Rows that wait for promotion.
    pub staged: i64,
    /// Rows that were good and are not promoted, because their file has ended.
    pub discarded: i64,
    /// References of promoted rows to rows that are not there.
    pub dangling: i64,
}

impl RowCounts {
    /// Rows that are in.
    #[must_use]
    pub fn promoted(&self) -> i64 {
        self.inserted + self.updated + self.unchanged
    }
}

impl Sum for RowCounts {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), |sum, rows| Self {
            accepted: sum.accepted + rows.accepted,
            inserted: sum.inserted + rows.inserted,
            updated: sum.updated + rows.updated,
            unchanged: sum.unchanged + rows.unchanged,
            rejected: sum.rejected + rows.rejected,
            staged: sum.staged + rows.staged,
            discarded: sum.discarded + rows.discarded,
            dangling: sum.dangling + rows.dangling,
        })
    }
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
    /// What it is made of.
    pub format: Format,
    /// What becomes of it when rows of it are bad.
    pub policy: Policy,
    /// How far it is.
    pub state: FileState,
    /// Its declared size.
    pub size_bytes: i64,
    /// Its declared checksum.
    pub sha256: Option<Vec<u8>>,
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
    /// Bytes of all chunks: those of the file as it is unpacked.
    pub bytes_planned: i64,
    /// Bytes of the staged ones.
    pub bytes_staged: i64,
    /// Its rows so far.
    pub rows: RowCounts,
    /// When it was declared.
    pub created_at: SystemTime,
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
    /// When all this was so, by the database's clock.
    pub seen_at: SystemTime,
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
    let not_promoted = row.get("not_promoted");
    let (staged, discarded) = if at("finished_at").is_none() { (not_promoted, 0) } else { (0, not_promoted) };
    Ok(FileStatus {
        file_id: row.get("file_id"),
        name: row.get("name"),
        dataset: row.get("dataset"),
        format: read_format(row)?,
        policy: Tolerances::policy(row),
        state: state(row)?,
        size_bytes: row.get("size_bytes"),
        sha256: row.get("sha256"),
        error: code.map(|code| (code, row.get::<_, Option<String>>("error_detail").unwrap_or_default())),
        multipart_upload_id: row.get("multipart_upload_id"),
        chunks: row.get("chunks"),
        chunks_staged: row.get("chunks_staged"),
        chunks_promoted: row.get("chunks_promoted"),
        chunks_failed: row.get("chunks_failed"),
        bytes_planned: row.get("bytes_planned"),
        bytes_staged: row.get("bytes_staged"),
        rows: RowCounts { staged, discarded, ..row_counts(row) },
        created_at: row.get("created_at"),
        uploaded_at: at("uploaded_at"),
        planned_at: at("planned_at"),
        staged_at: at("staged_at"),
        finished_at: at("finished_at"),
        last_activity,
        seen_at: row.get("seen_at"),
    })
}

fn row_counts(row: &Row) -> RowCounts {
    RowCounts {
        accepted: row.get("accepted"),
        inserted: row.get("inserted"),
        updated: row.get("updated"),
        unchanged: row.get("unchanged"),
        rejected: row.get("rejected"),
        staged: 0,
        discarded: 0,
        dangling: row.get("dangling"),
    }
}

/// A chunk that was given up.
#[derive(Debug)]
pub struct FailedChunk {
    /// Its file.
    pub file_id: Uuid,
    /// 0-based.
    pub chunk_index: i32,
    /// Why.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
}

/// The first `most` chunks that were given up, of each file of a session.
pub async fn failed_chunks(scope: &Scope<'_>, session: Uuid, most: i64) -> Result<Vec<FailedChunk>, Error> {
    let (name, sql) = sql!("failed_chunks");
    let with = [(&scope.tenant() as _, Type::UUID), (&session as _, Type::UUID), (&most as _, Type::INT8)];
    let text = |row: &Row, name| row.get::<_, Option<String>>(name).unwrap_or_default();
    let rows = scope.query(name, sql, &with).await?;
    Ok(rows
        .iter()
        .map(|row| FailedChunk {
            file_id: row.get("file_id"),
            chunk_index: row.get("chunk_index"),
            code: text(row, "error_code"),
            detail: text(row, "error_detail"),
        })
        .collect())
}

/// A session in a list.
#[derive(Debug)]
pub struct ListedSession {
    /// Its id.
    pub session_id: Uuid,
    /// What the client holds.
    pub upload_token: Uuid,
    /// How far it is.
    pub state: FileState,
    /// Whether nothing is promoted.
    pub dry_run: bool,
    /// When it was created.
    pub created_at: SystemTime,
    /// When anything of it changed last.
    pub last_activity: SystemTime,
    /// When it no longer waits for files.
    pub expires_at: SystemTime,
    /// How many files it has.
    pub files: i64,
    /// Their declared sizes together.
    pub size_bytes: i64,
    /// Their rows so far.
    pub rows: RowCounts,
    /// Their chunks.
    pub chunks: i64,
    /// Those promoted.
    pub chunks_promoted: i64,
    /// Those given up.
    pub chunks_failed: i64,
}

/// The states in which a file is stored: a bit of a set for each, in this order.
const STORED_STATES: [FileState; 9] = [
    FileState::AwaitingUpload,
    FileState::Uploaded,
    FileState::Loading,
    FileState::Promoting,
    FileState::Completed,
    FileState::CompletedWithErrors,
    FileState::Failed,
    FileState::Expired,
    FileState::Cancelled,
];

/// The state of a session whose files are in a set of states: after the bits of the states come one for expired and one
/// for cancelled. How many files are in a state makes no difference.
fn state_of_set(set: i32) -> FileState {
    let files = STORED_STATES.into_iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
    let (expired, cancelled) = (1 << STORED_STATES.len(), 2 << STORED_STATES.len());
    session_state(files.map(|(_, state)| state), set & expired != 0, set & cancelled != 0)
}

/// At most `most` sessions that were created before the session `before`, or of all where it is not given; the newest
/// first. With a `state` those in it.
pub async fn list_sessions(
    scope: &Scope<'_>,
    before: Option<Uuid>,
    state: Option<FileState>,
    most: i64,
) -> Result<Vec<ListedSession>, Error> {
    let names = STORED_STATES.map(FileState::as_str);
    let sets: Option<Vec<i32>> =
        state.map(|state| (0..4 << STORED_STATES.len()).filter(|set| state_of_set(*set) == state).collect());
    let (name, sql) = sql!("list_sessions");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&before.unwrap_or(Uuid::max()) as _, Type::UUID),
        (&most as _, Type::INT8),
        (&names.as_slice() as _, Type::TEXT_ARRAY),
        (&sets as _, Type::INT4_ARRAY),
    ];
    let rows = scope.query(name, sql, &with).await?;
    Ok(rows
        .iter()
        .map(|row| ListedSession {
            session_id: row.get("session_id"),
            upload_token: row.get("upload_token"),
            state: state_of_set(row.get("states")),
            dry_run: row.get("dry_run"),
            created_at: row.get("created_at"),
            last_activity: row.get("last_activity"),
            expires_at: row.get("expires_at"),
            files: row.get("files"),
            size_bytes: row.get("size_bytes"),
            rows: RowCounts { staged: row.get("staged"), discarded: row.get("discarded"), ..row_counts(row) },
            chunks: row.get("chunks"),
            chunks_promoted: row.get("chunks_promoted"),
            chunks_failed: row.get("chunks_failed"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_states_stands_for_the_session() {
        assert_eq!(state_of_set(0), FileState::AwaitingUpload, "it has no files");
        assert_eq!(state_of_set(1 << 9), FileState::Expired);
        assert_eq!(state_of_set(2 << 9), FileState::Cancelled);
        assert_eq!(state_of_set((1 << 4) | (1 << 2)), FileState::Loading);
        assert_eq!(state_of_set((1 << 4) | (1 << 2) | (2 << 9)), FileState::Cancelling);
        assert_eq!(state_of_set((1 << 4) | (1 << 5)), FileState::CompletedWithErrors);
    }
}
