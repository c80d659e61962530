//! The subcommands, one a file: `Args`, and `run`, which answers how it ended.

pub mod cancel;
pub mod demo;
pub mod doctor;
pub mod down;
pub mod export;
pub mod generate;
pub mod import;
pub mod ingest;
pub mod logs;
pub mod metrics;
pub mod migrate;
pub mod redrive;
pub mod rejects;
pub mod resume;
pub mod session;
pub mod sessions;
pub mod status;
pub mod tenants;
pub mod up;
pub mod webhooks;
