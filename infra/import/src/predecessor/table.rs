//! The predecessor's tables, and what is read of each.

use std::fmt;
use std::str::FromStr;

use intake_domain::dataset::{self, Missing};
use intake_domain::value::Kind;
use serde::{Deserialize, Serialize};

/// A table of the predecessor's. The order is that of dependency: what comes later refers to what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Who may send, and the hashes of their keys.
    Tenants,
    /// Customers.
    Customers,
    /// Products.
    Products,
    /// Orders.
    Orders,
    /// The items of orders.
    OrderItems,
    /// The prices that products had.
    PriceHistory,
    /// What moved stock.
    StockEvents,
    /// How much there is. Each level becomes an event that sets it.
    StockLevels,
}

/// A column that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The field that it becomes.
    pub(crate) field: &'static str,
    /// What the field takes.
    pub(crate) kind: Kind,
    /// Whether there can be no row without it.
    pub(crate) required: bool,
    /// What the column may be called besides.
    pub(crate) aliases: &'static [&'static str],
}

impl Column {
    /// What the column may be called, the first that is there counts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.field).chain(self.aliases.iter().copied())
    }
}

/// A column of tables that are no dataset's.
const fn column(field: &'static str, kind: Kind, required: bool, aliases: &'static [&'static str]) -> Column {
    Column { field, kind, required, aliases }
}

impl Table {
    /// All, in the order of dependency.
    pub const ALL: [Self; 8] = [
        Self::Tenants,
        Self::Customers,
        Self::Products,
        Self::Orders,
        Self::OrderItems,
        Self::PriceHistory,
        Self::StockEvents,
        Self::StockLevels,
    ];

    /// Those that belong to tenants.
    pub const OF_TENANTS: [Self; 7] = [
        Self::Customers,
        Self::Products,
        Self::Orders,
        Self::OrderItems,
        Self::PriceHistory,
        Self::StockEvents,
        Self::StockLevels,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Customers => "customers",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::OrderItems => "order_items",
            Self::PriceHistory => "price_history",
            Self::StockEvents => "stock_events",
            Self::StockLevels => "stock_levels",
        }
    }

    /// The dataset that its rows are sent as; the table of tenants has none.
    #[must_use]
    pub const fn dataset(self) -> &'static str {
        match self {
            Self::StockLevels => "stock_events",
            table => table.name(),
        }
    }

    /// The columns that are read, the id first.
    pub(crate) fn columns(self) -> Vec<Column> {
        match self {
            Self::Tenants => vec![
                column("tenant_id", Kind::Uuid, true, &["id"]),
                column("name", Kind::Text(255), true, &[]),
                column("api_key_hash", Kind::Text(64), true, &["key_hash"]),
            ],
            Self::StockLevels => vec![
                column("product_id", Kind::Uuid, true, &[]),
                column(
                    "level",
                    Kind::Integer(0, i32::MAX),
                    true,
                    &["quantity", "current_level", "stock_level", "available"],
                ),
                column("updated_at", Kind::Timestamp, false, &["last_updated", "last_event_time"]),
            ],
            table => {
                let known = dataset::by_name(table.name());
                let of_intake: &[&str] = &["set", "expected"];
                let fields = known
                    .into_iter()
                    .flat_map(|known| known.fields.iter().enumerate().map(move |field| (known, field)));
                let mut columns: Vec<Column> = fields
                    .filter(|(_, (_, field))| table != Self::StockEvents || !of_intake.contains(&field.name))
                    .map(|(known, (at, field))| Column {
                        field: field.name,
                        kind: field.kind,
                        // the predecessor has no event without an id, and none that does nothing
                        required: at == known.id || field.missing == Missing::Refused || field.name == "delta",
                        aliases: match field.name {
                            _ if at == known.id && field.name != "id" => &["id"],
                            "active" => &["is_active"],
                            "order_status" => &["status"],
                            _ => &[],
                        },
                    })
                    .collect();
                if known.is_some_and(|known| known.created_at) {
                    columns.push(column("created_at", Kind::Timestamp, false, &[]));
                }
                columns
            }
        }
    }

    /// The table that tells whose a row is, where its own does not, and the column by which it names that table's row.
    pub(crate) const fn parent(self) -> Option<(Self, &'static str)> {
        match self {
            Self::OrderItems => Some((Self::Orders, "order_id")),
            Self::PriceHistory | Self::StockEvents | Self::StockLevels => Some((Self::Products, "product_id")),
            _ => None,
        }
    }

    /// The fields by which its rows are put into an order: where a later row of a tenant may lose or win against an earlier
    /// one, each import shall decide alike.
    pub(crate) const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Tenants => &["tenant_id"],
            Self::Customers => &["customer_id"],
            Self::Products => &["product_id"],
            Self::Orders => &["order_id"],
            // `event_time` is null for some: then the row is as old as its `created_at`
            Self::StockEvents => &["event_time", "stock_event_id"],
            Self::OrderItems | Self::PriceHistory | Self::StockLevels => &[],
        }
    }

    /// Whether numbers take the place of ids that the predecessor itself gave and nobody else knows.
    pub(crate) const fn may_have_numbers_for_ids(self) -> bool {
        matches!(self, Self::PriceHistory | Self::StockEvents)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|table| table.name() == text)
            .ok_or_else(|| format!("{text} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_first_and_what_intake_adds_is_not_asked_for() {
        for table in Table::ALL {
            let columns = table.columns();
            assert!(columns[0].required && matches!(columns[0].kind, Kind::Uuid), "{table}");
        }
        let fields: Vec<_> = Table::StockEvents.columns().iter().map(|column| column.field).collect();
        assert_eq!(
            fields,
            ["stock_event_id", "product_id", "delta", "resulting_level", "event_time", "source", "meta", "created_at"]
        );
        let required: Vec<_> =
            Table::Orders.columns().iter().filter(|column| column.required).map(|column| column.field).collect();
        assert_eq!(required, ["order_id", "external_order_id", "total_amount", "order_date"]);
        assert_eq!(Table::Products.columns()[0].names().collect::<Vec<_>>(), ["product_id", "id"]);
    }

    #[test]
    fn names_are_read_back() {
        for table in Table::ALL {
            assert_eq!(table.name().parse(), Ok(table));
        }
        assert!("refunds".parse::<Table>().unwrap_err().contains("customers, products"));
    }
}
