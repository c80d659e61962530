//! What is past its time goes, with all that belongs to it, and nothing else does.

use super::price_holds::hold;
use super::prices::{reprice, set_policy, stocked};
use super::stock::{path, update};
use crate::support::{Answer, File, Ground, Scratch, Session, Shop, at, counts, event, id, item, ndjson, order};
use anyhow::{Context, Result, ensure};
use intake_domain::retention::Wishes;
use intake_postgres::retention::{self, Detached};
use intake_postgres::{Client, Database, Scope, admin, metrics};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// How long to wait for an upload or for chores that run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the chores run, all of which another test may be doing just now, too.
async fn maintain(ground: &Ground) -> Result<Value> {
    ground.invoke("Maintain", &event("maintain.hourly")?).await
}

/// Lets a tenant have its own way.
async fn wish(shop: &Shop, wishes: Wishes) -> Result<()> {
    let mut owner = intake_postgres::connect(&shop.ground.endpoints.owner_database_url).await?;
    let now = retention::operate_wishes(&mut owner, shop.id, |_| wishes).await?;
    ensure!(now == Some(wishes), "{now:?}");
    Ok(())
}

/// The number that a statement gives for the shop.
async fn count(shop: &Shop, sql: &str) -> Result<i64> {
    let found = shop.books.texts(&format!("select ({sql})::text"), &[]).await?;
    Ok(found.first().context("a number")?.parse()?)
}

/// Orders, keys and items that there are.
async fn stored(shop: &Shop) -> Result<[i64; 3]> {
    let mut counts = [0; 3];
    for (count_of, table) in counts.iter_mut().zip(["orders", "order_keys", "order_items"]) {
        *count_of = count(shop, &format!("select count(*) from {table}")).await?;
    }
    Ok(counts)
}

/// How many orders of June 2025 the metrics tell of, counted ahead and counted now.
async fn sold_in_june(shop: &Shop) -> Result<[u64; 2]> {
    sold(shop, "2025-06-01", "2025-06-30").await
}

/// How many orders of these days they tell of.
async fn sold(shop: &Shop, first: &str, last: &str) -> Result<[u64; 2]> {
    let mut sold = [0; 2];
    for (sold, precision) in sold.iter_mut().zip(["approx", "exact"]) {
        let range = format!("group_by=day&start_date={first}&end_date={last}");
        let path = format!("/api/v1/tenants/{}/metrics/sales?{range}&precision={precision}", shop.id);
        let answer = shop.get(&path).await?.json(200)?;
        let days = answer["data"].as_object().context("days")?;
        *sold = days.values().filter_map(|day| day["num_orders"].as_u64()).sum();
    }
    Ok(sold)
}

/// Takes a month out of the table, whoever works on it.
async fn archive(owner: &mut Client, first_day: &str) -> Result<Detached> {
    let since = Instant::now();
    loop {
        match retention::archive_month(owner, first_day, |_| true).await {
            Err(error) if error.is_lock_timeout() && since.elapsed() < PATIENCE => {}
            archived => return archived?.context("it is past"),
        }
    }
}

