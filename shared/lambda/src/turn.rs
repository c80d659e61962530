//! Whose turn it is in a session: files are promoted one after another, and whoever moves one on wakes the next. When the
//! last has ended, the shop is told.
//!
//! Every wake-up reads the ledger in a transaction that begins after the change was committed. Of two that change it at
//! the same time, the later reader sees both, so no wake-up is lost.

use crate::lanes::Lanes;
use intake_aws::Queue;
use intake_aws::messages::{DeliverWebhook, PromoteFile};
use intake_domain::state::may_be_promoted;
use intake_postgres::ledger::{self, File};
use intake_postgres::{Database, Error, retry, webhooks};
use uuid::Uuid;

/// Where wake-ups go.
#[derive(Clone)]
pub struct Turns {
    /// Files that have their turn.
    pub promotions: Lanes,
    /// Sessions that have ended.
    pub webhooks: Queue,
}

/// Why nobody could be woken.
#[derive(Debug, thiserror::Error)]
pub enum WakeError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] Error),
    /// The message could not be sent.
    #[error(transparent)]
    Queue(#[from] intake_aws::Error),
}

impl Turns {
    /// Sends what follows from `file` having moved on: the message that lets it be promoted, once it is staged and has its
    /// turn; the one of the file that comes after it, once it has ended; the shop's, once all have. A dry run's files have
    /// their turn together.
    ///
    /// # Errors
    /// [`WakeError`]; the caller must be run again.
    pub async fn wake(&self, database: &Database, file: &File) -> Result<(), WakeError> {
        let key = file.key;
        let look_up = || async {
            let scope = database.begin(key.tenant_id).await?;
            let open = ledger::open_files(&scope, key.session_id).await?;
            let webhook = if open.is_empty() { webhooks::open(&scope, key.session_id).await? } else { None };
            scope.commit().await?;
            Ok((open, webhook))
        };
        let (open, webhook) = retry("wake", look_up).await?;
        let states: Vec<_> = open.iter().map(|file| file.state).collect();
        let is_open = open.iter().any(|open| open.file_id == key.file_id);
        if let Some(next) = open.first().filter(|_| may_be_promoted(&states, file.dry_run))
            && (file.dry_run || !is_open || next.file_id == key.file_id)
        {
            let message = PromoteFile { tenant_id: key.tenant_id, file_id: next.file_id };
            self.promotions.of(next.dataset).send_all(&[message]).await?;
        }
        let message = webhook.map(|webhook_id| DeliverWebhook { tenant_id: key.tenant_id, webhook_id });
        Ok(self.webhooks.send_all(message.as_slice()).await?)
    }

    /// Sends what follows from the state of a session, whoever was to send it: for when a message may be lost.
    ///
    /// # Errors
    /// [`WakeError`]; the caller must be run again.
    pub async fn wake_session(&self, database: &Database, tenant: Uuid, session: Uuid) -> Result<(), WakeError> {
        let look_up = || async {
            let scope = database.begin(tenant).await?;
            let open = ledger::open_files(&scope, session).await?;
            let first = match open.first() {
                Some(first) => ledger::file(&scope, first.file_id).await?,
                None => None,
            };
            let webhook = if open.is_empty() { webhooks::open(&scope, session).await? } else { None };
            scope.commit().await?;
            Ok((first, webhook))
        };
        let (first, webhook) = retry("wake_session", look_up).await?;
        match first {
            Some(file) => self.wake(database, &file).await,
            None => {
                let message = webhook.map(|webhook_id| DeliverWebhook { tenant_id: tenant, webhook_id });
                Ok(self.webhooks.send_all(message.as_slice()).await?)
            }
        }
    }

    /// Ends the files of the cancelled session that `file` belongs to.
    ///
    /// # Errors
    /// [`WakeError`]; the caller must be run again.
    pub async fn end_cancelled(&self, database: &Database, file: &File) -> Result<(), WakeError> {
        let (tenant, session) = (file.key.tenant_id, file.key.session_id);
        database.run("end_cancelled", tenant, async |scope| ledger::end_cancelled(scope, session).await).await?;
        self.wake(database, file).await
    }
}
