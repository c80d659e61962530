//! `GET /api/v1/ingest/sessions/{upload_token}/status`: how far an upload is.

use crate::app::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use intake_domain::state::{FileState, session_state};
use intake_lambda::Problem;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, FileStatus, RowCounts, Session};
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// When to ask again, in seconds.
const RETRY_AFTER: &str = "1";

#[derive(Serialize)]
struct Status {
    upload_id: Uuid,
    upload_token: Uuid,
    /// One of the predecessor's four words.
    status: &'static str,
    state: FileState,
    dry_run: bool,
    total_chunks: i64,
    completed_chunks: i64,
    failed_chunks: i64,
    total_rows: i64,
    total_errors: i64,
    created_at: String,
    last_activity: String,
    expires_at: String,
    rows: Rows,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    file_id: Uuid,
    name: String,
    dataset: String,
    state: FileState,
    size_bytes: i64,
    loaded_bytes: i64,
    chunks: Chunks,
    rows: Rows,
    error: Option<Error>,
    uploaded_at: Option<String>,
    planned_at: Option<String>,
    staged_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Serialize)]
struct Chunks {
    total: i64,
    staged: i64,
    promoted: i64,
    failed: i64,
}

#[derive(Serialize)]
struct Rows {
    accepted: i64,
    promoted: i64,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    rejected: i64,
}

#[derive(Serialize)]
struct Error {
    code: String,
    detail: String,
}

impl From<RowCounts> for Rows {
    fn from(rows: RowCounts) -> Self {
        let RowCounts { accepted, inserted, updated, unchanged, rejected } = rows;
        Self { accepted, promoted: inserted + updated + unchanged, inserted, updated, unchanged, rejected }
    }
}

pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = app.tenant(&headers).await?;
    let session = app.session(tenant, &token).await?;
    let scope = app.database.begin(tenant).await?;
    let files = ledger::files_of_session(&scope, session.session_id).await?;
    scope.commit().await?;
    let status = describe(&session, files);
    let wait = (!status.state.is_terminal()).then_some((header::RETRY_AFTER, RETRY_AFTER));
    Ok((AppendHeaders::<Option<(HeaderName, &str)>>(wait), Json(status)).into_response())
}

fn describe(session: &Session, files: Vec<FileStatus>) -> Status {
    let state = session_state(files.iter().map(|file| file.state), session.has_expired);
    let sum = |of: fn(&FileStatus) -> i64| files.iter().map(of).sum::<i64>();
    let rows = RowCounts {
        accepted: sum(|file| file.rows.accepted),
        inserted: sum(|file| file.rows.inserted),
        updated: sum(|file| file.rows.updated),
        unchanged: sum(|file| file.rows.unchanged),
        rejected: sum(|file| file.rows.rejected),
    };
    let last_activity = files.iter().map(|file| file.last_activity).fold(session.created_at, SystemTime::max);
    Status {
        upload_id: session.session_id,
        upload_token: session.upload_token,
        status: state.legacy(),
        state,
        dry_run: session.dry_run,
        total_chunks: sum(|file| file.chunks),
        completed_chunks: sum(|file| file.chunks_promoted),
        failed_chunks: sum(|file| file.chunks_failed),
        total_rows: rows.accepted,
        total_errors: rows.rejected,
        created_at: rfc3339(session.created_at),
        last_activity: rfc3339(last_activity),
        expires_at: rfc3339(session.expires_at),
        rows: rows.into(),
        files: files.into_iter().map(describe_file).collect(),
    }
}

fn describe_file(file: FileStatus) -> File {
    File {
        file_id: file.file_id,
        name: file.name,
        dataset: file.dataset,
        state: file.state,
        size_bytes: file.size_bytes,
        loaded_bytes: file.bytes_staged,
        chunks: Chunks {
            total: file.chunks,
            staged: file.chunks_staged,
            promoted: file.chunks_promoted,
            failed: file.chunks_failed,
        },
        rows: file.rows.into(),
        error: file.error.map(|(code, detail)| Error { code, detail }),
        uploaded_at: file.uploaded_at.map(rfc3339),
        planned_at: file.planned_at.map(rfc3339),
        staged_at: file.staged_at.map(rfc3339),
        finished_at: file.finished_at.map(rfc3339),
    }
}
