//! Orders as they are found: in the order of pages, newest first, or one by its id.
//!
//! A [`Search`] goes on step by step, each a transaction of its own, so that nothing of the database is held while an answer
//! is sent. Which way it goes is settled by the first step:
//!
//! - Where a text or products narrow it down to few orders, these are found first, and then read by their keys.
//! - Else orders are read in the order of pages, month by month: in one month there is one partition with one index, in the
//!   order of pages already, while an order over all months asks each of them for its first row.
//!
//! A text is looked for in the rows that come back, so that what it finds is the same either way.

use crate::Error;
use crate::contacts;
use crate::copy;
use crate::database::{Database, Parameter, Scope};
use crate::micros::Micros;
use intake_domain::dataset::month_of;
use intake_domain::order_filter::OrderFilter;
use intake_domain::text_search::{Contact, Needle};
use std::ops::Range;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("orders/", $name), include_str!(concat!("../queries/orders/", $name, ".sql")))
    };
}

/// How many contacts are looked up at most; a text that finds more is looked for in the order of pages.
const MAX_CONTACTS: i32 = 1_000;

/// How many orders are gathered before the first of them is read. Where there are more, they are met often enough in the order of
/// pages.
const MAX_GATHERED: i64 = 3_000;

/// How many rows a text is looked for in at least.
const MIN_TEXT_ROWS: i64 = 500;

/// A step ends when its rows have so many bytes, however many it was to have.
const MAX_STEP_BYTES: usize = 4 << 20;

/// Where an order stands in the order of pages, from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its date, in microseconds since 1970.
    pub date: i64,
    /// Its id.
    pub order: Uuid,
}

/// A stored order.
pub struct Order(Row);

impl Order {
    /// About how many bytes it has.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.0.raw_size_bytes()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.get("order_id")
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { date: self.date(), order: self.id() }
    }

    /// The id that its shop knows it by.
    #[must_use]
    pub fn external_id(&self) -> &str {
        self.0.get("external_order_id")
    }

    /// Whose it is.
    #[must_use]
    pub fn customer(&self) -> Option<Uuid> {
        self.0.get("customer_id")
    }

    /// What it has of its customer.
    #[must_use]
    pub fn contact(&self) -> Contact<'_> {
        Contact { name: self.0.get("customer_name_snapshot"), email: self.0.get("customer_email_snapshot") }
    }

    /// Its total, in hundredths.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.get::<_, Cents>("total_amount").0
    }

    /// The currency of its total.
    #[must_use]
    pub fn currency(&self) -> &str {
        self.0.get("currency")
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> &str {
        self.0.get("order_status")
    }

    /// Its date, in microseconds since 1970.
    #[must_use]
    pub fn date(&self) -> i64 {
        self.0.get::<_, Micros>("order_date").0
    }

    /// When it was created, in microseconds since 1970.
    #[must_use]
    pub fn created_at(&self) -> i64 {
        self.0.get::<_, Micros>("created_at").0
    }

    /// The text of an object of JSON.
    #[must_use]
    pub fn payload(&self) -> Option<&str> {
        self.0.get("raw_payload")
    }
}

/// A `numeric(12,2)` in hundredths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cents(pub(crate) i64);

impl FromSql<'_> for Cents {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        copy::cents_of(raw).map(Self).ok_or_else(|| "no number with two digits past its point".into())
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::NUMERIC
    }
}

impl ToSql for Cents {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let mut value = Vec::with_capacity(24);
        copy::numeric(&mut value, self.0);
        // the protocol writes the length itself
        out.extend_from_slice(value.get(4..).unwrap_or_default());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::NUMERIC
    }

    to_sql_checked!();
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    filter: OrderFilter,
    needle: Option<Needle>,
    with_payload: bool,
}

