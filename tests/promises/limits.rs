//! How often a tenant may call: on the real table through limiters of several functions, and through the API.

use crate::support::{Answer, Dice, Ground, Line, Probe, Shop};
use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use intake_aws::RateTable;
use intake_aws::idempotency::Records;
use intake_domain::rate::{Budget, Quotas, WINDOW_MS};
use intake_lambda::edge::{Decision, Edge, Limiter};
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use uuid::Uuid;

/// A minute's edge, in 2026, in milliseconds since 1970.
const EDGE: u64 = 29_833_333 * WINDOW_MS;

/// A time that goes by when the test says so.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn set(&self, at: u64) {
        self.0.store(at, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// More of it than a function has: what the machine does besides must not be taken for a table that is down.
const PATIENCE: Duration = Duration::from_secs(30);

/// A limiter as one function has it, on the table that is reached through `aws`.
fn limiter(ground: &Ground, aws: &SdkConfig, quotas: Quotas, clock: &Clock) -> Result<Limiter> {
    limiter_with(ground, aws, quotas, clock, PATIENCE)
}

fn limiter_with(
    ground: &Ground,
    aws: &SdkConfig,
    quotas: Quotas,
    clock: &Clock,
    patience: Duration,
) -> Result<Limiter> {
    let table = RateTable::with_patience(aws, ground.table("RateTable")?.to_owned(), patience);
    let clock = clock.clone();
    Ok(Limiter::with_clock(table, quotas, move || clock.now()))
}

fn of_requests(requests: u16) -> Quotas {
    Quotas { requests, ..Quotas::default() }
}

async fn take(limiter: &Limiter, tenant: Uuid) -> Decision {
    limiter.take(Budget::Requests, tenant, None).await
}

/// How many of so many requests are let through, eight at a time.
async fn burst(limiter: &Limiter, tenant: Uuid, requests: usize) -> usize {
    let decisions = stream::iter(0..requests).map(|_| take(limiter, tenant)).buffer_unordered(8);
    decisions.filter(|decision| std::future::ready(decision.is_allowed)).count().await
}

pub(super) async fn two_functions_share_one_budget_over_a_minutes_edge(ground: Arc<Ground>) -> Result<()> {
    let (clock, tenant, aws) = (Clock::default(), Uuid::now_v7(), &ground.aws);
    let (one, other) =
        (limiter(&ground, aws, of_requests(100), &clock)?, limiter(&ground, aws, of_requests(100), &clock)?);
    let both = async |requests| {
        let (one, other) = tokio::join!(burst(&one, tenant, requests), burst(&other, tenant, requests));
        one + other
    };
    for (at, allowed) in [
        (EDGE - 1, 100),
        (EDGE, 0),
        (EDGE + WINDOW_MS - 2, 0),
        (EDGE + WINDOW_MS - 1, 100),
        (EDGE + WINDOW_MS, 0),
        (EDGE + 3 * WINDOW_MS, 100),
    ] {
        clock.set(at);
        assert_eq!(both(80).await, allowed, "{} ms after the edge", at as i64 - EDGE as i64);
    }
    Ok(())
}

pub(super) async fn no_minute_sees_more_than_the_quota(ground: Arc<Ground>) -> Result<()> {
    let (clock, tenant, aws) = (Clock::default(), Uuid::now_v7(), &ground.aws);
    let limiters = [limiter(&ground, aws, of_requests(100), &clock)?, limiter(&ground, aws, of_requests(100), &clock)?];
    let (mut dice, mut now, mut admitted) = (Dice::new(4), EDGE - 30_000, Vec::new());
    for _ in 0..60 {
        now += match dice.chance(20) {
            true => dice.within(55_000..60_500),
            false => dice.within(0..4_000),
        };
        clock.set(now);
        let requests = [dice.within(0..40), dice.within(0..40)];
        let bursts = limiters.iter().zip(requests).map(|(limiter, requests)| burst(limiter, tenant, requests as usize));
        let allowed: usize = join_all(bursts).await.into_iter().sum();
        admitted.extend(std::iter::repeat_n(now, allowed));
    }
    let within = |from: u64| admitted.iter().filter(|at| (from..from + WINDOW_MS).contains(at)).count();
    let worst = admitted.iter().map(|from| within(*from)).max();
    assert_eq!(worst, Some(100), "the quota is reached and never exceeded, of {} requests", admitted.len());
    Ok(())
}

pub(super) async fn a_request_costs_one_write_and_a_denial_none(ground: Arc<Ground>) -> Result<()> {
    let (clock, tenant, line) = (Clock::default(), Uuid::now_v7(), Line::open(&ground).await?);
    clock.set(EDGE);
    let limiter = |requests| limiter(&ground, &line.aws, of_requests(requests), &clock);
    let one = limiter(1_000)?;
    for left in (0..200).rev() {
        let decision = take(&one, tenant).await;
        ensure!(decision.is_allowed && decision.standings[0].remaining == 800 + left, "{decision:?}");
    }
    assert_eq!(line.calls().len(), 200);

    let (one, other, tenant) = (limiter(100)?, limiter(100)?, Uuid::now_v7());
    assert_eq!(burst(&one, tenant, 100).await, 100);
    line.calls().len();
    clock.set(EDGE + 15_000);
    assert_eq!((burst(&one, tenant, 2_000).await, line.calls().len()), (0, 0));
    let denied = take(&one, tenant).await;
    assert_eq!((denied.retry_after(), denied.standings[0].reset_ms), (Some(45), WINDOW_MS - 15_000));
    // one that knows nothing looks once into each of the two items
    for asked in [2, 0, 0] {
        assert_eq!((take(&other, tenant).await.retry_after(), line.calls().len()), (Some(45), asked));
    }
    clock.set(EDGE + WINDOW_MS);
    ensure!(take(&other, tenant).await.is_allowed, "the answer said when");
    assert_eq!(line.calls().len(), 1);
    Ok(())
}

pub(super) async fn a_table_that_is_down_is_stood_in_for(ground: Arc<Ground>) -> Result<()> {
    let (clock, tenant, line) = (Clock::default(), Uuid::now_v7(), Line::open(&ground).await?);
    clock.set(EDGE);
    let one = limiter(&ground, &line.aws, of_requests(100), &clock)?;
    assert_eq!(burst(&one, tenant, 40).await, 40);
    line.fail(&["UpdateItem"]);
    let since = Instant::now();
    assert_eq!(burst(&one, tenant, 30).await, 30, "what the table said still counts");
    ensure!(since.elapsed() < Duration::from_millis(500), "nobody waits: {:?}", since.elapsed());
    line.fail(&[]);
    line.calls().len();
    assert_eq!((burst(&one, tenant, 1).await, line.calls().len()), (1, 0), "not asked at once");
    clock.set(EDGE + 5_000);
    for left in (0..29).rev() {
        let decision = take(&one, tenant).await;
        ensure!(decision.is_allowed && decision.standings[0].remaining == left, "what passed meanwhile counts");
    }
    assert_eq!((burst(&one, tenant, 100).await, line.calls().len()), (0, 29));

    // a port where nobody is, and one where nobody answers
    let nobody = TcpListener::bind("127.0.0.1:0").await?;
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let patience = Duration::from_millis(500);
    for (address, longest) in [(closed, patience), (nobody.local_addr()?, 3 * patience)] {
        let aws = ground.aws.to_builder().endpoint_url(format!("http://{address}")).build();
        let limiter = limiter_with(&ground, &aws, of_requests(100), &clock, patience)?;
        let since = Instant::now();
        let mut allowed = 0;
        for _ in 0..300 {
            allowed += usize::from(take(&limiter, tenant).await.is_allowed);
        }
        assert_eq!(allowed, 100);
        ensure!(since.elapsed() < longest, "{:?}", since.elapsed());
    }
    Ok(())
}

pub(super) async fn price_events_are_limited_by_tenant_and_by_product(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let probe = async || {
        let table = RateTable::with_patience(&ground.aws, ground.table("RateTable")?.to_owned(), PATIENCE);
        let records = Records::new(&ground.aws, ground.table("IdempotencyTable")?.to_owned(), PATIENCE);
        let limiter = Limiter::new(table, Quotas::default());
        Probe::behind(&ground, |database, _| Edge::new(database, records, limiter)).await
    };
    let probes = [probe().await?, probe().await?];
    let send = async |nth: usize, product: &str| {
        let path = format!("/api/v1/tenants/{}/products/{product}/price-event", shop.id);
        probes[nth % 2].answer(shop.request(Method::POST, &path)).await
    };
    let policies = "\"price-events\";q=100;w=60, \"price-events-of-product\";q=10;w=60";
    for tenth in 0..10 {
        let product = Uuid::new_v4().to_string();
        for nth in 0..10 {
            let answer = send(nth, &product).await?;
            assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, Some(policies)), "{answer:?}");
        }
        // however a product is written, it is the same
        for product in [product.to_uppercase(), product.replace('-', "")] {
            let refused = send(tenth, &product).await?;
            let standing = refused.header("ratelimit").unwrap_or_default();
            let is_of_product = standing.starts_with("\"price-events-of-product\";r=0;t=");
            ensure!(refused.status == 429 && is_of_product, "{refused:?}");
        }
    }
    let refused = send(0, &Uuid::new_v4().to_string()).await?;
    let problem = refused.json(429)?;
    assert_eq!(problem["detail"], "the limit price-events of 100 requests in 60 s is used up");
    let other = Shop::open(&ground).await?;
    let path = format!("/api/v1/tenants/{}/products/{}/price-event", other.id, Uuid::new_v4());
    assert_eq!(probes[0].answer(other.request(Method::POST, &path)).await?.status, 200);
    Ok(())
}

