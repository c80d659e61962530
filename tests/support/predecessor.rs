//! The predecessor's database with some hundred rows, in each kind of database that it ran on, and what must become of them.

use super::MariaDb;
use anyhow::{Context, Result};
use intake_domain::api_key;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio_postgres::Client;
use uuid::Uuid;

/// A value, before any database has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Uuid(Uuid),
    Text(String),
    Decimal(&'static str),
    Amount(i64),
    Integer(i64),
    Bool(bool),
    /// Microseconds since 1970.
    Time(i64),
    Json(Value),
}

/// What a column takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    Uuid,
    /// As MySQL has it where it has to be small: sixteen bytes.
    Bytes,
    Text,
    Decimal,
    Integer,
    Bool,
    Time,
    Json,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Whose it is; none for a row that has lost its parent.
    pub(crate) tenant: Option<Uuid>,
    pub(crate) cells: Vec<Cell>,
    /// The code for which Intake refuses it.
    pub(crate) refused: Option<&'static str>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<(&'static str, Type)>,
    pub(crate) rows: Vec<Row>,
}

/// A tenant with the key that its scripts have.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) key: String,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) tables: Vec<Table>,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Engine {
    Sqlite,
    Postgres,
    MySql,
}

/// The night in which Europe's clocks go forward, in UTC.
const BEGIN: i64 = 1_774_743_300_123_456;

const HOUR: i64 = 3_600_000_000;

impl Predecessor {
    /// Two tenants of new ids: one with the key that the predecessor derived, one with another.
    pub(crate) fn new() -> Self {
        let tenant = |name: &str, key: fn(Uuid) -> String| {
            let id = Uuid::new_v4();
            Tenant { id, name: name.to_owned(), key: key(id) }
        };
        let tenants = vec![
            tenant("Oak, Elm & Co.", |id| format!("api_key_{id}")),
            tenant("Zoë's \"Straße\"", |id| format!("chosen by hand {}", id.simple())),
        ];
        let mut this = Self { tenants: tenants.clone(), tables: Vec::new() };
        use Type::{Bool, Decimal, Integer, Json, Text, Time};
        for (name, columns) in [
            (
                "customers",
                vec![
                    ("customer_id", Type::Uuid),
                    ("name", Text),
                    ("email", Text),
                    ("metadata", Json),
                    ("created_at", Time),
                ],
            ),
            (
                "products",
                vec![
                    ("product_id", Type::Uuid),
                    ("sku", Text),
                    ("name", Text),
                    ("price", Decimal),
                    ("category_id", Type::Uuid),
                    ("active", Bool),
                    ("created_at", Time),
                ],
            ),
            (
                "orders",
                vec![
                    ("order_id", Type::Uuid),
                    ("external_order_id", Text),
                    ("customer_id", Type::Uuid),
                    ("customer_name_snapshot", Text),
                    ("customer_email_snapshot", Text),
                    ("total_amount", Decimal),
                    ("currency", Text),
                    ("order_status", Text),
                    ("order_date", Time),
                    ("raw_payload", Json),
                    ("created_at", Time),
                ],
            ),
            (
                "order_items",
                vec![
                    ("order_item_id", Type::Uuid),
                    ("order_id", Type::Uuid),
                    ("product_id", Type::Uuid),
                    ("quantity", Integer),
                    ("unit_price", Decimal),
                    ("line_total", Decimal),
                ],
            ),
            (
                "price_history",
                vec![
                    ("id", Type::Bytes),
                    ("product_id", Type::Uuid),
                    ("price", Decimal),
                    ("effective_from", Time),
                    ("effective_to", Time),
                ],
            ),
            (
                "stock_events",
                vec![
                    ("stock_event_id", Type::Uuid),
                    ("product_id", Type::Uuid),
                    ("delta", Integer),
                    ("resulting_level", Integer),
                    ("event_time", Time),
                    ("source", Text),
                    ("meta", Json),
                    ("created_at", Time),
                ],
            ),
            ("stock_levels", vec![("product_id", Type::Uuid), ("level", Integer), ("updated_at", Time)]),
        ] {
            this.tables.push(Table { name, columns, rows: Vec::new() });
        }
        tenants.iter().for_each(|tenant| this.fill(tenant.id));
        // its order is gone, and with it all trace of whose it was
        let cells = [Cell::Uuid(Uuid::new_v4()), Cell::Uuid(Uuid::new_v4()), Cell::Uuid(Uuid::new_v4())];
        let cells = cells.into_iter().chain([Cell::Integer(1), Cell::Decimal("1.00"), Cell::Decimal("1.00")]).collect();
        this.table_mut("order_items").rows.push(Row { tenant: None, cells, refused: None });
        this
    }

