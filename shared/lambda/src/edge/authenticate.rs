//! Who calls: an API key in `X-API-Key` or as a bearer token; and whether it is the caller's own path that is called.
//! Whoever is refused is written down.

use super::Edge;
use super::observe::loggable;
use crate::Problem;
use crate::batch::describe;
use crate::problem::Code;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use intake_domain::api_key::{self, Form, LOOKUP_BYTES};
use intake_domain::audit::{Counted, Kind, Noted, Refusal, Tally};
use intake_postgres::Database;
use intake_postgres::audit::{self, Refused};
use intake_postgres::keys::{self, Holder};
use lambda_http::request::RequestContext;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How long any other key is refused without asking: one that is added meanwhile has to wait so long.
const OTHER_LIFETIME: Duration = Duration::from_secs(5);

/// How many keys of each kind are remembered.
const MAX_REMEMBERED: usize = 1024;

/// How long a refused caller waits for its refusal to be written down.
const AUDIT_PATIENCE: Duration = Duration::from_secs(2);

/// Under which each tenant has its own paths.
const TENANTS: &str = "/api/v1/tenants/";

/// The tenant that calls, in a handler of a route that needs a key.
#[derive(Clone, Copy, Debug)]
pub struct Tenant(pub Uuid);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // a route that forgot to say that it needs a key is closed to everybody
        parts.extensions.get().copied().ok_or_else(|| unauthorized("the route knows no caller"))
    }
}

/// Lets a request pass with the tenant that it comes from.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let edge = Edge::of(&request);
    let (mut parts, body) = request.into_parts();
    match edge.authenticator.admit(&parts, &edge.database, (edge.clock)()).await {
        Ok(tenant) => {
            tracing::Span::current().record("tenant_id", tracing::field::display(tenant));
            parts.extensions.insert(Tenant(tenant));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Knows which tenant a key belongs to, and remembers who was refused until that is written down.
pub struct Authenticator {
    live: Mutex<Memory>,
    others: Mutex<Memory>,
    refusals: Mutex<Tally<Refused>>,
}

/// A caller that is refused.
struct Stranger {
    refusal: Refusal,
    tenant: Option<Uuid>,
    key_prefix: Option<String>,
}

/// Why a request does not pass.
enum Stop {
    Refused(Stranger),
    /// Nobody could say whose the key is.
    Failed(Problem),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Stranger { refusal, tenant: None, key_prefix: None })
    }
}

impl Authenticator {
    /// Knows no key yet. A valid key is not looked up again for `key_lifetime`.
    pub(super) fn new(key_lifetime: Duration) -> Self {
        Self {
            live: Mutex::new(Memory::new(key_lifetime)),
            // apart, so that invented keys push out no valid one
            others: Mutex::new(Memory::new(OTHER_LIFETIME)),
            refusals: Mutex::default(),
        }
    }

    /// The tenant that calls.
    ///
    /// # Errors
    /// 401 without a key, with two that differ, or with one that is not live; 404 on a path that is not the caller's;
    /// 503 when the database cannot be asked.
    async fn admit(&self, parts: &Parts, database: &Database, now: SystemTime) -> Result<Uuid, Problem> {
        let caller = self.caller(parts, database, now).await;
        self.write_counted(database, now).await;
        match caller {
            Ok(tenant) => Ok(tenant),
            Err(Stop::Failed(problem)) => Err(problem),
            Err(Stop::Refused(stranger)) => {
                let problem = problem(stranger.refusal);
                self.note(stranger, parts, database, now).await;
                Err(problem)
            }
        }
    }

    async fn caller(&self, parts: &Parts, database: &Database, now: SystemTime) -> Result<Uuid, Stop> {
        let key = sent_key(&parts.headers)?;
        let key_prefix = match api_key::form(key) {
            Form::Own { prefix } => Some(prefix.to_owned()),
            Form::Foreign => None,
            Form::Broken => return Err(Refusal::MalformedKey.into()),
        };
        let refused = |refusal, tenant| Stop::Refused(Stranger { refusal, tenant, key_prefix: key_prefix.clone() });
        match self.holder(key, database, now).await? {
            Holder::Nobody => Err(refused(Refusal::UnknownKey, None)),
            Holder::Former(tenant) => Err(refused(Refusal::RevokedKey, Some(tenant))),
            Holder::Tenant(tenant) if is_own_path(parts.uri.path(), tenant) => Ok(tenant),
            Holder::Tenant(tenant) => Err(refused(Refusal::ForeignTenant, Some(tenant))),
        }
    }

