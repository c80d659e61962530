//! How fast sales are counted and told. It is measured and promises nothing: a machine is as busy as it is.
//!
//! `INTAKE_METRICS_BENCH=1 cargo test -p intake-tests --test stack -- metrics_bench`; `INTAKE_METRICS_ORDERS` is how many there
//! are, 2,000,000 unless told.

use crate::support::{Dice, Ground, Scratch};
use anyhow::{Context, Result};
use intake_domain::sales::period::{Bucket, Period, Unit, Zone, buckets};
use intake_domain::sales::{DAY_MICROS, Part, Report, day_of};
use intake_postgres::metrics::{self, Counted};
use intake_postgres::{Database, Scope};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::Client;
use uuid::Uuid;

/// Over how many days the orders are spread, by chance.
const DAYS: i64 = 730;

/// How often a day is counted, and an answer given.
const ROUNDS: usize = 40;

/// Two years of a shop with 10,000 products in 50 categories and 100,000 customers: three items an order. The orders lie as they
/// came, in any order of their dates.
async fn fill(superuser: &Client, tenant: Uuid, orders: i64) -> Result<()> {
    let sql = format!(
        "set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '1GB';
        drop index order_items_of_order, order_items_of_product;
        insert into products (tenant_id, product_id, sku, name, price, category_id, active, created_at, payload_hash)
        select '{tenant}', md5('p' || n)::uuid, 'SKU-' || n, 'A product', 9.99, md5('c' || n % 50)::uuid, true, now(), ''
        from generate_series(1, 10000) as n;
        create temp table drawn as
        select n, md5('o' || n)::uuid as order_id, date_trunc('day', now(), 'UTC') - random() * {DAYS} * interval '1 day' as at
        from generate_series(1, {orders}) as n;
        insert into orders (tenant_id, order_id, external_order_id, customer_id, customer_name_snapshot,
            customer_email_snapshot, total_amount, currency, order_status, order_date, raw_payload, created_at)
        select '{tenant}', order_id, 'ORD-' || n, md5('k' || (random() * 100000)::integer)::uuid, 'A customer of the shop',
            'customer' || n || '@shop.example', (random() * 500)::numeric(12, 2), 'EUR', 'delivered', at,
            '{{\"source\": \"web\", \"campaign\": null, \"discount_code\": null}}', now()
        from drawn order by n;
        insert into order_items (tenant_id, order_item_id, order_id, product_id, quantity, unit_price, line_total, payload_hash)
        select '{tenant}', gen_random_uuid(), order_id, md5('p' || 1 + (random() * 9999)::integer)::uuid, 1, 19.99, 19.99,
            '0123456789abcdef'
        from drawn, generate_series(1, 3) order by n;
        create index order_items_of_order on order_items (tenant_id, order_id);
        create index order_items_of_product on order_items (tenant_id, product_id, order_id);
        analyze orders, order_items, products;"
    );
    superuser.batch_execute(&sql).await.context("rows")?;
    for sql in ["vacuum orders", "vacuum order_items", "checkpoint"] {
        superuser.batch_execute(sql).await.context(sql)?;
    }
    Ok(())
}

/// Lays them as they lie where orders come on their days, or in a file by its dates.
async fn sort(superuser: &Client) -> Result<()> {
    let sql = "set session_replication_role = replica; set synchronous_commit = off; set work_mem = '512MB';
        drop index order_items_of_order, order_items_of_product;
        create temp table sorted_items as
        select order_items.* from order_items join orders using (tenant_id, order_id) order by order_date, order_id;
        create temp table sorted_orders as select * from orders order by order_date;
        truncate order_items, orders;
        insert into orders select * from sorted_orders;
        insert into order_items select * from sorted_items;
        drop table sorted_items, sorted_orders;
        create index order_items_of_order on order_items (tenant_id, order_id);
        create index order_items_of_product on order_items (tenant_id, product_id, order_id);
        analyze orders, order_items";
    superuser.batch_execute(sql).await.context("rows by their dates")?;
    for sql in ["vacuum orders", "vacuum order_items", "checkpoint"] {
        superuser.batch_execute(sql).await.context(sql)?;
    }
    Ok(())
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p95 {:.1} ms", at(50), at(95))
}

async fn refresh(database: &Database, tenant: Uuid) -> Result<Counted> {
    let refresh = async |scope: &mut Scope<'_>| metrics::refresh(scope).await;
    database.run("refresh", tenant, refresh).await?.context("nobody else counts")
}

