//! `GET /api/v1/tenants/{tenant_id}/stock/{product_id}`: where the stock of a product stands.

use crate::App;
use crate::words::{self, OfProduct};
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_lambda::time::rfc3339;
use intake_postgres::stock::{self, Standing};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where a product stands.
#[derive(Serialize, ToSchema)]
#[schema(as = StockLevel, example = json!({
    "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
    "level": 12,
    "set_at": "2026-01-31T03:04:05.678Z",
    "sequence": 7,
    "updated_at": "2026-01-31T04:00:00.000Z",
}))]
pub(crate) struct Level {
    product_id: Uuid,
    #[schema(minimum = 0)]
    level: i32,
    /// When the latest `set` that applied happened: an older one is ignored.
    #[schema(required, format = DateTime)]
    set_at: Option<String>,
    /// How many events of the product are recorded, and the number of the last.
    #[schema(minimum = 0)]
    sequence: i64,
    /// When the last of them was; null of a product that never moved.
    #[schema(required, format = DateTime)]
    updated_at: Option<String>,
}

impl From<Standing> for Level {
    fn from(standing: Standing) -> Self {
        Self {
            product_id: standing.product,
            level: standing.level,
            set_at: standing.set_at.map(rfc3339),
            sequence: standing.sequence,
            updated_at: standing.updated_at.map(rfc3339),
        }
    }
}

/// The level of a product
///
/// A product that is known and never moved stands at 0.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/stock/{product_id}",
    operation_id = "stock_level",
    tag = "Stock",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("product_id" = Uuid, Path, description = words::PRODUCT),
    ),
    responses((status = 200, description = "Where it stands.", body = Level))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfProduct { product_id }): Path<OfProduct>,
) -> Result<Json<Level>, Problem> {
    let scope = app.database.begin(tenant).await?;
    let standing = stock::standing(&scope, product_id).await?;
    scope.commit().await?;
    let standing = standing.ok_or_else(|| Problem::not_found("product"))?;
    Ok(Json(standing.into()))
}
