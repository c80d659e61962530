//! `POST /api/v1/ingest/sessions/{upload_token}/files/{file_id}/complete`: all parts of a file are uploaded.
//!
//! It may be repeated: what is complete stays complete.

use crate::app::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use intake_aws::Part;
use intake_domain::state::FileState;
use intake_lambda::Problem;
use intake_postgres::ledger;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Path((token, file_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let tenant = app.tenant(&headers).await?;
    let session = app.session(tenant, &token).await?;
    let unknown = || Problem::not_found("file in the session");
    let file_id = Uuid::try_parse(&file_id).map_err(|_| unknown())?;
    let scope = app.database.begin(tenant).await?;
    let file = ledger::file(&scope, file_id).await?;
    scope.commit().await?;
    let file = file.filter(|file| file.key.session_id == session.session_id).ok_or_else(unknown)?;
    let done = || Ok(Json(json!({ "file_id": file_id, "status": "uploaded" })));
    let upload_id = match (file.state, &file.multipart_upload_id) {
        (FileState::AwaitingUpload, Some(upload_id)) => upload_id,
        (FileState::Cancelled, _) => {
            return Err(Problem::new(
                StatusCode::GONE,
                "CANCELLED",
                "the session was cancelled; declare the file again",
            ));
        }
        (FileState::Expired, _) => {
            return Err(Problem::new(StatusCode::GONE, "EXPIRED", "the session has expired; declare the file again"));
        }
        (FileState::AwaitingUpload, None) => {
            let detail = "the file is uploaded with one PUT; there is nothing to complete";
            return Err(Problem::new(StatusCode::CONFLICT, "NOT_MULTIPART", detail));
        }
        _ => return done(),
    };
    let key = file.key.to_string();
    let Some(parts) = app.objects.parts(&key, upload_id).await? else {
        // the upload is gone because it is complete, or because it was aborted
        return match app.objects.head(&key).await? {
            Some(_) => done(),
            None => {
                Err(Problem::new(StatusCode::GONE, "UPLOAD_ABORTED", "the upload was aborted; declare the file again"))
            }
        };
    };
    let arrived: u64 = parts.iter().map(|part: &Part| part.size_bytes).sum();
    if arrived != file.size_bytes {
        let detail = format!("{arrived} of {} bytes have arrived, in {} parts", file.size_bytes, parts.len());
        return Err(Problem::new(StatusCode::CONFLICT, "PARTS_MISSING", detail));
    }
    app.objects.complete_multipart(&key, upload_id, parts).await?;
    done()
}