    /// Whose a key is, as the database says or has said a moment ago.
    async fn holder(&self, key: &str, database: &Database, now: SystemTime) -> Result<Holder, Stop> {
        let hash = api_key::hash(key);
        for memory in [&self.live, &self.others] {
            if let Some(holder) = memory.lock().ok().and_then(|memory| memory.recall(&hash, now)) {
                return Ok(holder);
            }
        }
        let holder = keys::holder(database, &hash).await.map_err(|error| Stop::Failed(error.into()))?;
        let memory = if matches!(holder, Holder::Tenant(_)) { &self.live } else { &self.others };
        if let Ok(mut memory) = memory.lock() {
            memory.keep(hash, holder, now);
        }
        Ok(holder)
    }

    /// Writes a refusal down, unless it is one of many.
    async fn note(&self, stranger: Stranger, parts: &Parts, database: &Database, now: SystemTime) {
        let context = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV1(context)) => Some(context),
            _ => None,
        };
        let source = context.and_then(|context| context.identity.source_ip.as_ref()?.parse().ok());
        let kind = Kind { source, refusal: stranger.refusal, tenant: stranger.tenant };
        let refused = Refused {
            key_prefix: stranger.key_prefix,
            method: parts.method.to_string(),
            path: loggable(parts.uri.path()),
            request_id: context.and_then(|context| context.request_id.clone()),
        };
        let noted = self.refusals.lock().map_or(Noted::Dropped, |mut refusals| refusals.note(kind, refused, now));
        match noted {
            Noted::Write(refused) => write(database, kind, &refused, 1).await,
            Noted::Counted => {}
            Noted::Dropped => metrics::counter!("AuditEntriesDropped").increment(1),
        }
    }

    /// Writes down how many were refused in minutes that are over. Nothing runs between requests, so whoever comes next
    /// does it.
    async fn write_counted(&self, database: &Database, now: SystemTime) {
        let ended = self.refusals.lock().map(|mut refusals| refusals.ended(now)).unwrap_or_default();
        for Counted { kind, last, count } in ended {
            write(database, kind, &last, count).await;
        }
    }
}

/// Writes to the log. Whether that succeeds makes no difference to the caller.
async fn write(database: &Database, kind: Kind, refused: &Refused, occurrences: u32) {
    let written = tokio::time::timeout(AUDIT_PATIENCE, audit::refused(database, kind, refused, occurrences)).await;
    let code = kind.refusal.as_str();
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(code, occurrences, error = describe(&error), "refusal not written down"),
        Err(_) => tracing::error!(code, occurrences, "refusal not written down in time"),
    }
}

/// What a client is told.
fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoKey => unauthorized("send your API key in X-API-Key"),
        Refusal::MalformedKey => unauthorized("the API key is mistyped or cut off"),
        Refusal::TwoKeys => unauthorized("two different API keys were sent"),
        // who has a key of old learns no more than who has guessed one
        Refusal::UnknownKey | Refusal::RevokedKey => unauthorized("the API key is not valid"),
        Refusal::ForeignTenant => Problem::not_found("path"),
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(Code::Unauthorized, detail)
}

/// The one key of a request, wherever it stands.
fn sent_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut sent = None;
    for value in headers.get_all("x-api-key") {
        add_key(&mut sent, text(value)?)?;
    }
    for value in headers.get_all(header::AUTHORIZATION) {
        let (scheme, key) = text(value)?.split_once(' ').unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") {
            add_key(&mut sent, key.trim())?;
        }
    }
    sent.ok_or(Refusal::NoKey)
}

fn text(value: &HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map(str::trim).map_err(|_| Refusal::MalformedKey)
}

fn add_key<'a>(sent: &mut Option<&'a str>, key: &'a str) -> Result<(), Refusal> {
    match sent {
        Some(other) if !key.is_empty() && *other != key => Err(Refusal::TwoKeys),
        _ => {
            *sent = sent.or(Some(key).filter(|key| !key.is_empty()));
            Ok(())
        }
    }
}

/// Whether a path is the tenant's own, or no tenant's.
fn is_own_path(path: &str, tenant: Uuid) -> bool {
    let named = path.strip_prefix(TENANTS).map(|rest| rest.split_once('/').map_or(rest, |(named, _)| named));
    named.is_none_or(|named| Uuid::try_parse(named).is_ok_and(|named| named == tenant))
}

/// Whose keys were, a moment ago.
struct Memory {
    lifetime: Duration,
    entries: HashMap<[u8; LOOKUP_BYTES], Remembered>,
}

struct Remembered {
    hash: [u8; 32],
    holder: Holder,
    asked_at: SystemTime,
}

