//! Rate limits: a route's requests draw on a [`Budget`], and every answer says how it stands.

use super::{Edge, Tenant};
use crate::Problem;
use crate::config::Environment;
use crate::problem::Code;
use crate::time::epoch_millis;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use intake_aws::RateTable;
use intake_domain::rate::{Budget, Limit, Quotas, Slots, Standing, WINDOW_MS};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use uuid::Uuid;

/// The limits of a route.
/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/>
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How the tightest of them stands.
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Of how many budgets a function keeps what it knows, those of the tenants that called last. One of 1,000 requests has 8 KB.
const KNOWN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// How often a request asks the table, each time because others were faster. A function that knows nothing needs to look
/// into each item of a budget to learn that it is used up, and 1,000 slots lie in 13.
const MAX_WRITES: usize = 16;

/// How long nobody waits for the table after it failed, in milliseconds.
const PAUSE_MS: u64 = 5_000;

/// The quotas as the environment has them, or those that hold where it says nothing.
pub fn quotas(environment: &mut Environment) -> Quotas {
    let default = Quotas::default();
    Quotas {
        requests: environment.number_or("REQUESTS_PER_MINUTE", default.requests),
        price_events: environment.number_or("PRICE_EVENTS_PER_MINUTE", default.price_events),
        price_events_of_product: environment
            .number_or("PRICE_EVENTS_OF_PRODUCT_PER_MINUTE", default.price_events_of_product),
        price_event_lots: environment.number_or("PRICE_EVENT_LOTS_PER_MINUTE", default.price_event_lots),
    }
}

/// Decides who may call, for all requests of a function.
///
/// It keeps what it last saw of the slots: a request costs one write, and one that is refused because its tenant has used
/// up a limit costs none. When the table fails, the slots that are kept stand in for it, and each function holds the
/// limits by itself.
pub struct Limiter {
    table: RateTable,
    quotas: Quotas,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    known: Mutex<LruCache<(Budget, Uuid), Slots>>,
    /// When the table may be asked again, in milliseconds since 1970.
    asks_again_at: AtomicU64,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether it may pass.
    pub is_allowed: bool,
    /// How the limits stand after it.
    pub standings: Vec<Standing>,
}

impl Decision {
    /// When to try again, in seconds, if it may not pass.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        let used_up = self.standings.iter().filter(|standing| standing.remaining == 0);
        // where nothing is used up, others were faster each time
        let wait_ms = used_up.map(|standing| standing.reset_ms).max().unwrap_or(0);
        (!self.is_allowed).then(|| seconds(wait_ms))
    }
}

/// In full seconds, and at least one.
fn seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

impl Limiter {
    /// A limiter on that table.
    #[must_use]
    pub fn new(table: RateTable, quotas: Quotas) -> Self {
        Self::with_clock(table, quotas, || epoch_millis(SystemTime::now()))
    }

    /// A limiter that has the time, in milliseconds since 1970, from `clock`.
    #[must_use]
    pub fn with_clock(table: RateTable, quotas: Quotas, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let known = Mutex::new(LruCache::new(KNOWN));
        Self { table, quotas, clock: Box::new(clock), known, asks_again_at: AtomicU64::new(0) }
    }

    /// Decides about a request of `tenant`, and counts it if it may pass.
    pub async fn take(&self, budget: Budget, tenant: Uuid, product: Option<Uuid>) -> Decision {
        let limits = budget.limits(&self.quotas, product);
        let (is_allowed, now) = self.decide(budget, tenant, &limits).await;
        if !is_allowed {
            metrics::counter!("RateLimitDenials").increment(1);
        }
        let standings = |slots: &mut Slots| limits.iter().map(|limit| slots.standing(limit, now)).collect();
        Decision { is_allowed, standings: self.slots((budget, tenant), standings) }
    }

