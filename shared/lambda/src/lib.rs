//! The edge of every function: configuration, telemetry, batches of messages, and for the HTTP functions authentication,
//! idempotency and problems.
//!
//! It must not know SQL or what a row is.

pub mod batch;
pub mod config;
pub mod database;
pub mod edge;
pub mod fail_point;
pub mod http;
pub mod invocation;
pub mod lanes;
pub mod line_error;
pub mod ndjson_answer;
pub mod problem;
mod process;
pub mod telemetry;
pub mod time;
pub mod trace;
pub mod turn;

pub use problem::Problem;
pub use process::{LocalPending, Run, run};
