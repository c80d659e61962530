//! `GET /api/v1/ingest/sessions/{upload_token}/status`: how far an upload is.
//!
//! With `Prefer: wait=N` (RFC 7240) the answer comes when the session has ended, or after N seconds.

use crate::app::App;
use crate::words;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_domain::failure::Failure;
use intake_domain::state::{FileState, session_state};
use intake_domain::tolerance::Tolerance;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, FailedChunk, FileStatus, Policy, RowCounts, Session};
use intake_postgres::webhooks::{self, WebhookStatus};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// When to ask again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The longest wait for an end, in seconds; API Gateway waits for 29.
const MAX_WAIT: u64 = 20;

/// How often the ledger is asked while a request waits.
const POLL: Duration = Duration::from_millis(250);

/// How many chunks of a file that were given up are shown.
const FAILED_CHUNKS: i64 = 100;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How far a session is.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionStatus, example = json!({
    "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
    "status": "completed",
    "state": "completed_with_errors",
    "dry_run": false,
    "total_chunks": 1,
    "completed_chunks": 1,
    "failed_chunks": 0,
    "total_rows": 2,
    "total_errors": 1,
    "created_at": "2026-01-31T03:04:05.678Z",
    "last_activity": "2026-01-31T03:04:06.912Z",
    "expires_at": "2026-02-07T03:04:05.678Z",
    "rows": {
        "accepted": 2, "promoted": 1, "inserted": 1, "updated": 0, "unchanged": 0, "rejected": 1, "staged": 0,
        "discarded": 0, "dangling_references": 0,
    },
    "rows_per_second": 2.041,
    "bytes": {"total": 162, "loaded": 162},
    "times": {
        "created_at": "2026-01-31T03:04:05.678Z",
        "uploaded_at": "2026-01-31T03:04:05.932Z",
        "planned_at": "2026-01-31T03:04:06.120Z",
        "staged_at": "2026-01-31T03:04:06.471Z",
        "finished_at": "2026-01-31T03:04:06.912Z",
    },
    "policy": {"max_rejects": null, "on_missing_reference": "accept"},
    "webhook": null,
    "files": [{
        "file_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
        "name": "customers.ndjson",
        "dataset": "customers",
        "format": {"layout": "ndjson", "compression": "none"},
        "state": "completed_with_errors",
        "size_bytes": 162,
        "loaded_bytes": 162,
        "bytes": {"total": 162, "loaded": 162},
        "chunks": {"total": 1, "staged": 1, "promoted": 1, "failed": 0},
        "failed_chunks": [],
        "rows": {
            "accepted": 2, "promoted": 1, "inserted": 1, "updated": 0, "unchanged": 0, "rejected": 1, "staged": 0,
            "discarded": 0, "dangling_references": 0,
        },
        "rows_per_second": 2.041,
        "policy": {"max_rejects": null, "on_missing_reference": "accept"},
        "error": null,
        "uploaded_at": "2026-01-31T03:04:05.932Z",
        "planned_at": "2026-01-31T03:04:06.120Z",
        "staged_at": "2026-01-31T03:04:06.471Z",
        "finished_at": "2026-01-31T03:04:06.912Z",
        "times": {
            "created_at": "2026-01-31T03:04:05.678Z",
            "uploaded_at": "2026-01-31T03:04:05.932Z",
            "planned_at": "2026-01-31T03:04:06.120Z",
            "staged_at": "2026-01-31T03:04:06.471Z",
            "finished_at": "2026-01-31T03:04:06.912Z",
        },
    }],
}))]
pub(super) struct Status {
    upload_id: Uuid,
    upload_token: Uuid,
    #[schema(value_type = words::Progress)]
    status: &'static str,
    #[schema(value_type = words::SessionState)]
    pub(super) state: FileState,
    /// Whether everything is done but the promotion.
    dry_run: bool,
    #[schema(minimum = 0)]
    total_chunks: i64,
    /// Chunks that are promoted.
    #[schema(minimum = 0)]
    completed_chunks: i64,
    #[schema(minimum = 0)]
    failed_chunks: i64,
    /// Rows that were read, whether they are good or not.
    #[schema(minimum = 0)]
    total_rows: i64,
    /// Rows that were refused.
    #[schema(minimum = 0)]
    total_errors: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_activity: String,
    /// When files must have arrived.
    #[schema(format = DateTime)]
    expires_at: String,
    rows: Rows,
    /// Rows that came to their end in a second; null before the first of them did.
    #[schema(required, minimum = 0)]
    rows_per_second: Option<f64>,
    bytes: Bytes,
    times: Times,
    policy: Limits,
    /// Null where the session has no `callback_url`, and before it has ended.
    #[schema(required)]
    webhook: Option<Webhook>,
    files: Vec<File>,
}

