//! AWS as Intake uses it: the bucket, the queues with their messages, the idempotency records and the slots
//! of the rate limits.
//!
//! It must not know SQL, HTTP routes or what a row is.

mod config;
mod error;
pub mod idempotency;
pub mod messages;
mod objects;
mod queue;
mod rates;
mod tenant_items;
pub mod trace;

/// What clients are made of.
pub use aws_config::SdkConfig;
pub use config::{load, load_from};
pub use error::Error;
pub use objects::{Head, Objects, Part, Presigned, URL_LIFETIME};
pub use queue::Queue;
pub use rates::{Outcome, RateTable};
pub use tenant_items::TenantItems;
