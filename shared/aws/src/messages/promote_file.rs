//! One staged file has its turn.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PromoteFile {
    /// Whose it is; the ledger knows the file under no other tenant.
    pub tenant_id: Uuid,
    /// The file.
    pub file_id: Uuid,
}
