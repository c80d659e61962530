//! A source that is open: one connection, and one snapshot for as long as it lasts.
//!
//! Each database has a file here that implements [`Reader`]: how it is opened, and how the rows of a statement come, one by one,
//! so that no more than some of them are in memory. To add a database: a file, a variant of [`Driver`], a dialect, a scheme.

mod mssql;
mod mysql;
mod postgres;
mod sqlite;
mod tls;

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use crate::predecessor::cell::Cell;
use crate::predecessor::error::Broken;
use crate::predecessor::figures::Sum;
use crate::predecessor::location::Engine;
use crate::predecessor::statement::{self, Dialect};
use crate::predecessor::{Error, Figures, Location, Names, Plan, Table, Tls};

/// Takes the cells of one row.
pub(crate) type Sink<'a> = dyn FnMut(&[Cell<'_>]) -> io::Result<()> + Send + 'a;

/// What every database can do.
pub(crate) trait Reader {
    /// Runs a statement and hands over its rows, one by one, as fast as they are taken.
    fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> impl Future<Output = Result<(), Broken>> + Send;
}

/// The databases.
enum Driver {
    Sqlite(sqlite::Sqlite),
    MySql(mysql::MySql),
    Postgres(postgres::Postgres),
    Mssql(Box<mssql::Mssql>),
}

/// An open source.
pub struct Source {
    driver: Driver,
    location: String,
    dialect: Dialect,
    is_snapshot: bool,
}

/// A tenant of the predecessor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What stands in place of its key: SHA-256 in lower-case hexadecimal, if it is what it should be.
    pub key_hash: Option<String>,
    /// Its id as the source writes it in a statement.
    literal: String,
}

/// What the source itself says of the rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Whose they are; `None` for rows of which that is not known, or is no UUID.
    pub tenant: Option<Uuid>,
    /// How many they are, and what they come to, as far as the source can add exactly.
    pub figures: Figures,
}

impl Source {
    /// Opens a source and begins the one transaction in which all is read.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Denied`].
    pub async fn open(location: &Location, tls: Tls) -> Result<Self, Error> {
        let shown = location.to_string();
        let (driver, dialect, is_snapshot) = match location {
            Location::Sqlite(path) => (Driver::Sqlite(sqlite::Sqlite::open(path, &shown)?), Dialect::Sqlite, true),
            Location::Server(server) => match server.engine {
                Engine::MySql => (Driver::MySql(mysql::MySql::open(server, tls, &shown).await?), Dialect::MySql, true),
                Engine::Postgres => {
                    (Driver::Postgres(postgres::Postgres::open(server, tls, &shown).await?), Dialect::Postgres, true)
                }
                Engine::Mssql => {
                    let (mssql, is_snapshot) = mssql::Mssql::open(server, tls, &shown).await?;
                    (Driver::Mssql(Box::new(mssql)), Dialect::Mssql, is_snapshot)
                }
            },
        };
        Ok(Self { driver, location: shown, dialect, is_snapshot })
    }

