//! Reads the predecessor's databases: where they are, what they hold, and how their cells become the lines that Intake takes.
//!
//! It owns the drivers of SQLite, MySQL and MariaDB, PostgreSQL and SQL Server, so that nothing else is compiled with them. It
//! must not know Intake's API, its database, or files: lines are handed over one by one, and whoever asks decides what
//! becomes of them. What is right or wrong with a row is not decided here either; rows go over as they are.

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
