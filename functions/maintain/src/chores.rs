//! Each chore can be run at any time, any number of times.

use crate::retention::{self, Removed, Terms};
use intake_aws::messages::{DeliverWebhook, LoadChunk, ObjectCreated, RefreshMetrics, RunExport};
use intake_aws::{Objects, Queue};
use intake_domain::failure::Failure;
use intake_domain::state::FileState;
use intake_lambda::batch::{Retry, describe};
use intake_lambda::fail_point;
use intake_lambda::lanes::Lanes;
use intake_lambda::turn::Turns;
use intake_postgres::ledger::{self, ExpiredFile, StalledFile};
use intake_postgres::{Database, Scope, Server, admin, claims, contacts, exports, metrics, webhooks};
use lambda_runtime::Error;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// After how many seconds somebody should have counted the days that an upload touched.
const COUNTED_AFTER_SECONDS: u32 = 300;

/// What the function works with.
pub(crate) struct Chores {
    pub(crate) database: Database,
    pub(crate) owner: Server,
    pub(crate) terms: Terms,
    pub(crate) objects: Objects,
    pub(crate) uploads: Queue,
    pub(crate) chunks: Lanes,
    pub(crate) exports: Queue,
    pub(crate) metrics: Queue,
    pub(crate) turns: Turns,
}

/// How many orders' contacts are recorded in one transaction, and how many such are run for a tenant at a time.
const CONTACTS: i64 = 5_000;
const CONTACT_ROUNDS: u32 = 200;

/// What there is to do for one tenant.
struct Work {
    expired: Vec<ExpiredFile>,
    /// Files that stand still, each with the chunks to send again.
    stalled: Vec<(StalledFile, Vec<i32>)>,
    /// Sessions in which something has ended, but the rest may not know.
    half_expired: Vec<Uuid>,
    half_cancelled: Vec<Uuid>,
    webhooks: Vec<Uuid>,
    exports: Vec<Uuid>,
    /// Sessions that have ended and told nobody.
    unannounced: Vec<Uuid>,
    /// Whether days wait to be counted.
    has_touched_days: bool,
}

impl Chores {
    /// Does all of them and says what there was to do. One that fails keeps no other from being done.
    pub(crate) async fn run(&self) -> Result<Value, Error> {
        let mut owner = self.owner.connect().await?;
        let partitions = admin::make_partitions(&mut owner).await.unwrap_or_else(|error| {
            tracing::error!(error = describe(&error), "partitions not made, left to the next run");
            0
        });
        let forgotten = claims::remove_expired(&owner).await.unwrap_or_else(|error| {
            tracing::error!(error = describe(&error), "expired claims not removed, left to the next run");
            0
        });
        let (mut expired, mut resent, mut failed) = (0, 0, 0);
        for tenant in admin::list_tenants(&mut owner).await? {
            match self.tend(tenant.id).await {
                Ok(done) => {
                    expired += done.0;
                    resent += done.1;
                }
                Err(error) => {
                    tracing::error!(tenant_id = %tenant.id, error = describe(&*error), "tenant left to the next run");
                    failed += 1;
                }
            }
        }
        let Removed { counts: removed, touched } = retention::run(&self.owner, &self.objects, self.terms).await?;
        let touched: Vec<_> = touched.into_iter().map(|tenant_id| RefreshMetrics { tenant_id }).collect();
        self.metrics.send_all(&touched).await?;
        tracing::info!(partitions, forgotten, expired, resent, failed, %removed, "chores done");
        Ok(json!({
            "partitions": partitions, "forgotten": forgotten, "expired": expired, "resent": resent, "failed": failed,
            "removed": removed,
        }))
    }

