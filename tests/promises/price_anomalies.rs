//! What looked wrong about prices is told in the order in which it was recorded, while it happens, and nothing is missed.

use crate::support::{Answer, Dice, FOLLOW_SECONDS, Ground, Probe, Shop, id, product};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use intake_aws::RateTable;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_domain::rate::Quotas;
use intake_lambda::edge::{Edge, Limiter};
use intake_postgres::Database;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

/// How long other tests may hold up what is told: it waits for every transaction that is older.
const PATIENCE: Duration = Duration::from_secs(30);

/// A price event as it is recorded.
#[derive(Clone)]
struct Event {
    id: Uuid,
    product: Uuid,
    old_price: &'static str,
    new_price: &'static str,
    pct_change: Option<&'static str>,
    is_anomaly: bool,
    hours_ago: i32,
    outcome: &'static str,
    decision: Option<&'static str>,
    place: i32,
}

/// An event of that product that looked wrong.
fn wrong(product: Uuid) -> Event {
    Event {
        id: Uuid::now_v7(),
        product,
        old_price: "10.00",
        new_price: "100.00",
        pct_change: Some("900.00"),
        is_anomaly: true,
        hours_ago: 0,
        outcome: "applied",
        decision: None,
        place: 0,
    }
}

/// A shop with prices, and the database's owner acting for it.
struct Prices {
    shop: Shop,
    owner: Client,
}

impl Prices {
    /// A shop with products 1 to `products`.
    async fn new(ground: &Arc<Ground>, products: u64) -> Result<Self> {
        let shop = Shop::open(ground).await?;
        let owner = acting_for(&shop).await?;
        let sql = "insert into products (tenant_id, product_id, sku, name, price, active, created_at, payload_hash)
            values ($1, $2, $3, 'Kettle', 10, true, now(), '')";
        for number in 1..=products {
            owner.execute(sql, &[&shop.id, &id(number), &product(number)["sku"].as_str()]).await?;
        }
        Ok(Self { shop, owner })
    }

    async fn record(&self, event: &Event) -> Result<()> {
        record(&self.owner, self.shop.id, event).await
    }

    fn of_product(&self, number: u64, query: &str) -> String {
        format!("/api/v1/tenants/{}/products/{}/price-anomalies?{query}", self.shop.id, id(number))
    }

    fn of_tenant(&self, query: &str) -> String {
        format!("/api/v1/tenants/{}/price-anomalies?{query}", self.shop.id)
    }

    /// The anomalies of an answer that is whole, and its `_meta`.
    async fn read(&self, path: &str) -> Result<(Vec<Value>, Value)> {
        let answer = self.shop.get(path).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(answer.header("content-type") == Some("application/x-ndjson"), "{answer:?}");
        let lines = answer.text.lines().map(serde_json::from_str);
        let mut lines = lines.collect::<Result<Vec<Value>, _>>().context(answer.text.clone())?;
        let end = lines.pop().context("a last line")?;
        let meta = end.get("_meta").with_context(|| format!("{end}"))?;
        ensure!(meta["total_anomalies"] == lines.len(), "{meta}");
        Ok((lines, meta.clone()))
    }

