//! What is past its time goes. Each kind of thing has its chore; all are made of short steps, can be run again at any time, and
//! stop when their time is over: the next run goes on.

mod audit_log;
mod erased;
mod exports;
mod orders;
mod prices;
mod sessions;
mod stock;

use intake_aws::Objects;
use intake_domain::retention::{Policy, Wishes};
use intake_lambda::batch::describe;
use intake_postgres::{Client, Server, retention};
use jiff::Timestamp;
use lambda_runtime::Error;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::pin::Pin;
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

/// Removes what is past its time of one kind, and returns how much it was.
type Chore = for<'r> fn(&'r mut Run<'_>) -> Pin<Box<dyn Future<Output = Result<u64, Error>> + Send + 'r>>;

/// Each kind of thing with its chore. Each has an equal part of the run's time, and of what it leaves of that those after it
/// have more: so those that there may be most of come last.
const KINDS: [(&str, Chore); 9] = [
    ("erased_objects", |run| Box::pin(erased::sweep(run))),
    ("audit_entries", |run| Box::pin(audit_log::remove(run))),
    ("price_events", |run| Box::pin(prices::remove(run))),
    ("exports", |run| Box::pin(exports::expire(run))),
    ("archived_months", |run| Box::pin(orders::archive(run))),
    ("archived_orders", |run| Box::pin(orders::clean_archive(run))),
    ("orders", |run| Box::pin(orders::remove(run))),
    ("stock_events", |run| Box::pin(stock::remove(run))),
    ("sessions", |run| Box::pin(sessions::remove(run))),
];

/// One run.
struct Run<'a> {
    owner: Client,
    objects: &'a Objects,
    terms: Terms,
    now: Timestamp,
    /// When the time of the kind is over that has its turn.
    until: Instant,
    /// Whose sales are to be counted anew.
    touched: BTreeSet<Uuid>,
}

impl Run<'_> {
    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// All tenants, each with what holds for it now. Their order is another one each time, so that nobody is always behind
    /// somebody for whom the time is not enough.
    async fn tenants(&self) -> Result<Vec<(Uuid, Policy)>, Error> {
        let tenants = retention::tenants(&self.owner).await?;
        let with_policy = |(tenant, wishes): &(Uuid, Wishes)| (*tenant, self.terms.policy.with(wishes));
        let mut tenants: Vec<_> = tenants.iter().map(with_policy).collect();
        let order = Uuid::new_v4().as_u128();
        tenants.sort_unstable_by_key(|(tenant, _)| tenant.as_u128() ^ order);
        Ok(tenants)
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
    let (owner, began) = (owner.connect().await?, Instant::now());
    let mut run = Run { owner, objects, terms, now: Timestamp::now(), until: began, touched: BTreeSet::new() };
    let mut removed = Map::new();
    for ((kind, remove), kinds_left) in KINDS.iter().zip((1..=KINDS.len() as u32).rev()) {
        run.until = Instant::now() + PATIENCE.saturating_sub(began.elapsed()) / kinds_left;
        match remove(&mut run).await {
            Ok(count) => drop(removed.insert((*kind).to_owned(), count.into())),
            Err(error) => tracing::error!(kind, error = describe(&*error), "not all removed, left to the next run"),
        }
    }
    Ok(Removed { counts: Value::Object(removed), touched: run.touched })
}