/// Where a search goes on.
#[derive(Clone, Debug)]
pub enum Place {
    /// It has not begun; it leaves out what comes before an order, and the order too.
    Start(Option<Position>),
    /// It reads these orders, those before the index are read.
    Gathered(Arc<[Position]>, usize),
    /// It reads the orders of a month, all or those after one of it.
    Month(Range<i64>, Option<Position>),
    /// There is nothing left.
    End,
}

/// What a step has found.
pub struct Step {
    /// The next orders. There may be none although there are more to come.
    pub orders: Vec<Order>,
    /// Where it goes on.
    pub place: Place,
}

impl Search {
    /// A search for orders, with their payloads or without.
    #[must_use]
    pub fn new(filter: OrderFilter, with_payload: bool) -> Self {
        Self { needle: filter.needle(), filter, with_payload }
    }

    /// Looks at the next orders of `tenant`, at most `most` of them, and gives those that are meant. One transaction; it may be
    /// repeated.
    ///
    /// # Errors
    /// Any [`Error`] of the database.
    pub async fn step(&self, database: &Database, tenant: Uuid, place: &Place, most: usize) -> Result<Step, Error> {
        let scope = database.begin(tenant).await?;
        let (name, sql) = sql!("settings");
        scope.query(name, sql, &[]).await?;
        let place = match place {
            Place::Start(after) => self.begin(&scope, *after).await?,
            other => other.clone(),
        };
        let (read, mut step) = match place {
            Place::Start(_) | Place::End => (Read::default(), Step { orders: Vec::new(), place: Place::End }),
            Place::Gathered(keys, at) => self.read_gathered(&scope, keys, at, most).await?,
            Place::Month(month, after) => self.read_month(&scope, month, after, most).await?,
        };
        if read.is_cut {
            // what is still on its way would be waited for: dropped, the transaction takes its connection with it
            drop(scope);
        } else {
            scope.commit().await?;
        }
        if let Some(needle) = &self.needle {
            step.orders.retain(|order| needle.is_in(order.contact()));
        }
        Ok(step)
    }

    /// Settles which way the search goes.
    async fn begin(&self, scope: &Scope<'_>, after: Option<Position>) -> Result<Place, Error> {
        let gathered = match self.gather_by_text(scope).await? {
            None => self.gather_by_products(scope).await?,
            gathered => gathered,
        };
        if let Some(mut keys) = gathered {
            keys.retain(|key| after.is_none_or(|after| *key < after));
            keys.sort_unstable_by(|one, other| other.cmp(one));
            return Ok(Place::Gathered(keys.into(), 0));
        }
        let before = after.map(|after| after.date + 1).into_iter().chain(self.filter.end).min();
        self.month_before(scope, before, after).await
    }

    /// The newest month that has orders before an instant, from the one after `after` on.
    async fn month_before(
        &self,
        scope: &Scope<'_>,
        before: Option<i64>,
        after: Option<Position>,
    ) -> Result<Place, Error> {
        let (name, sql) = sql!("newest");
        let (start, end) = (self.filter.start.map(Micros), before.map(Micros));
        let with =
            [(&scope.tenant() as _, Type::UUID), (&start as _, Type::TIMESTAMPTZ), (&end as _, Type::TIMESTAMPTZ)];
        let Some(row) = scope.query_opt(name, sql, &with).await? else { return Ok(Place::End) };
        let newest = row.get::<_, Micros>(0).0;
        let month = month_of(newest).ok_or(Error::Corrupt("an order of no year that calendars know"))?;
        let start = self.filter.start.map_or(month.start, |start| start.max(month.start));
        let end = before.map_or(month.end, |before| before.min(month.end));
        Ok(Place::Month(start..end, after))
    }

