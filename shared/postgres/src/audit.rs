//! The log of who was refused, what became of keys, how tenants want prices treated, and which were erased. A tenant's entries
//! are under row-level security as all that it has; those of callers whom nobody knows belong to no tenant, and only the operator
//! sees them.

use crate::{Database, Error, Pending, Scope, retry};
use intake_domain::audit::{KeyEvent, Kind};
use intake_domain::price::Policy;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("audit/", $name), include_str!(concat!("../queries/audit/", $name, ".sql")))
    };
}

/// Refused access.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The first characters of the key, if it is one of ours.
    pub key_prefix: Option<String>,
    /// The method of the request.
    pub method: String,
    /// Its path, without tokens; 500 characters of it are kept.
    pub path: String,
    /// By which it is found in the logs, if the gateway gave it such an id.
    pub request_id: Option<String>,
}

/// Writes down that access was refused, so many times; of several requests `refused` is the last.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn refused(database: &Database, kind: Kind, refused: &Refused, occurrences: u32) -> Result<(), Error> {
    let id = Uuid::now_v7();
    let code = kind.refusal.as_str();
    let occurrences = i32::try_from(occurrences).unwrap_or(i32::MAX);
    let Refused { key_prefix, method, path, request_id } = refused;
    let with = [
        (&code as _, Type::TEXT),
        (key_prefix as _, Type::TEXT),
        (&kind.source as _, Type::INET),
        (method as _, Type::TEXT),
        (path as _, Type::TEXT),
        (request_id as _, Type::TEXT),
        (&occurrences as _, Type::INT4),
    ];
    let id = [(&id as _, Type::UUID)];
    let Some(tenant) = kind.tenant else {
        let (name, sql) = sql!("insert_unknown");
        return database.query(name, sql, &[&id[..], &with].concat()).await.map(drop);
    };
    let (name, sql) = sql!("insert_refusal");
    let with = [&id[..], &[(&tenant as _, Type::UUID)], &with].concat();
    retry(name, || async {
        let scope = database.begin(tenant).await?;
        scope.execute(name, sql, &with).await?;
        scope.commit().await
    })
    .await
}

/// Writes down what became of a key, together with what the transaction does to it.
pub(crate) async fn key_event(
    transaction: &Transaction<'_>,
    tenant: Uuid,
    event: KeyEvent,
    prefix: &str,
) -> Result<(), Error> {
    let (name, sql) = sql!("insert_key_event");
    let done = transaction.execute(sql, &[&Uuid::now_v7(), &tenant, &event.as_str(), &prefix]).await;
    done.map(drop).map_err(Error::statement(name))
}

/// What writes down that a tenant wants its prices treated otherwise: its name and its statement.
pub(crate) const INSERT_PRICE_POLICY: (&str, &str) = sql!("insert_price_policy");

/// Writes down that a tenant wants its prices treated otherwise, together with the change.
pub(crate) async fn price_policy(scope: &Scope<'_>, policy: Policy) -> Result<(), Error> {
    let (name, sql) = INSERT_PRICE_POLICY;
    let (id, word) = (Uuid::now_v7(), policy.as_str());
    let with = [(&id as _, Type::UUID), (&scope.tenant() as _, Type::UUID), (&word as _, Type::TEXT)];
    scope.execute(name, sql, &with).await.map(drop)
}

/// An entry as listed. What the action does not have is null.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose, if that is known.
    pub tenant_id: Option<Uuid>,
    /// When it was written.
    pub logged_at: String,
    /// `access_refused`, what became of a key, the policy for prices that was chosen, `erasure_asked` or `erased`.
    pub action: String,
    /// Why access was refused.
    pub code: Option<String>,
    /// The first characters of the key.
    pub key_prefix: Option<String>,
    /// Where the request came from.
    pub source_ip: Option<IpAddr>,
    /// The method of the request.
    pub method: Option<String>,
    /// Its path, without tokens.
    pub path: Option<String>,
    /// By which it is found in the logs.
    pub request_id: Option<String>,
    /// Who asked for an erasure.
    pub asked_by: Option<String>,
    /// How many requests the entry stands for.
    pub occurrences: i32,
}

/// The entries of a tenant, or all, of so long a time, oldest first; for the operator.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn list<'a>(client: &'a Client, tenant: Option<Uuid>, since: Duration) -> Pending<'a, Result<Vec<Entry>, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("list");
        let rows = client.query(sql, &[&tenant, &since.as_secs_f64()]).await.map_err(Error::statement(name))?;
        let entries = rows.iter().map(|row| Entry {
            tenant_id: row.get("tenant_id"),
            logged_at: row.get("logged_at"),
            action: row.get("action"),
            code: row.get("code"),
            key_prefix: row.get("key_prefix"),
            source_ip: row.get("source_ip"),
            method: row.get("method"),
            path: row.get("path"),
            request_id: row.get("request_id"),
            asked_by: row.get("asked_by"),
            occurrences: row.get("occurrences"),
        });
        Ok(entries.collect())
    })
}
