//! `GET /api/v1/tenants/{tenant_id}/metrics/sales`: what was sold, by day, hour, product or category.

use crate::App;
use crate::span::{Named, Ordered, Span, wrong};
use crate::words::{self, PATIENCE};
use axum::Json;
use axum::extract::State;
use intake_domain::sales::period::{Bucket, Period, Unit, Zone};
use intake_domain::sales::{self, Figures, Key, Part, Report, arrange};
use intake_domain::sketch::ERROR_BOUND;
use intake_domain::value::{self, Kind};
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::{Code, FieldCode};
use intake_lambda::time::epoch_micros;
use intake_postgres::{Scope, metrics};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::SystemTime;
use utoipa::ToSchema;

/// How many products or categories an answer has at most, and how many unless told.
const MAX_LIMIT: usize = 10_000;
const DEFAULT_LIMIT: usize = 1_000;

/// The key of products that have no category.
const NO_CATEGORY: &str = "none";

/// What sales are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// Days of the time zone.
    #[default]
    Day,
    /// Hours of the time zone.
    Hour,
    /// Products.
    Product,
    /// Categories of products.
    Category,
}

/// How sales are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Precision {
    /// From what was counted ahead: sums and orders exactly, customers estimated.
    #[default]
    Approx,
    /// One by one, customers too.
    Exact,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// What sales are told apart by; `day` unless told.
    #[param(inline, value_type = GroupBy, required = false)]
    group_by: Option<GroupBy>,
    /// The first moment: a date (`2026-01-31` or `31-01-2026`) or an ISO 8601 date and time, of the time zone unless it names an
    /// offset. 30 days in all unless told.
    #[param(nullable = false, example = "2026-01-01")]
    start_date: Option<String>,
    /// The last moment, in the same forms; of a date the whole day. Today unless told.
    #[param(nullable = false, example = "2026-01-31")]
    end_date: Option<String>,
    /// `approx`: sums and orders are exact, customers an estimate; `exact`: all is counted one by one, which takes its time.
    #[param(inline, value_type = Precision, required = false)]
    precision: Option<Precision>,
    /// The IANA name of the time zone whose days and hours are meant.
    #[param(nullable = false, default = "UTC", example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// Only orders in this currency (ISO 4217). Unless told, the amounts of all currencies are added as they are.
    #[param(nullable = false, pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: Option<String>,
    /// How many products or categories are told, those with the largest sums first; days and hours are told all.
    #[param(minimum = 1, maximum = 10000, default = 1000, nullable = false)]
    limit: Option<usize>,
}

/// What was sold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesMetrics, example = json!({
    "group_by": "day",
    "precision": "approx",
    "method": "pre_aggregated_hyperloglog",
    "error_bounds": {"sum_sales": 0.0, "num_orders": 0.0, "unique_customers_est": 0.069},
    "start_date": "2026-01-30T00:00:00+01:00",
    "end_date": "2026-02-01T00:00:00+01:00",
    "time_zone": "Europe/Berlin",
    "currency": "EUR",
    "is_behind": false,
    "total": {"sum_sales": 1234.50, "num_orders": 31, "unique_customers_est": 17},
    "groups": 2,
    "data": {
        "2026-01-30": {"sum_sales": 234.50, "num_orders": 11, "unique_customers_est": 10},
        "2026-01-31": {"sum_sales": 1000.00, "num_orders": 20, "unique_customers_est": 9},
    },
}))]
pub(crate) struct SalesMetrics {
    #[schema(inline)]
    group_by: GroupBy,
    #[schema(inline)]
    precision: Precision,
    /// How it was counted.
    #[schema(example = "pre_aggregated_hyperloglog")]
    method: &'static str,
    error_bounds: ErrorBounds,
    /// The first moment, with the offset of the time zone.
    #[schema(format = DateTime)]
    start_date: String,
    /// The first moment that is not meant any more.
    #[schema(format = DateTime)]
    end_date: String,
    time_zone: String,
    /// Null: amounts of all currencies are added as they are.
    #[schema(required)]
    currency: Option<String>,
    /// Whether days of this time have changed and are still to be counted, which takes seconds after an upload.
    is_behind: bool,
    /// In all: customers who bought on several days, or several products, are one.
    total: Sales,
    /// How many groups were found; `data` has fewer where `limit` cuts it.
    groups: usize,
    /// By the date, the hour in RFC 3339 with its offset, the id of the product, or that of the category, which is `none` for
    /// products without one. What sold nothing is not there.
    #[schema(value_type = BTreeMap<String, Sales>)]
    data: Ordered<Sales>,
}

/// How far figures may be off, as a share of what they tell.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesErrorBounds)]
struct ErrorBounds {
    sum_sales: f64,
    num_orders: f64,
    /// 99.7 % of all estimates are within it: three standard errors.
    unique_customers_est: f64,
}

/// What was sold at some time, or of something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sales)]
struct Sales {
    /// By time the sum of the orders' totals; by product and category that of line totals. An exact decimal.
    #[schema(value_type = f64)]
    sum_sales: Box<RawValue>,
    /// How many orders; by product and category those that have such an item.
    num_orders: u64,
    /// How many customers; an order without one is nobody's.
    unique_customers_est: u64,
    /// By product and category: how many pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<u64>,
}

/// What was asked for.
struct Question {
    group_by: GroupBy,
    precision: Precision,
    period: Period,
    zone: Zone,
    currency: Option<String>,
    limit: usize,
    part: Part,
    buckets: Vec<Bucket>,
}

