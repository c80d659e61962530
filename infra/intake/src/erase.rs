//! The end of a tenant: everything that belongs to it is removed, wherever it lies, and then counted, until nothing is left.
//!
//! It is done from here and by no function: it may take hours where a function has fifteen minutes, it wants somebody who
//! watches, and no part of the running system needs the right to read whole tables of DynamoDB for it. Each step can be run
//! again: an erasure that was interrupted goes on with the same command.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
pub use intake_domain::api_key::KNOWN_FOR;
use intake_domain::object_key::prefixes_of_tenant;
use intake_postgres::erasure::{self, Erasure};
use intake_postgres::{Client, connect};
use uuid::Uuid;

use crate::output::grouped;
use crate::target::Stores;

/// How often all is gone through, should work that was under way write something meanwhile.
const ROUNDS: usize = 10;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(3);

/// Longer than the clocks of two machines are apart.
const MARGIN: Duration = Duration::from_secs(5);

/// How much of a tenant there is, or was removed, by table, prefix and store.
pub type Counts = BTreeMap<String, u64>;

/// What came of an erasure.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is written down of it.
    pub erasure: Erasure,
    /// How much was removed, by this run and those before.
    pub removed: Counts,
    /// What was counted after that: zero everywhere.
    pub left: Counts,
}

/// How much of a tenant there is.
pub async fn count(owner: &mut Client, stores: &Stores, tenant: Uuid) -> anyhow::Result<Counts> {
    let mut counts: Counts = erasure::count_rows(owner, tenant).await?;
    for prefix in prefixes_of_tenant(tenant) {
        counts.insert(format!("objects in {}", kind_of(&prefix)), stores.objects.count_under(&prefix).await?);
    }
    for (what, items) in &stores.items {
        counts.insert((*what).to_owned(), items.count(tenant).await?);
    }
    Ok(counts)
}

/// `exports/` of `exports/{tenant}/`.
fn kind_of(prefix: &str) -> &str {
    prefix.split_inclusive('/').next().unwrap_or(prefix)
}

/// The erasure of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The tenant.
    pub tenant: Uuid,
    /// The operator, for the audit log.
    pub by: &'a str,
    /// For how long functions take a revoked key for valid; [`KNOWN_FOR`] is the longest of all deployments.
    pub key_lifetime: Duration,
}

/// Erases a tenant; `say` hears of each step.
pub async fn erase(
    database_url: &str,
    stores: &Stores,
    request: Request<'_>,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<Outcome> {
    let Request { tenant, by, key_lifetime } = request;
    let mut owner = connect(database_url).await?;
    let erasure = erasure::begin(&mut owner, tenant, by).await?;
    let erasure = erasure.with_context(|| format!("there is no tenant {tenant}"))?;
    let mut removed: Counts = serde_json::from_str(&erasure.removed).context("what was removed before")?;
    if erasure.finished_at.is_none() {
        say("its keys are revoked, and its sessions end");
        let forgotten = key_lifetime + MARGIN;
        if let Some(rest) = forgotten.checked_sub(erasure.since_asked).filter(|rest| !rest.is_zero()) {
            say(&format!("for {} s some function may still know its keys", rest.as_secs()));
            tokio::time::sleep(rest).await;
        }
    }
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        remove(&mut owner, stores, tenant, &mut removed, say).await?;
        let left = count(&mut owner, stores, tenant).await?;
        let own_row = left.get("tenants").copied().unwrap_or_default();
        if left.values().sum::<u64>() > own_row {
            say("something was written meanwhile");
            continue;
        }
        if erasure.finished_at.is_none() {
            *removed.entry("tenants".to_owned()).or_default() += own_row;
            erasure::note(&mut owner, tenant, &serde_json::to_string(&removed)?).await?;
            erasure::finish(&mut owner, tenant).await?;
        }
        let erasure = erasure::known(&mut owner, tenant).await?.context("an erasure that is not written down")?;
        let left = count(&mut owner, stores, tenant).await?;
        return Ok(Outcome { erasure, removed, left });
    }
    bail!("something still writes for tenant {tenant}; run it again when that has ended")
}

/// Goes through everything once. The ledger comes first: what finds no work in it does none.
async fn remove(
    owner: &mut Client,
    stores: &Stores,
    tenant: Uuid,
    removed: &mut Counts,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<()> {
    for table in erasure::tables(owner).await? {
        let count = erasure::remove_rows(owner, tenant, &table).await?;
        note(owner, tenant, removed, table.root, count, say).await?;
    }
    for prefix in prefixes_of_tenant(tenant) {
        let count = stores.objects.remove_under(&prefix).await?;
        note(owner, tenant, removed, format!("objects in {}", kind_of(&prefix)), count, say).await?;
    }
    for (what, items) in &stores.items {
        let count = items.remove(tenant).await?;
        note(owner, tenant, removed, (*what).to_owned(), count, say).await?;
    }
    Ok(())
}

/// Writes down what was removed, so that a run that is interrupted loses no more of it than its last step.
async fn note(
    owner: &mut Client,
    tenant: Uuid,
    removed: &mut Counts,
    what: String,
    count: u64,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<()> {
    if count > 0 {
        say(&format!("{what}: {} removed", grouped(count)));
        *removed.entry(what).or_default() += count;
        erasure::note(owner, tenant, &serde_json::to_string(removed)?).await?;
    }
    Ok(())
}
