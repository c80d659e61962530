//! Reads what is taken out: several transactions that see one state of the database, each a range of rows at a time.

use super::Order;
use crate::copy::cents_of;
use crate::database::{Database, Parameter, Rows as Stream, Scope};
use crate::micros::Micros;
use crate::{Error, copy};
use intake_domain::export::{Cell, Column, Kind, Source};
use intake_domain::order_filter::OrderFilter;
use intake_domain::text_search::{Contact, Needle};
use serde_json::{Value, json};
use tokio_postgres::Row as Raws;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

/// The earliest `timestamptz`: 4714-11-24 BC, in microseconds since 1970.
const EARLIEST: i64 = -210_866_803_200_000_000 + 946_684_800_000_000;

/// What the text of a statement of a source is; it gives all columns of its rows, in their order, and `row_xmin`.
fn statement(source: &Source) -> Result<(&'static str, &'static str), Error> {
    Ok(match source.name {
        "orders" => super::sql!("orders"),
        "order_items" => super::sql!("order_items"),
        "products" => super::sql!("products"),
        "customers" => super::sql!("customers"),
        "stock" => super::sql!("stock"),
        "price_events" => super::sql!("price_events"),
        _ => return Err(Error::Corrupt("a source without a statement")),
    })
}

/// Where a row stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The instant that orders come by, in microseconds since 1970; where rows come by their ids alone it says nothing.
    at: i64,
    id: Uuid,
}

impl Key {
    /// Before, or at, the first row.
    #[must_use]
    pub fn first() -> Self {
        Self { at: EARLIEST, id: Uuid::nil() }
    }

    /// Of a row whose first columns are those that its source is ordered by.
    fn of_row(source: &Source, row: &Raws) -> Self {
        match source.order {
            [_, _] => Self { at: row.get::<_, Micros>(0).0, id: row.get(1) },
            _ => Self { at: EARLIEST, id: row.get(0) },
        }
    }

    /// As it is stored.
    pub(super) fn write(self) -> Value {
        json!([self.at, self.id])
    }

    /// Reads it back.
    pub(super) fn read(stored: &Value) -> Option<Self> {
        Some(Self { at: stored[0].as_i64()?, id: Uuid::try_parse(stored[1].as_str()?).ok()? })
    }
}

/// Rows from one key up to another, or to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: Key,
    /// The first that is none of them; `None` where there is no end.
    pub to: Option<Key>,
}

/// The name of a state of the database that others can see, too.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) name: String,
    /// The oldest transaction that had not ended; its lower 32 bits.
    pub xmin: i64,
}

/// Values that a statement is bound to, kept as long as it runs.
struct Bound<'a> {
    tenant: Uuid,
    from: Key,
    filter: &'a OrderFilter,
    asks_for_orders: bool,
    asks_for_contacts: bool,
    from_at: Micros,
    to_at: Option<Micros>,
    to_id: Option<Uuid>,
    start: Option<Micros>,
    end: Option<Micros>,
    /// As text: a number keeps all its digits.
    payload: Option<&'a str>,
}

impl<'a> Bound<'a> {
    fn new(tenant: Uuid, filter: &'a OrderFilter, Range { from, to }: Range) -> Self {
        let OrderFilter { text, statuses, products: _, min_total, max_total, start, end, payload } = filter;
        let asks_for_orders = !statuses.is_empty()
            || [min_total, max_total, start, end].iter().any(|bound| bound.is_some())
            || payload.is_some();
        Self {
            tenant,
            from,
            filter,
            asks_for_orders,
            asks_for_contacts: text.is_some(),
            from_at: Micros(from.at),
            to_at: to.map(|to| Micros(to.at)),
            to_id: to.map(|to| to.id),
            start: start.map(Micros),
            end: end.map(Micros),
            payload: payload.as_deref(),
        }
    }

