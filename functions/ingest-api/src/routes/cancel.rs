//! `POST /api/v1/ingest/sessions/{upload_token}/cancel`: the end of a session before it ends by itself.
//!
//! What is promoted stays. It may be repeated, so that it takes no claim into PostgreSQL: what is cancelled stays
//! cancelled.

use super::status;
use crate::app::{App, CALLS_AT_ONCE};
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use intake_domain::object_key::FileKey;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::{Problem, problem::Code};
use intake_postgres::ledger::{self, FileStatus};
use intake_postgres::retry;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long to wait for slices that are being promoted.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether they are done.
const POLL: Duration = Duration::from_millis(250);

/// End an upload
///
/// What is promoted stays, and the answer says what that is. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/ingest/sessions/{upload_token}/cancel",
    operation_id = "cancel_session",
    tag = "Uploads",
    params(("upload_token" = Uuid, Path, description = words::UPLOAD_TOKEN)),
    responses(
        (status = 200, description = "The session has ended.", body = status::Status),
        (
            status = 202,
            description = "The session ends once the work on it lets go.",
            body = status::Status,
            headers(("Retry-After" = u32, description = "When to look at its status, in seconds.")),
        ),
    )
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    let session = app.session(tenant, &token).await?.session_id;
    let ask = || async {
        let scope = app.database.begin(tenant).await?;
        let is_asked = ledger::ask_for_cancel(&scope, session).await?;
        scope.commit().await?;
        Ok(is_asked)
    };
    if !retry("ask_for_cancel", ask).await? {
        return Err(Problem::new(Code::AlreadyEnded, "the session has ended"));
    }
    end_files(&app, tenant, session).await?;
    let scope = app.database.begin(tenant).await?;
    let files = ledger::files_of_session(&scope, session).await?;
    scope.commit().await?;
    let any = files.first().map(|file| file.file_id);
    abort_uploads(&app, tenant, session, files).await?;
    if let Some(file_id) = any {
        app.wake(FileKey { tenant_id: tenant, session_id: session, file_id }).await?;
    }
    // as it is after all that
    let session = app.session(tenant, &token).await?;
    let status = status::read(&app, tenant, &session).await?;
    let code = if status.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(status::answer(code, status))
}

/// Ends the files, and waits a while for those that a slice in promotion holds: whoever promotes it ends the rest. No
/// transaction is held meanwhile.
async fn end_files(app: &App, tenant: Uuid, session: Uuid) -> Result<(), Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        let end = || async {
            let scope = app.database.begin(tenant).await?;
            ledger::end_cancelled_unheld(&scope, session).await?;
            let open = ledger::open_files(&scope, session).await?;
            scope.commit().await?;
            Ok(open)
        };
        let open = retry("end_cancelled_unheld", end).await?;
        if open.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Drops the parts of files that have not arrived whole.
async fn abort_uploads(app: &App, tenant: Uuid, session: Uuid, files: Vec<FileStatus>) -> Result<(), Problem> {
    let unfinished = files.into_iter().filter(|file| file.uploaded_at.is_none());
    let uploads: Vec<_> =
        unfinished.filter_map(|file| file.multipart_upload_id.map(|upload_id| (file.file_id, upload_id))).collect();
    let abort = stream::iter(uploads).map(async |(file_id, upload_id)| {
        let key = FileKey { tenant_id: tenant, session_id: session, file_id };
        app.objects.abort_multipart(&key.to_string(), &upload_id).await
    });
    Ok(abort.buffer_unordered(CALLS_AT_ONCE).try_collect().await?)
}