impl Question {
    /// Reads what was asked for at `now`, in microseconds since 1970; every parameter that is wrong is named.
    fn read(parameters: Parameters, now: i64) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        if let Some(currency) = &parameters.currency
            && !matches!(value::read_cell(Kind::Currency, currency), Ok(value::Value::Text(_)))
        {
            errors.push(wrong("currency", FieldCode::InvalidValue, "is no code of ISO 4217"));
        }
        let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            errors.push(wrong("limit", FieldCode::InvalidLimit, format!("must be from 1 to {MAX_LIMIT}")));
        }
        let named = Named {
            start_date: parameters.start_date.as_deref(),
            end_date: parameters.end_date.as_deref(),
            time_zone: parameters.time_zone.as_deref(),
        };
        let span = Span::read(&named, now, &mut errors);
        let group_by = parameters.group_by.unwrap_or_default();
        let is_utc = span.as_ref().is_some_and(|span| span.zone.is_utc());
        let (part, unit) = match group_by {
            GroupBy::Day if is_utc => (Part::Days, Some(Unit::Day)),
            GroupBy::Day => (Part::Quarters, Some(Unit::Day)),
            GroupBy::Hour => (Part::Quarters, Some(Unit::Hour)),
            GroupBy::Product => (Part::Products, None),
            GroupBy::Category => (Part::Categories, None),
        };
        let buckets = span.as_ref().zip(unit).map(|(span, unit)| span.buckets(unit, &mut errors)).unwrap_or_default();
        let Some(Span { zone, period }) = span.filter(|_| errors.is_empty()) else {
            return Err(Problem::of_fields(Code::InvalidQuery, errors));
        };
        let precision = parameters.precision.unwrap_or_default();
        Ok(Self { group_by, precision, period, zone, currency: parameters.currency, limit, part, buckets })
    }

    /// The answer, as far as the database has it: in all, and of each group; and whether it is behind.
    async fn ask(&self, scope: &Scope<'_>) -> Result<(Figures, Vec<(Key, Figures)>, bool), intake_postgres::Error> {
        let currency = self.currency.as_deref();
        if self.precision == Precision::Exact {
            let (total, groups) = metrics::scan(scope, self.period, currency, self.part, &self.buckets).await?;
            return Ok((total, groups, false));
        }
        let mut report = Report::new(self.part, &self.buckets);
        let (days, rests) = self.period.days();
        let is_behind = metrics::is_behind(scope, &days).await?;
        if !days.is_empty() {
            metrics::add_days(scope, &days, currency, &mut report).await?;
        }
        // of days of which only a part is meant, that part is counted now
        for rest in rests {
            metrics::add_period(scope, rest, currency, &mut report).await?;
        }
        let (total, groups) = report.finish();
        Ok((total, groups, is_behind))
    }

    fn sales(&self, figures: &Figures) -> Sales {
        let has_items = matches!(self.part, Part::Products | Part::Categories);
        Sales {
            // it is written as JSON writes a number
            sum_sales: RawValue::from_string(sales::money(figures.cents)).unwrap_or_default(),
            num_orders: figures.orders,
            unique_customers_est: figures.customers,
            quantity: has_items.then_some(figures.quantity),
        }
    }

    fn key(&self, key: Key) -> String {
        match key {
            Key::Time(at) => self.buckets.get(at).map(|bucket| bucket.key.clone()).unwrap_or_default(),
            Key::Product(id) | Key::Category(Some(id)) => id.to_string(),
            Key::Category(None) => NO_CATEGORY.to_owned(),
        }
    }
}

/// What was sold
///
/// By day, by hour, by product or by category. Sums and numbers of orders are exact with either precision; `approx` answers
/// from totals that are brought up to date right after each upload, and estimates how many customers there were, by
/// HyperLogLog, within the `error_bounds`.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/metrics/sales",
    operation_id = "get_sales_metrics",
    tag = "Metrics",
    params(("tenant_id" = Uuid, Path, description = "The tenant whose key is sent."), Parameters),
    responses((status = 200, description = "What was sold.", body = SalesMetrics))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<SalesMetrics>, Problem> {
    let question = Question::read(parameters, epoch_micros(SystemTime::now()))?;
    let answer = async {
        // what is stored and what is counted now are of one moment: an order that moves in between would be told twice
        let scope = app.database.begin_reading(tenant, None).await?;
        metrics::limit_time(&scope, PATIENCE).await?;
        let answer = question.ask(&scope).await?;
        scope.commit().await?;
        Ok(answer)
    };
    let (total, mut groups, is_behind) = words::in_time(answer).await?;
    let found = arrange(&mut groups, question.limit);
    let is_exact = question.precision == Precision::Exact;
    Ok(Json(SalesMetrics {
        group_by: question.group_by,
        precision: question.precision,
        method: if is_exact { "scan" } else { "pre_aggregated_hyperloglog" },
        error_bounds: ErrorBounds {
            sum_sales: 0.0,
            num_orders: 0.0,
            unique_customers_est: if is_exact { 0.0 } else { ERROR_BOUND },
        },
        start_date: question.zone.show(question.period.start),
        end_date: question.zone.show(question.period.end),
        time_zone: question.zone.name().to_owned(),
        is_behind,
        total: question.sales(&total),
        groups: found,
        data: Ordered(groups.iter().map(|(key, figures)| (question.key(*key), question.sales(figures))).collect()),
        currency: question.currency,
    }))
}
