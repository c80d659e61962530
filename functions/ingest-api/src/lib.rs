//! `ingest-api`: upload sessions over HTTP. See README.md.

// the examples in the OpenAPI document are made with `json!`, which takes a step for each token
#![recursion_limit = "256"]

mod app;
mod routes;
mod upload;
mod wire;
mod words;

pub use app::App;
pub use routes::all;
pub use wire::run;
