//! PostgreSQL: the schema and its migrations, every query, the one transaction runner, binary COPY, and the scope that
//! ties a transaction to its tenant.
//!
//! It must not know HTTP, Lambda or S3, and decides nothing: what follows from a row is decided in `intake_domain`.

pub mod admin;
pub mod audit;
pub mod catalog;
pub mod claims;
pub mod contacts;
mod copied;
pub mod copy;
mod database;
mod day;
pub mod erasure;
mod error;
pub mod exports;
pub mod import;
pub mod ingest_metrics;
pub mod keys;
pub mod ledger;
pub mod metrics;
mod micros;
mod migrate;
pub mod orders;
pub mod price;
pub mod price_anomalies;
pub mod price_followers;
pub mod promotion;
pub mod retention;
mod server;
pub mod staged;
pub mod statistics;
pub mod stock;
pub mod webhooks;

/// Work in progress at the database. Boxed, so that the code of the client behind it is compiled once, in this crate, and
/// not again in each crate that does the work.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// As [`Pending`], for work that stays on one thread.
pub type LocalPending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

pub use admin::connect;
pub use database::{Database, Parameter, Scope, retry};
pub use error::Error;
pub use migrate::{migrate, migrate_at};
pub use server::{Login, LoginError, LoginSource, PendingLogin, Server};
/// A connection of the owner's, as [`connect`] opens it.
pub use tokio_postgres::Client;
