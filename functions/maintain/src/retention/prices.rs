//! Price events. The history of prices stays.

use super::{Run, is_busy};
use intake_domain::retention::since;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Removes those past their time and returns how many they were.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants().await? {
        let Some(since) = since(policy.price_event_days, run.now) else { continue };
        while run.has_time() {
            match retention::remove_price_events(&mut run.owner, tenant, since.into()).await {
                Ok(0) => break,
                Ok(removed) => sum += removed,
                Err(error) if is_busy(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sum)
}