    /// The values of a source's statement, in their order.
    fn parameters(&self, source: &Source) -> Vec<Parameter<'_>> {
        let OrderFilter { statuses, products, min_total, max_total, .. } = self.filter;
        let mut all: Vec<Parameter<'_>> = vec![(&self.tenant, Type::UUID)];
        if source.order.len() == 2 {
            all.extend([
                (&self.from_at as _, Type::TIMESTAMPTZ),
                (&self.from.id as _, Type::UUID),
                (&self.to_at as _, Type::TIMESTAMPTZ),
                (&self.to_id as _, Type::UUID),
            ]);
        } else {
            all.extend([(&self.from.id as _, Type::UUID), (&self.to_id as _, Type::UUID)]);
        }
        let statuses: Parameter<'_> = (statuses, Type::TEXT_ARRAY);
        let products: Parameter<'_> = (products, Type::UUID_ARRAY);
        let totals: [Parameter<'_>; 2] = [(min_total, Type::INT8), (max_total, Type::INT8)];
        let times: [Parameter<'_>; 2] = [(&self.start, Type::TIMESTAMPTZ), (&self.end, Type::TIMESTAMPTZ)];
        let payload: Parameter<'_> = (&self.payload, Type::TEXT);
        match source.name {
            "orders" => {
                all.extend([statuses, products]);
                all.extend(totals.into_iter().chain(times).chain([payload]));
            }
            "order_items" => {
                all.extend([products, statuses]);
                all.extend(totals.into_iter().chain(times));
                all.extend([
                    payload,
                    (&self.asks_for_orders as _, Type::BOOL),
                    (&self.asks_for_contacts as _, Type::BOOL),
                ]);
            }
            "customers" => all.extend(times),
            "stock" => all.extend([products].into_iter().chain(times)),
            _ => all.extend([products].into_iter().chain(totals).chain(times)),
        }
        all
    }
}

/// Whether the database can tell which rows are meant, from themselves alone. Where it follows from other tables, too, rows may
/// come and go without being touched, and a file of them is not gone on with.
#[must_use]
pub fn is_of_its_own(source: &Source, filter: &OrderFilter) -> bool {
    match source.name {
        _ if filter.text.is_some() => false,
        "orders" => filter.products.is_empty(),
        "order_items" => OrderFilter { products: Vec::new(), ..filter.clone() } == OrderFilter::default(),
        _ => true,
    }
}

/// A transaction that reads rows of an export, in the same state of the database as others.
pub struct Reader<'a> {
    scope: Scope<'a>,
}

/// A range of rows with how many there are in all ranges before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeOfRows {
    /// The range.
    pub range: Range,
    /// How many rows there are up to its end, or about as many, where it is the last one.
    pub rows_up_to: i64,
}

/// The ranges of all rows, as they are found.
pub struct Walk<'r> {
    scope: &'r Scope<'r>,
    source: &'static Source,
    /// How many rows a range has.
    step: i64,
    /// How many rows ahead the next border is.
    ahead: i64,
    /// Where the next range begins, and how many rows there are before it.
    next: Option<(Key, i64)>,
}

impl<'a> Reader<'a> {
    /// Begins a transaction that sees what a snapshot sees, or the state of now.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn begin(database: &'a Database, tenant: Uuid, snapshot: Option<&Snapshot>) -> Result<Self, Error> {
        let name = snapshot.map(|snapshot| snapshot.name.as_str());
        Ok(Self { scope: database.begin_reading(tenant, name).await? })
    }

    /// The transaction.
    #[must_use]
    pub fn scope(&self) -> &Scope<'a> {
        &self.scope
    }

    /// Lets others see what this one sees, for as long as it lives.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let (name, sql) = super::sql!("snapshot");
        let row = self.scope.query_opt(name, sql, &[]).await?.ok_or(Error::Corrupt("no snapshot"))?;
        Ok(Snapshot { name: row.get("name"), xmin: row.get("xmin") })
    }

    /// Whether all rows before a key are those of an earlier snapshot in which there were `rows` of them: the same versions,
    /// and none besides.
    ///
    /// What is here and was not there was made by a transaction that had not ended for that snapshot, so that none of the
    /// rows' transactions may be as young as the oldest of those; then every row that is here was there, and as many as there
    /// were are all of them. Transactions have 32 bits in a row, and one of four billion transactions ago may look young: then
    /// the answer is `false`, as it is where other tables have a say.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn is_as_before(&self, order: &Order, key: Key, rows: i64, xmin: i64) -> Result<bool, Error> {
        if !is_of_its_own(order.source, &order.filter) {
            return Ok(false);
        }
        let (name, text) = statement(order.source)?;
        let bound = Bound::new(self.scope.tenant(), &order.filter, Range { from: Key::first(), to: Some(key) });
        let mut with = bound.parameters(order.source);
        with.push((&xmin, Type::INT8));
        let sql = format!(
            "select count(*) as rows,
                count(*) filter (where (row_xmin::text::bigint - ${}) & 4294967295 < 2147483648) as young
            from ({text}) as rows",
            with.len()
        );
        let row = self.scope.query_opt(name, &sql, &with).await?.ok_or(Error::Corrupt("no count"))?;
        Ok(row.get::<_, i64>("rows") == rows && row.get::<_, i64>("young") == 0)
    }

    /// Finds the ranges of `step` rows each from a key on; `rows_before` of all rows come before it. A transaction does so once.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn walk(&self, order: &Order, from: Key, rows_before: i64, step: i64) -> Result<Walk<'_>, Error> {
        let (name, text) = statement(order.source)?;
        let mut bound = Bound::new(self.scope.tenant(), &order.filter, Range { from, to: None });
        // which rows those are that are meant is seen when they are read
        bound.asks_for_contacts = false;
        let by = order.source.order.join(", ");
        // a cursor gives a border at once; as rows of one statement they would come when there are 8 KiB of them, millions of
        // rows too late
        let sql = format!("declare borders no scroll cursor for select {by} from ({text}) as rows order by {by}");
        self.scope.execute(name, &sql, &bound.parameters(order.source)).await?;
        // from before the first row
        let ahead = step + 1;
        Ok(Walk { scope: &self.scope, source: order.source, step, ahead, next: Some((from, rows_before)) })
    }

    /// The rows of a range, in their order.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn rows<'o>(&self, order: &'o Order, range: Range) -> Result<Rows<'o>, Error> {
        let (name, text) = statement(order.source)?;
        let names: Vec<_> = order.columns.iter().map(|column| column.name).collect();
        let needle = order.filter.needle();
        let contact = if needle.is_some() { ", contact_name, contact_email" } else { "" };
        let by = order.source.order.join(", ");
        let sql = format!("select {}{contact} from ({text}) as rows order by {by}", names.join(", "));
        let bound = Bound::new(self.scope.tenant(), &order.filter, range);
        let rows = self.scope.rows(name, &sql, &bound.parameters(order.source)).await?;
        Ok(Rows { rows, columns: &order.columns, needle })
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn end(self) -> Result<(), Error> {
        self.scope.rollback().await
    }
}

