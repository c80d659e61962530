//! What can go wrong with a source.

use std::error::Error as StdError;
use std::io;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none of a database that can be read. A password in it is not repeated.
    #[error("the address of the source is wrong: {0}")]
    Address(String),
    /// Nobody answers there, or there is no such database or file.
    #[error("cannot open {location}")]
    Open {
        /// The address, without a password.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server does not let this user in.
    #[error(
        "{location} refuses the user or the password; the password is taken from INTAKE_IMPORT_PASSWORD or the address"
    )]
    Denied {
        /// The address, without a password.
        location: String,
        /// What the server says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A table is not there, or this user may not see it.
    #[error(
        "{location} has no table {name} for {table}; `--table {table}=NAME` names another, `--without {table}` leaves it out"
    )]
    NoTable {
        /// The address, without a password.
        location: String,
        /// What is looked for.
        table: &'static str,
        /// The name under which it was looked for.
        name: String,
    },
    /// A column that a row cannot do without is not there.
    #[error("the table {name} has no column {column}; it has {found}")]
    NoColumn {
        /// The table, as the database calls it.
        name: String,
        /// The names under which the column was looked for.
        column: String,
        /// The columns that there are.
        found: String,
    },
    /// A row of the table of tenants that can be no tenant.
    #[error("the table {name} has a tenant that Intake cannot have: {why}")]
    Tenant {
        /// The table, as the database calls it.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A statement failed, or the connection broke.
    #[error("cannot read the table {name}")]
    Read {
        /// The table, as the database calls it.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Whoever took the lines could not.
    #[error("cannot write what was read")]
    Write(#[from] io::Error),
}

/// How reading rows ended badly, before it is known of which table they were.
#[derive(Debug)]
pub(crate) enum Broken {
    /// At the source.
    Source(Box<dyn StdError + Send + Sync>),
    /// At whoever took the rows.
    Sink(io::Error),
}

impl Broken {
    /// A driver's error.
    pub(crate) fn source(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Source(Box::new(error))
    }

    /// The error of reading this table.
    pub(crate) fn of(self, name: &str) -> Error {
        match self {
            Self::Source(source) => Error::Read { name: name.to_owned(), source },
            Self::Sink(error) => Error::Write(error),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Sink(error)
    }
}
