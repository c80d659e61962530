//! `GET /api/v1/tenants/{tenant_id}/products/{product_id}/price-anomalies` and `GET
//! /api/v1/tenants/{tenant_id}/price-anomalies`: price events that looked wrong, of one product or of all, as NDJSON. Followed,
//! the answer stays open and tells new ones as they happen.

use crate::app::App;
use crate::words::{self, AnomalyStatus, Decimal, OfProduct, Reason, limit};
use axum::extract::State;
use axum::response::Response;
use intake_domain::price::Outcome;
use intake_lambda::edge::{Path, Query, Tenant};
use intake_lambda::http::Deadline;
use intake_lambda::ndjson_answer::{Lines, Pages, Room};
use intake_lambda::problem::{Code, FieldCode};
use intake_lambda::time::rfc3339;
use intake_lambda::{Problem, http, ndjson_answer};
use intake_postgres::price_anomalies::{self, Anomaly, Choice, Position};
use intake_postgres::price_followers;
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;
use uuid::Uuid;

/// For how many hours price events are kept.
const MAX_HOURS: u32 = 720;
const DEFAULT_HOURS: u32 = 24;

/// How many anomalies there are before new ones are waited for.
const MAX_LIMIT: i64 = 1_000;
const DEFAULT_LIMIT: i64 = 100;

/// How many anomalies are read at a time. One has less than 2 KiB, so a limit of them is no more than may be sent at once.
const PAGE_ROWS: i64 = 250;

/// How often new ones are looked for.
const POLL: Duration = Duration::from_millis(500);

/// How long nothing is sent at most: whatever lies between may take a silent connection for a dead one. API Gateway waits 5
/// minutes, and at an edge-optimized endpoint 30 seconds.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html>
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// How often a follower holds on to its place, which is held for 15 seconds.
const HOLD_ON: Duration = Duration::from_secs(5);

/// How long before the function's deadline the last line is written: there may be a page to read and to send.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Of how many hours up to now; 24 unless told, and after an event all for which events are kept.
    #[param(minimum = 1, maximum = 720, nullable = false)]
    hours: Option<u32>,
    /// How many anomalies the answer has at most, before new ones are waited for.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<i64>,
    /// The event that the anomalies come after: the first ones after it rather than the newest of all.
    #[param(value_type = Option<Uuid>, nullable = false)]
    after: Option<String>,
    /// Whether the answer stays open and tells new anomalies as they happen, for up to 15 minutes.
    #[param(default = false, nullable = false)]
    follow: Option<bool>,
}

/// A line of the answer: a price event that looked wrong, or the end.
#[derive(ToSchema)]
#[schema(as = PriceAnomaliesLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum Line<'a> {
    Anomaly(Told<'a>),
    End(End),
}

/// A price event that looked wrong. Prices and percentages are exact decimals.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceAnomaly)]
struct Told<'a> {
    event_id: Uuid,
    product_id: Uuid,
    /// The price before, as its sender had it.
    #[schema(value_type = Decimal)]
    old_price: Box<RawValue>,
    /// The price after.
    #[schema(value_type = Decimal)]
    new_price: Box<RawValue>,
    /// From the old price to the new one, in percent; null where the old one was zero.
    #[schema(required, value_type = Option<Decimal>)]
    pct_change: Option<Box<RawValue>>,
    /// What looked wrong, in the words of the system before this one.
    #[schema(required)]
    anomaly_reason: Option<&'a str>,
    /// When it was sent.
    #[schema(format = DateTime)]
    received_at: String,
    /// All that looked wrong.
    #[schema(value_type = Vec<Reason>)]
    reasons: &'a RawValue,
    /// Whether the product's history did not explain it, so that the tenant's policy applied.
    suspect: bool,
    #[schema(value_type = AnomalyStatus)]
    status: &'a str,
    /// When the price changed, as its sender had it.
    #[schema(format = DateTime)]
    event_time: String,
    /// Who sent it.
    #[schema(required)]
    source: Option<&'a str>,
}

