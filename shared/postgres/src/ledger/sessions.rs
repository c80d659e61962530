//! Upload sessions, and whose turn it is in them.

use super::{Tolerances, dataset, sql, state};
use crate::Error;
use crate::database::Scope;
use intake_domain::Dataset;
use intake_domain::format::Format;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_domain::tolerance::Tolerance;
use intake_domain::trace::TraceId;
use std::time::SystemTime;
use tokio_postgres::types::Type;
use uuid::Uuid;

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
    /// Where to say that it has ended.
    pub callback_url: Option<&'a str>,
    /// What holds for its files.
    pub policy: Policy,
    /// The trace of all that it brings about.
    pub trace: Option<TraceId>,
}

/// What becomes of a file with bad rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many rejects it may have.
    pub tolerance: Tolerance,
    /// Whether a row that refers to one that is not there is refused.
    pub reject_missing_references: bool,
}

/// A file to declare.
pub struct NewFile {
    /// Its id, time-ordered.
    pub file_id: Uuid,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// As the client names it.
    pub name: String,
    /// What it is made of.
    pub format: Format,
    /// Its exact size.
    pub size_bytes: i64,
    /// Its checksum, where declared.
    pub sha256: Option<Vec<u8>>,
    /// The id of its multipart upload, where it has one.
    pub multipart_upload_id: Option<String>,
    /// What becomes of it when rows of it are bad.
    pub policy: Policy,
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
    /// Where to say that it has ended.
    pub callback_url: Option<String>,
    /// What holds for files that name nothing else.
    pub policy: Policy,
    /// When it was created.
    pub created_at: SystemTime,
    /// When it no longer waits for files.
    pub expires_at: SystemTime,
    /// Whether that has passed, by the database's clock.
    pub has_expired: bool,
    /// Whether somebody asked for its end.
    pub is_cancelled: bool,
}

/// Creates a session and returns when it expires.
pub async fn create_session(
    scope: &Scope<'_>,
    session: &NewSession<'_>,
    files: &[NewFile],
) -> Result<SystemTime, Error> {
    let (max_rejects, basis_points) = Tolerances::split(session.policy.tolerance);
    let (name, sql) = sql!("insert_session");
    let row = scope
        .query_opt(
            name,
            sql,
            &[
                (&session.session_id, Type::UUID),
                (&scope.tenant(), Type::UUID),
                (&session.upload_token, Type::UUID),
                (&session.manifest, Type::TEXT),
                (&session.dry_run, Type::BOOL),
                (&session.callback_url, Type::TEXT),
                (&max_rejects, Type::INT8),
                (&basis_points, Type::INT4),
                (&session.policy.reject_missing_references, Type::BOOL),
                (&session.trace.map(|trace| trace.to_string()), Type::VARCHAR),
            ],
        )
        .await?
        .ok_or(Error::Corrupt("an insert without its row"))?;
    add_files(scope, session.session_id, files).await?;
    Ok(row.get(0))
}

/// Adds files to a session, in their order, after those that it has.
pub async fn add_files(scope: &Scope<'_>, session: Uuid, files: &[NewFile]) -> Result<(), Error> {
    let column = |of: fn(&NewFile) -> String| files.iter().map(of).collect::<Vec<_>>();
    let ids: Vec<_> = files.iter().map(|file| file.file_id).collect();
    let ranks: Vec<_> = files.iter().map(|file| file.dataset.rank()).collect();
    let datasets = column(|file| file.dataset.name.to_owned());
    let names = column(|file| file.name.clone());
    let sizes: Vec<_> = files.iter().map(|file| file.size_bytes).collect();
    let checksums: Vec<_> = files.iter().map(|file| file.sha256.as_deref()).collect();
    let uploads: Vec<_> = files.iter().map(|file| file.multipart_upload_id.as_deref()).collect();
    let layouts = column(|file| file.format.layout.as_str().to_owned());
    let compressions = column(|file| file.format.compression.as_str().to_owned());
    let (counts, shares): (Vec<_>, Vec<_>) = files.iter().map(|file| Tolerances::split(file.policy.tolerance)).unzip();
    let strict: Vec<_> = files.iter().map(|file| file.policy.reject_missing_references).collect();
    let (name, sql) = sql!("insert_files");
    scope
        .execute(
            name,
            sql,
            &[
                (&scope.tenant(), Type::UUID),
                (&session, Type::UUID),
                (&ids, Type::UUID_ARRAY),
                (&ranks, Type::INT2_ARRAY),
                (&datasets, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&sizes, Type::INT8_ARRAY),
                (&checksums, Type::BYTEA_ARRAY),
                (&uploads, Type::TEXT_ARRAY),
                (&layouts, Type::TEXT_ARRAY),
                (&compressions, Type::TEXT_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&shares, Type::INT4_ARRAY),
                (&strict, Type::BOOL_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// The session of a token.
pub async fn session_by_token(scope: &Scope<'_>, upload_token: Uuid) -> Result<Option<Session>, Error> {
    let (name, sql) = sql!("session_by_token");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&upload_token, Type::UUID)]).await?;
    Ok(row.map(|row| Session {
        session_id: row.get("session_id"),
        upload_token: row.get("upload_token"),
        dry_run: row.get("dry_run"),
        callback_url: row.get("callback_url"),
        policy: Tolerances::policy(&row),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        has_expired: row.get("has_expired"),
        is_cancelled: row.get("is_cancelled"),
    }))
}

/// A file that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct OpenFile {
    /// Its id.
    pub file_id: Uuid,
    /// What its rows are.
    pub dataset: &'static Dataset,
    /// How far it is.
    pub state: FileState,
}

/// The files of a session that have not ended, in their turn.
pub async fn open_files(scope: &Scope<'_>, session: Uuid) -> Result<Vec<OpenFile>, Error> {
    let (name, sql) = sql!("open_files_of_session");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    rows.iter()
        .map(|row| Ok(OpenFile { file_id: row.get("file_id"), dataset: dataset(row)?, state: state(row)? }))
        .collect()
}

/// Ends the files of a session whose end somebody asked for, once no slice of them is being promoted.
pub async fn end_cancelled(scope: &Scope<'_>, session: Uuid) -> Result<(), Error> {
    let (name, sql) = sql!("end_cancelled");
    scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    Ok(())
}

/// A file that was declared and never arrived.
#[derive(Clone, Debug)]
pub struct ExpiredFile {
    /// Names its object.
    pub key: FileKey,
    /// The id of its multipart upload, where it has one: parts of it may have arrived.
    pub multipart_upload_id: Option<String>,
}

/// Ends the files of expired sessions that never arrived.
pub async fn expire_files(scope: &Scope<'_>) -> Result<Vec<ExpiredFile>, Error> {
    let (name, sql) = sql!("expire_files");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    let tenant_id = scope.tenant();
    let expired = rows.iter().map(|row| ExpiredFile {
        key: FileKey { tenant_id, session_id: row.get("session_id"), file_id: row.get("file_id") },
        multipart_upload_id: row.get("multipart_upload_id"),
    });
    Ok(expired.collect())
}

/// Sessions of which a file never arrived, and that are still open.
pub async fn half_expired_sessions(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("half_expired_sessions");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("session_id")).collect())
}

/// Sessions whose end somebody asked for a minute ago or longer, and that are still open.
pub async fn half_cancelled_sessions(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("half_cancelled_sessions");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("session_id")).collect())
}
