//! SQLite. A column has any type that a cell wants to have; decimals are binary fractions or texts, times texts.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{Reader, Sink};
use crate::predecessor::Error;
use crate::predecessor::cell::Cell;
use crate::predecessor::error::Broken;

/// A file that is open for reading.
pub(super) struct Sqlite(Connection);

impl Sqlite {
    /// Opens the file and holds on to what is in it now.
    pub(super) fn open(path: &Path, shown: &str) -> Result<Self, Error> {
        let failed = |source: rusqlite::Error| Error::Open { location: shown.to_owned(), source: Box::new(source) };
        // without this flag a file that is not there would be made
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // a transaction has its snapshot from the first read on; that also finds out whether this is a database at all
        connection.execute_batch("begin").map_err(failed)?;
        connection.query_row("select count(*) from sqlite_master", [], |_| Ok(())).map_err(failed)?;
        Ok(Self(connection))
    }
}

impl Reader for Sqlite {
    async fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), Broken> {
        let mut statement = self.0.prepare(sql).map_err(Broken::source)?;
        let width = statement.column_count();
        let mut rows = statement.query([]).map_err(Broken::source)?;
        while let Some(row) = rows.next().map_err(Broken::source)? {
            let mut cells = Vec::with_capacity(width);
            for at in 0..width {
                cells.push(match row.get_ref(at).map_err(Broken::source)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(number) => Cell::Integer(number),
                    ValueRef::Real(number) => Cell::Real(number),
                    ValueRef::Text(bytes) => Cell::Text(bytes),
                    ValueRef::Blob(bytes) => Cell::Blob(bytes),
                });
            }
            sink(&cells)?;
        }
        Ok(())
    }
}