/// How far a file is.
#[derive(Serialize, ToSchema)]
#[schema(as = FileStatus)]
struct File {
    file_id: Uuid,
    name: String,
    #[schema(value_type = words::Dataset)]
    dataset: String,
    format: Format,
    #[schema(value_type = words::FileState)]
    state: FileState,
    #[schema(minimum = 0)]
    size_bytes: i64,
    #[schema(minimum = 0)]
    loaded_bytes: i64,
    bytes: Bytes,
    chunks: Chunks,
    /// Chunks that were given up; the first hundred.
    failed_chunks: Vec<Failed>,
    rows: Rows,
    /// Rows that came to their end in a second; null before the first of them did.
    #[schema(required, minimum = 0)]
    rows_per_second: Option<f64>,
    policy: Limits,
    /// Why it ended without all its rows being in; null where it did not.
    #[schema(required)]
    error: Option<Error>,
    #[schema(required, format = DateTime)]
    uploaded_at: Option<String>,
    #[schema(required, format = DateTime)]
    planned_at: Option<String>,
    #[schema(required, format = DateTime)]
    staged_at: Option<String>,
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
    times: Times,
}

/// What a file is made of.
#[derive(Serialize, ToSchema)]
struct Format {
    #[schema(value_type = words::Layout)]
    layout: &'static str,
    #[schema(value_type = words::Compression)]
    compression: &'static str,
}

/// How many chunks of a file are how far.
#[derive(Serialize, ToSchema)]
struct Chunks {
    #[schema(minimum = 0)]
    total: i64,
    #[schema(minimum = 0)]
    staged: i64,
    #[schema(minimum = 0)]
    promoted: i64,
    #[schema(minimum = 0)]
    failed: i64,
}

/// A chunk that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = FailedChunk)]
struct Failed {
    #[schema(minimum = 0)]
    chunk_index: i32,
    #[schema(value_type = words::FileErrorCode)]
    code: String,
    detail: String,
}

/// What became of rows; those accepted are promoted, rejected, staged or discarded.
#[derive(Serialize, ToSchema)]
#[schema(as = RowCounts)]
pub(super) struct Rows {
    /// Rows that were read.
    #[schema(minimum = 0)]
    accepted: i64,
    /// Rows that are in: inserted, updated or unchanged.
    #[schema(minimum = 0)]
    promoted: i64,
    #[schema(minimum = 0)]
    inserted: i64,
    #[schema(minimum = 0)]
    updated: i64,
    #[schema(minimum = 0)]
    unchanged: i64,
    /// Rows that were refused; `GET …/rejects` has them all.
    #[schema(minimum = 0)]
    rejected: i64,
    /// Rows that wait to be promoted.
    #[schema(minimum = 0)]
    staged: i64,
    /// Good rows that do not go in, because their file does not.
    #[schema(minimum = 0)]
    discarded: i64,
    /// Rows that refer to one that is not there, and were taken nevertheless.
    #[schema(minimum = 0)]
    dangling_references: i64,
}

