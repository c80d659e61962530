//! The erasure of a tenant, as the owner: everything that has the tenant in a row, whatever table it is in. The tables are
//! those of the catalog, so that one that comes later is not forgotten. Each step can be run again, and goes on where the last
//! one ended.

use crate::{Error, Pending};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("erasure/", $name), include_str!(concat!("../queries/erasure/", $name, ".sql")))
    };
}

/// How many rows are removed in one transaction.
const ROWS_AT_ONCE: i64 = 20_000;

/// How many blocks (of 8 KiB) are looked through in one, where no index leads to a tenant's rows.
const BLOCKS_AT_ONCE: i64 = 20_000;

/// The table of tenants itself.
const TENANTS: &str = "tenants";

/// What is known of an erasure. Times are RFC 3339.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// When it was asked for; all keys of the tenant are revoked since.
    pub asked_at: String,
    /// How long ago that is.
    pub since_asked: Duration,
    /// Who asked.
    pub asked_by: String,
    /// When nothing was left; `None` while it is under way.
    pub finished_at: Option<String>,
    /// How much was removed, by what it was: a JSON object.
    pub removed: String,
}

/// Begins the erasure of a tenant: from now on none of its keys is taken, and its sessions end. One that has begun goes on.
/// `None` when there neither is nor was such a tenant.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn begin<'a>(owner: &'a mut Client, tenant: Uuid, by: &'a str) -> Pending<'a, Result<Option<Erasure>, Error>> {
    Box::pin(async move {
        let transaction = scope(owner, tenant).await?;
        let (name, sql) = sql!("ask");
        transaction.execute(sql, &[&tenant, &by]).await.map_err(Error::statement(name))?;
        for (name, sql) in [sql!("revoke_keys"), sql!("cancel_sessions")] {
            transaction.execute(sql, &[&tenant]).await.map_err(Error::statement(name))?;
        }
        let known = read(&transaction, tenant).await?;
        commit(transaction).await?;
        Ok(known)
    })
}

/// What is known of a tenant's erasure; `None` where nobody asked for it.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn known<'a>(owner: &'a mut Client, tenant: Uuid) -> Pending<'a, Result<Option<Erasure>, Error>> {
    Box::pin(async move {
        let transaction = scope(owner, tenant).await?;
        read(&transaction, tenant).await
    })
}

async fn read(transaction: &Transaction<'_>, tenant: Uuid) -> Result<Option<Erasure>, Error> {
    let (name, sql) = sql!("known");
    let row = transaction.query_opt(sql, &[&tenant]).await.map_err(Error::statement(name))?;
    Ok(row.map(|row| Erasure {
        asked_at: row.get("asked_at"),
        since_asked: Duration::from_secs(row.get::<_, i64>("seconds_ago").unsigned_abs()),
        asked_by: row.get("asked_by"),
        finished_at: row.get("finished_at"),
        removed: row.get("removed"),
    }))
}

/// A table, or a leaf of one, that has the tenant in its rows.
#[derive(Clone, Debug)]
pub struct Table {
    /// What people know it by: the table that it is a partition of.
    pub root: String,
    name: String,
    is_indexed: bool,
    blocks: i64,
}

/// All of them, in an order in which their rows can be removed; the tenant's own row comes last.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn tables<'a>(owner: &'a Client) -> Pending<'a, Result<Vec<Table>, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("tables");
        let rows = owner.query(sql, &[]).await.map_err(Error::statement(name))?;
        let table = |row: &tokio_postgres::Row| Table {
            root: row.get("root"),
            name: row.get("name"),
            is_indexed: row.get("is_indexed"),
            blocks: row.get("blocks"),
        };
        Ok(rows.iter().map(table).collect())
    })
}

/// Removes a tenant's rows from a table but for its own row, part by part, and returns how many they were.
///
/// # Errors
/// Any [`Error`] of the database; what was removed until then stays so.
pub fn remove_rows<'a>(owner: &'a mut Client, tenant: Uuid, table: &'a Table) -> Pending<'a, Result<u64, Error>> {
    Box::pin(async move {
        if table.root == TENANTS {
            return Ok(0);
        }
        let mut removed = 0;
        if table.is_indexed {
            let (name, sql) = sql!("remove_rows");
            let sql = sql.replace("{table}", &table.name);
            loop {
                let transaction = scope(owner, tenant).await?;
                let rows =
                    transaction.execute(&sql, &[&tenant, &ROWS_AT_ONCE]).await.map_err(Error::statement(name))?;
                commit(transaction).await?;
                removed += rows;
                if rows == 0 {
                    return Ok(removed);
                }
            }
        }
        let (name, sql) = sql!("remove_rows_of_blocks");
        let sql = sql.replace("{table}", &table.name);
        let mut from = 0;
        // what is written behind the last block that is known is counted at the end, and then removed
        while from <= table.blocks {
            let to = from + BLOCKS_AT_ONCE;
            let transaction = scope(owner, tenant).await?;
            removed += transaction.execute(&sql, &[&tenant, &from, &to]).await.map_err(Error::statement(name))?;
            commit(transaction).await?;
            from = to;
        }
        Ok(removed)
    })
}

/// How many rows a tenant has, by table; every table is named, however few.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn count_rows<'a>(owner: &'a mut Client, tenant: Uuid) -> Pending<'a, Result<BTreeMap<String, u64>, Error>> {
    Box::pin(async move {
        let tables = tables(owner).await?;
        let transaction = scope(owner, tenant).await?;
        let mut counts = BTreeMap::new();
        for table in tables {
            let (name, sql) = sql!("count_rows");
            let sql = sql.replace("{table}", &table.name);
            let row = transaction.query_one(&sql, &[&tenant]).await.map_err(Error::statement(name))?;
            *counts.entry(table.root).or_default() += row.get::<_, i64>(0).unsigned_abs();
        }
        Ok(counts)
    })
}

/// Writes down how much was removed until now: a JSON object.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn note<'a>(owner: &'a mut Client, tenant: Uuid, removed: &'a str) -> Pending<'a, Result<(), Error>> {
    Box::pin(async move {
        let transaction = scope(owner, tenant).await?;
        let (name, sql) = sql!("note");
        transaction.execute(sql, &[&tenant, &removed]).await.map_err(Error::statement(name))?;
        commit(transaction).await
    })
}

/// Removes the tenant's own row, when nothing else is left, and writes down that it is done.
///
/// # Errors
/// Any [`Error`] of the database; one of a foreign key when something was written meanwhile.
pub fn finish<'a>(owner: &'a mut Client, tenant: Uuid) -> Pending<'a, Result<(), Error>> {
    Box::pin(async move {
        let transaction = scope(owner, tenant).await?;
        for (name, sql) in [sql!("remove_tenant"), sql!("finish")] {
            transaction.execute(sql, &[&tenant]).await.map_err(Error::statement(name))?;
        }
        commit(transaction).await
    })
}

/// Begins a transaction that sees the tenant's rows, and waits for work that is under way.
async fn scope(owner: &mut Client, tenant: Uuid) -> Result<Transaction<'_>, Error> {
    let transaction = owner.transaction().await.map_err(Error::statement("begin"))?;
    // a UUID needs no quoting; one message saves a round trip
    let scope = format!("set local lock_timeout = '2min'; select set_config('app.tenant_id', '{tenant}', true)");
    transaction.batch_execute(&scope).await.map_err(Error::statement("begin"))?;
    Ok(transaction)
}

async fn commit(transaction: Transaction<'_>) -> Result<(), Error> {
    transaction.commit().await.map_err(Error::statement("commit"))
}
