//! What the routes work with.

use axum::http::{HeaderMap, StatusCode};
use intake_aws::idempotency::Records;
use intake_aws::{Objects, Queue};
use intake_domain::object_key::FileKey;
use intake_lambda::Problem;
use intake_lambda::auth::Authenticator;
use intake_lambda::lanes::Lanes;
use intake_lambda::turn::{Turns, WakeError};
use intake_postgres::Database;
use intake_postgres::ledger::{self, Session};
use uuid::Uuid;

/// How many calls of a store one request makes at a time.
pub(crate) const CALLS_AT_ONCE: usize = 8;

/// The clients, made once.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) authenticator: Authenticator,
    pub(crate) objects: Objects,
    pub(crate) idempotency: Records,
    /// Objects that have arrived.
    pub(crate) uploads: Queue,
    pub(crate) chunks: Lanes,
    pub(crate) turns: Turns,
    pub(crate) part_bytes: u64,
    /// Hosts that are called although they are not on the public internet.
    pub(crate) webhook_allowed_hosts: Vec<String>,
}

impl App {
    /// The tenant that calls.
    pub(crate) async fn tenant(&self, headers: &HeaderMap) -> Result<Uuid, Problem> {
        self.authenticator.tenant(headers, &self.database).await
    }

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
    let gone = |code, detail: &str| Err(Problem::new(StatusCode::GONE, code, detail));
    if session.is_cancelled {
        gone("CANCELLED", "the session was cancelled; open another one")
    } else if session.has_expired {
        gone("EXPIRED", "the session has expired; open another one")
    } else {
        Ok(())
    }
}