impl Memory {
    fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: HashMap::new() }
    }

    fn is_fresh(&self, entry: &Remembered, now: SystemTime) -> bool {
        // of a clock that was set back nothing can be told; and one that stands still in a frozen function is no use
        // here
        now.duration_since(entry.asked_at).is_ok_and(|age| age < self.lifetime)
    }

    fn recall(&self, hash: &[u8; 32], now: SystemTime) -> Option<Holder> {
        let entry = self.entries.get(hash.first_chunk()?)?;
        (api_key::is_same(hash, &entry.hash) && self.is_fresh(entry, now)).then_some(entry.holder)
    }

    /// Remembers what was answered; `asked_at` is when it was asked.
    fn keep(&mut self, hash: [u8; 32], holder: Holder, asked_at: SystemTime) {
        let Some(lookup) = hash.first_chunk().copied() else { return };
        if self.entries.len() >= MAX_REMEMBERED {
            let entries = std::mem::take(&mut self.entries);
            self.entries = entries.into_iter().filter(|(_, entry)| self.is_fresh(entry, asked_at)).collect();
            if self.entries.len() >= MAX_REMEMBERED {
                self.entries.clear();
            }
        }
        self.entries.insert(lookup, Remembered { hash, holder, asked_at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use intake_domain::api_key::KNOWN_FOR;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const TENANT: Uuid = Uuid::from_u128(7);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        headers
    }

    #[test]
    fn one_key_is_read_wherever_it_stands() {
        for sent in [
            &[("x-api-key", "k")][..],
            &[("x-api-key", " k ")],
            &[("authorization", "Bearer k")],
            &[("authorization", "bEARER  k")],
            &[("x-api-key", "k"), ("authorization", "Bearer k")],
            &[("x-api-key", "k"), ("x-api-key", "k")],
            &[("x-api-key", ""), ("authorization", "Bearer k")],
            &[("x-api-key", "k"), ("authorization", "Basic dTpw")],
        ] {
            assert_eq!(sent_key(&headers(sent)), Ok("k"), "{sent:?}");
        }
        for (sent, refusal) in [
            (&[][..], Refusal::NoKey),
            (&[("x-api-key", " ")], Refusal::NoKey),
            (&[("authorization", "Bearer")], Refusal::NoKey),
            (&[("authorization", "Basic k")], Refusal::NoKey),
            (&[("x-api-key", "schlüssel")], Refusal::MalformedKey),
            (&[("x-api-key", "k"), ("x-api-key", "other")], Refusal::TwoKeys),
            (&[("x-api-key", "k"), ("authorization", "Bearer other")], Refusal::TwoKeys),
        ] {
            assert_eq!(sent_key(&headers(sent)), Err(refusal), "{sent:?}");
        }
    }

    #[test]
    fn a_tenant_has_its_own_paths_alone() {
        for path in [
            "/api/v1/ingest/sessions",
            "/api/v1/tenants",
            "/api/v1/tenants/00000000-0000-0000-0000-000000000007/orders/search",
            "/api/v1/tenants/00000000-0000-0000-0000-000000000007",
        ] {
            assert!(is_own_path(path, TENANT), "{path}");
        }
        for path in [
            "/api/v1/tenants/00000000-0000-0000-0000-000000000008/orders/search",
            "/api/v1/tenants/00000000-0000-0000-0000-00000000000%37/orders/search",
            "/api/v1/tenants/7/orders/search",
            "/api/v1/tenants//orders/search",
            "/api/v1/tenants/",
        ] {
            assert!(!is_own_path(path, TENANT), "{path}");
        }
    }

    #[test]
    fn what_was_answered_is_forgotten_in_time() {
        let (hash, holder) = ([7; 32], Holder::Tenant(TENANT));
        let mut memory = Memory::new(KNOWN_FOR);
        memory.keep(hash, holder, NOW + KNOWN_FOR);
        let recall = |now| memory.recall(&hash, now);
        assert_eq!(recall(NOW + KNOWN_FOR), Some(holder));
        assert_eq!(recall(NOW + 2 * KNOWN_FOR - Duration::from_millis(1)), Some(holder));
        assert_eq!(recall(NOW + 2 * KNOWN_FOR), None);
        assert_eq!(recall(NOW), None, "the clock was set back");
        let mut other = hash;
        other[31] ^= 1;
        assert_eq!(memory.recall(&other, NOW + KNOWN_FOR), None);
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let key = |number: usize| api_key::hash(&number.to_string());
        let mut memory = Memory::new(OTHER_LIFETIME);
        for number in 0..10 * MAX_REMEMBERED {
            memory.keep(key(number), Holder::Nobody, NOW);
            assert!(memory.entries.len() <= MAX_REMEMBERED);
        }
        let kept = memory.entries.len();
        for number in 0..MAX_REMEMBERED {
            memory.keep(key(number), Holder::Nobody, NOW + OTHER_LIFETIME);
        }
        assert!(kept > 0 && memory.entries.values().all(|entry| entry.asked_at > NOW), "what is over goes first");
    }
}
