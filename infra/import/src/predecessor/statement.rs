//! The statements that a source is asked, in its own dialect. Names are quoted, and the only values are ids that were read
//! from the source itself.

use std::fmt::Write;

use intake_domain::value::Kind;
use uuid::Uuid;

use crate::predecessor::Table;
use crate::predecessor::cell::Cell;
use crate::predecessor::plan::{Owner, Plan, TablePlan};

/// How a database writes what not all write alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    MySql,
    Postgres,
    Mssql,
}

impl Dialect {
    /// A name, or several with dots between them, each as it is.
    pub(crate) fn name(self, name: &str) -> String {
        let quoted = |part: &str| match self {
            Self::MySql => format!("`{}`", part.replace('`', "``")),
            Self::Mssql => format!("[{}]", part.replace(']', "]]")),
            Self::Sqlite | Self::Postgres => format!("\"{}\"", part.replace('"', "\"\"")),
        };
        name.split('.').map(quoted).collect::<Vec<_>>().join(".")
    }

    /// A text.
    fn text(self, text: &str) -> String {
        // in MySQL a backslash begins an escape; names of tables are the only texts, and have none
        let text = if self == Self::MySql { text.replace('\\', "") } else { text.to_owned() };
        format!("'{}'", text.replace('\'', "''"))
    }

    /// An id as it stands in a cell, if it is one.
    pub(crate) fn id(self, cell: Cell<'_>) -> Option<String> {
        cell.uuid()?;
        match cell {
            // what is a UUID has no character that would have to be quoted
            Cell::Text(bytes) => Some(format!("'{}'", String::from_utf8_lossy(bytes))),
            Cell::Blob(bytes) => {
                let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
                    let _ = write!(digits, "{byte:02x}");
                    digits
                });
                Some(match self {
                    Self::Postgres => format!("'\\x{digits}'"),
                    Self::Mssql => format!("0x{digits}"),
                    Self::Sqlite | Self::MySql => format!("x'{digits}'"),
                })
            }
            _ => None,
        }
    }

    /// Asks for the columns of a table, a row each; none where there is no such table.
    pub(crate) fn columns(self, table: &str) -> String {
        let (schema, name) = match table.rsplit_once('.') {
            Some((schema, name)) => (Some(self.text(schema)), self.text(name)),
            None => (None, self.text(table)),
        };
        match self {
            Self::Sqlite => match schema {
                Some(schema) => format!("select name from pragma_table_info({name}, {schema})"),
                None => format!("select name from pragma_table_info({name})"),
            },
            Self::MySql => format!(
                "select column_name from information_schema.columns where table_schema = {} and table_name = {name} \
                 order by ordinal_position",
                schema.unwrap_or("database()".to_owned())
            ),
            Self::Postgres => format!(
                "select attname::text from pg_attribute where attrelid = to_regclass({}) and attnum > 0 \
                 and not attisdropped order by attnum",
                self.text(&self.name(table))
            ),
            Self::Mssql => format!(
                "select name from sys.columns where object_id = object_id(N{}) order by column_id",
                self.text(&self.name(table))
            ),
        }
    }

    /// An amount in hundredths, rounded half away from zero; `None` where the database cannot do that exactly.
    fn hundredths(self, amount: &str) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::MySql => Some(format!("round(cast({amount} as decimal(50, 12)) * 100)")),
            Self::Postgres => Some(format!("round(cast({amount} as numeric) * 100)")),
            Self::Mssql => Some(format!("cast(round(cast({amount} as decimal(30, 10)) * 100, 0) as decimal(38, 0))")),
        }
    }

    /// A whole number, wide enough to be summed up.
    fn whole(self, number: &str) -> String {
        match self {
            Self::Sqlite => number.to_owned(),
            Self::MySql => format!("cast({number} as decimal(30, 0))"),
            Self::Postgres => format!("cast({number} as numeric)"),
            Self::Mssql => format!("cast({number} as bigint)"),
        }
    }

    /// A time as it is selected: where the driver would have to know of its type and zone, the server writes it out.
    fn time(self, column: String) -> String {
        match self {
            Self::Mssql => {
                format!("convert(varchar(34), switchoffset(cast({column} as datetimeoffset(6)), '+00:00'), 127)")
            }
            _ => column,
        }
    }

    /// The number of rows, in as many bits as it takes.
    fn count(self) -> &'static str {
        if self == Self::Mssql { "count_big(*)" } else { "count(*)" }
    }
}

/// A statement that sums rows up by their tenant.
pub(crate) struct TotalsStatement {
    pub(crate) sql: String,
    /// What the columns after tenant and number of rows are; in the first of orders stands the currency.
    pub(crate) measures: Vec<Measure>,
}

