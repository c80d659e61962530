//! A request with an `Idempotency-Key` has its effect once, and its answer is given again to whoever repeats it.
//!
//! DynamoDB knows which requests run and what was answered: one conditional write claims a key, one more keeps the
//! answer. It cannot commit together with PostgreSQL, so a handler whose effect is there takes the [`Claim`] into its
//! own transaction besides, with the answer: whoever died between the two stores is found out by the next try.
//!
//! Only what succeeded is kept: a request that was refused or failed had no effect, gives its key back, and may be
//! mended.

use super::{Edge, Tenant};
use crate::problem::Code;
use crate::time::epoch_seconds;
use crate::{Problem, fail_point};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use intake_domain::idempotency::{Answer, Claim, Found, is_key, name};
use intake_postgres::{Scope, claims};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::SystemTime;
use uuid::Uuid;

/// Says that an answer is not the first.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer that is kept in PostgreSQL, too: whoever repeats its request gets it from there, if need be.
#[derive(Clone, Copy, Debug)]
struct KeptWithItsEffect;

/// The claim of the request that a handler works on, if it has a key. In the transaction of its effect the handler
/// takes the claim first, and last keeps the answer.
#[derive(Clone, Debug)]
pub struct Claimed(Option<Claim>);

impl<S: Sync> FromRequestParts<S> for Claimed {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

impl Claimed {
    /// Takes the claim in the transaction of the effect. Whoever has the same one open is waited for. An answer comes
    /// back if the request had its effect before; it is for [`replay`], and the transaction has nothing more to do.
    ///
    /// # Errors
    /// 409 and 422 as of the layer; those of the database. The transaction must end then.
    pub async fn take(&self, scope: &Scope<'_>) -> Result<Option<Answer>, Problem> {
        match &self.0 {
            Some(claim) => answer_of(claims::take(scope, claim).await?),
            None => Ok(None),
        }
    }

    /// Keeps the answer in the transaction of the effect, and gives it back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep(&self, scope: &Scope<'_>, response: impl IntoResponse) -> Result<Response, Problem> {
        let response = response.into_response();
        let Some(claim) = &self.0 else { return Ok(response) };
        let answer = read(response).await?;
        claims::keep(scope, claim, &answer).await?;
        let mut response = respond(answer);
        response.extensions_mut().insert(KeptWithItsEffect);
        Ok(response)
    }

    /// Gives the claim back, where the effect was undone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(&self, scope: &Scope<'_>) -> Result<(), intake_postgres::Error> {
        match &self.0 {
            Some(claim) => claims::release(scope, claim).await,
            None => Ok(()),
        }
    }
}

/// The answer to give once more; none where the request may run.
fn answer_of(found: Found) -> Result<Option<Answer>, Problem> {
    match found {
        Found::Nothing => Ok(None),
        Found::Answer(answer) => Ok(Some(answer)),
        Found::Running => {
            let detail = "a request with this Idempotency-Key is running";
            Err(Problem::new(Code::IdempotencyKeyInUse, detail).retry_after(1))
        }
        Found::OtherRequest => {
            let detail = "this Idempotency-Key was used for another request";
            Err(Problem::new(Code::IdempotencyKeyReused, detail))
        }
    }
}

