//! Orders, by their dates. A month that is past for every tenant goes to the archive as it is, which takes a moment however
//! many orders it has; what belongs to them follows part by part. What is past for one tenant alone is removed row by row.

use super::{Run, is_busy};
use intake_domain::retention::{Wishes, first_day, is_past, orders_since_for_all};
use intake_lambda::batch::describe;
use intake_lambda::fail_point;
use intake_postgres::retention::{self, Detached};
use jiff::civil::Date;
use lambda_runtime::Error;
use std::time::Duration;
use uuid::Uuid;

/// How often the lock of a moment is tried for.
const TRIES: usize = 5;

/// Between two tries, those who waited behind the first get through.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes the months that are past for everybody out of the table and returns how many they were. One that is in use all the
/// time is left to the next run.
pub(super) async fn archive(run: &mut Run<'_>) -> Result<u64, Error> {
    let (policy, now) = (run.terms.policy, run.now);
    let is_past_for_all = |day: Date, tenants: &[(Uuid, Wishes)]| {
        let since: Vec<_> = tenants.iter().map(|(_, wishes)| policy.with(wishes).orders_since(now)).collect();
        orders_since_for_all(&since).is_some_and(|since| is_past(day, since))
    };
    let tenants = retention::tenants(&run.owner).await?;
    let months = retention::months(&run.owner).await?;
    let mut archived = 0;
    for day in months.iter().filter_map(|suffix| first_day(suffix)).filter(|day| is_past_for_all(*day, &tenants)) {
        if !run.has_time() {
            break;
        }
        for tries in 1..=TRIES {
            // somebody may have come, or want it kept, since
            let is_past = |tenants: &[(Uuid, Wishes)]| is_past_for_all(day, tenants);
            match retention::archive_month(&mut run.owner, &day.to_string(), is_past).await {
                Ok(None) => break,
                Ok(Some(Detached { leaf, touched })) => {
                    tracing::info!(leaf, "month archived");
                    run.touched.extend(touched);
                    archived += 1;
                    break;
                }
                Err(error) if is_busy(&error) && tries < TRIES => tokio::time::sleep(PAUSE).await,
                Err(error) if is_busy(&error) => {
                    tracing::warn!(month = %day, error = describe(&error), "month in use, left to the next run");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(archived)
}

/// Removes what belongs to archived orders, drops months that were in the archive for long enough, and returns how many
/// orders were gone through.
pub(super) async fn clean_archive(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    let months = retention::archived(&run.owner, run.terms.archive_days).await?;
    // read after the months: who comes later has nothing in them
    let tenants = run.tenants().await?;
    for month in months {
        if month.is_over {
            retention::drop_archived(&mut run.owner, &month.leaf).await?;
            tracing::info!(leaf = month.leaf, "archived month dropped");
            continue;
        }
        for (tenant, _) in &tenants {
            loop {
                if !run.has_time() {
                    return Ok(sum);
                }
                match retention::clean_archived(&mut run.owner, &month.leaf, *tenant).await {
                    Ok(0) => break,
                    Ok(orders) => {
                        sum += orders;
                        run.touched.insert(*tenant);
                    }
                    Err(error) if is_busy(&error) => break,
                    Err(error) => return Err(error.into()),
                }
                fail_point!("maintain.within-archive", *tenant);
            }
        }
        retention::note_cleaned(&run.owner, &month.leaf).await?;
    }
    Ok(sum)
}

/// Removes what is past for its tenant and lies in no archived month, and returns how many orders it was.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants().await? {
        let Some(since) = policy.orders_since(run.now) else { continue };
        while run.has_time() {
            match retention::remove_orders(&mut run.owner, tenant, since.into()).await {
                Ok(0) => break,
                Ok(removed) => {
                    sum += removed;
                    run.touched.insert(tenant);
                }
                Err(error) if is_busy(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sum)
}
