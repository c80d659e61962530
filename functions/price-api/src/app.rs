//! What the routes work with.

use intake_postgres::Database;
use std::sync::Arc;
use std::time::Duration;

/// The clients, made once.
pub struct App {
    /// Prices, and what was thought of them.
    pub database: Arc<Database>,
    /// How long an answer that is followed stays open.
    pub follow: Duration,
}