    /// As `read`, once there are so many of them.
    async fn read_all(&self, path: &str, count: usize) -> Result<(Vec<Value>, Value)> {
        let since = Instant::now();
        loop {
            let (lines, meta) = self.read(path).await?;
            if lines.len() >= count {
                return Ok((lines, meta));
            }
            ensure!(since.elapsed() < PATIENCE, "{} of {count} are told", lines.len());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn acting_for(shop: &Shop) -> Result<Client> {
    let owner = intake_postgres::connect(&shop.ground.endpoints.owner_database_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&shop.id.to_string()]).await?;
    Ok(owner)
}

async fn record(owner: &impl GenericClient, tenant: Uuid, event: &Event) -> Result<()> {
    let sql = "insert into price_events (
            tenant_id, price_event_id, product_id, old_price, new_price, pct_change, event_time, received_at, outcome,
            decision, decided_at, anomaly_detected, anomaly_reason, suspect, reasons, place, source
        ) values (
            $1, $2, $3, $4::text::numeric, $5::text::numeric, $6::text::numeric, '2026-01-31 03:04:05Z',
            now() - make_interval(hours => $7), $8, $9::varchar, case when $9::varchar is not null then now() end, $10,
            case when $10 then 'Extreme price change' end, $10, $11, $12, 'pim'
        )";
    let reasons = json!([{"code": "THRESHOLD_EXTREME", "detail": "it changes by 900.00 %", "score": 18.0}]);
    let reasons = if event.is_anomaly { reasons } else { json!([]) };
    owner
        .execute(
            sql,
            &[
                &tenant,
                &event.id,
                &event.product,
                &event.old_price,
                &event.new_price,
                &event.pct_change,
                &event.hours_ago,
                &event.outcome,
                &event.decision,
                &event.is_anomaly,
                &reasons,
                &event.place,
            ],
        )
        .await?;
    Ok(())
}

fn event_id(line: &Value) -> Option<Uuid> {
    line["event_id"].as_str()?.parse().ok()
}

fn ids(lines: &[Value]) -> Vec<Uuid> {
    lines.iter().filter_map(event_id).collect()
}

/// An answer that is read while it comes.
struct Followed {
    answer: Response,
    held: Vec<u8>,
}

impl Followed {
    async fn open(shop: &Shop, path: &str) -> Result<Self> {
        let answer = shop.request(Method::GET, path).send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(Self { answer, held: Vec::new() })
    }

    /// The next line, without its end; `None` at the end of the answer.
    async fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Ok(Some(String::from_utf8(line)?.trim_end().to_owned()));
            }
            match self.answer.chunk().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next line that says something, which comes within that time.
    async fn told(&mut self, within: Duration) -> Result<Value> {
        let told = async {
            loop {
                let line = self.line().await?.context("the answer has ended")?;
                if !line.is_empty() {
                    return anyhow::Ok(serde_json::from_str(&line)?);
                }
            }
        };
        timeout(within, told).await.with_context(|| format!("nothing was told in {within:?}"))?
    }
}

pub(super) async fn anomalies_are_told_as_they_stand(ground: Arc<Ground>) -> Result<()> {
    let prices = Prices::new(&ground, 2).await?;
    let foreign = Prices::new(&ground, 1).await?;
    foreign.record(&wrong(id(1))).await?;
    let events = [
        Event { hours_ago: 30, ..wrong(id(1)) },
        Event { old_price: "19.90", new_price: "9999999999.99", pct_change: Some("50251256180.35"), ..wrong(id(1)) },
        Event { is_anomaly: false, ..wrong(id(1)) },
        Event { outcome: "held", decision: Some("approved"), ..wrong(id(2)) },
        Event { old_price: "0.00", pct_change: None, outcome: "rejected", ..wrong(id(1)) },
    ];
    for event in &events {
        prices.record(event).await?;
    }
    let ids_of = |picked: &[usize]| picked.iter().map(|at| events[*at].id).collect::<Vec<_>>();

    let (lines, meta) = prices.read_all(&prices.of_product(1, ""), 2).await?;
    assert_eq!(ids(&lines), ids_of(&[1, 4]), "of that product, within a day, oldest first");
    assert_eq!((&meta["time_range_hours"], &meta["next_after"]), (&json!(24), &Value::Null));
    assert_eq!(meta["product_id"], json!(id(1)));
    assert_eq!(lines[0]["reasons"][0]["code"], "THRESHOLD_EXTREME");
    assert_eq!(lines[0]["status"], "processed", "as the answer to the event said");
    assert_eq!((&lines[0]["event_time"], &lines[0]["source"]), (&json!("2026-01-31T03:04:05.000Z"), &json!("pim")));
    assert_eq!((&lines[1]["pct_change"], &lines[1]["status"]), (&Value::Null, &json!("rejected")));
    // decimals are the digits that were stored, which no float has
    let text = prices.shop.get(&prices.of_product(1, "")).await?.text;
    let digits = r#""old_price":19.90,"new_price":9999999999.99,"pct_change":50251256180.35,"anomaly_reason":"Extreme"#;
    assert!(text.contains(digits), "{text}");

    let (lines, meta) = prices.read_all(&prices.of_tenant("hours=48"), 4).await?;
    assert_eq!(ids(&lines), ids_of(&[0, 1, 3, 4]), "of all products");
    assert_eq!((lines[2]["status"].as_str(), meta.get("product_id")), (Some("approved"), None));
    let (lines, meta) = prices.read(&prices.of_tenant("hours=48&limit=3")).await?;
    assert_eq!((ids(&lines), &meta["next_after"]), (ids_of(&[1, 3, 4]), &Value::Null), "the newest");

    // what comes after an event, however old that is
    let after = |at: usize, more: &str| format!("after={}{more}", events[at].id);
    let (lines, meta) = prices.read(&prices.of_tenant(&after(0, "&limit=2"))).await?;
    assert_eq!((ids(&lines), &meta["next_after"]), (ids_of(&[1, 3]), &json!(events[3].id)));
    assert_eq!(meta["time_range_hours"], 720);
    let (lines, meta) = prices.read(&prices.of_tenant(&after(3, ""))).await?;
    assert_eq!((ids(&lines), &meta["next_after"]), (ids_of(&[4]), &Value::Null));
    let (lines, _) = prices.read(&prices.of_product(1, &after(2, ""))).await?;
    assert_eq!(ids(&lines), ids_of(&[4]), "after an event that did not look wrong");
    let (lines, _) = prices.read(&prices.of_tenant(&after(4, ""))).await?;
    assert!(lines.is_empty());
    Ok(())
}

