//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod cancel;
mod complete_file;
mod create_session;
mod health;
mod list_sessions;
mod rejects;
mod resume;
mod small_file;
mod status;

use crate::app::App;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// Every route of the function.
pub(crate) fn all(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health::handle))
        .route("/api/v1/ingest/comprehensive", post(small_file::comprehensive))
        .route("/api/v1/ingest/orders", post(small_file::orders))
        .route("/api/v1/ingest/sessions", get(list_sessions::handle).post(create_session::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/status", get(status::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/resume", post(resume::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/cancel", post(cancel::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/rejects", get(rejects::handle))
        .route("/api/v1/ingest/sessions/{upload_token}/files/{file_id}/complete", post(complete_file::handle))
        .with_state(app)
}
