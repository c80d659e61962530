//! A file is to be written of a tenant's rows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names an export.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RunExport {
    /// Whose it is; the export is known under no other tenant.
    pub tenant_id: Uuid,
    /// The export.
    pub export_id: Uuid,
}
