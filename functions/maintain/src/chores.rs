//! Each chore can be run at any time, any number of times.

use intake_aws::Queue;
use intake_aws::messages::{LoadChunk, PromoteFile};
use intake_domain::state::FileState;
use intake_postgres::{Database, admin, ledger, retry};
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
    pub(crate) chunks: Queue,
    pub(crate) promotions: Queue,
}

/// What is to be sent for one tenant.
#[derive(Default)]
struct Work {
    expired: usize,
    chunks: Vec<LoadChunk>,
    promotions: Vec<PromoteFile>,
}

impl Chores {
    /// Does all of them and says what there was to do.
    pub(crate) async fn run(&self) -> Result<Value, Error> {
        let mut owner = intake_postgres::connect(&self.owner_database_url).await?;
        let partitions = admin::make_partitions(&mut owner).await?;
        let (mut expired, mut resent) = (0, 0);
        for tenant in admin::list_tenants(&mut owner).await? {
            let work = retry("maintain", || self.find_work(tenant.id)).await?;
            self.chunks.send_all(&work.chunks).await?;
            self.promotions.send_all(&work.promotions).await?;
            expired += work.expired;
            resent += work.chunks.len() + work.promotions.len();
        }
        tracing::info!(partitions, expired, resent, "chores done");
        Ok(json!({ "partitions": partitions, "expired": expired, "resent": resent }))
    }

    /// Ends files that never arrived, and finds work whose message may be lost.
    async fn find_work(&self, tenant_id: Uuid) -> Result<Work, intake_postgres::Error> {
        let mut work = Work::default();
        let scope = self.database.begin(tenant_id).await?;
        let expired = ledger::expire_files(&scope).await?;
        work.expired = expired.len();
        // files that waited for one that has ended now have their turn
        let mut sessions: BTreeSet<_> = expired.into_iter().collect();
        for (file_id, session, state) in ledger::stalled_files(&scope).await? {
            if state == FileState::Loading {
                let waiting = ledger::planned_chunks(&scope, file_id, -1, CHUNKS_AT_ONCE).await?;
                work.chunks.extend(waiting.into_iter().map(|chunk_index| LoadChunk {
                    tenant_id,
                    file_id,
                    chunk_index,
                }));
                ledger::finish_staging(&scope, file_id).await?;
            }
            sessions.insert(session);
        }
        for session in sessions {
            // whether it is a dry run decides only how long it waits, and `promote-file` waits by itself
            let next = ledger::next_promotion(&scope, session, false).await?;
            work.promotions.extend(next.map(|file_id| PromoteFile { tenant_id, file_id }));
        }
        scope.commit().await?;
        Ok(work)
    }
}
