//! A small API behind the real edge, on the stores of the stack, in the process of the tests: what the edge promises is
//! seen where nothing else is in the way, and as many of it run side by side as a test asks for.

use super::{Answer, Ground};
use anyhow::{Context, Result, anyhow};
use aws_config::SdkConfig;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use intake_aws::RateTable;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_domain::rate::{Budget, Quotas};
use intake_lambda::Problem;
use intake_lambda::edge::idempotency::replay;
use intake_lambda::edge::{Claimed, Edge, Json, Limiter, Needs, Path, Requirement, Routes, Tenant};
use intake_postgres::{Database, Error, Scope};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_postgres::types::Type;
use tower::ServiceExt;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

/// Its table, beside the tables of the system and with the same policy: each row is one effect, the last one holds.
const SCHEMA: &str = "
    do $$
    begin
        perform pg_advisory_xact_lock(7599400124);
        if to_regclass('probe.levels') is null then
            create schema probe;
            create table probe.levels (
                effect bigint generated always as identity primary key,
                tenant_id uuid not null,
                level integer not null
            );
            perform isolate_tenants('probe.levels');
            grant usage on schema probe to intake_api;
            grant select, insert on probe.levels to intake_api;
        end if;
    end
    $$";

/// A probe with connections and caches of its own.
pub(crate) struct Probe(Router);

impl Probe {
    /// A probe as the functions are.
    pub(crate) async fn start(ground: &Ground) -> Result<Self> {
        Self::over(ground, &ground.aws, CLAIM_LIFETIME).await
    }

    /// A probe whose claims hold for so long, on tables that are reached as `aws` says.
    pub(crate) async fn over(ground: &Ground, aws: &SdkConfig, claim_lifetime: Duration) -> Result<Self> {
        let records = Records::new(aws, ground.table("IdempotencyTable")?.to_owned(), claim_lifetime);
        let limiter = Limiter::new(RateTable::new(aws, ground.table("RateTable")?.to_owned()), Quotas::default());
        Self::behind(ground, |database, _| Edge::new(database, records, limiter)).await
    }

    /// A probe with a clock of its own.
    pub(crate) async fn with_clock(
        ground: &Ground,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<Self> {
        let records = Records::new(&ground.aws, ground.table("IdempotencyTable")?.to_owned(), CLAIM_LIFETIME);
        let limiter =
            Limiter::new(RateTable::new(&ground.aws, ground.table("RateTable")?.to_owned()), Quotas::default());
        Self::behind(ground, |database, _| Edge::new(database, records, limiter).with_clock(clock)).await
    }

    /// A probe behind the edge that `edge` makes of its database and the configuration of the emulator.
    pub(crate) async fn behind(ground: &Ground, edge: impl FnOnce(Arc<Database>, &SdkConfig) -> Edge) -> Result<Self> {
        let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
        owner.batch_execute(SCHEMA).await.context("the probe's table")?;
        let database = Arc::new(Database::new(&ground.endpoints.api_database_url, "probe")?);
        let edge = edge(Arc::clone(&database), &ground.aws);
        Ok(Self(routes().serve(database, Arc::new(edge))))
    }

    /// The routes of a function, at work in this process.
    pub(crate) fn of(routes: Router) -> Self {
        Self(routes)
    }

    /// What it answers to a request, wherever that is addressed to: [`super::Shop::request`] makes one of a tenant.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Answer> {
        let request: axum::http::Request<reqwest::Body> = request.build()?.try_into()?;
        let Ok(answer) = self.0.clone().oneshot(request.map(Body::new)).await;
        let (head, body) = answer.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| anyhow!("a body broke: {error}"))?;
        let text = String::from_utf8(bytes.to_vec())?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, text })
    }
}

