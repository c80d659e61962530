//! Orders are found by everything that can be asked of them, in an order that nothing that happens meanwhile disturbs.

use crate::support::{Answer, Dice, File, Ground, Probe, Scratch, Shop, at, id, item, ndjson, order};
use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_aws::{Objects, Queue, RateTable};
use intake_domain::rate::Quotas;
use intake_lambda::edge::{Edge, Limiter};
use intake_postgres::{Database, Scope, contacts};
use lambda_http::{Context, RequestExt};
use report_api::App;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// Parameters of a search.
pub(super) type Query<'a> = Vec<(&'a str, String)>;

pub(super) fn path_of(shop: &Shop, query: &Query<'_>) -> Result<String> {
    let url = Url::parse_with_params("http://localhost", query)?;
    Ok(format!("/api/v1/tenants/{}/orders/search?{}", shop.id, url.query().unwrap_or_default()))
}

/// The orders of an answer that is whole, and its `_meta`.
fn whole(answer: &Answer) -> Result<(Vec<Value>, Value)> {
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(answer.header("content-type") == Some("application/x-ndjson"), "{answer:?}");
    let lines = answer.text.lines().map(serde_json::from_str);
    let mut lines = lines.collect::<Result<Vec<Value>, _>>().context(answer.text.clone())?;
    let end = lines.pop().context("a last line")?;
    let meta = end.get("_meta").with_context(|| format!("{end}"))?;
    ensure!(meta["count"] == lines.len(), "{meta}");
    Ok((lines, meta.clone()))
}

/// The orders of one answer, and its `_meta`.
pub(super) async fn search(shop: &Shop, query: &Query<'_>) -> Result<(Vec<Value>, Value)> {
    whole(&shop.get(&path_of(shop, query)?).await?).with_context(|| format!("{query:?}"))
}

/// The ids of all orders, read in answers of `limit`.
pub(super) async fn read_on(shop: &Shop, query: &Query<'_>, limit: usize) -> Result<Vec<Uuid>> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query = query.clone();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let (lines, meta) = search(shop, &query).await?;
        ensure!(lines.len() <= limit, "{} orders", lines.len());
        found.extend(ids(&lines)?);
        match meta["next_cursor"].as_str() {
            Some(next) => {
                ensure!(lines.len() == limit, "an answer that is cut has as many as it may: {meta}");
                cursor = Some(next.to_owned());
            }
            None => return Ok(found),
        }
    }
}

fn ids(lines: &[Value]) -> Result<Vec<Uuid>> {
    lines.iter().map(|line| Ok(line["order_id"].as_str().context("an id")?.parse()?)).collect()
}

/// Orders as they were sent, which are searched by looking at each.
struct Stall {
    shop: Shop,
    orders: BTreeMap<Uuid, Value>,
    /// The products of the items of each order.
    products: BTreeMap<Uuid, BTreeSet<Uuid>>,
}

const NAMES: [&str; 8] = ["Ada Lovelace", "ADA BYRON", "Jürgen Groß", "Renée O'Neill", "Σίσυφος", "ada", "x%_\\", "Li"];
const DAYS: [&str; 7] =
    ["2026-01-31", "2026-02-01", "2026-02-28", "2025-12-31", "1999-06-01", "2031-03-15", "2026-01-31"];
const STATUSES: [&str; 3] = ["pending", "shipped", "refunded"];

/// One of so many.
fn pick(dice: &mut Dice, of: usize) -> usize {
    dice.within(0..of as u64) as usize
}

impl Stall {
    /// A shop with so many orders by chance: of months with partitions of their own and of others, many at one instant.
    async fn open(ground: &Arc<Ground>, dice: &mut Dice, orders: u64) -> Result<Self> {
        let shop = Shop::open(ground).await?;
        let mut stall = Self { shop, orders: BTreeMap::new(), products: BTreeMap::new() };
        let mut items = Vec::new();
        for number in 0..orders {
            let mut row = order(number, DAYS[pick(dice, DAYS.len())]);
            if pick(dice, 2) == 1 {
                let time = format!("{}T{:02}:00:00.{:06}Z", DAYS[pick(dice, 4)], pick(dice, 24), number);
                row = at(row, "order_date", time);
            }
            if pick(dice, 5) > 0 {
                row = at(row, "customer_name_snapshot", NAMES[pick(dice, NAMES.len())]);
            }
            if pick(dice, 5) > 0 {
                row = at(row, "customer_email_snapshot", format!("User{}@Example.org", pick(dice, 30)));
            }
            row = at(row, "order_status", STATUSES[pick(dice, STATUSES.len())]);
            row = at(row, "total_amount", format!("{}.{:02}", pick(dice, 30), pick(dice, 100)));
            if pick(dice, 3) > 0 {
                let source = ["web", "app"][pick(dice, 2)];
                row = at(row, "raw_payload", json!({"source": source, "n": {"a": [1, 2]}}));
            }
            let products = stall.products.entry(id(number)).or_default();
            for position in 0..pick(dice, 4) as u64 {
                let product = id(1 + pick(dice, 12) as u64);
                products.insert(product);
                items.push(at(
                    at(item(number), "order_item_id", id(1_000_000 + 10 * number + position).to_string()),
                    "product_id",
                    product.to_string(),
                ));
            }
            stall.orders.insert(id(number), row);
        }
        let files = [
            File::new("orders.ndjson", ndjson(stall.orders.values().cloned())),
            File::new("order_items.ndjson", ndjson(items)),
        ];
        stall.shop.send(&files).await?;
        Ok(stall)
    }