/// Counts all days anew and tells how fast.
async fn rebuild(database: &Database, tenant: Uuid, what: &str) -> Result<()> {
    let since = Instant::now();
    database.run("touch_all", tenant, async |scope: &mut Scope<'_>| metrics::touch_all(scope).await).await?;
    let (mut rows, mut changed, mut is_more) = (0, 0, true);
    while is_more {
        let counted = refresh(database, tenant).await?;
        rows += counted.orders + counted.items;
        changed += counted.changed;
        is_more = counted.is_more;
    }
    let took = since.elapsed().as_secs_f64();
    println!("{what}: {rows} rows in {took:.2} s, {:.0} rows/s, {changed} days written", rows as f64 / took);
    Ok(())
}

/// What it costs when one day was touched.
async fn count_one_day(loader: &Database, superuser: &Client, tenant: Uuid, today: i32, order: &str) -> Result<()> {
    let mut dice = Dice::new(1);
    let of_day = "tenant_id = $1 and order_date >= 'epoch'::timestamptz + $2::integer * interval '1 day'
        and order_date < 'epoch'::timestamptz + ($2::integer + 1) * interval '1 day'";
    let first = format!("select order_date, order_id from orders where {of_day} limit 1");
    let one = [format!("update orders set total_amount = total_amount + 1 where (order_date, order_id) in ({first})")];
    let all = [
        format!("update orders set total_amount = total_amount + 1 where {of_day}"),
        format!(
            "update order_items set line_total = line_total + 1
            where tenant_id = $1 and order_id = any(array(select order_id from orders where {of_day}))"
        ),
    ];
    for (what, changes) in [
        ("a touched day that is as it was", &[][..]),
        ("a touched day with another order", &one),
        ("a touched day of other orders", &all),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let day = today - 1 - dice.within(0..DAYS as u64 - 1) as i32;
            for sql in changes {
                superuser.execute(sql, &[&tenant, &day]).await?;
            }
            times.push(count_touched(loader, tenant, day).await?);
        }
        println!("{what}, {order}: {}", told(times));
    }
    Ok(())
}

/// What it costs when all orders of a day have just come.
async fn count_new_days(loader: &Database, superuser: &Client, tenant: Uuid, today: i32) -> Result<()> {
    // as many as yesterday had, with as many items
    let copies = [
        "insert into orders (tenant_id, order_id, external_order_id, customer_id, customer_name_snapshot,
            customer_email_snapshot, total_amount, currency, order_status, order_date, raw_payload, created_at)
        select tenant_id, md5(order_id::text || $2::integer)::uuid, external_order_id || '/' || $2::integer, customer_id,
            customer_name_snapshot, customer_email_snapshot, total_amount, currency, order_status,
            order_date + ($2::integer - $3::integer) * interval '1 day', raw_payload, now()
        from orders
        where tenant_id = $1 and order_date >= 'epoch'::timestamptz + $3 * interval '1 day'
            and order_date < 'epoch'::timestamptz + ($3 + 1) * interval '1 day'",
        "insert into order_items (tenant_id, order_item_id, order_id, product_id, quantity, unit_price, line_total,
            payload_hash)
        select tenant_id, gen_random_uuid(), md5(order_id::text || $2::integer)::uuid, product_id, quantity, unit_price,
            line_total, payload_hash
        from order_items
        where tenant_id = $1 and order_id = any(array(
            select order_id from orders
            where tenant_id = $1 and order_date >= 'epoch'::timestamptz + $3::integer * interval '1 day'
                and order_date < 'epoch'::timestamptz + ($3 + 1) * interval '1 day'
        ))",
    ];
    let mut times = Vec::new();
    for day in today + 1..=today + ROUNDS as i32 {
        for sql in copies {
            superuser.execute(sql, &[&tenant, &day, &(today - 1)]).await?;
        }
        times.push(count_touched(loader, tenant, day).await?);
    }
    println!("a touched day whose orders have just come: {}", told(times));
    Ok(())
}

/// How long a day takes that is touched.
async fn count_touched(loader: &Database, tenant: Uuid, day: i32) -> Result<Duration> {
    let touch = async |scope: &mut Scope<'_>| metrics::touch(scope, &BTreeSet::from([day]), &BTreeSet::new()).await;
    loader.run("touch", tenant, touch).await?;
    let since = Instant::now();
    refresh(loader, tenant).await?;
    Ok(since.elapsed())
}

