//! Who calls: an API key in `X-API-Key` or as a bearer token.

use crate::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use intake_domain::api_key;
use intake_postgres::Database;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a known key is taken for valid without asking: a revoked one works no longer than this.
const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// How many keys are remembered.
const CACHE_KEYS: usize = 1024;

/// Knows which tenant a key belongs to.
#[derive(Default)]
pub struct Authenticator {
    known: Mutex<HashMap<[u8; 32], (Uuid, Instant)>>,
}

impl Authenticator {
    /// The tenant that calls.
    ///
    /// # Errors
    /// 401 without a key, with two that differ, or with one that nobody holds; 503 when the database cannot be asked.
    pub async fn tenant(&self, headers: &HeaderMap, database: &Database) -> Result<Uuid, Problem> {
        // the hash hides the key's bytes from the time that a look-up takes
        let hash = api_key::hash(key(headers)?);
        if let Some(tenant) = self.cached(&hash) {
            return Ok(tenant);
        }
        let tenant = database.authenticate(hash).await?.ok_or_else(|| unauthorized("the API key is not valid"))?;
        if let Ok(mut known) = self.known.lock() {
            if known.len() >= CACHE_KEYS {
                known.clear();
            }
            known.insert(hash, (tenant, Instant::now() + CACHE_LIFETIME));
        }
        Ok(tenant)
    }

    fn cached(&self, hash: &[u8; 32]) -> Option<Uuid> {
        let known = self.known.lock().ok()?;
        known.get(hash).filter(|(_, until)| Instant::now() < *until).map(|(tenant, _)| *tenant)
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", detail)
}

fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let read = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let bearer = read(header::AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match (read("x-api-key").map(str::trim), bearer) {
        (Some(key), Some(other)) if key != other => Err(unauthorized("two different API keys were sent")),
        (Some(key), _) | (None, Some(key)) if !key.is_empty() => Ok(key),
        _ => Err(unauthorized("send your API key in X-API-Key")),
    }
}