    /// What is found, by looking at each order.
    fn found(&self, query: &Query<'_>) -> Vec<Uuid> {
        let is_meant = |id: &Uuid, row: &Value| query.iter().all(|(name, value)| self.holds(id, row, name, value));
        let mut found: Vec<_> = self.orders.iter().filter(|(id, row)| is_meant(id, row)).collect();
        found.sort_by_key(|(id, row)| std::cmp::Reverse((instant(&row["order_date"]), **id)));
        found.into_iter().map(|(id, _)| *id).collect()
    }

    fn holds(&self, id: &Uuid, row: &Value, name: &str, value: &str) -> bool {
        let cents = |text: &str| (text.parse::<f64>().unwrap_or_default() * 100.0).round() as i64;
        let total = cents(row["total_amount"].as_str().unwrap_or_default());
        match name {
            "q" => ["customer_name_snapshot", "customer_email_snapshot"].iter().any(|field| {
                let text = row[*field].as_str().map(str::to_uppercase);
                text.is_some_and(|text| text.contains(&value.to_uppercase()))
            }),
            "order_status" => value.split(',').any(|status| row["order_status"] == status),
            "product_ids" => {
                value.split(',').any(|product| self.products[id].contains(&product.parse().unwrap_or_default()))
            }
            "min_price" => total >= cents(value),
            "max_price" => total <= cents(value),
            "start_date" => instant(&row["order_date"]).as_str() >= value,
            "end_date" => &instant(&row["order_date"])[..10] <= value,
            "payload" => row["raw_payload"]["source"] == json!(value.split('"').nth(3)),
            _ => true,
        }
    }
}

/// Instants as texts in their order.
fn instant(date: &Value) -> String {
    let text = date.as_str().unwrap_or_default().trim_end_matches('Z');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}.{fraction:0<6}")
}

pub(super) async fn every_search_finds_what_looking_at_each_order_does(ground: Arc<Ground>) -> Result<()> {
    let mut dice = Dice::new(6);
    let stall = Stall::open(&ground, &mut dice, 300).await?;
    let all = stall.found(&Vec::new());
    assert_eq!(all.len(), 300);
    assert_eq!(read_on(&stall.shop, &Vec::new(), 77).await?, all);
    let texts = [
        "ada",
        "ADA B",
        "a",
        "groß",
        "GROSS",
        "ürg",
        "Ée o'",
        "σίσ",
        "USER1",
        "user12@example",
        "%_\\",
        "@",
        "li",
        "nobody",
    ];
    let mut met = 0;
    for _ in 0..60 {
        let mut query: Query<'_> = Vec::new();
        let mut add = |name, value: String, dice: &mut Dice| {
            if pick(dice, 4) == 0 {
                query.push((name, value));
            }
        };
        let dice = &mut dice;
        let text = texts[pick(dice, texts.len())];
        add("q", text.to_owned(), dice);
        let statuses = STATUSES[..1 + pick(dice, 2)].join(",");
        add("order_status", statuses, dice);
        let products = format!("{},{}", id(1 + pick(dice, 14) as u64), id(3));
        add("product_ids", products, dice);
        let (least, highest) = (format!("{}.5", pick(dice, 15)), format!("{}.25", 15 + pick(dice, 15)));
        add("min_price", least, dice);
        add("max_price", highest, dice);
        let (start, end) = (pick(dice, 3), 3 + pick(dice, 3));
        let days = ["1999-06-01", "2025-12-31", "2026-01-31", "2026-01-31", "2026-02-28", "2031-03-15"];
        add("start_date", days[start].to_owned(), dice);
        add("end_date", days[end].to_owned(), dice);
        add("payload", r#"{"source": "web"}"#.to_owned(), dice);
        let limit = 1 + pick(dice, 120);
        let due = stall.found(&query);
        assert_eq!(read_on(&stall.shop, &query, limit).await?, due, "{query:?} in answers of {limit}");
        met += usize::from(!due.is_empty() && due.len() < 300);
    }
    assert!(met > 20, "{met} searches told orders apart");
    Ok(())
}

pub(super) async fn a_line_is_exact_and_has_the_fields_that_were_asked_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    // as text: a float of the test's own would lose digits
    let full = format!(
        concat!(
            r#"{{"order_id":"{}","external_order_id":"A-\"1\"","customer_id":"{}","customer_name_snapshot":"Ada\n","#,
            r#""customer_email_snapshot":"ada@example.org","total_amount":"9999999999.99","currency":"EUR","#,
            r#""order_status":"shipped","order_date":"2026-01-31T03:04:05.678901+02:00","#,
            r#""raw_payload":{{"n":12345678901234567890.5,"list":[1,null]}},"created_at":"2026-02-01T00:00:00"}}"#,
        ),
        id(1),
        id(7)
    );
    shop.send(&[File::new("orders.ndjson", format!("{full}\n{}\n", order(2, "2026-01-01")))]).await?;
    let answer = shop.get(&path_of(&shop, &Vec::new())?).await?;
    let line = answer.text.lines().next().context("a line")?;
    let expected = concat!(
        r#"{"order_id":"1d000000-0000-4000-8000-000000000001","external_order_id":"A-\"1\"","#,
        r#""customer_id":"1d000000-0000-4000-8000-000000000007","customer_name_snapshot":"Ada\n","#,
        r#""customer_email_snapshot":"ada@example.org","total_amount":9999999999.99,"currency":"EUR","#,
        r#""order_status":"shipped","order_date":"2026-01-31T01:04:05.678901Z","#,
        r#""raw_payload":{"n":12345678901234567890.5,"list":[1,null]},"created_at":"2026-02-01T00:00:00Z"}"#,
    );
    assert_eq!(line, expected);
    let (lines, _) = search(&shop, &vec![("fields", "total_amount,order_id".to_owned())]).await?;
    assert_eq!(lines[1], json!({"order_id": id(2), "total_amount": 10.5}));
    let (lines, _) = search(&shop, &vec![("fields", "customer_name_snapshot,raw_payload".to_owned())]).await?;
    assert_eq!(lines[1], json!({"customer_name_snapshot": null, "raw_payload": null}));
    Ok(())
}