impl Walk<'_> {
    /// The next range; `None` after the last.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn next(&mut self) -> Result<Option<RangeOfRows>, Error> {
        let Some((from, rows_before)) = self.next.take() else { return Ok(None) };
        let fetch = format!("fetch relative {} from borders", std::mem::replace(&mut self.ahead, self.step));
        let border = self.scope.query_opt("exports/borders", &fetch, &[]).await?;
        let to = border.map(|row| Key::of_row(self.source, &row));
        let rows_up_to = rows_before + self.step;
        self.next = to.map(|to| (to, rows_up_to));
        // of the last one it is not known how many there are
        let rows_up_to = if to.is_some() { rows_up_to } else { rows_before + self.step / 2 };
        Ok(Some(RangeOfRows { range: Range { from, to }, rows_up_to }))
    }
}

/// Rows as they come.
pub struct Rows<'o> {
    rows: Stream,
    columns: &'o [Column],
    /// What their contacts must contain.
    needle: Option<Needle>,
}

impl<'o> Rows<'o> {
    /// The next row; `None` after the last. Whoever does not read all of them gives the transaction up.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn next(&mut self) -> Result<Option<Row<'o>>, Error> {
        loop {
            let Some(raw) = self.rows.try_next().await? else { return Ok(None) };
            let is_meant = self.needle.as_ref().is_none_or(|needle| {
                let text = |name: &str| raw.get::<_, Option<&str>>(name);
                needle.is_in(Contact { name: text("contact_name"), email: text("contact_email") })
            });
            if is_meant {
                return Ok(Some(Row { raw, columns: self.columns }));
            }
        }
    }
}

/// A row.
pub struct Row<'o> {
    raw: Raws,
    columns: &'o [Column],
}

/// A value as it comes.
struct Raw<'r>(&'r [u8]);

impl<'r> FromSql<'r> for Raw<'r> {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Row<'_> {
    /// The cells, in the order of the columns.
    pub fn cells(&self) -> impl Iterator<Item = Result<Cell<'_>, Error>> {
        self.columns.iter().enumerate().map(|(at, column)| {
            let raw =
                self.raw.try_get::<_, Option<Raw<'_>>>(at).map_err(|error| Error::statement("a column")(error))?;
            let Some(Raw(raw)) = raw else { return Ok(Cell::Null) };
            cell(column.kind, raw).ok_or(Error::Corrupt("a value of another type"))
        })
    }
}

/// A value in PostgreSQL's binary form.
fn cell(kind: Kind, raw: &[u8]) -> Option<Cell<'_>> {
    Some(match kind {
        Kind::Uuid => Cell::Uuid(Uuid::from_slice(raw).ok()?),
        Kind::Text => Cell::Text(str::from_utf8(raw).ok()?),
        Kind::Decimal(_) => Cell::Decimal(cents_of(raw)?),
        Kind::Integer => Cell::Integer(i32::from_be_bytes(raw.try_into().ok()?).into()),
        Kind::Long => Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?)),
        Kind::Bool => Cell::Bool(*raw.first()? != 0),
        Kind::Timestamp => Cell::Micros(copy::micros_of(raw.try_into().ok()?)),
        Kind::Json => match raw {
            // the version of the jsonb wire format
            [1, text @ ..] => Cell::Json(str::from_utf8(text).ok()?),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intake_domain::export::SOURCES;

    #[test]
    fn keys_read_back() {
        for key in [Key::first(), Key { at: -5, id: Uuid::from_u128(7) }] {
            assert_eq!(Key::read(&key.write()), Some(key));
        }
        assert_eq!(Key::read(&json!([1])), None);
    }

    #[test]
    fn every_source_has_its_statement_and_its_values() {
        for source in SOURCES {
            let (_, text) = statement(source).expect("a statement");
            let filter = OrderFilter::default();
            let range = Range { from: Key::first(), to: None };
            let bound = Bound::new(Uuid::nil(), &filter, range);
            let count = bound.parameters(source).len();
            let is_used = |nth: usize| text.contains(&format!("${nth}"));
            assert!((1..=count).all(is_used) && !is_used(count + 1), "{} takes {count} values", source.name);
        }
    }
}
