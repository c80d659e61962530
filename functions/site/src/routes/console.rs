//! `GET /admin`: the operator's console. The page calls the API as any client does, with the key that is typed into it.

use crate::answer::{Content, Keep, POLICY, answer};
use crate::app::App;
use crate::root::root;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use intake_lambda::Problem;
use std::sync::Arc;

/// What the policy of the other pages says of whom a page may call.
const CALLS: &str = "connect-src 'self'";

/// The operator's console: uploads, their progress, and what was refused
#[utoipa::path(
    get,
    path = "/admin",
    operation_id = "console",
    tag = "Documentation",
    responses(
        (status = 200, description = "A page. It asks for an API key.", content_type = "text/html", body = String),
        (status = 304, description = "The client has it."),
    )
)]
pub(crate) async fn handle(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let page = include_str!(concat!(env!("OUT_DIR"), "/console.html")).replace("{root}", &root(&request));
    let mut response = answer(request.headers(), "text/html; charset=utf-8", Keep::Not, Content::Plain(page))?;
    // files go from the page to the bucket
    let policy = POLICY.replace(CALLS, &format!("{CALLS} {}", app.upload_origin));
    let policy = policy.try_into().map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}
