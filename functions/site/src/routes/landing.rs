//! `GET /`: where to go from here, for people and for programs.

use crate::answer::{Content, Keep, answer, list};
use crate::root::root;
use axum::Json;
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use intake_lambda::Problem;
use serde::Serialize;
use utoipa::ToSchema;

/// Where the parts of the API are, as references to resolve against the address that was asked for.
#[derive(Serialize, ToSchema)]
struct Landing {
    #[schema(example = "Intake")]
    name: &'static str,
    version: &'static str,
    #[schema(format = "uri-reference")]
    docs: String,
    /// The operator's console.
    #[schema(format = "uri-reference")]
    console: String,
    #[schema(format = "uri-reference")]
    redoc: String,
    #[schema(format = "uri-reference")]
    schema: String,
    #[schema(format = "uri-reference")]
    health: String,
}

/// Where to go from here
#[utoipa::path(
    get,
    path = "/",
    operation_id = "landing",
    tag = "Documentation",
    responses(
        (status = 200, description = "For programs; browsers get a page.", content(
            (Landing = "application/json"),
            (String = "text/html"),
        )),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn handle(request: Request) -> Result<Response, Problem> {
    let root = root(&request);
    let is_browser = list(request.headers(), &header::ACCEPT).any(|kind| kind.starts_with("text/html"));
    if is_browser {
        let page = include_str!(concat!(env!("OUT_DIR"), "/landing.html")).replace("{root}", &root);
        return answer(request.headers(), "text/html; charset=utf-8", Keep::Not, Content::Plain(page));
    }
    let at = |path: &str| format!("{root}{path}");
    let landing = Landing {
        name: "Intake",
        version: env!("CARGO_PKG_VERSION"),
        docs: at("api/docs/"),
        console: at("admin/"),
        redoc: at("api/redoc/"),
        schema: at("api/schema/"),
        health: at("health"),
    };
    Ok(([(header::VARY, "accept")], Json(landing)).into_response())
}
