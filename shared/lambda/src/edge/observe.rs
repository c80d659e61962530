//! The outermost layer: every request has an id, which stands in its log, in its answer and in a problem's document; a
//! panic ends as a problem too.

use crate::Problem;
use crate::http::body_limit;
use crate::{telemetry, trace};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use lambda_http::request::RequestContext;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Carries the id by which a request is found in the logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names each request in the log and in its answer.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        _ => None,
    };
    let request_id = request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let trace_id = trace::of_request(&request);
    telemetry::begin(&request_id, Some(trace_id));
    let span =
        tracing::info_span!("request", request_id, %trace_id, %method, path = loggable(&path), tenant_id = Empty);
    async {
        // a handler owns what it works on: what a panic leaves behind, nobody sees
        let mut response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!("a handler panicked");
            Problem::our_mistake().into_response()
        });
        if let Some(problem) = response.extensions_mut().remove::<Problem>()
            && let Ok(document) = serde_json::to_vec(&problem.document(Some(&request_id), Some(&path)))
        {
            *response.body_mut() = Body::from(document);
        }
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status = response.status().as_u16(), elapsed_ms, "answered");
        let class = class(response.status());
        metrics::counter!("Requests", "Status" => class).increment(1);
        metrics::histogram!("RequestTime", "Status" => class).record(telemetry::milliseconds(started.elapsed()));
        telemetry::flush();
        response.extensions_mut().insert(Span::current());
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if body_limit().is_some() {
            // nothing that we answer is binary, and what is not known as text would reach the client as base64
            response.headers_mut().insert("x-lambda-http-content-encoding", HeaderValue::from_static("text"));
        }
        response
    }
    .instrument(span)
    .await
}

/// The first digit of a status, as it is counted.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// A path without what opens an upload: its token.
pub(crate) fn loggable(path: &str) -> String {
    let mut after_sessions = false;
    let parts = path.split('/').map(|part| {
        let is_token = std::mem::replace(&mut after_sessions, part == "sessions");
        if is_token { ":token" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
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
