//! `GET /health`: whether the API runs. It asks no store, so that a load balancer's probe costs nothing.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// How the API is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(pattern = "^healthy$")]
    status: &'static str,
    version: &'static str,
}

/// Whether the API runs
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "Health",
    responses((status = 200, description = "It runs.", body = Health))
)]
pub(crate) async fn handle() -> Json<Health> {
    Json(Health { status: "healthy", version: env!("CARGO_PKG_VERSION") })
}
