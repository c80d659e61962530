//! One chunk waits to be validated and staged.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a chunk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LoadChunk {
    /// Whose it is; the ledger knows the file under no other tenant.
    pub tenant_id: Uuid,
    /// Its file.
    pub file_id: Uuid,
    /// 0-based.
    pub chunk_index: i32,
}
