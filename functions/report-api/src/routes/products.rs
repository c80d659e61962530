//! `GET /api/v1/tenants/{tenant_id}/products`: products, in pages.

use super::product::Product;
use crate::app::App;
use crate::{cursor, words};
use axum::Json;
use axum::extract::State;
use intake_domain::reject;
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::FieldCode;
use intake_postgres::catalog::{self, ProductFilter};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many products a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 1_000;
const DEFAULT_LIMIT: i64 = 100;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many products a page has at most.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before, with the parameters that it came from.
    #[param(pattern = "^[0-9a-f]{48}$", nullable = false)]
    cursor: Option<String>,
    /// Whether a product is sold.
    #[param(nullable = false)]
    active: Option<bool>,
    /// The category of a product.
    #[param(value_type = Option<Uuid>, nullable = false)]
    category_id: Option<String>,
    /// The number that its shop knows a product by, as it is.
    #[param(min_length = 1, max_length = 100, nullable = false)]
    sku: Option<String>,
}

impl Parameters {
    fn category(&self) -> Result<Option<Uuid>, Problem> {
        let invalid = |_| Problem::query("category_id", FieldCode::OfRow(reject::Code::InvalidUuid), "is no UUID");
        self.category_id.as_deref().map(Uuid::try_parse).transpose().map_err(invalid)
    }

    fn sku(&self) -> Result<Option<&str>, Problem> {
        let sku = self.sku.as_deref();
        if sku.is_some_and(|sku| sku.is_empty() || sku.chars().count() > 100 || sku.contains('\0')) {
            return Err(Problem::query("sku", FieldCode::InvalidValue, "must have 1 to 100 characters, and no U+0000"));
        }
        Ok(sku)
    }

    /// What tells the query from others: all but its limit and its cursor.
    fn digest(&self, tenant: Uuid, category: Option<Uuid>) -> [u8; 32] {
        let digest = Sha256::new_with_prefix(tenant.as_bytes());
        let digest = digest.chain_update([self.active.map_or(2, u8::from), u8::from(category.is_some())]);
        let digest = digest.chain_update(category.unwrap_or_default().as_bytes());
        digest.chain_update(self.sku.as_deref().unwrap_or_default()).finalize().into()
    }
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = Products, example = json!({"products": [], "next_cursor": null}))]
pub(crate) struct Page {
    products: Vec<Product>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Products
///
/// In the order of their ids, which do not change: reading on is stable while products arrive.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/products",
    operation_id = "list_products",
    tag = "Catalog",
    params(("tenant_id" = Uuid, Path, description = words::TENANT), Parameters),
    responses((status = 200, description = "A page of products.", body = Page))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page>, Problem> {
    let limit = words::limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let category = parameters.category()?;
    let filter = ProductFilter { active: parameters.active, category, sku: parameters.sku()? };
    let digest = parameters.digest(tenant, category);
    let after = parameters.cursor.as_deref().map(|cursor| cursor::read(cursor, &digest)).transpose()?;
    let after = after.map(Uuid::from_bytes);
    let read = || async {
        let scope = app.database.begin(tenant).await?;
        // one more tells whether there is another page
        let products = catalog::products(&scope, filter, after, limit + 1).await?;
        scope.commit().await?;
        Ok(products)
    };
    let mut products = retry("products", read).await?;
    let has_more = products.len() as i64 > limit;
    products.truncate(limit as usize);
    let last = products.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor::write(last.id.as_bytes(), &digest));
    Ok(Json(Page { products: products.into_iter().map(Product::from).collect(), next_cursor }))
}
