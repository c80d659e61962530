//! `POST` and `PUT /api/v1/tenants/{tenant_id}/stock/bulk_update`: many stock events at once, of any products.

use crate::App;
use crate::answer::Answer;
use crate::lot::{Lot, MAX_LINES, TooManyLines};
use crate::words::{self, OnMissingReference, OnNegative};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use intake_domain::stock;
use intake_lambda::edge::file::FILE_REFUSALS;
use intake_lambda::edge::idempotency::replay;
use intake_lambda::edge::{Accepts, Claimed, File, Query, Tenant};
use intake_lambda::problem::Code;
use intake_lambda::time::epoch_micros;
use intake_lambda::{Problem, fail_point};
use intake_postgres::stock::{Rules, apply};
use intake_postgres::{Error, retry};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a request is refused with, besides what its form says.
pub(super) const REFUSALS: &[Code] = &[Code::EmptyBody, FILE_REFUSALS[0], FILE_REFUSALS[1]];

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// What becomes of a level that would fall below 0; `clamp` unless told.
    #[serde(default)]
    #[param(inline, required = false)]
    on_negative: OnNegative,
    /// What becomes of events of a product that is not there; `accept` unless told.
    #[serde(default)]
    #[param(inline, required = false)]
    on_missing_reference: OnMissingReference,
}

/// A form with a file.
#[derive(ToSchema)]
#[schema(as = StockForm)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct Form {
    /// NDJSON, of at most 4 MiB, and unpacked 16 MiB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Move stock
///
/// One event a line, at most 25,000; a file of any size goes through an upload session. An event adds `delta` to the
/// level of its product, or puts it to `set`, unless a later `set` did before; with `expected` it applies if that is
/// the level. The events of a product apply in their order, all or none: one that cannot is a conflict, and nothing of
/// the product changes. An event whose `stock_event_id` was seen before does nothing. Products and bad lines do not
/// touch one another.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/stock/bulk_update",
    operation_id = "update_stock",
    tag = "Stock",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        Parameters,
        (
            "Content-Encoding" = Option<String>,
            Header,
            nullable = false,
            pattern = "^(identity|gzip|zstd)?$",
            description = "How the body is compressed: `gzip` or `zstd`.",
        ),
    ),
    request_body(content(
        (String = "application/x-ndjson", example = "{\"product_id\": \"9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11\", \
            \"delta\": -1, \"stock_event_id\": \"01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01\", \"source\": \"order\"}\n\
            {\"product_id\": \"9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c12\", \"set\": 5, \"expected\": 7}\n"),
        (Form = "multipart/form-data"),
    )),
    responses((status = 200, description = "What became of it; also where nothing applies.", body = Answer))
)]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Problem> {
    update(&app, tenant, &claimed, &parameters, request).await
}

/// Move stock (PUT)
///
/// As `POST`.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/{tenant_id}/stock/bulk_update",
    operation_id = "put_stock",
    tag = "Stock",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        Parameters,
        (
            "Content-Encoding" = Option<String>,
            Header,
            nullable = false,
            pattern = "^(identity|gzip|zstd)?$",
            description = "How the body is compressed: `gzip` or `zstd`.",
        ),
    ),
    request_body(content(
        (String = "application/x-ndjson", example = "{\"product_id\": \"9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11\", \
            \"set\": 12, \"event_time\": \"2026-01-31T03:04:05Z\", \"source\": \"adjustment\"}\n"),
        (Form = "multipart/form-data"),
    )),
    responses((status = 200, description = "What became of it; also where nothing applies.", body = Answer))
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Problem> {
    update(&app, tenant, &claimed, &parameters, request).await
}

async fn update(
    app: &App,
    tenant: Uuid,
    claimed: &Claimed,
    parameters: &Parameters,
    request: Request,
) -> Result<Response, Problem> {
    let body = File::read(request, Accepts::Ndjson).await?.unpacked()?;
    let received_at = epoch_micros(SystemTime::now());
    let lot = Lot::read(tenant, &body, received_at, Uuid::now_v7).map_err(|TooManyLines| too_many_lines())?;
    if lot.line_count() == 0 {
        return Err(Problem::new(Code::EmptyBody, "the body has no line"));
    }
    let rules = Rules {
        on_negative: match parameters.on_negative {
            OnNegative::Clamp => stock::OnNegative::Clamp,
            OnNegative::Reject => stock::OnNegative::Reject,
        },
        refuses_unknown_products: parameters.on_missing_reference == OnMissingReference::Reject,
        ..Rules::default()
    };
    let (ran_before, was_overtaken) = (AtomicBool::new(false), AtomicBool::new(false));
    let run = || async {
        let rules = Rules { is_alone: was_overtaken.load(Ordering::Relaxed), ..rules };
        let may_be_known = ran_before.swap(true, Ordering::Relaxed);
        let done = run(app, tenant, claimed, &lot, rules, may_be_known).await;
        was_overtaken.store(matches!(done, Err(Error::Overtaken)), Ordering::Relaxed);
        done
    };
    retry("update_stock", run).await?
}

fn too_many_lines() -> Problem {
    let detail = format!(
        "a bulk update has at most {MAX_LINES} lines; declare a larger file of stock_events with POST \
         /api/v1/ingest/sessions and upload it to the URLs in the answer"
    );
    Problem::new(Code::PayloadTooLarge, detail)
}

/// Runs one transaction. A problem of the claim is no error of the database, and is not tried again.
async fn run(
    app: &App,
    tenant: Uuid,
    claimed: &Claimed,
    lot: &Lot<'_>,
    rules: Rules,
    may_be_known: bool,
) -> Result<Result<Response, Problem>, Error> {
    let scope = app.database.begin(tenant).await?;
    match claimed.take(&scope).await {
        Ok(None) => {}
        Ok(Some(answer)) => {
            scope.rollback().await?;
            return Ok(Ok(replay(answer)));
        }
        Err(problem) => return Ok(Err(problem)),
    }
    let decision = apply(&scope, &lot.movements(may_be_known), rules).await?;
    let answer = lot.answer(&decision);
    let response = match claimed.keep(&scope, Json(&answer)).await {
        Ok(response) => response,
        Err(problem) => return Ok(Err(problem)),
    };
    fail_point!("stock-api.before-commit", tenant);
    scope.commit().await?;
    fail_point!("stock-api.after-commit", tenant);
    answer.measure();
    Ok(Ok(response))
}
