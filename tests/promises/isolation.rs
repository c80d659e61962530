//! No tenant sees or touches what another has.

use crate::support::{File, Ground, Shop, at, counts, customer, item, ndjson, order, product};
use anyhow::{Context, Result};
use intake_postgres::{Database, Error};
use std::sync::Arc;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

fn every_dataset() -> [File; 4] {
    [
        File::new("customers.ndjson", ndjson((0..60).map(customer).chain([at(customer(61), "name", 7)]))),
        File::new("products.ndjson", ndjson((0..60).map(product))),
        File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31")))),
        File::new("order_items.ndjson", ndjson((0..60).map(item))),
    ]
}

pub(super) async fn two_tenants_at_once_with_the_same_ids_do_not_meet(ground: Arc<Ground>) -> Result<()> {
    let (one, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let files = every_dataset();
    let ((_, ones), (_, others)) = tokio::try_join!(one.send(&files), other.send(&files))?;
    assert_eq!(counts(&ones), [241, 240, 0, 0, 1]);
    assert_eq!(counts(&others), counts(&ones));

    let changed = File::new("customers.ndjson", ndjson([at(customer(1), "name", "changed")]));
    let (_, status) = one.send(&[changed]).await?;
    assert_eq!(counts(&status), [1, 0, 1, 0, 0]);
    let sql = "select count(*)::text from customers where name = 'changed'";
    assert_eq!(one.books.texts(sql, &[]).await?, ["1"]);
    assert_eq!(other.books.texts(sql, &[]).await?, ["0"]);
    assert_eq!(one.books.rows().await?, other.books.rows().await?);
    Ok(())
}

/// Every table with a tenant, leaf partitions apart.
async fn tenant_tables(client: &Client) -> Result<Vec<(String, bool)>> {
    let sql = "select relname::text, relrowsecurity and relforcerowsecurity
        from pg_class join pg_attribute on attrelid = pg_class.oid
        where attname = 'tenant_id' and relkind in ('r', 'p') and not relispartition
            and relnamespace = 'public'::regnamespace
        order by relname";
    Ok(client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Connections of the roles that functions have.
async fn roles(ground: &Ground) -> Result<[(&'static str, Client); 2]> {
    let api = intake_postgres::connect(&ground.endpoints.api_database_url).await?;
    let loader = intake_postgres::connect(&ground.endpoints.loader_database_url).await?;
    Ok([("intake_api", api), ("intake_loader", loader)])
}

async fn act_as(client: &Client, tenant: &str) -> Result<()> {
    client.execute("select set_config('app.tenant_id', $1, false)", &[&tenant]).await.map(drop).context("a setting")
}

/// How many rows a statement touches or gives; `None` when the role may not run it at all.
async fn reached(client: &Client, sql: &str, tenant: Uuid) -> Result<Option<u64>> {
    match client.execute(sql, &[&tenant]).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error).context(sql.to_owned()),
    }
}

pub(super) async fn no_tenant_sees_another(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    shop.send(&every_dataset()).await?;
    let own = shop.id.to_string();
    for (role, client) in roles(&ground).await? {
        let tables = tenant_tables(&client).await?;
        assert!(tables.len() >= 11, "{tables:?}");
        let mut seen = 0;
        for (table, is_forced) in tables {
            assert!(is_forced, "{table} has no forced row-level security");
            let sql = format!("select from {table} where tenant_id = $1");
            for foreign in ["", &stranger.id.to_string()] {
                act_as(&client, foreign).await?;
                let rows = reached(&client, &sql, shop.id).await?;
                assert!(matches!(rows, None | Some(0)), "{role} sees {rows:?} of {table} as {foreign:?}");
            }
            act_as(&client, &own).await?;
            seen += u64::from(reached(&client, &sql, shop.id).await?.is_some_and(|rows| rows > 0));
        }
        assert!(seen >= 9, "{role} sees its own rows of {seen} tables");
    }
    Ok(())
}

pub(super) async fn no_tenant_writes_into_another(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    shop.send(&every_dataset()).await?;
    let before = shop.books.rows().await?;
    let insert_session = "insert into upload_sessions (session_id, tenant_id, upload_token, dry_run, expires_at)
        values (gen_random_uuid(), $1, gen_random_uuid(), false, now())";
    for (role, client) in roles(&ground).await? {
        act_as(&client, &stranger.id.to_string()).await?;
        for (table, _) in tenant_tables(&client).await? {
            for sql in [
                format!("update {table} set tenant_id = tenant_id where tenant_id = $1"),
                format!("delete from {table} where tenant_id = $1"),
            ] {
                let rows = reached(&client, &sql, shop.id).await?;
                assert!(matches!(rows, None | Some(0)), "{role}: {sql}: {rows:?}");
            }
        }
        assert_eq!(reached(&client, insert_session, shop.id).await?, None, "{role}");
    }
    let [(_, api), _] = roles(&ground).await?;
    act_as(&api, &stranger.id.to_string()).await?;
    assert_eq!(reached(&api, insert_session, stranger.id).await?, Some(1), "into its own rows it may write");
    assert_eq!(shop.books.rows().await?, before);
    Ok(())
}

pub(super) async fn leaf_partitions_are_closed(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for (role, client) in roles(&ground).await? {
        act_as(&client, &shop.id.to_string()).await?;
        let sql = "select relname::text from pg_class
            where relispartition and relkind = 'r' and relnamespace = 'public'::regnamespace";
        let leaves: Vec<String> = client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        assert!(leaves.len() > 60, "{leaves:?}");
        for leaf in leaves {
            for sql in [
                format!("select from {leaf} where tenant_id = $1"),
                format!("update {leaf} set tenant_id = tenant_id where tenant_id = $1"),
                format!("delete from {leaf} where tenant_id = $1"),
            ] {
                assert_eq!(reached(&client, &sql, shop.id).await?, None, "{role}: {sql}");
            }
            let insert = format!("insert into {leaf} (tenant_id) select $1::uuid where false");
            let may_insert = reached(&client, &insert, shop.id).await?.is_some();
            assert_eq!(may_insert, role == "intake_loader", "{role} and {leaf}");
        }
    }
    Ok(())
}

pub(super) async fn a_privileged_role_is_refused(ground: Arc<Ground>) -> Result<()> {
    let database = Database::new(&ground.endpoints.owner_database_url, "tests")?;
    let refused = database.begin(Uuid::now_v7()).await.err();
    assert!(matches!(refused, Some(Error::Privileged(_))), "{refused:?}");
    Ok(())
}
