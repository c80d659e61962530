//! Entries of the audit log.

use super::Run;
use intake_domain::retention::since;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Removes those past their time and returns how many they were.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let Some(since) = since(run.terms.audit_days, run.now) else { return Ok(0) };
    let mut sum = 0;
    while run.has_time() {
        match retention::remove_audit_entries(&run.owner, since.into()).await? {
            0 => break,
            removed => sum += removed,
        }
    }
    Ok(sum)
}
