//! `site`: the API's document and its pages. See README.md.

mod answer;
mod document;
mod root;
mod routes;

pub use document::document;
pub use routes::all;