/// How many decisions the functions have made without the table.
fn fallbacks(ground: &Ground) -> Result<f64> {
    Ok(ground.function_log()?.iter().filter_map(|line| line["RateLimitFallbacks"].as_f64()).sum())
}

pub(super) async fn a_tenant_that_calls_too_often_is_told_when_to_come_again(ground: Arc<Ground>) -> Result<()> {
    const PATH: &str = "/api/v1/ingest/sessions?limit=1";
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let before = fallbacks(&ground)?;
    let since = Instant::now();
    let answers = stream::iter(0..1_100).map(|_| shop.get(PATH)).buffer_unordered(16);
    let answers: Vec<_> = answers.collect::<Vec<_>>().await.into_iter().collect::<Result<_>>()?;
    let took = since.elapsed();
    ensure!(took < Duration::from_secs(55), "the first is not to be forgotten: {took:?}");
    let (allowed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    // the table may have answered late, with whatever else the machine does; then each function went by what it knew
    let fallbacks = fallbacks(&ground)? - before;
    ensure!(allowed.len().abs_diff(1_000) as f64 <= fallbacks, "{} allowed, {fallbacks} fallbacks", allowed.len());
    let number = |answer: &Answer, name: &str, key: &str| -> Option<u64> {
        answer.header(name)?.rsplit_once(key)?.1.split(';').next()?.parse().ok()
    };
    for answer in &answers {
        assert_eq!(answer.header("ratelimit-policy"), Some("\"requests\";q=1000;w=60"), "{answer:?}");
        let (left, reset) = (number(answer, "ratelimit", ";r="), number(answer, "ratelimit", ";t="));
        ensure!(left.is_some_and(|left| left < 1_000), "{answer:?}");
        ensure!(reset.is_some_and(|reset| (1..=60).contains(&reset)), "{answer:?}");
    }
    for answer in refused {
        let problem = answer.json(429)?;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!((&problem["code"], &problem["status"]), (&"RATE_LIMITED".into(), &429.into()));
        ensure!(problem["request_id"].is_string() && problem["detail"].is_string() && problem["error"].is_string());
        let wait = problem["retry_after"].as_u64().context("a time")?;
        ensure!((1..=60).contains(&wait), "{problem}");
        assert_eq!(answer.header("retry-after").and_then(|after| after.parse().ok()), Some(wait));
        // or others were faster at each slot, and one may come again at once
        let is_used_up = number(answer, "ratelimit", ";r=") == Some(0);
        let told = if is_used_up { number(answer, "ratelimit", ";t=") } else { Some(1) };
        assert_eq!(told, Some(wait), "{answer:?}");
    }
    let spared = other.get(PATH).await?;
    assert_eq!((spared.status, spared.header("ratelimit")), (200, Some("\"requests\";r=999;t=60")));
    Ok(())
}
