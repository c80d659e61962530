//! A session has ended, and whoever uploaded it is told.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a webhook.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// Whose it is; the webhook is known under no other tenant.
    pub tenant_id: Uuid,
    /// The webhook.
    pub webhook_id: Uuid,
}