pub(super) async fn many_come_in_pages_of_any_size(ground: Arc<Ground>) -> Result<()> {
    let prices = Prices::new(&ground, 1).await?;
    let sql = "insert into price_events (
            tenant_id, price_event_id, product_id, old_price, new_price, pct_change, event_time, received_at, outcome,
            anomaly_detected, anomaly_reason, suspect, reasons, place
        )
        select $1, gen_random_uuid(), $2, 10, 100, 900, now(), now(), 'applied', true, 'Extreme price change', true, '[]', place
        from generate_series(1, 1300) as place";
    prices.owner.execute(sql, &[&prices.shop.id, &id(1)]).await?;
    let stored = "select price_event_id from price_events where tenant_id = $1 order by place";
    let stored = prices.owner.query(stored, &[&prices.shop.id]).await?;
    let stored: Vec<Uuid> = stored.iter().map(|row| row.get(0)).collect();

    let (newest, meta) = prices.read_all(&prices.of_tenant("limit=1000"), 1_000).await?;
    assert!(ids(&newest) == stored[300..] && meta["next_after"].is_null(), "the newest thousand");
    let (some, meta) = prices.read(&prices.of_product(1, "limit=251")).await?;
    assert!(ids(&some) == stored[1_049..] && meta["next_after"].is_null());
    for limit in [1_000, 333, 250] {
        let (mut told, mut after) = (vec![stored[0]], Some(stored[0]));
        while let Some(event) = after {
            let (lines, meta) = prices.read(&prices.of_tenant(&format!("after={event}&limit={limit}"))).await?;
            told.extend(ids(&lines));
            after = meta["next_after"].as_str().map(str::parse).transpose()?;
            assert!(after.is_none() || after == told.last().copied(), "{meta}");
        }
        assert!(told == stored, "in pages of {limit}");
    }
    Ok(())
}

