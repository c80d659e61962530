//! What PostgreSQL expects of a tenant follows what the tenant has, even when nothing else has made it look.

use crate::support::{File, Ground, Shop, customer, id, item, ndjson, order, product};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_postgres::Client;
use uuid::Uuid;

/// How many rows of a dataset are many here.
const MANY: u64 = 1_500;

/// The tables that promotion writes to, but for months of orders.
const TABLES: [&str; 8] = [
    "customers",
    "products",
    "order_keys",
    "order_contacts",
    "order_items",
    "price_history",
    "stock_events",
    "stock_levels",
];

/// The remainder of the tenant's partitions.
async fn leaf_of(owner: &Client, tenant: Uuid) -> Result<i32> {
    let sql = include_str!("../../shared/postgres/queries/promotion/leaf_of_tenant.sql");
    Ok(owner.query_one(sql, &[&tenant]).await?.get(0))
}

/// How many rows of the tenant the planner expects in a partition.
async fn expected(owner: &Client, leaf: &str, tenant: Uuid) -> Result<u64> {
    let sql = format!("explain (format json) select from {leaf} where tenant_id = '{tenant}'");
    let plan: Value = owner.query_one(&sql, &[]).await?.get(0);
    plan[0]["Plan"]["Plan Rows"].as_u64().context("a number of rows")
}

/// How often a partition was analyzed by somebody's order.
async fn analyzed(owner: &Client, leaf: &str) -> Result<i64> {
    let sql = "select pg_stat_get_analyze_count($1::text::regclass)";
    Ok(owner.query_one(sql, &[&leaf]).await?.get(0))
}

/// Files with that many rows of each dataset.
fn files(rows: u64) -> Vec<File> {
    let event = |number| json!({"stock_event_id": id(number), "product_id": id(number), "delta": 3});
    let price =
        |number| json!({"id": id(number), "product_id": id(number), "price": 5, "effective_from": "2026-01-01"});
    let sent = |number| {
        let mut order = order(number, "2026-01-31");
        order["customer_name_snapshot"] = format!("Customer {number}").into();
        order
    };
    [
        File::new("customers_x.ndjson", ndjson((0..rows).map(customer))),
        File::new("products_x.ndjson", ndjson((0..rows).map(product))),
        File::new("orders_x.ndjson", ndjson((0..rows).map(sent))),
        File::new("order_items_x.ndjson", ndjson((0..rows).map(item))),
        File::new("price_history_x.ndjson", ndjson((0..rows).map(price))),
        File::new("stock_events_x.ndjson", ndjson((0..rows).map(event))),
    ]
    .into()
}

pub(super) async fn a_tenant_that_has_just_come_is_known(ground: Arc<Ground>) -> Result<()> {
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let old = Shop::open(&ground).await?;
    let remainder = leaf_of(&owner, old.id).await?;
    let mut new = Vec::new();
    while new.len() < 2 {
        let shop = Shop::open(&ground).await?;
        if leaf_of(&owner, shop.id).await? == remainder {
            new.push(shop);
        }
    }
    let leaves = TABLES.map(|table| format!("{table}_p{remainder}"));
    old.send(&files(MANY)).await?;
    for leaf in &leaves {
        owner.batch_execute(&format!("alter table {leaf} set (autovacuum_enabled = false); analyze {leaf}")).await?;
    }
    let (few, many) = (&new[0], &new[1]);
    few.send(&files(20)).await?;
    for leaf in &leaves {
        let rows = expected(&owner, leaf, few.id).await?;
        assert!(rows < 20, "nobody looks for 20 rows, but {rows} are expected in {leaf}");
    }
    let (_, status) = many.send(&files(MANY)).await?;
    ensure!(status["state"] == "completed", "{status:#}");
    let mut counts = Vec::new();
    for leaf in &leaves {
        let rows = expected(&owner, leaf, many.id).await?;
        assert!(rows > MANY / 2, "{rows} of {MANY} rows are expected in {leaf}");
        counts.push(analyzed(&owner, leaf).await?);
    }
    // what is known is not asked for again
    many.send(&files(MANY)).await?;
    for (leaf, count) in leaves.iter().zip(counts) {
        assert_eq!(analyzed(&owner, leaf).await?, count, "{leaf}");
        owner.batch_execute(&format!("alter table {leaf} reset (autovacuum_enabled)")).await?;
    }
    Ok(())
}

pub(super) async fn who_may_not_have_tables_analyzed_is_refused(ground: Arc<Ground>) -> Result<()> {
    let code = async |url: &str, leaf: &str| -> Result<Option<String>> {
        let client = intake_postgres::connect(url).await?;
        let answer = client.query_one(&format!("select learn_of_tenant('{leaf}', 1000000)"), &[]).await;
        Ok(answer.err().and_then(|error| Some(error.code()?.code().to_owned())))
    };
    let forbidden = Some("42501".to_owned());
    let loader = &ground.endpoints.loader_database_url;
    assert_eq!(code(&ground.endpoints.api_database_url, "customers_p0").await?, forbidden);
    for table in ["tenants", "customers", "pg_class", "schema_migrations"] {
        assert_eq!(code(loader, table).await?, forbidden, "{table} is no partition");
    }
    assert_eq!(code(loader, "customers_p0").await?, None);
    Ok(())
}
