//! What the routes work with.

use intake_aws::{Objects, Queue};
use intake_postgres::Database;
use std::sync::Arc;

/// The clients, made once.
pub struct App {
    /// Everything that is found, counted and taken out.
    pub database: Arc<Database>,
    /// The files of exports.
    pub objects: Objects,
    /// Exports that are ordered.
    pub exports: Queue,
}