    /// The keys of the orders that may contain the text, among others of the same contacts.
    async fn gather_by_text(&self, scope: &Scope<'_>) -> Result<Option<Vec<Position>>, Error> {
        let Some(needle) = &self.needle else { return Ok(None) };
        let Some(contacts) = contacts::find(scope, needle, MAX_CONTACTS).await? else { return Ok(None) };
        let (name, sql) = sql!("keys_of_contacts");
        let (start, end) = (self.filter.start.map(Micros), self.filter.end.map(Micros));
        let with = [
            (&scope.tenant() as _, Type::UUID),
            (&contacts as _, Type::INT8_ARRAY),
            (&start as _, Type::TIMESTAMPTZ),
            (&end as _, Type::TIMESTAMPTZ),
            (&(MAX_GATHERED + 1) as _, Type::INT8),
        ];
        let keys = scope.query(name, sql, &with).await?;
        let is_all = keys.len() as i64 <= MAX_GATHERED;
        Ok(is_all.then(|| keys.iter().map(position).collect()))
    }

    /// The keys of the orders of the products.
    async fn gather_by_products(&self, scope: &Scope<'_>) -> Result<Option<Vec<Position>>, Error> {
        let products = &self.filter.products;
        if products.is_empty() {
            return Ok(None);
        }
        let (name, sql) = sql!("count_of_products");
        let with = [
            (&scope.tenant() as _, Type::UUID),
            (products as _, Type::UUID_ARRAY),
            (&(MAX_GATHERED + 1) as _, Type::INT8),
        ];
        let row = scope.query_opt(name, sql, &with).await?;
        if row.is_none_or(|row| row.get::<_, i64>(0) > MAX_GATHERED) {
            return Ok(None);
        }
        let (name, sql) = sql!("keys_of_products");
        let (start, end) = (self.filter.start.map(Micros), self.filter.end.map(Micros));
        let with = [
            (&scope.tenant() as _, Type::UUID),
            (products as _, Type::UUID_ARRAY),
            (&start as _, Type::TIMESTAMPTZ),
            (&end as _, Type::TIMESTAMPTZ),
        ];
        let keys = scope.query(name, sql, &with).await?;
        Ok(Some(keys.iter().map(position).collect()))
    }

    async fn read_gathered(
        &self,
        scope: &Scope<'_>,
        keys: Arc<[Position]>,
        at: usize,
        most: usize,
    ) -> Result<(Read, Step), Error> {
        let end = keys.len().min(at.saturating_add(most));
        let wanted = keys.get(at..end).unwrap_or_default();
        let (Some(newest), Some(oldest)) = (wanted.first(), wanted.last()) else {
            return Ok((Read::default(), Step { orders: Vec::new(), place: Place::End }));
        };
        let dates: Vec<_> = wanted.iter().map(|key| Micros(key.date)).collect();
        let ids: Vec<_> = wanted.iter().map(|key| key.order).collect();
        let (oldest, newest) = (Micros(oldest.date), Micros(newest.date));
        let keys_and_bounds: [Parameter<'_>; 4] = [
            (&dates, Type::TIMESTAMPTZ_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&oldest, Type::TIMESTAMPTZ),
            (&newest, Type::TIMESTAMPTZ),
        ];
        let (name, sql) = sql!("of_keys");
        let read = self.read(scope, name, sql, keys_and_bounds, wanted.len() as i64).await?;
        let at = match read.orders.last().filter(|_| read.is_cut) {
            // the keys are in the order of pages, the newest first
            Some(last) => at + wanted.partition_point(|key| *key >= last.position()),
            None => end,
        };
        let place = if at < keys.len() { Place::Gathered(keys, at) } else { Place::End };
        Ok(read.into_step(place))
    }

