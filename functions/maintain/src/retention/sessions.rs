//! Upload sessions with their files, chunks, rejects and webhooks, and whatever lies in the bucket for them.

use super::Run;
use intake_aws::Objects;
use intake_domain::object_key::prefixes_of_session;
use intake_domain::retention::since;
use intake_lambda::fail_point;
use intake_postgres::retention;
use lambda_runtime::Error;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Removes those past their time and returns how many they were. Their objects go first: without the session nothing would
/// lead to them.
pub(super) async fn remove(run: &mut Run<'_>) -> Result<u64, Error> {
    let mut sum = 0;
    for (tenant, policy) in run.tenants().await? {
        let Some(since) = since(policy.session_days, run.now) else { continue };
        while run.has_time() {
            let sessions = retention::old_sessions(&mut run.owner, tenant, since.into()).await?;
            if sessions.is_empty() {
                break;
            }
            remove_objects(run.objects, tenant, &sessions).await?;
            fail_point!("maintain.after-objects", tenant);
            retention::remove_sessions(&mut run.owner, tenant, &sessions).await?;
            sum += sessions.len() as u64;
        }
    }
    Ok(sum)
}

/// Removes what lies in the bucket for these sessions, of all at the same time: most of it is waiting for answers.
async fn remove_objects(objects: &Objects, tenant: Uuid, sessions: &[Uuid]) -> Result<(), Error> {
    let mut removals = JoinSet::new();
    for session in sessions {
        let (objects, prefixes) = (objects.clone(), prefixes_of_session(tenant, *session));
        removals.spawn(async move {
            for prefix in prefixes {
                objects.remove_under(&prefix).await?;
            }
            Ok::<_, intake_aws::Error>(())
        });
    }
    while let Some(removed) = removals.join_next().await {
        removed??;
    }
    Ok(())
}
