//! `GET /api/v1/tenants/{tenant_id}/customers/{customer_id}`: a customer.

use crate::app::App;
use crate::words::{self, Instant};
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Tenant};
use intake_postgres::{catalog, retry};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A path that names a customer.
#[derive(Deserialize)]
pub(crate) struct OfCustomer {
    customer_id: Uuid,
}

/// A customer.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer, example = json!({
    "customer_id": "0b0e7f8e-3f0e-4a39-9d51-0d4b2c1f7a01",
    "name": "Ada",
    "email": "ada@example.org",
    "metadata": {"since": 2019},
    "created_at": "2026-01-31T03:05:00Z",
}))]
pub(crate) struct Customer {
    customer_id: Uuid,
    name: String,
    email: String,
    /// What its shop sent with it.
    #[schema(required, value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    created_at: Instant,
}

/// A customer
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/customers/{customer_id}",
    operation_id = "customer",
    tag = "Catalog",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("customer_id" = Uuid, Path, description = "The customer, by the id that its shop gave it."),
    ),
    responses((status = 200, description = "The customer.", body = Customer))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfCustomer { customer_id }): Path<OfCustomer>,
) -> Result<Json<Customer>, Problem> {
    let read = || async {
        let scope = app.database.begin(tenant).await?;
        let customer = catalog::customer(&scope, customer_id).await?;
        scope.commit().await?;
        Ok(customer)
    };
    let customer = retry("customer", read).await?.ok_or_else(|| Problem::not_found("customer"))?;
    let metadata = words::object(customer.metadata.as_deref()).map_err(|error| Problem::internal(&error))?;
    Ok(Json(Customer {
        customer_id: customer.id,
        name: customer.name,
        email: customer.email,
        metadata: metadata.map(RawValue::to_owned),
        created_at: Instant(customer.created_at),
    }))
}
