//! What is past its time is removed: part by part, each part a short transaction that leaves nothing half removed and can
//! be run again, as the owner, since it concerns all tenants and the archive.
//!
//! Whoever promotes orders of a tenant and whoever moves its stock is waited for, for some seconds; then
//! [`Error::is_lock_timeout`] says so, and the rest is left to the next run.

use crate::{Error, Pending};
use intake_domain::retention::Wishes;
use std::collections::BTreeSet;
use std::time::SystemTime;
use tokio_postgres::{Client, GenericClient, Row, Transaction};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("retention/", $name), include_str!(concat!("../queries/retention/", $name, ".sql")))
    };
}

/// How many orders go in one transaction, with their items.
const ORDERS_AT_ONCE: i64 = 2_000;

/// How many rows of other tables do.
const ROWS_AT_ONCE: i64 = 5_000;

/// How many products' stock events are looked at in one transaction.
const PRODUCTS_AT_ONCE: i64 = 200;

/// How many of each product's go in it.
const EVENTS_OF_PRODUCT_AT_ONCE: i64 = 500;

/// How many sessions go in one.
const SESSIONS_AT_ONCE: i64 = 16;

/// How many exports expire in one.
const EXPORTS_AT_ONCE: i64 = 20;

/// All tenants with their wishes.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn tenants(owner: &impl GenericClient) -> Result<Vec<(Uuid, Wishes)>, Error> {
    let (name, sql) = sql!("tenants");
    let rows = owner.query(sql, &[]).await.map_err(Error::statement(name))?;
    Ok(rows.iter().map(|row| (row.get("tenant_id"), read_wishes(row))).collect())
}

/// What a tenant wants to be kept for how long, as `change` leaves it; `None` when there is no such tenant.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn operate_wishes(
    owner: &mut Client,
    tenant: Uuid,
    change: impl FnOnce(Wishes) -> Wishes,
) -> Result<Option<Wishes>, Error> {
    let transaction = begin(owner, tenant).await?;
    let (name, sql) = sql!("wishes");
    let Some(row) = transaction.query_opt(sql, &[&tenant]).await.map_err(Error::statement(name))? else {
        return Ok(None);
    };
    let known = read_wishes(&row);
    let wanted = change(known);
    if wanted != known {
        let number = |wish: Option<u16>| wish.map(i32::from);
        let (name, sql) = sql!("set_wishes");
        let with: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [
            &tenant,
            &number(wanted.order_months),
            &number(wanted.stock_event_days),
            &number(wanted.price_event_days),
            &number(wanted.session_days),
        ];
        transaction.execute(sql, &with).await.map_err(Error::statement(name))?;
        commit(transaction).await?;
    }
    Ok(Some(wanted))
}

fn read_wishes(row: &Row) -> Wishes {
    let wish = |name| row.get::<_, Option<i32>>(name).and_then(|wish| u16::try_from(wish).ok());
    Wishes {
        order_months: wish("keep_order_months"),
        stock_event_days: wish("keep_stock_event_days"),
        price_event_days: wish("keep_price_event_days"),
        session_days: wish("keep_session_days"),
    }
}

/// The months of orders that have a partition, as [`intake_domain::retention::first_day`] reads them.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn months<'a>(owner: &'a Client) -> Pending<'a, Result<Vec<String>, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("months");
        let rows = owner.query(sql, &[]).await.map_err(Error::statement(name))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    })
}

/// A month that was taken out of `orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The name of its table in the archive.
    pub leaf: String,
    /// The tenants whose sales of it are to be counted anew.
    pub touched: Vec<Uuid>,
}

/// Takes the partition of the month that begins on `first_day` (`2026-01-01`) out of `orders` and into the archive, if
/// `is_past` by what all tenants want at that moment; `None` if not. From then on its orders are gone for everybody but the
/// owner, and their sales with the next count; what belongs to them is removed by [`clean_archived`].
///
/// # Errors
/// [`Error::is_lock_timeout`] when somebody reads or writes orders, or changes what a tenant wants, for longer than half a
/// second: everybody who comes after would have to wait for this one as well.
pub async fn archive_month(
    owner: &mut Client,
    first_day: &str,
    is_past: impl FnOnce(&[(Uuid, Wishes)]) -> bool,
) -> Result<Option<Detached>, Error> {
    let transaction = owner.transaction().await.map_err(Error::statement("begin"))?;
    transaction.batch_execute("set local lock_timeout = '500ms'").await.map_err(Error::statement("lock_timeout"))?;
    let (name, sql) = sql!("hold_tenants");
    transaction.execute(sql, &[]).await.map_err(Error::statement(name))?;
    if !is_past(&tenants(&transaction).await?) {
        return Ok(None);
    }
    // before `orders` is locked, since it takes longer the more tenants there are; a day that is first counted between the two
    // is noted by the clean-up
    let (name, sql) = sql!("touch_month");
    let touched = transaction.query(sql, &[&first_day]).await.map_err(Error::statement(name))?;
    let (name, sql) = sql!("archive_month");
    let leaf = transaction.query_one(sql, &[&first_day]).await.map_err(Error::statement(name))?.get(0);
    commit(transaction).await?;
    Ok(Some(Detached { leaf, touched: touched.iter().map(|row| row.get(0)).collect() }))
}

