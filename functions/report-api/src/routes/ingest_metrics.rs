//! `GET /api/v1/tenants/{tenant_id}/metrics/ingest`: a tenant's uploads over time.

use crate::App;
use crate::span::{Named, Ordered, Span, wrong};
use crate::words::{self, PATIENCE};
use axum::Json;
use axum::extract::State;
use intake_domain::sales::DAY_MICROS;
use intake_domain::sales::period::Unit;
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::{Code, FieldCode};
use intake_lambda::time::epoch_micros;
use intake_postgres::ingest_metrics;
use intake_postgres::metrics::limit_time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use utoipa::ToSchema;

/// How many days a span has at most: a year and a day of each end.
const MAX_DAYS: i64 = 368;

/// What uploads are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Days of the time zone.
    #[default]
    Day,
    /// Hours of the time zone.
    Hour,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// What uploads are told apart by; `day` unless told.
    #[param(inline, value_type = By, required = false)]
    group_by: Option<By>,
    /// The first moment: a date (`2026-01-31` or `31-01-2026`) or an ISO 8601 date and time, of the time zone unless it names an
    /// offset. 30 days in all unless told, and 366 at most.
    #[param(nullable = false, example = "2026-01-01")]
    start_date: Option<String>,
    /// The last moment, in the same forms; of a date the whole day. Today unless told.
    #[param(nullable = false, example = "2026-01-31")]
    end_date: Option<String>,
    /// The IANA name of the time zone whose days and hours are meant.
    #[param(nullable = false, default = "UTC", example = "Europe/Berlin")]
    time_zone: Option<String>,
}

/// Uploads over time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IngestMetrics, example = json!({
    "group_by": "day",
    "start_date": "2026-01-31T00:00:00+00:00",
    "end_date": "2026-02-01T00:00:00+00:00",
    "time_zone": "UTC",
    "total": {
        "files": 2, "files_not_completed": 0, "bytes": 4711,
        "rows": {"accepted": 100, "inserted": 90, "updated": 0, "unchanged": 7, "rejected": 3},
        "rows_per_second": 350.0,
        "rejects_by_code": {"INVALID_UUID": 2, "TOO_LONG": 1},
    },
    "data": {"2026-01-31": {
        "files": 2, "files_not_completed": 0, "bytes": 4711,
        "rows": {"accepted": 100, "inserted": 90, "updated": 0, "unchanged": 7, "rejected": 3},
        "rows_per_second": 350.0,
        "rejects_by_code": {"INVALID_UUID": 2, "TOO_LONG": 1},
    }},
}))]
pub(crate) struct IngestMetrics {
    #[schema(inline)]
    group_by: By,
    /// The first moment, with the offset of the time zone.
    #[schema(format = DateTime)]
    start_date: String,
    /// The first moment that is not meant any more.
    #[schema(format = DateTime)]
    end_date: String,
    time_zone: String,
    total: Uploads,
    /// By the date, or the hour in RFC 3339 with its offset. When nothing ended is not there.
    #[schema(value_type = BTreeMap<String, Uploads>)]
    data: Ordered<Uploads>,
}

/// Files that ended, and what became of their rows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IngestMetricsOfUploads)]
struct Uploads {
    /// Files that ended; dry runs are not among them.
    #[schema(minimum = 0)]
    files: i64,
    /// Of these, the ones that failed, expired or were cancelled.
    #[schema(minimum = 0)]
    files_not_completed: i64,
    /// As they were uploaded.
    #[schema(minimum = 0)]
    bytes: i64,
    rows: Rows,
    /// Rows that were read, by the seconds from the arrival of each file to its end; null where none took any time.
    #[schema(required)]
    rows_per_second: Option<f64>,
    /// How many refused rows have each code; one may have several.
    rejects_by_code: BTreeMap<String, i64>,
}

/// What became of rows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IngestMetricsOfRows)]
struct Rows {
    #[schema(minimum = 0)]
    accepted: i64,
    #[schema(minimum = 0)]
    inserted: i64,
    #[schema(minimum = 0)]
    updated: i64,
    #[schema(minimum = 0)]
    unchanged: i64,
    #[schema(minimum = 0)]
    rejected: i64,
}

impl From<ingest_metrics::Uploads> for Uploads {
    fn from(uploads: ingest_metrics::Uploads) -> Self {
        let ingest_metrics::Uploads { accepted, inserted, updated, unchanged, rejected, seconds, .. } = uploads;
        let rate = (accepted as f64 / seconds * 10.0).round() / 10.0;
        Self {
            files: uploads.files,
            files_not_completed: uploads.files_not_completed,
            bytes: uploads.bytes,
            rows: Rows { accepted, inserted, updated, unchanged, rejected },
            rows_per_second: Some(rate).filter(|rate| rate.is_finite()),
            rejects_by_code: uploads.rejects_by_code,
        }
    }
}

/// Uploads over time
///
/// How many files ended, what became of their rows, how fast that was, and what rows were refused for. A file counts when it
/// ended, whenever it was sent.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/metrics/ingest",
    operation_id = "get_ingest_metrics",
    tag = "Metrics",
    params(("tenant_id" = Uuid, Path, description = "The tenant whose key is sent."), Parameters),
    responses((status = 200, description = "Uploads over time.", body = IngestMetrics))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<IngestMetrics>, Problem> {
    let Parameters { group_by, start_date, end_date, time_zone } = parameters;
    let named =
        Named { start_date: start_date.as_deref(), end_date: end_date.as_deref(), time_zone: time_zone.as_deref() };
    let mut errors = Vec::new();
    let span = Span::read(&named, epoch_micros(SystemTime::now()), &mut errors);
    let group_by = group_by.unwrap_or_default();
    if let Some(span) = &span
        && span.period.end - span.period.start > MAX_DAYS * DAY_MICROS
    {
        errors.push(wrong("start_date", FieldCode::InvalidValue, "is more than 366 days before the end"));
    }
    let Some(span) = span.filter(|_| errors.is_empty()) else {
        return Err(Problem::of_fields(Code::InvalidQuery, errors));
    };
    let unit = if group_by == By::Hour { Unit::Hour } else { Unit::Day };
    // no year has too many hours
    let buckets = span.buckets(unit, &mut errors);
    let answer = async {
        let scope = app.database.begin_reading(tenant, None).await?;
        limit_time(&scope, PATIENCE).await?;
        let answer = ingest_metrics::uploads(&scope, span.period, &buckets).await?;
        scope.commit().await?;
        Ok(answer)
    };
    let (total, by_time) = words::in_time(answer).await?;
    let key = |at: usize| buckets.get(at).map(|bucket| bucket.key.clone()).unwrap_or_default();
    Ok(Json(IngestMetrics {
        group_by,
        start_date: span.zone.show(span.period.start),
        end_date: span.zone.show(span.period.end),
        time_zone: span.zone.name().to_owned(),
        total: total.into(),
        data: Ordered(by_time.into_iter().map(|(at, uploads)| (key(at), uploads.into())).collect()),
    }))
}
