//! Calls that tell a shop that its session has ended, and the log of every attempt. What runs in a [`Scope`] commits
//! nothing; the secrets are the operator's too. All fail with any [`Error`] of the database.

use crate::Error;
use crate::database::Scope;
use crate::ledger::{self, FileStatus};
use intake_domain::trace::TraceId;
use std::time::{Duration, SystemTime};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../queries/webhooks/", $name, ".sql")))
    };
}

/// The most characters that the log keeps of what went wrong.
const MAX_ERROR: usize = 500;

/// What is to be done about a webhook.
#[derive(Debug)]
pub enum Loaded {
    /// Nothing: it has ended, another worker has it in hand, or nobody knows it.
    Nothing,
    /// Its next attempt comes after so much time, by the database's clock.
    Later(Duration),
    /// Its session has been resumed, so that what it would say is no longer so. It ends again, and says so again.
    Superseded {
        /// The number under which that is noted.
        attempt: i32,
    },
    /// It is called now, and is this transaction's until it ends.
    Due(Box<Delivery>),
}

/// A call to make.
#[derive(Debug)]
pub struct Delivery {
    /// Where.
    pub url: String,
    /// The number of the attempt, from 1.
    pub attempt: i32,
    /// What ended.
    pub session_id: Uuid,
    /// What the client holds.
    pub upload_token: Uuid,
    /// When it ended.
    pub ended_at: SystemTime,
    /// The trace of the session.
    pub trace: Option<TraceId>,
    /// Its files in their turn, all of them ended.
    pub files: Vec<FileStatus>,
}

/// One attempt, as it is logged.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: i32,
    /// How long it took, in milliseconds.
    pub elapsed_ms: i32,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// What went wrong; 500 characters of it are kept.
    pub error: Option<String>,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the receiver has it.
    Delivered,
    /// Nothing: it is given up.
    Failed,
    /// Another attempt, after so much time.
    Again(Duration),
}

/// A webhook as the status of its session shows it.
#[derive(Debug)]
pub struct WebhookStatus {
    /// Its id, which every call carries.
    pub webhook_id: Uuid,
    /// Where it calls.
    pub url: String,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// When the next attempt is made, while it is pending.
    pub next_attempt_at: Option<SystemTime>,
    /// All attempts, in their order.
    pub attempts: Vec<LoggedAttempt>,
}

/// An attempt as it was logged.
#[derive(Debug)]
pub struct LoggedAttempt {
    /// What there is to say of it.
    pub attempt: Attempt,
    /// When it was made.
    pub attempted_at: SystemTime,
}

/// If the session calls back and all its files have ended, makes the webhook of this end, once however many do so at the
/// same time. Returns it while nobody has tried to call: then its message may not have been sent. The transaction must begin
/// after the end of the last file was committed, and the message must be sent after this one is.
pub async fn open(scope: &Scope<'_>, session: Uuid) -> Result<Option<Uuid>, Error> {
    let tenant = scope.tenant();
    let (name, sql) = sql!("open");
    let with = [(&tenant as _, Type::UUID), (&session as _, Type::UUID), (&Uuid::now_v7() as _, Type::UUID)];
    scope.execute(name, sql, &with).await?;
    let (name, sql) = sql!("opened");
    let row = scope.query_opt(name, sql, &[(&tenant, Type::UUID), (&session, Type::UUID)]).await?;
    Ok(row.map(|row| row.get("webhook_id")))
}

/// The secret that the tenant's calls are signed with; `random` becomes it if there is none. Commit before a call is made
/// with it. `None` when there is no such tenant.
pub async fn signing_secret(scope: &Scope<'_>, random: [u8; 32]) -> Result<Option<Vec<u8>>, Error> {
    if let Some(secret) = stored_secret(scope).await? {
        return Ok(Some(secret));
    }
    let (name, sql) = sql!("make_secret");
    scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&random.as_slice(), Type::BYTEA)]).await?;
    // another transaction may have made it meanwhile
    stored_secret(scope).await
}

async fn stored_secret(scope: &Scope<'_>) -> Result<Option<Vec<u8>>, Error> {
    let (name, sql) = sql!("secret");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(row.and_then(|row| row.get("webhook_secret")))
}

