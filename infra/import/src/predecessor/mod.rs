//! Reads the predecessor's databases: their addresses, tables and columns, and the conversion of cells to lines of NDJSON.
//!
//! It owns the drivers of SQLite, MySQL and MariaDB, PostgreSQL and SQL Server. It must not know Intake's API, Intake's
//! database, or files: the caller gets one line at a time. It validates no row; the server's rules do.

mod cell;
mod error;
mod figures;
mod location;
mod plan;
mod reconcile;
mod sources;
mod statement;
mod table;

pub use error::Error;
pub use figures::{Figures, Sum};
pub use location::{Location, Tls};
pub use plan::{Names, Plan};
pub use reconcile::{Account, Line, reconcile};
pub use sources::{Source, Tenant, Total};
pub use table::Table;
