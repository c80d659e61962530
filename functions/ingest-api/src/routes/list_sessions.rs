//! `GET /api/v1/ingest/sessions`: the tenant's sessions, newest first, in pages.

use super::status::Rows;
use crate::app::App;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use intake_domain::state::FileState;
use intake_lambda::Problem;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, ListedSession};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    limit: Option<i64>,
    cursor: Option<String>,
    state: Option<String>,
}

/// A page.
#[derive(Serialize)]
pub(crate) struct Listed {
    sessions: Vec<Session>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Session {
    upload_token: Uuid,
    upload_id: Uuid,
    /// One of the predecessor's four words.
    status: &'static str,
    state: FileState,
    dry_run: bool,
    created_at: String,
    last_activity: String,
    expires_at: String,
    files: i64,
    size_bytes: i64,
    rows: Rows,
    total_chunks: i64,
    completed_chunks: i64,
    failed_chunks: i64,
    total_rows: i64,
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

pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Listed>, Problem> {
    let tenant = app.tenant(&headers).await?;
    let bad = |code, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let Query(parameters) = parameters.map_err(|error| bad("INVALID_QUERY", error.body_text()))?;
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad("INVALID_LIMIT", format!("limit must be from 1 to {MAX_LIMIT}")));
    }
    // a cursor names the last session of its page
    let before = match parameters.cursor.as_deref().map(Uuid::try_parse) {
        None => None,
        Some(Ok(session)) => Some(session),
        Some(Err(_)) => return Err(bad("INVALID_CURSOR", "the cursor is none of ours".to_owned())),
    };
    let state = match parameters.state.as_deref() {
        None => None,
        Some(text) => {
            let known = FileState::parse(text).filter(|state| STATES.contains(state));
            let list = || STATES.map(FileState::as_str).join(", ");
            Some(known.ok_or_else(|| bad("INVALID_STATE", format!("state must be one of {}", list())))?)
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
