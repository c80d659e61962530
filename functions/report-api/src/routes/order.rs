//! `GET /api/v1/tenants/{tenant_id}/orders/{order_id}`: an order with its items.

use crate::app::App;
use crate::cursor;
use crate::order_line::{Fields, OrderLine, Shown};
use crate::words::{self, Decimal};
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Query, Tenant};
use intake_postgres::orders::{self, Item};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many items an answer has at most.
const MAX_ITEMS: usize = 1_000;

/// A path that names an order.
#[derive(Deserialize)]
pub(crate) struct OfOrder {
    order_id: Uuid,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// The `next_cursor` of the answer before.
    #[param(pattern = "^[0-9a-f]{48}$", nullable = false)]
    cursor: Option<String>,
}

/// An order with its items.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderWithItems, example = json!({
    "order": {
        "order_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
        "external_order_id": "A-1",
        "customer_id": null,
        "customer_name_snapshot": "Ada",
        "customer_email_snapshot": "ada@example.org",
        "total_amount": 59.97,
        "currency": "USD",
        "order_status": "shipped",
        "order_date": "2026-01-31T03:04:05.678Z",
        "raw_payload": {"source": "web"},
        "created_at": "2026-01-31T03:05:00Z",
    },
    "items": [{
        "order_item_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a02",
        "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
        "sku": "K-1",
        "product_name": "Kettle",
        "quantity": 3,
        "unit_price": 19.99,
        "line_total": 59.97,
    }],
    "next_cursor": null,
}))]
pub(crate) struct Answer {
    #[schema(value_type = OrderLine)]
    order: Box<RawValue>,
    /// In the order of their ids, at most 1,000.
    items: Vec<OrderItem>,
    /// Where the next items begin; null when these are the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// An item of an order.
#[derive(Serialize, ToSchema)]
struct OrderItem {
    order_item_id: Uuid,
    product_id: Uuid,
    /// Null where the product is unknown.
    #[schema(required)]
    sku: Option<String>,
    #[schema(required)]
    product_name: Option<String>,
    #[schema(minimum = 1)]
    quantity: i32,
    unit_price: Decimal,
    line_total: Decimal,
}

impl From<Item> for OrderItem {
    fn from(item: Item) -> Self {
        Self {
            order_item_id: item.id,
            product_id: item.product,
            sku: item.sku,
            product_name: item.name,
            quantity: item.quantity,
            unit_price: Decimal(item.unit_price),
            line_total: Decimal(item.line_total),
        }
    }
}

/// An order with its items
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/orders/{order_id}",
    operation_id = "order",
    tag = "Orders",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("order_id" = Uuid, Path, description = "The order, by the id that its shop gave it."),
        Parameters,
    ),
    responses((status = 200, description = "The order.", body = Answer))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfOrder { order_id }): Path<OfOrder>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Answer>, Problem> {
    let digest = Sha256::new_with_prefix(tenant.as_bytes()).chain_update(order_id.as_bytes()).finalize().into();
    let after = parameters.cursor.as_deref().map(|cursor| cursor::read(cursor, &digest)).transpose()?;
    let after = after.map(Uuid::from_bytes);
    let read = || async {
        let scope = app.database.begin(tenant).await?;
        let order = orders::order(&scope, order_id).await?;
        // one more tells whether there are more
        let items = orders::items(&scope, order_id, after, MAX_ITEMS as i64 + 1).await?;
        scope.commit().await?;
        Ok((order, items))
    };
    let (order, mut items) = retry("order", read).await?;
    let order = order.ok_or_else(|| Problem::not_found("order"))?;
    let has_more = items.len() > MAX_ITEMS;
    items.truncate(MAX_ITEMS);
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor::write(last.id.as_bytes(), &digest));
    let order = to_raw_value(&Shown { order: &order, fields: Fields::ALL });
    let order = order.map_err(|error| Problem::internal(&error))?;
    Ok(Json(Answer { order, items: items.into_iter().map(OrderItem::from).collect(), next_cursor }))
}
