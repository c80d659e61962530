//! `GET /api/v1/tenants/{tenant_id}/products/{product_id}`: a product.

use crate::app::App;
use crate::words::{self, Decimal, Instant};
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_postgres::{catalog, retry};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A path that names a product.
#[derive(Deserialize)]
pub(crate) struct OfProduct {
    product_id: Uuid,
}

/// A product.
#[derive(Serialize, ToSchema)]
#[schema(as = Product, example = json!({
    "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
    "sku": "K-1",
    "name": "Kettle",
    "price": 19.99,
    "category_id": null,
    "active": true,
    "stock_level": 12,
    "created_at": "2026-01-31T03:05:00Z",
}))]
pub(crate) struct Product {
    product_id: Uuid,
    /// The number that its shop knows it by.
    sku: String,
    name: String,
    price: Decimal,
    #[schema(required)]
    category_id: Option<Uuid>,
    /// Whether it is sold.
    active: bool,
    /// Where its stock stands; 0 of a product that never moved.
    #[schema(minimum = 0)]
    stock_level: i32,
    created_at: Instant,
}

impl From<catalog::Product> for Product {
    fn from(product: catalog::Product) -> Self {
        Self {
            product_id: product.id,
            sku: product.sku,
            name: product.name,
            price: Decimal(product.price),
            category_id: product.category,
            active: product.active,
            stock_level: product.stock_level,
            created_at: Instant(product.created_at),
        }
    }
}

/// A product
///
/// With its price, and where its stock stands.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/products/{product_id}",
    operation_id = "product",
    tag = "Catalog",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("product_id" = Uuid, Path, description = "The product, by the id that its shop gave it."),
    ),
    responses((status = 200, description = "The product.", body = Product))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfProduct { product_id }): Path<OfProduct>,
) -> Result<Json<Product>, Problem> {
    let read = || async {
        let scope = app.database.begin(tenant).await?;
        let product = catalog::product(&scope, product_id).await?;
        scope.commit().await?;
        Ok(product)
    };
    let product = retry("product", read).await?.ok_or_else(|| Problem::not_found("product"))?;
    Ok(Json(product.into()))
}
