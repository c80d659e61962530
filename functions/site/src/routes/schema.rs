//! `GET /api/schema`: the OpenAPI document.

use crate::answer::{Content, Keep, answer};
use crate::root::root;
use axum::extract::Request;
use axum::response::Response;
use intake_lambda::Problem;

/// The OpenAPI document
#[utoipa::path(
    get,
    path = "/api/schema",
    operation_id = "openapi_document",
    tag = "Documentation",
    responses(
        (status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn handle(request: Request) -> Result<Response, Problem> {
    let root = root(&request);
    let server = if root.is_empty() { "/" } else { root.trim_end_matches('/') };
    let document = include_str!(concat!(env!("OUT_DIR"), "/openapi.json")).replace("{root}", server);
    answer(request.headers(), "application/json", Keep::Not, Content::Plain(document))
}
