//! `GET /api/v1/tenants/{tenant_id}/price-holds`, and `POST …/price-holds/{event_id}/approve` and `…/reject`: prices
//! that wait until somebody decides.
//!
//! A decision may be repeated, so that it takes no claim into PostgreSQL: what is decided stays decided.

use crate::app::App;
use crate::words::{self, Decimal, HoldState, OfEvent, Reason, reasons};
use axum::Json;
use axum::extract::State;
use intake_domain::price::{Decision, Percent};
use intake_lambda::Problem;
use intake_lambda::edge::{Path, Query, Tenant};
use intake_lambda::problem::{Code, FieldCode};
use intake_lambda::time::{epoch_micros, rfc3339};
use intake_postgres::price::{HeldPrice, Holds, decide, holds};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// How many prices a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 200;
const DEFAULT_LIMIT: i64 = 50;

/// What a hold without a decision is called.
const PENDING: &str = "pending";

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Which prices: those that wait, unless told.
    #[param(inline, value_type = Option<HoldFilter>, nullable = false)]
    state: Option<String>,
    /// How many prices a page has at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,17}-[0-9a-f]{32}$", nullable = false)]
    cursor: Option<String>,
}

/// Which prices are asked for.
#[derive(ToSchema)]
#[schema(as = PriceHoldFilter, rename_all = "snake_case")]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum HoldFilter {
    Pending,
    Approved,
    Rejected,
    Superseded,
    All,
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceHolds, example = json!({"holds": [], "next_cursor": null}))]
pub(crate) struct Page {
    holds: Vec<Hold>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A price that was held.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceHold, example = json!({
    "event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
    "state": "approved",
    "old_price": 19.99,
    "new_price": 199.90,
    "price": 199.90,
    "pct_change": 900.00,
    "anomaly_reason": "Extreme price change",
    "reasons": [{"code": "DECIMAL_SHIFT", "score": 1.0, "detail": "about 10 times the old price"}],
    "source": "pim",
    "metadata": null,
    "event_time": "2026-01-31T03:04:05.678Z",
    "received_at": "2026-01-31T03:04:05.678Z",
    "decided_at": "2026-01-31T08:00:00.000Z",
}))]
pub(crate) struct Hold {
    event_id: Uuid,
    product_id: Uuid,
    #[schema(value_type = HoldState)]
    state: &'static str,
    /// What its sender took for the price.
    old_price: Decimal,
    /// The price that is held.
    new_price: Decimal,
    /// What the product costs now.
    #[schema(required)]
    price: Option<Decimal>,
    /// From the old price to the new one, in percent; null from zero.
    #[schema(required)]
    pct_change: Option<Decimal>,
    /// What looks wrong, in words.
    #[schema(required)]
    anomaly_reason: Option<String>,
    /// What was measured.
    #[schema(value_type = Vec<Reason>)]
    reasons: Box<RawValue>,
    #[schema(required)]
    source: Option<String>,
    /// What was sent with the event.
    #[schema(value_type = Option<Object>, required)]
    metadata: Option<Box<RawValue>>,
    #[schema(format = DateTime)]
    event_time: String,
    #[schema(format = DateTime)]
    received_at: String,
    #[schema(format = DateTime, required)]
    decided_at: Option<String>,
}

impl From<HeldPrice> for Hold {
    fn from(hold: HeldPrice) -> Self {
        Self {
            event_id: hold.event_id,
            product_id: hold.product_id,
            state: state(&hold),
            old_price: Decimal(hold.old_cents),
            new_price: Decimal(hold.new_cents),
            price: hold.price_cents.map(Decimal),
            pct_change: hold.pct_change.map(Percent::hundredths).map(Decimal),
            anomaly_reason: hold.anomaly_reason,
            reasons: reasons(&hold.reasons),
            source: hold.source,
            metadata: hold.metadata.as_deref().map(reasons),
            event_time: rfc3339(hold.event_time),
            received_at: rfc3339(hold.received_at),
            decided_at: hold.decided_at.map(rfc3339),
        }
    }
}

