//! What the routes work with.

use axum::http::HeaderMap;
use intake_aws::Objects;
use intake_aws::idempotency::Records;
use intake_lambda::Problem;
use intake_lambda::auth::Authenticator;
use intake_postgres::Database;
use intake_postgres::ledger::{self, Session};
use uuid::Uuid;

/// The clients, made once.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) authenticator: Authenticator,
    pub(crate) objects: Objects,
    pub(crate) idempotency: Records,
    pub(crate) part_bytes: u64,
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
}
