//! What is past its time goes. Each kind of thing has its chore; all are made of short steps, can be run again at any time, and
//! stop when the run's time is over: the next one goes on.

mod audit_log;
mod erased;
mod exports;
mod orders;
mod prices;
mod sessions;
mod stock;

use intake_aws::Objects;
use intake_domain::retention::Policy;
use intake_lambda::batch::describe;
use intake_postgres::{Client, Server, retention};
use jiff::Timestamp;
use lambda_runtime::Error;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// For how long a run removes things. The function has fifteen minutes, and the other chores come first.
const PATIENCE: Duration = Duration::from_secs(600);

/// For how long things are kept in this deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Unless a tenant wants it otherwise.
    pub(crate) policy: Policy,
    /// Days that a month of orders stays in the archive.
    pub(crate) archive_days: u16,
    /// Days of the audit log; 0 is for ever.
    pub(crate) audit_days: u16,
}

/// One run.
struct Run<'a> {
    owner: Client,
    objects: &'a Objects,
    terms: Terms,
    /// Each with what holds for it.
    tenants: Vec<(Uuid, Policy)>,
    now: Timestamp,
    until: Instant,
    /// Whose sales are to be counted anew.
    touched: BTreeSet<Uuid>,
}

impl Run<'_> {
    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Whether the rest of a tenant is left to the next run: somebody works on the same.
fn is_busy(error: &intake_postgres::Error) -> bool {
    error.is_lock_timeout()
}

/// What a run has come to.
pub(crate) struct Removed {
    /// How much of each kind.
    pub(crate) counts: Value,
    /// The tenants whose sales are to be counted anew.
    pub(crate) touched: BTreeSet<Uuid>,
}

/// Removes what is past its time. What fails keeps nothing else from being done.
pub(crate) async fn run(owner: &Server, objects: &Objects, terms: Terms) -> Result<Removed, Error> {
    let owner = owner.connect().await?;
    let tenants = retention::tenants(&owner).await?;
    let tenants = tenants.iter().map(|(tenant, wishes)| (*tenant, terms.policy.with(wishes))).collect();
    let (now, until) = (Timestamp::now(), Instant::now() + PATIENCE);
    let mut run = Run { owner, objects, terms, tenants, now, until, touched: BTreeSet::new() };
    let mut removed = Map::new();
    let mut note = |kind: &str, done: Result<u64, Error>| match done {
        Ok(count) => drop(removed.insert(kind.to_owned(), count.into())),
        Err(error) => tracing::error!(kind, error = describe(&*error), "not all removed, left to the next run"),
    };
    note("erased_objects", erased::sweep(&mut run).await);
    note("price_events", prices::remove(&mut run).await);
    note("stock_events", stock::remove(&mut run).await);
    note("exports", exports::expire(&mut run).await);
    note("sessions", sessions::remove(&mut run).await);
    note("audit_entries", audit_log::remove(&mut run).await);
    note("archived_months", orders::archive(&mut run).await);
    note("archived_orders", orders::clean_archive(&mut run).await);
    note("orders", orders::remove(&mut run).await);
    Ok(Removed { counts: Value::Object(removed), touched: run.touched })
}
