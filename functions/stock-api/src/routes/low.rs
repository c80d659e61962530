//! `GET /api/v1/tenants/{tenant_id}/stock`: products by their levels, the lowest first, in pages.

use super::level::Level;
use crate::{App, words};
use axum::Json;
use axum::extract::State;
use intake_domain::stock::MAX_LEVEL;
use intake_lambda::Problem;
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::problem::FieldCode;
use intake_postgres::stock;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many products a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 1_000;
const DEFAULT_LIMIT: i64 = 100;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Only products of which there is less; all unless told.
    #[param(minimum = 0, maximum = 2_147_483_648_i64, nullable = false, example = 10)]
    below: Option<i64>,
    /// How many products a page has at most.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-7][0-9a-f]{39}$", nullable = false)]
    cursor: Option<String>,
}

/// A page.
#[derive(Serialize, ToSchema)]
#[schema(as = StockLevels, example = json!({
    "levels": [{
        "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
        "level": 2,
        "set_at": null,
        "sequence": 7,
        "updated_at": "2026-01-31T04:00:00.000Z",
    }],
    "next_cursor": "000000029f3b1c528c0e4d578f6c0a4e5b7d1c11",
}))]
pub(crate) struct Levels {
    levels: Vec<Level>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Products by their levels
///
/// The lowest first. A product that never moved is not among them; one that moves while pages are read may be met
/// twice, or not at all.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/stock",
    operation_id = "list_stock",
    tag = "Stock",
    params(("tenant_id" = Uuid, Path, description = words::TENANT), Parameters),
    responses((status = 200, description = "A page of products.", body = Levels))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Levels>, Problem> {
    let limit = words::limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let all = i64::from(MAX_LEVEL) + 1;
    let below = parameters.below.unwrap_or(all);
    if !(0..=all).contains(&below) {
        return Err(Problem::query("below", FieldCode::InvalidValue, format!("must be from 0 to {all}")));
    }
    let after =
        parameters.cursor.as_deref().map(|cursor| parse(cursor).ok_or_else(words::invalid_cursor)).transpose()?;
    // one more tells whether there is another page
    let scope = app.database.begin(tenant).await?;
    let mut standings = stock::low(&scope, below, after, limit + 1).await?;
    scope.commit().await?;
    let is_last = standings.len() as i64 <= limit;
    standings.truncate(limit as usize);
    let last = standings.last().filter(|_| !is_last);
    let next_cursor = last.map(|last| format!("{:08x}{}", last.level, last.product.simple()));
    Ok(Json(Levels { levels: standings.into_iter().map(Level::from).collect(), next_cursor }))
}

/// The level and the product that a page ended with.
fn parse(cursor: &str) -> Option<(i32, Uuid)> {
    let is_hex = cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (level, product) = cursor.split_at_checked(8).filter(|_| is_hex && cursor.len() == 40)?;
    Some((i32::from_str_radix(level, 16).ok()?, Uuid::try_parse(product).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_one_of_ours() {
        let product = Uuid::from_u128(7);
        let cursor = format!("{:08x}{}", 0xab, product.simple());
        assert_eq!(parse(&cursor), Some((0xab, product)));
        for other in [
            "",
            "x",
            &cursor[1..],
            &format!("{cursor}0"),
            &format!("ffffffff{}", product.simple()),
            "0000000é",
            &cursor.to_uppercase(),
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