pub(super) async fn orders_that_arrive_or_move_disturb_no_reader(ground: Arc<Ground>) -> Result<()> {
    let mut dice = Dice::new(7);
    let stall = Stall::open(&ground, &mut dice, 120).await?;
    let all = stall.found(&Vec::new());
    for query in [
        vec![],
        vec![("q", "user".to_owned())],
        vec![("product_ids", (1..=12).map(|n| id(n).to_string()).collect::<Vec<_>>().join(","))],
    ] {
        let due = stall.found(&query);
        assert!(due.len() > 60, "{query:?}");
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        let mut moved = BTreeSet::new();
        for round in 0.. {
            let mut query = query.clone();
            query.push(("limit", "25".to_owned()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let (lines, meta) = search(&stall.shop, &query).await?;
            found.extend(ids(&lines)?);
            let Some(next) = meta["next_cursor"].as_str() else { break };
            cursor = Some(next.to_owned());
            // some arrive before, amid and after what is read, and one moves from either end to the other
            let new = DAYS.iter().zip(0_u64..).map(|(day, at)| {
                let name = format!("New user {round}");
                named(order(500_000 + 100 * round + at + 10_000 * query.len() as u64, day), &name)
            });
            let mut rows: Vec<_> = new.collect();
            for (from, to) in [(all[round as usize], "1999-01-01"), (all[all.len() - 1 - round as usize], "2031-12-31")]
            {
                moved.insert(from);
                rows.push(at(stall.orders[&from].clone(), "order_date", format!("{to}T00:00:00Z")));
            }
            stall.shop.send(&[File::new("orders.ndjson", ndjson(rows))]).await?;
        }
        let told: BTreeSet<_> = found.iter().copied().collect();
        let lost: Vec<_> = due.iter().filter(|id| !moved.contains(id) && !told.contains(id)).collect();
        assert!(lost.is_empty(), "{query:?}: {lost:?}");
        let doubled = found.len() - told.len();
        let may_be_doubled = found.iter().filter(|id| moved.contains(id)).count();
        assert!(doubled <= may_be_doubled, "{query:?}: {doubled} are told twice");
        let stayed: Vec<_> = found.iter().filter(|id| !moved.contains(id)).collect();
        assert_eq!(stayed.len(), stayed.iter().collect::<BTreeSet<_>>().len(), "{query:?}");
        // as it was
        stall.shop.send(&[File::new("orders.ndjson", ndjson(moved.iter().map(|id| stall.orders[id].clone())))]).await?;
    }
    Ok(())
}

fn named(row: Value, name: &str) -> Value {
    at(row, "customer_name_snapshot", name)
}

pub(super) async fn a_wrong_parameter_is_named(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let long = "x".repeat(256);
    for (name, value, code) in [
        ("cursor", "nonsense", "INVALID_CURSOR"),
        ("cursor", "", "INVALID_CURSOR"),
        ("limit", "0", "INVALID_LIMIT"),
        ("limit", "100001", "INVALID_LIMIT"),
        ("limit", "many", "INVALID_VALUE"),
        ("fields", "order_id,secret", "UNKNOWN_FIELD"),
        ("fields", "", "UNKNOWN_FIELD"),
        ("q", "", "EMPTY_TEXT"),
        ("q", &long, "TOO_LONG"),
        ("q", "a\0", "NUL_CHARACTER"),
        ("order_status", "lost", "INVALID_CHOICE"),
        ("order_status", "pending,", "EMPTY_TEXT"),
        ("product_ids", "42", "INVALID_UUID"),
        ("min_price", "cheap", "INVALID_DECIMAL"),
        ("min_price", "-1", "OUT_OF_RANGE"),
        ("max_price", "1.005", "INVALID_DECIMAL"),
        ("start_date", "soon", "INVALID_TIMESTAMP"),
        ("end_date", "2026-02-30", "INVALID_TIMESTAMP"),
        ("end_date", "20260131", "INVALID_TIMESTAMP"),
        ("start_date", "2026-01-31T00:00:00[Europe/Berlin]", "INVALID_TIMESTAMP"),
        ("payload", "web", "INVALID_OBJECT"),
        ("payload", "[1]", "WRONG_TYPE"),
        ("page", "2", "UNKNOWN_FIELD"),
        ("Q", "ada", "UNKNOWN_FIELD"),
    ] {
        let answer = shop.get(&path_of(&shop, &vec![(name, value.to_owned())])?).await?;
        let problem = answer.json(400).with_context(|| format!("{name}={value}"))?;
        let error = &problem["errors"][0];
        assert_eq!((&problem["code"], &error["code"]), (&json!("INVALID_QUERY"), &json!(code)), "{problem:#}");
        assert_eq!(error["pointer"], format!("/{name}"), "{problem:#}");
    }
    let both = vec![("start_date", "2026-02-02".to_owned()), ("end_date", "01-02-2026".to_owned())];
    let problem = shop.get(&path_of(&shop, &both)?).await?.json(400)?;
    assert_eq!(problem["errors"][0]["pointer"], "/end_date");
    let all = ["limit", "fields", "q", "min_price"];
    let problem = shop.get(&path_of(&shop, &all.map(|name| (name, String::new())).to_vec())?).await?.json(400)?;
    assert_eq!(problem["errors"][0]["pointer"], "/limit", "no number is none of the rules': {problem:#}");
    let values = ["0", "secret", "", "x"].map(str::to_owned);
    let problem = shop.get(&path_of(&shop, &all.into_iter().zip(values).collect())?).await?.json(400)?;
    let named: Vec<_> = problem["errors"].as_array().context("errors")?.iter().map(|error| &error["pointer"]).collect();
    assert_eq!(named, ["/limit", "/fields", "/q", "/min_price"], "{problem:#}");
    for nothing in ["'; drop table orders; --", "%", "_", "\\", "{", "$1"] {
        let (lines, _) = search(&shop, &vec![("q", nothing.to_owned())]).await?;
        assert_eq!(lines, Vec::<Value>::new());
    }
    // five years are a range as any other
    let years = vec![("start_date", "2022-01-01".to_owned()), ("end_date", "31-12-2026".to_owned())];
    assert_eq!(search(&shop, &years).await?.1, json!({"count": 0, "next_cursor": null}));
    Ok(())
}

pub(super) async fn a_cursor_goes_with_its_query(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    for shop in [&shop, &other] {
        shop.send(&[File::new("orders.ndjson", ndjson((0..5).map(|number| order(number, "2026-01-31"))))]).await?;
    }
    let query = vec![("limit", "2".to_owned()), ("order_status", "pending".to_owned())];
    let cursor = search(&shop, &query).await?.1["next_cursor"].as_str().context("a cursor")?.to_owned();
    let with = |query: &[(&'static str, &str)]| -> Query<'static> {
        let query = query.iter().map(|(name, value)| (*name, (*value).to_owned()));
        query.chain([("cursor", cursor.clone())]).collect()
    };
    let (lines, _) = search(&shop, &with(&[("order_status", "pending"), ("limit", "10")])).await?;
    assert_eq!(lines.len(), 3, "the limit may be another");
    let refused = async |shop: &Shop, query: &Query<'_>| {
        let problem = shop.get(&path_of(shop, query)?).await?.json(400)?;
        ensure!(problem["errors"][0]["code"] == "INVALID_CURSOR", "{problem:#}");
        anyhow::Ok(())
    };
    for query in [
        with(&[]),
        with(&[("order_status", "pending,shipped")]),
        with(&[("order_status", "pending"), ("fields", "order_id")]),
        with(&[("order_status", "pending"), ("q", "a")]),
    ] {
        refused(&shop, &query).await?;
    }
    refused(&other, &with(&[("order_status", "pending")])).await?;
    // of no year that there is
    let altered = format!("7fffffffffffffff{}", &cursor[16..]);
    refused(&shop, &vec![("order_status", "pending".to_owned()), ("cursor", altered)]).await?;
    let products = shop.get(&format!("/api/v1/tenants/{}/products?cursor={cursor}", shop.id)).await?.json(400)?;
    assert_eq!(products["errors"][0]["code"], "INVALID_CURSOR");
    Ok(())
}

/// Keys that were promoted by the release before have no contact; orders are found all the same, and sooner when the hourly
/// chores were done.
pub(super) async fn orders_of_the_release_before_are_found(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = (0..40).map(|number| named(order(number, "2026-01-31"), &format!("Ada {number}")));
    shop.send(&[File::new("orders.ndjson", ndjson(rows))]).await?;
    let query = vec![("q", "ADA 1".to_owned())];
    let due = search(&shop, &query).await?.0;
    assert_eq!(due.len(), 11);
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&shop.id.to_string()]).await?;
    owner.execute("delete from order_contacts where tenant_id = $1", &[&shop.id]).await?;
    assert_eq!(owner.execute("update order_keys set contact = null where tenant_id = $1", &[&shop.id]).await?, 40);
    assert_eq!(search(&shop, &query).await?.0, due);
    let loader = Database::new(&ground.endpoints.loader_database_url, "tests")?;
    let record = async |scope: &mut Scope<'_>| contacts::record_missing(scope, 25).await;
    let mut recorded = Vec::new();
    for _ in 0..3 {
        recorded.push(loader.run("record", shop.id, record).await?);
    }
    assert_eq!(recorded, [25, 15, 0]);
    assert_eq!(search(&shop, &query).await?.0, due);
    let contacts =
        shop.books.texts("select count(*)::text from order_contacts where tenant_id = $1", &[&shop.id]).await?;
    assert_eq!(contacts, ["40"]);
    Ok(())
}

/// Of what an order said of its customer before it was sent again, nothing is left that no other order says.
pub(super) async fn what_an_order_said_before_goes_with_its_last_order(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let send = async |name: &'static str, numbers: &[u64]| {
        let rows = numbers.iter().map(|number| named(order(*number, "2026-01-31"), name));
        shop.send(&[File::new("orders.ndjson", ndjson(rows))]).await?;
        shop.books.balance().await?;
        let recorded = "select count(*)::text from order_contacts where tenant_id = $1";
        Ok::<_, anyhow::Error>(shop.books.texts(recorded, &[&shop.id]).await?.remove(0))
    };
    assert_eq!(send("Ada Byron", &[1, 2]).await?, "1");
    assert_eq!(send("Ada Lovelace", &[1]).await?, "2");
    assert_eq!(search(&shop, &vec![("q", "byron".to_owned())]).await?.0.len(), 1);
    assert_eq!(send("Ada King", &[1, 2]).await?, "1");
    assert_eq!(send("Ada King", &[3]).await?, "1");
    for (text, found) in [("byron", 0), ("lovelace", 0), ("king", 3)] {
        assert_eq!(search(&shop, &vec![("q", text.to_owned())]).await?.0.len(), found, "{text}");
    }
    Ok(())
}

