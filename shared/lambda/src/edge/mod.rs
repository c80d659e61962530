//! The edge of the HTTP functions: what lies between a client and the handler of a route, as tower layers around an axum
//! router. From outside: `observe` (id, log, panics), CORS, and then for each route what its [`Needs`] say:
//! authentication, rate limit, idempotency.

pub mod authenticate;
mod cors;
mod document;
mod extract;
pub mod file;
pub mod idempotency;
mod limit;
mod needs;
mod observe;
mod routes;
mod settings;

pub use authenticate::{Authenticator, Tenant};
pub use document::document;
pub use extract::{Json, Object, Path, Query, bytes};
pub use file::{Accepts, File};
pub use idempotency::Claimed;
pub use limit::{Decision, Limiter, quotas};
pub use needs::{Needs, Requirement};
pub use routes::Routes;
pub use settings::EdgeSettings;

use axum::extract::Request;
use intake_aws::idempotency::Records;
use intake_domain::api_key::KNOWN_FOR;
use intake_postgres::Database;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What the layers work with, made once for a function. It reaches them as an extension of each request.
pub struct Edge {
    pub(crate) database: Arc<Database>,
    pub(crate) authenticator: Authenticator,
    pub(crate) idempotency: Records,
    pub(crate) limiter: Limiter,
    /// The time, for what is remembered of keys and refusals.
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Edge {
    /// An edge on these stores.
    #[must_use]
    pub fn new(database: Arc<Database>, idempotency: Records, limiter: Limiter) -> Self {
        let authenticator = Authenticator::new(KNOWN_FOR);
        Self { database, authenticator, idempotency, limiter, clock: Box::new(SystemTime::now) }
    }

    /// The same edge with another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// The same edge, on which a valid key is not looked up again for this long.
    #[must_use]
    pub fn with_key_lifetime(self, lifetime: Duration) -> Self {
        Self { authenticator: Authenticator::new(lifetime), ..self }
    }

    /// The edge that a request came over.
    ///
    /// # Panics
    /// When the router was not made by [`Routes::serve`], which gives it to every request.
    pub(crate) fn of(request: &Request) -> Arc<Self> {
        Arc::clone(request.extensions().get::<Arc<Self>>().expect("Routes::serve gives every request its edge"))
    }
}
