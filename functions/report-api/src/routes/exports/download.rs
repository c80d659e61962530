//! `GET /api/v1/tenants/{tenant_id}/reports/export/{export_id}/download`: the way to the file.

use super::{EXPORT, OfExport, RETRY_AFTER, TENANT, find};
use crate::app::App;
use axum::extract::State as AppState;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_domain::export::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::problem::Code;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What it refuses.
pub(crate) const REFUSALS: &[Code] =
    &[Code::ExportNotReady, Code::ExportFailed, Code::ExportCancelled, Code::ExportExpired];

/// Download a file
///
/// The answer leads to storage, for an hour, or until the file expires; what is there honours `Range`, so that a download can
/// go on where it broke off. Its `ETag` stays the same as long as the file does.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/reports/export/{export_id}/download",
    operation_id = "download_export",
    tag = "Exports",
    params(
        ("tenant_id" = Uuid, Path, description = TENANT),
        ("export_id" = Uuid, Path, description = EXPORT),
    ),
    responses((
        status = 302,
        description = "The file is at `Location`.",
        headers(("Location" = String, description = "A URL that is good for an hour at most, for whoever has it.")),
    ))
)]
pub(crate) async fn handle(
    AppState(app): AppState<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfExport { export_id }): Path<OfExport>,
) -> Result<Response, Problem> {
    let export = find(&app, tenant, export_id).await?;
    // an address that is good for longer than its file would lead to nothing
    let left = export.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    let (code, detail) = match export.state {
        State::Completed if left >= Duration::from_secs(1) => {
            let key = export.object_key(tenant).ok_or_else(|| Problem::not_found("file"))?;
            let shape = export.order.shape(tenant);
            let get = app.objects.presign_get(&key, &shape.file_name(), shape.content_type(), left).await?;
            let headers = [(header::LOCATION, get.url), (header::CACHE_CONTROL, "no-store".to_owned())];
            let mut response = StatusCode::FOUND.into_response();
            for (name, value) in headers {
                response
                    .headers_mut()
                    .insert(name, HeaderValue::try_from(value).map_err(|error| Problem::internal(&error))?);
            }
            return Ok(response);
        }
        State::Pending | State::Running => (Code::ExportNotReady, "the file is not written yet"),
        State::Failed => (Code::ExportFailed, "the export failed; its status says why"),
        State::Cancelled => (Code::ExportCancelled, "the export was cancelled"),
        State::Completed | State::Expired => (Code::ExportExpired, "the file was there for seven days; order it again"),
    };
    let problem = Problem::new(code, detail);
    Err(if code == Code::ExportNotReady { problem.retry_after(RETRY_AFTER) } else { problem })
}
