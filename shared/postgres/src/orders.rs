//! Orders as they are found: in the order of pages, newest first, or one by its id.
//!
//! A [`Search`] goes on step by step, each a transaction of its own, so that nothing of the database is held while an answer
//! is sent. Which way it goes is settled by the first step:
//!
//! - Where a text or products narrow it down to few orders, these are found first, and then read by their keys; where few
//!   contacts have a text and many orders, the same is done month by month.
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
const MAX_CONTACTS: i32 = 3_000;

/// How many orders are gathered before the first of them is read. Where there are more, they are met often enough in the order of
/// pages.
const MAX_GATHERED: i64 = 3_000;

/// How many orders of one month are gathered, where a text finds more over all months.
const MAX_GATHERED_OF_MONTH: i64 = 20_000;

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
///
/// Its columns are read by their places: looked up by name, they would take longer than all else that is done with a row.
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
        self.0.get(1)
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { date: self.date(), order: self.id() }
    }

    /// The id that its shop knows it by.
    #[must_use]
    pub fn external_id(&self) -> &str {
        self.0.get(2)
    }

    /// Whose it is.
    #[must_use]
    pub fn customer(&self) -> Option<Uuid> {
        self.0.get(3)
    }

    /// What it has of its customer.
    #[must_use]
    pub fn contact(&self) -> Contact<'_> {
        Contact { name: self.0.get(4), email: self.0.get(5) }
    }

    /// Its total, in hundredths.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.get::<_, Cents>(6).0
    }

    /// The currency of its total.
    #[must_use]
    pub fn currency(&self) -> &str {
        self.0.get(7)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> &str {
        self.0.get(8)
    }

    /// Its date, in microseconds since 1970.
    #[must_use]
    pub fn date(&self) -> i64 {
        self.0.get::<_, Micros>(0).0
    }

    /// When it was created, in microseconds since 1970.
    #[must_use]
    pub fn created_at(&self) -> i64 {
        self.0.get::<_, Micros>(9).0
    }

    /// The text of an object of JSON.
    #[must_use]
    pub fn payload(&self) -> Option<&str> {
        self.0.get(10)
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
    /// It reads orders that were gathered.
    Gathered(Gathered),
    /// It reads the orders of a month.
    Month(Month),
    /// There is nothing left.
    End,
}

impl Place {
    /// After which position another search goes on as this one would from here; `None` where that cannot be told before the next
    /// step. It need not be that of an order.
    #[must_use]
    pub fn after(&self) -> Option<Position> {
        match self {
            Self::Start(after) => *after,
            Self::Gathered(gathered) => gathered.read.checked_sub(1).and_then(|last| gathered.keys.get(last).copied()),
            // before all orders of the instant with which it ends
            Self::Month(month) => Some(month.after.unwrap_or(Position { date: month.range.end, order: Uuid::nil() })),
            Self::End => None,
        }
    }
}

/// Orders that were gathered.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// All of them, in the order of pages.
    keys: Arc<[Position]>,
    /// How many of them are read.
    read: usize,
    /// Where they are of one month alone: what contacts they are of, and where the month begins.
    of_month: Option<(Arc<[i64]>, i64)>,
}

