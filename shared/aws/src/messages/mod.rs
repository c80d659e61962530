//! What the queues carry. Messages name work; all that matters about it is read from the ledger.

mod load_chunk;
mod promote_file;

pub use load_chunk::LoadChunk;
pub use promote_file::PromoteFile;
