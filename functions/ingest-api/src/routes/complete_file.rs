//! `POST /api/v1/ingest/sessions/{upload_token}/files/{file_id}/complete`: all parts of a file are uploaded.
//!
//! It may be repeated, so that it takes no claim into PostgreSQL: what is complete stays complete.

use crate::app::App;
use crate::words;
use axum::Json;
use axum::extract::State;
use intake_aws::Part;
use intake_domain::state::FileState;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::{Problem, problem::Code};
use intake_postgres::ledger;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a request is refused with, besides what its form says.
pub(super) const REFUSALS: &[Code] =
    &[Code::Cancelled, Code::Expired, Code::NotMultipart, Code::PartsMissing, Code::UploadAborted];

/// What became of a file.
#[derive(Serialize, ToSchema)]
#[schema(as = FileCompleted, example = json!({
    "file_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
    "status": "uploaded",
}))]
pub(crate) struct Completed {
    file_id: Uuid,
    #[schema(pattern = "^uploaded$")]
    status: &'static str,
}

/// Say that all parts of a file are uploaded
///
/// For files that are uploaded in parts; one that is uploaded with one PUT is complete by that. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/ingest/sessions/{upload_token}/files/{file_id}/complete",
    operation_id = "complete_file",
    tag = "Uploads",
    params(
        ("upload_token" = Uuid, Path, description = words::UPLOAD_TOKEN),
        ("file_id" = Uuid, Path, description = "The file, as the session's answer names it."),
    ),
    responses((status = 200, description = "The file is whole.", body = Completed))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path((token, file_id)): Path<(String, String)>,
) -> Result<Json<Completed>, Problem> {
    let session = app.session(tenant, &token).await?;
    let unknown = || Problem::not_found("file in the session");
    let file_id = Uuid::try_parse(&file_id).map_err(|_| unknown())?;
    let scope = app.database.begin(tenant).await?;
    let file = ledger::file(&scope, file_id).await?;
    scope.commit().await?;
    let file = file.filter(|file| file.key.session_id == session.session_id).ok_or_else(unknown)?;
    let done = || Ok(Json(Completed { file_id, status: "uploaded" }));
    let upload_id = match (file.state, &file.multipart_upload_id) {
        (FileState::AwaitingUpload, Some(upload_id)) => upload_id,
        (FileState::Cancelled, _) => {
            return Err(Problem::new(Code::Cancelled, "the session was cancelled; declare the file again"));
        }
        (FileState::Expired, _) => {
            return Err(Problem::new(Code::Expired, "the session has expired; declare the file again"));
        }
        (FileState::AwaitingUpload, None) => {
            let detail = "the file is uploaded with one PUT; there is nothing to complete";
            return Err(Problem::new(Code::NotMultipart, detail));
        }
        _ => return done(),
    };
    let key = file.key.to_string();
    let Some(parts) = app.objects.parts(&key, upload_id).await? else {
        // the upload is gone because it is complete, or because it was aborted
        return match app.objects.head(&key).await? {
            Some(_) => done(),
            None => Err(Problem::new(Code::UploadAborted, "the upload was aborted; declare the file again")),
        };
    };
    let arrived: u64 = parts.iter().map(|part: &Part| part.size_bytes).sum();
    if arrived != file.size_bytes {
        let detail = format!("{arrived} of {} bytes have arrived, in {} parts", file.size_bytes, parts.len());
        return Err(Problem::new(Code::PartsMissing, detail));
    }
    app.objects.complete_multipart(&key, upload_id, parts).await?;
    done()
}
