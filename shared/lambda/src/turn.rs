//! Whose turn it is in a session: files are promoted one after another, and whoever moves one on wakes the next.
//!
//! Every wake-up reads the ledger in a transaction that begins after the change was committed. Of two that change it at
//! the same time, the later reader sees both, so no wake-up is lost.

use intake_aws::Queue;
use intake_aws::messages::PromoteFile;
use intake_postgres::ledger::{self, File};
use intake_postgres::{Database, Error};

/// Whom to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The file itself, if it is staged and has its turn. A dry run's files have theirs together.
    Itself,
    /// The file that comes after it, now that it has ended.
    Next,
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

/// Sends the message that lets a file of the session be promoted, if there is one to wake.
///
/// # Errors
/// [`WakeError`]; the caller must be run again.
pub async fn wake(database: &Database, promotions: &Queue, file: &File, whom: Wake) -> Result<(), WakeError> {
    let key = file.key;
    let next = database
        .run("next_promotion", key.tenant_id, async |scope| {
            ledger::next_promotion(scope, key.session_id, file.dry_run).await
        })
        .await?;
    let next = next.filter(|next| match whom {
        Wake::Itself => file.dry_run || *next == key.file_id,
        Wake::Next => *next != key.file_id,
    });
    let message = next.map(|file_id| PromoteFile { tenant_id: key.tenant_id, file_id });
    Ok(promotions.send_all(message.as_slice()).await?)
}
