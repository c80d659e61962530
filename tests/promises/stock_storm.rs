//! Many callers at once, on overlapping products in opposite orders: nobody is told of a deadlock, nothing is lost, and
//! nothing falls below zero.
//!
//! `INTAKE_STOCK_ROUNDS` (3) says how many rounds there are; each has 16 callers and shops of its own.

use super::stock::update;
use crate::support::{Answer, Dice, File, Ground, Shop, id, ndjson};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLERS: u64 = 16;

/// How many requests each caller sends one after another.
const REQUESTS: u64 = 6;

/// How many products they fight for.
const PRODUCTS: u64 = 40;

/// What each product has at first where sums are conserved: more than all that is ever taken.
const PLENTY: i64 = 100_000;

/// What is answered to rows, which must succeed.
async fn sent(shop: &Shop, rows: Vec<Value>) -> Result<Value> {
    let lines = rows.len();
    let answer = Answer::to(update(shop, "", ndjson(rows))).await?.json(200)?;
    let count = |name: &str| answer["counts"][name].as_u64().unwrap_or_default();
    let sum: u64 =
        ["processed", "unchanged", "stale_ignored", "duplicates", "conflicting", "errors"].map(count).iter().sum();
    ensure!(sum == lines as u64 && count("lines") == sum, "counts add up: {}", answer["counts"]);
    Ok(answer)
}

/// All callers at once, each with requests of its own.
async fn all(call: impl AsyncFn(u64, u64) -> Result<()>) -> Result<()> {
    let call = &call;
    let caller = async |caller: u64| {
        for request in 0..REQUESTS {
            call(caller, request).await.with_context(|| format!("caller {caller}, request {request}"))?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..CALLERS).map(caller)).await.map(drop)
}

/// The products in the caller's order: one way or the other.
fn order(caller: u64) -> Vec<u64> {
    if caller.is_multiple_of(2) { (0..PRODUCTS).collect() } else { (0..PRODUCTS).rev().collect() }
}

/// What is taken from one product goes to another.
async fn sums_are_conserved(ground: &Arc<Ground>, seed: u64) -> Result<()> {
    let shop = Shop::open(ground).await?;
    sent(&shop, (0..PRODUCTS).map(|at| json!({"product_id": id(at), "delta": PLENTY})).collect()).await?;
    all(async |caller, request| {
        let mut dice = Dice::new(seed * 1_000 + caller * 100 + request);
        let order = order(caller);
        let rows = order.iter().flat_map(|at| {
            let (to, many) = (dice.within(0..PRODUCTS), dice.within(1..9));
            [json!({"product_id": id(*at), "delta": -(many as i64)}), json!({"product_id": id(to), "delta": many})]
        });
        let answer = sent(&shop, rows.collect()).await?;
        ensure!(
            answer["counts"]["processed"] == 2 * PRODUCTS && answer["counts"]["clamped"] == 0,
            "{}",
            answer["counts"]
        );
        Ok(())
    })
    .await?;
    let levels = shop.books.levels().await?;
    let sum: i64 = levels.values().map(|level| i64::from(*level)).sum();
    ensure!(sum == PLENTY * PRODUCTS as i64, "{sum} is left");
    shop.books.levels_add_up().await
}

/// Everything at once around zero: sets, comparisons, products without a row, ids that others have too; beside a file.
async fn nothing_is_negative(ground: &Arc<Ground>, seed: u64) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let of_file = (0..400).map(|at| json!({"product_id": id(at % PRODUCTS), "delta": at as i64 % 3 - 1}));
    let file = [File::new("stock_events.ndjson", ndjson(of_file))];
    let session = shop.declare(&file).await?;
    shop.upload(&session, &file).await?;
    all(async |caller, request| {
        let mut dice = Dice::new(seed * 1_000 + caller * 100 + request);
        let order = order(caller);
        let rows = order.iter().map(|at| {
            let mut row = json!({"product_id": id(at + request * 4)});
            if dice.chance(20) {
                row["set"] = json!(dice.within(0..5));
            } else {
                row["delta"] = json!(dice.within(0..9) as i64 - 5);
            }
            if dice.chance(10) {
                row["expected"] = json!(dice.within(0..5));
            }
            if dice.chance(30) {
                row["stock_event_id"] = json!(id(10_000 + dice.within(0..300)));
            }
            row
        });
        sent(&shop, rows.collect()).await.map(drop)
    })
    .await?;
    let since = Instant::now();
    while shop.status(&session).await?["state"] != "completed" {
        ensure!(since.elapsed() < Duration::from_secs(60), "the file does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(shop.books.levels().await?.values().all(|level| *level >= 0), "a level is negative");
    shop.books.levels_add_up().await
}

/// All send the same: one effect, and one of them is told of it.
async fn one_has_the_effect(ground: &Arc<Ground>) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let rows = |caller: u64, request: u64| -> Vec<Value> {
        let row = |at: &u64| json!({"product_id": id(*at), "delta": 1, "stock_event_id": id(1_000 * request + at)});
        order(caller).iter().map(row).collect()
    };
    for request in 0..REQUESTS {
        let answers = try_join_all((0..CALLERS).map(|caller| sent(&shop, rows(caller, request)))).await?;
        let processed = answers.iter().filter_map(|answer| answer["counts"]["processed"].as_u64()).sum::<u64>();
        ensure!(processed == PRODUCTS, "{processed} of {PRODUCTS} were processed");
    }
    let due: BTreeMap<_, _> = (0..PRODUCTS).map(|at| (id(at), REQUESTS as i32)).collect();
    ensure!(shop.books.levels().await? == due, "each counts once");
    shop.books.levels_add_up().await
}

pub(super) async fn sixteen_callers_in_opposite_orders_lose_nothing(ground: Arc<Ground>) -> Result<()> {
    let rounds = std::env::var("INTAKE_STOCK_ROUNDS").ok().map(|rounds| rounds.parse()).transpose()?.unwrap_or(3);
    for round in 0..rounds {
        let what = || format!("round {round}");
        sums_are_conserved(&ground, round).await.with_context(what)?;
        nothing_is_negative(&ground, round).await.with_context(what)?;
        one_has_the_effect(&ground).await.with_context(what)?;
    }
    Ok(())
}
