//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod bulk_update;
mod events;
mod level;
mod low;

use crate::App;
use intake_domain::rate::Budget;
use intake_lambda::edge::Requirement::Optional;
use intake_lambda::edge::{Needs, Routes};
use std::sync::Arc;
use utoipa_axum::routes;

/// Every route of the function, with what it needs.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    let key = Needs::key().limited_by(Budget::Requests);
    let update = key.idempotent(Optional).refusing(bulk_update::REFUSALS);
    Routes::new()
        .add(routes!(bulk_update::post, bulk_update::put), update)
        .add(routes!(level::handle), key)
        .add(routes!(low::handle), key)
        .add(routes!(events::handle), key)
}
