//! What the edge costs besides the answers of its stores. It is measured and promises nothing: a machine is as busy as
//! it is.

use crate::support::{Ground, Line, Probe, Shop};
use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use intake_aws::idempotency::CLAIM_LIFETIME;
use reqwest::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many requests a shop sends: fewer than its limit takes.
const REQUESTS: usize = 800;

/// How many shops there are.
const SHOPS: usize = 3;

/// How many of a shop's first requests are not counted: they fill the caches.
const WARM_UP: usize = 50;

/// The time that so much of all is within.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len() - 1)).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

pub(super) async fn what_the_edge_costs(ground: Arc<Ground>) -> Result<()> {
    let line = Line::open(&ground).await?;
    let probe = Probe::over(&ground, &line.aws, CLAIM_LIFETIME).await?;
    let shops = try_join_all((0..SHOPS).map(|_| Shop::open(&ground))).await?;
    let [mut whole, mut stores, mut edge, mut none] = [(); 4].map(|()| Vec::new());
    for shop in &shops {
        let path = format!("/api/v1/tenants/{}/note", shop.id);
        for nth in 0..REQUESTS {
            let request = shop.request(Method::PUT, &path).header("idempotency-key", nth.to_string());
            let since = Instant::now();
            let answer = probe.answer(request).await?;
            let took = since.elapsed();
            ensure!(answer.status == 200, "{answer:?}");
            let calls = line.calls();
            ensure!(calls.len() == 3, "one write for the limit, two for the key: {calls:?}");
            let since = Instant::now();
            probe.answer(shop.request(Method::GET, "/open")).await?;
            let took_none = since.elapsed();
            if nth >= WARM_UP {
                let waited = calls.iter().map(|call| call.time).sum();
                whole.push(took);
                stores.push(waited);
                edge.push(took.saturating_sub(waited));
                none.push(took_none);
            }
        }
    }
    println!("{} requests with a key, a limit and an Idempotency-Key, one after another; milliseconds", whole.len());
    for (what, times) in [
        ("whole request", &mut whole),
        ("three writes of DynamoDB", &mut stores),
        ("the edge besides them", &mut edge),
        ("a request that needs nothing", &mut none),
    ] {
        let [half, most, worst] = [50, 95, 99].map(|percent| percentile(times, percent));
        println!("{what:30} p50 {half:7.3}  p95 {most:7.3}  p99 {worst:7.3}");
    }
    Ok(())
}
