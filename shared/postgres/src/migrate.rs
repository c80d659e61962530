//! Migrations: forward-only, each in its own transaction, applied once.

use crate::{Error, Pending, Server};
use sha2::{Digest, Sha256};

/// The migrations in their order.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_tenants", include_str!("../migrations/0001_tenants.sql")),
    ("0002_datasets", include_str!("../migrations/0002_datasets.sql")),
    ("0003_ledger", include_str!("../migrations/0003_ledger.sql")),
    ("0004_tenant_tables", include_str!("../migrations/0004_tenant_tables.sql")),
    ("0005_price_history", include_str!("../migrations/0005_price_history.sql")),
    ("0006_stock_events", include_str!("../migrations/0006_stock_events.sql")),
    ("0007_policies", include_str!("../migrations/0007_policies.sql")),
    ("0008_webhooks", include_str!("../migrations/0008_webhooks.sql")),
    ("0009_keys", include_str!("../migrations/0009_keys.sql")),
    ("0010_idempotency", include_str!("../migrations/0010_idempotency.sql")),
    ("0011_traces", include_str!("../migrations/0011_traces.sql")),
    ("0012_stock_levels", include_str!("../migrations/0012_stock_levels.sql")),
    ("0013_prices", include_str!("../migrations/0013_prices.sql")),
    ("0014_reports", include_str!("../migrations/0014_reports.sql")),
    ("0015_search", include_str!("../migrations/0015_search.sql")),
    ("0016_metrics", include_str!("../migrations/0016_metrics.sql")),
    ("0017_exports", include_str!("../migrations/0017_exports.sql")),
    ("0018_retention", include_str!("../migrations/0018_retention.sql")),
    ("0019_cloud_logins", include_str!("../migrations/0019_cloud_logins.sql")),
    ("0020_statistics", include_str!("../migrations/0020_statistics.sql")),
    ("0021_ends", include_str!("../migrations/0021_ends.sql")),
    ("0022_archive", include_str!("../migrations/0022_archive.sql")),
];

/// Any number that no other advisory lock of the database uses.
const LOCK: i64 = 7_599_400_123;

/// Applies what is missing and returns the names of what was applied; none the second time.
///
/// `database_url` must name a role that may create tables and roles; it becomes the owner. Two that run at once wait for
/// each other.
///
/// # Errors
/// Any [`Error`] of the database; [`Error::Edited`] when an applied migration reads differently now.
pub fn migrate<'a>(database_url: &'a str) -> Pending<'a, Result<Vec<String>, Error>> {
    Box::pin(async move { migrate_at(&Server::new(database_url)?).await })
}

/// As [`migrate`], at a server.
///
/// # Errors
/// As [`migrate`].
pub fn migrate_at<'a>(server: &'a Server) -> Pending<'a, Result<Vec<String>, Error>> {
    Box::pin(async move {
        let mut client = server.connect().await?;
        let failed = Error::statement;
        client
            .batch_execute(
                "create table if not exists schema_migrations (
                    name text primary key, sha256 bytea not null, applied_at timestamptz not null default now()
                )",
            )
            .await
            .map_err(failed("schema_migrations"))?;
        let mut applied = Vec::new();
        for (name, sql) in MIGRATIONS {
            let sha256 = Sha256::digest(sql.as_bytes());
            let transaction = client.transaction().await.map_err(failed(name))?;
            transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed(name))?;
            let known = transaction
                .query_opt("select sha256 from schema_migrations where name = $1", &[name])
                .await
                .map_err(failed(name))?;
            match known {
                Some(row) if row.get::<_, &[u8]>(0) == sha256.as_slice() => {}
                Some(_) => return Err(Error::Edited((*name).to_owned())),
                None => {
                    transaction.batch_execute(sql).await.map_err(failed(name))?;
                    transaction
                        .execute(
                            "insert into schema_migrations (name, sha256) values ($1, $2)",
                            &[name, &sha256.as_slice()],
                        )
                        .await
                        .map_err(failed(name))?;
                    applied.push((*name).to_owned());
                }
            }
            transaction.commit().await.map_err(failed(name))?;
        }
        Ok(applied)
    })
}
