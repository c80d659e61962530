//! Prices change together with their history, what looks wrong is told, and a tenant's policy says what becomes of it.

use super::idempotency::kill_at;
use crate::support::{Answer, File, Ground, Shop, at, counts, id, lines, ndjson, product};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use intake_lambda::time::rfc3339;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// A shop with so many products, numbered from 1, that cost 19.99.
pub(super) async fn stocked(ground: &Arc<Ground>, products: u64) -> Result<Shop> {
    let shop = Shop::open(ground).await?;
    let file = File::new("products.ndjson", ndjson((1..=products).map(product)));
    let (_, status) = shop.send(&[file]).await?;
    assert_eq!(counts(&status)[1], products as i64);
    Ok(shop)
}

fn path(shop: &Shop, product: impl std::fmt::Display) -> String {
    format!("/api/v1/tenants/{}/products/{product}/price-event/", shop.id)
}

fn keyed(shop: &Shop, product: u64, key: &str, body: &Value) -> RequestBuilder {
    shop.request(Method::POST, &path(shop, id(product))).header("idempotency-key", key).json(body)
}

/// Sends an event with a key of its own.
pub(super) async fn change(shop: &Shop, product: u64, body: &Value) -> Result<Answer> {
    Answer::to(keyed(shop, product, &Uuid::new_v4().to_string(), body)).await
}

/// Sends an event that changes a price from one to another.
pub(super) async fn reprice(shop: &Shop, product: u64, old: f64, new: f64) -> Result<Value> {
    change(shop, product, &json!({"old_price": old, "new_price": new})).await?.json(201)
}

/// So many minutes ahead of the clock.
fn ahead(minutes: u64) -> String {
    rfc3339(SystemTime::now() + Duration::from_secs(60 * minutes))
}

async fn send_lines(shop: &Shop, body: Vec<u8>) -> Result<Vec<Value>> {
    let path = format!("/api/v1/tenants/{}/price-events", shop.id);
    let request = shop.request(Method::POST, &path).header("content-type", "application/x-ndjson").body(body);
    read_lines(&Answer::to(request).await?)
}