/// What is summed up by the source itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// As in [`Figures`](crate::predecessor::Figures).
    pub(crate) name: &'static str,
    /// Whether the sum is in hundredths; in whole units otherwise.
    pub(crate) in_hundredths: bool,
}

/// The tenants, in the order of their ids.
pub(crate) fn tenants(dialect: Dialect, plan: &TablePlan) -> String {
    let columns: Vec<_> = plan.columns.iter().map(|(_, name)| dialect.name(name)).collect();
    format!("select {} from {} order by {}", columns.join(", "), dialect.name(&plan.name), columns[0])
}

/// The rows of a tenant.
pub(crate) fn rows(dialect: Dialect, plan: &Plan, table: Table, tenant: &str) -> Option<String> {
    let table_plan = plan.tables.get(&table)?;
    let column = |name: &str| format!("t.{}", dialect.name(name));
    let columns: Vec<_> = table_plan
        .columns
        .iter()
        .map(|(of, name)| if matches!(of.kind, Kind::Timestamp) { dialect.time(column(name)) } else { column(name) })
        .collect();
    let (from, owner) = from(dialect, table_plan);
    let mut sql = format!("select {} from {from} where {owner} = {tenant}", columns.join(", "));
    let order = table.order().iter().filter_map(|field| {
        let own = table_plan.column(field).map(column);
        // an event without a time is as old as its row
        let created = table_plan.column("created_at").map(column);
        match (*field, own, created) {
            ("event_time", Some(own), Some(created)) => Some(format!("coalesce({own}, {created})")),
            ("event_time", None, created) => created,
            (_, own, _) => own,
        }
    });
    let order: Vec<_> = order.collect();
    if !order.is_empty() {
        let _ = write!(sql, " order by {}", order.join(", "));
    }
    Some(sql)
}

/// How many rows there are of each tenant, and what they come to.
pub(crate) fn totals(dialect: Dialect, plan: &Plan, table: Table) -> Option<TotalsStatement> {
    let table_plan = plan.tables.get(&table)?;
    let column = |field: &str| table_plan.column(field).map(|name| format!("t.{}", dialect.name(name)));
    let (from, owner) = from(dialect, table_plan);
    let (mut keys, mut sums, mut measures) = (vec![owner], Vec::new(), Vec::new());
    let mut amount = |name: &'static str, expression: Option<String>| {
        if let Some(expression) = expression.and_then(|expression| dialect.hundredths(&expression)) {
            sums.push(format!("sum({expression})"));
            measures.push(Measure { name, in_hundredths: true });
        }
    };
    match table {
        Table::Products | Table::PriceHistory => amount("price", column("price")),
        Table::Orders => amount("total_amount", column("total_amount")),
        Table::OrderItems => {
            let product =
                column("quantity").zip(column("unit_price")).map(|(quantity, price)| format!("{quantity} * {price}"));
            let total = match (column("line_total"), product) {
                (Some(total), Some(product)) => Some(format!("coalesce({total}, {product})")),
                (total, product) => total.or(product),
            };
            amount("line_total", total);
        }
        _ => {}
    }
    let mut whole = |name: &'static str, expression: Option<String>| {
        if let Some(expression) = expression {
            sums.push(format!("sum({})", dialect.whole(&expression)));
            measures.push(Measure { name, in_hundredths: false });
        }
    };
    match table {
        Table::OrderItems => whole("quantity", column("quantity")),
        Table::StockEvents => whole("delta", column("delta")),
        Table::StockLevels => whole("level", column("level")),
        _ => {}
    }
    if table == Table::Orders {
        keys.push(column("currency").map_or("'USD'".to_owned(), |currency| format!("coalesce({currency}, 'USD')")));
    }
    let selected = keys.iter().cloned().chain([dialect.count().to_owned()]).chain(sums).collect::<Vec<_>>().join(", ");
    // a constant is no key
    let keys: Vec<_> = keys.into_iter().filter(|key| !key.starts_with('\'')).collect();
    Some(TotalsStatement { sql: format!("select {selected} from {from} group by {}", keys.join(", ")), measures })
}

/// Where rows come from, and the expression that says whose one is.
fn from(dialect: Dialect, plan: &TablePlan) -> (String, String) {
    let own = dialect.name(&plan.name);
    match &plan.tenant {
        Owner::Column(column) => (format!("{own} t"), format!("t.{}", dialect.name(column))),
        Owner::Parent { name, key, id, column } => {
            let [name, key, id, column] = [name, key, id, column].map(|name| dialect.name(name));
            // of a row without its parent nobody knows whose it is, and it shall be counted
            (format!("{own} t left join {name} p on p.{id} = t.{key}"), format!("p.{column}"))
        }
    }
}

