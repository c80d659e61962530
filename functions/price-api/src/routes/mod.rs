//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod anomalies;
mod holds;
mod policy;
mod price_event;
mod price_events;

use crate::app::App;
use intake_domain::rate::Budget;
use intake_lambda::edge::Requirement::{Optional, Required};
use intake_lambda::edge::{Needs, Routes};
use intake_lambda::problem::Code;
use std::sync::Arc;
use utoipa_axum::routes;

/// Every route of the function, with what it needs.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    let key = Needs::key().limited_by(Budget::Requests);
    let event = Needs::key().limited_by(Budget::PriceEvents).idempotent(Required);
    let lot = Needs::key().limited_by(Budget::PriceEventLots).idempotent(Optional);
    let decision = key.idempotent(Optional).refusing(&[Code::AlreadyDecided]);
    Routes::new()
        .add(routes!(price_event::handle), event)
        .add(routes!(price_events::handle), lot.refusing(price_events::REFUSALS))
        .add(routes!(anomalies::of_product), key.refusing(&[Code::TooManyFollowers]))
        .add(routes!(anomalies::of_tenant), key.refusing(&[Code::TooManyFollowers]))
        .add(routes!(holds::list), key)
        .add(routes!(holds::approve), decision)
        .add(routes!(holds::reject), decision)
        .add(routes!(policy::get, policy::put), key)
}