    fn table_mut(&mut self, name: &str) -> &mut Table {
        let at = self.tables.iter().position(|table| table.name == name).unwrap_or_default();
        &mut self.tables[at]
    }

    pub(crate) fn table(&self, name: &str) -> &Table {
        &self.tables[self.tables.iter().position(|table| table.name == name).unwrap_or_default()]
    }

    fn push(&mut self, table: &str, tenant: Uuid, refused: Option<&'static str>, cells: Vec<Cell>) {
        self.table_mut(table).rows.push(Row { tenant: Some(tenant), cells, refused });
    }

    fn fill(&mut self, tenant: Uuid) {
        let text = |text: String| Cell::Text(text);
        // ids in an order that is known, so that it is known which of two is refused for the other
        let id = |kind: u128, number: u128| Uuid::from_u128((tenant.as_u128() & !0xffff_ffff) | (kind << 16) | number);
        let at = |hours: i64| Cell::Time(BEGIN + hours * HOUR);

        for number in 0..40 {
            let name = match number {
                0 => "Ada \"the\" O'Hara\\\n🛒 Zoë".to_owned(),
                _ => format!("Customer {number}"),
            };
            let metadata =
                if number % 3 == 0 { json!({"tier": "gold", "ü": [1, 2.5, null], "n": number}) } else { Value::Null };
            let metadata = if metadata.is_null() { Cell::Null } else { Cell::Json(metadata) };
            let email = if number == 39 { 1 } else { number };
            let refused = (number == 39).then_some("NATURAL_KEY_TAKEN");
            let cells = vec![
                Cell::Uuid(id(1, number)),
                text(name),
                text(format!("c{email}@shop.example")),
                metadata,
                at(number as i64),
            ];
            self.push("customers", tenant, refused, cells);
        }
        for number in 0..30 {
            let price = match number {
                0 => Cell::Decimal("9999999999.99"),
                1 => Cell::Decimal("0.00"),
                2 => Cell::Decimal("10.005"),
                3 => Cell::Decimal("-1.00"),
                _ => Cell::Amount(1_000 + number as i64 * 7),
            };
            let category = if number % 2 == 0 { Cell::Uuid(id(9, number / 4)) } else { Cell::Null };
            let cells = vec![
                Cell::Uuid(id(2, number)),
                text(format!("SKU-{number}")),
                text(format!("Kettle {number}")),
                price,
                category,
                Cell::Bool(number % 5 != 0),
                at(0),
            ];
            self.push("products", tenant, (number == 3).then_some("OUT_OF_RANGE"), cells);
        }
        for number in 0..120 {
            let currency = match number {
                7 => text("EURO".to_owned()),
                8 => Cell::Null,
                _ => text(["USD", "EUR", "GBP", "CAD"][number as usize % 4].to_owned()),
            };
            let status =
                if number == 9 { "lost" } else { ["pending", "shipped", "delivered", "refunded"][number as usize % 4] };
            let refused = match number {
                7 => Some("INVALID_CURRENCY"),
                9 => Some("INVALID_CHOICE"),
                _ => None,
            };
            let customer = match number {
                5 => Cell::Uuid(Uuid::from_u128(0xdead)),
                6 => Cell::Null,
                _ => Cell::Uuid(id(1, number % 39)),
            };
            let payload = match number % 4 {
                0 => Cell::Null,
                _ => {
                    Cell::Json(json!({"source": "web", "campaign": null, "discount_code": format!("a'b\\{number}\nç")}))
                }
            };
            let snapshot = if number % 7 == 0 { Cell::Null } else { text(format!("Ada {number} Ø")) };
            let cells = vec![
                Cell::Uuid(id(3, number)),
                text(format!("ORD-{number:04}")),
                customer,
                snapshot,
                text(format!("c{number}@shop.example")),
                if number == 10 { Cell::Decimal("0") } else { Cell::Amount(number as i64 * 1_003) },
                currency,
                text(status.to_owned()),
                Cell::Time(BEGIN + number as i64 * 13 * HOUR + number as i64 % 2 * 1_000_000),
                payload,
                Cell::Time(BEGIN / 1_000_000 * 1_000_000 + number as i64 * HOUR),
            ];
            self.push("orders", tenant, refused, cells);
        }
        for number in 0..300 {
            let product = if number == 11 { Uuid::from_u128(0xbeef) } else { id(2, 4 + number % 26) };
            let (quantity, price) = (1 + number as i64 % 5, 199 + number as i64);
            let total = if number % 10 == 0 { Cell::Null } else { Cell::Amount(quantity * price) };
            let cells = vec![
                Cell::Uuid(id(4, number)),
                Cell::Uuid(id(3, number % 120)),
                Cell::Uuid(product),
                Cell::Integer(quantity),
                Cell::Amount(price),
                total,
            ];
            self.push("order_items", tenant, None, cells);
        }
        for number in 0..60 {
            let end = if number % 2 == 0 { at(500 + number as i64) } else { Cell::Null };
            let cells = vec![
                Cell::Uuid(id(5, number)),
                Cell::Uuid(id(2, number / 2)),
                Cell::Amount(500 + number as i64),
                at(-(number as i64)),
                end,
            ];
            self.push("price_history", tenant, None, cells);
        }
        for number in 0..90 {
            // the first of each product takes away what is not there
            let delta = if number < 30 { -2 } else { 5 + number as i64 % 4 };
            let time = if number % 9 == 0 { Cell::Null } else { at(number as i64) };
            let source = if number % 4 == 0 { Cell::Null } else { text("receipt".to_owned()) };
            let meta = if number % 5 == 0 { Cell::Json(json!({"note": "é"})) } else { Cell::Null };
            let cells = vec![
                Cell::Uuid(id(6, number)),
                Cell::Uuid(id(2, number % 30)),
                Cell::Integer(delta),
                Cell::Null,
                time,
                source,
                meta,
                at(number as i64),
            ];
            self.push("stock_events", tenant, None, cells);
        }
        for number in 0..30 {
            // the predecessor let levels fall below zero
            let level = if number == 12 { -3 } else { 8 + number as i64 * 2 };
            let refused = (number == 12).then_some("OUT_OF_RANGE");
            self.push("stock_levels", tenant, refused, vec![Cell::Uuid(id(2, number)), Cell::Integer(level), at(200)]);
        }
    }