/// A month in the archive that there is something to do about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The name of its table.
    pub leaf: String,
    /// Whether it was in the archive for long enough, and nothing is left outside that belongs to it.
    pub is_over: bool,
}

/// The months in the archive that are to be cleaned or, after so many days there, dropped.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn archived<'a>(owner: &'a Client, days: u16) -> Pending<'a, Result<Vec<Archived>, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("archived");
        let rows = owner.query(sql, &[&i32::from(days)]).await.map_err(Error::statement(name))?;
        Ok(rows.iter().map(|row| Archived { leaf: row.get("leaf"), is_over: row.get("is_over") }).collect())
    })
}

/// Removes what is left of the next orders of an archived month: their keys, and their items, but for orders that came
/// again. Returns how many orders it went through; 0 when the month is clean of the tenant, or the tenant is gone.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn clean_archived<'a>(owner: &'a mut Client, leaf: &'a str, tenant: Uuid) -> Pending<'a, Result<u64, Error>> {
    Box::pin(async move {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("hold_tenant");
        if transaction.query_opt(sql, &[&tenant]).await.map_err(Error::statement(name))?.is_none() {
            return Ok(0);
        }
        let (name, sql) = sql!("progress");
        let progress = transaction.query_opt(sql, &[&tenant, &leaf]).await.map_err(Error::statement(name))?;
        if progress.as_ref().is_some_and(|row| row.get::<_, bool>("is_done")) {
            return Ok(0);
        }
        let (mut at, mut last) = (SystemTime::UNIX_EPOCH - YEARS_BEFORE, Uuid::nil());
        if let Some(row) = progress {
            (at, last) = (row.get("order_date"), row.get("order_id"));
        }
        lock_orders(&transaction, tenant).await?;
        let (name, sql) = sql!("archived_orders");
        let sql = sql.replace("{leaf}", leaf);
        let rows =
            transaction.query(&sql, &[&tenant, &at, &last, &ORDERS_AT_ONCE]).await.map_err(Error::statement(name))?;
        let orders = Orders::read(&rows);
        orders.remove_what_belongs_to_them(&transaction, tenant).await?;
        if let (Some(of), Some(id)) = (orders.dates.last(), orders.ids.last()) {
            (at, last) = (*of, *id);
        }
        let (name, sql) = sql!("keep_progress");
        transaction
            .execute(sql, &[&tenant, &leaf, &at, &last, &orders.ids.is_empty()])
            .await
            .map_err(Error::statement(name))?;
        commit(transaction).await?;
        Ok(orders.ids.len() as u64)
    })
}

/// Before all orders: PostgreSQL's time begins in 4713 BC, the orders' in the year 1.
const YEARS_BEFORE: std::time::Duration = std::time::Duration::from_secs(2_000 * 366 * 86_400);

/// Notes that nothing of an archived month is left outside of it, if it is clean of every tenant that there is.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn note_cleaned<'a>(owner: &'a Client, leaf: &'a str) -> Pending<'a, Result<(), Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("cleaned");
        owner.execute(sql, &[&leaf]).await.map(drop).map_err(Error::statement(name))
    })
}

/// Drops an archived month for good.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn drop_archived<'a>(owner: &'a mut Client, leaf: &'a str) -> Pending<'a, Result<(), Error>> {
    Box::pin(async move {
        let transaction = owner.transaction().await.map_err(Error::statement("begin"))?;
        let (name, sql) = sql!("drop_archived");
        let sql = sql.replace("{leaf}", leaf);
        transaction.batch_execute(&sql).await.map_err(Error::statement(name))?;
        let (name, sql) = sql!("forget_archived");
        transaction.execute(sql, &[&leaf]).await.map_err(Error::statement(name))?;
        commit(transaction).await
    })
}

/// Orders that go.
struct Orders {
    ids: Vec<Uuid>,
    dates: Vec<SystemTime>,
}

impl Orders {
    /// Of rows that come in the order of their dates.
    fn read(rows: &[Row]) -> Self {
        let (ids, dates) =
            rows.iter().map(|row| (row.get::<_, Uuid>("order_id"), row.get::<_, SystemTime>("order_date"))).unzip();
        Self { ids, dates }
    }

