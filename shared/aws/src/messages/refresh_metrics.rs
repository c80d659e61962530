//! Days of a tenant have changed, and their sales are to be counted anew.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a tenant; which days is in the database. Other messages say more, by which they are told from this one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshMetrics {
    /// Whose days.
    pub tenant_id: Uuid,
}
