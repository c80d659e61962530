//! MySQL and MariaDB. Rows come by the text protocol, so that decimals and times are exactly what the server would print.

use std::io;
use std::time::Duration;

use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, SslOpts, Value};

use super::{Reader, Sink, tls};
use crate::predecessor::cell::Cell;
use crate::predecessor::error::Broken;
use crate::predecessor::location::Server;
use crate::predecessor::{Error, Tls};

/// What the server answers to a wrong user or password, or to one who may not see the database.
const DENIED: [u16; 3] = [1044, 1045, 1698];

/// The character set of columns of bytes.
const BINARY: u16 = 63;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection with its transaction.
pub(super) struct MySql(Conn);

impl MySql {
    /// Connects, and takes a snapshot.
    pub(super) async fn open(server: &Server, tls: Tls, shown: &str) -> Result<Self, Error> {
        let failed = |source: mysql_async::Error| {
            let location = shown.to_owned();
            match &source {
                mysql_async::Error::Server(answer) if DENIED.contains(&answer.code) => {
                    Error::Denied { location, source: Box::new(source) }
                }
                _ => Error::Open { location, source: Box::new(source) },
            }
        };
        let lost = |error: io::Error| Error::Open { location: shown.to_owned(), source: Box::new(error) };
        let mut options = OptsBuilder::default()
            .user(Some(&server.user))
            .pass(server.password.as_ref())
            .db_name(Some(&server.database))
            .ip_or_hostname(&server.host)
            .tcp_port(server.port)
            .socket(server.socket.as_ref().map(|path| path.display().to_string()))
            // a server that offers its socket is not followed there: what was asked for is what is spoken to
            .prefer_socket(false);
        if tls == Tls::Verify {
            tls::provide();
            let roots = tls::roots().map_err(lost)?.into_iter().map(|root| root.to_vec().into()).collect();
            options = options.ssl_opts(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true));
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(options)).await;
        let mut connection = connecting.map_err(|late| lost(late.into()))?.map_err(failed)?;
        for sql in [
            "set names utf8mb4",
            // what is stored as a moment is told in UTC, as what is stored without a zone is meant
            "set session time_zone = '+00:00'",
            "set session net_write_timeout = 3600",
            "set session transaction isolation level repeatable read",
            "start transaction with consistent snapshot, read only",
        ] {
            connection.query_drop(sql).await.map_err(failed)?;
        }
        Ok(Self(connection))
    }
}

impl Reader for MySql {
    async fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), Broken> {
        let mut rows = self.0.query_iter(sql).await.map_err(Broken::source)?;
        let mut taken = Ok(());
        while let Some(row) = rows.next().await.map_err(Broken::source)? {
            taken = take(&row, sink);
            if taken.is_err() {
                break;
            }
        }
        rows.drop_result().await.map_err(Broken::source)?;
        taken
    }
}

fn take(row: &Row, sink: &mut Sink<'_>) -> Result<(), Broken> {
    let mut cells = Vec::with_capacity(row.len());
    for (at, column) in row.columns_ref().iter().enumerate() {
        let is_bytes = column.character_set() == BINARY && is_of_bytes(column.column_type());
        cells.push(match row.as_ref(at) {
            Some(Value::Bytes(bytes)) if is_bytes => Cell::Blob(bytes),
            Some(Value::Bytes(bytes)) => Cell::Text(bytes),
            None | Some(Value::NULL) => Cell::Null,
            // the text protocol has nothing else
            Some(_) => return Err(Broken::source(io::Error::other("the server has not answered in texts"))),
        });
    }
    Ok(sink(&cells)?)
}

/// Whether a type is one of bytes or characters; numbers and times are in the binary character set, too.
fn is_of_bytes(kind: ColumnType) -> bool {
    use ColumnType::*;
    matches!(
        kind,
        MYSQL_TYPE_STRING
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
            | MYSQL_TYPE_BIT
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_LONG_BLOB
    )
}
