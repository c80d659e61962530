//! The routes of a function, with what each needs, and the part of the OpenAPI document that describes them.

use super::{Edge, Needs, cors, document, observe};
use crate::Problem;
use crate::problem::Code;
use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::openapi::Paths;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};

/// What a Lambda function takes at most, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MAX_BODY_BYTES: usize = 6 << 20;

/// Routes as they are listed, before there is anything that they work with.
pub struct Routes<S> {
    router: OpenApiRouter<S>,
    /// What handlers say of themselves, and what their routes need.
    described: Vec<(Paths, Needs)>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self { router: OpenApiRouter::default(), described: Vec::new() }
    }

    /// Adds the handlers of one path that need the same.
    #[must_use]
    pub fn add(mut self, handlers: UtoipaMethodRouter<S>, needs: Needs) -> Self {
        self.described.push((handlers.1.clone(), needs));
        Self { router: self.router.routes(handlers.map(|routes| needs.guard(routes))), ..self }
    }

    /// Their part of the OpenAPI document: `paths`, and the schemas that they alone have.
    #[must_use]
    pub fn document(self) -> Value {
        let mut paths: Map<String, Value> = Map::new();
        for (path, item) in self.described.iter().flat_map(|(paths, needs)| document::paths(paths, *needs)) {
            match (paths.get_mut(&path), item) {
                (Some(Value::Object(methods)), Value::Object(mut more)) => methods.append(&mut more),
                (_, item) => drop(paths.insert(path, item)),
            }
        }
        let schemas = self.router.into_openapi().components.map(|components| components.schemas);
        json!({"paths": paths, "components": {"schemas": schemas.unwrap_or_default()}})
    }

    /// The routes at work, with the whole edge around them.
    pub fn serve(self, state: S, edge: Arc<Edge>) -> Router {
        self.serve_open(state).layer(Extension(edge))
    }

    /// The routes at work where all of them are open to anybody, so that the edge needs no stores.
    pub fn serve_open(self, state: S) -> Router {
        Router::from(self.router)
            .fallback(async || Problem::not_found("path"))
            .method_not_allowed_fallback(async || {
                Problem::new(Code::MethodNotAllowed, "the path does not take this method")
            })
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn(cors::layer))
            .layer(middleware::from_fn(observe::layer))
            .with_state(state)
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}
