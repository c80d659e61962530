//! `POST /api/v1/tenants/{tenant_id}/reports/export/{export_id}/cancel`: the end of an export before it ends by itself.
//!
//! It may be repeated, so that it takes no claim into PostgreSQL: what is cancelled stays cancelled.

use super::{EXPORT, OfExport, Summary, TENANT};
use crate::app::App;
use axum::Json;
use axum::extract::State as AppState;
use intake_domain::export::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::problem::Code;
use intake_postgres::{exports, retry};
use std::sync::Arc;

/// End an export
///
/// There is no file of it, and what was written is dropped. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/reports/export/{export_id}/cancel",
    operation_id = "cancel_export",
    tag = "Exports",
    params(
        ("tenant_id" = Uuid, Path, description = TENANT),
        ("export_id" = Uuid, Path, description = EXPORT),
    ),
    responses((status = 200, description = "The export has ended.", body = Summary))
)]
pub(crate) async fn handle(
    AppState(app): AppState<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfExport { export_id }): Path<OfExport>,
) -> Result<Json<Summary>, Problem> {
    let cancel = || async {
        let scope = app.database.begin(tenant).await?;
        exports::cancel(&scope, export_id).await?;
        let export = exports::find(&scope, export_id).await?;
        scope.commit().await?;
        Ok(export)
    };
    let export = retry("cancel_export", cancel).await?.ok_or_else(|| Problem::not_found("export"))?;
    if export.state != State::Cancelled {
        let detail = format!("the export has ended: it is {}", export.state.as_str());
        return Err(Problem::new(Code::ExportEnded, detail));
    }
    // whoever writes the file notices by itself; nobody may
    if let Some((key, Some(upload_id))) = export.unwanted(tenant) {
        app.objects.abort_multipart(&key, &upload_id).await?;
    }
    Ok(Json(export.into()))
}