fn state(hold: &HeldPrice) -> &'static str {
    hold.decision.map_or(PENDING, Decision::as_str)
}

/// Prices that wait until somebody decides
///
/// The last received first. A product waits for one decision at a time: a newer event takes the place of the older one.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/price-holds",
    operation_id = "list_price_holds",
    tag = "Prices",
    params(("tenant_id" = Uuid, Path, description = words::TENANT), Parameters),
    responses((status = 200, description = "A page of prices.", body = Page))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Page>, Problem> {
    let limit = words::limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let state = match parameters.state.as_deref().unwrap_or(PENDING) {
        "all" => None,
        state if state == PENDING || Decision::parse(state).is_some() => Some(state),
        _ => {
            let detail = "must be one of pending, approved, rejected, superseded, all";
            return Err(Problem::query("state", FieldCode::InvalidState, detail));
        }
    };
    let invalid = || Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours");
    let after = parameters.cursor.as_deref().map(|cursor| parse(cursor).ok_or_else(invalid)).transpose()?;
    // one more tells whether there is another page
    let scope = app.database.begin(tenant).await?;
    let mut page = holds(&scope, Holds { event: None, state, after }, limit + 1).await?;
    scope.commit().await?;
    let is_last = page.len() as i64 <= limit;
    page.truncate(limit as usize);
    let last = page.last().filter(|_| !is_last);
    let next_cursor = last.map(|last| format!("{}-{}", epoch_micros(last.received_at), last.event_id.simple()));
    Ok(Json(Page { holds: page.into_iter().map(Hold::from).collect(), next_cursor }))
}

/// A cursor names the last price of its page: when it was received, and its event.
fn parse(cursor: &str) -> Option<(SystemTime, Uuid)> {
    let (micros, event) = cursor.split_once('-')?;
    let micros = micros.parse().ok().filter(|micros| *micros < 100_000_000_000_000_000)?;
    Some((SystemTime::UNIX_EPOCH + Duration::from_micros(micros), Uuid::try_parse(event).ok()?))
}

/// Let a held price in
///
/// The product has it from now on, and the price is learnt from. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/price-holds/{event_id}/approve",
    operation_id = "approve_price",
    tag = "Prices",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("event_id" = Uuid, Path, description = "The event whose price is held."),
    ),
    responses((status = 200, description = "The price is the product's.", body = Hold))
)]
pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfEvent { event_id }): Path<OfEvent>,
) -> Result<Json<Hold>, Problem> {
    settle(&app, tenant, event_id, Decision::Approved).await
}

/// Refuse a held price
///
/// The product keeps its price. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/price-holds/{event_id}/reject",
    operation_id = "reject_price",
    tag = "Prices",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("event_id" = Uuid, Path, description = "The event whose price is held."),
    ),
    responses((status = 200, description = "The product keeps its price.", body = Hold))
)]
pub(crate) async fn reject(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfEvent { event_id }): Path<OfEvent>,
) -> Result<Json<Hold>, Problem> {
    settle(&app, tenant, event_id, Decision::Rejected).await
}

async fn settle(app: &App, tenant: Uuid, event: Uuid, decision: Decision) -> Result<Json<Hold>, Problem> {
    let run = || async {
        let scope = app.database.begin(tenant).await?;
        let hold = decide(&scope, event, decision, epoch_micros(SystemTime::now())).await?;
        scope.commit().await?;
        Ok(hold)
    };
    let hold = retry("decide_price", run).await?.ok_or_else(|| Problem::not_found("held price"))?;
    if hold.decision != Some(decision) {
        let detail = format!("it is decided otherwise: the price was {}", state(&hold));
        return Err(Problem::new(Code::AlreadyDecided, detail));
    }
    Ok(Json(hold.into()))
}