pub(super) async fn a_wrong_parameter_is_named(ground: Arc<Ground>) -> Result<()> {
    let prices = Prices::new(&ground, 2).await?;
    let foreign = Prices::new(&ground, 1).await?;
    let (of_two, of_others) = (wrong(id(2)), wrong(id(1)));
    prices.record(&of_two).await?;
    foreign.record(&of_others).await?;
    let nobodys = Uuid::now_v7();
    for (query, parameter, code) in [
        ("limit=0", "limit", "INVALID_LIMIT"),
        ("limit=1001", "limit", "INVALID_LIMIT"),
        ("limit=-1", "limit", "INVALID_LIMIT"),
        ("limit=ten", "limit", "INVALID_VALUE"),
        ("limit=", "limit", "INVALID_VALUE"),
        ("limit=5&limit=5", "limit", "INVALID_VALUE"),
        ("hours=0", "hours", "INVALID_VALUE"),
        ("hours=721", "hours", "INVALID_VALUE"),
        ("hours=-1", "hours", "INVALID_VALUE"),
        ("hours=1.5", "hours", "INVALID_VALUE"),
        ("hours=99999999999999999999", "hours", "INVALID_VALUE"),
        ("follow=yes", "follow", "INVALID_VALUE"),
        ("follow", "follow", "INVALID_VALUE"),
        ("cursor=1", "cursor", "UNKNOWN_FIELD"),
        ("after=", "after", "INVALID_CURSOR"),
        ("after=42", "after", "INVALID_CURSOR"),
        (&format!("after={nobodys}"), "after", "INVALID_CURSOR"),
        (&format!("after={}", of_others.id), "after", "INVALID_CURSOR"),
        (&format!("after={}", of_two.id), "after", "INVALID_CURSOR"),
    ] {
        let problem = prices.shop.get(&prices.of_product(1, query)).await?.json(400)?;
        assert_eq!(problem["code"], "INVALID_QUERY", "{query}: {problem}");
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(format!("/{parameter}")), &json!(code)), "{query}");
        if !query.contains(&of_two.id.to_string()) {
            assert_eq!(prices.shop.get(&prices.of_tenant(query)).await?.status, 400, "{query}");
        }
    }
    let unknown = [prices.of_product(3, ""), prices.of_product(3, "follow=true"), prices.of_product(3, "limit=9")];
    for path in unknown.into_iter().chain([prices.of_product(1, "").replace(&id(1).to_string(), "kettle")]) {
        assert_eq!(prices.shop.get(&path).await?.json(404)?["code"], "NOT_FOUND", "{path}");
    }
    assert_eq!(foreign.shop.get(&prices.of_tenant("")).await?.status, 404, "another's path");
    Ok(())
}

/// As the function is where `RESPONSE_MODE` is not `stream`.
pub(super) async fn where_answers_are_sent_whole_none_is_followed(ground: Arc<Ground>) -> Result<()> {
    let prices = Prices::new(&ground, 1).await?;
    prices.record(&wrong(id(1))).await?;
    prices.read_all(&prices.of_tenant(""), 1).await?;
    let database = Arc::new(Database::new(&ground.endpoints.api_database_url, "probe")?);
    let records = Records::new(&ground.aws, ground.table("IdempotencyTable")?.to_owned(), CLAIM_LIFETIME);
    let limiter = Limiter::new(RateTable::new(&ground.aws, ground.table("RateTable")?.to_owned()), Quotas::default());
    let edge = Edge::new(Arc::clone(&database), records, limiter);
    let app = price_api::App { database, follow: PATIENCE };
    let probe = Probe::of(price_api::all().serve(Arc::new(app), Arc::new(edge)));
    let request = |query: &str| prices.shop.request(Method::GET, &prices.of_tenant(query));
    let problem = probe.answer(request("follow=true")).await?.json(400)?;
    assert_eq!(problem["errors"][0]["code"], "NOT_STREAMED", "{problem}");
    let whole = probe.answer(request("follow=false")).await?;
    assert_eq!((whole.status, whole.text.lines().count()), (200, 2), "{whole:?}");
    Ok(())
}

