//! `GET /api/v1/ingest/sessions`: the tenant's sessions, newest first, in pages.

use super::status::Rows;
use crate::app::App;
use crate::words;
use axum::Json;
use axum::extract::State;
use intake_domain::state::FileState;
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::FieldCode;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, ListedSession};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many sessions a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 200;
const DEFAULT_LIMIT: i64 = 50;

/// The states that a session can have.
const STATES: [FileState; 9] = [
    FileState::AwaitingUpload,
    FileState::Loading,
    FileState::Promoting,
    FileState::Completed,
    FileState::CompletedWithErrors,
    FileState::Failed,
    FileState::Expired,
    FileState::Cancelling,
    FileState::Cancelled,
];

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many sessions a page has at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{32}$", nullable = false)]
    cursor: Option<String>,
    /// Only sessions in this state.
    #[param(value_type = Option<words::SessionState>, nullable = false)]
    state: Option<String>,
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionPage, example = json!({
    "sessions": [{
        "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
        "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
        "status": "completed",
        "state": "completed_with_errors",
        "dry_run": false,
        "created_at": "2026-01-31T03:04:05.678Z",
        "last_activity": "2026-01-31T03:04:06.912Z",
        "expires_at": "2026-02-07T03:04:05.678Z",
        "files": 1,
        "size_bytes": 162,
        "rows": {
            "accepted": 2, "promoted": 1, "inserted": 1, "updated": 0, "unchanged": 0, "rejected": 1, "staged": 0,
            "discarded": 0, "dangling_references": 0,
        },
        "total_chunks": 1,
        "completed_chunks": 1,
        "failed_chunks": 0,
        "total_rows": 2,
        "total_errors": 1,
    }],
    "next_cursor": "01980f1e5d6c7b3a9d510d4b2c1f7a01",
}))]
pub(crate) struct Listed {
    sessions: Vec<Session>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A session in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionSummary)]
struct Session {
    upload_token: Uuid,
    upload_id: Uuid,
    #[schema(value_type = words::Progress)]
    status: &'static str,
    #[schema(value_type = words::SessionState)]
    state: FileState,
    dry_run: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_activity: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// How many files it has.
    #[schema(minimum = 0)]
    files: i64,
    #[schema(minimum = 0)]
    size_bytes: i64,
    rows: Rows,
    #[schema(minimum = 0)]
    total_chunks: i64,
    #[schema(minimum = 0)]
    completed_chunks: i64,
    #[schema(minimum = 0)]
    failed_chunks: i64,
    #[schema(minimum = 0)]
    total_rows: i64,
    #[schema(minimum = 0)]
    total_errors: i64,
}

impl From<ListedSession> for Session {
    fn from(session: ListedSession) -> Self {
        Self {
            upload_token: session.upload_token,
            upload_id: session.session_id,
            status: session.state.legacy(),
            state: session.state,
            dry_run: session.dry_run,
            created_at: rfc3339(session.created_at),
            last_activity: rfc3339(session.last_activity),
            expires_at: rfc3339(session.expires_at),
            files: session.files,
            size_bytes: session.size_bytes,
            total_chunks: session.chunks,
            completed_chunks: session.chunks_promoted,
            failed_chunks: session.chunks_failed,
            total_rows: session.rows.accepted,
            total_errors: session.rows.rejected,
            rows: session.rows.into(),
        }
    }
}

/// All sessions, newest first
#[utoipa::path(
    get,
    path = "/api/v1/ingest/sessions",
    operation_id = "list_sessions",
    tag = "Uploads",
    params(Parameters),
    responses((status = 200, description = "A page of sessions.", body = Listed))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Listed>, Problem> {
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::query("limit", FieldCode::InvalidLimit, format!("must be from 1 to {MAX_LIMIT}")));
    }
    // a cursor names the last session of its page
    let before = match parameters.cursor.as_deref().map(Uuid::try_parse) {
        None => None,
        Some(Ok(session)) => Some(session),
        Some(Err(_)) => return Err(Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours")),
    };
    let state = match parameters.state.as_deref() {
        None => None,
        Some(text) => {
            let known = FileState::parse(text).filter(|state| STATES.contains(state));
            let detail = || format!("must be one of {}", STATES.map(FileState::as_str).join(", "));
            Some(known.ok_or_else(|| Problem::query("state", FieldCode::InvalidState, detail()))?)
        }
    };
    // one more tells whether there is another page
    let scope = app.database.begin(tenant).await?;
    let mut sessions = ledger::list_sessions(&scope, before, state, limit + 1).await?;
    scope.commit().await?;
    let is_last = sessions.len() as i64 <= limit;
    sessions.truncate(limit as usize);
    let last = sessions.last().filter(|_| !is_last);
    let next_cursor = last.map(|session| session.session_id.simple().to_string());
    Ok(Json(Listed { sessions: sessions.into_iter().map(Session::from).collect(), next_cursor }))
}
