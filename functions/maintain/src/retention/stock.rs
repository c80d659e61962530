//! Stock events. What they came to stays with the levels, and their ids stay known.

use super::{Run, is_busy};
use intake_domain::retention::since;
use intake_postgres::retention;
use lambda_runtime::Error;
use uuid::Uuid;

/// Removes those past their time and returns how many they were.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants().await? {
        let Some(since) = since(policy.stock_event_days, run.now) else { continue };
        // each run begins with another product, so that none is always what the time was not enough for
        let first = Uuid::new_v4();
        let (mut after, mut has_wrapped) = (first, false);
        while run.has_time() && !(has_wrapped && after > first) {
            let removed = match retention::remove_stock_events(&mut run.owner, tenant, since.into(), after).await {
                Err(error) if is_busy(&error) => break,
                removed => removed?,
            };
            sum += removed.removed;
            match removed.through {
                Some(_) if removed.has_more => {}
                Some(through) => after = through,
                None if has_wrapped => break,
                None => (after, has_wrapped) = (Uuid::nil(), true),
            }
        }
    }
    Ok(sum)
}
