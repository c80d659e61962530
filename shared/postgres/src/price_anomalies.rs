//! Price events that looked wrong, in the order in which they were recorded. Every function runs inside the scope of a
//! transaction; none commits. All fail with any [`Error`] of the database.

use crate::Error;
use crate::database::Scope;
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../queries/price_anomalies/", $name, ".sql")))
    };
}

/// Where an event stands among all of its tenant.
#[derive(Clone, Debug)]
pub struct Position {
    /// The number of the transaction that recorded it.
    recorded_in: String,
    /// Its place among those of the transaction.
    place: i32,
    /// Its id.
    pub event_id: Uuid,
}

impl Position {
    /// Before the first event.
    #[must_use]
    pub fn start() -> Self {
        Self { recorded_in: "0".to_owned(), place: i32::MIN, event_id: Uuid::nil() }
    }

    fn read(row: &Row) -> Self {
        Self { recorded_in: row.get("recorded_in"), place: row.get("place"), event_id: row.get("price_event_id") }
    }
}

/// Which events are meant.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Those of one product.
    pub product: Option<Uuid>,
    /// Those that were received since.
    pub since: SystemTime,
}

/// An event that looked wrong. Prices and percentages are texts of decimals.
#[derive(Debug)]
pub struct Anomaly {
    /// Where it stands.
    pub position: Position,
    /// Whose price it was to change.
    pub product_id: Uuid,
    /// The price before, as the sender had it.
    pub old_price: String,
    /// The price after.
    pub new_price: String,
    /// From the old price to the new one; `None` where the old one was zero.
    pub pct_change: Option<String>,
    /// What looked wrong, in the words of the system before this one.
    pub anomaly_reason: Option<String>,
    /// The text of a JSON array: all that looked wrong.
    pub reasons: String,
    /// Whether it looked so wrong that the tenant's policy applied.
    pub suspect: bool,
    /// What came of it; of one that was held and decided, the decision.
    pub status: String,
    /// Who sent it.
    pub source: Option<String>,
    /// When the price changed, as the sender had it.
    pub event_time: SystemTime,
    /// When it was sent.
    pub received_at: SystemTime,
}

/// Whether the tenant has that product.
pub async fn is_product(scope: &Scope<'_>, product: Uuid) -> Result<bool, Error> {
    let (name, sql) = sql!("is_product");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&product, Type::UUID)]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Where an event stands, of that product where one is named; `None` when there is none.
pub async fn place_of_event(scope: &Scope<'_>, event: Uuid, product: Option<Uuid>) -> Result<Option<Position>, Error> {
    let (name, sql) = sql!("place_of_event");
    let with = [(&scope.tenant() as _, Type::UUID), (&event as _, Type::UUID), (&product as _, Type::UUID)];
    Ok(scope.query_opt(name, sql, &with).await?.as_ref().map(Position::read))
}

/// Where the newest `count` anomalies begin, of that product where one is named: the last one before them, or the start.
pub async fn before_newest(scope: &Scope<'_>, product: Option<Uuid>, count: i64) -> Result<Position, Error> {
    let (name, sql) = sql!("before_newest");
    let with = [(&scope.tenant() as _, Type::UUID), (&product as _, Type::UUID), (&count as _, Type::INT8)];
    let row = scope.query_opt(name, sql, &with).await?;
    Ok(row.as_ref().map_or_else(Position::start, Position::read))
}

/// The first `limit` anomalies after a position. One that was recorded while an older transaction runs comes later, so that
/// whoever reads on from the last one misses none.
pub async fn page(scope: &Scope<'_>, choice: Choice, after: &Position, limit: i64) -> Result<Vec<Anomaly>, Error> {
    let (name, sql) = sql!("page");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&choice.product as _, Type::UUID),
        (&choice.since as _, Type::TIMESTAMPTZ),
        (&after.recorded_in as _, Type::TEXT),
        (&after.place as _, Type::INT4),
        (&after.event_id as _, Type::UUID),
        (&limit as _, Type::INT8),
    ];
    let rows = scope.query(name, sql, &with).await?;
    let read = |row: &Row| Anomaly {
        position: Position::read(row),
        product_id: row.get("product_id"),
        old_price: row.get("old_price"),
        new_price: row.get("new_price"),
        pct_change: row.get("pct_change"),
        anomaly_reason: row.get("anomaly_reason"),
        reasons: row.get("reasons"),
        suspect: row.get("suspect"),
        status: row.get("status"),
        source: row.get("source"),
        event_time: row.get("event_time"),
        received_at: row.get("received_at"),
    };
    Ok(rows.iter().map(read).collect())
}
