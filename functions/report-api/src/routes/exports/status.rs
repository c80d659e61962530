//! `GET /api/v1/tenants/{tenant_id}/reports/export/{export_id}`: where an export stands.

use super::{Chunk, EXPORT, OfExport, RETRY_AFTER, Summary, TENANT};
use crate::app::App;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_postgres::exports;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Where an export stands, with the parts of its file.
#[derive(Serialize, ToSchema)]
#[schema(as = Export, example = json!({
    "export_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    "status": "completed",
    "format": "csv",
    "compression": "none",
    "dataset": "stock",
    "rows_done": 2,
    "rows_estimated": 2,
    "bytes_done": 130,
    "created_at": "2026-01-31T03:04:05.678Z",
    "started_at": "2026-01-31T03:04:05.700Z",
    "finished_at": "2026-01-31T03:04:05.912Z",
    "expires_at": "2026-02-07T03:04:05.678Z",
    "manifest": {
        "file_name": "stock_9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11_0d4b2c1f7a01.csv",
        "content_type": "text/csv; charset=utf-8",
        "format": "csv",
        "compression": "none",
        "dataset": "stock",
        "rows": 2,
        "bytes": 130,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "order": ["product_id"],
        "spreadsheet_safe": true,
        "schema": [
            {"name": "product_id", "type": "uuid", "nullable": false},
            {"name": "level", "type": "int32", "nullable": false},
        ],
    },
    "error": null,
    "chunks": [],
}))]
pub(crate) struct Status {
    #[serde(flatten)]
    summary: Summary,
    /// The parts of the file that are there, of one that is large enough to have any.
    chunks: Vec<Chunk>,
}

/// Where an export stands
///
/// What is done never goes back, also where the file had to be begun anew.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/reports/export/{export_id}",
    operation_id = "export_status",
    tag = "Exports",
    params(
        ("tenant_id" = Uuid, Path, description = TENANT),
        ("export_id" = Uuid, Path, description = EXPORT),
    ),
    responses((
        status = 200,
        description = "The export.",
        body = Status,
        headers(("Retry-After" = u32, description = "When to look again, in seconds, until it has ended.")),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfExport { export_id }): Path<OfExport>,
) -> Result<Response, Problem> {
    let scope = app.database.begin(tenant).await?;
    let export = exports::find(&scope, export_id).await?;
    let parts = exports::parts(&scope, export_id).await?;
    scope.commit().await?;
    let export = export.ok_or_else(|| Problem::not_found("export"))?;
    let has_ended = export.state.is_terminal();
    let chunks = parts.into_iter().map(Chunk::from).collect();
    let mut response = axum::Json(Status { summary: export.into(), chunks }).into_response();
    if !has_ended {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    Ok(response)
}