    /// Writes a file of SQLite.
    pub(crate) fn write_sqlite(&self, path: &PathBuf) -> Result<()> {
        let connection = rusqlite::Connection::open(path)?;
        for statement in self.statements(Engine::Sqlite) {
            connection.execute_batch(&statement).with_context(|| statement.clone())?;
        }
        Ok(())
    }

    /// Fills a database of MariaDB.
    pub(crate) async fn write_mariadb(&self, server: &MariaDb) -> Result<()> {
        server.run(&self.statements(Engine::MySql)).await
    }

    /// Fills a database of PostgreSQL.
    pub(crate) async fn write_postgres(&self, client: &Client) -> Result<()> {
        for statement in self.statements(Engine::Postgres) {
            client.batch_execute(&statement).await.with_context(|| statement.clone())?;
        }
        Ok(())
    }

    fn statements(&self, engine: Engine) -> Vec<String> {
        let mut statements = vec![format!(
            "create table tenants (tenant_id {} primary key, name {} not null, api_key_hash char(64), created_at {})",
            engine.column(Type::Uuid),
            engine.column(Type::Text),
            engine.column(Type::Time)
        )];
        for tenant in &self.tenants {
            let hash = Cell::Text(hex::encode(api_key::hash(&tenant.key)));
            let cells = [Cell::Uuid(tenant.id), Cell::Text(tenant.name.clone()), hash, Cell::Time(BEGIN)];
            let types = [Type::Uuid, Type::Text, Type::Text, Type::Time];
            statements.push(format!("insert into tenants values ({})", engine.values(&cells, &types)));
        }
        for table in &self.tables {
            // whose an item is says its order
            let is_owned = table.name != "order_items";
            let tenant = is_owned.then_some(("tenant_id", Type::Uuid));
            let columns: Vec<_> = tenant.into_iter().chain(table.columns.iter().copied()).collect();
            let described: Vec<_> =
                columns.iter().map(|(name, of)| format!("{} {}", engine.name(name), engine.column(*of))).collect();
            statements.push(format!("create table {} ({})", table.name, described.join(", ")));
            let types: Vec<_> = columns.iter().map(|(_, of)| *of).collect();
            for row in &table.rows {
                let tenant = is_owned.then(|| row.tenant.map_or(Cell::Null, Cell::Uuid));
                let cells: Vec<_> = tenant.into_iter().chain(row.cells.iter().cloned()).collect();
                statements.push(format!("insert into {} values ({})", table.name, engine.values(&cells, &types)));
            }
        }
        statements
    }

    /// What Intake must have of a table of a tenant's: the texts of the fields by the ids of the rows.
    pub(crate) fn expected(&self, table: &str, tenant: Uuid) -> BTreeMap<Uuid, BTreeMap<&'static str, Option<String>>> {
        let table = self.table(table);
        let rows = table.rows.iter().filter(|row| row.tenant == Some(tenant) && row.refused.is_none());
        let row = |row: &Row| {
            let Cell::Uuid(id) = row.cells[0] else { return None };
            let mut fields: BTreeMap<_, _> =
                table.columns.iter().zip(&row.cells).map(|((name, _), cell)| (*name, shown(cell))).collect();
            if table.name == "orders" {
                fields.entry("currency").and_modify(|currency| {
                    currency.get_or_insert("USD".to_owned());
                });
            }
            if let (Some(None), Cell::Integer(quantity), Cell::Amount(price)) = (
                fields.get("line_total"),
                &row.cells.get(3).cloned().unwrap_or(Cell::Null),
                row.cells.get(4).unwrap_or(&Cell::Null),
            ) {
                fields.insert("line_total", Some(amount(quantity * price)));
            }
            Some((id, fields))
        };
        rows.filter_map(row).collect()
    }
}