/// The id that takes the place of one that is a number: the same for the same row in every import.
pub(crate) fn id_of_number(tenant: Uuid, table: Table, number: i64) -> Uuid {
    derived(&[tenant.as_bytes(), table.name().as_bytes(), &number.to_be_bytes()])
}

/// The id of the event that sets a level: another one once the level has changed.
pub(crate) fn id_of_level(tenant: Uuid, product: &str, level: &str, updated_at: &str) -> Uuid {
    let table = Table::StockLevels.name();
    derived(&[
        tenant.as_bytes(),
        table.as_bytes(),
        product.as_bytes(),
        b"|",
        level.as_bytes(),
        b"|",
        updated_at.as_bytes(),
    ])
}

/// A UUID of version 8, of SHA-256.
fn derived(parts: &[&[u8]]) -> Uuid {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    digest.update(b"intake import\0");
    parts.iter().for_each(|part| digest.update(part));
    let digest: [u8; 32] = digest.finalize().into();
    let (half, _) = digest.split_at(16);
    uuid::Builder::from_custom_bytes(half.try_into().unwrap_or_default()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predecessor::Names;
    use crate::predecessor::plan::tests::plan;

    #[test]
    fn names_are_quoted_as_each_database_wants_it() {
        assert_eq!(Dialect::Postgres.name("old.or\"ders"), "\"old\".\"or\"\"ders\"");
        assert_eq!(Dialect::MySql.name("or`ders"), "`or``ders`");
        assert_eq!(Dialect::Mssql.name("dbo.or]ders"), "[dbo].[or]]ders]");
        assert_eq!(Dialect::Sqlite.columns("it's"), "select name from pragma_table_info('it''s')");
    }

    #[test]
    fn an_id_is_asked_for_as_it_stands_and_nothing_else_is() {
        let id = Uuid::from_u128(0x2a);
        let text = id.simple().to_string();
        assert_eq!(Dialect::MySql.id(Cell::Text(text.as_bytes())), Some(format!("'{text}'")));
        assert_eq!(Dialect::MySql.id(Cell::Blob(id.as_bytes())), Some(format!("x'{text}'")));
        assert_eq!(Dialect::Postgres.id(Cell::Blob(id.as_bytes())), Some(format!("'\\x{text}'")));
        for cell in [Cell::Text(b"' or 1=1 --"), Cell::Integer(7), Cell::Null, Cell::Blob(b"")] {
            assert_eq!(Dialect::MySql.id(cell), None);
        }
    }

    #[test]
    fn rows_are_asked_for_by_their_tenant_and_events_in_their_order() {
        let plan = plan(&Names::default(), |_| {}).unwrap();
        let sql = rows(Dialect::Postgres, &plan, Table::StockLevels, "'x'").unwrap();
        assert_eq!(
            sql,
            "select t.\"product_id\", t.\"level\", t.\"updated_at\" from \"stock_levels\" t where t.\"tenant_id\" = 'x'"
        );
        let sql = rows(Dialect::MySql, &plan, Table::StockEvents, "'x'").unwrap();
        assert!(sql.ends_with(" order by coalesce(t.`event_time`, t.`created_at`), t.`stock_event_id`"), "{sql}");
    }

    #[test]
    fn the_source_sums_up_what_it_can_sum_up_exactly() {
        let plan = plan(&Names::default(), |_| {}).unwrap();
        let orders = totals(Dialect::Postgres, &plan, Table::Orders).unwrap();
        assert_eq!(
            orders.sql,
            "select t.\"tenant_id\", coalesce(t.\"currency\", 'USD'), count(*), \
             sum(round(cast(t.\"total_amount\" as numeric) * 100)) \
             from \"orders\" t group by t.\"tenant_id\", coalesce(t.\"currency\", 'USD')"
        );
        let items = totals(Dialect::Sqlite, &plan, Table::OrderItems).unwrap();
        assert_eq!(
            items.sql,
            "select t.\"tenant_id\", count(*), sum(t.\"quantity\") from \"order_items\" t group by t.\"tenant_id\""
        );
        assert_eq!(items.measures, [Measure { name: "quantity", in_hundredths: false }]);
    }

    #[test]
    fn an_id_that_is_made_is_the_same_every_time() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = id_of_number(a, Table::StockEvents, 7);
        assert_eq!((id, id.get_version_num()), (id_of_number(a, Table::StockEvents, 7), 8));
        assert_ne!(id, id_of_number(b, Table::StockEvents, 7));
        assert_ne!(id, id_of_number(a, Table::PriceHistory, 7));
        assert_ne!(id_of_level(a, "p", "1", "t"), id_of_level(a, "p", "2", "t"));
    }
}