/// The last line of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceAnomaliesEnd)]
enum End {
    /// Of one that is whole.
    #[serde(rename = "_meta")]
    Meta {
        /// How many anomalies the answer has.
        #[schema(minimum = 0)]
        total_anomalies: i64,
        /// Of how many hours, up to its beginning.
        #[schema(minimum = 1)]
        time_range_hours: u32,
        /// Of one product: which.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        product_id: Option<Uuid>,
        /// When it ended.
        #[schema(format = DateTime)]
        streamed_at: String,
        /// The event that the next ones come after, to be sent as `after`; null when that was all.
        #[schema(required)]
        next_after: Option<Uuid>,
        /// Why a followed answer ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false, example = "time_limit")]
        reason: Option<&'static str>,
    },
    /// Of one that breaks off.
    #[serde(rename = "error")]
    Error {
        #[schema(example = "UNAVAILABLE")]
        code: &'static str,
        detail: &'static str,
        /// The event after which to go on; null where the request said none and no anomaly was told.
        #[schema(required)]
        after: Option<Uuid>,
    },
}

/// What looked wrong about a product's prices
///
/// As NDJSON, oldest first, sent while it is read: the newest ones, or the first ones `after` an event. The last line is
/// `_meta`, or `error` when it breaks off; an answer with neither was cut off on the way. Events come in the order in which
/// they were recorded: an anomaly is told once everything that was being recorded when it was is recorded too, so reading on
/// `after` the last one misses none.
///
/// With `follow=true` the answer stays open and tells new anomalies as they happen. It has an empty line whenever nothing was
/// told for ten seconds, and ends itself with `_meta` after 15 minutes at the latest: ask again with its `next_after`.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/products/{product_id}/price-anomalies",
    operation_id = "list_price_anomalies_of_product",
    tag = "Prices",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        ("product_id" = Uuid, Path, description = words::PRODUCT),
        Parameters,
    ),
    responses((
        status = 200,
        description = "Lines of JSON, each of this schema; with `follow` some are empty.",
        content_type = "application/x-ndjson",
        body = Line,
        example = json!({
            "event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "product_id": "0b0e7f8e-3f0e-4a39-9d51-0d4b2c1f7a01",
            "old_price": 19.99,
            "new_price": 199.90,
            "pct_change": 900.00,
            "anomaly_reason": "Extreme price change",
            "received_at": "2026-01-31T03:04:05.678Z",
            "reasons": [
                {"code": "THRESHOLD_EXTREME", "score": 900.0, "detail": "a change by 900.00 %, which is 50 % or more"},
                {"code": "DECIMAL_SHIFT", "score": 1.0, "detail": "about 10 times the old price"},
            ],
            "suspect": true,
            "status": "held",
            "event_time": "2026-01-31T03:04:05.000Z",
            "source": "pim",
        }),
    ))
)]
pub(super) async fn of_product(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(OfProduct { product_id }): Path<OfProduct>,
    Query(parameters): Query<Parameters>,
    deadline: Deadline,
) -> Result<Response, Problem> {
    tell(app, tenant, Some(product_id), &parameters, deadline).await
}

/// What looked wrong about prices
///
/// Of all products, and otherwise as of one.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/price-anomalies",
    operation_id = "list_price_anomalies",
    tag = "Prices",
    params(("tenant_id" = Uuid, Path, description = words::TENANT), Parameters),
    responses((
        status = 200,
        description = "Lines of JSON, each of this schema; with `follow` some are empty.",
        content_type = "application/x-ndjson",
        body = Line,
        example = json!({"_meta": {
            "total_anomalies": 100,
            "time_range_hours": 24,
            "streamed_at": "2026-01-31T03:04:05.678Z",
            "next_after": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
        }}),
    ))
)]
pub(super) async fn of_tenant(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
    deadline: Deadline,
) -> Result<Response, Problem> {
    tell(app, tenant, None, &parameters, deadline).await
}

