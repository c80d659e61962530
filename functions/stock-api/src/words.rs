//! What stands in paths, requests and answers more than once.

use intake_lambda::Problem;
use intake_lambda::problem::FieldCode;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What the tenant's id is, in parameters of paths.
pub(crate) const TENANT: &str = "The tenant whose key is sent.";

/// What a product's id is.
pub(crate) const PRODUCT: &str = "The product, by the id that its shop gave it.";

/// A path that names a product. The tenant is known by its key: the edge has seen that the path is its own.
#[derive(Deserialize)]
pub(crate) struct OfProduct {
    pub(crate) product_id: Uuid,
}

/// What becomes of a level that would fall below 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNegative {
    /// It is 0, and the answer says so.
    #[default]
    Clamp,
    /// The event is a conflict of its product.
    Reject,
}

/// What becomes of events of a product that is not there.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnMissingReference {
    /// They apply: the product may come later.
    #[default]
    Accept,
    /// They are a conflict.
    Reject,
}

/// How many entries a page has: what was asked for, or what is usual.
pub(crate) fn limit(asked: Option<i64>, usual: i64, most: i64) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::query("limit", FieldCode::InvalidLimit, format!("must be from 1 to {most}")))
    }
}

/// A cursor that leads nowhere.
pub(crate) fn invalid_cursor() -> Problem {
    Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours")
}
