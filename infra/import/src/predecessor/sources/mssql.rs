//! SQL Server. Times are written out by the server, in UTC; everything else comes as its type.
//!
//! No server was to be had when this was written: it is held against the driver's types, and has not met the real thing.

use std::io;
use std::time::Duration;

use futures_util::TryStreamExt;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::{Reader, Sink, tls};
use crate::predecessor::cell::Cell;
use crate::predecessor::error::Broken;
use crate::predecessor::location::Server;
use crate::predecessor::{Error, Tls};

/// What the server answers to a wrong user or password, or to one who may not see the database.
const DENIED: [u32; 2] = [18_456, 4_060];

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the database lets a transaction read what was there when it began, without locks: 1 when it does.
const ALLOWS_SNAPSHOT: &str = "select snapshot_isolation_state from sys.databases where database_id = db_id()";

/// A connection with its transaction.
pub(super) struct Mssql(Client<Compat<TcpStream>>);

impl Mssql {
    /// Connects, and begins a transaction; says whether that is a snapshot, which the database must allow
    /// (`ALLOW_SNAPSHOT_ISOLATION`).
    pub(super) async fn open(server: &Server, tls: Tls, shown: &str) -> Result<(Self, bool), Error> {
        let failed = |source: tiberius::error::Error| {
            let location = shown.to_owned();
            match source.code() {
                Some(code) if DENIED.contains(&code) => Error::Denied { location, source: Box::new(source) },
                _ => Error::Open { location, source: Box::new(source) },
            }
        };
        let lost = |source: io::Error| Error::Open { location: shown.to_owned(), source: Box::new(source) };
        let broken = |broken: Broken| match broken {
            Broken::Source(source) => Error::Open { location: shown.to_owned(), source },
            Broken::Sink(error) => Error::Write(error),
        };
        tls::provide();
        let mut config = Config::new();
        config.host(&server.host);
        config.port(server.port);
        config.database(&server.database);
        config.application_name("intake import");
        config.authentication(AuthMethod::sql_server(&server.user, server.password.as_deref().unwrap_or_default()));
        config.readonly(true);
        // a statement may take as long as it takes
        config.command_timeout(None);
        config.encryption(match tls {
            Tls::Verify => EncryptionLevel::Required,
            Tls::Off => EncryptionLevel::NotSupported,
        });
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect((server.host.as_str(), server.port)));
        let stream = connecting.await.map_err(|late| lost(late.into()))?.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let client = Client::connect(config, stream.compat_write()).await.map_err(failed)?;
        let mut this = Self(client);
        let mut is_snapshot = false;
        let mut see = |row: &[Cell<'_>]| {
            is_snapshot = row.first().and_then(|cell| cell.number()) == Some(1);
            Ok(())
        };
        this.select(ALLOWS_SNAPSHOT, &mut see).await.map_err(broken)?;
        let isolation = if is_snapshot { "snapshot" } else { "read committed" };
        let begin = format!("set transaction isolation level {isolation}; begin transaction");
        this.select(&begin, &mut |_: &[Cell<'_>]| Ok(())).await.map_err(broken)?;
        Ok((this, is_snapshot))
    }
}

impl Reader for Mssql {
    async fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), Broken> {
        let mut rows = self.0.simple_query(sql).await.map_err(Broken::source)?.into_row_stream();
        while let Some(row) = rows.try_next().await.map_err(Broken::source)? {
            let texts: Vec<_> = row.cells().map(|(_, data)| text(data)).collect();
            let mut cells = Vec::with_capacity(texts.len());
            for ((column, data), text) in row.cells().zip(&texts) {
                let Some(cell) = cell(data, text.as_deref()) else {
                    let what = format!("the column {} has a type that cannot be read", column.name());
                    return Err(Broken::source(io::Error::other(what)));
                };
                cells.push(cell);
            }
            sink(&cells)?;
        }
        Ok(())
    }
}

/// What is written as a text for want of a type of ours.
fn text(data: &ColumnData<'_>) -> Option<String> {
    match data {
        ColumnData::Guid(Some(id)) => Some(id.to_string()),
        ColumnData::Numeric(Some(number)) => Some(number.to_string()),
        // the shortest decimal that reads back as it, which its double would not be
        ColumnData::F32(Some(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// A cell; `None` for types that the predecessor's tables do not have.
fn cell<'a>(data: &'a ColumnData<'_>, text: Option<&'a str>) -> Option<Cell<'a>> {
    if let Some(text) = text {
        return Some(Cell::Text(text.as_bytes()));
    }
    let integer = |number: Option<i64>| number.map_or(Cell::Null, Cell::Integer);
    Some(match data {
        ColumnData::U8(number) => integer(number.map(i64::from)),
        ColumnData::I16(number) => integer(number.map(i64::from)),
        ColumnData::I32(number) => integer(number.map(i64::from)),
        ColumnData::I64(number) => integer(*number),
        ColumnData::Bit(truth) => integer(truth.map(i64::from)),
        ColumnData::F64(number) => number.map_or(Cell::Null, Cell::Real),
        ColumnData::String(text) => text.as_deref().map_or(Cell::Null, |text| Cell::Text(text.as_bytes())),
        ColumnData::Binary(bytes) => bytes.as_deref().map_or(Cell::Null, Cell::Blob),
        ColumnData::Guid(None) | ColumnData::Numeric(None) | ColumnData::F32(None) => Cell::Null,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tiberius::Uuid;
    use tiberius::numeric::Numeric;

    use super::*;

    fn shown(data: &ColumnData<'_>) -> Option<String> {
        let text = text(data);
        cell(data, text.as_deref()).map(|cell| cell.text().unwrap_or("null".into()).into_owned())
    }

    #[test]
    fn types_become_cells_without_a_loss() {
        for (data, text) in [
            (ColumnData::Numeric(Some(Numeric::new_with_scale(1_999, 2))), "19.99"),
            (ColumnData::Numeric(Some(Numeric::new_with_scale(-5, 2))), "-0.05"),
            (ColumnData::Numeric(Some(Numeric::new_with_scale(999_999_999_999, 2))), "9999999999.99"),
            (ColumnData::Guid(Some(Uuid::from_u128(0x2a))), "00000000-0000-0000-0000-00000000002a"),
            (ColumnData::Bit(Some(true)), "1"),
            (ColumnData::I32(Some(-7)), "-7"),
            (ColumnData::F32(Some(0.1)), "0.1"),
            (ColumnData::String(Some("é".into())), "é"),
            (ColumnData::String(None), "null"),
            (ColumnData::Numeric(None), "null"),
        ] {
            assert_eq!(shown(&data).as_deref(), Some(text));
        }
        assert_eq!(shown(&ColumnData::DateTime(None)), None);
    }
}
