//! `stock-api`: where the stock of products stands, and events that move it, over HTTP. See README.md.

// the examples in the OpenAPI document are made with `json!`, which takes a step for each token
#![recursion_limit = "256"]

mod answer;
mod lot;
mod routes;
mod wire;
mod words;

pub use routes::all;
pub use wire::run;

use intake_postgres::Database;
use std::sync::Arc;

/// The clients, made once.
pub struct App {
    /// Levels and events.
    pub database: Arc<Database>,
}
