//! What a price event costs besides the answers of its stores, at 100 requests a second. It is measured and promises
//! nothing: a machine is as busy as it is.
//!
//! `INTAKE_PRICE_BENCH=1 cargo test -p intake-tests --test stack -- price_bench`

use super::prices::stocked;
use crate::support::{Dice, Ground, Line, Probe, Shop, Wire, id, ndjson};
use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use intake_aws::RateTable;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_domain::rate::Quotas;
use intake_lambda::edge::{Edge, Limiter};
use intake_postgres::Database;
use price_api::App;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// How far apart requests come.
const GAP: Duration = Duration::from_millis(10);

/// How many there are: fewer of each shop and product than its limits take.
const REQUESTS: u32 = 2_000;
const SHOPS: usize = 25;
const PRODUCTS: u64 = 20;

/// How many prices a product has had.
const PRICES: u64 = 50;

/// How many functions share them, each with one request at a time and a connection of its own.
const FUNCTIONS: u32 = 8;

/// How many of a function's first requests are not counted: they fill the caches.
const WARM_UP: usize = 25;

/// A function with its own clients, and what its calls of the stores take.
struct Function {
    probe: Probe,
    line: Line,
    wire: Wire,
}

impl Function {
    async fn start(ground: &Ground) -> Result<Self> {
        let line = Line::open(ground).await?;
        let wire = Wire::open(&ground.endpoints.api_database_url).await?;
        let database = Arc::new(Database::new(&wire.url, "price-bench")?);
        let limiter = Limiter::new(RateTable::new(&line.aws, ground.table("RateTable")?.to_owned()), Quotas::default());
        let records = Records::new(&line.aws, ground.table("IdempotencyTable")?.to_owned(), CLAIM_LIFETIME);
        let edge = Edge::new(Arc::clone(&database), records, limiter);
        let app = App { database, follow: Duration::from_secs(1) };
        Ok(Self { probe: Probe::of(price_api::all().serve(Arc::new(app), Arc::new(edge))), line, wire })
    }

    /// Sends every so-manieth request at its time; gives how long each took in all, in DynamoDB, and in PostgreSQL.
    async fn serve(&self, nth: u32, begin: Instant, shops: &[Shop]) -> Result<Vec<[Duration; 3]>> {
        let mut dice = Dice::new(u64::from(nth));
        let mut times = Vec::new();
        for request in (nth..REQUESTS).step_by(FUNCTIONS as usize) {
            let shop = &shops[request as usize % shops.len()];
            let product = id(1 + u64::from(request) / shops.len() as u64 % PRODUCTS);
            let path = format!("/api/v1/tenants/{}/products/{product}/price-event", shop.id);
            let body =
                json!({"old_price": 19.99, "new_price": 19.0 + dice.within(0..200) as f64 / 100.0, "source": "bench"});
            let key = Uuid::new_v4().to_string();
            let request_of = shop.request(Method::POST, &path).header("idempotency-key", key).json(&body);
            sleep_until(begin + GAP * request).await;
            let since = Instant::now();
            let answer = self.probe.answer(request_of).await?;
            let took = since.elapsed();
            ensure!(answer.status == 201, "{answer:?}");
            times.push([took, self.line.calls().iter().map(|call| call.time).sum(), self.wire.waited()]);
        }
        Ok(times.split_off(WARM_UP))
    }
}

/// The time that so much of all is within, in milliseconds.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len() - 1)).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

pub(super) async fn what_a_price_event_costs(ground: Arc<Ground>) -> Result<()> {
    let shops = try_join_all((0..SHOPS).map(|_| stocked(&ground, PRODUCTS))).await?;
    let functions = try_join_all((0..FUNCTIONS).map(|_| Function::start(&ground))).await?;
    for shop in &shops {
        let rows = (0..PRICES * PRODUCTS).map(|nth| {
            let new = 19.5 + (nth / PRODUCTS) as f64 / 50.0;
            json!({"product_id": id(1 + nth % PRODUCTS), "old_price": 19.99, "new_price": new})
        });
        let path = format!("/api/v1/tenants/{}/price-events", shop.id);
        let answer = functions[0].probe.answer(shop.request(Method::POST, &path).body(ndjson(rows))).await?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    for function in &functions {
        function.line.calls();
        function.wire.waited();
    }
    let begin = Instant::now() + Duration::from_secs(1);
    let served = (0..).zip(&functions).map(|(nth, function)| function.serve(nth, begin, &shops));
    let times = try_join_all(served).await?.concat();
    let rate = f64::from(REQUESTS) / begin.elapsed().as_secs_f64();
    println!("{} price events at {rate:.0}/s, {PRICES} prices before each; milliseconds", times.len());
    let besides = |[whole, dynamodb, postgres]: [Duration; 3]| whole.saturating_sub(dynamodb + postgres);
    let of = |time: &dyn Fn([Duration; 3]) -> Duration| times.iter().map(|times| time(*times)).collect::<Vec<_>>();
    for (what, mut times) in [
        ("whole request", of(&|[whole, ..]| whole)),
        ("three writes of DynamoDB", of(&|[_, dynamodb, _]| dynamodb)),
        ("PostgreSQL", of(&|[.., postgres]| postgres)),
        ("besides them", of(&besides)),
    ] {
        let [half, most, worst] = [50, 95, 99].map(|percent| percentile(&mut times, percent));
        println!("{what:30} p50 {half:7.3}  p95 {most:7.3}  p99 {worst:7.3}");
    }
    Ok(())
}