    /// Whether a request may pass, and when that was decided.
    async fn decide(&self, budget: Budget, tenant: Uuid, limits: &[Limit]) -> (bool, u64) {
        let (mut now, mut item) = ((self.clock)(), None);
        for _ in 0..MAX_WRITES {
            let chosen = self.slots((budget, tenant), |slots| slots.choose(limits, now, random(now), item));
            let Some(take) = chosen else { return (false, now) };
            if now < self.asks_again_at.load(Ordering::Relaxed) {
                return (self.stand_in((budget, tenant), limits, now), now);
            }
            let id = format!("{tenant} {} {}", budget.name(), take.item);
            match self.table.take(&id, &take).await {
                Ok(outcome) => {
                    self.slots((budget, tenant), |slots| slots.learn(outcome.slots(), now));
                    if outcome.is_taken {
                        return (true, now);
                    }
                }
                Err(error) => {
                    // of many that fail at once one is logged
                    if self.asks_again_at.swap(now + PAUSE_MS, Ordering::Relaxed) <= now {
                        tracing::warn!(error = crate::batch::describe(&error), "rate limits without their table");
                    }
                    return (self.stand_in((budget, tenant), limits, now), now);
                }
            }
            (now, item) = ((self.clock)(), Some(take.item));
        }
        (false, now)
    }

    /// Decides without the table.
    fn stand_in(&self, of: (Budget, Uuid), limits: &[Limit], now: u64) -> bool {
        metrics::counter!("RateLimitFallbacks").increment(1);
        self.slots(of, |slots| {
            let Some(take) = slots.choose(limits, now, random(now), None) else { return false };
            slots.learn(take.slots.iter().map(|name| (name.as_str(), take.at)), now);
            true
        })
    }

    /// Works with what is known of a tenant's slots.
    fn slots<T>(&self, of: (Budget, Uuid), work: impl FnOnce(&mut Slots) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        work(known.get_or_insert_mut(of, Slots::default))
    }
}

/// Any number: it only spreads what is taken.
fn random(now: u64) -> u64 {
    getrandom::u64().unwrap_or(now)
}

/// Lets a request pass that the limits of its route's budget allow, and says in every answer how they stand.
pub(super) async fn layer(
    State(budget): State<Budget>,
    Tenant(tenant): Tenant,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let product = path.ok().and_then(|path| product(path.iter()));
    let decision = Edge::of(&request).limiter.take(budget, tenant, product).await;
    let mut response = match decision.retry_after() {
        None => next.run(request).await,
        Some(seconds) => refusal(&decision, seconds).into_response(),
    };
    for (name, value) in headers(&decision.standings) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The product that a path is about. However it is spelled, it is the same: what is no id is none.
fn product<'a>(mut path: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Uuid> {
    path.find(|(name, _)| matches!(*name, "product_id" | "p")).and_then(|(_, id)| Uuid::try_parse(id).ok())
}

fn refusal(decision: &Decision, seconds: u32) -> Problem {
    let detail = match Standing::tightest(&decision.standings) {
        Some(Standing { name, quota, remaining: 0, .. }) => {
            format!("the limit {name} of {quota} requests in {} s is used up", WINDOW_MS / 1_000)
        }
        _ => "too many requests at once".to_owned(),
    };
    Problem::new(Code::RateLimited, detail).retry_after(seconds)
}