/// The routes of the function on another database, in this process.
fn probe(ground: &Ground, database_url: &str) -> Result<Probe> {
    routes(ground, database_url).map(Probe::of)
}

fn routes(ground: &Ground, database_url: &str) -> Result<Router> {
    let keys = Arc::new(Database::new(&ground.endpoints.api_database_url, "tests")?);
    let limiter = Limiter::new(RateTable::new(&ground.aws, ground.table("RateTable")?.to_owned()), Quotas::default());
    let records = Records::new(&ground.aws, ground.table("IdempotencyTable")?.to_owned(), CLAIM_LIFETIME);
    let edge = Edge::new(keys, records, limiter);
    let database = Arc::new(Database::new(database_url, "tests")?);
    let objects = Objects::new(&ground.aws, ground.endpoints.bucket.clone());
    // nobody orders an export of it
    let exports = Queue::new(&ground.aws, String::new());
    Ok(report_api::all().serve(Arc::new(App { database, objects, exports }), Arc::new(edge)))
}

pub(super) async fn a_search_without_time_goes_on_by_its_cursor(ground: Arc<Ground>) -> Result<()> {
    let stall = Stall::open(&ground, &mut Dice::new(11), 120).await?;
    let in_haste = async |request: Request| {
        let mut context = Context::default();
        context.deadline = 1;
        request.with_lambda_context(context)
    };
    let probe = Probe::of(routes(&ground, &ground.endpoints.api_database_url)?.layer(map_request(in_haste)));
    for query in [
        vec![],
        vec![("q", "ada".to_owned())],
        vec![("q", "Li".to_owned())],
        vec![("q", "nobody".to_owned())],
        vec![("order_status", "refunded".to_owned())],
        vec![("payload", json!({"source": "nowhere"}).to_string())],
        vec![("product_ids", (1..=12).map(|n| id(n).to_string()).collect::<Vec<_>>().join(","))],
    ] {
        let (mut found, mut cursor, mut answers) = (Vec::new(), None::<String>, 0);
        loop {
            let mut query = query.clone();
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let answer = probe.answer(stall.shop.request(Method::GET, &path_of(&stall.shop, &query)?)).await?;
            let (lines, meta) = whole(&answer)?;
            found.extend(ids(&lines)?);
            answers += 1;
            ensure!(answers < 1_000, "{query:?} comes to no end");
            match meta["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        ensure!(found == stall.found(&query), "{query:?}");
        let is_gathered = query.first().is_some_and(|(name, text)| *name == "q" && text == "nobody");
        ensure!(is_gathered || answers > 1, "{query:?} had all the time that it wanted");
    }
    Ok(())
}

pub(super) async fn a_search_that_takes_too_long_is_a_problem(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let scratch = Scratch::new(&ground).await?;
    let probe = probe(&ground, &format!("{}?options=-c%20statement_timeout%3D300", scratch.api_url))?;
    let owner = scratch.owner().await?;
    owner.batch_execute("begin; lock table orders in access exclusive mode").await?;
    let answer = probe.answer(shop.request(Method::GET, &path_of(&shop, &Vec::new())?)).await?;
    let problem = answer.json(503)?;
    assert_eq!(problem["code"], "QUERY_TIMEOUT", "{problem:#}");
    assert!(answer.header("retry-after").is_some());
    owner.batch_execute("commit").await?;
    let answer = probe.answer(shop.request(Method::GET, &path_of(&shop, &Vec::new())?)).await?;
    assert_eq!(whole(&answer)?.0, Vec::<Value>::new());
    Ok(())
}

pub(super) async fn a_query_that_nobody_waits_for_is_stopped(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let scratch = Scratch::new(&ground).await?;
    let probe = probe(&ground, &format!("{}?application_name=left", scratch.api_url))?;
    let (owner, superuser) = (scratch.owner().await?, scratch.superuser().await?);
    owner.batch_execute("begin; lock table orders in access exclusive mode").await?;
    let waiting = async || {
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and usename = 'intake_api' and wait_event_type = 'Lock'";
        anyhow::Ok(superuser.query_one(sql, &[]).await?.get::<_, i64>(0))
    };
    let request = probe.answer(shop.request(Method::GET, &path_of(&shop, &Vec::new())?));
    let left = timeout(Duration::from_secs(2), request).await;
    assert!(left.is_err(), "nobody may read the table, so nobody is answered");
    let since = Instant::now();
    while waiting().await? > 0 {
        ensure!(since.elapsed() < Duration::from_secs(5), "the query is still waiting for its table");
        sleep(Duration::from_millis(20)).await;
    }
    owner.batch_execute("rollback").await?;
    Ok(())
}

/// The statements of a search, as the code sends them.
const PAGE: &str = include_str!("../../shared/postgres/queries/orders/page.sql");
const PAGE_OF_FEW: &str = include_str!("../../shared/postgres/queries/orders/page_of_few.sql");
const OF_KEYS: &str = include_str!("../../shared/postgres/queries/orders/of_keys.sql");
const NEWEST: &str = include_str!("../../shared/postgres/queries/orders/newest.sql");
const SETTINGS: &str = include_str!("../../shared/postgres/queries/orders/settings.sql");
const KEYS_OF_CONTACTS: &str = include_str!("../../shared/postgres/queries/orders/keys_of_contacts.sql");
const COUNT_OF_PRODUCTS: &str = include_str!("../../shared/postgres/queries/orders/count_of_products.sql");
const KEYS_OF_PRODUCTS: &str = include_str!("../../shared/postgres/queries/orders/keys_of_products.sql");

/// Plans of every documented query, as the API's role and with the parameters bound: each reads by an index, and of the orders
/// no more months than its dates name.
pub(super) async fn plans_have_indexes_and_the_months_of_their_dates(
    api_url: &str,
    tenant: Uuid,
    product: Uuid,
    contact: i64,
) -> Result<()> {
    let client = intake_postgres::connect(api_url).await?;
    client.batch_execute("begin").await?;
    client.execute("select set_config('app.tenant_id', $1, true)", &[&tenant.to_string()]).await?;
    client.execute(SETTINGS, &[]).await?;
    // February of 2026, and the fifteenth of April
    let [start, end, late] = [1_769_904_000, 1_772_323_200, 1_776_211_200]
        .map(|seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    let none = None::<SystemTime>;
    let (no_id, no_text, no_texts, no_number) = (None::<Uuid>, None::<String>, None::<Vec<String>>, None::<String>);
    let (some_id, products, no_products) = (Some(Uuid::max()), Some(vec![product]), None::<Vec<Uuid>>);
    let (statuses, payload) = (Some(vec!["refunded".to_owned()]), Some(r#"{"source": "web"}"#.to_owned()));
    let (some, few) = (5_000_i64, 10_i64);
    let contacts = vec![contact];
    let (dates, order_ids) = (vec![start, start], vec![Uuid::max(), Uuid::nil()]);
    type With<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;
    let page = |start, end, date, id, statuses, payload, products, most| -> With<'_> {
        vec![
            (&tenant, Type::UUID),
            (start, Type::TIMESTAMPTZ),
            (end, Type::TIMESTAMPTZ),
            (date, Type::TIMESTAMPTZ),
            (id, Type::UUID),
            (statuses, Type::TEXT_ARRAY),
            (&no_number, Type::UNKNOWN),
            (&no_number, Type::UNKNOWN),
            (payload, Type::TEXT),
            (products, Type::UUID_ARRAY),
            (most, Type::INT8),
            (&true, Type::BOOL),
        ]
    };
    let cases: Vec<(&str, &str, With<'_>, usize)> = vec![
        ("all of a month", PAGE, page(&start, &end, &none, &no_id, &no_texts, &no_text, &no_products, &some), 1),
        ("after a cursor", PAGE, page(&start, &end, &start, &some_id, &no_texts, &no_text, &no_products, &some), 1),
        ("by status", PAGE_OF_FEW, page(&start, &end, &none, &no_id, &statuses, &no_text, &no_products, &few), 1),
        ("by payload", PAGE, page(&start, &end, &none, &no_id, &no_texts, &payload, &no_products, &few), 1),
        (
            "by a product that sells well",
            PAGE_OF_FEW,
            page(&start, &end, &none, &no_id, &no_texts, &no_text, &products, &few),
            1,
        ),
        ("over three months", PAGE, page(&start, &late, &none, &no_id, &no_texts, &no_text, &no_products, &some), 3),
        (
            "by keys",
            OF_KEYS,
            vec![
                (&tenant, Type::UUID),
                (&dates, Type::TIMESTAMPTZ_ARRAY),
                (&order_ids, Type::UUID_ARRAY),
                (&start, Type::TIMESTAMPTZ),
                (&end, Type::TIMESTAMPTZ),
                (&no_texts, Type::TEXT_ARRAY),
                (&no_number, Type::UNKNOWN),
                (&no_number, Type::UNKNOWN),
                (&no_text, Type::TEXT),
                (&products, Type::UUID_ARRAY),
                (&few, Type::INT8),
                (&true, Type::BOOL),
            ],
            2,
        ),
        ("the newest", NEWEST, vec![(&tenant, Type::UUID), (&start, Type::TIMESTAMPTZ), (&end, Type::TIMESTAMPTZ)], 1),
        (
            "the newest of all",
            NEWEST,
            vec![(&tenant, Type::UUID), (&none, Type::TIMESTAMPTZ), (&none, Type::TIMESTAMPTZ)],
            99,
        ),
        (
            "keys of contacts",
            KEYS_OF_CONTACTS,
            vec![
                (&tenant, Type::UUID),
                (&contacts, Type::INT8_ARRAY),
                (&none, Type::TIMESTAMPTZ),
                (&none, Type::TIMESTAMPTZ),
                (&some, Type::INT8),
            ],
            0,
        ),
        (
            "count of a product's items",
            COUNT_OF_PRODUCTS,
            vec![(&tenant, Type::UUID), (&products, Type::UUID_ARRAY), (&some, Type::INT8)],
            0,
        ),
        (
            "keys of a product",
            KEYS_OF_PRODUCTS,
            vec![
                (&tenant, Type::UUID),
                (&products, Type::UUID_ARRAY),
                (&start, Type::TIMESTAMPTZ),
                (&end, Type::TIMESTAMPTZ),
            ],
            0,
        ),
    ];
    for (name, sql, with, months) in cases {
        let rows = client.query_typed(&format!("explain (format json) {sql}"), &with).await.context(name)?;
        let plan: Value = rows.first().context("a plan")?.get(0);
        let mut nodes = Vec::new();
        gather(&plan[0]["Plan"], &mut nodes);
        let reads = |kind: &str| nodes.iter().filter(|(node, ..)| node.contains(kind)).count();
        assert_eq!(reads("Seq Scan"), 0, "{name}: {plan:#}");
        assert!(reads("Index") > 0, "{name}: {plan:#}");
        let tables: BTreeSet<_> = nodes.iter().filter_map(|(_, table)| table.as_deref()).collect();
        let read = tables.iter().filter(|table| table.starts_with("orders_")).count();
        assert!(read <= months && (months == 0 || read > 0), "{name}: {tables:?}");
        let hashed = tables.iter().filter(|table| table.contains("_p")).count();
        assert!(hashed <= 2, "{name}: one leaf of each table: {tables:?}");
    }
    client.batch_execute("rollback").await?;
    Ok(())
}

fn gather(node: &Value, nodes: &mut Vec<(String, Option<String>)>) {
    let text = |name: &str| node[name].as_str().map(str::to_owned);
    nodes.push((text("Node Type").unwrap_or_default(), text("Relation Name")));
    for child in node["Plans"].as_array().into_iter().flatten() {
        gather(child, nodes);
    }
}

/// Orders of a tenant of a database, made by the database: 12 months, so many of each of the contacts, two items each.
pub(super) async fn fill(owner_url: &str, tenant: Uuid, orders: i32, contacts: i32) -> Result<()> {
    use intake_domain::text_search::Contact;
    let owner = intake_postgres::connect(owner_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    let mut dice = Dice::new(8);
    let word = |dice: &mut Dice| (0..7).map(|_| char::from(b'a' + pick(dice, 26) as u8)).collect::<String>();
    let (mut names, mut emails, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    owner.batch_execute("begin").await?;
    let sql = "insert into order_contacts (tenant_id, contact, tokens) values ($1, $2, $3)";
    let insert = owner.prepare(sql).await?;
    for number in 0..contacts {
        let (name, email) = (format!("{} {}", word(&mut dice), word(&mut dice)), format!("user{number}@example.org"));
        let contact = Contact { name: Some(&name), email: Some(&email) };
        owner.execute(&insert, &[&tenant, &contact.number(tenant), &contact.tokens(tenant)]).await?;
        numbers.push(contact.number(tenant));
        names.push(name);
        emails.push(email);
    }
    owner.batch_execute("commit").await?;
    let made = "with contacts as (
            select * from unnest($2::text[], $3::text[], $4::bigint[]) with ordinality as given (name, email, number, at)
        ), made as (
            select
                n, md5('order' || n)::uuid as order_id, 1 + (n::bigint * 7919) % $5::bigint as at,
                timestamptz '2025-12-15 00:00:00Z' + (n::bigint * 104729 % 28512000) * interval '1 second' as order_date
            from generate_series(1, $6::integer) as n
        )";
    let orders_sql = format!(
        "{made} insert into orders select
            $1::uuid, order_id, 'EXT-' || n, md5('customer' || made.at)::uuid, name, email, (n::bigint * 7907 % 100000) / 100.0, 'USD',
            (array['pending', 'confirmed', 'processing', 'shipped', 'delivered', 'cancelled', 'refunded'])[1 + n % 7],
            order_date, jsonb_build_object('source', (array['web', 'app', 'shop'])[1 + n % 3], 'campaign', null), order_date
        from made join contacts on contacts.at = made.at"
    );
    let keys_sql = format!(
        "{made} insert into order_keys (tenant_id, external_order_id, order_id, order_date, payload_hash, contact)
        select $1::uuid, 'EXT-' || n, order_id, order_date, '', number from made join contacts on contacts.at = made.at"
    );
    let (count, orders_made) = (i64::from(contacts), orders);
    for sql in [orders_sql, keys_sql] {
        owner.execute(&sql, &[&tenant, &names, &emails, &numbers, &count, &orders_made]).await.context(sql)?;
    }
    // a tenth of the orders has the product that sells best
    let items = "insert into order_items select
            $1::uuid, md5('item' || n || '-' || k)::uuid, md5('order' || n)::uuid,
            md5('product' || case when n % 10 = 0 and k = 1 then 0 else (n::bigint * 7919 * k) % 5000 end)::uuid, 1, 10, 10, ''
        from generate_series(1, $2::integer) as n, generate_series(1, 2) as k";
    owner.execute(items, &[&tenant, &orders]).await?;
    for table in ["orders", "order_keys", "order_items", "order_contacts"] {
        owner.batch_execute(&format!("vacuum analyze {table}")).await?;
    }
    Ok(())
}

pub(super) async fn every_query_has_an_index_and_the_months_of_its_dates(ground: Arc<Ground>) -> Result<()> {
    let (scratch, tenant) = (Scratch::new(&ground).await?, Uuid::now_v7());
    fill(&scratch.owner_url, tenant, 20_000, 500).await?;
    let owner = scratch.owner().await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    let contact =
        owner.query_one("select contact from order_contacts where tenant_id = $1 limit 1", &[&tenant]).await?;
    let product = owner.query_one("select md5('product0')::uuid", &[]).await?;
    plans_have_indexes_and_the_months_of_their_dates(&scratch.api_url, tenant, product.get(0), contact.get(0)).await?;
    // what find_contacts runs, for the owner that it runs as
    let sql = "explain (format json) select contact from order_contacts
        where tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid and tokens @> array[$1::bigint] limit $2";
    let rows = owner.query_typed(sql, &[(&1_i64, Type::INT8), (&10_i64, Type::INT8)]).await?;
    let plan: Value = rows.first().context("a plan")?.get(0);
    let mut nodes = Vec::new();
    gather(&plan[0]["Plan"], &mut nodes);
    assert!(nodes.iter().any(|(node, _)| node == "Bitmap Index Scan"), "{plan:#}");
    Ok(())
}

pub(super) async fn what_is_sent_whole_is_cut_where_it_has_no_room(ground: Arc<Ground>) -> Result<()> {
    // in this process answers are not streamed
    let shop = Shop::open(&ground).await?;
    shop.send(&[File::new("orders.ndjson", ndjson((0..8).map(|number| order(number, "2026-01-31"))))]).await?;
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&shop.id.to_string()]).await?;
    let sql = "update orders set raw_payload = jsonb_build_object('text', repeat('y', 900000)) where tenant_id = $1";
    assert_eq!(owner.execute(sql, &[&shop.id]).await?, 8);
    let probe = probe(&ground, &ground.endpoints.api_database_url)?;
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    let mut answers = 0;
    loop {
        let query: Query<'_> = cursor.take().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let answer = probe.answer(shop.request(Method::GET, &path_of(&shop, &query)?)).await?;
        assert!(answer.text.len() < 4 << 20, "{} bytes", answer.text.len());
        let (lines, meta) = whole(&answer)?;
        found.extend(ids(&lines)?);
        answers += 1;
        match meta["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, (0..8).rev().map(id).collect::<Vec<_>>());
    assert!(answers > 1);
    // streamed, they come in one
    assert_eq!(search(&shop, &Vec::new()).await?.0.len(), 8);
    Ok(())
}