    /// Whether everything that is read is of one moment. It is not where SQL Server does not allow snapshots, nor with tables of
    /// MySQL that know no transactions.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.is_snapshot
    }

    async fn select(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), Broken> {
        match &mut self.driver {
            Driver::Sqlite(driver) => driver.select(sql, sink).await,
            Driver::MySql(driver) => driver.select(sql, sink).await,
            Driver::Postgres(driver) => driver.select(sql, sink).await,
            Driver::Mssql(driver) => driver.select(sql, sink).await,
        }
    }

    /// Settles what is read, from the tables and columns that there are.
    ///
    /// # Errors
    /// [`Error::NoTable`], [`Error::NoColumn`]; [`Error::Read`].
    pub async fn plan(&mut self, names: &Names) -> Result<Plan, Error> {
        let mut found = BTreeMap::new();
        for table in Table::ALL {
            let name = names.of(table);
            let sql = self.dialect.columns(name);
            let mut columns = Vec::new();
            let mut take = |row: &[Cell<'_>]| {
                columns.extend(row.first().and_then(|cell| cell.text()).map(String::from));
                Ok(())
            };
            self.select(&sql, &mut take).await.map_err(|broken| broken.of(name))?;
            found.insert(table, (!columns.is_empty()).then_some(columns));
        }
        Plan::new(&self.location, names, &found)
    }

    /// All tenants, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Tenant`] where one has no UUID for an id, no name, or the id of another; [`Error::Read`].
    pub async fn tenants(&mut self, plan: &Plan) -> Result<Vec<Tenant>, Error> {
        let Some(table) = plan.tables.get(&Table::Tenants) else { return Ok(Vec::new()) };
        let dialect = self.dialect;
        let (mut tenants, mut wrong) = (Vec::<Tenant>::new(), None);
        let mut take = |row: &[Cell<'_>]| {
            let [id, name, hash] = row else { return Ok(()) };
            let shown = id.text().unwrap_or_default();
            let (Some(id), Some(literal)) = (id.uuid(), dialect.id(*id)) else {
                wrong.get_or_insert(format!("the id {shown:?} is no UUID"));
                return Ok(());
            };
            let name = name.text().map(|name| name.trim().to_owned()).unwrap_or_default();
            if !(1..=255).contains(&name.chars().count()) {
                wrong.get_or_insert(format!("the name of {id} has not 1 to 255 characters"));
            }
            if tenants.iter().any(|known| known.id == id) {
                wrong.get_or_insert(format!("{id} is there twice"));
            }
            let key_hash = hash.text().filter(|hash| is_hash(hash)).map(String::from);
            tenants.push(Tenant { id, name, key_hash, literal });
            Ok(())
        };
        let sql = statement::tenants(dialect, table);
        self.select(&sql, &mut take).await.map_err(|broken| broken.of(&table.name))?;
        match wrong {
            Some(why) => Err(Error::Tenant { name: table.name.clone(), why }),
            None => Ok(tenants),
        }
    }

    /// What the source says of a table, tenant by tenant.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn totals(&mut self, plan: &Plan, table: Table) -> Result<Vec<Total>, Error> {
        let Some(statement) = statement::totals(self.dialect, plan, table) else { return Ok(Vec::new()) };
        let mut totals = BTreeMap::<Option<Uuid>, Figures>::new();
        let mut take = |row: &[Cell<'_>]| {
            let mut cells = row.iter().copied();
            let mut next = || cells.next().unwrap_or(Cell::Null);
            let figures = totals.entry(next().uuid()).or_default();
            let currency = (table == Table::Orders).then(|| next().text().map(String::from).unwrap_or_default());
            let rows = next().text().and_then(|text| text.parse::<u64>().ok());
            figures.rows += rows.unwrap_or_default();
            for measure in &statement.measures {
                let sum = next().text().and_then(|text| text.parse::<Sum>().ok());
                let (Some(sum), name) = (sum, measure.name) else { continue };
                // hundredths come as whole numbers
                let sum = if measure.in_hundredths { Sum::of_hundredths(sum.hundredths() / 100) } else { sum };
                let name = currency.as_ref().map_or(name.to_owned(), |currency| format!("{name} {currency}"));
                let known = figures.sums.entry(name).or_default();
                *known = *known + sum;
            }
            Ok(())
        };
        let name = plan.tables.get(&table).map_or(table.name(), |table| table.name.as_str());
        self.select(&statement.sql, &mut take).await.map_err(|broken| broken.of(name))?;
        Ok(totals.into_iter().map(|(tenant, figures)| Total { tenant, figures }).collect())
    }

    /// Hands over the rows of a tenant's, each as a line of JSON without its end, one by one.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Write`] with what `take` answers.
    pub async fn lines(
        &mut self,
        plan: &Plan,
        table: Table,
        tenant: &Tenant,
        take: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> Result<(), Error> {
        let Some((table_plan, sql)) =
            plan.tables.get(&table).zip(statement::rows(self.dialect, plan, table, &tenant.literal))
        else {
            return Ok(());
        };
        let mut line = Vec::new();
        let mut write = |row: &[Cell<'_>]| {
            line.clear();
            match table {
                Table::StockLevels => write_level(tenant.id, row, &mut line),
                _ => write_row(tenant.id, table, table_plan, row, &mut line),
            }
            take(&line)
        };
        self.select(&sql, &mut write).await.map_err(|broken| broken.of(&table_plan.name))
    }
}

