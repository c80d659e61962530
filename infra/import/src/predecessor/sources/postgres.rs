//! PostgreSQL. Rows come by the simple protocol, in which every value is the text that `psql` would show.

use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::{Reader, Sink, tls};
use crate::predecessor::cell::Cell;
use crate::predecessor::error::Broken;
use crate::predecessor::location::Server;
use crate::predecessor::{Error, Tls};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A snapshot of its own, times in UTC and as ISO 8601 has them, and no limit on how long reading takes.
const BEGIN: &str = "set time zone 'UTC'; set datestyle to iso; set intervalstyle to iso_8601; set statement_timeout to 0; \
                     set idle_in_transaction_session_timeout to 0; begin isolation level repeatable read read only";

/// A connection with its transaction.
pub(super) struct Postgres(Client);

impl Postgres {
    /// Connects, and takes a snapshot with the first statement.
    pub(super) async fn open(server: &Server, tls: Tls, shown: &str) -> Result<Self, Error> {
        let failed = |source: tokio_postgres::Error| {
            let denied = [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ];
            let location = shown.to_owned();
            // a server that asks for a password and is given none is not even answered
            let is_asked = source.source().is_some_and(|cause| cause.to_string().contains("password missing"));
            match source.code() {
                Some(code) if denied.contains(code) => Error::Denied { location, source: Box::new(source) },
                _ if is_asked => Error::Denied { location, source: Box::new(source) },
                _ => Error::Open { location, source: Box::new(source) },
            }
        };
        let mut config = Config::new();
        config.user(&server.user).dbname(&server.database).port(server.port).connect_timeout(CONNECT_TIMEOUT);
        config.application_name("intake import").options("-c client_encoding=UTF8");
        match &server.socket {
            Some(folder) => config.host_path(folder),
            None => config.host(&server.host),
        };
        if let Some(password) = &server.password {
            config.password(password);
        }
        let client = match tls {
            Tls::Off => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await.map_err(failed)?;
                // what breaks the connection is told by the statement that it breaks
                tokio::spawn(async move { drop(connection.await) });
                client
            }
            Tls::Verify => {
                let connector = tls::connector()
                    .map_err(|error| Error::Open { location: shown.to_owned(), source: Box::new(error) })?;
                let (client, connection) =
                    config.ssl_mode(SslMode::Require).connect(connector).await.map_err(failed)?;
                tokio::spawn(async move { drop(connection.await) });
                client
            }
        };
        client.batch_execute(BEGIN).await.map_err(failed)?;
        Ok(Self(client))
    }
}

impl Reader for Postgres {
    async fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), Broken> {
        let mut messages = pin!(self.0.simple_query_raw(sql).await.map_err(Broken::source)?);
        while let Some(message) = messages.try_next().await.map_err(Broken::source)? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let cells: Vec<_> =
                (0..row.len()).map(|at| row.get(at).map_or(Cell::Null, |text| Cell::Text(text.as_bytes()))).collect();
            sink(&cells)?;
        }
        Ok(())
    }
}
