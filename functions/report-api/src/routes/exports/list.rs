//! `GET /api/v1/tenants/{tenant_id}/reports/export`: the tenant's exports, newest first, in pages.

use super::{Summary, TENANT};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::FieldCode;
use intake_postgres::exports;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many exports a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 200;
const DEFAULT_LIMIT: i64 = 50;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many exports a page has at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{32}$", nullable = false)]
    cursor: Option<String>,
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = Exports, example = json!({"exports": [], "next_cursor": null}))]
pub(crate) struct Page {
    exports: Vec<Summary>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// All exports, newest first
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/reports/export",
    operation_id = "list_exports",
    tag = "Exports",
    params(("tenant_id" = Uuid, Path, description = TENANT), Parameters),
    responses((status = 200, description = "A page of exports.", body = Page))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page>, Problem> {
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::query("limit", FieldCode::InvalidLimit, format!("must be from 1 to {MAX_LIMIT}")));
    }
    // a cursor names the last export of its page
    let is_ours = |cursor: &&str| cursor.len() == 32 && !cursor.bytes().any(|byte| byte.is_ascii_uppercase());
    let parse = |cursor: &str| Some(cursor).filter(is_ours).and_then(|cursor| Uuid::try_parse(cursor).ok());
    let invalid = || Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours");
    let before = parameters.cursor.as_deref().map(|cursor| parse(cursor).ok_or_else(invalid)).transpose()?;
    // one more tells whether there is another page
    let scope = app.database.begin(tenant).await?;
    let mut page = exports::list(&scope, before, limit + 1).await?;
    scope.commit().await?;
    let is_last = page.len() as i64 <= limit;
    page.truncate(limit as usize);
    let last = page.last().filter(|_| !is_last);
    let next_cursor = last.map(|last| last.order.export_id.simple().to_string());
    Ok(Json(Page { exports: page.into_iter().map(Summary::from).collect(), next_cursor }))
}
