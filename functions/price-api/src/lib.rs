//! `price-api`: prices that change, and what looks wrong about it. See README.md.

mod app;
mod routes;

pub use app::App;
pub use routes::all;
