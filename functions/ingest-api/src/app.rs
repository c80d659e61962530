//! What the routes work with.

use intake_aws::{Objects, Queue};
use intake_domain::object_key::FileKey;
use intake_lambda::lanes::Lanes;
use intake_lambda::turn::{Turns, WakeError};
use intake_lambda::{Problem, problem::Code};
use intake_postgres::Database;
use intake_postgres::ledger::{self, Session};
use std::sync::Arc;
use uuid::Uuid;

/// How many calls of a store one request makes at a time.
pub(crate) const CALLS_AT_ONCE: usize = 8;

/// The clients, made once.
pub struct App {
    /// The ledger.
    pub database: Arc<Database>,
    /// The bucket.
    pub objects: Objects,
    /// Objects that have arrived.
    pub uploads: Queue,
    /// Where chunks wait to be loaded.
    pub chunks: Lanes,
    /// Whoever goes on with a session.
    pub turns: Turns,
    /// Bytes of one part of a multipart upload.
    pub part_bytes: u64,
    /// Hosts that are called although they are not on the public internet.
    pub webhook_allowed_hosts: Vec<String>,
}

impl App {
    /// The caller's session of that token. Another tenant's is as unknown as one that never was.
    pub(crate) async fn session(&self, tenant: Uuid, token: &str) -> Result<Session, Problem> {
        let unknown = || Problem::not_found("upload session");
        let token = Uuid::try_parse(token).map_err(|_| unknown())?;
        let scope = self.database.begin(tenant).await?;
        let session = ledger::session_by_token(&scope, token).await?;
        scope.commit().await?;
        session.ok_or_else(unknown)
    }

    /// Lets a session go on, or end, with whoever has the next turn in it.
    pub(crate) async fn wake(&self, key: FileKey) -> Result<(), Problem> {
        let scope = self.database.begin(key.tenant_id).await?;
        let file = ledger::file(&scope, key.file_id).await?;
        scope.commit().await?;
        if let Some(file) = file {
            self.turns.wake(&self.database, &file).await.map_err(|error| match error {
                WakeError::Ledger(error) => Problem::from(error),
                WakeError::Queue(error) => Problem::from(error),
            })?;
        }
        Ok(())
    }
}

/// Refuses a session that takes nothing more.
pub(crate) fn check_open(session: &Session) -> Result<(), Problem> {
    if session.is_cancelled {
        Err(Problem::new(Code::Cancelled, "the session was cancelled; open another one"))
    } else if session.has_expired {
        Err(Problem::new(Code::Expired, "the session has expired; open another one"))
    } else {
        Ok(())
    }
}
