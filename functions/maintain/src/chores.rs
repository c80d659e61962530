//! Each chore can be run at any time, any number of times.

use intake_aws::Queue;
use intake_aws::messages::{LoadChunk, PromoteFile};
use intake_domain::state::FileState;
use intake_lambda::batch::describe;
use intake_postgres::{Database, Scope, admin, ledger};
use lambda_runtime::Error;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// How many waiting chunks of one stalled file are sent again in one run.
const CHUNKS_AT_ONCE: i64 = 10_000;

/// What the function works with.
pub(crate) struct Chores {
    pub(crate) database: Database,
    pub(crate) owner_database_url: String,
    pub(crate) uploads: Queue,
    pub(crate) chunks: Queue,
    pub(crate) promotions: Queue,
}

/// What is to be sent for one tenant.
#[derive(Default)]
struct Work {
    expired: usize,
    uploads: Vec<Value>,
    chunks: Vec<LoadChunk>,
    promotions: Vec<PromoteFile>,
}

impl Chores {
    /// Does all of them and says what there was to do. One that fails keeps no other from being done.
    pub(crate) async fn run(&self) -> Result<Value, Error> {
        let mut owner = intake_postgres::connect(&self.owner_database_url).await?;
        let partitions = admin::make_partitions(&mut owner).await.unwrap_or_else(|error| {
            tracing::error!(error = describe(&error), "partitions not made, left to the next run");
            0
        });
        let (mut expired, mut resent) = (0, 0);
        for tenant in admin::list_tenants(&mut owner).await? {
            let work = self.database.run("maintain", tenant.id, find_work).await?;
            self.uploads.send_all(&work.uploads).await?;
            self.chunks.send_all(&work.chunks).await?;
            self.promotions.send_all(&work.promotions).await?;
            expired += work.expired;
            resent += work.uploads.len() + work.chunks.len() + work.promotions.len();
        }
        tracing::info!(partitions, expired, resent, "chores done");
        Ok(json!({ "partitions": partitions, "expired": expired, "resent": resent }))
    }
}

/// Ends files that never arrived or stand still for good, and finds work whose message may be lost.
async fn find_work(scope: &mut Scope<'_>) -> Result<Work, intake_postgres::Error> {
    let tenant_id = scope.tenant();
    let mut work = Work::default();
    let ended = ledger::expire_files(scope).await?;
    work.expired = ended.len();
    // files that waited for one that has ended now have their turn
    let mut sessions: BTreeSet<Uuid> = ended.into_iter().collect();
    for file in ledger::stalled_files(scope).await? {
        let file_id = file.key.file_id;
        sessions.insert(file.key.session_id);
        if file.has_expired {
            let detail = "the file did not get on within the seven days of its session; what was promoted stays";
            ledger::fail_file(scope, file_id, "STALLED", detail).await?;
            continue;
        }
        match file.state {
            // as S3 said it the first time
            FileState::Uploaded => {
                work.uploads.push(json!({ "Records": [{ "s3": { "object": { "key": file.key.to_string() } } }] }));
            }
            FileState::Loading => {
                let waiting = ledger::planned_chunks(scope, file_id, -1, CHUNKS_AT_ONCE).await?;
                work.chunks.extend(waiting.into_iter().map(|chunk_index| LoadChunk {
                    tenant_id,
                    file_id,
                    chunk_index,
                }));
                ledger::finish_staging(scope, file_id).await?;
            }
            _ => {}
        }
    }
    for session in sessions {
        // whether it is a dry run decides only how long it waits, and `promote-file` waits by itself
        let next = ledger::next_promotion(scope, session, false).await?;
        work.promotions.extend(next.map(|file_id| PromoteFile { tenant_id, file_id }));
    }
    Ok(work)
}