    /// Removes the keys and the items of orders that are not in `orders` any more, and the contacts that no other order has,
    /// and notes that the sales of their days are to be counted anew.
    async fn remove_what_belongs_to_them(&self, transaction: &Transaction<'_>, tenant: Uuid) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.dates.first(), self.dates.last()) else { return Ok(()) };
        let (name, sql) = sql!("remove_order_keys");
        let with: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&tenant, &self.ids, &self.dates, first, last];
        let removed = transaction.query(sql, &with).await.map_err(Error::statement(name))?;
        let (name, sql) = sql!("remove_items");
        transaction.execute(sql, &[&tenant, &self.ids]).await.map_err(Error::statement(name))?;
        let contacts: BTreeSet<i64> = removed.iter().filter_map(|row| row.get("contact")).collect();
        let contacts: Vec<_> = contacts.into_iter().collect();
        let (name, sql) = crate::contacts::REMOVE_UNUSED;
        transaction.execute(sql, &[&tenant, &contacts]).await.map_err(Error::statement(name))?;
        let (name, sql) = sql!("touch_days");
        transaction.execute(sql, &[&tenant, &self.dates]).await.map(drop).map_err(Error::statement(name))
    }
}

/// Removes the oldest orders of a tenant that are dated before `since`, with their keys and items. Returns how many; 0
/// when there is none.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn remove_orders<'a>(owner: &'a mut Client, tenant: Uuid, since: SystemTime) -> Pending<'a, Result<u64, Error>> {
    Box::pin(async move {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("oldest_order");
        let oldest = transaction.query_one(sql, &[&tenant, &since]).await.map_err(Error::statement(name))?;
        let Some(oldest) = oldest.get::<_, Option<SystemTime>>(0) else { return Ok(0) };
        lock_orders(&transaction, tenant).await?;
        let (name, sql) = sql!("old_orders");
        let rows = transaction
            .query(sql, &[&tenant, &oldest, &since, &ORDERS_AT_ONCE])
            .await
            .map_err(Error::statement(name))?;
        let orders = Orders::read(&rows);
        if let (Some(first), Some(last)) = (orders.dates.first(), orders.dates.last()) {
            let (name, sql) = sql!("remove_orders");
            let with: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&tenant, &orders.ids, &orders.dates, first, last];
            transaction.execute(sql, &with).await.map_err(Error::statement(name))?;
            orders.remove_what_belongs_to_them(&transaction, tenant).await?;
        }
        commit(transaction).await?;
        Ok(orders.ids.len() as u64)
    })
}

/// Keeps promotions of the tenant's orders and items waiting, in the order in which a dry run takes the same locks.
async fn lock_orders(transaction: &Transaction<'_>, tenant: Uuid) -> Result<(), Error> {
    for dataset in ["orders", "order_items"] {
        let lock = crate::promotion::lock_name(tenant, dataset);
        let sql = include_str!("../queries/promotion/lock.sql");
        transaction.query(sql, &[&lock]).await.map_err(Error::statement("promotion/lock"))?;
    }
    Ok(())
}

/// What was removed of the stock events of some products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockEvents {
    /// How many events.
    pub removed: u64,
    /// The last of the products; `None` when there was none left.
    pub through: Option<Uuid>,
    /// Whether these products may have more.
    pub has_more: bool,
}

/// Removes stock events that were created before `since`, of the next products after `after`: of each product its first
/// events, so far as all of them are that old. What they came to stays with its level, and their ids stay known.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn remove_stock_events<'a>(
    owner: &'a mut Client,
    tenant: Uuid,
    since: SystemTime,
    after: Uuid,
) -> Pending<'a, Result<StockEvents, Error>> {
    Box::pin(async move {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("stock_products");
        let rows =
            transaction.query(sql, &[&tenant, &after, &PRODUCTS_AT_ONCE]).await.map_err(Error::statement(name))?;
        let products: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let Some(through) = products.last().copied() else {
            return Ok(StockEvents { removed: 0, through: None, has_more: false });
        };
        // as everybody who moves stock: the tenant's, then the levels in their order
        let share = include_str!("../queries/stock/share.sql");
        transaction.query(share, &[&crate::stock::lock_name(tenant)]).await.map_err(Error::statement("stock/share"))?;
        let lock = include_str!("../queries/stock/lock_levels.sql");
        transaction.query(lock, &[&tenant, &products]).await.map_err(Error::statement("stock/lock_levels"))?;
        let (name, sql) = sql!("remove_stock_events");
        let removed = transaction
            .query(sql, &[&tenant, &products, &since, &EVENTS_OF_PRODUCT_AT_ONCE])
            .await
            .map_err(Error::statement(name))?;
        commit(transaction).await?;
        let removed: Vec<i64> = removed.iter().map(|row| row.get(0)).collect();
        let has_more = removed.contains(&EVENTS_OF_PRODUCT_AT_ONCE);
        Ok(StockEvents { removed: removed.iter().sum::<i64>().unsigned_abs(), through: Some(through), has_more })
    })
}

