//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod customer;
mod exports;
mod ingest_metrics;
mod order;
mod orders_search;
mod product;
mod products;
mod sales_metrics;

use crate::app::App;
use intake_domain::rate::Budget;
use intake_lambda::edge::Requirement::Optional;
use intake_lambda::edge::{Needs, Routes};
use intake_lambda::problem::Code;
use std::sync::Arc;
use utoipa_axum::routes;

/// Every route of the function, with what it needs.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    let key = Needs::key().limited_by(Budget::Requests);
    Routes::new()
        .add(routes!(orders_search::handle), key.refusing(&[Code::QueryTimeout]))
        .add(routes!(order::handle), key)
        .add(routes!(products::handle), key.refusing(&[Code::QueryTimeout]))
        .add(routes!(product::handle), key)
        .add(routes!(customer::handle), key)
        .add(routes!(sales_metrics::handle), key.refusing(&[Code::QueryTimeout]))
        .add(routes!(ingest_metrics::handle), key.refusing(&[Code::QueryTimeout]))
        .add(routes!(exports::create::handle), key.idempotent(Optional))
        .add(routes!(exports::list::handle), key)
        .add(routes!(exports::status::handle), key)
        .add(routes!(exports::download::handle), key.refusing(exports::download::REFUSALS))
        .add(routes!(exports::cancel::handle), key.idempotent(Optional).refusing(&[Code::ExportEnded]))
}
