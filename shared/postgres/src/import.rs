//! What there is of rows that were imported, for the operator who holds it against where they came from.

use crate::{Database, Error};
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("import/", $name), include_str!(concat!("../queries/import/", $name, ".sql")))
    };
}

/// How many rows of `table`, one of the datasets or `stock_levels`, have these ids, as `rows`, and what they come to: each sum
/// by what is summed up, as a decimal number. Levels are looked for by the ids of the events that set them.
///
/// # Errors
/// [`Error::Corrupt`] for another table; any other [`Error`] of the database.
pub async fn figures(
    database: &Database,
    tenant: Uuid,
    table: &str,
    ids: &[Uuid],
) -> Result<Vec<(String, String)>, Error> {
    let (name, sql) = match table {
        "customers" => sql!("customers"),
        "products" => sql!("products"),
        "orders" => sql!("orders"),
        "order_items" => sql!("order_items"),
        "price_history" => sql!("price_history"),
        "stock_events" => sql!("stock_events"),
        "stock_levels" => sql!("stock_levels"),
        _ => return Err(Error::Corrupt("figures of a table that is not imported")),
    };
    let rows = database
        .run(name, tenant, async |scope| {
            scope.query(name, sql, &[(&tenant, Type::UUID), (&ids, Type::UUID_ARRAY)]).await
        })
        .await?;
    // a sum over nothing is null
    Ok(rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<String>>(1)?))).collect())
}