/// How much of a file as it was uploaded has been read.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = ByteCounts)]
struct Bytes {
    #[schema(minimum = 0)]
    total: i64,
    #[schema(minimum = 0)]
    loaded: i64,
}

/// When a file got how far; of a session, when all its files had.
#[derive(Serialize, ToSchema)]
struct Times {
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    uploaded_at: Option<String>,
    #[schema(required, format = DateTime)]
    planned_at: Option<String>,
    #[schema(required, format = DateTime)]
    staged_at: Option<String>,
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
}

/// A policy as a request would ask for it.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
struct Limits {
    /// Null where any number may be rejected.
    #[schema(required, value_type = Option<words::MaxRejects>)]
    max_rejects: Option<MaxRejects>,
    #[schema(value_type = words::OnMissingReference)]
    on_missing_reference: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MaxRejects {
    Count(u64),
    Share(String),
}

/// Why a file ended without all its rows being in.
#[derive(Serialize, ToSchema)]
#[schema(as = FileError)]
struct Error {
    #[schema(value_type = words::FileErrorCode)]
    code: String,
    detail: String,
    /// Whether `resume` lets the file go on.
    resumable: bool,
}

/// The call to the session's `callback_url`.
#[derive(Serialize, ToSchema)]
struct Webhook {
    webhook_id: Uuid,
    #[schema(format = "uri")]
    url: String,
    #[schema(value_type = words::WebhookState)]
    state: String,
    attempts: Vec<Attempt>,
    #[schema(required, format = DateTime)]
    next_attempt_at: Option<String>,
}

/// One try of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct Attempt {
    #[schema(minimum = 1)]
    attempt: i32,
    #[schema(format = DateTime)]
    attempted_at: String,
    /// The status of the answer; null where there was none.
    #[schema(required)]
    status: Option<u16>,
    #[schema(required)]
    error: Option<String>,
    #[schema(minimum = 0)]
    elapsed_ms: i32,
}

impl From<RowCounts> for Rows {
    fn from(rows: RowCounts) -> Self {
        Self {
            accepted: rows.accepted,
            promoted: rows.promoted(),
            inserted: rows.inserted,
            updated: rows.updated,
            unchanged: rows.unchanged,
            rejected: rows.rejected,
            staged: rows.staged,
            discarded: rows.discarded,
            dangling_references: rows.dangling,
        }
    }
}

impl From<Policy> for Limits {
    fn from(policy: Policy) -> Self {
        Self {
            max_rejects: match policy.tolerance {
                Tolerance::Any => None,
                Tolerance::Count(most) => Some(MaxRejects::Count(most)),
                share @ Tolerance::BasisPoints(_) => Some(MaxRejects::Share(share.to_string())),
            },
            on_missing_reference: if policy.reject_missing_references { "reject" } else { "accept" },
        }
    }
}

impl From<WebhookStatus> for Webhook {
    fn from(webhook: WebhookStatus) -> Self {
        let attempts = webhook.attempts.into_iter().map(|logged| Attempt {
            attempt: logged.attempt.attempt,
            attempted_at: rfc3339(logged.attempted_at),
            status: logged.attempt.status,
            error: logged.attempt.error,
            elapsed_ms: logged.attempt.elapsed_ms,
        });
        Self {
            webhook_id: webhook.webhook_id,
            url: webhook.url,
            state: webhook.state,
            attempts: attempts.collect(),
            next_attempt_at: webhook.next_attempt_at.map(rfc3339),
        }
    }
}

