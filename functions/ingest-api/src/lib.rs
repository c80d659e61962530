//! `ingest-api`: upload sessions over HTTP. See README.md.

mod app;
mod routes;
mod upload;
mod words;

pub use app::App;
pub use routes::all;
