//! `GET /health`: whether the function runs. It asks no store, so that a load balancer's probe costs nothing.

use axum::Json;
use serde_json::{Value, json};

pub(crate) async fn handle() -> Json<Value> {
    Json(json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION") }))
}
