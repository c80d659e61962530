//! What comes after a tenant was erased: files whose addresses had been handed out before, objects of work that was under way.

use super::Run;
use intake_domain::object_key::prefixes_of_tenant;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Removes it and returns how many objects it was. It takes the time that it needs: what has not gone three hours after the
/// erasure stays.
pub(super) async fn sweep(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    let erased = retention::lately_erased(&run.owner).await?;
    let tenants = run.tenants().await?;
    for tenant in erased {
        if tenants.iter().any(|(known, _)| *known == tenant) {
            continue; // it was added anew
        }
        for prefix in prefixes_of_tenant(tenant) {
            sum += run.objects.remove_under(&prefix).await?;
        }
    }
    Ok(sum)
}
