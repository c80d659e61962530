//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod ingest_metrics;
mod sales_metrics;

use crate::app::App;
use intake_domain::rate::Budget;
use intake_lambda::edge::{Needs, Routes};
use std::sync::Arc;
use utoipa_axum::routes;

/// Every route of the function, with what it needs.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    let key = Needs::key().limited_by(Budget::Requests);
    Routes::new().add(routes!(sales_metrics::handle), key).add(routes!(ingest_metrics::handle), key)
}
