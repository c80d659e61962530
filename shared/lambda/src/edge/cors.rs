//! Pages of other origins may call: a key is sent in a header and never by the browser itself, so there is nothing to forge.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";

const REQUEST_HEADERS: &str =
    "authorization, content-encoding, content-type, idempotency-key, prefer, upload-token, x-api-key";

const RESPONSE_HEADERS: &str = "etag, idempotent-replayed, preference-applied, ratelimit, ratelimit-policy, retry-after, \
                                x-request-id";

/// Answers a preflight, which is all that OPTIONS is sent for, and says of every answer that it may be read.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