/// Removes price events that were received before `since` and wait for no decision. Returns how many; 0 when there is none.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn remove_price_events<'a>(
    owner: &'a mut Client,
    tenant: Uuid,
    since: SystemTime,
) -> Pending<'a, Result<u64, Error>> {
    Box::pin(async move {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("remove_price_events");
        let removed =
            transaction.execute(sql, &[&tenant, &since, &ROWS_AT_ONCE]).await.map_err(Error::statement(name))?;
        commit(transaction).await?;
        Ok(removed)
    })
}

/// Some sessions that ended, or could be used no more, before `since`, the oldest first.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn old_sessions<'a>(
    owner: &'a mut Client,
    tenant: Uuid,
    since: SystemTime,
) -> Pending<'a, Result<Vec<Uuid>, Error>> {
    Box::pin(async move {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("old_sessions");
        let rows =
            transaction.query(sql, &[&tenant, &since, &SESSIONS_AT_ONCE]).await.map_err(Error::statement(name))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    })
}

/// Removes sessions with all that is known of them: first their rejects, part by part, then the rest at once.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn remove_sessions(owner: &mut Client, tenant: Uuid, sessions: &[Uuid]) -> Result<(), Error> {
    loop {
        let transaction = begin(owner, tenant).await?;
        let (name, sql) = sql!("remove_rejects");
        let removed =
            transaction.execute(sql, &[&tenant, &sessions, &ROWS_AT_ONCE]).await.map_err(Error::statement(name))?;
        commit(transaction).await?;
        if removed < ROWS_AT_ONCE.unsigned_abs() {
            break;
        }
    }
    let transaction = begin(owner, tenant).await?;
    for (name, sql) in [
        sql!("remove_webhook_attempts"),
        sql!("remove_webhooks"),
        sql!("remove_stock_conflicts"),
        sql!("remove_chunks"),
        sql!("remove_files"),
        sql!("remove_sessions"),
    ] {
        transaction.execute(sql, &[&tenant, &sessions]).await.map_err(Error::statement(name))?;
    }
    commit(transaction).await
}

/// Some exports whose time is over and which still may have a file.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn over_exports(owner: &mut Client, tenant: Uuid) -> Result<Vec<Uuid>, Error> {
    let transaction = begin(owner, tenant).await?;
    let (name, sql) = sql!("over_exports");
    let rows = transaction.query(sql, &[&tenant, &EXPORTS_AT_ONCE]).await.map_err(Error::statement(name))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Notes that exports have expired, once their files are gone.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn expire_exports(owner: &mut Client, tenant: Uuid, exports: &[Uuid]) -> Result<(), Error> {
    let transaction = begin(owner, tenant).await?;
    let (name, sql) = sql!("expire_exports");
    transaction.execute(sql, &[&tenant, &exports]).await.map_err(Error::statement(name))?;
    commit(transaction).await
}

/// Forgets exports that expired before `since` and returns how many.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn remove_exports(owner: &mut Client, tenant: Uuid, since: SystemTime) -> Result<u64, Error> {
    let transaction = begin(owner, tenant).await?;
    let (name, sql) = sql!("remove_exports");
    let removed = transaction.execute(sql, &[&tenant, &since]).await.map_err(Error::statement(name))?;
    commit(transaction).await?;
    Ok(removed)
}

/// Removes entries of the audit log from before `since`, of all tenants and of callers whom nobody knows. Returns how many; 0
/// when there is none.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn remove_audit_entries(owner: &Client, since: SystemTime) -> Result<u64, Error> {
    let (name, sql) = sql!("remove_audit_entries");
    owner.execute(sql, &[&since, &ROWS_AT_ONCE]).await.map_err(Error::statement(name))
}

/// The tenants that were erased so lately that what was under way then may still leave something behind.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn lately_erased(owner: &Client) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("lately_erased");
    let rows = owner.query(sql, &[]).await.map_err(Error::statement(name))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Begins a transaction that sees the tenant's rows, as the owner too must say whose they are.
async fn begin(owner: &mut Client, tenant: Uuid) -> Result<Transaction<'_>, Error> {
    let transaction = owner.transaction().await.map_err(Error::statement("begin"))?;
    // a UUID needs no quoting; one message saves a round trip
    let scope = format!("set local lock_timeout = '5s'; select set_config('app.tenant_id', '{tenant}', true)");
    transaction.batch_execute(&scope).await.map_err(Error::statement("begin"))?;
    Ok(transaction)
}

async fn commit(transaction: Transaction<'_>) -> Result<(), Error> {
    transaction.commit().await.map_err(Error::statement("commit"))
}