/// An answer once more, as the transaction of the effect has it.
#[must_use]
pub fn replay(answer: Answer) -> Response {
    let mut response = respond(answer);
    response.extensions_mut().insert(KeptWithItsEffect);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn respond(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Runs a request at most once for its key. Without a key it simply runs, where the route does not require one.
pub(super) async fn layer(is_required: bool, request: Request, next: Next) -> Response {
    let response = once(is_required, request, next).await.unwrap_or_else(IntoResponse::into_response);
    if response.headers().contains_key(REPLAYED) {
        metrics::counter!("IdempotentReplays").increment(1);
    }
    response
}

async fn once(is_required: bool, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else {
        if is_required {
            let detail = "Idempotency-Key is required: without it a request might have its effect twice";
            return Err(Problem::new(Code::IdempotencyKeyRequired, detail));
        }
        return Ok(next.run(request).await);
    };
    let key = key.to_str().ok().filter(|key| is_key(key)).map(str::to_owned).ok_or_else(|| {
        Problem::new(Code::InvalidIdempotencyKey, "Idempotency-Key must have 1 to 255 visible ASCII characters")
    })?;
    let (edge, tenant) = (Edge::of(&request), request.extensions().get::<Tenant>().copied());
    let Tenant(tenant) = tenant.ok_or_else(Problem::our_mistake)?;
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, super::routes::MAX_BODY_BYTES)
        .await
        .map_err(|_| Problem::new(Code::PayloadTooLarge, "the body is larger than the route takes"))?;
    let claim = Claim {
        name: name(parts.method.as_str(), parts.uri.path(), &key),
        fingerprint: fingerprint(&parts.uri, &parts.headers, &body).await,
        at: epoch_seconds(SystemTime::now()),
        id: Uuid::now_v7(),
    };
    if let Some(answer) = answer_of(edge.idempotency.claim(tenant, &claim).await?)? {
        return Ok(replay(answer));
    }
    fail_point!("idempotency.claimed", tenant);
    parts.extensions.insert(claim.clone());
    let run = next.run(Request::from_parts(parts, Body::from(body)));
    // a handler owns what it works on: what a panic leaves behind, nobody sees
    let response = match AssertUnwindSafe(run).catch_unwind().await {
        Ok(response) if response.status().is_success() => response,
        failed => {
            if let Err(error) = edge.idempotency.release(tenant, &claim).await {
                // it runs out by itself
                tracing::error!(error = crate::batch::describe(&error), "idempotency key not released");
            }
            return failed.or_else(|panic| resume_unwind(panic));
        }
    };
    fail_point!("idempotency.answered", tenant);
    let was_replayed = response.headers().contains_key(REPLAYED);
    let is_kept_with_its_effect = response.extensions().get::<KeptWithItsEffect>().is_some();
    let answer = read(response).await?;
    let kept = match edge.idempotency.keep(tenant, &claim, &answer).await {
        // the next request with the key asks PostgreSQL
        Ok(false) if is_kept_with_its_effect => edge.idempotency.release(tenant, &claim).await,
        Ok(false) => {
            tracing::error!(bytes = answer.body.len(), "the answer is too long to be kept");
            Ok(())
        }
        kept => kept.map(drop),
    };
    if let Err(error) = kept {
        // the effect is there, so the client gets its answer; the claim runs out by itself
        tracing::error!(error = crate::batch::describe(&error), "answer not kept");
    }
    Ok(if was_replayed { replay(answer) } else { respond(answer) })
}

/// Reads an answer to its end.
async fn read(response: Response) -> Result<Answer, Problem> {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| Problem::internal(&error))?;
    let headers = head.headers.iter().filter(|(name, _)| **name != REPLAYED);
    let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body: body.to_vec() })
}

/// What a request means: its query, what its headers say of its body, and the body. Of a form it is the fields: the
/// boundary between them is another one each time the form is sent.
async fn fingerprint(uri: &Uri, headers: &HeaderMap, body: &Bytes) -> [u8; 32] {
    let mut sha256 = Sha256::new();
    let mut add = |bytes: &[u8]| {
        sha256.update((bytes.len() as u64).to_be_bytes());
        sha256.update(bytes);
    };
    add(uri.query().unwrap_or_default().as_bytes());
    add(header_of(headers, "upload-token"));
    let content_type = header_of(headers, header::CONTENT_TYPE.as_str());
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    add(&essence.to_ascii_lowercase());
    add(header_of(headers, header::CONTENT_ENCODING.as_str()));
    match fields(content_type, body).await {
        Some(fields) => fields.iter().for_each(|field| add(field)),
        None => add(body),
    }
    sha256.finalize().into()
}

fn header_of<'h>(headers: &'h HeaderMap, name: &str) -> &'h [u8] {
    headers.get(name).map_or(b"", HeaderValue::as_bytes)
}

/// The fields of a form, each as its name, its file's name and its content; `None` for what is no form.
async fn fields(content_type: &[u8], body: &Bytes) -> Option<Vec<Bytes>> {
    let request = Request::builder().method(Method::POST).header(header::CONTENT_TYPE, content_type);
    let mut request = request.body(Body::from(body.clone())).ok()?;
    DefaultBodyLimit::disable().apply(&mut request); // it was read under one
    let mut form = Multipart::from_request(request, &()).await.ok()?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.ok()? {
        fields.push(field.name().unwrap_or_default().to_owned().into());
        fields.push(field.file_name().unwrap_or_default().to_owned().into());
        fields.push(field.bytes().await.ok()?);
    }
    Some(fields)
}
