//! AWS as Intake uses it: the bucket, the queues with their messages, the idempotency records, the slots of the rate limits, and
//! what functions log in to the database with.
//!
//! It must not know SQL, HTTP routes or what a row is.

mod config;
mod dead_letters;
mod error;
pub mod idempotency;
mod logins;
pub mod messages;
mod objects;
mod queue;
mod rates;
mod signature;
mod tenant_items;
pub mod trace;

/// A call in progress. Boxed, so that the code of the SDK behind it is compiled once, in this crate, and not again in each
/// crate that makes the call.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What clients are made of.
pub use aws_config::SdkConfig;
pub use config::{load, load_from};
pub use dead_letters::{DeadLetters, Depth};
pub use error::Error;
pub use logins::{IamTokens, Secret, SecretLogin};
pub use objects::{Head, Objects, Part, Presigned, URL_LIFETIME};
pub use queue::Queue;
pub use rates::{Outcome, RateTable};
pub use signature::presign_get;
pub use tenant_items::TenantItems;
