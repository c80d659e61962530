//! Files as the workers see them.

use super::{Policy, Tolerances, dataset, read_format, sql, state, trace};
use crate::Error;
use crate::database::{Parameter, Scope};
use intake_domain::Dataset;
use intake_domain::chunk::ChunkRange;
use intake_domain::failure::Failure;
use intake_domain::format::Format;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_domain::trace::TraceId;
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// A file as the workers see it.
#[derive(Clone, Debug)]
pub struct File {
    /// Names its object; the tenant is the ledger's.
    pub key: FileKey,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// What it is made of.
    pub format: Format,
    /// The first record of a CSV file, once it is planned.
    pub csv_header: Option<String>,
    /// Whether its unpacked chunks are named by their bytes, once it is planned.
    pub has_ranged_pieces: bool,
    /// Its declared size.
    pub size_bytes: u64,
    /// Its declared checksum.
    pub sha256: Option<Vec<u8>>,
    /// How far it is.
    pub state: FileState,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The id of its multipart upload, where it has one.
    pub multipart_upload_id: Option<String>,
    /// The version of its object that all work is fenced on.
    pub object_etag: Option<String>,
    /// When its object arrived.
    pub uploaded_at: Option<SystemTime>,
    /// What becomes of it when rows of it are bad.
    pub policy: Policy,
    /// Whether nothing is promoted.
    pub dry_run: bool,
    /// Whether somebody asked for the end of its session.
    pub is_cancelled: bool,
    /// The trace of its session.
    pub trace: Option<TraceId>,
}

impl File {
    /// The key of the object that has one chunk's bytes, where the file was unpacked.
    #[must_use]
    pub fn piece(&self, index: i32, range: ChunkRange) -> String {
        if self.has_ranged_pieces { self.key.piece(range) } else { self.key.numbered_piece(index) }
    }
}

pub(super) fn read_file(scope: &Scope<'_>, row: &Row) -> Result<File, Error> {
    Ok(File {
        key: FileKey { tenant_id: scope.tenant(), session_id: row.get("session_id"), file_id: row.get("file_id") },
        dataset: dataset(row)?,
        format: read_format(row)?,
        csv_header: row.get("csv_header"),
        has_ranged_pieces: row.get("has_ranged_pieces"),
        size_bytes: u64::try_from(row.get::<_, i64>("size_bytes")).unwrap_or_default(),
        sha256: row.get("sha256"),
        state: state(row)?,
        failure: row.get::<_, Option<&str>>("error_code").and_then(Failure::parse),
        multipart_upload_id: row.get("multipart_upload_id"),
        object_etag: row.get("object_etag"),
        uploaded_at: row.get("uploaded_at"),
        policy: Tolerances::policy(row),
        dry_run: row.get("dry_run"),
        is_cancelled: row.get("is_cancelled"),
        trace: trace(row),
    })
}

/// A file.
pub async fn file(scope: &Scope<'_>, file: Uuid) -> Result<Option<File>, Error> {
    let (name, sql) = sql!("file");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    row.map(|row| read_file(scope, &row)).transpose()
}

/// Holds a file until the transaction ends, and says how far it is.
pub(super) async fn lock_file(scope: &Scope<'_>, file: Uuid) -> Result<Option<FileState>, Error> {
    let (name, sql) = sql!("lock_file");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    row.as_ref().map(state).transpose()
}

/// Notes that a file's object is there, in this version; `false` when that was noted before.
pub async fn arrive(scope: &Scope<'_>, file: Uuid, etag: &str) -> Result<bool, Error> {
    let (name, sql) = sql!("arrive");
    let with = [(&scope.tenant() as _, Type::UUID), (&file as _, Type::UUID), (&etag as _, Type::TEXT)];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Holds a file for this transaction, so that nobody ends it meanwhile; `false` when it is no longer being promoted, or
/// somebody asked for its end.
pub async fn hold_file(scope: &Scope<'_>, file: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("hold_file");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await?;
    Ok(row.is_some())
}

/// Ends a file all of whose chunks are promoted; `false` when they are not, or it has ended before.
pub async fn finish_file(scope: &Scope<'_>, file: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("finish_file");
    Ok(scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&file, Type::UUID)]).await? == 1)
}

/// Ends a file that cannot go on; one that has ended stays as it is.
pub async fn fail_file(scope: &Scope<'_>, file: Uuid, failure: Failure, detail: &str) -> Result<(), Error> {
    let (name, sql) = sql!("fail_file");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&file as _, Type::UUID),
        (&failure.as_str() as _, Type::TEXT),
        (&detail as _, Type::TEXT),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(())
}

/// Ends a file whose object was to be put by whoever declared it and could not be; `false` when it is known to have arrived, or has
/// ended. The file is held until the transaction ends.
pub async fn give_up_awaited(scope: &Scope<'_>, file: Uuid, detail: &str) -> Result<bool, Error> {
    let (name, sql) = sql!("give_up_awaited");
    let code = Failure::NeverArrived.as_str();
    let with: [Parameter<'_>; 4] =
        [(&scope.tenant(), Type::UUID), (&file, Type::UUID), (&code, Type::TEXT), (&detail, Type::TEXT)];
    Ok(scope.execute(name, sql, &with).await? == 1)
}

/// Whether a file was given up, as [`give_up_awaited`] does. Whoever is about to do that is waited for.
pub async fn is_given_up(scope: &Scope<'_>, file: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("is_given_up");
    let code = Failure::NeverArrived.as_str();
    let with: [Parameter<'_>; 3] = [(&scope.tenant(), Type::UUID), (&file, Type::UUID), (&code, Type::TEXT)];
    Ok(scope.query_opt(name, sql, &with).await?.is_some_and(|row| row.get(0)))
}

/// A file whose work has stood still.
pub struct StalledFile {
    /// Names its object.
    pub key: FileKey,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// How far it is.
    pub state: FileState,
    /// Whether it is not tried again, since its session has expired and nothing of it gets on.
    pub is_over: bool,
}

/// Files whose work has stood still for two hours, longer than any message stays hidden.
pub async fn stalled_files(scope: &Scope<'_>) -> Result<Vec<StalledFile>, Error> {
    let (name, sql) = sql!("stalled_files");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    rows.iter()
        .map(|row| {
            let (session_id, file_id) = (row.get("session_id"), row.get("file_id"));
            let key = FileKey { tenant_id: scope.tenant(), session_id, file_id };
            Ok(StalledFile { key, dataset: dataset(row)?, state: state(row)?, is_over: row.get("is_over") })
        })
        .collect()
}
