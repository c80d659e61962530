//! Batch after batch of a tenant's touched days, each in its own transaction.

use intake_aws::Queue;
use intake_aws::messages::RefreshMetrics;
use intake_lambda::batch::Retry;
use intake_lambda::telemetry::milliseconds;
use intake_lambda::{fail_point, trace};
use intake_postgres::metrics::{self as sales, Counted, ONCE_MORE_SECONDS};
use intake_postgres::{Database, Scope};
use std::time::{Duration, Instant};

/// After so long the rest of a tenant's days goes to the end of the queue, so that other tenants have their turn.
const TURN: Duration = Duration::from_secs(10);

/// What the function works with.
pub(crate) struct Worker {
    pub(crate) database: Database,
    pub(crate) metrics: Queue,
}

impl Worker {
    /// Handles one message: counts what is touched until nothing is, or its turn is over. Run again it finds nothing, or what was
    /// left.
    pub(crate) async fn handle(&self, body: &str) -> Result<(), Retry> {
        let Some(message) = read_message(body) else { return Ok(()) };
        let (tenant, began) = (message.tenant_id, Instant::now());
        trace::about("tenant_id", tenant);
        loop {
            let is_touched = async |scope: &mut Scope<'_>| sales::is_touched(scope, 0).await;
            if !self.database.run("is_touched", tenant, is_touched).await? {
                return Ok(());
            }
            if began.elapsed() > TURN {
                tracing::info!("the rest is handed on");
                return Ok(self.metrics.send_all(&[message]).await?);
            }
            let Some(counted) = self.count(message).await? else {
                tracing::info!("another invocation counts the tenant's days");
                return Ok(());
            };
            fail_point!("refresh-metrics.after-commit", tenant);
            if counted.is_early {
                // the touch that is due then stays, whatever becomes of this message
                self.metrics.send_later(&message, Duration::from_secs(u64::from(ONCE_MORE_SECONDS) + 1)).await?;
            }
        }
    }

    async fn count(&self, message: RefreshMetrics) -> Result<Option<Counted>, Retry> {
        let began = Instant::now();
        let count = async |scope: &mut Scope<'_>| {
            let counted = sales::refresh(scope).await?;
            fail_point!("refresh-metrics.before-commit", message.tenant_id);
            Ok(counted)
        };
        let counted = self.database.run("refresh", message.tenant_id, count).await?;
        if let Some(Counted { days, orders, items, changed, is_more, is_early }) = counted {
            let elapsed_ms = began.elapsed().as_millis();
            tracing::info!(days, orders, items, changed, is_more, is_early, elapsed_ms, "days counted");
            metrics::counter!("DaysCounted").increment(days as u64);
            metrics::histogram!("MetricsRefreshTime").record(milliseconds(began.elapsed()));
        }
        Ok(counted)
    }
}

/// Leaves it to `maintain`, which sends again for days that nobody counts.
pub(crate) fn give_up(body: &str) -> Result<(), Retry> {
    if let Some(message) = read_message(body) {
        tracing::error!(tenant_id = %message.tenant_id, "days not counted, left to the next message");
    }
    Ok(())
}

fn read_message(body: &str) -> Option<RefreshMetrics> {
    let message = serde_json::from_str(body).ok();
    if message.is_none() {
        tracing::error!("message names no tenant, dropped");
    }
    message
}
