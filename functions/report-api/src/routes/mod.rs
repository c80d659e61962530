//! One file for each route. To add one: its file, and its line here and in `template.yaml`.

use crate::app::App;
use intake_lambda::edge::Routes;
use std::sync::Arc;

/// Every route of the function, with what it needs.
#[must_use]
pub fn all() -> Routes<Arc<App>> {
    Routes::new()
}
