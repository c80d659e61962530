//! What can go wrong with PostgreSQL, and what of it is worth another try.

use tokio_postgres::error::SqlState;

/// An error of the database or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be read.
    #[error("the database URL cannot be read")]
    Url(#[source] tokio_postgres::Error),
    /// The server cannot be reached or refuses.
    #[error("no connection to the database")]
    Connect(#[source] tokio_postgres::Error),
    /// There is nothing to log in with.
    #[error("no login for the database")]
    Login(#[source] crate::LoginError),
    /// Connections cannot be encrypted.
    #[error("no encrypted connections to the database")]
    Tls(#[source] rustls::Error),
    /// A statement failed.
    #[error("the statement `{name}` failed{}", state(.source))]
    Statement {
        /// Which statement.
        name: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The role of the connection may do more than it must.
    #[error("row-level security would not hold: the role `{role}` can act as `{holder}`, which {reason}")]
    Privileged {
        /// The role of the connection.
        role: String,
        /// The role that it is too much of; often itself.
        holder: String,
        /// What that one is, has or may.
        reason: String,
    },
    /// A migration that was applied has been edited since.
    #[error("the migration `{0}` was applied in another wording; migrations are forward-only")]
    Edited(String),
    /// Another tenant holds the key.
    #[error("the key of tenant {0} is another tenant's already")]
    KeyTaken(uuid::Uuid),
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(uuid::Uuid),
    /// The tenant has as many live keys as it can have.
    #[error("tenant {tenant} has two live keys already, {}; revoke one of them first", .prefixes.join(" and "))]
    TwoLiveKeys {
        /// Whose.
        tenant: uuid::Uuid,
        /// By which people know them.
        prefixes: Vec<String>,
    },
    /// The tenant has no live key that begins so, or several.
    #[error("{found} live keys of tenant {tenant} begin with {prefix}, of these: {}", .prefixes.join(", "))]
    NoSuchKey {
        /// Whose.
        tenant: uuid::Uuid,
        /// What was asked for.
        prefix: String,
        /// How many there are of it.
        found: usize,
        /// By which people know those that there are.
        prefixes: Vec<String>,
    },
    /// Without it the tenant could not call any more.
    #[error("{0} is the only live key of its tenant, which could not call without it")]
    LastKey(String),
    /// Somebody else did meanwhile what this transaction took for not done.
    #[error("another transaction was faster")]
    Overtaken,
    /// What is stored does not read as what was written.
    #[error("corrupt: {0}")]
    Corrupt(&'static str),
}

fn state(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(String::new, |code| format!(" ({})", code.code()))
}

impl Error {
    pub(crate) fn statement(name: &str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Statement { name, source }
    }

    fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Statement { source, .. } | Self::Connect(source) => source.code(),
            _ => None,
        }
    }

    /// PostgreSQL's five-character code for what happened.
    #[must_use]
    pub fn sql_state_code(&self) -> Option<&str> {
        self.sql_state().map(SqlState::code)
    }

    /// Whether the constraint of that name refused a row.
    pub(crate) fn is_violation_of(&self, constraint: &str) -> bool {
        match self {
            Self::Statement { source, .. } => {
                source.as_db_error().is_some_and(|error| error.constraint() == Some(constraint))
            }
            _ => false,
        }
    }

    /// Whether a row breaks a unique key.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.sql_state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether another transaction held what this one waited for until it gave up.
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        self.sql_state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether a statement took longer than its role allows, or was asked to end.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.sql_state() == Some(&SqlState::QUERY_CANCELED)
    }

    /// Whether a row lies outside of the partition that it was sent to.
    #[must_use]
    pub fn is_wrong_partition(&self) -> bool {
        self.sql_state() == Some(&SqlState::CHECK_VIOLATION)
    }

    /// Whether the table is not there, or no longer open to this role: a partition that was archived meanwhile.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        [Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::INSUFFICIENT_PRIVILEGE)].contains(&self.sql_state())
    }

    /// Whether PostgreSQL refused a value (SQLSTATE class 22 or 23): sending it again cannot help.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.sql_state().is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("23"))
    }

    /// Whether the same transaction may succeed when run again at once: serialization failure, deadlock, lost
    /// connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Login(_) | Self::Overtaken => true,
            Self::Statement { source, .. } => {
                source.is_closed()
                    || source.code().is_some_and(|state| {
                        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::ADMIN_SHUTDOWN]
                            .contains(state)
                    })
            }
            _ => false,
        }
    }
}