/// Each of many writers records an event, waits, and commits, while a reader goes on from the last event that it was told.
pub(super) async fn who_reads_on_misses_nothing(ground: Arc<Ground>) -> Result<()> {
    const WRITERS: usize = 6;
    const EVENTS: usize = 12;
    let prices = Prices::new(&ground, 1).await?;
    let first = wrong(id(1));
    prices.record(&first).await?;

    // one that begins first and commits last
    let mut late = acting_for(&prices.shop).await?;
    let transaction = late.transaction().await?;
    transaction.execute("select pg_current_xact_id()", &[]).await?;
    let soon = wrong(id(1));
    prices.record(&soon).await?;
    let (lines, meta) = prices.read_all(&prices.of_tenant(&format!("hours=1&after={}", first.id)), 0).await?;
    assert!(lines.is_empty() && meta["next_after"].is_null(), "an older transaction may still record: {lines:?}");
    let belated = wrong(id(1));
    record(&transaction, prices.shop.id, &belated).await?;
    transaction.commit().await?;
    let (lines, _) = prices.read_all(&prices.of_tenant(&format!("after={}", first.id)), 2).await?;
    assert_eq!(ids(&lines), [belated.id, soon.id], "in the order of their transactions");

    let write = |writer: usize| {
        let prices = &prices;
        async move {
            let mut client = acting_for(&prices.shop).await?;
            let mut dice = Dice::new(writer as u64);
            let mut written = Vec::new();
            for place in 0..EVENTS {
                let transaction = client.transaction().await?;
                let event = Event { place: place as i32, ..wrong(id(1)) };
                record(&transaction, prices.shop.id, &event).await?;
                sleep(Duration::from_millis(dice.within(0..60))).await;
                transaction.commit().await?;
                written.push(event.id);
            }
            anyhow::Ok(written)
        }
    };
    let read = async {
        let (mut told, since) = (vec![soon.id], Instant::now());
        while told.len() <= WRITERS * EVENTS {
            let last = told[told.len() - 1];
            let (lines, _) = prices.read(&prices.of_tenant(&format!("limit=7&after={last}"))).await?;
            told.extend(ids(&lines));
            ensure!(since.elapsed() < PATIENCE, "{} are told", told.len());
        }
        anyhow::Ok(told)
    };
    let (written, told) = tokio::try_join!(try_join_all((0..WRITERS).map(write)), read)?;
    let written: HashSet<Uuid> = written.into_iter().flatten().collect();
    let once: HashSet<Uuid> = told[1..].iter().copied().collect();
    assert_eq!((once == written, told.len() - 1), (true, WRITERS * EVENTS), "each of them, and each once");
    Ok(())
}