/// What an answer says of limits that stand so.
fn headers(standings: &[Standing]) -> impl Iterator<Item = (HeaderName, String)> {
    let policy = |limit: &Standing| format!("\"{}\";q={};w={}", limit.name, limit.quota, WINDOW_MS / 1_000);
    let policies = standings.iter().map(policy).collect::<Vec<_>>().join(", ");
    let tightest = Standing::tightest(standings);
    let standing =
        tightest.map(|limit| format!("\"{}\";r={};t={}", limit.name, limit.remaining, seconds(limit.reset_ms)));
    [(POLICY, Some(policies)), (STANDING, standing)].into_iter().filter_map(|(name, value)| Some((name, value?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::{BehaviorVersion, Region};
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use axum::{Extension, Router, middleware};
    use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
    use intake_postgres::Database;
    use lambda_http::tower::ServiceExt;
    use std::sync::Arc;

    /// Some time in 2026.
    const START: u64 = 1_790_000_000_000;

    const PRODUCT: &str = "0b0e7f8e-3f0e-4a39-9d51-0d4b2c1f7a01";

    /// Routes behind the layer, with a table that fails, at a time that the test sets.
    async fn routes(quotas: Quotas, clock: &Arc<AtomicU64>) -> Router {
        let region = Region::from_static("us-east-1");
        let aws = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).no_credentials().load().await;
        let clock = Arc::clone(clock);
        let table = RateTable::new(&aws, "none".to_owned());
        let limiter = Limiter::with_clock(table, quotas, move || clock.load(Ordering::Relaxed));
        let database = Database::new("postgres://nobody@127.0.0.1:1/none", "test").unwrap();
        let edge = Edge::new(Arc::new(database), Records::new(&aws, "none".to_owned(), CLAIM_LIFETIME), limiter);
        let limited = |budget| get(async || "here").layer(middleware::from_fn_with_state(budget, layer));
        Router::new()
            .route("/all", limited(Budget::Requests))
            .route("/{p}/price", limited(Budget::PriceEvents))
            .layer(Extension(Tenant(Uuid::from_u128(7))))
            .layer(Extension(Arc::new(edge)))
    }

    async fn call(routes: &Router, path: &str) -> (u16, Vec<String>, serde_json::Value) {
        let answer = routes.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let header = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let headers = ["ratelimit-policy", "ratelimit", "retry-after"].map(header).to_vec();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn an_answer_says_how_the_limit_stands_and_a_refusal_when_to_come_again() {
        let clock = Arc::new(AtomicU64::new(START));
        let routes = routes(Quotas { requests: 2, ..Quotas::default() }, &clock).await;
        let policy = "\"requests\";q=2;w=60";
        assert_eq!(call(&routes, "/all").await.1, [policy, "\"requests\";r=1;t=60", ""]);
        clock.store(START + 1_500, Ordering::Relaxed);
        assert_eq!(call(&routes, "/all").await.1, [policy, "\"requests\";r=0;t=59", ""]);
        clock.store(START + 2_001, Ordering::Relaxed);
        let (status, headers, problem) = call(&routes, "/all").await;
        assert_eq!((status, headers), (429, [policy, "\"requests\";r=0;t=58", "58"].map(str::to_owned).to_vec()));
        assert_eq!((&problem["code"], &problem["status"]), (&"RATE_LIMITED".into(), &429.into()));
        assert_eq!(problem["retry_after"], 58);
        assert_eq!(problem["detail"], "the limit requests of 2 requests in 60 s is used up");
        for (at, status) in [(59_999, 429), (60_000, 200), (61_499, 429), (61_500, 200)] {
            clock.store(START + at, Ordering::Relaxed);
            assert_eq!(call(&routes, "/all").await.0, status, "{at}");
        }
    }

    #[tokio::test]
    async fn of_two_limits_the_tighter_one_is_shown() {
        let clock = Arc::new(AtomicU64::new(START));
        let quotas = Quotas { price_events: 5, price_events_of_product: 3, ..Quotas::default() };
        let routes = routes(quotas, &clock).await;
        let policy = "\"price-events\";q=5;w=60, \"price-events-of-product\";q=3;w=60";
        let spellings = [PRODUCT.to_owned(), PRODUCT.to_uppercase(), PRODUCT.replace('-', "")];
        for (left, spelling) in [2, 1, 0].into_iter().zip(&spellings) {
            let (status, headers, _) = call(&routes, &format!("/{spelling}/price")).await;
            let standing = format!("\"price-events-of-product\";r={left};t=60");
            assert_eq!((status, headers), (200, vec![policy.to_owned(), standing, String::new()]));
        }
        let (status, headers, problem) = call(&routes, &format!("/%30{}/price", &PRODUCT[1..])).await;
        assert_eq!((status, headers[2].as_str()), (429, "60"));
        assert_eq!(problem["detail"], "the limit price-events-of-product of 3 requests in 60 s is used up");
        // what is no product's id is one product, and nothing that panics
        for (path, left) in [("/other/price", 1), ("/%FF/price", 0)] {
            let (status, headers, _) = call(&routes, path).await;
            assert_eq!((status, headers[1].as_str()), (200, format!("\"price-events\";r={left};t=60").as_str()));
        }
        assert_eq!(call(&routes, "/another/price").await.1[1], "\"price-events\";r=0;t=60");
        assert_eq!(call(&routes, "/all").await.1[1], "\"requests\";r=999;t=60", "a budget of its own");
    }

    #[test]
    fn a_request_that_others_were_faster_than_may_come_again_at_once() {
        let standing = Standing { name: "requests", quota: 9, remaining: 3, reset_ms: 30_000 };
        let decision = Decision { is_allowed: false, standings: vec![standing] };
        assert_eq!(decision.retry_after(), Some(1));
        assert_eq!(Decision { is_allowed: true, ..decision }.retry_after(), None);
    }

    #[test]
    fn quotas_are_those_of_the_environment_or_the_usual_ones() {
        let quotas = quotas(&mut Environment::default());
        assert_eq!((quotas.requests, quotas.price_events, quotas.price_events_of_product), (1_000, 100, 10));
    }
}
