//! API keys: whose one is, for the functions of the API; and what becomes of them, for the operator. A tenant has at
//! most two that are live, so that a new one can be handed out before the old one goes.

use crate::audit;
use crate::{Database, Error, Pending};
use intake_domain::api_key::{ApiKey, LOOKUP_BYTES, is_same};
use intake_domain::audit::KeyEvent;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("keys/", $name), include_str!(concat!("../queries/keys/", $name, ".sql")))
    };
}

/// The constraint that a third live key of a tenant breaks.
const TWO_LIVE_KEYS: &str = "two_live_keys";

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's.
    Nobody,
    /// It was this tenant's, and has been revoked.
    Former(Uuid),
    /// This tenant's.
    Tenant(Uuid),
}

/// Whose key has this SHA-256; that it was used is noted at most once a minute.
///
/// The database finds what begins as the hash does. Which of it, if any, is the hash is found out here in a time that
/// does not depend on where they differ: an index would stop at the first byte.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn holder(database: &Database, hash: &[u8; 32]) -> Result<Holder, Error> {
    let (name, sql) = sql!("find");
    let rows = database.query(name, sql, &[(&&hash[..LOOKUP_BYTES], Type::BYTEA)]).await?;
    let mut holder = Holder::Nobody;
    let mut is_noted = true;
    for row in rows {
        if is_same(hash, row.get("key_hash")) {
            let tenant = row.get("tenant_id");
            let is_revoked = row.get("is_revoked");
            holder = if is_revoked { Holder::Former(tenant) } else { Holder::Tenant(tenant) };
            is_noted = is_revoked || row.get("is_noted");
        }
    }
    if !is_noted {
        let (name, sql) = sql!("note_use");
        if let Err(error) = database.query(name, sql, &[(&hash.as_slice(), Type::BYTEA)]).await {
            tracing::warn!(%error, "the use of a key is not noted");
        }
    }
    Ok(holder)
}

/// A key to add.
pub struct NewKey {
    /// Its SHA-256.
    pub hash: [u8; 32],
    /// By which people know it; at most 12 characters.
    pub prefix: String,
}

impl From<&ApiKey> for NewKey {
    fn from(key: &ApiKey) -> Self {
        Self { hash: key.hash(), prefix: key.prefix().to_owned() }
    }
}

/// A key as listed.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Whose.
    pub tenant_id: Uuid,
    /// By which people know it.
    pub prefix: String,
    /// When it was added.
    pub created_at: String,
    /// When it was last used, to the minute.
    pub last_used_at: Option<String>,
    /// Since when it is refused.
    pub revoked_at: Option<String>,
    hash: Vec<u8>,
}

impl KeyRow {
    /// Whether it opens the door.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.revoked_at.is_none()
    }
}

fn read_key(row: &Row) -> KeyRow {
    KeyRow {
        tenant_id: row.get("tenant_id"),
        prefix: row.get("key_prefix"),
        created_at: row.get("created_at"),
        last_used_at: row.get("last_used_at"),
        revoked_at: row.get("revoked_at"),
        hash: row.get("key_hash"),
    }
}

/// The keys of a tenant, or of all, oldest first.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn list<'a>(client: &'a Client, tenant: Option<Uuid>) -> Pending<'a, Result<Vec<KeyRow>, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("list");
        let rows = client.query(sql, &[&tenant]).await.map_err(Error::statement(name))?;
        Ok(rows.iter().map(read_key).collect())
    })
}

/// Adds a key to a tenant that is there, beside its older one, and returns the live keys that it has besides.
///
/// # Errors
/// [`Error::NoTenant`], [`Error::KeyTaken`], [`Error::TwoLiveKeys`]; any other [`Error`] of the database.
pub fn rotate<'a>(client: &'a mut Client, tenant: Uuid, key: &'a NewKey) -> Pending<'a, Result<Vec<KeyRow>, Error>> {
    Box::pin(async move {
        let transaction = client.transaction().await.map_err(Error::statement("keys/rotate"))?;
        add(transaction, tenant, key, KeyEvent::Rotated).await?;
        let live = list(client, Some(tenant)).await?.into_iter().filter(KeyRow::is_live);
        Ok(live.filter(|other| other.hash != key.hash).collect())
    })
}

