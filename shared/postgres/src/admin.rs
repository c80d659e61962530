//! What the operator and the scheduled chores do, as the owner of the schema.

use crate::keys::{self, NewKey};
use crate::{Error, Pending, Server};
use intake_domain::audit::KeyEvent;
use intake_domain::dataset;
use std::collections::BTreeMap;
use tokio_postgres::Client;
use uuid::Uuid;

/// A connection for the operator.
///
/// # Errors
/// [`Error::Url`] and [`Error::Connect`].
pub fn connect<'a>(database_url: &'a str) -> Pending<'a, Result<Client, Error>> {
    Box::pin(async move { Server::new(database_url)?.connect().await })
}

/// A tenant to add.
pub struct NewTenant {
    /// Its id.
    pub id: Uuid,
    /// Its name, at most 255 characters.
    pub name: String,
    /// Its key.
    pub key: NewKey,
}

/// A tenant as listed.
#[derive(Debug)]
pub struct TenantRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it was added.
    pub created_at: String,
}

/// Adds a tenant with its key; a tenant or key that is there stays as it is, a revoked key too. `event` is what the log
/// says of a new key. Returns whether the tenant is new.
///
/// # Errors
/// [`Error::KeyTaken`] when another tenant holds the key, [`Error::TwoLiveKeys`] when it would be the tenant's third;
/// any other [`Error`] of the database.
pub fn add_tenant<'a>(
    client: &'a mut Client,
    tenant: &'a NewTenant,
    event: KeyEvent,
) -> Pending<'a, Result<bool, Error>> {
    Box::pin(async move {
        let failed = || Error::statement("admin/add_tenant");
        let transaction = client.transaction().await.map_err(failed())?;
        let added = transaction
            .execute(include_str!("../queries/admin/add_tenant.sql"), &[&tenant.id, &tenant.name])
            .await
            .map_err(failed())?;
        keys::add(transaction, tenant.id, &tenant.key, event).await?;
        Ok(added == 1)
    })
}

/// All tenants, oldest first.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn list_tenants<'a>(client: &'a mut Client) -> Pending<'a, Result<Vec<TenantRow>, Error>> {
    Box::pin(async move {
        let rows = client
            .query(include_str!("../queries/admin/list_tenants.sql"), &[])
            .await
            .map_err(Error::statement("list_tenants"))?;
        Ok(rows.iter().map(|row| TenantRow { id: row.get(0), name: row.get(1), created_at: row.get(2) }).collect())
    })
}

/// How many rows a tenant has in each production table.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn count_rows<'a>(client: &'a mut Client, tenant: Uuid) -> Pending<'a, Result<BTreeMap<String, i64>, Error>> {
    Box::pin(async move {
        let failed = || Error::statement("count_rows");
        let transaction = client.transaction().await.map_err(failed())?;
        transaction
            .execute("select set_config('app.tenant_id', $1, true)", &[&tenant.to_string()])
            .await
            .map_err(failed())?;
        let mut counts = BTreeMap::new();
        for dataset in dataset::ALL {
            let sql = format!("select count(*) from {} where tenant_id = $1", dataset.name);
            let row = transaction.query_one(&sql, &[&tenant]).await.map_err(failed())?;
            counts.insert(dataset.name.to_owned(), row.get(0));
        }
        Ok(counts)
    })
}

/// Makes the monthly partitions of orders that are due, and those of months that the default partition holds rows of.
/// Returns how many it made.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn make_partitions<'a>(client: &'a mut Client) -> Pending<'a, Result<i32, Error>> {
    Box::pin(async move {
        // a promotion may hold the lock for long, and everybody would queue behind this one
        client.batch_execute("set lock_timeout = '5s'").await.map_err(Error::statement("make_partitions"))?;
        let row = client
            .query_one(include_str!("../queries/admin/make_partitions.sql"), &[])
            .await
            .map_err(Error::statement("make_partitions"))?;
        Ok(row.get::<_, Option<i32>>(0).unwrap_or(0))
    })
}