/// Its routes; each of their paths is under `/api/v1/tenants/{tenant_id}/`, but for `/open` and `/panic`.
fn routes() -> Routes<Arc<Database>> {
    let key = Needs::key();
    Routes::new()
        .add(routes!(open), Needs::nothing())
        .add(routes!(panics), Needs::nothing())
        .add(routes!(level), key)
        .add(routes!(set_level), key.idempotent(Requirement::Optional))
        .add(routes!(price_event), key.limited_by(Budget::PriceEvents))
        .add(routes!(note), key.limited_by(Budget::Requests).idempotent(Requirement::Required))
        .add(routes!(echo), key)
}

/// Needs nothing.
#[utoipa::path(get, path = "/open")]
async fn open() -> axum::Json<Value> {
    axum::Json(json!({"open": true}))
}

/// Panics.
#[utoipa::path(get, path = "/panic")]
async fn panics() -> Response {
    panic!("the probe panics when it is asked to")
}

/// The level, and how many effects it took.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/level")]
async fn level(State(database): State<Arc<Database>>, Tenant(tenant): Tenant) -> Result<Response, Problem> {
    let sql = "select level, count(*) over () from probe.levels where tenant_id = $1 order by effect desc limit 1";
    let scope = database.begin(tenant).await?;
    let rows = scope.query("level", sql, &[(&tenant, Type::UUID)]).await?;
    scope.commit().await?;
    let (level, effects) = rows.first().map(|row| (row.get::<_, i32>(0), row.get::<_, i64>(1))).unwrap_or_default();
    Ok(axum::Json(json!({"level": level, "effects": effects})).into_response())
}

/// What a level is set to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetLevel {
    level: i32,
    /// How long it takes besides.
    #[serde(default)]
    pause_ms: u64,
    /// Whether it panics before the effect is there for good.
    #[serde(default)]
    panics: bool,
}

/// Sets the level, whatever it was: one effect for each time that it is done.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant_id}/level")]
async fn set_level(
    State(database): State<Arc<Database>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Json(request): Json<SetLevel>,
) -> Result<Response, Problem> {
    let scope = database.begin(tenant).await?;
    if let Some(answer) = claimed.take(&scope).await? {
        scope.rollback().await?;
        return Ok(replay(answer));
    }
    let effect = set(&scope, request.level).await?;
    tokio::time::sleep(Duration::from_millis(request.pause_ms)).await;
    assert!(!request.panics, "the probe panics when it is asked to");
    // the number is another one for each effect, and tells a replay from a second effect
    let body = json!({"level": request.level, "effect": effect});
    let answer = claimed.keep(&scope, ([("x-effect", effect.to_string())], axum::Json(body))).await?;
    scope.commit().await?;
    Ok(answer)
}

async fn set(scope: &Scope<'_>, level: i32) -> Result<i64, Error> {
    let sql = "insert into probe.levels (tenant_id, level) values ($1, $2) returning effect";
    let rows = scope.query("set_level", sql, &[(&scope.tenant(), Type::UUID), (&level, Type::INT4)]).await?;
    rows.first().map(|row| row.get(0)).ok_or(Error::Corrupt("an insert without its row"))
}

/// Takes a price event and does nothing about it.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant_id}/products/{product_id}/price-event")]
async fn price_event(Path((_tenant, product)): Path<(Uuid, Uuid)>) -> axum::Json<Value> {
    axum::Json(json!({"product_id": product}))
}

/// Has no effect at all, behind everything that the edge has.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant_id}/note")]
async fn note() -> axum::Json<Value> {
    axum::Json(json!({"noted": true}))
}

/// What is echoed: fields of several types.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    text: String,
    #[serde(default)]
    numbers: Vec<u8>,
    #[serde(default)]
    #[schema(value_type = Object)]
    any: Value,
}

/// Gives back what it is given.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant_id}/echo")]
async fn echo(Json(echo): Json<Echo>) -> axum::Json<Value> {
    axum::Json(json!({"text": echo.text, "numbers": echo.numbers, "any": echo.any}))
}
