//! Sales and uploads over time.

use crate::support::{Dice, File, Ground, Shop, at, counts, id, item, ndjson, order, product};
use anyhow::{Context, Result, ensure};
use intake::commands::metrics::rebuild;
use intake::output::Output;
use intake_postgres::{Database, Scope, metrics};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::try_join;
use uuid::Uuid;

/// Where a slice is about to be committed.
const COMMITTING: &str = "promote-file.before-commit";

/// The time around the last Sunday of March, when the clocks of Europe were set.
const SPAN: &str = "start_date=2026-03-20&end_date=2026-04-05";

/// What is told of a group: its sum, its orders, its pieces and its customers.
type Figures = (String, i64, i64, i64);

/// An answer about sales.
#[derive(Debug, PartialEq)]
struct Sales {
    total: Figures,
    data: BTreeMap<String, Figures>,
}

fn figures(of: &Value) -> Result<Figures> {
    let number = |name: &str| of[name].as_i64().with_context(|| format!("{name} in {of}"));
    let quantity = of["quantity"].as_i64().unwrap_or_default();
    Ok((of["sum_sales"].to_string(), number("num_orders")?, quantity, number("unique_customers_est")?))
}

fn path(shop: &Shop, query: &str) -> String {
    format!("/api/v1/tenants/{}/metrics/sales?{query}", shop.id)
}

async fn ask(shop: &Shop, query: &str) -> Result<Sales> {
    // money has more digits than a number of JSON may keep
    let answer = shop.get(&path(shop, query)).await?;
    let answer = answer.json(200).with_context(|| query.to_owned())?;
    ensure!(answer["is_behind"] == false, "{query}: {answer}");
    let data = answer["data"].as_object().context("groups")?;
    ensure!(answer["groups"] == data.len(), "{query}: {answer}");
    Ok(Sales {
        total: figures(&answer["total"])?,
        data: data.iter().map(|(key, of)| Ok((key.clone(), figures(of)?))).collect::<Result<_>>()?,
    })
}

