//! Prices that are held wait until somebody decides, or a newer event comes.

use super::prices::{chained, change, history, price, reprice, set_policy, stocked};
use crate::support::{Answer, Ground, Shop, id};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// A shop with so many products whose suspect prices are held.
async fn holding(ground: &Arc<Ground>, products: u64) -> Result<Shop> {
    let shop = stocked(ground, products).await?;
    set_policy(&shop, "hold").await?;
    Ok(shop)
}

/// Sends a price that is held, and gives the id of its event.
pub(super) async fn hold(shop: &Shop, product: u64, new: f64) -> Result<String> {
    let told = reprice(shop, product, 19.99, new).await?;
    assert_eq!(told["status"], "held", "{told}");
    told["event_id"].as_str().map(str::to_owned).context("an id")
}

async fn list(shop: &Shop, query: &str) -> Result<Value> {
    shop.get(&format!("/api/v1/tenants/{}/price-holds?{query}", shop.id)).await?.json(200)
}

/// The events of a list, with their states.
async fn states(shop: &Shop, query: &str) -> Result<Vec<(String, String)>> {
    let page = list(shop, query).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let holds = page["holds"].as_array().context("holds")?;
    Ok(holds.iter().map(|hold| (text(&hold["event_id"]), text(&hold["state"]))).collect())
}

async fn decide(shop: &Shop, event: &str, word: &str) -> Result<Answer> {
    let path = format!("/api/v1/tenants/{}/price-holds/{event}/{word}", shop.id);
    Answer::to(shop.request(Method::POST, &path).header("content-length", 0)).await
}

pub(super) async fn a_held_price_goes_in_when_it_is_approved(ground: Arc<Ground>) -> Result<()> {
    let shop = holding(&ground, 2).await?;
    let (one, two) = (hold(&shop, 1, 199.9).await?, hold(&shop, 2, 1.99).await?);
    let page = list(&shop, "").await?;
    assert_eq!(page["next_cursor"], Value::Null);
    let first = &page["holds"][1];
    assert_eq!((&first["event_id"], &first["state"]), (&json!(one), &json!("pending")), "the newest stands first");
    let due = json!([id(1), 19.99, 199.9, 19.99, 900.0, "Extreme price change", Value::Null]);
    let fields = ["product_id", "old_price", "new_price", "price", "pct_change", "anomaly_reason", "decided_at"];
    assert_eq!(json!(fields.map(|field| &first[field])), due, "{first}");

    let approved = decide(&shop, &one, "approve").await?;
    let told = approved.json(200)?;
    assert_eq!((&told["state"], &told["price"]), (&json!("approved"), &json!(199.9)), "{told}");
    assert_eq!((price(&shop, 1).await?.as_str(), history(&shop, 1).await?), ("199.90", vec!["199.90".to_owned()]));
    let rejected = decide(&shop, &two, "reject").await?.json(200)?;
    assert_eq!((&rejected["state"], &rejected["price"]), (&json!("rejected"), &json!(19.99)));
    assert_eq!((price(&shop, 2).await?.as_str(), history(&shop, 2).await?.len()), ("19.99", 0));
    // decided again, the same; otherwise, no more
    assert_eq!(decide(&shop, &one, "approve").await?.text, approved.text);
    for (event, word) in [(&one, "reject"), (&two, "approve")] {
        assert_eq!(decide(&shop, event, word).await?.json(409)?["code"], "ALREADY_DECIDED");
    }
    assert_eq!(states(&shop, "").await?, []);
    assert_eq!(states(&shop, "state=approved").await?, [(one.clone(), "approved".to_owned())]);
    assert_eq!(states(&shop, "state=all").await?.len(), 2);
    // what was approved is learnt from
    let next = reprice(&shop, 1, 199.9, 199.0).await?;
    assert_eq!((&next["status"], &next["suspect"]), (&json!("processed"), &json!(false)));
    for unknown in [Uuid::new_v4().to_string(), next["event_id"].as_str().context("an id")?.to_owned(), "x".to_owned()]
    {
        assert_eq!(decide(&shop, &unknown, "approve").await?.json(404)?["code"], "NOT_FOUND", "{unknown}");
    }
    chained(&shop).await
}