/// What an answer costs: the time until its groups are there.
async fn answer(
    database: &Database,
    tenant: Uuid,
    what: &str,
    period: Period,
    part: Part,
    buckets: &[Bucket],
) -> Result<()> {
    let mut times = Vec::new();
    let mut groups = 0;
    for _ in 0..ROUNDS {
        let since = Instant::now();
        let report = async |scope: &mut Scope<'_>| {
            let mut report = Report::new(part, buckets);
            let (days, rests) = period.days();
            metrics::add_days(scope, &days, None, &mut report).await?;
            for rest in rests {
                metrics::add_period(scope, rest, None, &mut report).await?;
            }
            Ok(report)
        };
        groups = database.run("report", tenant, report).await?.finish().1.len();
        times.push(since.elapsed());
    }
    println!("{what}: {groups} groups, {}", told(times));
    Ok(())
}

/// What PostgreSQL itself says that a year by day takes.
async fn explain(client: &Client, tenant: Uuid) -> Result<()> {
    client.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    let sql = include_str!("../../shared/postgres/queries/metrics/totals.sql");
    let values = [format!("'{tenant}'::uuid"), "current_date - 365".into(), "current_date".into(), "null".into()];
    let sql = values.iter().zip(1..).fold(sql.to_owned(), |sql, (value, at)| sql.replace(&format!("${at}"), value));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let rows = client.query(&format!("explain (analyze, buffers) {sql}"), &[]).await?;
        let last: String = rows.last().context("a plan")?.get(0);
        let time: f64 = last.trim_start_matches("Execution Time: ").trim_end_matches(" ms").parse().context(last)?;
        times.push(Duration::from_secs_f64(time / 1000.0));
    }
    println!("a year by day, PostgreSQL alone: {}", told(times));
    Ok(())
}

pub(super) async fn how_fast_sales_are_counted(ground: Arc<Ground>) -> Result<()> {
    let orders =
        std::env::var("INTAKE_METRICS_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(2_000_000);
    let (scratch, tenant) = (Scratch::new(&ground).await?, Uuid::now_v7());
    let superuser = scratch.superuser().await?;
    let since = Instant::now();
    fill(&superuser, tenant, orders).await?;
    println!(
        "{orders} orders of {DAYS} days with three items each are there after {:.0} s",
        since.elapsed().as_secs_f64()
    );
    let loader = Database::new(&scratch.loader_url, "bench")?;
    for what in ["rebuilt from nothing", "rebuilt as it was"] {
        rebuild(&loader, tenant, what).await?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
    println!("memory of the process that counted, at most: {}", peak.trim());
    let size =
        "select pg_size_pretty(pg_total_relation_size('sales_days')), pg_size_pretty(pg_relation_size('sales_days'))";
    let size = superuser.query_one(size, &[]).await?;
    println!("sales_days: {} in all, {} without what lies apart", size.get::<_, String>(0), size.get::<_, String>(1));

    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?;
    let today = day_of(now);
    count_one_day(&loader, &superuser, tenant, today, "orders in any order").await?;
    count_new_days(&loader, &superuser, tenant, today).await?;
    sort(&superuser).await?;
    count_one_day(&loader, &superuser, tenant, today, "orders by their dates").await?;

    explain(&intake_postgres::connect(&scratch.api_url).await?, tenant).await?;
    let api = Database::new(&scratch.api_url, "bench")?;
    let end = i64::from(today) * DAY_MICROS;
    let year = Period { start: end - 365 * DAY_MICROS, end };
    let of = |name: &str, unit| {
        let zone = Zone::named(name).context("a zone")?;
        buckets(year, unit, &zone).context("few buckets")
    };
    let (utc, india) = (of("UTC", Unit::Day)?, of("Asia/Kolkata", Unit::Day)?);
    answer(&api, tenant, "a year by day, read and added up", year, Part::Days, &utc).await?;
    let shifted = Period { start: year.start - 5 * DAY_MICROS / 24, end: year.end - 5 * DAY_MICROS / 24 };
    answer(&api, tenant, "a year by day of Asia/Kolkata", shifted, Part::Quarters, &india).await?;
    answer(&api, tenant, "a year by hour", year, Part::Quarters, &of("UTC", Unit::Hour)?).await?;
    answer(&api, tenant, "a year by category", year, Part::Categories, &[]).await?;
    answer(&api, tenant, "a year by product", year, Part::Products, &[]).await?;
    for (what, part, buckets) in [("a year by day", Part::Days, &*utc), ("a year by product", Part::Products, &[])] {
        let since = Instant::now();
        let scan = async |scope: &mut Scope<'_>| metrics::scan(scope, year, None, part, buckets).await;
        api.run("scan", tenant, scan).await?;
        println!("{what}, exact: {:.2} s", since.elapsed().as_secs_f64());
    }
    Ok(())
}
