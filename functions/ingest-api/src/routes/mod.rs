//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod complete_file;
mod create_session;
mod health;
mod rejects;
mod status;

use crate::app::App;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// Every route of the function.
pub(crate) fn all(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health::handle))
        .route("/api/v1/ingest/sessions", post(create_session::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/status", get(status::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/rejects", get(rejects::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/files/{file_id}/complete", post(complete_file::handle))
        .with_state(app)
}
