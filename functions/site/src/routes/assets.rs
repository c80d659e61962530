//! `GET /api/docs/assets/{name}`: what the pages are made of.

use crate::answer::{Content, Keep, answer};
use axum::http::HeaderMap;
use axum::response::Response;
use intake_lambda::Problem;
use intake_lambda::edge::Path;

/// Every file by its name, packed.
static ASSETS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the pages
#[utoipa::path(
    get,
    path = "/api/docs/assets/{name}",
    operation_id = "asset",
    tag = "Documentation",
    params(("name" = String, Path, description = "As the pages name it.")),
    responses(
        (status = 200, description = "A script, a style sheet or a picture.", content(
            (String = "text/javascript"),
            (String = "text/css"),
            (String = "image/svg+xml"),
        )),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn handle(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|(known, _)| *known == name);
    let (name, bytes) = asset.ok_or_else(|| Problem::not_found("file"))?;
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "image/svg+xml",
    };
    answer(&headers, kind, Keep::ForEver, Content::Gzip(bytes))
}
