//! `POST /api/v1/tenants/{tenant_id}/products/{product_id}/price-event`: a product's price changes.

use crate::app::App;
use crate::settle::{Settled, settle};
use crate::words::{self, OfProduct, Price};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use intake_domain::price::{Event, details};
use intake_domain::row::{self, Refused};
use intake_domain::{Dataset, dataset};
use intake_lambda::Problem;
use intake_lambda::edge::{Claimed, Json, Path, Tenant};
use intake_lambda::problem::FieldError;
use intake_lambda::time::epoch_micros;
use intake_postgres::price::Change;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::SystemTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A change of a price. Prices are decimal numbers, or strings of them, from 0 to 9999999999.99.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewPriceEvent, example = json!({
    "old_price": 19.99, "new_price": 17.49, "source": "pim", "metadata": {"campaign": "spring"},
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// What the sender takes for the price until now.
    #[serde(default)]
    #[schema(value_type = Price, required)]
    old_price: Option<Box<RawValue>>,
    /// What it is to be.
    #[serde(default)]
    #[schema(value_type = Price, required)]
    new_price: Option<Box<RawValue>>,
    /// Where the change comes from.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 50)]
    source: Option<Box<RawValue>>,
    /// Anything that you want to be kept with the event.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// An event whose id was seen before changes nothing, and the answer says what became of the first.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    event_id: Option<Box<RawValue>>,
    /// When the price changed, at most five minutes ahead; unless told, now. An event that is older than the product's
    /// newest price leaves it as it is.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    event_time: Option<Box<RawValue>>,
}

/// The dataset that an event is a row of.
pub(super) fn price_events() -> &'static Dataset {
    dataset::by_name("price_events").unwrap_or(dataset::ALL[0])
}

/// Change a product's price
///
/// The event, the product's price and its history change together. What looks wrong is told; where the product's history does
/// not explain the price (`suspect`), the tenant's policy says whether it goes in, waits or is refused.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/products/{product_id}/price-event",
    operation_id = "change_price",
    tag = "Prices",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("product_id" = Uuid, Path, description = words::PRODUCT),
    ),
    request_body = Request,
    responses((
        status = 201,
        description = "What became of it; also where the price is not changed.",
        body = Settled,
        example = json!({
            "event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
            "anomaly_detected": true,
            "anomaly_reason": "Extreme price change",
            "reasons": [
                {"code": "THRESHOLD_EXTREME", "score": 900.0, "detail": "a change by 900.00 %, which is 50 % or more"},
                {"code": "DECIMAL_SHIFT", "score": 1.0, "detail": "about 10 times the old price"},
            ],
            "suspect": true,
            "pct_change": 900.00,
            "status": "held",
            "price": 19.99,
            "processed_at": "2026-01-31T03:04:05.678Z",
        }),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfProduct { product_id }): Path<OfProduct>,
    claimed: Claimed,
    Json(request): Json<Request>,
) -> Result<Response, Problem> {
    let now = SystemTime::now();
    let product = format!("\"{product_id}\"");
    let token_of = |field: &str| match field {
        "product_id" => Some(product.as_str()),
        "old_price" => request.old_price.as_deref().map(RawValue::get),
        "new_price" => request.new_price.as_deref().map(RawValue::get),
        "source" => request.source.as_deref().map(RawValue::get),
        "metadata" => request.metadata.as_deref().map(RawValue::get),
        "event_id" => request.event_id.as_deref().map(RawValue::get),
        "event_time" => request.event_time.as_deref().map(RawValue::get),
        _ => None,
    };
    let row = row::of_fields(price_events(), tenant, token_of);
    let mut row = row.and_then(|row| price_events().receive(row, epoch_micros(now))).map_err(invalid)?;
    let has_new_id = request.event_id.is_none();
    row.identify(price_events(), Uuid::now_v7);
    let event = Event::of_row(&row, epoch_micros(now)).map_err(|error| Problem::invalid(vec![error.into()]))?;
    let (source, metadata) = details(&row);
    let changes =
        |may_be_known: bool| vec![Change { event, has_new_id: has_new_id && !may_be_known, source, metadata }];
    settle(&app, tenant, &claimed, changes, |became| {
        let settled = became.first().and_then(|became| Settled::of(became, now));
        let settled = settled.ok_or_else(|| Problem::not_found("product"))?;
        Ok((StatusCode::CREATED, axum::Json(settled)).into_response())
    })
    .await
}

fn invalid(refused: Refused) -> Problem {
    Problem::invalid(refused.errors.into_iter().map(FieldError::from).collect())
}
