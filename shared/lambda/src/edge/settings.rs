//! The edge as the environment of a function describes it.

use super::{Edge, Limiter, quotas};
use crate::config::Environment;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_aws::{RateTable, SdkConfig};
use intake_domain::api_key::KNOWN_FOR;
use intake_domain::rate::Quotas;
use intake_postgres::Database;
use std::sync::Arc;
use std::time::Duration;

/// Tables, quotas and lifetimes, read once.
pub struct EdgeSettings {
    idempotency_table: String,
    rate_table: String,
    quotas: Quotas,
    key_lifetime: Duration,
}

impl EdgeSettings {
    /// Reads `IDEMPOTENCY_TABLE`, `RATE_TABLE`, the quotas, and `KEY_CACHE_SECONDS`: for how long a function takes a key for valid
    /// without asking the database, 60 by default and at most.
    pub fn read(environment: &mut Environment) -> Self {
        let key_cache_seconds = environment.number_or("KEY_CACHE_SECONDS", 60);
        Self {
            idempotency_table: environment.text("IDEMPOTENCY_TABLE"),
            rate_table: environment.text("RATE_TABLE"),
            quotas: quotas(environment),
            key_lifetime: Duration::from_secs(key_cache_seconds.into()).min(KNOWN_FOR),
        }
    }

    /// The edge on these tables.
    #[must_use]
    pub fn build(self, aws: &SdkConfig, database: &Arc<Database>) -> Arc<Edge> {
        let limiter = Limiter::new(RateTable::new(aws, self.rate_table), self.quotas);
        let records = Records::new(aws, self.idempotency_table, CLAIM_LIFETIME);
        let edge = Edge::new(Arc::clone(database), records, limiter);
        Arc::new(edge.with_key_lifetime(self.key_lifetime))
    }
}
