//! `report-api`: finding orders, counting sales and taking data out, over HTTP. See README.md.

// the examples in the OpenAPI document are made with `json!`, which takes a step for each token
#![recursion_limit = "256"]

mod app;
mod cursor;
mod order_line;
mod routes;
mod span;
mod wire;
mod words;

pub use app::App;
pub use routes::all;
pub use wire::run;
