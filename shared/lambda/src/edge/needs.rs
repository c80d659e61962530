//! What a route needs of the edge, said in one line beside it.

use super::{authenticate, idempotency, limit};
use crate::problem::Code;
use axum::middleware;
use axum::routing::MethodRouter;
use intake_domain::rate::Budget;

/// Whether a client must send something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// What a route needs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub(super) key: bool,
    pub(super) budget: Option<Budget>,
    pub(super) idempotency: Option<Requirement>,
    pub(super) refusals: &'static [Code],
}

impl Needs {
    /// Nothing: anybody may call, as often as they like.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { key: false, budget: None, idempotency: None, refusals: &[] }
    }

    /// The API key of a tenant.
    #[must_use]
    pub const fn key() -> Self {
        Self { key: true, ..Self::nothing() }
    }

    /// That no tenant calls more often than the limits of a budget allow.
    #[must_use]
    pub const fn limited_by(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// That a request with an `Idempotency-Key` has its effect once.
    #[must_use]
    pub const fn idempotent(self, key: Requirement) -> Self {
        Self { idempotency: Some(key), ..self }
    }

    /// Names what the handler itself refuses a request with, for the OpenAPI document. What follows from the needs, the
    /// parameters and the body of a route is there by itself.
    #[must_use]
    pub const fn refusing(self, refusals: &'static [Code]) -> Self {
        Self { refusals, ..self }
    }

    /// Puts the layers around a route's handlers, the last need innermost. A method that the path does not take meets
    /// none of them.
    pub(super) fn guard(self, mut routes: MethodRouter) -> MethodRouter {
        if let Some(requirement) = self.idempotency {
            let is_required = requirement == Requirement::Required;
            let layer = move |request, next| idempotency::layer(is_required, request, next);
            routes = routes.route_layer(middleware::from_fn(layer));
        }
        if let Some(budget) = self.budget {
            routes = routes.route_layer(middleware::from_fn_with_state(budget, limit::layer));
        }
        if self.key {
            routes = routes.route_layer(middleware::from_fn(authenticate::layer));
        }
        routes
    }
}
