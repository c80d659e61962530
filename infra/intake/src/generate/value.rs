//! A cell, and how it reads in NDJSON and in CSV.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;
use uuid::Uuid;

/// A named cell. A row is a slice of them, in the order of the columns.
pub type Field = (&'static str, Value);

/// The value of a cell.
#[derive(Clone, Debug)]
pub enum Value {
    /// Unknown: `null` in JSON, an empty cell in CSV.
    Null,
    /// An identifier.
    Id(Uuid),
    /// Text.
    Text(Cow<'static, str>),
    /// Money, in hundredths: it is decimal and is never held in a float.
    Cents(u64),
    /// A whole number.
    Int(i64),
    /// True or false.
    Flag(bool),
    /// A moment, ISO 8601 in UTC.
    Time(Timestamp),
    /// A JSON document, already encoded.
    Json(String),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Value {
    /// Appends the value as a CSV cell has it, before quoting.
    pub fn write_plain(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Null => Ok(()),
            Self::Id(id) => write!(out, "{id}"),
            Self::Text(text) => out.write_all(text.as_bytes()),
            Self::Cents(cents) => write!(out, "{}.{:02}", cents / 100, cents % 100),
            Self::Int(number) => write!(out, "{number}"),
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Time(time) => write!(out, "{time}"),
            Self::Json(json) => out.write_all(json.as_bytes()),
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Null => out.write_all(b"null"),
            Self::Text(text) => Ok(serde_json::to_writer(out, text)?),
            Self::Id(_) | Self::Time(_) => {
                out.push(b'"');
                self.write_plain(out)?;
                out.push(b'"');
                Ok(())
            }
            Self::Cents(_) | Self::Int(_) | Self::Flag(_) | Self::Json(_) => self.write_plain(out),
        }
    }
}