/// Whether a text is SHA-256 as the predecessor writes it.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A row as a line: each column that is not null is a field.
fn write_row(
    tenant: Uuid,
    table: Table,
    plan: &crate::predecessor::plan::TablePlan,
    row: &[Cell<'_>],
    line: &mut Vec<u8>,
) {
    for (at, ((column, _), cell)) in plan.columns.iter().zip(row).enumerate() {
        if *cell == Cell::Null {
            continue;
        }
        begin_field(column.field, line);
        match cell.number() {
            Some(number) if at == 0 && table.may_have_numbers_for_ids() => {
                line.extend_from_slice(format!("\"{}\"", statement::id_of_number(tenant, table, number)).as_bytes());
            }
            _ => cell.write(column.kind, line),
        }
    }
    end_row(line);
}

/// A level as the event that sets it, at the time when it came to be.
fn write_level(tenant: Uuid, row: &[Cell<'_>], line: &mut Vec<u8>) {
    let [product, level, rest @ ..] = row else { return end_row(line) };
    let updated_at = rest.first().copied().unwrap_or(Cell::Null);
    let text = |cell: Cell<'_>| cell.text().map(String::from).unwrap_or_default();
    let known = product.uuid().map_or_else(|| text(*product), |id| id.to_string());
    let id = statement::id_of_level(tenant, &known, &text(*level), &text(updated_at));
    begin_field("stock_event_id", line);
    line.extend_from_slice(format!("\"{id}\"").as_bytes());
    for (column, cell) in Table::StockLevels.columns().iter().zip([*product, *level, updated_at]) {
        if cell != Cell::Null {
            begin_field(
                match column.field {
                    "level" => "set",
                    "updated_at" => "event_time",
                    field => field,
                },
                line,
            );
            cell.write(column.kind, line);
        }
    }
    line.extend_from_slice(br#","source":"system","meta":{"imported_from":"stock_levels"}}"#);
}

fn begin_field(name: &str, line: &mut Vec<u8>) {
    line.push(if line.is_empty() { b'{' } else { b',' });
    line.push(b'"');
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

fn end_row(line: &mut Vec<u8>) {
    if line.is_empty() {
        line.push(b'{');
    }
    line.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predecessor::plan::tests::plan;

    const TENANT: Uuid = Uuid::from_u128(0x7);

    #[test]
    fn a_level_is_an_event_that_sets_it() {
        let mut line = Vec::new();
        let id = Uuid::from_u128(0x2a);
        write_level(
            TENANT,
            &[Cell::Blob(id.as_bytes()), Cell::Integer(5), Cell::Text(b"2026-01-02 03:04:05")],
            &mut line,
        );
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&event["set"], &event["product_id"]), (&5.into(), &id.to_string().into()));
        assert_eq!(event["event_time"], "2026-01-02 03:04:05");
        // the same level spelled otherwise is the same event
        let mut again = Vec::new();
        let simple = id.simple().to_string();
        write_level(
            TENANT,
            &[Cell::Text(simple.as_bytes()), Cell::Integer(5), Cell::Text(b"2026-01-02 03:04:05")],
            &mut again,
        );
        let again: serde_json::Value = serde_json::from_slice(&again).unwrap();
        assert_eq!(again["stock_event_id"], event["stock_event_id"]);
    }

    #[test]
    fn a_null_is_left_out_and_a_number_for_an_id_becomes_one() {
        let plan = plan(&Names::default(), |_| {}).unwrap();
        let of = |table: Table, row: &[Cell<'_>]| {
            let mut line = Vec::new();
            write_row(TENANT, table, &plan.tables[&table], row, &mut line);
            String::from_utf8(line).unwrap()
        };
        let id = statement::id_of_number(TENANT, Table::PriceHistory, 7);
        assert_eq!(
            of(Table::PriceHistory, &[Cell::Integer(7), Cell::Text(b"p"), Cell::Real(1.5), Cell::Null, Cell::Null]),
            format!(r#"{{"id":"{id}","product_id":"p","price":1.5}}"#)
        );
        // the ids of customers are known to shops, and stay
        assert_eq!(of(Table::Customers, &[Cell::Integer(7)]), r#"{"customer_id":"7"}"#);
        assert_eq!(of(Table::Customers, &[Cell::Null, Cell::Null]), "{}");
    }

    #[test]
    fn only_what_a_hash_looks_like_is_one() {
        assert!(is_hash(&"0a".repeat(32)));
        for text in ["", "0a", &"0A".repeat(32), &"0g".repeat(32), &"0a".repeat(33)] {
            assert!(!is_hash(text), "{text}");
        }
    }
}
