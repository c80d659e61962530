//! One file for each kind of page. To add one: its file, and its line here and in `template.yaml`.

mod assets;
mod console;
mod health;
mod landing;
mod pages;
mod schema;

use crate::app::App;
use intake_lambda::edge::{Needs, Routes};
use std::sync::Arc;
use utoipa_axum::routes;

/// Every route of the function. All are open to anybody.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    let open = Needs::nothing();
    Routes::new()
        .add(routes!(landing::handle), open)
        .add(routes!(console::handle), open)
        .add(routes!(health::handle), open)
        .add(routes!(schema::handle), open)
        .add(routes!(pages::docs), open)
        .add(routes!(pages::swagger_ui), open)
        .add(routes!(pages::redoc), open)
        .add(routes!(assets::handle), open)
}