    async fn read_month(
        &self,
        scope: &Scope<'_>,
        month: Range<i64>,
        after: Option<Position>,
        most: usize,
    ) -> Result<(Read, Step), Error> {
        let (start, end) = (Micros(month.start), Micros(month.end));
        let (date, order) = (after.map(|after| Micros(after.date)), after.map(|after| after.order));
        let bounds: [Parameter<'_>; 4] =
            [(&start, Type::TIMESTAMPTZ), (&end, Type::TIMESTAMPTZ), (&date, Type::TIMESTAMPTZ), (&order, Type::UUID)];
        let (name, sql) = sql!("page");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // a text is found in some of them alone
        let most = if self.needle.is_some() { most.max(MIN_TEXT_ROWS) } else { most };
        let read = self.read(scope, name, sql, bounds, most).await?;
        let place = match read.orders.last() {
            Some(last) if read.is_cut || read.orders.len() as i64 >= most => Place::Month(month, Some(last.position())),
            _ => self.month_before(scope, Some(month.start), None).await?,
        };
        Ok(read.into_step(place))
    }

    /// Runs one of the two statements, which differ in four of their parameters.
    async fn read(
        &self,
        scope: &Scope<'_>,
        name: &str,
        sql: &str,
        bounds: [Parameter<'_>; 4],
        most: i64,
    ) -> Result<Read, Error> {
        let filter = &self.filter;
        let statuses = Some(&filter.statuses).filter(|statuses| !statuses.is_empty());
        let products = Some(&filter.products).filter(|products| !products.is_empty());
        let (least, highest) = (filter.min_total.map(Cents), filter.max_total.map(Cents));
        let tenant = scope.tenant();
        let [first, second, third, fourth] = bounds;
        let with: [Parameter<'_>; 12] = [
            (&tenant, Type::UUID),
            first,
            second,
            third,
            fourth,
            (&statuses, Type::TEXT_ARRAY),
            (&least, Type::NUMERIC),
            (&highest, Type::NUMERIC),
            (&filter.payload, Type::TEXT),
            (&products, Type::UUID_ARRAY),
            (&most, Type::INT8),
            (&self.with_payload, Type::BOOL),
        ];
        let mut rows = scope.rows(name, sql, &with).await?;
        let mut read = Read::default();
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await? {
            bytes += row.raw_size_bytes();
            read.orders.push(Order(row));
            if bytes >= MAX_STEP_BYTES {
                read.is_cut = true;
                break;
            }
        }
        Ok(read)
    }
}

/// Rows that were read.
#[derive(Default)]
struct Read {
    orders: Vec<Order>,
    /// Whether they are not all that the statement gives.
    is_cut: bool,
}

impl Read {
    fn into_step(mut self, place: Place) -> (Self, Step) {
        let orders = std::mem::take(&mut self.orders);
        (self, Step { orders, place })
    }
}

fn position(row: &Row) -> Position {
    Position { date: row.get::<_, Micros>("order_date").0, order: row.get("order_id") }
}

/// An item of an order.
#[derive(Debug)]
pub struct Item {
    /// Its id.
    pub id: Uuid,
    /// Of which product.
    pub product: Uuid,
    /// How many.
    pub quantity: i32,
    /// What one costs, in hundredths.
    pub unit_price: i64,
    /// What all cost, in hundredths.
    pub line_total: i64,
    /// The product's number, where the product is known.
    pub sku: Option<String>,
    /// The product's name, where the product is known.
    pub name: Option<String>,
}

/// The order of that id.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn order(scope: &Scope<'_>, id: Uuid) -> Result<Option<Order>, Error> {
    let (name, sql) = sql!("order");
    Ok(scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&id, Type::UUID)]).await?.map(Order))
}

/// The first `limit` items of an order, in the order of their ids, of all or after one of them.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn items(scope: &Scope<'_>, order: Uuid, after: Option<Uuid>, limit: i64) -> Result<Vec<Item>, Error> {
    let (name, sql) = sql!("items");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&order as _, Type::UUID),
        (&after as _, Type::UUID),
        (&limit as _, Type::INT8),
    ];
    let rows = scope.query(name, sql, &with).await?;
    let read = |row: &Row| Item {
        id: row.get("order_item_id"),
        product: row.get("product_id"),
        quantity: row.get("quantity"),
        unit_price: row.get::<_, Cents>("unit_price").0,
        line_total: row.get::<_, Cents>("line_total").0,
        sku: row.get("sku"),
        name: row.get("name"),
    };
    Ok(rows.iter().map(read).collect())
}
