//! What the queues carry. Messages name work; all that matters about it is read from the ledger.

mod deliver_webhook;
mod load_chunk;
mod object_created;
mod promote_file;
mod refresh_metrics;
mod run_export;

pub use deliver_webhook::DeliverWebhook;
pub use load_chunk::LoadChunk;
pub use object_created::ObjectCreated;
pub use promote_file::PromoteFile;
pub use refresh_metrics::RefreshMetrics;
pub use run_export::RunExport;
