//! `GET /api/docs`, `GET /api/schema/swagger-ui` and `GET /api/redoc`: the document for people.

use crate::answer::{Content, Keep, answer};
use crate::root::root;
use axum::extract::Request;
use axum::response::Response;
use intake_lambda::Problem;

const SWAGGER_UI: &str = include_str!(concat!(env!("OUT_DIR"), "/swagger.html"));
const REDOC: &str = include_str!(concat!(env!("OUT_DIR"), "/redoc.html"));

/// Swagger UI: read about the API and try it
#[utoipa::path(
    get,
    path = "/api/docs",
    operation_id = "docs",
    tag = "Documentation",
    responses(
        (status = 200, description = "A page.", content_type = "text/html", body = String),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn docs(request: Request) -> Result<Response, Problem> {
    page(&request, SWAGGER_UI)
}

/// Swagger UI, where it was before
#[utoipa::path(
    get,
    path = "/api/schema/swagger-ui",
    operation_id = "swagger_ui",
    tag = "Documentation",
    responses(
        (status = 200, description = "A page.", content_type = "text/html", body = String),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn swagger_ui(request: Request) -> Result<Response, Problem> {
    page(&request, SWAGGER_UI)
}

/// ReDoc: read about the API
#[utoipa::path(
    get,
    path = "/api/redoc",
    operation_id = "redoc",
    tag = "Documentation",
    responses(
        (status = 200, description = "A page.", content_type = "text/html", body = String),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn redoc(request: Request) -> Result<Response, Problem> {
    page(&request, REDOC)
}

fn page(request: &Request, page: &str) -> Result<Response, Problem> {
    let page = page.replace("{root}", &root(request));
    answer(request.headers(), "text/html; charset=utf-8", Keep::Not, Content::Plain(page))
}
