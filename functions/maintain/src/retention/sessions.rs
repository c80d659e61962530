//! Upload sessions with their files, chunks, rejects and webhooks, and whatever lies in the bucket for them.

use super::Run;
use intake_domain::object_key::prefixes_of_session;
use intake_domain::retention::since;
use intake_lambda::fail_point;
use intake_postgres::retention;
use lambda_runtime::Error;

/// Removes those past their time and returns how many they were. Their objects go first: without the session nothing would
/// lead to them.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants.clone() {
        let Some(since) = since(policy.session_days, run.now) else { continue };
        while run.has_time() {
            let sessions = retention::old_sessions(&mut run.owner, tenant, since.into()).await?;
            if sessions.is_empty() {
                break;
            }
            for prefix in sessions.iter().flat_map(|session| prefixes_of_session(tenant, *session)) {
                run.objects.remove_under(&prefix).await?;
            }
            fail_point!("maintain.after-objects", tenant);
            retention::remove_sessions(&mut run.owner, tenant, &sessions).await?;
            sum += sessions.len() as u64;
        }
    }
    Ok(sum)
}
