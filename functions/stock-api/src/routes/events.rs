//! `GET /api/v1/tenants/{tenant_id}/products/{product_id}/stock-events`: what moved a product, the latest first, in
//! pages.

use crate::App;
use crate::words::{self, OfProduct};
use axum::Json;
use axum::extract::State;
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Query, Tenant};
use intake_lambda::time::rfc3339;
use intake_postgres::stock::{self, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many events a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 1_000;
const DEFAULT_LIMIT: i64 = 100;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many events a page has at most.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[1-9][0-9]{0,17}$", nullable = false)]
    cursor: Option<String>,
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = StockEvents, example = json!({
    "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
    "level": 2,
    "events": [{
        "stock_event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
        "sequence": 7,
        "delta": -1,
        "set": null,
        "expected": null,
        "outcome": "applied",
        "change": -1,
        "resulting_level": 2,
        "event_time": "2026-01-31T03:04:05.678Z",
        "source": "order",
        "meta": {"order": "A-1"},
        "created_at": "2026-01-31T03:04:06.000Z",
    }],
    "next_cursor": "7",
}))]
pub(crate) struct Page {
    product_id: Uuid,
    /// Where the product stands.
    #[schema(minimum = 0)]
    level: i32,
    events: Vec<Event>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A recorded event.
#[derive(Serialize, ToSchema)]
#[schema(as = StockEvent)]
struct Event {
    stock_event_id: Uuid,
    /// Its number among the events of its product, from 1.
    #[schema(minimum = 1)]
    sequence: i64,
    /// What it was to add.
    #[schema(required)]
    delta: Option<i32>,
    /// Where it was to put the level.
    #[schema(required)]
    set: Option<i32>,
    /// The level that it asked for.
    #[schema(required)]
    expected: Option<i32>,
    /// How it applied: `applied`, `clamped` at 0, `unchanged` for one that adds 0, or `stale_ignored`.
    #[schema(pattern = "^(applied|clamped|unchanged|stale_ignored)$")]
    outcome: String,
    /// What it truly added.
    change: i32,
    /// The level after it.
    #[schema(minimum = 0)]
    resulting_level: i32,
    /// When it happened, if it says so.
    #[schema(required, format = DateTime)]
    event_time: Option<String>,
    #[schema(required)]
    source: Option<String>,
    #[schema(required, value_type = Option<Object>)]
    meta: Option<Box<RawValue>>,
    /// When it was created or received.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<RecordedEvent> for Event {
    fn from(event: RecordedEvent) -> Self {
        Self {
            stock_event_id: event.id,
            sequence: event.sequence,
            delta: event.delta,
            set: event.set,
            expected: event.expected,
            outcome: event.outcome,
            change: event.change,
            resulting_level: event.resulting_level,
            event_time: event.event_time.map(rfc3339),
            source: event.source,
            meta: event.meta.and_then(|meta| RawValue::from_string(meta).ok()),
            created_at: rfc3339(event.created_at),
        }
    }
}

/// The events of a product
///
/// Those that are recorded, the latest first. What had a conflict is not among them.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/products/{product_id}/stock-events",
    operation_id = "list_stock_events",
    tag = "Stock",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("product_id" = Uuid, Path, description = words::PRODUCT),
        Parameters,
    ),
    responses((status = 200, description = "A page of events.", body = Page))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfProduct { product_id }): Path<OfProduct>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page>, Problem> {
    let limit = words::limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = match parameters.cursor.as_deref() {
        None => i64::MAX,
        Some(cursor) => parse(cursor).ok_or_else(words::invalid_cursor)?,
    };
    // one more tells whether there is another page
    let scope = app.database.begin(tenant).await?;
    let standing = stock::standing(&scope, product_id).await?;
    let events = stock::events_of_product(&scope, product_id, before, limit + 1).await?;
    scope.commit().await?;
    let level = standing.ok_or_else(|| Problem::not_found("product"))?.level;
    let is_last = events.len() as i64 <= limit;
    let events: Vec<_> = events.into_iter().take(limit as usize).map(Event::from).collect();
    let next_cursor = events.last().filter(|_| !is_last).map(|last| last.sequence.to_string());
    Ok(Json(Page { product_id, level, events, next_cursor }))
}

/// The number of the event that a page ended with.
fn parse(cursor: &str) -> Option<i64> {
    let is_number = cursor.bytes().all(|byte| byte.is_ascii_digit()) && !cursor.starts_with('0');
    cursor.parse().ok().filter(|_| is_number && cursor.len() <= 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_one_of_ours() {
        assert_eq!((parse("1"), parse("1200")), (Some(1), Some(1_200)));
        for other in ["", "0", "01", "+1", "-1", "x", "9223372036854775807"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
