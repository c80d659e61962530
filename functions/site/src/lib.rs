//! `site`: the API's document and its pages. See README.md.

mod answer;
mod app;
mod document;
mod root;
mod routes;
mod wire;

pub use app::App;
pub use document::document;
pub use routes::all;
pub use wire::run;
