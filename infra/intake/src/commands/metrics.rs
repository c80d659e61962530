//! `intake metrics`: sales that are counted ahead.

use std::time::{Duration, Instant};

use anyhow::ensure;
use intake_postgres::metrics::{self, Counted, ONCE_MORE_SECONDS};
use intake_postgres::{Database, Scope, admin};
use serde_json::json;
use uuid::Uuid;

use crate::output::{Bar, Output, Verdict};
use crate::target::DatabaseOptions;

/// How long it waits for another one that counts.
const PAUSE: Duration = Duration::from_millis(250);

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    database: DatabaseOptions,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Action {
    /// Count every day of a tenant anew; what is right already is not written
    Rebuild {
        /// Whose [default: all]
        #[arg(long, value_name = "UUID")]
        tenant_id: Option<Uuid>,
    },
}

/// Runs the action.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let database_url = args.database.url().await?;
    let Action::Rebuild { tenant_id } = &args.action;
    let mut client = intake_postgres::connect(&database_url).await?;
    let tenants: Vec<_> = admin::list_tenants(&mut client).await?.into_iter().map(|tenant| tenant.id).collect();
    let tenants = match tenant_id {
        Some(tenant) => {
            ensure!(tenants.contains(tenant), "there is no tenant {tenant}");
            vec![*tenant]
        }
        None => tenants,
    };
    let database = Database::of_owner(&database_url, "intake metrics")?;
    let mut rebuilt = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let since = Instant::now();
        let Counted { days, orders, items, changed, .. } = rebuild(&database, tenant, output).await?;
        let seconds = since.elapsed().as_secs_f64();
        output.say(&format!(
            "{tenant}  {days} days of {orders} orders and {items} items in {seconds:.1} s, {changed} changed"
        ));
        rebuilt.push(json!({"tenant_id": tenant, "days": days, "orders": orders, "items": items, "changed": changed}));
    }
    output.result(&json!({"rebuilt": rebuilt}))?;
    Ok(Verdict::Good)
}

/// Counts a tenant's days, batch by batch. What is interrupted is taken up by the system itself.
pub async fn rebuild(database: &Database, tenant: Uuid, output: &Output) -> anyhow::Result<Counted> {
    let touch = async |scope: &mut Scope<'_>| metrics::touch_all(scope).await;
    let days = database.run("touch_all", tenant, touch).await?;
    let bar = output.bar(days as u64, Bar::Steps);
    let mut sum = Counted::default();
    loop {
        let batch = async |scope: &mut Scope<'_>| metrics::refresh(scope).await;
        let Some(counted) = database.run("refresh", tenant, batch).await? else {
            // the system counts the tenant's days, and perhaps these
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        sum.days += counted.days;
        sum.orders += counted.orders;
        sum.items += counted.items;
        sum.changed += counted.changed;
        sum.is_early |= counted.is_early;
        bar.inc(counted.days as u64);
        let is_touched = async |scope: &mut Scope<'_>| metrics::is_touched(scope, 0).await;
        // of what was touched meanwhile the system may have left the counting to this
        if counted.is_more || database.run("is_touched", tenant, is_touched).await? {
            continue;
        }
        if !sum.is_early {
            break;
        }
        // an upload was under way: days are counted once more
        sum.is_early = false;
        tokio::time::sleep(Duration::from_secs(u64::from(ONCE_MORE_SECONDS) + 1)).await;
    }
    bar.finish_and_clear();
    Ok(sum)
}
