//! The rules of ingestion, as functions from values to values: what a row of each dataset must be, where one chunk of a
//! file ends and the next begins, what a promoted row does to the row that was there, and which state follows which.
//!
//! Nothing here knows SQL, an SDK, HTTP, a clock or a source of randomness; time and random bytes come in as arguments.

pub mod api_key;
pub mod audit;
pub mod chunk;
pub mod csv;
pub mod cut;
pub mod dataset;
pub mod export;
pub mod failure;
pub mod file_name;
pub mod format;
pub mod idempotency;
pub mod json;
pub mod lot;
pub mod object_key;
pub mod order_filter;
pub mod price;
pub mod promotion;
pub mod rate;
pub mod record;
pub mod reject;
pub mod retention;
pub mod row;
pub mod sales;
pub mod sketch;
pub mod state;
pub mod stock;
pub mod text_search;
pub mod tolerance;
pub mod trace;
pub mod upload;
pub mod value;
pub mod webhook;

pub use dataset::Dataset;
