//! The books of one tenant: what the ledger says and what the tables hold, which must agree at every moment.

use anyhow::{Context, Result, ensure};
use intake_domain::Dataset;
use intake_domain::value::Kind;
use std::collections::BTreeMap;
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// One statement, and so one moment. A row of the answer is a dataset of which the ledger counts other rows than there are.
const UNBALANCED: &str = "
    with counted as (
        select dataset, sum(inserted)::bigint as rows
        from chunks join files using (file_id) join upload_sessions using (session_id)
        where chunks.state = 'promoted' and not dry_run
        group by dataset
    ), stored as (
        select 'customers' as dataset, count(*) as rows from customers
        union all select 'products', count(*) from products
        union all select 'orders', count(*) from orders
        union all select 'order_items', count(*) from order_items
        -- what an event wrote into the history came in no file of it, and has no hash
        union all select 'price_history', count(*) from price_history where payload_hash <> ''
        -- of one that is past its time its id is left
        union all select 'stock_events', (select count(*) from stock_events) + (select count(*) from stock_event_ids)
        -- what the policy refused is recorded, and is a reject of its file; events come in requests, too
        union all select 'price_events', count(*) from price_events
        where outcome <> 'rejected' and exists (select from counted where dataset = 'price_events')
    )
    select format('%s: %s inserted, %s stored', dataset, counted.rows, stored.rows)
    from stored left join counted using (dataset)
    where stored.rows <> coalesce(counted.rows, 0)
    union all
    select format('order %s and its key disagree', coalesce(orders.order_id, order_keys.order_id))
    from orders full join order_keys using (tenant_id, order_id, order_date, external_order_id)
    where orders.order_id is null or order_keys.order_id is null
    union all
    select format('contact %s is one of %s orders and recorded %s times', contact, keys, recorded)
    from (select contact, count(*) as keys from order_keys where contact is not null group by contact) as had
    full join (
        select contact, count(*) as recorded
        from order_contacts
        -- the owner sees those of all tenants
        where tenant_id = current_setting('app.tenant_id')::uuid
        group by contact
    ) as known using (contact)
    where keys is null or recorded is null
    union all
    select format('chunk %s of file %s: its counts do not add up', chunk_index, file_id)
    from chunks
    where state = 'promoted' and (
        accepted <> inserted + updated + unchanged + rejected
        or rejected <> (select count(*) from rejects where (file_id, chunk_index) = (chunks.file_id, chunks.chunk_index))
    )";

/// A row of the answer is a product whose level is not what its events come to.
const MISPLACED: &str = "
    select format('product %s: %s, but its events come to %s', product_id, to_json(stored), to_json(recorded))
    from (select product_id, level, sequence, carried, carried_events from stock_levels) as stored
    full join (
        select product_id, sum(change) as level, count(*) as events, max(sequence) as sequence,
            min(sequence) as first, max(resulting_level) filter (where is_last) as last_level
        from (
            select *, sequence = max(sequence) over (partition by product_id) as is_last
            from stock_events where sequence is not null
        ) as events
        group by product_id
    ) as recorded using (product_id)
    where stored.level is distinct from stored.carried + coalesce(recorded.level, 0)
        or stored.sequence is distinct from stored.carried_events + coalesce(recorded.events, 0)
        or recorded.sequence <> stored.sequence or recorded.first <> stored.carried_events + 1
        or recorded.last_level <> stored.level";

/// A row of a table.
pub(crate) struct TableRow {
    /// The text of each of the dataset's fields; times in microseconds since 1970.
    pub(crate) cells: Vec<Option<String>>,
    /// In microseconds since 1970.
    pub(crate) created_at: Option<i64>,
}

/// The owner's connection, with one tenant's rows in sight.
pub(crate) struct Books {
    url: String,
    tenant: Uuid,
    client: OnceCell<Client>,
}

impl Books {
    /// The books of a tenant, which are opened when they are first read.
    pub(crate) fn new(owner_database_url: &str, tenant: Uuid) -> Self {
        Self { url: owner_database_url.to_owned(), tenant, client: OnceCell::new() }
    }

    /// Gives the connection up; the next reader opens another.
    pub(crate) fn close(&mut self) {
        self.client.take();
    }

    async fn client(&self) -> Result<&Client> {
        let open = async || {
            let client = intake_postgres::connect(&self.url).await?;
            client.batch_execute(&format!("set timezone = 'UTC'; set app.tenant_id = '{}'", self.tenant)).await?;
            anyhow::Ok(client)
        };
        self.client.get_or_try_init(open).await
    }

    /// Fails when ledger, rejects and tables do not agree.
    pub(crate) async fn balance(&self) -> Result<()> {
        let rows = self.client().await?.query(UNBALANCED, &[]).await?;
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        ensure!(found.is_empty(), "the books do not balance: {}", found.join("; "));
        self.levels_add_up().await
    }

    /// Fails when the level of a product is not what its events come to.
    pub(crate) async fn levels_add_up(&self) -> Result<()> {
        let found = self.texts(MISPLACED, &[]).await?;
        ensure!(found.is_empty(), "{} levels do not add up: {}", found.len(), found[..found.len().min(5)].join("; "));
        Ok(())
    }

    /// Where the stock of each product stands.
    pub(crate) async fn levels(&self) -> Result<BTreeMap<Uuid, i32>> {
        let rows = self.client().await?.query("select product_id, level from stock_levels", &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The rows of each table.
    pub(crate) async fn rows(&self) -> Result<BTreeMap<String, i64>> {
        let sql = "select 'customers', count(*) from customers
            union all select 'products', count(*) from products
            union all select 'orders', count(*) from orders
            union all select 'order_items', count(*) from order_items
            union all select 'price_history', count(*) from price_history
            union all select 'stock_events', count(*) from stock_events";
        Ok(self.client().await?.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The rows of a table by their ids.
    pub(crate) async fn table(&self, dataset: &Dataset) -> Result<BTreeMap<Uuid, TableRow>> {
        let cells = dataset.fields.iter().map(|field| match field.kind {
            Kind::Timestamp => format!("(extract(epoch from {}) * 1000000)::bigint::text", field.name),
            _ => format!("{}::text", field.name),
        });
        let created_at =
            if dataset.created_at { "(extract(epoch from created_at) * 1000000)::bigint" } else { "null::bigint" };
        let cells = cells.collect::<Vec<_>>().join(", ");
        let sql = format!("select {}, {created_at}, array[{cells}] from {}", dataset.id_field().name, dataset.name);
        let rows = self.client().await?.query(&sql, &[]).await.context(sql)?;
        Ok(rows.iter().map(|row| (row.get(0), TableRow { created_at: row.get(1), cells: row.get(2) })).collect())
    }

    /// How many rejects the database holds of a file.
    pub(crate) async fn rejects(&self, file: Uuid) -> Result<i64> {
        Ok(self.client().await?.query_one("select count(*) from rejects where file_id = $1", &[&file]).await?.get(0))
    }

    /// The first column of every row that a query gives, which must be text.
    pub(crate) async fn texts(&self, sql: &str, with: &[&(dyn ToSql + Sync)]) -> Result<Vec<String>> {
        let rows = self.client().await?.query(sql, with).await.with_context(|| sql.to_owned())?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) async fn execute(&self, sql: &str, with: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.client().await?.execute(sql, with).await.with_context(|| sql.to_owned())
    }
}