fn read_lines(answer: &Answer) -> Result<Vec<Value>> {
    ensure!(answer.status == 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

pub(super) async fn set_policy(shop: &Shop, policy: &str) -> Result<Answer> {
    let path = format!("/api/v1/tenants/{}/price-policy", shop.id);
    Answer::to(shop.request(Method::PUT, &path).json(&json!({"policy": policy}))).await
}

/// What a product costs.
pub(super) async fn price(shop: &Shop, product: u64) -> Result<String> {
    let prices = shop.books.texts("select price::text from products where product_id = $1", &[&id(product)]).await?;
    prices.into_iter().next().context("a product")
}

/// The prices that a product had, oldest first, each with whether it is flagged.
pub(super) async fn history(shop: &Shop, product: u64) -> Result<Vec<String>> {
    let sql = "select price::text || case when flagged then ' flagged' else '' end
        from price_history where product_id = $1 order by effective_from, id";
    shop.books.texts(sql, &[&id(product)]).await
}

/// Sees that each price ends where the next begins, and that what a product costs is the newest of those that have
/// begun.
pub(super) async fn chained(shop: &Shop) -> Result<()> {
    let sql = "select format('%s: %s', product_id, problem) from (
            select product_id, case
                when effective_to is distinct from lead(effective_from) over prices then 'a gap'
                when lead(id) over prices is null and price <> (
                    select price from products where products.product_id = price_history.product_id
                ) then 'another price'
            end as problem
            from price_history window prices as (partition by product_id order by effective_from, id)
        ) as links where problem is not null";
    let broken = shop.books.texts(sql, &[]).await?;
    ensure!(broken.is_empty(), "{broken:?}");
    Ok(())
}

pub(super) async fn an_event_changes_the_price_and_its_history(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 2).await?;
    let body = json!({"old_price": "19.99", "new_price": 17.49, "source": "pim", "metadata": {"campaign": "spring"}});
    let answer = change(&shop, 1, &body).await?;
    let told = answer.json(201)?;
    ensure!(answer.text.contains(r#""price":17.49,"#) && answer.text.contains(r#""pct_change":-12.51,"#), "{answer:?}");
    let event: Uuid = told["event_id"].as_str().context("an id")?.parse()?;
    assert_eq!(
        at(told.clone(), "processed_at", ""),
        json!({
            "event_id": event, "product_id": id(1), "anomaly_detected": false, "anomaly_reason": null, "reasons": [],
            "suspect": false, "pct_change": -12.51, "status": "processed", "price": 17.49, "processed_at": "",
        })
    );
    ensure!(told["processed_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
    reprice(&shop, 1, 17.49, 17.99).await?;
    assert_eq!((price(&shop, 1).await?.as_str(), price(&shop, 2).await?.as_str()), ("17.99", "19.99"));
    assert_eq!(history(&shop, 1).await?, ["17.49", "17.99"]);
    let stored =
        "select concat_ws(' ', price_events.product_id, old_price, new_price, source, metadata, outcome, suspect,
            event_time = received_at, price_history.effective_from = event_time)
        from price_events join price_history on id = price_event_id
        where price_event_id = $1";
    let due = format!(r#"{} 19.99 17.49 pim {{"campaign": "spring"}} applied f t t"#, id(1));
    assert_eq!(shop.books.texts(stored, &[&event]).await?, [due]);
    chained(&shop).await?;
    // the file that is sent once more is news, where a price was changed since
    let (_, status) = shop.send(&[File::new("products.ndjson", ndjson((1..=2).map(product)))]).await?;
    assert_eq!(counts(&status), [2, 0, 1, 1, 0]);
    assert_eq!(price(&shop, 1).await?, "19.99");
    let again = reprice(&shop, 1, 19.99, 20.49).await?;
    assert_eq!((&again["status"], &again["suspect"]), (&json!("processed"), &json!(false)));
    Ok(())
}

pub(super) async fn the_predecessors_words_are_kept(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let cases = [
        (100.0, 150.0, Some("Extreme price change"), json!(50.0)),
        (100.0, 50.0, Some("Extreme price change"), json!(-50.0)),
        (100.0, 149.99, Some("Significant price change"), json!(49.99)),
        (100.0, 75.0, Some("Significant price change"), json!(-25.0)),
        (100.01, 110.02, Some("Notable price change for high-value item"), json!(10.01)),
        (100.0, 110.0, None, json!(10.0)),
        (100.0, 100.0, None, json!(0.0)),
        (3.0, 2.5, None, json!(-16.67)),
    ];
    let products = (1..).zip(&cases).map(|(number, (old, ..))| at(product(number), "price", *old));
    shop.send(&[File::new("products.ndjson", ndjson(products))]).await?;
    for (number, (old, new, reason, change)) in (1..).zip(cases) {
        let told = reprice(&shop, number, old, new).await?;
        assert_eq!((&told["anomaly_reason"], &told["pct_change"]), (&json!(reason), &change), "{old} {new}: {told}");
        assert_eq!(told["anomaly_detected"], json!(reason.is_some()));
        assert_eq!(told["reasons"].as_array().map(Vec::is_empty), Some(reason.is_none()), "{told}");
        assert_eq!((&told["status"], &told["price"]), (&json!("processed"), &json!(new)));
    }
    let free = reprice(&shop, 1, 0.0, 150.0).await?;
    assert_eq!((&free["pct_change"], &free["reasons"][0]["code"]), (&Value::Null, &json!("STALE_OLD_PRICE")), "{free}");
    Ok(())
}

pub(super) async fn a_request_changes_a_price_once(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 1).await?;
    let body = json!({"old_price": 19.99, "new_price": 18.99});
    let first = Answer::to(keyed(&shop, 1, "once", &body)).await?;
    let again = Answer::to(keyed(&shop, 1, "once", &body)).await?;
    assert_eq!((first.status, again.status, &first.text), (201, 201, &again.text));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    let other = Answer::to(keyed(&shop, 1, "once", &json!({"old_price": 19.99, "new_price": 1}))).await?;
    assert_eq!(other.json(422)?["code"], "IDEMPOTENCY_KEY_REUSED");
    let none = Answer::to(shop.request(Method::POST, &path(&shop, id(1))).json(&body)).await?;
    assert_eq!(none.json(400)?["code"], "IDEMPOTENCY_KEY_REQUIRED");

    // an event is known by its id, too, whatever its key
    let event = Uuid::new_v4();
    let body = json!({"old_price": 18.99, "new_price": 18.49, "event_id": event});
    assert_eq!(change(&shop, 1, &body).await?.json(201)?["status"], "processed");
    let again = change(&shop, 1, &json!({"old_price": 18.49, "new_price": 1, "event_id": event})).await?.json(201)?;
    assert_eq!(
        (&again["status"], &again["first_status"], &again["price"], &again["pct_change"]),
        (&json!("duplicate"), &json!("processed"), &json!(18.49), &json!(-2.63))
    );
    assert_eq!(history(&shop, 1).await?, ["18.99", "18.49"]);
    assert_eq!(shop.books.texts("select count(*)::text from price_events", &[]).await?, ["2"]);
    Ok(())
}

pub(super) async fn a_product_has_ten_events_a_minute(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 2).await?;
    for _ in 0..10 {
        reprice(&shop, 1, 19.99, 19.99).await?;
    }
    let refused = change(&shop, 1, &json!({"old_price": 19.99, "new_price": 19.99})).await?;
    let problem = refused.json(429)?;
    assert_eq!(problem["code"], "RATE_LIMITED");
    ensure!(problem["retry_after"].as_u64().is_some_and(|seconds| (1..=60).contains(&seconds)), "{problem}");
    assert_eq!(refused.header("retry-after").map(str::to_owned), Some(problem["retry_after"].to_string()));
    reprice(&shop, 2, 19.99, 19.99).await?;
    Ok(())
}

pub(super) async fn a_policy_says_what_becomes_of_a_suspect_price(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 3).await?;
    let policy = format!("/api/v1/tenants/{}/price-policy", shop.id);
    assert_eq!(shop.get(&policy).await?.json(200)?, json!({"policy": "warn"}));
    for (product, policy, status, cost, past) in [
        (1, "warn", "processed", "199.90", &["199.90 flagged"][..]),
        (2, "hold", "held", "19.99", &[]),
        (3, "reject", "rejected", "19.99", &[]),
    ] {
        assert_eq!(set_policy(&shop, policy).await?.json(200)?, json!({"policy": policy}));
        let told = reprice(&shop, product, 19.99, 199.90).await?;
        assert_eq!((&told["status"], &told["suspect"]), (&json!(status), &json!(true)), "{told}");
        assert_eq!(told["anomaly_reason"], "Extreme price change");
        let codes: Vec<_> = told["reasons"].as_array().into_iter().flatten().map(|reason| &reason["code"]).collect();
        assert_eq!(codes, ["THRESHOLD_EXTREME", "DECIMAL_SHIFT"]);
        assert_eq!(
            (price(&shop, product).await?.as_str(), history(&shop, product).await?),
            (cost, past.iter().map(|price| (*price).to_owned()).collect())
        );
        let good = reprice(&shop, product, 19.99, 20.99).await?;
        assert_eq!(good["status"], "processed", "{policy}: {good}");
    }
    assert_eq!(shop.get(&policy).await?.json(200)?, json!({"policy": "reject"}));
    assert_eq!(set_policy(&shop, "reject").await?.status, 200);
    let refused = set_policy(&shop, "ignore").await?.json(422)?;
    assert_eq!(
        (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
        (&json!("/policy"), &json!("INVALID_VALUE"))
    );
    // the owner sees the entries of all tenants
    let noted = "select action::text from audit_log
        where tenant_id = $1 and action like 'price_policy%' order by logged_at";
    assert_eq!(shop.books.texts(noted, &[&shop.id]).await?, ["price_policy_hold", "price_policy_reject"]);
    chained(&shop).await
}

pub(super) async fn two_callers_at_once_leave_one_chain(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 6).await?;
    // each of the callers meets the others, one by one and in lots of opposite order
    let single = (0..8).map(async |nth| {
        reprice(&shop, 1 + nth % 2, 19.99, 20.0 + nth as f64 / 10.0).await.map(|told| told["status"].clone())
    });
    let lots = (0..6_u64).map(async |nth| {
        let mut products: Vec<u64> = (1..=6).collect();
        if nth % 2 == 0 {
            products.reverse();
        }
        let new = 20.5 + nth as f64 / 10.0;
        let body = |product: u64| json!({"product_id": id(product), "old_price": 19.99, "new_price": new});
        let told = send_lines(&shop, ndjson(products.into_iter().map(body))).await?;
        anyhow::Ok(told[6]["_meta"]["processed"].clone())
    });
    let (single, lots) = tokio::try_join!(try_join_all(single), try_join_all(lots))?;
    assert_eq!((single, lots), (vec![json!("processed"); 8], vec![json!(6); 6]));
    let count = "select count(*)::text from price_history union all select count(*)::text from price_events";
    assert_eq!(shop.books.texts(count, &[]).await?, ["44", "44"]);
    chained(&shop).await
}

pub(super) async fn a_function_that_dies_changes_a_price_once(ground: Arc<Ground>) -> Result<()> {
    let dies = async |point: &str, is_committed: bool| -> Result<()> {
        let shop = stocked(&ground, 1).await?;
        // in a lot of one, since it is asked for again more often than a product has events in a minute
        let path = format!("/api/v1/tenants/{}/price-events", shop.id);
        let row = json!({"product_id": id(1), "old_price": 19.99, "new_price": 18.99});
        let request = || shop.request(Method::POST, &path).header("idempotency-key", "once").body(row.to_string());
        let (answer, is_replayed) = kill_at(point, &shop, request).await?;
        assert_eq!((is_replayed, &read_lines(&answer)?[0]["status"]), (is_committed, &json!("processed")), "{point}");
        assert_eq!(history(&shop, 1).await?, ["18.99"], "{point}");
        chained(&shop).await
    };
    tokio::try_join!(
        dies("price-api.before-commit", false),
        dies("price-api.after-commit", true),
        dies("idempotency.answered", true)
    )?;
    Ok(())
}

pub(super) async fn a_product_that_is_uploaded_meanwhile_is_known(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 1).await?;
    // the upload has replaced the product and is not committed: an event waits for it, and finds the row that comes
    // then
    ground.arm("promote-file.before-commit", shop.id, "sleep 1500")?;
    let file = [File::new("products.ndjson", ndjson([at(at(product(1), "name", "Pot"), "price", 29.99)]))];
    let upload = shop.send(&file);
    let event = async {
        while ground.armed("promote-file.before-commit", shop.id).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reprice(&shop, 1, 29.99, 28.99).await
    };
    let ((_, status), told) = tokio::try_join!(upload, event)?;
    assert_eq!(counts(&status), [1, 0, 1, 0, 0]);
    assert_eq!(
        (&told["status"], &told["price"], &told["reasons"]),
        (&json!("processed"), &json!(28.99), &json!([])),
        "{told}"
    );
    assert_eq!(price(&shop, 1).await?, "28.99");
    chained(&shop).await
}

