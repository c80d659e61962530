//! The operator's command, `cargo intake`: generates data, sends it through the public API, runs the local stack.
//!
//! It knows the API only over HTTP, the stack only through `intake_local`, PostgreSQL only through `intake_postgres`, and AWS,
//! through `intake_aws`: it holds no SQL and, but for the outputs of a deployed stack, no cloud client of its own.

pub mod api;
pub mod commands;
pub mod data_files;
pub mod deployment;
pub mod downloads;
pub mod erase;
pub mod generate;
pub mod keys;
pub mod output;
pub mod policy;
pub mod program;
pub mod shipment;
pub mod target;
pub mod tenants_file;
pub mod transfer;
pub mod uploads;
pub mod watch;

#[cfg(test)]
mod stub;
