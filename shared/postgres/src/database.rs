//! One connection, and transactions that belong to a tenant.

use crate::copied::Copied;
use crate::{Error, Pending, Server};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, RowStream, Statement};
use uuid::Uuid;

/// The connection of one execution environment: opened when first needed, and again when it was lost.
pub struct Database {
    server: Server,
    /// Whether the role may own the schema.
    is_owners: bool,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    client: Client,
    /// COPY statements by the leaf they write to. Others run unnamed, which a pooling proxy can share; those that read by COPY
    /// have a name for as long as they run.
    copies: HashMap<String, Statement>,
}

impl Database {
    /// A database that is not connected yet. `application` is what the server shows for the connection.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &str, application: &str) -> Result<Self, Error> {
        Ok(Self::at(&Server::new(url)?, application))
    }

    /// As [`new`](Self::new), at a server.
    #[must_use]
    pub fn at(server: &Server, application: &str) -> Self {
        let server = server.clone().for_application(application);
        Self { server, is_owners: false, connection: Mutex::new(None) }
    }

    /// As [`new`](Self::new), for the operator, who is the owner of the schema. Its policies hold for him, too, in transactions
    /// of a tenant.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn of_owner(url: &str, application: &str) -> Result<Self, Error> {
        Ok(Self { is_owners: true, ..Self::new(url, application)? })
    }

    fn connect<'a>(&'a self) -> Pending<'a, Result<Connection, Error>> {
        Box::pin(async move {
            let client = self.server.connect().await?;
            if self.is_owners {
                return Ok(Connection { client, copies: HashMap::new() });
            }
            let name = "assert_unprivileged";
            let row = client
                .query_typed(include_str!("../queries/assert_unprivileged.sql"), &[])
                .await
                .map_err(Error::statement(name))?;
            match row.first() {
                Some(row) => Err(Error::Privileged { role: row.get(0), holder: row.get(1), reason: row.get(2) }),
                None => Ok(Connection { client, copies: HashMap::new() }),
            }
        })
    }

    /// Runs a statement of no tenant, which sees and writes no tenant's rows; again after a transient error, so it must be
    /// repeatable.
    ///
    /// # Errors
    /// The last error.
    pub fn query<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        with: &'a [Parameter<'a>],
    ) -> Pending<'a, Result<Vec<Row>, Error>> {
        Box::pin(async move {
            retry(name, || async {
                let mut connection = self.connection.lock().await;
                let open = match connection.take() {
                    Some(open) if !open.client.is_closed() => open,
                    _ => self.connect().await?,
                };
                let rows = open.client.query_typed(sql, with).await.map_err(Error::statement(name))?;
                *connection = Some(open);
                Ok(rows)
            })
            .await
        })
    }

    /// Runs `work` in a transaction of `tenant` and commits; again after a transient error, so `work` must be repeatable.
    ///
    /// # Errors
    /// The last error.
    pub async fn run<T, W>(&self, name: &str, tenant: Uuid, work: W) -> Result<T, Error>
    where
        W: AsyncFn(&mut Scope<'_>) -> Result<T, Error>,
    {
        retry(name, || async {
            let mut scope = self.begin(tenant).await?;
            let done = work(&mut scope).await?;
            scope.commit().await?;
            Ok(done)
        })
        .await
    }

    /// Another connection to the same database, which is not open yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { server: self.server.clone(), is_owners: self.is_owners, connection: Mutex::new(None) }
    }

    /// Begins a transaction that sees and writes the rows of `tenant` alone.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub fn begin<'a>(&'a self, tenant: Uuid) -> Pending<'a, Result<Scope<'a>, Error>> {
        Box::pin(async move {
            // a UUID needs no quoting; one message saves a round trip
            self.begin_with(tenant, format!("begin; select set_config('app.tenant_id', '{tenant}', true)")).await
        })
    }

    /// Begins a transaction that reads the rows of `tenant` alone, and all of them as they are at one moment: now, or when
    /// the snapshot of that name was taken. It may stay
    /// idle, and a statement may run, for as long as a function does.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn begin_reading(&self, tenant: Uuid, snapshot: Option<&str>) -> Result<Scope<'_>, Error> {
        // a statement that takes no parameters: the name is PostgreSQL's own, and is looked at all the same
        let set = match snapshot {
            None => String::new(),
            Some(name) if name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') => {
                format!("set transaction snapshot '{name}'; ")
            }
            Some(_) => return Err(Error::Corrupt("a snapshot of another name")),
        };
        let begin = format!(
            "begin isolation level repeatable read read only; {set}\
            select set_config('app.tenant_id', '{tenant}', true), \
                set_config('idle_in_transaction_session_timeout', '16min', true), \
                set_config('statement_timeout', '16min', true)"
        );
        self.begin_with(tenant, begin).await
    }

    fn begin_with(&self, tenant: Uuid, begin: String) -> Pending<'_, Result<Scope<'_>, Error>> {
        Box::pin(async move {
            let mut connection = self.connection.lock().await;
            if let Some(open) = connection.take_if(|open| !open.client.is_closed()) {
                // a connection that broke while the environment was frozen looks open until it is used
                match open.client.batch_execute(&begin).await {
                    Ok(()) => {
                        *connection = Some(open);
                        return Ok(Scope { connection, server: &self.server, tenant, finished: false });
                    }
                    Err(error) if error.is_closed() => {}
                    Err(error) => return Err(Error::statement("begin")(error)),
                }
            }
            let open = self.connect().await?;
            open.client.batch_execute(&begin).await.map_err(Error::statement("begin"))?;
            *connection = Some(open);
            Ok(Scope { connection, server: &self.server, tenant, finished: false })
        })
    }
}

