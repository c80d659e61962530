//! What comes after a tenant was erased: files whose addresses had been handed out before, objects of work that was under way.

use super::Run;
use intake_domain::object_key::prefixes_of_tenant;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Removes it and returns how many objects it was.
pub(super) async fn sweep(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for tenant in retention::lately_erased(&run.owner).await? {
        if run.tenants.iter().any(|(known, _)| *known == tenant) {
            continue; // it was added anew
        }
        for prefix in prefixes_of_tenant(tenant) {
            sum += run.objects.remove_under(&prefix).await?;
        }
    }
    Ok(sum)
}