    /// One tenant's: how many files have expired, and how much was sent again.
    async fn tend(&self, tenant: Uuid) -> Result<(usize, usize), Retry> {
        let work = self.database.run("find_work", tenant, find_work).await?;
        fail_point!("maintain.after-expiry", tenant);
        for file in &work.expired {
            if let Some(upload) = &file.multipart_upload_id {
                self.objects.abort_multipart(&file.key.to_string(), upload).await?;
            }
        }
        for (file, chunks) in &work.stalled {
            self.send_again(file, chunks).await?;
        }
        for session in &work.half_cancelled {
            let end = async |scope: &mut Scope<'_>| ledger::end_cancelled(scope, *session).await;
            self.database.run("end_cancelled", tenant, end).await?;
        }
        // files that waited for one that has ended now have their turn
        let sessions = work.half_expired.iter().chain(&work.half_cancelled).chain(&work.unannounced);
        let mut sessions: BTreeSet<Uuid> = sessions.copied().collect();
        sessions.extend(work.expired.iter().map(|file| file.key.session_id));
        sessions.extend(work.stalled.iter().map(|(file, _)| file.key.session_id));
        for session in sessions {
            self.turns.wake_session(&self.database, tenant, session).await?;
        }
        let webhooks: Vec<_> = work
            .webhooks
            .iter()
            .map(|webhook_id| DeliverWebhook { tenant_id: tenant, webhook_id: *webhook_id })
            .collect();
        self.turns.webhooks.send_all(&webhooks).await?;
        let export = |export_id: &Uuid| RunExport { tenant_id: tenant, export_id: *export_id };
        let exports: Vec<_> = work.exports.iter().map(export).collect();
        self.exports.send_all(&exports).await?;
        self.record_contacts(tenant).await?;
        if work.has_touched_days {
            self.metrics.send_all(&[RefreshMetrics { tenant_id: tenant }]).await?;
        }
        let resent = work.stalled.iter().filter(|(file, _)| !file.is_over).count();
        Ok((work.expired.len(), resent + webhooks.len() + exports.len() + usize::from(work.has_touched_days)))
    }

    /// Orders that were promoted before there were contacts have none, and a search by text cannot use its index before they do.
    async fn record_contacts(&self, tenant: Uuid) -> Result<(), Retry> {
        for _ in 0..CONTACT_ROUNDS {
            let record = async |scope: &mut Scope<'_>| contacts::record_missing(scope, CONTACTS).await;
            let recorded = self.database.run("record_contacts", tenant, record).await?;
            if recorded > 0 {
                tracing::info!(tenant_id = %tenant, recorded, "contacts of orders recorded");
            }
            if recorded < CONTACTS as usize {
                break;
            }
        }
        Ok(())
    }

    async fn send_again(&self, file: &StalledFile, chunks: &[i32]) -> Result<(), Retry> {
        match file.state {
            _ if file.is_over => {}
            FileState::Uploaded => self.uploads.send_all(&[ObjectCreated::of(file.key.to_string())]).await?,
            FileState::Loading => {
                let (tenant_id, file_id) = (file.key.tenant_id, file.key.file_id);
                let message = |chunk_index: &i32| LoadChunk { tenant_id, file_id, chunk_index: *chunk_index };
                let messages: Vec<_> = chunks.iter().map(message).collect();
                self.chunks.of(file.dataset).send_all(&messages).await?;
            }
            // its turn is its session's
            _ => {}
        }
        Ok(())
    }
}

/// Ends files that never arrived or stand still for good, and finds work whose message may be lost.
async fn find_work(scope: &mut Scope<'_>) -> Result<Work, intake_postgres::Error> {
    let mut work = Work {
        expired: ledger::expire_files(scope).await?,
        stalled: Vec::new(),
        half_expired: ledger::half_expired_sessions(scope).await?,
        half_cancelled: ledger::half_cancelled_sessions(scope).await?,
        webhooks: webhooks::due(scope).await?,
        exports: exports::due(scope).await?,
        unannounced: webhooks::unannounced(scope).await?,
        has_touched_days: metrics::is_touched(scope, COUNTED_AFTER_SECONDS).await?,
    };
    for file in ledger::stalled_files(scope).await? {
        let file_id = file.key.file_id;
        let mut chunks = Vec::new();
        if file.is_over {
            let detail = "the file did not get on within the seven days of its session; what was promoted stays";
            ledger::fail_file(scope, file_id, Failure::Stalled, detail).await?;
        } else if file.state == FileState::Loading {
            ledger::finish_staging(scope, file_id).await?;
            chunks = ledger::first_of_window(scope, file_id).await?;
        }
        work.stalled.push((file, chunks));
    }
    Ok(work)
}