/// A transaction of one tenant. Dropped before [`commit`](Self::commit) it takes its connection with it, and the server
/// rolls back.
pub struct Scope<'a> {
    connection: MutexGuard<'a, Option<Connection>>,
    server: &'a Server,
    tenant: Uuid,
    finished: bool,
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // a statement whose answer nobody reads would run to its end: the server is asked to end it
        if let (Some(open), Ok(runtime)) = (self.connection.take(), tokio::runtime::Handle::try_current()) {
            let (running, server) = (open.client.cancel_token(), self.server.clone());
            runtime.spawn(async move {
                if let Err(error) = server.cancel(running).await {
                    tracing::debug!(%error, "a statement could not be cancelled");
                }
            });
        }
    }
}

/// Rows of a statement, read as they come: what is not read yet waits at the server.
pub(crate) struct Rows {
    name: String,
    stream: Pin<Box<RowStream>>,
}

impl Rows {
    /// The next row.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub(crate) async fn try_next(&mut self) -> Result<Option<Row>, Error> {
        self.stream.try_next().await.map_err(Error::statement(&self.name))
    }
}

/// A parameter of a statement with its type.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Scope<'_> {
    /// Whose rows it sees.
    #[must_use]
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    fn client(&self) -> Result<&Client, Error> {
        self.connection.as_ref().map(|open| &open.client).ok_or(Error::Corrupt("a transaction without a connection"))
    }

    fn batch<'a>(&'a self, sql: &'a str) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move { self.client()?.batch_execute(sql).await.map_err(Error::statement(sql)) })
    }

    /// Runs a statement, known to errors by its name, and gives its rows.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub fn query<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        with: &'a [Parameter<'a>],
    ) -> Pending<'a, Result<Vec<Row>, Error>> {
        Box::pin(async move { self.client()?.query_typed(sql, with).await.map_err(Error::statement(name)) })
    }

    /// As `query`, row by row. Whoever does not read all of them gives the transaction up.
    pub(crate) fn rows<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        with: &'a [Parameter<'a>],
    ) -> Pending<'a, Result<Rows, Error>> {
        Box::pin(async move {
            let with = with.iter().map(|(value, of)| (*value, of.clone()));
            let stream = self.client()?.query_typed_raw(sql, with).await.map_err(Error::statement(name))?;
            Ok(Rows { name: name.to_owned(), stream: Box::pin(stream) })
        })
    }

    /// The rows of a statement without parameters, by COPY. It is one round trip more than [`rows`](Self::rows) and cheaper by the
    /// row.
    pub(crate) fn copied<'a>(&'a self, name: &'a str, sql: &'a str) -> Pending<'a, Result<Copied, Error>> {
        Box::pin(async move {
            let copy = format!("copy ({sql}) to stdout (format binary)");
            let stream = self.client()?.copy_out(&copy).await.map_err(Error::statement(name))?;
            Ok(Copied::new(name, stream))
        })
    }

    /// As `query`, for statements that give at most one row.
    pub(crate) fn query_opt<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        with: &'a [Parameter<'a>],
    ) -> Pending<'a, Result<Option<Row>, Error>> {
        Box::pin(async move { Ok(self.query(name, sql, with).await?.into_iter().next()) })
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) fn execute<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        with: &'a [Parameter<'a>],
    ) -> Pending<'a, Result<u64, Error>> {
        Box::pin(async move { self.client()?.execute_typed(sql, with).await.map_err(Error::statement(name)) })
    }

    /// Copies rows, each in PostgreSQL's binary COPY form, into these columns of a leaf partition.
    pub(crate) async fn copy(
        &mut self,
        leaf: &str,
        columns: &str,
        rows: impl Iterator<Item = Bytes>,
    ) -> Result<(), Error> {
        let name = format!("copy {leaf}");
        let connection = self.connection.as_mut().ok_or(Error::Corrupt("a transaction without a connection"))?;
        if !connection.copies.contains_key(leaf) {
            let sql = format!("copy {leaf} ({columns}) from stdin (format binary)");
            let statement = connection.client.prepare(&sql).await.map_err(Error::statement(&name))?;
            connection.copies.insert(leaf.to_owned(), statement);
        }
        let sink = connection.client.copy_in(&connection.copies[leaf]).await.map_err(Error::statement(&name))?;
        let mut sink = pin!(sink);
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4);
        buffer.extend_from_slice(crate::copy::HEADER);
        for row in rows {
            buffer.extend_from_slice(&row);
            if buffer.len() >= BUFFER_BYTES {
                sink.feed(buffer.split().freeze()).await.map_err(Error::statement(&name))?;
            }
        }
        buffer.extend_from_slice(crate::copy::TRAILER);
        sink.feed(buffer.freeze()).await.map_err(Error::statement(&name))?;
        sink.as_mut().finish().await.map_err(Error::statement(&name))?;
        Ok(())
    }

    /// Marks the point that [`undo_to_mark`](Self::undo_to_mark) goes back to.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub fn mark<'a>(&'a self) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move { self.batch("savepoint mark").await })
    }

    /// Undoes what was done since [`mark`](Self::mark).
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub fn undo_to_mark<'a>(&'a self) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move { self.batch("rollback to savepoint mark").await })
    }

    pub(crate) async fn savepoint(&self) -> Result<(), Error> {
        self.batch("savepoint slice").await
    }

    pub(crate) async fn rollback_to_savepoint(&self) -> Result<(), Error> {
        self.batch("rollback to savepoint slice").await
    }

    /// Makes all of it permanent.
    ///
    /// # Errors
    /// Any [`Error`] of the database; then nothing is certain, and the whole transaction may be run again.
    pub fn commit<'a>(self) -> Pending<'a, Result<(), Error>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let mut scope = self; // whole: of `self.finished` alone, a copy would be changed
            scope.batch("commit").await?;
            scope.finished = true;
            Ok(())
        })
    }

    /// Undoes all of it and keeps the connection.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub fn rollback<'a>(self) -> Pending<'a, Result<(), Error>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let mut scope = self; // whole: of `self.finished` alone, a copy would be changed
            scope.batch("rollback").await?;
            scope.finished = true;
            Ok(())
        })
    }
}

/// Rows are sent in messages of about this many bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// How often a transaction is run before its transient error is given up on.
const TRIES: u32 = 5;

/// Runs a whole transaction, and again after a transient error, with growing and scattered pauses.
///
/// `work` begins and ends its own transaction and must be repeatable.
///
/// # Errors
/// The last error.
pub async fn retry<T, F, Work>(name: &str, mut work: F) -> Result<T, Error>
where
    F: FnMut() -> Work,
    Work: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match work().await {
            Err(error) if error.is_transient() && tries < TRIES => {
                // the low bits of a fresh v7 id are random: enough to keep two workers apart
                let jitter = Uuid::now_v7().as_u128() as u64 % 50;
                tracing::info!(transaction = name, tries, error = %error, "transaction runs again");
                tokio::time::sleep(Duration::from_millis(u64::from(10_u32 << tries) + jitter)).await;
                tries += 1;
            }
            done => return done,
        }
    }
}