async fn tell(
    app: Arc<App>,
    tenant: Uuid,
    product: Option<Uuid>,
    parameters: &Parameters,
    deadline: Deadline,
) -> Result<Response, Problem> {
    let limit = limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let default_hours = if parameters.after.is_some() { MAX_HOURS } else { DEFAULT_HOURS };
    let hours = parameters.hours.unwrap_or(default_hours);
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(Problem::query("hours", FieldCode::InvalidValue, format!("must be from 1 to {MAX_HOURS}")));
    }
    let unknown = || Problem::query("after", FieldCode::InvalidCursor, "is no event that is known here");
    let after = parameters.after.as_deref().map(Uuid::try_parse).transpose().map_err(|_| unknown())?;
    let follows = parameters.follow.unwrap_or(false);
    if follows && http::body_limit().is_some() {
        let detail = "cannot be true here, where answers are sent whole";
        return Err(Problem::query("follow", FieldCode::NotStreamed, detail));
    }
    let choice = Choice { product, since: SystemTime::now() - Duration::from_secs(3_600) * hours };

    let scope = app.database.begin(tenant).await?;
    if let Some(product) = product
        && !price_anomalies::is_product(&scope, product).await?
    {
        scope.commit().await?;
        return Err(Problem::not_found("product"));
    }
    let position = match after {
        Some(event) => price_anomalies::place_of_event(&scope, event, product).await?,
        None => Some(price_anomalies::before_newest(&scope, product, limit).await?),
    };
    scope.commit().await?;
    let position = position.ok_or_else(unknown)?;

    let follower = Uuid::now_v7();
    if follows {
        let scope = app.database.begin(tenant).await?;
        let has_place = price_followers::take(&scope, follower).await?;
        scope.commit().await?;
        if !has_place {
            let detail = "five answers are followed already; end one of them, or ask without follow";
            return Err(Problem::new(Code::TooManyFollowers, detail).retry_after(15));
        }
    }
    let until = follows.then(|| Instant::now() + time_limit(app.follow, deadline, SystemTime::now()));
    let reading = Reading {
        app,
        tenant,
        choice,
        hours,
        position,
        last: after,
        left: limit,
        has_more: false,
        told: 0,
        until,
        spoke_at: Instant::now(),
        follower,
        held_at: Instant::now(),
    };
    ndjson_answer::answer(reading).await
}

/// For how long an answer is followed: for as long as is set, and no longer than the function may run.
fn time_limit(follow: Duration, Deadline(deadline): Deadline, now: SystemTime) -> Duration {
    let left = deadline.map(|deadline| deadline.duration_since(now).unwrap_or_default().saturating_sub(MARGIN));
    left.map_or(follow, |left| left.min(follow))
}

/// An answer as it is made.
struct Reading {
    app: Arc<App>,
    tenant: Uuid,
    choice: Choice,
    hours: u32,
    /// After which the next ones come.
    position: Position,
    /// The last one that was told, or that the request came with.
    last: Option<Uuid>,
    /// How many there may still be before new ones are waited for; none once there are no more.
    left: i64,
    /// Whether there are more than the answer may have.
    has_more: bool,
    told: i64,
    /// When a followed answer ends.
    until: Option<Instant>,
    /// When something was last sent.
    spoke_at: Instant,
    /// Who holds one of the places of followers, where the answer is followed.
    follower: Uuid,
    /// When that place was last held on to.
    held_at: Instant,
}

impl Reading {
    /// The next anomalies, at most so many. No transaction is held between.
    async fn read(&self, limit: i64) -> Result<Vec<Anomaly>, Problem> {
        let read = || async {
            let scope = self.app.database.begin(self.tenant).await?;
            let anomalies = price_anomalies::page(&scope, self.choice, &self.position, limit).await?;
            scope.commit().await?;
            Ok(anomalies)
        };
        Ok(retry("price_anomalies", read).await?)
    }

    fn tell(&mut self, anomalies: &[Anomaly]) -> Result<Lines, Problem> {
        let mut lines = Lines::default();
        for anomaly in anomalies {
            lines.push(&told(anomaly).map_err(|error| Problem::internal(&error))?)?;
        }
        if let Some(last) = anomalies.last() {
            self.position = last.position.clone();
            self.last = Some(last.position.event_id);
        }
        self.told += anomalies.len() as i64;
        self.spoke_at = Instant::now();
        Ok(lines)
    }
}