pub(super) async fn a_newer_event_takes_the_place_of_a_held_price(ground: Arc<Ground>) -> Result<()> {
    let shop = holding(&ground, 1).await?;
    let first = hold(&shop, 1, 199.9).await?;
    let second = hold(&shop, 1, 299.9).await?;
    let state = |event: &String, state: &str| (event.clone(), state.to_owned());
    assert_eq!(states(&shop, "state=all").await?, [state(&second, "pending"), state(&first, "superseded")]);
    assert_eq!(decide(&shop, &first, "approve").await?.json(409)?["code"], "ALREADY_DECIDED");
    // an event of before says nothing about it
    let body = json!({"old_price": 19.99, "new_price": 20.09, "event_time": "2026-01-01T00:00:00Z"});
    assert_eq!(change(&shop, 1, &body).await?.json(201)?["status"], "processed", "no price is newer than it");
    assert_eq!(states(&shop, "").await?, [state(&second, "pending")]);
    assert_eq!(reprice(&shop, 1, 20.09, 20.49).await?["status"], "processed");
    assert_eq!(states(&shop, "").await?, []);
    assert_eq!(states(&shop, "state=superseded").await?, [state(&second, "superseded"), state(&first, "superseded")]);
    assert_eq!(decide(&shop, &second, "reject").await?.json(409)?["code"], "ALREADY_DECIDED");
    // within one request, too
    let row = |new: f64| json!({"product_id": id(1), "old_price": 20.49, "new_price": new}).to_string();
    let path = format!("/api/v1/tenants/{}/price-events", shop.id);
    let body = [row(205.0), row(206.0), row(20.59), row(207.0)].join("\n");
    let told = Answer::to(shop.request(Method::POST, &path).body(body)).await?;
    assert_eq!(told.text.matches(r#""status":"held""#).count(), 3, "{told:?}");
    assert_eq!(states(&shop, "").await?.len(), 1);
    assert_eq!(states(&shop, "state=superseded").await?.len(), 4);
    assert_eq!(price(&shop, 1).await?, "20.59");
    chained(&shop).await
}

pub(super) async fn of_many_who_decide_at_once_one_decides(ground: Arc<Ground>) -> Result<()> {
    let shop = holding(&ground, 1).await?;
    let event = hold(&shop, 1, 199.9).await?;
    let all = (0..10).map(|nth| decide(&shop, &event, if nth % 2 == 0 { "approve" } else { "reject" }));
    let newer = async {
        let row = json!({"product_id": id(1), "old_price": 19.99, "new_price": 20.09}).to_string();
        let path = format!("/api/v1/tenants/{}/price-events", shop.id);
        Answer::to(shop.request(Method::POST, &path).body(row)).await
    };
    let (answers, newer) = tokio::try_join!(try_join_all(all), newer)?;
    assert_eq!(newer.status, 200, "{newer:?}");
    let held = states(&shop, "state=all").await?;
    let (_, state) = held.into_iter().find(|(held, _)| *held == event).context("the hold")?;
    let due = match state.as_str() {
        "approved" => [Some(0), None],
        "rejected" => [None, Some(1)],
        _ => [None, None],
    };
    for (nth, answer) in answers.iter().enumerate() {
        let is_theirs = due.contains(&Some(nth % 2));
        assert_eq!(answer.status, if is_theirs { 200 } else { 409 }, "{state}: {answer:?}");
    }
    let prices = history(&shop, 1).await?;
    assert_eq!(prices.contains(&"199.90".to_owned()), state == "approved", "{state}: {prices:?}");
    chained(&shop).await
}

pub(super) async fn held_prices_come_in_pages(ground: Arc<Ground>) -> Result<()> {
    let shop = holding(&ground, 7).await?;
    let mut held = BTreeSet::new();
    for product in 1..=7 {
        held.insert(hold(&shop, product, 199.9).await?);
    }
    let (mut found, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let page = list(&shop, &query).await?;
        let holds = page["holds"].as_array().context("holds")?;
        found.extend(holds.iter().map(|hold| hold["event_id"].as_str().unwrap_or_default().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=3&cursor={cursor}");
    }
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (7, held));
    for (query, code) in [
        ("limit=0", "INVALID_LIMIT"),
        ("limit=201", "INVALID_LIMIT"),
        ("state=lost", "INVALID_STATE"),
        ("cursor=1", "INVALID_CURSOR"),
        ("cursor=99999999999999999999-0", "INVALID_CURSOR"),
    ] {
        let answer = shop.get(&format!("/api/v1/tenants/{}/price-holds?{query}", shop.id)).await?;
        assert_eq!(answer.json(400)?["errors"][0]["code"], code, "{query}");
    }
    Ok(())
}
