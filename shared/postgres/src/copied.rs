//! Rows that COPY gives in its binary form: cheaper for both sides than those of a statement, and with no parameters.

use crate::{Error, copy};
use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use std::pin::Pin;
use tokio_postgres::CopyOutStream;
use uuid::Uuid;

/// Rows, read as they come: what is not read yet waits at the server.
pub(crate) struct Copied {
    name: String,
    stream: Pin<Box<CopyOutStream>>,
    is_begun: bool,
}

impl Copied {
    pub(crate) fn new(name: &str, stream: CopyOutStream) -> Self {
        Self { name: name.to_owned(), stream: Box::pin(stream), is_begun: false }
    }

    /// The next row.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub(crate) async fn try_next(&mut self) -> Result<Option<CopiedRow>, Error> {
        // a message has one row: https://www.postgresql.org/docs/current/protocol-message-formats.html (CopyData)
        while let Some(message) = self.stream.try_next().await.map_err(Error::statement(&self.name))? {
            let is_first = !std::mem::replace(&mut self.is_begun, true);
            // the trailer is read, too: what follows it says whether all went well
            if let Some(row) = row_of(message, is_first)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// The row of a message: the first one begins with the header, and the last one is the trailer alone.
fn row_of(message: Bytes, is_first: bool) -> Result<Option<CopiedRow>, Error> {
    let row = match is_first {
        true => message.strip_prefix(copy::HEADER).map(|rest| message.slice_ref(rest)).ok_or_else(unreadable)?,
        false => message,
    };
    Ok((!row.is_empty() && row != copy::TRAILER).then_some(CopiedRow(row)))
}

fn unreadable() -> Error {
    Error::Corrupt("a row of COPY")
}

/// A row.
pub(crate) struct CopiedRow(Bytes);

impl CopiedRow {
    /// Its columns, which must be so many.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn fields(&self, count: u16) -> Result<Fields<'_>, Error> {
        self.0.strip_prefix(&count.to_be_bytes()).map(Fields).ok_or_else(unreadable)
    }
}

/// The columns of a row that are not read yet. Reading one that is not of that kind fails with [`Error::Corrupt`].
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next column, if it has a value.
    fn field<T>(&mut self, read: impl FnOnce(&'a [u8]) -> Option<T>) -> Result<Option<T>, Error> {
        let length = self.0.try_get_i32().map_err(|_| unreadable())?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let (value, rest) = self.0.split_at_checked(length).ok_or_else(unreadable)?;
        self.0 = rest;
        read(value).ok_or_else(unreadable).map(Some)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, Error> {
        self.uuid_or_none()?.ok_or_else(unreadable)
    }

    pub(crate) fn uuid_or_none(&mut self) -> Result<Option<Uuid>, Error> {
        self.field(|raw| Uuid::from_slice(raw).ok())
    }

    /// An `integer`.
    pub(crate) fn int4(&mut self) -> Result<i32, Error> {
        self.field(|raw| raw.try_into().ok().map(i32::from_be_bytes))?.ok_or_else(unreadable)
    }

    /// A `timestamptz` in microseconds since 1970.
    pub(crate) fn micros(&mut self) -> Result<i64, Error> {
        self.field(|raw| raw.try_into().ok().map(copy::micros_of))?.ok_or_else(unreadable)
    }

    /// A `numeric(12, 2)` of money in hundredths, which is not below zero.
    pub(crate) fn cents(&mut self) -> Result<i64, Error> {
        self.field(|raw| copy::cents_of(raw).filter(|cents| *cents >= 0))?.ok_or_else(unreadable)
    }

    /// A `text` or `varchar`.
    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        self.field(|raw| str::from_utf8(raw).ok())?.ok_or_else(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_read_back() {
        let mut row = Vec::new();
        copy::uuid(&mut row, Uuid::from_u128(7));
        row.extend((-1_i32).to_be_bytes());
        copy::timestamp(&mut row, -5);
        copy::text(&mut row, "EUR");
        copy::numeric(&mut row, 1_999);
        row.extend(4_i32.to_be_bytes().into_iter().chain(3_i32.to_be_bytes()));
        let mut fields = Fields(&row);
        assert_eq!(fields.uuid().ok(), Some(Uuid::from_u128(7)));
        assert_eq!(fields.uuid_or_none().ok(), Some(None));
        assert_eq!(fields.micros().ok(), Some(-5));
        assert_eq!(fields.text().ok(), Some("EUR"));
        assert_eq!(fields.cents().ok(), Some(1_999));
        assert_eq!(fields.int4().ok(), Some(3));
        assert!(fields.int4().is_err(), "there is no other");
    }

    #[test]
    fn a_row_comes_with_the_header_or_alone() {
        let mut row = Vec::new();
        copy::begin_row(&mut row, 1);
        copy::bigint(&mut row, 7);
        let first = Bytes::from([copy::HEADER, &row].concat());
        for (message, is_first) in [(first, true), (Bytes::from(row.clone()), false)] {
            let read = row_of(message, is_first).ok().flatten().expect("a row");
            assert!(read.fields(1).is_ok() && read.fields(2).is_err(), "so many columns as it says");
        }
        let none = Bytes::from([copy::HEADER, copy::TRAILER].concat());
        assert!(matches!(row_of(none, true), Ok(None)), "the result without a row");
        assert!(matches!(row_of(Bytes::from_static(copy::TRAILER), false), Ok(None)));
        assert!(row_of(Bytes::from(row), true).is_err(), "no header");
    }

    #[test]
    fn money_is_neither_below_zero_nor_no_number() {
        let mut owed = Vec::new();
        copy::numeric(&mut owed, -5);
        let mut none = owed.clone();
        none[8..10].copy_from_slice(&0xc000_u16.to_be_bytes());
        assert!(Fields(&owed).cents().is_err() && Fields(&none).cents().is_err());
    }

    #[test]
    fn a_column_that_is_cut_off_is_corrupt() {
        let mut row = Vec::new();
        copy::uuid(&mut row, Uuid::from_u128(7));
        for length in 0..row.len() {
            assert!(Fields(&row[..length]).uuid().is_err());
        }
    }
}
