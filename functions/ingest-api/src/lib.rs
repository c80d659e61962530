//! `ingest-api`: upload sessions over HTTP. See README.md.

#![recursion_limit = "256"] // `json!`, of which the examples in the OpenAPI document are made, takes a step for each token

mod app;
mod routes;
mod upload;
mod words;

pub use app::App;
pub use routes::all;