/// Sends files of a shop whose books no longer balance, since rows that were promoted are gone.
async fn resend(shop: &Shop, files: &[File]) -> Result<Value> {
    let session: Session = shop.declare(files).await?;
    shop.upload(&session, files).await?;
    let since = Instant::now();
    loop {
        let status = shop.status(&session).await?;
        if status["finished_at"].is_string() || status["state"].as_str().is_some_and(|s| s.starts_with("completed")) {
            return Ok(status);
        }
        ensure!(since.elapsed() < PATIENCE, "no end: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Orders from `first` on, each with an item, of one day.
fn files(first: u64, number: u64, day: &str) -> [File; 2] {
    [
        File::new("orders.ndjson", ndjson((first..first + number).map(|number| order(number, day)))),
        File::new("order_items.ndjson", ndjson((first..first + number).map(item))),
    ]
}

pub(super) async fn a_tenants_old_orders_go_with_all_that_belongs_to_them(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let today = shop.books.texts("select to_char(now(), 'YYYY-MM-DD')", &[]).await?.remove(0);
    for shop in [&shop, &other] {
        // one month has a partition, one lies before all of them
        shop.send(&files(0, 60, "2025-06-30")).await?;
        shop.send(&files(60, 60, "1971-06-30")).await?;
        shop.send(&files(120, 60, &today)).await?;
    }
    maintain(&ground).await?;
    assert_eq!(stored(&shop).await?, [180; 3], "nobody asked for anything");
    ground.drained().await?;
    assert_eq!(sold_in_june(&shop).await?, [60, 60]);

    wish(&shop, Wishes { order_months: Some(2), ..Wishes::default() }).await?;
    maintain(&ground).await?;
    assert_eq!(stored(&shop).await?, [60; 3]);
    ground.drained().await?;
    assert_eq!((sold_in_june(&shop).await?, sold_in_june(&other).await?), ([0, 0], [60, 60]));
    assert_eq!(count(&shop, "select count(*) from orders where order_date < now() - interval '4 months'").await?, 0);
    assert_eq!(stored(&other).await?, [180; 3], "another tenant keeps its own");

    // what comes once more is new, and past its time again
    let status = resend(&shop, &files(0, 60, "2025-06-30")).await?;
    assert_eq!(counts(&status), [120, 120, 0, 0, 0]);
    maintain(&ground).await?;
    assert_eq!(stored(&shop).await?, [60; 3]);
    Ok(())
}

pub(super) async fn an_archived_month_takes_its_orders_out_at_once(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let mut owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select ensure_order_months('1990-05-01', '1990-05-01')", &[]).await?;
    for shop in [&shop, &other] {
        shop.send(&files(0, 60, "1990-05-20")).await?;
    }
    let leaf = archive(&mut owner, "1990-05-01").await?.leaf;
    for shop in [&shop, &other] {
        assert_eq!(count(shop, "select count(*) from orders").await?, 0);
    }
    for url in [&ground.endpoints.api_database_url, &ground.endpoints.loader_database_url] {
        let role = intake_postgres::connect(url).await?;
        for verb in ["select from", "delete from", "insert into"] {
            let rest = if verb == "insert into" { "select * from orders" } else { "" };
            let refused = role.execute(&format!("{verb} archive.{leaf} {rest}"), &[]).await.expect_err("closed");
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{verb}: {refused}");
        }
        let renamed = role.execute("insert into orders_y1990m05 select from orders", &[]).await.expect_err("gone");
        assert_eq!(renamed.code(), Some(&SqlState::UNDEFINED_TABLE));
    }

    // some come again before keys and items are gone: one as it was, one with another date, one with a taken number
    let renumbered = at(order(100, "1990-05-20"), "external_order_id", "ORD-2");
    let again = [order(0, "1990-05-20"), order(1, "1990-05-21"), renumbered];
    let status = resend(&shop, &[File::new("orders.ndjson", ndjson(again))]).await?;
    assert_eq!(counts(&status), [3, 3, 0, 0, 0], "what was archived is known no more");

    let loose_items = "select count(*) from order_items where order_id not in (select order_id from order_keys)";
    ground.arm("maintain.within-archive", other.id, "kill")?;
    let since = Instant::now();
    loop {
        maintain(&ground).await.ok();
        let [_, keys, _] = stored(&shop).await?;
        // the chores that the stack runs by itself may come before the orders do, and take the items along
        let loose = count(&shop, loose_items).await?;
        if (keys, loose, stored(&other).await?) == (3, 0, [0; 3]) {
            break;
        }
        ensure!(since.elapsed() < PATIENCE, "{:?} and {:?} are left", stored(&shop).await?, stored(&other).await?);
    }
    ensure!(ground.armed("maintain.within-archive", other.id).is_none(), "nothing died");
    let keys = "select order_id::text || ' ' || order_date::date from order_keys order by 1";
    let live = "select order_id::text || ' ' || order_date::date from orders order by 1";
    assert_eq!(shop.books.texts(keys, &[]).await?, shop.books.texts(live, &[]).await?);

    // a run that died over the last of it has not noted that nothing is left
    maintain(&ground).await?;
    let archived = "select count(*)::text from archive.months where leaf = $1::text::name and cleaned_at is not null";
    assert_eq!(shop.books.texts(archived, &[&leaf]).await?, ["1"], "it stays for a while");
    assert_eq!(shop.books.texts(&format!("select count(*)::text from archive.{leaf}"), &[]).await?, ["120"]);
    retention::drop_archived(&mut owner, &leaf).await?;
    let gone = "select (to_regclass($1::text) is null)::text";
    assert_eq!(shop.books.texts(gone, &[&format!("archive.{leaf}")]).await?, ["true"]);
    Ok(())
}

/// The number that a statement gives for a tenant.
async fn count_of(owner: &Client, tenant: Uuid, sql: &str) -> Result<i64> {
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    Ok(owner.query_one(sql, &[]).await?.get(0))
}

/// Lets a tenant have so many orders of May 1990, with their keys.
async fn insert_orders(owner: &Client, tenant: Uuid, count: i32) -> Result<()> {
    let insert = "with made as (
            insert into orders
                (tenant_id, order_id, external_order_id, total_amount, currency, order_status, order_date, created_at)
            select $1, gen_random_uuid(), gen_random_uuid()::text, 1, 'EUR', 'confirmed', '1990-05-20', now()
            from generate_series(1, $2)
            returning *
        )
        insert into order_keys (tenant_id, external_order_id, order_id, order_date, payload_hash)
        select tenant_id, external_order_id, order_id, order_date, '' from made";
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    owner.execute(insert, &[&tenant, &count]).await?;
    Ok(())
}

/// A database beside the stack's, where no chores run, with a partition for May 1990.
async fn with_may_1990(ground: &Ground) -> Result<(Scratch, Client)> {
    let scratch = Scratch::new(ground).await?;
    let owner = scratch.owner().await?;
    owner.execute("select ensure_order_months('1990-05-01', '1990-05-01')", &[]).await?;
    Ok((scratch, owner))
}

async fn add_tenant(owner: &Client) -> Result<Uuid> {
    let tenant = Uuid::now_v7();
    owner.execute("insert into tenants (tenant_id, name) values ($1, 'a shop')", &[&tenant]).await?;
    Ok(tenant)
}

/// Removes what belongs to a tenant's orders in the archive, notes that the month is clean, and says whether it is.
async fn clean(owner: &mut Client, leaf: &str, tenant: Uuid) -> Result<bool> {
    while retention::clean_archived(owner, leaf, tenant).await? > 0 {}
    retention::note_cleaned(owner, leaf).await?;
    Ok(retention::archived(owner, 30).await?.is_empty())
}

pub(super) async fn an_archived_month_is_told_no_more(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mut owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select ensure_order_months('1991-05-01', '1991-05-01')", &[]).await?;
    shop.send(&files(0, 60, "1991-05-20")).await?;
    ground.drained().await?;
    let told = async || sold(&shop, "1991-05-01", "1991-05-31").await;
    assert_eq!(told().await?, [60, 60]);

    let archived = archive(&mut owner, "1991-05-01").await?;
    assert!(archived.touched.contains(&shop.id), "maintain sends for whom it is told of");
    let database = Database::new(&ground.endpoints.loader_database_url, "tests")?;
    let refresh = async |scope: &mut Scope<'_>| metrics::refresh(scope).await;
    database.run("refresh", shop.id, refresh).await?.context("nobody else counts")?;
    assert_eq!(told().await?, [0, 0], "whatever is left of its keys");
    Ok(())
}

pub(super) async fn a_month_is_archived_by_what_is_wanted_at_that_moment(ground: Arc<Ground>) -> Result<()> {
    let (scratch, mut owner) = with_may_1990(&ground).await?;
    let tenant = add_tenant(&owner).await?;
    let nobody_keeps = |tenants: &[(Uuid, Wishes)]| tenants.iter().all(|(_, wishes)| wishes.order_months != Some(0));

    // one who wants it kept has said so, but not to the end
    let mut other = scratch.owner().await?;
    let saying = other.transaction().await?;
    saying.execute("update tenants set keep_order_months = 0 where tenant_id = $1", &[&tenant]).await?;
    let busy = retention::archive_month(&mut owner, "1990-05-01", nobody_keeps).await.expect_err("is waited for");
    assert!(busy.is_lock_timeout(), "{busy}");
    saying.commit().await?;
    assert_eq!(retention::archive_month(&mut owner, "1990-05-01", nobody_keeps).await?, None);
    assert!(retention::months(&owner).await?.contains(&"y1990m05".to_owned()));

    retention::operate_wishes(&mut owner, tenant, |_| Wishes::default()).await?;
    let archived = retention::archive_month(&mut owner, "1990-05-01", nobody_keeps).await?;
    assert!(archived.context("it is past")?.touched.is_empty(), "nothing was sold");
    assert!(!retention::months(&owner).await?.contains(&"y1990m05".to_owned()));
    Ok(())
}

pub(super) async fn an_archived_month_is_clean_when_it_is_of_everybody(ground: Arc<Ground>) -> Result<()> {
    let (_, mut owner) = with_may_1990(&ground).await?;
    let [known, late] = [add_tenant(&owner).await?, add_tenant(&owner).await?];
    insert_orders(&owner, late, 3).await?;
    let leaf = archive(&mut owner, "1990-05-01").await?.leaf;
    // as a run does that has read its tenants before one of them came
    ensure!(!clean(&mut owner, &leaf, known).await?, "keys of another are left");
    assert_eq!(count_of(&owner, late, "select count(*) from order_keys").await?, 3);
    ensure!(clean(&mut owner, &leaf, late).await?, "nothing is left");
    assert_eq!(count_of(&owner, late, "select count(*) from order_keys").await?, 0);
    Ok(())
}

pub(super) async fn a_month_gets_no_partition_before_its_archive_is_clean(ground: Arc<Ground>) -> Result<()> {
    let (_, mut owner) = with_may_1990(&ground).await?;
    let tenant = add_tenant(&owner).await?;
    insert_orders(&owner, tenant, 1).await?;
    let leaf = archive(&mut owner, "1990-05-01").await?.leaf;
    // as many as are worth a partition come into the default one
    insert_orders(&owner, tenant, 10_000).await?;
    assert_eq!(admin::make_partitions(&mut owner).await?, 0, "the key of one that is gone would count");
    ensure!(clean(&mut owner, &leaf, tenant).await?, "nothing is left");
    assert_eq!(admin::make_partitions(&mut owner).await?, 1);
    assert_eq!(count_of(&owner, tenant, "select count(*) from orders").await?, 10_000);
    assert_eq!(count_of(&owner, tenant, "select count(*) from orders_default").await?, 0);
    Ok(())
}

pub(super) async fn a_tenant_that_is_gone_is_not_cleaned_after(ground: Arc<Ground>) -> Result<()> {
    let (scratch, mut owner) = with_may_1990(&ground).await?;
    let [gone, cleaned] = [add_tenant(&owner).await?, add_tenant(&owner).await?];
    let leaf = archive(&mut owner, "1990-05-01").await?.leaf;
    let remove = "delete from tenants where tenant_id = $1";
    owner.execute(remove, &[&gone]).await?;
    assert_eq!(retention::clean_archived(&mut owner, &leaf, gone).await?, 0);
    assert_eq!(count_of(&owner, gone, "select count(*) from archive.progress").await?, 0, "nothing names it");

    // and one whose row is written meanwhile is not gone before that is
    retention::clean_archived(&mut owner, &leaf, cleaned).await?;
    let refused = scratch.owner().await?.execute(remove, &[&cleaned]).await.expect_err("something is left");
    assert_eq!(refused.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    Ok(())
}

pub(super) async fn stock_events_go_and_levels_stay(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let moved = |number: u64, product: u64, delta: i64| json!({"stock_event_id": id(number), "product_id": id(product), "delta": delta});
    let send = async |rows: Vec<Value>| Answer::to(update(&shop, "", ndjson(rows))).await?.json(200);
    let levels = async || shop.books.levels().await;
    send((0..40).map(|number| moved(number, 1, 2)).collect()).await?;
    send(vec![moved(40, 2, 7), moved(41, 2, -3), moved(42, 2, 5)]).await?;
    let before = levels().await?;
    // of the second product a young event lies between two old ones
    let age = "update stock_events set created_at = now() - interval '31 days' where stock_event_id <> all ($1)";
    shop.books.execute(age, &[&vec![id(39), id(41)]]).await?;
    wish(&shop, Wishes { stock_event_days: Some(30), ..Wishes::default() }).await?;
    maintain(&ground).await?;

    assert_eq!(levels().await?, before);
    shop.books.levels_add_up().await?;
    let left = "select stock_event_id::text from stock_events order by 1";
    assert_eq!(shop.books.texts(left, &[]).await?, [39, 41, 42].map(|number| id(number).to_string()));
    let carried = "select carried || ' ' || carried_events from stock_levels order by product_id";
    assert_eq!(shop.books.texts(carried, &[]).await?, ["78 39", "7 1"]);

    // what has gone is still known, in a request and in a file
    let again = send((0..40).map(|number| moved(number, 1, 2)).collect()).await?;
    assert_eq!(again["total_events_processed"], 0, "{again:#}");
    let file = File::new("stock_events.ndjson", ndjson((0..43).map(|number| moved(number, 1 + number / 40, 9))));
    assert_eq!(counts(&resend(&shop, &[file]).await?), [43, 0, 0, 43, 0]);
    assert_eq!(levels().await?, before);

    send(vec![moved(50, 1, -70), moved(51, 2, -1)]).await?;
    shop.books.levels_add_up().await?;
    assert_eq!(shop.get(&path(&shop, &format!("/{}", id(1)))).await?.json(200)?["level"], 10);
    Ok(())
}

pub(super) async fn price_events_go_but_those_that_wait(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 2).await?;
    reprice(&shop, 1, 19.99, 20.5).await?;
    set_policy(&shop, "hold").await?;
    let held = hold(&shop, 2, 199.9).await?;
    let age = "update price_events set received_at = now() - interval '31 days'";
    assert_eq!(shop.books.execute(age, &[]).await?, 2);
    reprice(&shop, 1, 20.5, 21.0).await?;
    maintain(&ground).await?;
    let left = "select price_event_id::text from price_events order by received_at";
    let left = shop.books.texts(left, &[]).await?;
    assert_eq!((left.len(), left.first()), (2, Some(&held)), "the deployment keeps them for 30 days");
    assert_eq!(count(&shop, "select count(*) from price_history").await?, 2, "the history stays");
    Ok(())
}

pub(super) async fn sessions_go_with_their_files_rejects_and_objects(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let bad = |number: u64| at(order(number, "2026-01-31"), "total_amount", "much");
    let rows = (0..40).map(|number| if number % 2 == 0 { bad(number) } else { order(number, "2026-01-31") });
    let file = File::new("orders.ndjson", ndjson(rows));
    let (old, status) = shop.send(std::slice::from_ref(&file)).await?;
    assert_eq!(counts(&status), [40, 20, 0, 0, 20]);
    let (young, _) = shop.send(&[file]).await?;
    let objects = async |session: &Session| {
        let prefix = format!("tenants/{}/sessions/{}/", shop.id, session.id);
        intake_aws::Objects::new(&ground.aws, ground.endpoints.bucket.clone()).count_under(&prefix).await
    };
    assert_eq!((objects(&old).await?, objects(&young).await?), (1, 1));
    let age = "update upload_sessions set expires_at = now() - interval '91 days' where session_id = $1";
    assert_eq!(shop.books.execute(age, &[&old.id]).await?, 1);

    ground.arm("maintain.after-objects", shop.id, "kill")?;
    let since = Instant::now();
    while count(&shop, "select count(*) from upload_sessions").await? > 1 {
        maintain(&ground).await.ok();
        ensure!(since.elapsed() < PATIENCE, "the session is still there");
    }
    ensure!(ground.armed("maintain.after-objects", shop.id).is_none(), "nothing died");
    let status = shop.get(&format!("/api/v1/ingest/sessions/{}/status", old.token)).await?;
    assert_eq!(status.status, 404);
    assert_eq!((objects(&old).await?, objects(&young).await?), (0, 1));
    assert_eq!(count(&shop, "select count(*) from rejects").await?, 20);
    assert_eq!(
        count(&shop, "select count(*) from chunks").await?,
        count(&shop, "select count(*) from chunks join files using (file_id)").await?
    );
    assert_eq!(count(&shop, "select count(*) from orders").await?, 20, "what it brought stays");
    Ok(())
}

pub(super) async fn old_entries_of_the_audit_log_go(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let entry = "insert into audit_log (audit_id, tenant_id, logged_at, action)
        select gen_random_uuid(), $1, now() - make_interval(days => days), 'key_added' from unnest(array[399, 401]) as days";
    let before = count(&shop, "select count(*) from audit_log").await?;
    shop.books.execute(entry, &[&shop.id]).await?;
    maintain(&ground).await?;
    assert_eq!(count(&shop, "select count(*) from audit_log").await?, before + 1);
    Ok(())
}

pub(super) async fn exports_expire_with_their_files(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let export = "insert into exports
        (export_id, tenant_id, dataset, format, compression, columns, filters, spreadsheet_safe, state, expires_at)
        values ($1, $2, 'orders', 'csv', 'none', '[]', '{}', true, $3, now() + make_interval(days => $4))";
    let [open, over, failed, old] = [1, 2, 3, 4].map(|number| Uuid::from_u128(shop.id.as_u128() ^ number));
    for (id, state, days) in
        [(open, "completed", 1), (over, "completed", -1), (failed, "failed", -2), (old, "expired", -91)]
    {
        shop.books.execute(export, &[&id, &shop.id, &state, &days]).await?;
        let key = format!("exports/{}/{id}/1.csv", shop.id);
        let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(key).body(b"a\n".to_vec().into());
        put.send().await?;
    }
    let objects = intake_aws::Objects::new(&ground.aws, ground.endpoints.bucket.clone());
    let files = async |id: Uuid| objects.count_under(&format!("exports/{}/{id}/", shop.id)).await;
    ground.arm("maintain.after-files", shop.id, "kill")?;
    let states = "select export_id || ' ' || state from exports order by expires_at desc";
    let wanted = [format!("{open} completed"), format!("{over} expired"), format!("{failed} failed")];
    let since = Instant::now();
    while shop.books.texts(states, &[]).await? != wanted {
        maintain(&ground).await.ok();
        ensure!(since.elapsed() < PATIENCE, "{:?}", shop.books.texts(states, &[]).await?);
    }
    ensure!(ground.armed("maintain.after-files", shop.id).is_none(), "nothing died");
    assert_eq!((files(open).await?, files(over).await?, files(failed).await?), (1, 0, 0));
    Ok(())
}