/// How far an upload is
///
/// `Retry-After` says when to ask again, until the session has ended.
#[utoipa::path(
    get,
    path = "/api/v1/ingest/sessions/{upload_token}/status",
    operation_id = "session_status",
    tag = "Uploads",
    params(
        ("upload_token" = Uuid, Path, description = words::UPLOAD_TOKEN),
        (
            "Prefer" = Option<String>,
            Header,
            nullable = false,
            description = "`wait=N` (RFC 7240): answer once the session has ended, or after N seconds, at most 20.",
            example = "wait=20",
        ),
    ),
    responses((
        status = 200,
        description = "How far the session and its files are.",
        body = Status,
        headers(
            ("Retry-After" = u32, description = "When to ask again, in seconds; absent once the session has ended."),
            ("Preference-Applied" = String, description = "The preference that was followed: `wait=N`."),
        ),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = app.session(tenant, &token).await?;
    let Some(wait) = preferred_wait(&headers) else {
        return Ok(answer(StatusCode::OK, read(&app, tenant, &session).await?));
    };
    let status = wait_for_end(&app, tenant, &token, session, Duration::from_secs(wait)).await?;
    let mut response = answer(StatusCode::OK, status);
    if let Ok(applied) = HeaderValue::from_str(&format!("wait={wait}")) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// The status as an answer.
pub(super) fn answer(code: StatusCode, status: Status) -> Response {
    let is_terminal = status.state.is_terminal();
    let mut response = (code, Json(status)).into_response();
    if !is_terminal {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The seconds that a client is ready to wait, as far as we are.
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    let mut waits = preferences.flat_map(|value| value.split([',', ';'])).filter_map(|preference| {
        let (name, seconds) = preference.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse::<u64>().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then_some(seconds)
    });
    waits.next().filter(|seconds| *seconds >= 1).map(|seconds| seconds.min(MAX_WAIT))
}

/// The status once the session has ended, or `wait` is over. No transaction is held meanwhile.
async fn wait_for_end(
    app: &App,
    tenant: Uuid,
    token: &str,
    mut session: Session,
    wait: Duration,
) -> Result<Status, Problem> {
    let until = Instant::now() + wait;
    loop {
        let scope = app.database.begin(tenant).await?;
        let is_open = !ledger::open_files(&scope, session.session_id).await?.is_empty();
        scope.commit().await?;
        let left = until.saturating_duration_since(Instant::now());
        if !is_open || left.is_zero() {
            let status = read(app, tenant, &session).await?;
            if status.state.is_terminal() || left.is_zero() {
                return Ok(status);
            }
        }
        tokio::time::sleep(POLL.min(left)).await;
        // somebody may have cancelled it, or its time may be over
        session = app.session(tenant, token).await?;
    }
}

/// The status of a session as it is now.
pub(super) async fn read(app: &App, tenant: Uuid, session: &Session) -> Result<Status, Problem> {
    let scope = app.database.begin(tenant).await?;
    let files = ledger::files_of_session(&scope, session.session_id).await?;
    let failed = if files.iter().any(|file| file.chunks_failed > 0) {
        ledger::failed_chunks(&scope, session.session_id, FAILED_CHUNKS).await?
    } else {
        Vec::new()
    };
    let webhook = match &session.callback_url {
        Some(_) => webhooks::of_session(&scope, session.session_id).await?,
        None => None,
    };
    scope.commit().await?;
    Ok(describe(session, files, failed, webhook))
}

fn describe(
    session: &Session,
    files: Vec<FileStatus>,
    failed: Vec<FailedChunk>,
    webhook: Option<WebhookStatus>,
) -> Status {
    let state = session_state(files.iter().map(|file| file.state), session.has_expired, session.is_cancelled);
    let sum = |of: fn(&FileStatus) -> i64| files.iter().map(of).sum::<i64>();
    let rows: RowCounts = files.iter().map(|file| file.rows).sum();
    let last_activity = files.iter().map(|file| file.last_activity).fold(session.created_at, SystemTime::max);
    // when the last of them was, if all of them were
    let all = |of: fn(&FileStatus) -> Option<SystemTime>| {
        files.iter().map(of).collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max())
    };
    let first_upload = files.iter().filter_map(|file| file.uploaded_at).min();
    let (seen_at, finished_at) = (files.iter().map(|file| file.seen_at).max(), all(|file| file.finished_at));
    let bytes: Vec<_> = files.iter().map(bytes_of).collect();
    let mut failed_by_file: HashMap<Uuid, Vec<FailedChunk>> = HashMap::new();
    for chunk in failed {
        failed_by_file.entry(chunk.file_id).or_default().push(chunk);
    }
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
        rows_per_second: rows_per_second(&rows, first_upload, finished_at.or(seen_at)),
        rows: rows.into(),
        bytes: Bytes {
            total: bytes.iter().map(|bytes| bytes.total).sum(),
            loaded: bytes.iter().map(|bytes| bytes.loaded).sum(),
        },
        times: Times {
            created_at: rfc3339(session.created_at),
            uploaded_at: all(|file| file.uploaded_at).map(rfc3339),
            planned_at: all(|file| file.planned_at).map(rfc3339),
            staged_at: all(|file| file.staged_at).map(rfc3339),
            finished_at: finished_at.map(rfc3339),
        },
        policy: session.policy.into(),
        webhook: webhook.map(Webhook::from),
        files: files
            .into_iter()
            .map(|file| {
                let failed = failed_by_file.remove(&file.file_id).unwrap_or_default();
                describe_file(session, file, failed)
            })
            .collect(),
    }
}

fn describe_file(session: &Session, file: FileStatus, failed: Vec<FailedChunk>) -> File {
    let is_cancelling = session.is_cancelled && !file.state.is_terminal();
    let bytes = bytes_of(&file);
    let [uploaded_at, planned_at, staged_at, finished_at] =
        [file.uploaded_at, file.planned_at, file.staged_at, file.finished_at].map(|at| at.map(rfc3339));
    File {
        file_id: file.file_id,
        name: file.name,
        dataset: file.dataset,
        format: Format { layout: file.format.layout.as_str(), compression: file.format.compression.as_str() },
        state: if is_cancelling { FileState::Cancelling } else { file.state },
        size_bytes: file.size_bytes,
        loaded_bytes: bytes.loaded,
        bytes,
        chunks: Chunks {
            total: file.chunks,
            staged: file.chunks_staged,
            promoted: file.chunks_promoted,
            failed: file.chunks_failed,
        },
        failed_chunks: failed
            .into_iter()
            .map(|FailedChunk { chunk_index, code, detail, .. }| Failed { chunk_index, code, detail })
            .collect(),
        rows_per_second: rows_per_second(&file.rows, file.uploaded_at, file.finished_at.or(Some(file.seen_at))),
        rows: file.rows.into(),
        policy: file.policy.into(),
        error: file.error.map(|(code, detail)| {
            let may_go_on = !session.is_cancelled && !session.has_expired;
            Error { resumable: may_go_on && Failure::parse(&code).is_some_and(Failure::is_resumable), code, detail }
        }),
        times: Times {
            created_at: rfc3339(file.created_at),
            uploaded_at: uploaded_at.clone(),
            planned_at: planned_at.clone(),
            staged_at: staged_at.clone(),
            finished_at: finished_at.clone(),
        },
        uploaded_at,
        planned_at,
        staged_at,
        finished_at,
    }
}

/// How much of a file is read, in bytes as they were uploaded: chunks are counted in bytes as they are unpacked.
fn bytes_of(file: &FileStatus) -> Bytes {
    let total = file.size_bytes;
    let loaded = match (file.bytes_planned, file.staged_at) {
        (0, None) => 0,
        (0, Some(_)) => total,
        (planned, _) => (i128::from(total) * i128::from(file.bytes_staged) / i128::from(planned)) as i64,
    };
    Bytes { total, loaded }
}

/// How many rows came to their end in a second, from the first upload on; `None` before the first of them did.
fn rows_per_second(rows: &RowCounts, from: Option<SystemTime>, to: Option<SystemTime>) -> Option<f64> {
    let done = rows.promoted() + rows.rejected;
    let elapsed = to?.duration_since(from?).ok()?.as_secs_f64();
    (done > 0 && elapsed > 0.0).then(|| (done as f64 / elapsed * 1e3).round() / 1e3)
}
