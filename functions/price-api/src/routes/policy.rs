//! `GET` and `PUT /api/v1/tenants/{tenant_id}/price-policy`: what becomes of prices that look wrong.

use crate::app::App;
use crate::words;
use axum::Json;
use axum::extract::State;
use intake_domain::price;
use intake_lambda::Problem;
use intake_lambda::edge::{self, Tenant};
use intake_lambda::problem::{FieldCode, FieldError};
use intake_postgres::price::{policy, set_policy};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// What is wanted.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewPricePolicy, example = json!({"policy": "hold"}))]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[schema(value_type = words::Policy)]
    policy: String,
}

/// What is done.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantPricePolicy, example = json!({"policy": "hold"}))]
pub(crate) struct Answer {
    #[schema(value_type = words::Policy)]
    policy: &'static str,
}

/// What becomes of prices that look wrong
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/price-policy",
    operation_id = "price_policy",
    tag = "Prices",
    params(("tenant_id" = Uuid, Path, description = words::TENANT)),
    responses((status = 200, description = "The policy.", body = Answer))
)]
pub(crate) async fn get(State(app): State<Arc<App>>, Tenant(tenant): Tenant) -> Result<Json<Answer>, Problem> {
    let scope = app.database.begin(tenant).await?;
    let policy = policy(&scope).await?;
    scope.commit().await?;
    Ok(Json(Answer { policy: policy.as_str() }))
}

/// Say what becomes of prices that look wrong
///
/// Of events from now on. What is held already waits on.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/{tenant_id}/price-policy",
    operation_id = "set_price_policy",
    tag = "Prices",
    params(("tenant_id" = Uuid, Path, description = words::TENANT)),
    request_body = Request,
    responses((status = 200, description = "The policy from now on.", body = Answer))
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    edge::Json(request): edge::Json<Request>,
) -> Result<Json<Answer>, Problem> {
    let policy = price::Policy::parse(&request.policy).ok_or_else(|| {
        let error = FieldError::new("/policy", FieldCode::InvalidValue, "must be one of warn, hold, reject");
        Problem::invalid(vec![error])
    })?;
    let run = || async {
        let scope = app.database.begin(tenant).await?;
        set_policy(&scope, policy).await?;
        scope.commit().await
    };
    retry("set_price_policy", run).await?;
    Ok(Json(Answer { policy: policy.as_str() }))
}