/// What is to be done about a webhook now. One that is due is locked until the transaction ends, and others then find
/// nothing to do.
pub async fn load(scope: &Scope<'_>, webhook: Uuid) -> Result<Loaded, Error> {
    let (name, sql) = sql!("claim");
    let Some(row) = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&webhook, Type::UUID)]).await? else {
        return Ok(Loaded::Nothing);
    };
    let attempt = row.get::<_, i32>("attempts") + 1;
    if !row.get::<_, Option<bool>>("is_latest").unwrap_or_default() {
        return Ok(Loaded::Superseded { attempt });
    }
    let due_in = row.get::<_, f64>("due_in");
    if due_in > 0.0 {
        return Ok(Loaded::Later(Duration::try_from_secs_f64(due_in).unwrap_or(Duration::MAX)));
    }
    let session_id = row.get("session_id");
    Ok(Loaded::Due(Box::new(Delivery {
        url: row.get("url"),
        attempt,
        session_id,
        upload_token: row.get("upload_token"),
        ended_at: row.get("ended_at"),
        trace: ledger::trace(&row),
        files: ledger::files_of_session(scope, session_id).await?,
    })))
}

/// Logs an attempt and notes what follows it; `false` when an attempt of that number was logged before, which then stands.
pub async fn record_attempt(scope: &Scope<'_>, webhook: Uuid, attempt: &Attempt, next: Next) -> Result<bool, Error> {
    let tenant = scope.tenant();
    let status = attempt.status.and_then(|status| i16::try_from(status).ok());
    // U+0000 is stored nowhere, and a receiver has a say in the text
    let clean = |text: &String| text.chars().filter(|char| !char.is_control()).take(MAX_ERROR).collect::<String>();
    let error = attempt.error.as_ref().map(clean);
    let (name, sql) = sql!("insert_attempt");
    let with = [
        (&tenant as _, Type::UUID),
        (&webhook as _, Type::UUID),
        (&attempt.attempt as _, Type::INT4),
        (&attempt.elapsed_ms as _, Type::INT4),
        (&status as _, Type::INT2),
        (&error as _, Type::TEXT),
    ];
    if scope.execute(name, sql, &with).await? == 0 {
        return Ok(false);
    }
    let (state, pause) = match next {
        Next::Delivered => ("delivered", Duration::ZERO),
        Next::Failed => ("failed", Duration::ZERO),
        Next::Again(pause) => ("pending", pause),
    };
    let (name, sql) = sql!("settle");
    let with = [
        (&tenant as _, Type::UUID),
        (&webhook as _, Type::UUID),
        (&attempt.attempt as _, Type::INT4),
        (&state as _, Type::TEXT),
        (&pause.as_secs_f64() as _, Type::FLOAT8),
    ];
    scope.execute(name, sql, &with).await?;
    Ok(true)
}

/// Webhooks whose attempt is overdue by so much that their message may be lost: send it again.
pub async fn due(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("due");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("webhook_id")).collect())
}

/// Sessions that have ended and have no webhook that says so.
pub async fn unannounced(scope: &Scope<'_>) -> Result<Vec<Uuid>, Error> {
    let (name, sql) = sql!("unannounced");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(rows.iter().map(|row| row.get("session_id")).collect())
}

/// The webhook of a session's latest end.
pub async fn of_session(scope: &Scope<'_>, session: Uuid) -> Result<Option<WebhookStatus>, Error> {
    let (name, sql) = sql!("of_session");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&session, Type::UUID)]).await?;
    let attempts = rows.iter().filter_map(|row| {
        Some(LoggedAttempt {
            attempt: Attempt {
                attempt: row.get::<_, Option<i32>>("attempt")?,
                elapsed_ms: row.get("elapsed_ms"),
                status: row.get::<_, Option<i16>>("status").and_then(|status| u16::try_from(status).ok()),
                error: row.get("error"),
            },
            attempted_at: row.get("attempted_at"),
        })
    });
    Ok(rows.first().map(|row| WebhookStatus {
        webhook_id: row.get("webhook_id"),
        url: row.get("url"),
        state: row.get("state"),
        next_attempt_at: row.get("next_attempt_at"),
        attempts: attempts.collect(),
    }))
}

/// A tenant's secret, for the operator; `random` becomes it if there is none. `None` when there is no such tenant.
pub async fn secret(client: &Client, tenant: Uuid, random: [u8; 32]) -> Result<Option<Vec<u8>>, Error> {
    let (name, sql) = sql!("make_secret");
    client.execute(sql, &[&tenant, &random.as_slice()]).await.map_err(Error::statement(name))?;
    let (name, sql) = sql!("secret");
    let row = client.query_opt(sql, &[&tenant]).await.map_err(Error::statement(name))?;
    Ok(row.map(|row| row.get("webhook_secret")))
}

/// Makes `random` a tenant's secret, for the operator; calls are signed with it from then on. `false` when there is no such
/// tenant.
pub async fn rotate_secret(client: &Client, tenant: Uuid, random: [u8; 32]) -> Result<bool, Error> {
    let (name, sql) = sql!("rotate_secret");
    Ok(client.execute(sql, &[&tenant, &random.as_slice()]).await.map_err(Error::statement(name))? == 1)
}
