//! What all HTTP functions do around their routes.

use crate::Problem;
use axum::Router;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use lambda_http::tower::Layer;
use lambda_http::tower::util::MapRequestLayer;
use std::time::Instant;
use tracing::Instrument;

/// Carries the id by which a request is found in the logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves the routes as a Lambda function behind API Gateway.
///
/// # Errors
/// When the runtime ends.
pub async fn run(routes: Router) -> Result<(), lambda_http::Error> {
    let routes = routes
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the path does not take this method")
        })
        .layer(middleware::from_fn(observe));
    // routing must see the path already mended
    lambda_http::run(MapRequestLayer::new(mend_path).layer(routes)).await
}

/// Takes the gateway's stage off the path, and the trailing slash: a path is the same with and without it.
fn mend_path<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path = match request.raw_http_path() {
        "" => request.uri().path(),
        raw => raw,
    };
    let path = Some(path.trim_end_matches('/')).filter(|path| !path.is_empty()).unwrap_or("/");
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path_and_query) = PathAndQuery::try_from(format!("{path}{query}")) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Names each request in the log and in its answer.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        _ => None,
    };
    let request_id = request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let span = tracing::info_span!("request", request_id, method = %request.method(), path = request.uri().path());
    async {
        let mut response = next.run(request).await;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status = response.status().as_u16(), elapsed_ms, "answered");
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
    .into_response()
}