/// A month that is read.
#[derive(Clone, Debug)]
pub struct Month {
    /// From when to when.
    range: Range<i64>,
    /// Of it what comes after an order.
    after: Option<Position>,
    /// The contacts that may contain the text, where they are few.
    contacts: Option<Arc<[i64]>>,
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
            Place::Gathered(gathered) => self.read_gathered(&scope, gathered, most).await?,
            Place::Month(month) => self.read_month(&scope, month, most).await?,
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
        let contacts = match &self.needle {
            Some(needle) => contacts::find(scope, needle, MAX_CONTACTS).await?.map(Arc::from),
            None => None,
        };
        let mut gathered = None;
        if let Some(contacts) = &contacts {
            let (start, end) = (self.filter.start, self.filter.end);
            gathered = keys_of_contacts(scope, contacts, start, end, MAX_GATHERED).await?;
        }
        if gathered.is_none() {
            gathered = self.keys_of_products(scope).await?;
        }
        if let Some(keys) = gathered {
            return Ok(Place::Gathered(Gathered { keys: in_order(keys, after), read: 0, of_month: None }));
        }
        let before = after.map(|after| after.date.saturating_add(1)).into_iter().chain(self.filter.end).min();
        self.month_before(scope, before, after, contacts).await
    }

    /// The newest month that has orders before an instant, as far as they come after one of them.
    async fn month_before(
        &self,
        scope: &Scope<'_>,
        before: Option<i64>,
        after: Option<Position>,
        contacts: Option<Arc<[i64]>>,
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
        if let Some(contacts) = &contacts {
            let keys = keys_of_contacts(scope, contacts, Some(start), Some(end), MAX_GATHERED_OF_MONTH).await?;
            if let Some(keys) = keys {
                let of_month = Some((Arc::clone(contacts), start));
                return Ok(Place::Gathered(Gathered { keys: in_order(keys, after), read: 0, of_month }));
            }
        }
        Ok(Place::Month(Month { range: start..end, after, contacts }))
    }

    /// The keys of the orders of the products; `None` where no products are named, or they have too many.
    async fn keys_of_products(&self, scope: &Scope<'_>) -> Result<Option<Vec<Position>>, Error> {
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

    async fn read_gathered(&self, scope: &Scope<'_>, gathered: Gathered, most: usize) -> Result<(Read, Step), Error> {
        let Gathered { keys, read: at, of_month } = &gathered;
        let end = keys.len().min(at.saturating_add(most));
        let wanted = keys.get(*at..end).unwrap_or_default();
        let (Some(newest), Some(oldest)) = (wanted.first(), wanted.last()) else {
            let place = match of_month {
                Some((contacts, start)) => {
                    self.month_before(scope, Some(*start), None, Some(Arc::clone(contacts))).await?
                }
                None => Place::End,
            };
            return Ok(Read::default().into_step(place));
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
        let done = match read.orders.last().filter(|_| read.is_cut) {
            // the keys are in the order of pages, the newest first
            Some(last) => at + wanted.partition_point(|key| *key >= last.position()),
            None => end,
        };
        let place = if done < keys.len() || of_month.is_some() {
            Place::Gathered(Gathered { read: done, ..gathered })
        } else {
            Place::End
        };
        Ok(read.into_step(place))
    }

    async fn read_month(&self, scope: &Scope<'_>, month: Month, most: usize) -> Result<(Read, Step), Error> {
        let Month { range, after, contacts } = month;
        let (start, end) = (Micros(range.start), Micros(range.end));
        let (date, order) = (after.map(|after| Micros(after.date)), after.map(|after| after.order));
        let bounds: [Parameter<'_>; 4] =
            [(&start, Type::TIMESTAMPTZ), (&end, Type::TIMESTAMPTZ), (&date, Type::TIMESTAMPTZ), (&order, Type::UUID)];
        let filter = &self.filter;
        let is_for_few = filter.min_total.is_some()
            || filter.max_total.is_some()
            || !filter.statuses.is_empty()
            || !filter.products.is_empty();
        let (name, sql) = if is_for_few { sql!("page_of_few") } else { sql!("page") };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // a text is found in some of them alone
        let most = if self.needle.is_some() { most.max(MIN_TEXT_ROWS) } else { most };
        let read = self.read(scope, name, sql, bounds, most).await?;
        let place = match read.orders.last() {
            Some(last) if read.is_cut || read.orders.len() as i64 >= most => {
                Place::Month(Month { range, after: Some(last.position()), contacts })
            }
            _ => self.month_before(scope, Some(range.start), None, contacts).await?,
        };
        Ok(read.into_step(place))
    }

    /// Runs a statement that reads orders; they differ in four of their parameters.
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

/// The keys of the orders of contacts; `None` where they are more than `most`.
async fn keys_of_contacts(
    scope: &Scope<'_>,
    contacts: &[i64],
    start: Option<i64>,
    end: Option<i64>,
    most: i64,
) -> Result<Option<Vec<Position>>, Error> {
    let (name, sql) = sql!("keys_of_contacts");
    let (start, end) = (start.map(Micros), end.map(Micros));
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&contacts as _, Type::INT8_ARRAY),
        (&start as _, Type::TIMESTAMPTZ),
        (&end as _, Type::TIMESTAMPTZ),
        (&(most + 1) as _, Type::INT8),
    ];
    let keys = scope.query(name, sql, &with).await?;
    Ok((keys.len() as i64 <= most).then(|| keys.iter().map(position).collect()))
}

/// Keys in the order of pages, as far as they come after an order.
fn in_order(mut keys: Vec<Position>, after: Option<Position>) -> Arc<[Position]> {
    keys.retain(|key| after.is_none_or(|after| *key < after));
    keys.sort_unstable_by(|one, other| other.cmp(one));
    keys.into()
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
