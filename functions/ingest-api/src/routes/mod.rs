//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

mod cancel;
mod complete_file;
mod create_session;
mod list_sessions;
mod rejects;
mod resume;
mod small_file;
mod status;

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
    Routes::new()
        .add(routes!(small_file::comprehensive), key.idempotent(Required).refusing(small_file::REFUSALS))
        .add(routes!(small_file::orders), key.idempotent(Required).refusing(small_file::REFUSALS))
        .add(routes!(list_sessions::handle), key)
        .add(routes!(create_session::handle), key.idempotent(Optional))
        .add(routes!(status::handle), key)
        .add(routes!(resume::handle), key.idempotent(Optional).refusing(&[Code::Cancelled, Code::Expired]))
        .add(routes!(cancel::handle), key.idempotent(Optional).refusing(&[Code::AlreadyEnded]))
        .add(routes!(rejects::handle), key)
        .add(routes!(complete_file::handle), key.idempotent(Optional).refusing(complete_file::REFUSALS))
}
