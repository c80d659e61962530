//! What all HTTP functions do around their routes.

use crate::Problem;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
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

/// What a Lambda function takes at most, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_BODY_BYTES: usize = 6 << 20;

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
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(cross_origin))
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

/// Lets pages of other origins call: a key is sent in a header and never by the browser itself, so there is nothing to forge.
async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, idempotency-key, prefer, x-api-key"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag, idempotent-replayed, retry-after, x-request-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A path without what opens an upload: its token.
fn loggable(path: &str) -> String {
    let mut after_sessions = false;
    let parts = path.split('/').map(|part| {
        let is_token = std::mem::replace(&mut after_sessions, part == "sessions");
        if is_token { ":token" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Names each request in the log and in its answer.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        _ => None,
    };
    let request_id = request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let span =
        tracing::info_span!("request", request_id, method = %request.method(), path = loggable(request.uri().path()));
    async {
        let mut response = next.run(request).await;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status = response.status().as_u16(), elapsed_ms, "answered");
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
            // nothing that we answer is binary, and what is not known as text would reach the client as base64
            response.headers_mut().insert("x-lambda-http-content-encoding", HeaderValue::from_static("text"));
        }
        response
    }
    .instrument(span)
    .await
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_logged() {
        assert_eq!(loggable("/api/v1/ingest/sessions/abc/status"), "/api/v1/ingest/sessions/:token/status");
        assert_eq!(loggable("/api/v1/ingest/sessions"), "/api/v1/ingest/sessions");
    }
}