/// As PostgreSQL shows it; times in microseconds.
fn shown(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Uuid(id) => id.to_string(),
        Cell::Text(text) => text.clone(),
        // to two decimals, half away from zero
        Cell::Decimal("10.005") => "10.01".to_owned(),
        Cell::Decimal("0") => "0.00".to_owned(),
        Cell::Decimal(text) => (*text).to_owned(),
        Cell::Amount(cents) => amount(*cents),
        Cell::Integer(number) => number.to_string(),
        Cell::Bool(truth) => truth.to_string(),
        Cell::Time(micros) => micros.to_string(),
        Cell::Json(json) => json.to_string(),
    })
}

fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl Engine {
    fn name(self, name: &str) -> String {
        if self == Self::MySql { format!("`{name}`") } else { name.to_owned() }
    }

    /// The type of a column, as Django makes it, or others that it may have got since.
    fn column(self, of: Type) -> &'static str {
        match (self, of) {
            (Self::Sqlite, Type::Uuid | Type::Bytes) => "char(32)",
            (Self::Sqlite, Type::Text) => "varchar(255)",
            (Self::Sqlite, Type::Decimal) => "decimal",
            (Self::Sqlite, Type::Integer) => "integer",
            (Self::Sqlite, Type::Bool) => "bool",
            (Self::Sqlite, Type::Time) => "datetime",
            (Self::Sqlite, Type::Json) => "text",
            (Self::Postgres, Type::Uuid | Type::Bytes) => "uuid",
            (Self::Postgres, Type::Text) => "varchar(255)",
            (Self::Postgres, Type::Decimal) => "numeric(16, 4)",
            (Self::Postgres, Type::Integer) => "integer",
            (Self::Postgres, Type::Bool) => "boolean",
            (Self::Postgres, Type::Time) => "timestamptz",
            (Self::Postgres, Type::Json) => "jsonb",
            (Self::MySql, Type::Uuid) => "char(32)",
            (Self::MySql, Type::Bytes) => "binary(16)",
            (Self::MySql, Type::Text) => "varchar(255)",
            (Self::MySql, Type::Decimal) => "decimal(16, 4)",
            (Self::MySql, Type::Integer) => "int",
            (Self::MySql, Type::Bool) => "bool",
            (Self::MySql, Type::Time) => "datetime(6)",
            (Self::MySql, Type::Json) => "json",
        }
    }

    fn values(self, cells: &[Cell], types: &[Type]) -> String {
        cells.iter().zip(types).map(|(cell, of)| self.value(cell, *of)).collect::<Vec<_>>().join(", ")
    }

    fn value(self, cell: &Cell, of: Type) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match cell {
            Cell::Null => "null".to_owned(),
            Cell::Uuid(id) if self == Self::MySql && of == Type::Bytes => format!("x'{}'", id.simple()),
            Cell::Uuid(id) if self == Self::Postgres => quoted(&id.to_string()),
            Cell::Uuid(id) => quoted(&id.simple().to_string()),
            Cell::Text(text) => quoted(text),
            Cell::Decimal(text) => (*text).to_owned(),
            Cell::Amount(cents) => amount(*cents),
            Cell::Integer(number) => number.to_string(),
            Cell::Bool(truth) if self == Self::Postgres => truth.to_string(),
            Cell::Bool(truth) => u8::from(*truth).to_string(),
            Cell::Json(json) => quoted(&json.to_string()),
            Cell::Time(micros) => {
                let time = jiff::Timestamp::from_microsecond(*micros).unwrap_or_default();
                let civil = jiff::tz::Offset::UTC.to_datetime(time);
                // as Django has it: a fraction only where there is one
                let format = if micros % 1_000_000 == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S.%6f" };
                let zone = if self == Self::Postgres { "+00" } else { "" };
                quoted(&format!("{}{zone}", civil.strftime(format)))
            }
        }
    }
}

/// The id in a cell.
pub(crate) fn cell_uuid(cell: &Cell) -> Option<Uuid> {
    if let Cell::Uuid(id) = cell { Some(*id) } else { None }
}

/// The whole number in a cell.
pub(crate) fn cell_integer(cell: &Cell) -> Option<i64> {
    if let Cell::Integer(number) = cell { Some(*number) } else { None }
}
