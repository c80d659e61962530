//! Exports: after seven days their files go, and what is known of them after the time that sessions have.

use super::Run;
use intake_domain::object_key::prefix_of_export;
use intake_domain::retention::since;
use intake_lambda::fail_point;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Lets exports expire whose time is over, and returns how many they were. Their files go first: once they have expired, nobody
/// looks for files.
pub(super) async fn expire(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants().await? {
        if !run.has_time() {
            break;
        }
        while run.has_time() {
            let exports = retention::over_exports(&mut run.owner, tenant).await?;
            if exports.is_empty() {
                break;
            }
            for export in &exports {
                run.objects.remove_under(&prefix_of_export(tenant, *export)).await?;
            }
            fail_point!("maintain.after-files", tenant);
            retention::expire_exports(&mut run.owner, tenant, &exports).await?;
            sum += exports.len() as u64;
        }
        if let Some(since) = since(policy.session_days, run.now) {
            retention::remove_exports(&mut run.owner, tenant, since.into()).await?;
        }
    }
    Ok(sum)
}