/// Adds a key, unless the tenant has or had it, and ends the transaction.
pub(crate) async fn add(
    transaction: Transaction<'_>,
    tenant: Uuid,
    key: &NewKey,
    event: KeyEvent,
) -> Result<(), Error> {
    lock(&transaction, tenant).await?;
    let (name, sql) = sql!("holder");
    let holder = transaction.query_opt(sql, &[&key.hash.as_slice()]).await.map_err(Error::statement(name))?;
    match holder.map(|row| row.get::<_, Uuid>("tenant_id")) {
        Some(holder) if holder != tenant => return Err(Error::KeyTaken(tenant)),
        Some(_) => {}
        None => {
            let others = live(&transaction, tenant).await?;
            let (name, sql) = sql!("insert");
            let with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&key.hash.as_slice(), &tenant, &key.prefix];
            let inserted = transaction.execute(sql, &with).await.map_err(Error::statement(name));
            inserted.map_err(|error| match error.is_violation_of(TWO_LIVE_KEYS) {
                true => Error::TwoLiveKeys { tenant, prefixes: prefixes(&others) },
                false => error,
            })?;
            audit::key_event(&transaction, tenant, event, &key.prefix).await?;
        }
    }
    transaction.commit().await.map_err(Error::statement("commit"))
}

/// Revokes the live key of a tenant that begins with `prefix`: it is refused from then on, after a minute at the
/// latest, which is how long the functions of the API remember it. Returns it and the live keys that are left.
///
/// # Errors
/// [`Error::NoTenant`], [`Error::NoSuchKey`]; [`Error::LastKey`] when no other is live, unless `even_the_last`; any
/// other [`Error`] of the database.
pub fn revoke<'a>(
    client: &'a mut Client,
    tenant: Uuid,
    prefix: &'a str,
    even_the_last: bool,
) -> Pending<'a, Result<(KeyRow, Vec<KeyRow>), Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("revoke");
        let transaction = client.transaction().await.map_err(Error::statement(name))?;
        lock(&transaction, tenant).await?;
        let keys = live(&transaction, tenant).await?;
        let known = prefixes(&keys);
        let (mut meant, left): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.prefix.starts_with(prefix));
        let (found, key) = (meant.len(), meant.pop());
        let Some(key) = key.filter(|_| found == 1) else {
            return Err(Error::NoSuchKey { tenant, prefix: prefix.to_owned(), found, prefixes: known });
        };
        if left.is_empty() && !even_the_last {
            return Err(Error::LastKey(key.prefix));
        }
        transaction.execute(sql, &[&tenant, &key.hash]).await.map_err(Error::statement(name))?;
        audit::key_event(&transaction, tenant, KeyEvent::Revoked, &key.prefix).await?;
        transaction.commit().await.map_err(Error::statement("commit"))?;
        Ok((key, left))
    })
}

/// Lets nobody else change the tenant's keys until the transaction ends.
async fn lock(transaction: &Transaction<'_>, tenant: Uuid) -> Result<(), Error> {
    let (name, sql) = sql!("lock_tenant");
    let row = transaction.query_opt(sql, &[&tenant]).await.map_err(Error::statement(name))?;
    row.map(drop).ok_or(Error::NoTenant(tenant))
}

async fn live(transaction: &Transaction<'_>, tenant: Uuid) -> Result<Vec<KeyRow>, Error> {
    let (name, sql) = sql!("list");
    let rows = transaction.query(sql, &[&Some(tenant)]).await.map_err(Error::statement(name))?;
    Ok(rows.iter().map(read_key).filter(KeyRow::is_live).collect())
}

fn prefixes(keys: &[KeyRow]) -> Vec<String> {
    keys.iter().map(|key| key.prefix.clone()).collect()
}
