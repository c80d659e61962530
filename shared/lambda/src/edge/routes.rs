//! The routes of a function, with what each needs, and the part of the OpenAPI document that describes them.

use super::{Edge, Needs, cors, document, observe};
use crate::Problem;
use crate::problem::Code;
use axum::extract::DefaultBodyLimit;
use axum::routing::MethodRouter;
use axum::{Extension, Router, middleware};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::openapi::Paths;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// What a Lambda function takes at most, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MAX_BODY_BYTES: usize = 6 << 20;

/// Routes as they are listed, before there is anything that they work with.
pub struct Routes<S> {
    /// The handlers of each path, and what they need.
    listed: Vec<(UtoipaMethodRouter<S>, Needs)>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self { listed: Vec::new() }
    }

    /// Adds the handlers of one path that need the same.
    #[must_use]
    pub fn add(mut self, handlers: UtoipaMethodRouter<S>, needs: Needs) -> Self {
        self.listed.push((handlers, needs));
        self
    }

    /// Their part of the OpenAPI document: `paths`, and the schemas that they alone have.
    #[must_use]
    pub fn document(self) -> Value {
        let mut paths: Map<String, Value> = Map::new();
        let mut router = OpenApiRouter::default();
        for (handlers, needs) in self.listed {
            for (path, item) in document::paths(&handlers.1, needs) {
                match (paths.get_mut(&path), item) {
                    (Some(Value::Object(methods)), Value::Object(mut more)) => methods.append(&mut more),
                    (_, item) => drop(paths.insert(path, item)),
                }
            }
            router = router.routes(handlers);
        }
        let schemas = router.into_openapi().components.map(|components| components.schemas);
        json!({"paths": paths, "components": {"schemas": schemas.unwrap_or_default()}})
    }

    /// The routes at work, with the whole edge around them.
    pub fn serve(self, state: S, edge: Arc<Edge>) -> Router {
        with_edge(self.serve_open(state), edge)
    }

    /// The routes at work where all of them are open to anybody, so that the edge needs no stores.
    pub fn serve_open(self, state: S) -> Router {
        let bind = |(_, paths, routes): UtoipaMethodRouter<S>| (paths, routes.with_state(state.clone()));
        surround(self.listed.into_iter().map(|(handlers, needs)| (bind(handlers), needs)).collect())
    }
}

/// The handlers of one path, which have their state.
type Bound = (Paths, MethodRouter);

/// Puts the edge around the handlers. Not generic: its layers are compiled once and not for the state of each function.
fn surround(routes: Vec<(Bound, Needs)>) -> Router {
    let mut router = Router::new();
    for ((paths, handlers), needs) in routes {
        // the macro `routes!` takes handlers of one path
        let path = paths.paths.keys().next().map_or("/", String::as_str);
        router = router.route(path, needs.guard(handlers));
    }
    router
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "the path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(cors::layer))
        .layer(middleware::from_fn(observe::layer))
}

fn with_edge(router: Router, edge: Arc<Edge>) -> Router {
    router.layer(Extension(edge))
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}