pub(super) async fn a_line_is_read_before_the_next_is_written(ground: Arc<Ground>) -> Result<()> {
    const SOON: Duration = Duration::from_secs(2);
    let prices = Prices::new(&ground, 2).await?;
    let first = wrong(id(1));
    prices.record(&first).await?;
    let mut of_product = Followed::open(&prices.shop, &prices.of_product(1, "follow=true&limit=1")).await?;
    let mut of_tenant = Followed::open(&prices.shop, &prices.of_tenant("follow=true")).await?;
    assert_eq!(event_id(&of_product.told(SOON).await?), Some(first.id));
    assert_eq!(event_id(&of_tenant.told(SOON).await?), Some(first.id));
    // a limit is of what there was at the beginning
    for number in [2, 1, 1] {
        let next = wrong(id(number));
        prices.record(&next).await?;
        assert_eq!(event_id(&of_tenant.told(SOON).await?), Some(next.id));
        if number == 1 {
            assert_eq!(event_id(&of_product.told(SOON).await?), Some(next.id));
        }
    }
    // as the API records it
    let path = format!("/api/v1/tenants/{}/products/{}/price-event", prices.shop.id, id(1));
    let request = prices.shop.request(Method::POST, &path).header("idempotency-key", "one");
    let request = request.header("content-type", "application/json").body(r#"{"old_price": 10, "new_price": 100.10}"#);
    let answered = Answer::to(request).await?.json(201)?;
    let told = of_tenant.told(SOON).await?;
    for field in ["event_id", "product_id", "pct_change", "anomaly_reason", "reasons", "suspect", "status"] {
        assert_eq!(told[field], answered[field], "{field}");
    }
    assert_eq!((&told["old_price"], &told["new_price"]), (&json!(10.0), &json!(100.1)));
    // nothing to tell yet is an answer, too
    let empty = Prices::new(&ground, 1).await?;
    let mut followed = timeout(SOON, Followed::open(&empty.shop, &empty.of_tenant("follow=true"))).await??;
    empty.record(&first).await?;
    assert_eq!(event_id(&followed.told(SOON).await?), Some(first.id));
    Ok(())
}

pub(super) async fn a_followed_answer_ends_by_itself(ground: Arc<Ground>) -> Result<()> {
    let prices = Prices::new(&ground, 1).await?;
    let (first, second) = (wrong(id(1)), wrong(id(1)));
    prices.record(&first).await?;
    prices.record(&second).await?;
    prices.read_all(&prices.of_tenant(""), 2).await?;
    let since = Instant::now();
    let path = prices.of_product(1, &format!("follow=true&after={}", first.id));
    let mut followed = Followed::open(&prices.shop, &path).await?;
    let mut lines = Vec::new();
    while let Some(line) = followed.line().await? {
        lines.push(line);
    }
    let lasted = since.elapsed();
    let limit = Duration::from_secs(FOLLOW_SECONDS);
    assert!((limit..limit + Duration::from_secs(5)).contains(&lasted), "{lasted:?}");
    let [told, empty, end] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
    assert_eq!(event_id(&serde_json::from_str(told)?), Some(second.id));
    assert_eq!(empty, "", "a sign of life");
    let end: Value = serde_json::from_str(end)?;
    let meta = &end["_meta"];
    assert_eq!((&meta["reason"], &meta["next_after"]), (&json!("time_limit"), &json!(second.id)));
    assert_eq!((&meta["total_anomalies"], &meta["product_id"]), (&json!(1), &json!(id(1))));
    Ok(())
}

pub(super) async fn a_tenant_follows_five_at_a_time(ground: Arc<Ground>) -> Result<()> {
    let (prices, other) = (Prices::new(&ground, 1).await?, Prices::new(&ground, 1).await?);
    let path = prices.of_tenant("follow=true");
    let open = async || Answer::to(prices.shop.request(Method::GET, &path)).await;
    let mut followed = try_join_all((0..5).map(|_| Followed::open(&prices.shop, &path))).await?;
    let refused = open().await?;
    assert_eq!(refused.json(429)?["code"], "TOO_MANY_FOLLOWERS");
    assert_eq!(refused.header("retry-after"), Some("15"));
    ensure!(prices.shop.get(&prices.of_tenant("")).await?.status == 200, "who does not follow needs no place");
    drop(Followed::open(&other.shop, &other.of_tenant("follow=true")).await?);
    // an answer that ends leaves its place
    while let Some(line) = followed[0].line().await? {
        ensure!(line.is_empty() || line.contains("_meta"), "{line}");
    }
    drop(Followed::open(&prices.shop, &path).await?);
    Ok(())
}

/// A function has sixteen environments here, and each followed answer holds one.
pub(super) async fn who_leaves_is_not_worked_for(ground: Arc<Ground>) -> Result<()> {
    const TENANTS: usize = 4;
    const FOLLOWERS: usize = 16;
    let client = intake_postgres::connect(&ground.endpoints.api_database_url).await?;
    // one's own role sees what it does in other sessions
    let polls = async || -> Result<i64> {
        let sql = "select count(*) from pg_stat_activity
            where application_name = 'price-api' and state_change > clock_timestamp() - interval '700 ms'";
        Ok(client.query_one(sql, &[]).await?.get(0))
    };
    for round in 0..2 {
        let tenants = try_join_all((0..TENANTS).map(|_| Prices::new(&ground, 1))).await?;
        let followed = try_join_all((0..FOLLOWERS).map(async |nth| {
            let prices = &tenants[nth % TENANTS];
            Followed::open(&prices.shop, &prices.of_tenant("follow=true")).await
        }))
        .await?;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(polls().await?, FOLLOWERS as i64, "round {round}: all of them look for news");
        drop(followed);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(polls().await?, 0, "round {round}: nobody looks any more");
    }
    // the environments are free: whoever comes next need not wait for the time limit
    let prices = Prices::new(&ground, 1).await?;
    let since = Instant::now();
    let path = prices.of_tenant("");
    let answers = try_join_all((0..FOLLOWERS).map(|_| prices.shop.get(&path)));
    let answers: Vec<Answer> = answers.await?;
    assert!(answers.iter().all(|answer| answer.status == 200) && since.elapsed() < Duration::from_secs(3));
    Ok(())
}