impl Reading {
    /// New anomalies once there are some, or an empty line when there were none for a while; `None` at the time limit.
    async fn news(&mut self, until: Instant) -> Result<Option<Lines>, Problem> {
        while Instant::now() < until {
            if self.held_at.elapsed() >= HOLD_ON {
                self.hold_on().await?;
            }
            let anomalies = self.read(PAGE_ROWS).await?;
            if !anomalies.is_empty() {
                return self.tell(&anomalies).map(Some);
            }
            if self.spoke_at.elapsed() >= MAX_SILENCE {
                self.spoke_at = Instant::now();
                return Ok(Some(Lines::empty_line()));
            }
            sleep_until(until.min(Instant::now() + POLL)).await;
        }
        let scope = self.app.database.begin(self.tenant).await?;
        price_followers::leave(&scope, self.follower).await?;
        scope.commit().await?;
        Ok(None)
    }

    /// Holds on to the place of a follower. Where it is another's by now, the answer breaks off.
    async fn hold_on(&mut self) -> Result<(), Problem> {
        let hold_on = || async {
            let scope = self.app.database.begin(self.tenant).await?;
            let holds = price_followers::hold_on(&scope, self.follower).await?;
            scope.commit().await?;
            Ok(holds)
        };
        let holds = retry("hold_on", hold_on).await?;
        self.held_at = Instant::now();
        if holds { Ok(()) } else { Err(Problem::new(Code::TooManyFollowers, "another one follows in its place")) }
    }
}

impl Pages for Reading {
    type End = End;

    async fn page(&mut self, _: Room) -> Result<Option<Lines>, Problem> {
        if self.left > 0 {
            let most = PAGE_ROWS.min(self.left);
            // one more tells whether there are more
            let mut anomalies = self.read(most + 1).await?;
            self.has_more = anomalies.len() as i64 > most;
            self.left = if self.has_more { self.left - most } else { 0 };
            anomalies.truncate(most as usize);
            // who follows is answered although there is nothing to tell yet
            if !anomalies.is_empty() || self.until.is_some() {
                return self.tell(&anomalies).map(Some);
            }
        }
        match self.until {
            Some(until) => self.news(until).await,
            None => Ok(None),
        }
    }

    fn end(&self) -> End {
        let follows = self.until.is_some();
        End::Meta {
            total_anomalies: self.told,
            time_range_hours: self.hours,
            product_id: self.choice.product,
            streamed_at: rfc3339(SystemTime::now()),
            next_after: self.last.filter(|_| follows || self.has_more),
            reason: follows.then_some("time_limit"),
        }
    }

    fn broken(&self) -> End {
        let detail = "the answer could not be followed on; ask again with after";
        End::Error { code: "UNAVAILABLE", detail, after: self.last }
    }
}

fn told(anomaly: &Anomaly) -> Result<Told<'_>, serde_json::Error> {
    let is_applied = anomaly.status == Outcome::Applied.as_str();
    let number = |text: &str| RawValue::from_string(text.to_owned());
    Ok(Told {
        event_id: anomaly.position.event_id,
        product_id: anomaly.product_id,
        old_price: number(&anomaly.old_price)?,
        new_price: number(&anomaly.new_price)?,
        pct_change: anomaly.pct_change.as_deref().map(number).transpose()?,
        anomaly_reason: anomaly.anomaly_reason.as_deref(),
        received_at: rfc3339(anomaly.received_at),
        reasons: serde_json::from_str(&anomaly.reasons)?,
        suspect: anomaly.suspect,
        status: if is_applied { words::status(Outcome::Applied) } else { &anomaly.status },
        event_time: rfc3339(anomaly.event_time),
        source: anomaly.source.as_deref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_followed_no_longer_than_its_function_runs() {
        let (now, seconds) = (SystemTime::now(), Duration::from_secs);
        let limit = |left: Option<u64>| time_limit(seconds(60), Deadline(left.map(|left| now + seconds(left))), now);
        assert_eq!(limit(None), seconds(60));
        assert_eq!(limit(Some(900)), seconds(60));
        assert_eq!(limit(Some(70)), seconds(60));
        assert_eq!(limit(Some(40)), seconds(30));
        assert_eq!(limit(Some(3)), Duration::ZERO);
    }
}