/// Waits until no day is left to be counted, not even once more.
async fn settled(shop: &Shop) -> Result<()> {
    let since = Instant::now();
    loop {
        let left = shop.books.texts("select to_json(sales_touches)::text from sales_touches", &[]).await?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(since.elapsed() < Duration::from_secs(60), "nobody counts: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Few customers are estimated as they are, and many nearly so.
fn is_near(estimate: i64, customers: i64) -> bool {
    (estimate - customers).abs() <= (customers * 7 / 100).max(1)
}

/// Holds both precisions against one another, and the exact one against the orders.
async fn agree(shop: &Shop) -> Result<()> {
    for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"] {
        for group_by in ["day", "hour", "product", "category"] {
            for more in ["", "&currency=EUR"] {
                let query = format!("{SPAN}&group_by={group_by}&time_zone={zone}{more}");
                let approx = ask(shop, &query).await?;
                let exact = ask(shop, &format!("{query}&precision=exact")).await?;
                ensure!(approx.data.len() == exact.data.len(), "{query}: {approx:?} {exact:?}");
                let groups = approx
                    .data
                    .iter()
                    .zip(&exact.data)
                    .map(|((key, approx), (other, exact))| (key == other, approx, exact));
                for (is_same, approx, exact) in groups.chain([(true, &approx.total, &exact.total)]) {
                    let is_same = is_same && (&approx.0, approx.1, approx.2) == (&exact.0, exact.1, exact.2);
                    ensure!(is_same && is_near(approx.3, exact.3), "{query}: {approx:?} is not {exact:?}");
                }
                if group_by == "day" {
                    let sql = "select to_char(order_date at time zone $1, 'YYYY-MM-DD') || ' ' || sum(total_amount) || ' ' || count(*)
                        from orders
                        where order_date at time zone $1 >= '2026-03-20' and order_date at time zone $1 < '2026-04-06'
                            and ($2 = '' or currency = 'EUR')
                        group by to_char(order_date at time zone $1, 'YYYY-MM-DD') order by 1";
                    let told: Vec<_> = exact.data.iter().map(|(day, (sum, orders, ..))| (day, sum, orders)).collect();
                    let stored = shop.books.texts(sql, &[&zone, &more]).await?;
                    ensure!(told.len() == stored.len(), "{query}: {told:?} {stored:?}");
                    for ((day, sum, orders), stored) in told.into_iter().zip(stored) {
                        let sum: f64 = sum.parse()?;
                        ensure!(
                            format!("{day} {sum:.2} {orders}") == stored,
                            "{query}: {day} {sum} {orders}, {stored}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// An order by chance, of one of so many numbers; sent again it differs.
fn any_order(dice: &mut Dice) -> Value {
    let number = dice.within(0..80);
    let (day, second) = (dice.within(0..20), dice.within(0..86_400));
    let date = format!("2026-{}T{:02}:{:02}:{:02}", march(day), second / 3600, second / 60 % 60, second % 60);
    let row = json!({
        "order_id": id(number), "external_order_id": format!("ORD-{number}"), "order_date": date,
        "total_amount": format!("{}.{:02}", dice.within(0..5_000), dice.within(0..100)),
        "currency": dice.one_of(&["USD", "EUR"]),
    });
    if dice.chance(80) { at(row, "customer_id", id(dice.within(0..30)).to_string()) } else { row }
}

/// A day of March or April, counted from the 18th of March.
fn march(day: u64) -> String {
    if day < 14 { format!("03-{:02}", 18 + day) } else { format!("04-{:02}", day - 13) }
}

fn any_item(dice: &mut Dice) -> Value {
    let number = dice.within(0..150);
    json!({
        "order_item_id": id(number), "order_id": id(dice.within(0..100)), "product_id": id(dice.within(0..15)),
        "quantity": 1 + dice.within(0..5), "unit_price": format!("{}.{:02}", dice.within(0..90), dice.within(0..100)),
    })
}

/// A product whose category comes, goes and changes.
fn any_product(dice: &mut Dice) -> Value {
    let number = dice.within(0..12);
    let row = at(product(number), "price", 1 + dice.within(0..9));
    if dice.chance(70) { at(row, "category_id", id(1_000 + dice.within(0..3)).to_string()) } else { row }
}

pub(super) async fn both_precisions_agree_whatever_is_uploaded(ground: Arc<Ground>) -> Result<()> {
    for seed in 0..2 {
        let (shop, mut dice) = (Shop::open(&ground).await?, Dice::new(seed));
        for round in 0..4 {
            let mut rows = |most: u64, any: fn(&mut Dice) -> Value| {
                let count = dice.within(1..most);
                ndjson((0..count).map(|_| any(&mut dice)).collect::<Vec<_>>())
            };
            let mut files = vec![
                File::new("products.ndjson", rows(12, any_product)),
                File::new("orders.ndjson", rows(60, any_order)),
                File::new("order_items.ndjson", rows(120, any_item)),
            ];
            // each may come alone, and items before their orders
            files.retain(|_| dice.chance(70));
            dice.shuffle(&mut files);
            let sent = files.iter().map(|file| shop.send(std::slice::from_ref(file)));
            futures_util::future::try_join_all(sent).await?;
            settled(&shop).await?;
            agree(&shop).await.with_context(|| format!("seed {seed}, round {round}"))?;
        }
    }
    Ok(())
}

pub(super) async fn what_changes_nothing_touches_nothing(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [
        File::new("products.ndjson", ndjson([at(product(1), "category_id", id(9).to_string())])),
        File::new("orders.ndjson", ndjson([order(1, "2026-03-29")])),
        File::new("order_items.ndjson", ndjson([item(1)])),
    ];
    shop.send(&files).await?;
    settled(&shop).await?;
    let counted = async || shop.books.texts("select day || ' ' || xmin from sales_days", &[]).await;
    let before = counted().await?;
    assert_eq!(before.len(), 1);
    let (_, again) = shop.send(&files).await?;
    assert_eq!(counts(&again), [3, 0, 0, 3, 0]);
    let other = File::new("orders.ndjson", ndjson([at(order(1, "2026-03-28"), "total_amount", "9.00")]));
    let dry = shop.create(&json!({"dry_run": true, "files": [other.declared()]})).await?;
    shop.upload(&dry, &[other]).await?;
    assert_eq!(counts(&shop.finished(&dry).await?), [1, 0, 1, 0, 0]);
    // a price says nothing about what was sold
    shop.send(&[File::new(
        "products.ndjson",
        ndjson([at(at(product(1), "category_id", id(9).to_string()), "price", 5)]),
    )])
    .await?;
    settled(&shop).await?;
    assert_eq!(counted().await?, before, "the day was not written again");

    shop.send(&[File::new("products.ndjson", ndjson([product(1)]))]).await?;
    settled(&shop).await?;
    let sales = ask(&shop, &format!("{SPAN}&group_by=category")).await?;
    assert_eq!(sales.data, BTreeMap::from([("none".to_owned(), ("4.5".to_owned(), 1, 3, 0))]), "its category is gone");
    Ok(())
}

/// An upload of an item is held up right before its end while its order moves to another day.
async fn an_order_moves_under_its_item(ground: &Arc<Ground>, sleep_ms: u64) -> Result<()> {
    let shop = Shop::open(ground).await?;
    shop.send(&[File::new("orders.ndjson", ndjson([order(1, "2026-03-29")]))]).await?;
    settled(&shop).await?;
    ground.arm(COMMITTING, shop.id, &format!("sleep {sleep_ms}"))?;
    let items = File::new("order_items.ndjson", ndjson([item(1), item(2)]));
    let session = shop.declare(std::slice::from_ref(&items)).await?;
    shop.upload(&session, std::slice::from_ref(&items)).await?;
    while ground.armed(COMMITTING, shop.id).is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // one moves, and one comes that is not there yet
    shop.send(&[File::new("orders.ndjson", ndjson([order(1, "2026-03-30"), order(2, "2026-03-31")]))]).await?;
    shop.finished(&session).await?;
    settled(&shop).await?;
    let sql = "select day::text from sales_days where length(products) > 6 order by day";
    let with_items = shop.books.texts(sql, &[]).await?;
    ensure!(with_items == ["2026-03-30", "2026-03-31"], "{sleep_ms} ms: {with_items:?}");
    agree(&shop).await
}

pub(super) async fn an_order_that_moves_under_its_items_takes_them_along(ground: Arc<Ground>) -> Result<()> {
    // the shorter is waited for, the longer is not
    try_join!(an_order_moves_under_its_item(&ground, 2_000), an_order_moves_under_its_item(&ground, 6_000)).map(drop)
}

pub(super) async fn a_function_that_dies_loses_no_day(ground: Arc<Ground>) -> Result<()> {
    let work = async {
        for point in ["refresh-metrics.before-commit", "refresh-metrics.after-commit"] {
            let shop = Shop::open(&ground).await?;
            ground.arm(point, shop.id, "kill 2")?;
            let days = ["2026-03-28", "2026-03-30"];
            let orders = days.iter().zip(1..).map(|(day, number)| order(number, day));
            shop.send(&[File::new("orders.ndjson", ndjson(orders))]).await?;
            settled(&shop).await?;
            // one that dies after its work is done finds nothing to do when it comes back
            shop.send(&[File::new("orders.ndjson", ndjson([order(3, "2026-03-28")]))]).await?;
            settled(&shop).await?;
            ensure!(ground.armed(point, shop.id).is_none(), "it died twice at {point}");
            agree(&shop).await.context(point)?;
        }
        Ok(())
    };
    ground.hurried(work).await
}

pub(super) async fn days_counted_together_are_as_counted_alone(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let first: jiff::civil::Date = "2025-12-20".parse()?;
    // most days have one order each, and the last thirty have most of the orders
    let days: Vec<_> =
        (0..100).map(|day| Ok(first.checked_add(jiff::Span::new().days(day))?)).collect::<Result<_>>()?;
    let of_days = days.iter().zip(0..).flat_map(|(day, at)| vec![day.to_string(); if at < 70 { 1 } else { 6 }]);
    let orders: Vec<_> = (1..).zip(of_days).map(|(number, day)| order(number, &day)).collect();
    let count = orders.len() as u64;
    let products = (0..15).map(|number| at(product(number), "category_id", id(1_000 + number % 3).to_string()));
    // of some products nothing is known
    let items = (1..=3 * count).map(|number| {
        json!({
            "order_item_id": id(number), "order_id": id(1 + number % count), "product_id": id(number % 20),
            "quantity": 1 + number % 4, "unit_price": "19.99",
        })
    });
    let files = [
        File::new("products.ndjson", ndjson(products)),
        File::new("orders.ndjson", ndjson(orders)),
        File::new("order_items.ndjson", ndjson(items)),
    ];
    shop.send(&files).await?;
    settled(&shop).await?;

    let stored = async || {
        let sql = "select day || ' ' || md5(row(currency, sum_sales, num_orders, customers, quarters, products, categories)::text)
            from sales_days order by day";
        shop.books.texts(sql, &[]).await
    };
    let spoil = async || {
        let spoilt = "update sales_days set sum_sales = 1, products = '\\x', categories = '\\x' returning 'spoilt'";
        shop.books.texts(spoilt, &[]).await.map(|days| assert_eq!(days.len(), 100))
    };
    let database = Database::new(&ground.endpoints.loader_database_url, "tests")?;
    let count = async |days: &[jiff::civil::Date]| {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let days: BTreeSet<_> =
            days.iter().map(|day| Ok(day.since(epoch)?.get_days())).collect::<Result<_, jiff::Error>>()?;
        let touch = async |scope: &mut Scope<'_>| metrics::touch(scope, &days, &BTreeSet::new()).await;
        database.run("touch", shop.id, touch).await?;
        let refresh = async |scope: &mut Scope<'_>| metrics::refresh(scope).await;
        database.run("refresh", shop.id, refresh).await?.context("nobody else counts")
    };
    let by_functions = stored().await?;
    spoil().await?;
    for day in &days {
        assert_eq!(count(std::slice::from_ref(day)).await?.changed, 1);
    }
    let alone = stored().await?;
    assert_eq!(by_functions, alone);
    spoil().await?;
    let (few, most) = days.split_at(70);
    let counted = [count(few).await?, count(most).await?];
    assert_eq!(counted.map(|counted| (counted.days, counted.orders)), [(70, 70), (30, 180)]);
    assert_eq!(stored().await?, alone, "many days with few of the orders");
    // and many days with more items than there is memory for, down to one day at a time
    for memory_bytes in [20_000, 1] {
        spoil().await?;
        database.run("touch_all", shop.id, async |scope: &mut Scope<'_>| metrics::touch_all(scope).await).await?;
        let refresh = async |scope: &mut Scope<'_>| metrics::refresh_within(scope, memory_bytes).await;
        let counted = database.run("refresh", shop.id, refresh).await?.context("nobody else counts")?;
        assert_eq!((counted.days, counted.orders, counted.items, counted.is_more), (100, 250, 750, false));
        assert_eq!(stored().await?, alone, "in {memory_bytes} bytes");
    }
    spoil().await?;
    let owner = Database::of_owner(&ground.endpoints.owner_database_url, "tests")?;
    let rebuilt = rebuild(&owner, shop.id, &Output::new(true)).await?;
    assert_eq!((rebuilt.days, rebuilt.orders, rebuilt.items, rebuilt.changed), (100, 250, 750, 100));
    assert_eq!(stored().await?, alone, "all days at once");
    Ok(())
}

pub(super) async fn days_that_nobody_counts_are_sent_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    shop.send(&[File::new("orders.ndjson", ndjson([order(1, "2026-03-29")]))]).await?;
    settled(&shop).await?;
    // what was counted is spoilt, and all is touched, as `metrics rebuild` does, but nobody is told
    let database = Database::new(&ground.endpoints.loader_database_url, "tests")?;
    shop.books.texts("update sales_days set sum_sales = 1, categories = '\\x' returning 'spoilt'", &[]).await?;
    shop.books.texts("insert into sales_days select tenant_id, '2026-03-30', currency, 1, 1, customers, quarters, products, categories from sales_days returning 'invented'", &[]).await?;
    let touched = async |scope: &mut Scope<'_>| metrics::touch_all(scope).await;
    assert_eq!(database.run("touch_all", shop.id, touched).await?, 2);
    let behind = shop.get(&path(&shop, SPAN)).await?.json(200)?;
    assert_eq!(behind["is_behind"], true, "it is said");
    shop.books.texts("update sales_touches set due_at = due_at - interval '6 minutes' returning 'late'", &[]).await?;
    ground.invoke("Maintain", &crate::support::event("maintain.hourly")?).await?;
    settled(&shop).await?;
    assert_eq!(shop.books.texts("select day || ' ' || sum_sales from sales_days", &[]).await?, ["2026-03-29 10.50"]);
    agree(&shop).await
}

/// While one counts the days of a tenant another one does not wait for it, and who counts looks again.
pub(super) async fn days_are_counted_by_one_at_a_time(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    shop.send(&[File::new("orders.ndjson", ndjson([order(1, "2026-03-29")]))]).await?;
    settled(&shop).await?;
    let database = Database::new(&ground.endpoints.loader_database_url, "tests")?;
    let touch = async || {
        let touch = async |scope: &mut Scope<'_>| metrics::touch_all(scope).await;
        database.run("touch_all", shop.id, touch).await
    };
    let spoil = "update sales_days set sum_sales = 1 returning 'spoilt'";
    let counted = "select sum_sales::text from sales_days";
    let message = json!({"tenant_id": shop.id}).to_string();

    let other = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let lock = "select pg_advisory_lock(hashtextextended('metrics/' || $1::text, 0))";
    other.execute(lock, &[&shop.id.to_string()]).await?;
    shop.books.texts(spoil, &[]).await?;
    touch().await?;
    let since = Instant::now();
    ensure!(ground.deliver("RefreshMetrics", &message).await?);
    ensure!(since.elapsed() < Duration::from_secs(5), "it waited for {:?}", since.elapsed());
    assert_eq!(shop.books.texts(counted, &[]).await?, ["1.00"], "another one counts");
    other.execute("select pg_advisory_unlock_all()", &[]).await?;
    ensure!(ground.deliver("RefreshMetrics", &message).await?);
    assert_eq!(shop.books.texts(counted, &[]).await?, ["10.50"]);

    // what is touched while it counts it meets before it ends, though whoever tells of it is sent away
    ground.arm("refresh-metrics.before-commit", shop.id, "sleep 2000")?;
    touch().await?;
    let late = async {
        while ground.armed("refresh-metrics.before-commit", shop.id).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shop.books.texts("update orders set total_amount = 20 returning 'changed'", &[]).await?;
        touch().await?;
        ensure!(ground.deliver("RefreshMetrics", &message).await?);
        anyhow::Ok(shop.books.texts("select 'touched' from sales_touches", &[]).await?)
    };
    let (first, late) = tokio::join!(ground.deliver("RefreshMetrics", &message), late);
    ensure!(first?);
    assert_eq!(late?.len(), 2, "it was sent away: its touch is there, and that which is being counted");
    assert_eq!(shop.books.texts(counted, &[]).await?, ["20.00"]);
    settled(&shop).await
}

pub(super) async fn a_wrong_parameter_is_named(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let both = [
        ("start_date=soon", "start_date"),
        ("start_date=2026-02-30", "start_date"),
        ("end_date=2026-01-01T25:00", "end_date"),
        ("start_date=2026-01-02&end_date=2026-01-01", "end_date"),
        ("time_zone=Mars/Olympus", "time_zone"),
        ("time_zone=", "time_zone"),
        ("group_by=week", "group_by"),
        ("group_by=", "group_by"),
        ("group_by=day&group_by=day", "group_by"),
        ("tenant_id=1", "tenant_id"),
    ];
    let of_sales = [
        ("precision=about", "precision"),
        ("currency=euro", "currency"),
        ("currency=EUX", "currency"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("group_by=hour&start_date=2000-01-01&end_date=2026-01-01", "start_date"),
        ("start_date=0001-01-01&end_date=9999-12-31", "start_date"),
    ];
    let of_uploads = [("start_date=2024-01-01&end_date=2026-01-01", "start_date"), ("currency=EUR", "currency")];
    let asked = both.iter().chain(&of_sales).map(|asked| ("sales", asked));
    for (route, (query, parameter)) in asked.chain(both.iter().chain(&of_uploads).map(|asked| ("ingest", asked))) {
        let answer = shop.get(&format!("/api/v1/tenants/{}/metrics/{route}?{query}", shop.id)).await?;
        let problem = answer.json(400).with_context(|| format!("{route}?{query}"))?;
        assert_eq!(problem["code"], "INVALID_QUERY", "{query}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{parameter}"), "{query}: {problem}");
    }
    for tenant in [other.id, Uuid::now_v7()] {
        for route in ["sales", "ingest"] {
            let answer = shop.get(&format!("/api/v1/tenants/{tenant}/metrics/{route}")).await?;
            assert_eq!(answer.status, 404, "another's path");
        }
    }
    // five years fit, by hour as well, and so does all of time by product
    for query in [
        "start_date=2021-01-01&end_date=2025-12-31",
        "start_date=2021-01-01&end_date=2025-12-31&group_by=hour&time_zone=Asia/Kathmandu",
        "start_date=01-01-0001&end_date=31-12-9999&group_by=product",
        "start_date=01-01-2021&end_date=31-12-2025&group_by=category&precision=exact",
    ] {
        let sales = ask(&shop, query).await?;
        assert_eq!((sales.total, sales.data.len()), (("0.0".to_owned(), 0, 0, 0), 0), "{query}");
    }
    Ok(())
}

pub(super) async fn what_is_told_is_what_the_predecessor_told(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let of_day = |number: u64, time: &str, total: &str, customer: u64| {
        let row = at(at(order(number, "2026-01-31"), "total_amount", total), "customer_id", id(customer).to_string());
        at(row, "order_date", format!("2026-01-31T{time}"))
    };
    let orders = [
        of_day(1, "10:00:00", "9999999999.99", 1),
        of_day(2, "10:59:59.999999", "9999999999.99", 2),
        of_day(3, "23:30:00", "0.01", 1),
    ];
    let product_of = |number: u64, product: u64, total: &str| {
        at(at(item(number), "product_id", id(product).to_string()), "line_total", total)
    };
    let items = [
        at(product_of(1, 1, "5.00"), "order_id", id(1).to_string()),
        at(product_of(2, 1, "6.00"), "order_id", id(1).to_string()),
        at(product_of(3, 2, "20.00"), "order_id", id(1).to_string()),
        at(product_of(4, 2, "0.50"), "order_id", id(3).to_string()),
    ];
    let files = [
        File::new(
            "products.ndjson",
            ndjson((1..3).map(|number| at(product(number), "category_id", id(7).to_string()))),
        ),
        File::new("orders.ndjson", ndjson(orders)),
        File::new("order_items.ndjson", ndjson(items)),
    ];
    shop.send(&files).await?;
    settled(&shop).await?;
    let answer = shop.get(&path(&shop, "start_date=31-01-2026&end_date=31-01-2026")).await?;
    assert!(
        answer.text.contains(r#""2026-01-31":{"sum_sales":19999999999.99,"num_orders":3,"unique_customers_est":2}"#)
    );
    let document = answer.json(200)?;
    assert_eq!(document["error_bounds"], json!({"sum_sales": 0.0, "num_orders": 0.0, "unique_customers_est": 0.069}));
    assert_eq!((&document["group_by"], &document["precision"]), (&json!("day"), &json!("approx")));
    let hours = shop
        .get(&path(&shop, "start_date=31-01-2026&end_date=2026-02-01&group_by=hour&time_zone=asia/kolkata"))
        .await?;
    assert_eq!(hours.json(200)?["time_zone"], "Asia/Kolkata");
    let keys: Vec<_> =
        ["\"2026-01-31T15:00:00+05:30\":", "\"2026-01-31T16:00:00+05:30\":", "\"2026-02-01T05:00:00+05:30\":"]
            .iter()
            .map(|key| hours.text.find(key))
            .collect();
    assert!(keys.iter().all(Option::is_some) && keys.is_sorted(), "{hours:?}");
    let products = ask(&shop, "start_date=31-01-2026&end_date=31-01-2026&group_by=product").await?;
    assert_eq!(products.data[&id(1).to_string()], ("11.0".to_owned(), 1, 6, 1), "an order counts once");
    assert_eq!(products.data[&id(2).to_string()], ("20.5".to_owned(), 2, 6, 1), "line totals, and not those of orders");
    let categories = ask(&shop, "start_date=31-01-2026&end_date=31-01-2026&group_by=category").await?;
    assert_eq!(categories.data[&id(7).to_string()], ("31.5".to_owned(), 2, 12, 1), "an order counts once here, too");
    let first = shop.get(&path(&shop, "start_date=31-01-2026&end_date=31-01-2026&group_by=product&limit=1")).await?;
    let first = first.json(200)?;
    assert_eq!((first["groups"].as_u64(), first["data"].as_object().map(serde_json::Map::len)), (Some(2), Some(1)));
    assert!(first["data"][&id(2).to_string()].is_object(), "the one that sold most");
    agree(&shop).await
}

pub(super) async fn uploads_are_told_over_time(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let path = |query: &str| format!("/api/v1/tenants/{}/metrics/ingest?{query}", shop.id);
    let none = shop.get(&path("")).await?.json(200)?;
    assert_eq!((&none["total"]["files"], &none["data"]), (&json!(0), &json!({})));
    assert_eq!(none["total"]["rows_per_second"], Value::Null);
    let mut orders: Vec<_> = (0..50).map(|number| order(number, "2026-01-31")).collect();
    orders.push(at(at(order(50, "2026-01-31"), "order_id", "x"), "total_amount", -1));
    orders.push(at(order(51, "2026-01-31"), "order_id", "y"));
    let files = [File::new("orders.ndjson", ndjson(orders))];
    shop.send(&files).await?;
    shop.send(&files).await?;
    let dry = shop.create(&json!({"dry_run": true, "files": [files[0].declared()]})).await?;
    shop.upload(&dry, &files).await?;
    shop.finished(&dry).await?;
    for query in ["", "group_by=hour", "group_by=hour&time_zone=Asia/Kathmandu"] {
        let told = shop.get(&path(query)).await?.json(200)?;
        let total = &told["total"];
        let rows = json!({"accepted": 104, "inserted": 50, "updated": 0, "unchanged": 50, "rejected": 4});
        assert_eq!(
            (&total["files"], &total["files_not_completed"], &total["rows"]),
            (&json!(2), &json!(0), &rows),
            "{told}"
        );
        assert_eq!(total["bytes"], 2 * files[0].bytes.len(), "{told}");
        assert_eq!(total["rejects_by_code"], json!({"INVALID_UUID": 4, "OUT_OF_RANGE": 2}), "{told}");
        assert!(total["rows_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{told}");
        // the hour may end between two files
        let groups = told["data"].as_object().context("groups")?;
        let files: i64 = groups.values().filter_map(|of| of["files"].as_i64()).sum();
        assert_eq!((files, (1..=2).contains(&groups.len())), (2, true), "{told}");
    }
    let before = shop.get(&path("end_date=2026-01-01")).await?.json(200)?;
    assert_eq!(before["total"]["files"], 0);
    Ok(())
}
