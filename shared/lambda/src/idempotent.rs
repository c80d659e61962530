//! Idempotency: a request with a key has its effect once, and its answer is given again to whoever repeats it.

use crate::Problem;
use crate::time::epoch_seconds;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_aws::idempotency::{Answer, Claim, Records};
use sha2::{Digest, Sha256};
use std::time::SystemTime;
use uuid::Uuid;

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// Answers with what `work` does, at most once for the key in `Idempotency-Key`; without a key it simply runs. The scope
/// of a key is the tenant and the `route` (method and path).
///
/// Only what succeeded is kept: a request that was refused or failed had no effect, gives its key back, and may be mended.
pub async fn once<Work>(
    records: &Records,
    tenant: Uuid,
    route: &str,
    headers: &HeaderMap,
    body: &[u8],
    work: Work,
) -> Response
where
    Work: Future<Output = Result<(StatusCode, String), Problem>>,
{
    let Some(key) = headers.get("idempotency-key") else {
        return work.await.map_or_else(IntoResponse::into_response, |(status, body)| answer(status, body));
    };
    let key = match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => key,
        _ => {
            let detail = "Idempotency-Key must have 1 to 255 visible ASCII characters";
            return Problem::new(StatusCode::BAD_REQUEST, "INVALID_IDEMPOTENCY_KEY", detail).into_response();
        }
    };
    let id = format!("{tenant} {route} {key}");
    let fingerprint = hex::encode(Sha256::digest(body));
    match records.claim(&id, &fingerprint, epoch_seconds(SystemTime::now())).await {
        Ok(Claim::Ours) => {}
        Ok(Claim::Answered(kept)) => {
            let mut response = answer(StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK), kept.body);
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            return response;
        }
        Ok(Claim::Running) => {
            let detail = "a request with this Idempotency-Key is running";
            return Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_IN_USE", detail).retry_after(1).into_response();
        }
        Ok(Claim::OtherRequest) => {
            let detail = "this Idempotency-Key was used for a request with another body";
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", detail).into_response();
        }
        Err(error) => return Problem::unavailable(&error).into_response(),
    }
    match work.await {
        Ok((status, body)) => {
            let kept = Answer { status: status.as_u16(), body };
            if let Err(error) = records.keep(&id, &kept).await {
                // the effect is there, so the client gets its answer; the claim runs out by itself
                tracing::error!(error = crate::batch::describe(&error), "answer not kept");
            }
            answer(status, kept.body)
        }
        Err(problem) => {
            if let Err(error) = records.release(&id).await {
                tracing::error!(error = crate::batch::describe(&error), "idempotency key not released");
            }
            problem.into_response()
        }
    }
}

fn answer(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