pub(super) async fn bad_input_is_named_and_changes_nothing(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 60).await?;
    let digits = "1".repeat(40);
    let skewed = ahead(6);
    let cases = [
        (r#"{"old_price": 1, "new_price": -0.01}"#.to_owned(), 422, "OUT_OF_RANGE", "/new_price"),
        (format!(r#"{{"old_price": {digits}, "new_price": 1}}"#), 422, "OUT_OF_RANGE", "/old_price"),
        (format!(r#"{{"old_price": "{digits}", "new_price": 1}}"#), 422, "OUT_OF_RANGE", "/old_price"),
        (r#"{"old_price": "NaN", "new_price": 1}"#.to_owned(), 422, "INVALID_DECIMAL", "/old_price"),
        (r#"{"old_price": "Infinity", "new_price": 1}"#.to_owned(), 422, "INVALID_DECIMAL", "/old_price"),
        (r#"{"old_price": "1,50", "new_price": 1}"#.to_owned(), 422, "INVALID_DECIMAL", "/old_price"),
        (r#"{"old_price": true, "new_price": 1}"#.to_owned(), 422, "WRONG_TYPE", "/old_price"),
        (r#"{"new_price": 1}"#.to_owned(), 422, "MISSING_FIELD", "/old_price"),
        (r#"{"old_price": 1, "new_price": null}"#.to_owned(), 422, "MISSING_FIELD", "/new_price"),
        (format!(r#"{{"old_price": 1, "new_price": 1, "event_time": "{skewed}"}}"#), 422, "CLOCK_SKEW", "/event_time"),
        (
            r#"{"old_price": 1, "new_price": 1, "event_time": "soon"}"#.to_owned(),
            422,
            "INVALID_TIMESTAMP",
            "/event_time",
        ),
        (r#"{"old_price": 1, "new_price": 1, "event_id": 7}"#.to_owned(), 422, "WRONG_TYPE", "/event_id"),
        (format!(r#"{{"old_price": 1, "new_price": 1, "source": "{}"}}"#, "x".repeat(51)), 422, "TOO_LONG", "/source"),
        (r#"{"old_price": 1, "new_price": 1, "metadata": [1]}"#.to_owned(), 422, "WRONG_TYPE", "/metadata"),
        (r#"{"old_price": 1, "new_price": 1, "currency": "EUR"}"#.to_owned(), 422, "UNKNOWN_FIELD", "/currency"),
        (r#"{"old_price": NaN, "new_price": 1}"#.to_owned(), 400, "INVALID_BODY", ""),
        (String::new(), 400, "INVALID_BODY", ""),
    ];
    for (number, (body, status, code, pointer)) in (1..).zip(cases) {
        let request = shop.request(Method::POST, &path(&shop, id(number))).header("content-type", "application/json");
        let answer = Answer::to(request.header("idempotency-key", "bad").body(body.clone())).await?;
        let problem = answer.json(status).with_context(|| body.clone())?;
        let of_field = problem["errors"][0]["code"].as_str().zip(problem["errors"][0]["pointer"].as_str());
        let found = of_field.unwrap_or((problem["code"].as_str().unwrap_or_default(), ""));
        assert_eq!(found, (code, pointer), "{body}: {problem}");
    }
    // all that is wrong is told at once
    let both = change(&shop, 40, &json!({"old_price": -1, "new_price": "x"})).await?.json(422)?;
    assert_eq!(both["errors"].as_array().map(Vec::len), Some(2), "{both}");
    let unknown = change(&shop, 99, &json!({"old_price": 1, "new_price": 1})).await?.json(404)?;
    assert_eq!(unknown["code"], "NOT_FOUND");
    let request = shop.request(Method::POST, &path(&shop, "kettle")).header("idempotency-key", "x");
    assert_eq!(Answer::to(request.json(&json!({"old_price": 1, "new_price": 1}))).await?.status, 404);
    let lots = format!("/api/v1/tenants/{}/price-events", shop.id);
    let send = async |body: Vec<u8>| Answer::to(shop.request(Method::POST, &lots).body(body)).await;
    assert_eq!(send(b"\n \n".to_vec()).await?.json(400)?["code"], "EMPTY_BODY");
    assert_eq!(send(Vec::new()).await?.json(400)?["code"], "EMPTY_BODY");
    assert_eq!(send(vec![b'x'; 10 << 20]).await?.status, 413);
    let line = json!({"product_id": id(1), "old_price": 1, "new_price": 1});
    let many = send(lines((0..10_001).map(|_| &line))).await?.json(413)?;
    ensure!(many["detail"].as_str().is_some_and(|detail| detail.contains("/api/v1/ingest/sessions")), "{many}");
    assert_eq!(shop.books.texts("select count(*)::text from price_events", &[]).await?, ["0"]);

    // from nothing, to nothing, and from long ago
    let free = change(&shop, 41, &json!({"old_price": 19.99, "new_price": 0})).await?.json(201)?;
    assert_eq!((&free["price"], &free["pct_change"]), (&json!(0.0), &json!(-100.0)));
    let back = change(&shop, 41, &json!({"old_price": 0, "new_price": "9999999999.99"})).await?;
    ensure!(back.text.contains(r#""price":9999999999.99,"#), "{back:?}");
    let body = json!({"old_price": 19.99, "new_price": 19.49, "event_time": "0001-01-01T00:00:00Z"});
    assert_eq!(change(&shop, 42, &body).await?.json(201)?["status"], "processed", "nothing is newer");
    reprice(&shop, 42, 19.49, 20.09).await?;
    let ancient = at(body, "event_time", "1970-01-01");
    let told = change(&shop, 42, &ancient).await?.json(201)?;
    assert_eq!((&told["status"], &told["price"]), (&json!("stale_ignored"), &json!(20.09)), "{told}");
    assert_eq!(history(&shop, 42).await?, ["19.49", "19.49", "20.09"], "{told}");
    let soon = at(json!({"old_price": 20.09, "new_price": 20.19}), "event_time", ahead(4));
    assert_eq!(change(&shop, 42, &soon).await?.json(201)?["status"], "processed");
    assert_eq!(reprice(&shop, 42, 20.19, 20.29).await?["price"], 20.29, "one that says no time is never behind");
    chained(&shop).await
}

/// Lines of which each becomes something else, and the words for what.
fn medley() -> (Vec<String>, Vec<&'static str>) {
    let event = id(900);
    let row = |product: u64, old: f64, new: f64| json!({"product_id": id(product), "old_price": old, "new_price": new});
    let cases = [
        (at(row(1, 19.99, 20.49), "event_time", "2026-03-01T00:00:00Z").to_string(), "processed"),
        (at(row(1, 20.49, 20.99), "event_id", event.to_string()).to_string(), "processed"),
        (at(row(2, 1.0, 2.0), "event_id", event.to_string()).to_string(), "duplicate"),
        (at(row(1, 19.99, 20.09), "event_time", "2026-02-01T00:00:00Z").to_string(), "stale_ignored"),
        (row(2, 19.99, 199.9).to_string(), "suspect"),
        (row(77, 1.0, 2.0).to_string(), "error"),
        (r#"{"product_id":"42","new_price":"NaN"}"#.to_owned(), "error"),
        ("{".to_owned(), "error"),
        (row(3, 19.99, 18.99).to_string(), "processed"),
        (at(row(3, 18.99, 18.49), "created_at", "2026-04-01T00:00:00").to_string(), "stale_ignored"),
    ];
    cases.into_iter().unzip()
}

pub(super) async fn lines_are_settled_each_for_itself(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 3).await?;
    set_policy(&shop, "hold").await?;
    let (rows, due) = medley();
    let body = [b"\xef\xbb\xbf\n".as_slice(), &lines(&rows)].concat();
    let mut told = send_lines(&shop, body.clone()).await?;
    let end = told.pop().context("a last line")?;
    let due: Vec<_> = due.into_iter().map(|word| if word == "suspect" { "held" } else { word }).collect();
    assert_eq!(
        told.iter().map(|line| line["status"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        due,
        "{told:?}"
    );
    assert_eq!(
        told.iter().map(|line| line["line"].as_u64()).collect::<Vec<_>>(),
        (2..12).map(Some).collect::<Vec<_>>()
    );
    let errors = |line: usize| {
        let errors = told[line]["errors"].as_array().into_iter().flatten();
        errors.map(|error| format!("{} {}", error["code"], error["pointer"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(errors(5), ["MISSING_REFERENCE /product_id"]);
    assert_eq!(errors(6), ["INVALID_UUID /product_id", "MISSING_FIELD /old_price", "INVALID_DECIMAL /new_price"]);
    assert_eq!(errors(7), ["INVALID_JSON "]);
    assert_eq!(
        at(end["_meta"].clone(), "processed_at", ""),
        json!({
            "lines": 10, "processed": 3, "held": 1, "rejected": 0, "stale_ignored": 2, "duplicates": 1, "errors": 3,
            "suspect": 1, "omitted": 0, "processed_at": "",
        })
    );
    assert_eq!((&told[2]["product_id"], &told[2]["first_status"]), (&json!(id(1)), &json!("processed")));
    assert_eq!(history(&shop, 1).await?, ["20.09", "20.49", "20.99"]);
    assert_eq!(history(&shop, 3).await?, ["18.49", "18.99"]);
    chained(&shop).await?;

    // as a form, packed, and with a key: once
    let path = format!("/api/v1/tenants/{}/price-events", shop.id);
    let row = json!({"product_id": id(2), "old_price": 19.99, "new_price": 20.19});
    let packed = zstd::encode_all(ndjson([row]).as_slice(), 1)?;
    let form = || {
        let head = "content-disposition: form-data; name=\"file\"; filename=\"prices.ndjson.zst\"";
        let body = [b"--x\r\n", head.as_bytes(), b"\r\n\r\n", &packed, b"\r\n--x--\r\n"].concat();
        let request = shop.request(Method::POST, &path).header("content-type", "multipart/form-data; boundary=x");
        request.header("idempotency-key", "a lot").body(body)
    };
    let (first, again) = (Answer::to(form()).await?, Answer::to(form()).await?);
    let told = read_lines(&first)?;
    assert_eq!((&told[0]["status"], &told[1]["_meta"]["processed"]), (&json!("processed"), &json!(1)), "{told:?}");
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")));
    Ok(())
}

pub(super) async fn a_long_answer_tells_of_every_line(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 50).await?;
    let rows = (0..10_000_u64).map(|nth| {
        let new = if nth % 3 == 0 { 500.0 } else { 19.99 };
        json!({"product_id": id(1 + nth % 50), "old_price": 19.99, "new_price": new})
    });
    let body = zstd::encode_all(ndjson(rows).as_slice(), 1)?;
    let mut told = send_lines(&shop, body).await?;
    let meta = told.pop().context("a last line")?["_meta"].clone();
    assert_eq!((told.len(), &meta["lines"]), (10_000, &json!(10_000)));
    ensure!(meta["omitted"].as_u64().is_some_and(|omitted| omitted > 0), "{meta}");
    let of = |status: &str| json!(told.iter().filter(|line| line["status"] == status).count());
    assert_eq!(of("processed"), meta["processed"]);
    assert_eq!(
        told.iter().filter(|line| line["reasons"].is_null()).count(),
        meta["omitted"].as_u64().unwrap_or(0) as usize
    );
    chained(&shop).await
}

pub(super) async fn a_file_of_events_is_settled_as_a_request_is(ground: Arc<Ground>) -> Result<()> {
    let (rows, due) = medley();
    for policy in ["warn", "hold", "reject"] {
        let (asked, uploaded) = (stocked(&ground, 3).await?, stocked(&ground, 3).await?);
        set_policy(&asked, policy).await?;
        set_policy(&uploaded, policy).await?;
        let told = send_lines(&asked, lines(&rows)).await?;
        // in a dry run first: the same, and nothing goes in
        let file = File::new("price_events.ndjson", lines(&rows));
        let rejected = due.iter().filter(|word| **word == "error").count() as i64 + i64::from(policy == "reject");
        let counted = [10, 9 - rejected, 0, 1, rejected];
        let declared = file.declared();
        let session = uploaded.create(&json!({"files": [declared], "dry_run": true})).await?;
        uploaded.upload(&session, std::slice::from_ref(&file)).await?;
        assert_eq!(counts(&uploaded.finished(&session).await?), counted, "{policy}, in a dry run");
        assert_eq!(uploaded.books.texts("select count(*)::text from price_events", &[]).await?, ["0"]);

        let (session, status) = uploaded.send(std::slice::from_ref(&file)).await?;
        assert_eq!(counts(&status), counted, "{policy}");
        let rejects = uploaded.rejects(&session, 100).await?;
        let codes: BTreeMap<_, _> =
            rejects.iter().map(|reject| (reject.line, reject.errors[0].code.as_str())).collect();
        let suspect = (policy == "reject").then_some((5, "SUSPECT_PRICE"));
        let refused = [(6, "MISSING_REFERENCE"), (7, "INVALID_UUID"), (8, "INVALID_JSON")];
        assert_eq!(codes, suspect.into_iter().chain(refused).collect(), "{policy}");
        for product in 1..=3 {
            let (ours, theirs) = (history(&uploaded, product).await?, history(&asked, product).await?);
            assert_eq!(ours, theirs, "{policy}: {told:?}");
            assert_eq!(price(&uploaded, product).await?, price(&asked, product).await?, "{policy}");
        }
        let outcomes = "select concat_ws(' ', product_id, new_price, outcome, suspect, anomaly_reason, reasons)
            from price_events order by product_id, new_price, outcome";
        assert_eq!(uploaded.books.texts(outcomes, &[]).await?, asked.books.texts(outcomes, &[]).await?, "{policy}");
        chained(&uploaded).await?;
    }
    Ok(())
}

pub(super) async fn another_tenants_prices_are_unknown(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (stocked(&ground, 1).await?, Shop::open(&ground).await?);
    let body = json!({"old_price": 19.99, "new_price": 18.99});
    let answer = change(&other, 1, &body).await?;
    assert_eq!(answer.json(404)?["code"], "NOT_FOUND", "the other has no such product");
    for (method, tail) in [
        (Method::POST, format!("products/{}/price-event", id(1))),
        (Method::POST, "price-events".to_owned()),
        (Method::GET, "price-holds".to_owned()),
        (Method::POST, format!("price-holds/{}/approve", id(1))),
        (Method::POST, format!("price-holds/{}/reject", id(1))),
        (Method::GET, "price-policy".to_owned()),
        (Method::PUT, "price-policy".to_owned()),
    ] {
        let request = other.request(method, &format!("/api/v1/tenants/{}/{tail}", shop.id));
        assert_eq!(Answer::to(request.header("idempotency-key", "x").json(&body)).await?.status, 404, "{tail}");
    }
    assert_eq!(price(&shop, 1).await?, "19.99");
    let lines = send_lines(&other, ndjson([at(body, "product_id", id(1).to_string())])).await?;
    assert_eq!(lines[0]["errors"][0]["code"], "MISSING_REFERENCE");
    Ok(())
}
