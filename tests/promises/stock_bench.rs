//! How fast stock moves through the function. It is measured and promises nothing: a machine is as busy as it is.
//!
//! `INTAKE_STOCK_BENCH=1 cargo test -p intake-tests --test stack -- stock_bench`

use super::stock::update;
use crate::support::{Answer, Dice, Ground, Shop, id};
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many events a large request has.
const LARGE: usize = 20_000;

/// How many requests of 100 events are measured.
const SMALL: usize = 500;

/// An event as the predecessor's generator writes them, of one of so many products.
fn write_event(text: &mut String, product: u64, dice: &mut Dice) {
    let (delta, level) = (dice.within(0..40) as i64 - 15, dice.within(0..500));
    // writing to a text does not fail
    let _ = writeln!(
        text,
        "{{\"stock_event_id\":\"{}\",\"product_id\":\"{}\",\"delta\":{delta},\"resulting_level\":{level},\
         \"event_time\":\"2026-01-01T10:00:00.000000\",\"source\":\"order\",\"meta\":{{\"batch\":1}}}}",
        Uuid::new_v4(),
        id(product)
    );
}

fn packed(text: &str) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Sends bodies one after another; gives their request ids, and the time from the first request to the last answer.
async fn send(shop: &Shop, bodies: Vec<Vec<u8>>, events: usize) -> Result<(HashSet<String>, Duration)> {
    let (since, mut processed, mut ids) = (Instant::now(), 0, HashSet::new());
    for body in bodies {
        let answer = Answer::to(update(shop, "", body)).await?;
        ids.insert(answer.header("x-request-id").context("a request id")?.to_owned());
        processed += answer.json(200)?["counts"]["lines"].as_u64().unwrap_or_default();
    }
    let took = since.elapsed();
    ensure!(processed == events as u64, "{processed} of {events} events were taken");
    Ok((ids, took))
}

/// What the function says that these requests took, in milliseconds, shortest first.
async fn server_times(ground: &Ground, ids: &HashSet<String>) -> Result<Vec<f64>> {
    let since = Instant::now();
    loop {
        let lines = ground.function_log()?.into_iter();
        let of_us = lines.filter(|line| line["request_id"].as_str().is_some_and(|id| ids.contains(id)));
        let times = |line: Value| {
            let time = &line["RequestTime"];
            time.as_f64().or_else(|| time.as_array()?.first()?.as_f64()).or_else(|| time["Values"][0].as_f64())
        };
        let mut times: Vec<f64> = of_us.filter_map(times).collect();
        if times.len() >= ids.len() {
            times.sort_by(f64::total_cmp);
            return Ok(times);
        }
        ensure!(since.elapsed() < Duration::from_secs(20), "{} of {} requests are logged", times.len(), ids.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn rate(ground: &Ground, shop: &Shop, what: &str, events: usize, bodies: Vec<Vec<u8>>) -> Result<()> {
    let (ids, took) = send(shop, bodies, events).await?;
    let server: f64 = server_times(ground, &ids).await?.iter().sum::<f64>() / 1000.0;
    println!(
        "{what}: {:.0} events/s of server time ({server:.2} s), {:.0} from the first request to the last answer \
         ({:.2} s)",
        events as f64 / server,
        events as f64 / took.as_secs_f64(),
        took.as_secs_f64()
    );
    Ok(())
}

/// Bodies of up to [`LARGE`] events of these products.
fn bodies(products: impl Iterator<Item = u64>, dice: &mut Dice) -> Result<Vec<Vec<u8>>> {
    let products: Vec<_> = products.collect();
    let body = |products: &[u64]| {
        let mut text = String::new();
        products.iter().for_each(|product| write_event(&mut text, *product, dice));
        packed(&text)
    };
    products.chunks(LARGE).map(body).collect()
}

pub(super) async fn how_fast_stock_moves(ground: Arc<Ground>) -> Result<()> {
    let mut dice = Dice::new(1);
    let shop = Shop::open(&ground).await?;
    send(&shop, bodies(0..1, &mut dice)?, 1).await?;
    for _ in 0..3 {
        let shop = Shop::open(&ground).await?;
        let one_each = bodies(0..10_000, &mut dice)?;
        rate(&ground, &shop, "10,000 new products, an event each, one request", 10_000, one_each).await?;
        let again = bodies(0..10_000, &mut dice)?;
        rate(&ground, &shop, "the same products once more", 10_000, again).await?;
    }
    let million = (0..1_000_000).map(|at| at % 1_000);
    let million = bodies(million, &mut dice)?;
    rate(&ground, &shop, "1,000 products, 1,000 events each, mixed", 1_000_000, million).await?;
    let small = |dice: &mut Dice| {
        let mut text = String::new();
        (0..100).for_each(|_| write_event(&mut text, dice.within(0..1_000), dice));
        text.into_bytes()
    };
    let small: Vec<_> = (0..SMALL).map(|_| small(&mut dice)).collect();
    let (ids, _) = send(&shop, small, SMALL * 100).await?;
    let times = server_times(&ground, &ids).await?;
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{SMALL} requests of 100 events, server time in ms: p50 {:.1}, p95 {:.1}, p99 {:.1}",
        at(50),
        at(95),
        at(99)
    );
    Ok(())
}
