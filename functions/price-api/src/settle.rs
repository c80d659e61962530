//! Price events on their way into the store, and what is told of them.

use crate::app::App;
use crate::words::{Decimal, FirstStatus, Reason, Status, reasons, status};
use axum::response::Response;
use intake_domain::price::{Outcome, Percent};
use intake_lambda::edge::Claimed;
use intake_lambda::edge::idempotency::replay;
use intake_lambda::time::rfc3339;
use intake_lambda::{Problem, fail_point};
use intake_postgres::price::{Became, Change, Told, apply};
use intake_postgres::retry;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of a price event.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceEventResult)]
pub(crate) struct Settled<'a> {
    event_id: Uuid,
    product_id: Uuid,
    /// Whether anything looks wrong about it.
    anomaly_detected: bool,
    /// What, in words.
    #[schema(required)]
    anomaly_reason: Option<&'a str>,
    /// What was measured.
    #[schema(value_type = Vec<Reason>)]
    reasons: Box<RawValue>,
    /// Whether the product's history does not explain the price: what the policy acts upon.
    suspect: bool,
    /// From the old price to the new one, in percent; null from zero.
    #[schema(required)]
    pct_change: Option<Decimal>,
    #[schema(value_type = Status)]
    status: &'static str,
    /// Of a duplicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FirstStatus>, nullable = false)]
    first_status: Option<&'static str>,
    /// What the product costs now.
    #[schema(required)]
    price: Option<Decimal>,
    #[schema(format = DateTime)]
    processed_at: String,
}

impl<'a> Settled<'a> {
    /// What became of an event, unless its product is unknown.
    pub(crate) fn of(became: &'a Became, processed_at: SystemTime) -> Option<Self> {
        let (told, is_duplicate) = match became {
            Became::Recorded(told) => (told, false),
            Became::Duplicate(told) => (told, true),
            Became::UnknownProduct => return None,
        };
        Some(Self {
            event_id: told.event_id,
            product_id: told.product_id,
            anomaly_detected: told.anomaly_reason.is_some(),
            anomaly_reason: told.anomaly_reason.as_deref(),
            reasons: reasons(&told.reasons),
            suspect: told.suspect,
            pct_change: told.pct_change.map(Percent::hundredths).map(Decimal),
            status: if is_duplicate { "duplicate" } else { status(told.outcome) },
            first_status: is_duplicate.then(|| status(told.outcome)),
            price: told.price_cents.map(Decimal),
            processed_at: rfc3339(processed_at),
        })
    }

    /// What became of it, in a word.
    pub(crate) fn status(&self) -> &'static str {
        self.status
    }
}

/// Settles events in one transaction, with the answer that `answer` makes of what became of them. `changes` are the
/// events; it is told whether ids that were made here may be known, since the transaction that recorded them may have
/// been committed although nobody said so.
pub(crate) async fn settle<'a>(
    app: &App,
    tenant: Uuid,
    claimed: &Claimed,
    changes: impl Fn(bool) -> Vec<Change<'a>>,
    answer: impl Fn(&[Became]) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let ran_before = AtomicBool::new(false);
    let run = || async {
        let changes = changes(ran_before.swap(true, Ordering::Relaxed));
        let scope = app.database.begin(tenant).await?;
        // a problem of the claim is no error of the database, and is not tried again
        match claimed.take(&scope).await {
            Ok(None) => {}
            Ok(Some(answer)) => {
                scope.rollback().await?;
                return Ok(Ok(replay(answer)));
            }
            Err(problem) => return Ok(Err(problem)),
        }
        let became = apply(&scope, &changes).await?;
        let answer = match answer(&became) {
            Ok(answer) => answer,
            Err(problem) => {
                scope.rollback().await?;
                return Ok(Err(problem));
            }
        };
        let response = match claimed.keep(&scope, answer).await {
            Ok(response) => response,
            Err(problem) => return Ok(Err(problem)),
        };
        fail_point!("price-api.before-commit", tenant);
        scope.commit().await?;
        fail_point!("price-api.after-commit", tenant);
        measure(&became);
        Ok(Ok(response))
    };
    retry("settle_prices", run).await?
}

fn measure(became: &[Became]) {
    let recorded =
        || became.iter().filter_map(|became| if let Became::Recorded(told) = became { Some(told) } else { None });
    let count = |is: fn(&&Told) -> bool| recorded().filter(is).count() as u64;
    metrics::counter!("PriceAnomalies").increment(count(|told| told.suspect));
    metrics::counter!("PricesHeld").increment(count(|told| told.outcome == Outcome::Held));
}
