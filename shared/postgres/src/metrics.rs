//! Sales counted ahead: which days were touched, counting them anew, and reading what was counted. Every function runs inside the
//! scope of a transaction; none commits. All fail with any [`Error`] of the database.
//!
//! READ COMMITTED is what counting anew rests on: the touches are taken by the first statement, and each one after it sees
//! at least what was committed before. So what a touch stands for is counted, and one that comes meanwhile stays.

use crate::Error;
use crate::copied::Copied;
use crate::database::{Parameter, Scope};
use crate::day::{Cents, Day};
use crate::micros::Micros;
use intake_domain::sales::period::{Bucket, Period};
use intake_domain::sales::{
    Counter, DAY_MICROS, Figures, Item, Key, Order, Part, Report, Segment, Tally, Unreadable, money,
};
use intake_domain::sketch::Sketch;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("metrics/", $name), include_str!(concat!("../queries/metrics/", $name, ".sql")))
    };
}

/// Days are counted together until they have so many orders.
const ORDERS_AT_ONCE: u64 = 2_000_000;

/// And in no more memory than that, unless one day takes it: some 220 bytes an order with three items. The function has twice as
/// much.
const MEMORY_BYTES: usize = 700 << 20;

/// So many days are worth to be asked about before.
const MANY_DAYS: usize = 64;

/// What is written at once, in bytes.
const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// The categories of so many products are asked for at once.
const PRODUCTS_AT_ONCE: usize = 50_000;

/// Of products that have so many items all days are counted anew: that takes less than to look up as many orders.
const MANY_ITEMS: i64 = 100_000;

/// Days are added to a batch for so long.
const BATCH_TIME: Duration = Duration::from_secs(5);

/// How long whoever may have read what was changed since is waited for; a slice is promoted in less.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether they have ended.
const POLL: Duration = Duration::from_millis(10);

/// After how many seconds days are counted once more that could have been counted too early.
pub const ONCE_MORE_SECONDS: u32 = 15;

/// What a batch has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many days were counted.
    pub days: usize,
    /// How many orders they have.
    pub orders: usize,
    /// How many items these have.
    pub items: usize,
    /// How many days and currencies were found changed.
    pub changed: u64,
    /// Whether touched days are left.
    pub is_more: bool,
    /// Whether these days are to be counted once more, after [`ONCE_MORE_SECONDS`].
    pub is_early: bool,
}

/// Notes that these days, given in days since 1970, must be counted anew, and those on which these products were sold.
pub async fn touch(scope: &Scope<'_>, days: &BTreeSet<i32>, products: &BTreeSet<Uuid>) -> Result<(), Error> {
    if days.is_empty() && products.is_empty() {
        return Ok(());
    }
    touch_later(scope, 0, days.iter().copied(), products).await
}

async fn touch_later(
    scope: &Scope<'_>,
    seconds: u32,
    days: impl Iterator<Item = i32>,
    products: &BTreeSet<Uuid>,
) -> Result<(), Error> {
    let (name, sql) = sql!("touch");
    let (days, products) = (days.map(Day).collect::<Vec<_>>(), products.iter().copied().collect::<Vec<_>>());
    let with: [Parameter<'_>; 4] = [
        (&scope.tenant(), Type::UUID),
        (&f64::from(seconds), Type::FLOAT8),
        (&days, Type::DATE_ARRAY),
        (&products, Type::UUID_ARRAY),
    ];
    scope.execute(name, sql, &with).await.map(drop)
}

/// Notes that every day must be counted anew that has orders, or had some when it was counted. Returns how many.
pub async fn touch_all(scope: &Scope<'_>) -> Result<usize, Error> {
    let (name, sql) = sql!("touch_all");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i32>(0)).unsigned_abs() as usize)
}

/// Whether there are days to be counted, and have been for so many seconds.
pub async fn is_touched(scope: &Scope<'_>, seconds: u32) -> Result<bool, Error> {
    let (name, sql) = sql!("is_touched");
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&f64::from(seconds), Type::FLOAT8)];
    Ok(scope.query_opt(name, sql, &with).await?.is_some_and(|row| row.get(0)))
}

/// To be called, before it looks for them, by a transaction that finds out from orders which days it touches, and by which
/// orders it had not found. What comes after it until its end is either seen or waited for by whoever counts the days of orders
/// that it did not see.
pub(crate) async fn follow_orders(scope: &Scope<'_>) -> Result<(), Error> {
    let (name, sql) = sql!("follow");
    scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await.map(drop)
}

/// The days of these orders.
pub(crate) async fn days_of_orders(scope: &Scope<'_>, orders: &[Uuid]) -> Result<Vec<i32>, Error> {
    let (name, sql) = sql!("days_of_orders");
    let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID), (&orders, Type::UUID_ARRAY)]).await?;
    Ok(rows.iter().map(|row| row.get::<_, Day>(0).0).collect())
}

/// Counts touched days anew, as many as make a good batch, at least one, and writes down those that are no longer as they were.
/// Nothing, and `None`, where another one does that for the tenant: whoever counts asks [`is_touched`] after it has committed, and
/// so meets all that was touched before this was called.
///
/// Whoever noted a touch by what it had read may have read before another's change whose touch is taken here. So of those
/// transactions each one is waited for that runs when the touches have been taken. One that takes too long makes the days be
/// counted twice: now, and again later.
pub async fn refresh(scope: &mut Scope<'_>) -> Result<Option<Counted>, Error> {
    refresh_within(scope, MEMORY_BYTES).await
}

/// As [`refresh`], in about so much memory. Days whose orders have more items than fit there are counted fewer at a time.
pub async fn refresh_within(scope: &mut Scope<'_>, memory_bytes: usize) -> Result<Option<Counted>, Error> {
    let (name, sql) = sql!("be_alone");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    if !row.is_some_and(|row| row.get("is_alone")) {
        return Ok(None);
    }
    let days: Vec<_> = take_touches(scope).await?.into_iter().collect();
    let mut counted = Counted::default();
    if days.is_empty() {
        return Ok(Some(counted));
    }
    counted.is_early = !await_followers(scope).await?;
    let volume = if days.len() < MANY_DAYS { Volume::default() } else { Volume::of(scope, &days).await? };
    let (began, mut at_once) = (Instant::now(), ORDERS_AT_ONCE);
    // one that counts nothing would leave the next one where it began
    while counted.days < days.len() && (counted.days == 0 || began.elapsed() < BATCH_TIME) {
        let run = volume.run(&days[counted.days..], at_once);
        let memory_bytes = if run.days.len() > 1 { memory_bytes } else { usize::MAX };
        if count_days(scope, &run, memory_bytes, &mut counted).await? {
            counted.days += run.days.len();
        } else {
            at_once = run.orders as u64 / 2;
        }
    }
    let (done, left) = days.split_at(counted.days);
    let none = BTreeSet::new();
    if counted.is_early {
        touch_later(scope, ONCE_MORE_SECONDS, done.iter().copied(), &none).await?;
    }
    if !left.is_empty() {
        touch_later(scope, 0, left.iter().copied(), &none).await?;
        counted.is_more = true;
    }
    Ok(Some(counted))
}

/// How many orders there are, of which days. When nothing is known of them, days are counted one by one.
#[derive(Debug, Default)]
struct Volume {
    of_days: BTreeMap<i32, u64>,
    all: u64,
}

impl Volume {
    async fn of(scope: &Scope<'_>, days: &[i32]) -> Result<Self, Error> {
        let (first, end) = (Day(days[0]), Day(days[days.len() - 1] + 1));
        let with: [Parameter<'_>; 3] = [(&scope.tenant(), Type::UUID), (&first, Type::DATE), (&end, Type::DATE)];
        let (name, sql) = sql!("orders_of_days");
        let rows = scope.query(name, sql, &with).await?;
        let of_days: BTreeMap<_, _> =
            rows.iter().map(|row| (row.get::<_, Day>(0).0, row.get::<_, i64>(1).unsigned_abs())).collect();
        let (name, sql) = sql!("orders_beside");
        let beside = scope.query_opt(name, sql, &with).await?.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
        Ok(Self { all: beside + of_days.values().sum::<u64>(), of_days })
    }

    /// The first of these days, and those that follow it without a gap, as many as may be counted together.
    fn run(&self, days: &[i32], at_once: u64) -> Run {
        let (first, mut orders, mut length) = (days[0], 0, 0);
        for (day, next) in days.iter().zip(first..) {
            orders += self.of_days.get(day).copied().unwrap_or_default();
            let is_alone = self.all == 0 || orders > at_once;
            if *day != next || (length > 0 && is_alone) {
                break;
            }
            length += 1;
        }
        let days = first..first + length;
        let orders: u64 = self.of_days.range(days.clone()).map(|(_, orders)| orders).sum();
        Run { days, orders: orders as usize, is_most: orders > 0 && 2 * orders > self.all }
    }
}

/// Days that are counted together.
struct Run {
    days: Range<i32>,
    /// How many orders they have, where it is known.
    orders: usize,
    /// Whether these are most of all orders.
    is_most: bool,
}

async fn take_touches(scope: &Scope<'_>) -> Result<BTreeSet<i32>, Error> {
    let (name, sql) = sql!("take_touches");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    let row = row.ok_or(Error::Corrupt("no row of touches"))?;
    let mut days: BTreeSet<_> = row.get::<_, Vec<Day>>("days").into_iter().map(|day| day.0).collect();
    let products: Vec<Uuid> = row.get("products");
    if !products.is_empty() {
        let with: [Parameter<'_>; 3] =
            [(&scope.tenant(), Type::UUID), (&products, Type::UUID_ARRAY), (&MANY_ITEMS, Type::INT8)];
        let (name, sql) = sql!("has_many_items");
        let has_many = scope.query_opt(name, sql, &with).await?.is_some_and(|row| row.get(0));
        // a day that was not counted yet has a touch of its own
        let ((name, sql), with) =
            if has_many { (sql!("counted_days"), &with[..1]) } else { (sql!("days_of_products"), &with[..2]) };
        days.extend(scope.query(name, sql, with).await?.iter().map(|row| row.get::<_, Day>(0).0));
    }
    Ok(days)
}

/// Waits until none runs of those who [`follow_orders`] now. Returns whether that was so in time.
async fn await_followers(scope: &Scope<'_>) -> Result<bool, Error> {
    let (name, sql) = sql!("followers");
    let since = Instant::now();
    let running = async || {
        let rows = scope.query(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
        Ok::<_, Error>(rows.iter().map(|row| row.get(0)).collect::<BTreeSet<String>>())
    };
    let mut before = running().await?;
    while !before.is_empty() && since.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
        let now = running().await?;
        before.retain(|transaction| now.contains(transaction));
    }
    Ok(before.is_empty())
}

/// Counts days that follow one another, and stores what has changed. Returns whether there was memory for it.
async fn count_days(
    scope: &mut Scope<'_>,
    run: &Run,
    memory_bytes: usize,
    counted: &mut Counted,
) -> Result<bool, Error> {
    let days = &run.days;
    let start = i64::from(days.start) * DAY_MICROS;
    let period = Period { start, end: i64::from(days.end) * DAY_MICROS };
    let items = if run.is_most { Items::All } else { Items::OfOrders };
    let Some((segments, orders, items)) = count(scope, period, None, items, run.orders, memory_bytes).await? else {
        tracing::debug!(days = days.len(), orders = run.orders, "more items than there is memory for");
        return Ok(false);
    };
    counted.orders += orders;
    counted.items += items;
    tracing::debug!(days = days.len(), orders, items, run.is_most, "counted");
    let (batches_in, mut batches) = mpsc::channel(1);
    // the next ones are put together while PostgreSQL writes these
    let putting_together = task::spawn_blocking(move || batches_of(segments, &batches_in));
    let (mut of, mut currencies) = (Vec::new(), Vec::new());
    while let Some(batch) = batches.recv().await {
        of.extend(batch.iter().map(|segment| Day(segment.day)));
        currencies.extend(batch.iter().map(|segment| segment.currency.clone()));
        counted.changed += write(scope, batch).await?;
    }
    putting_together.await.map_err(ended)?;
    let (tenant, last) = (scope.tenant(), Day(days.end - 1));
    let (name, sql) = sql!("remove");
    let with: [Parameter<'_>; 5] = [
        (&tenant, Type::UUID),
        (&Day(days.start), Type::DATE),
        (&last, Type::DATE),
        (&of, Type::DATE_ARRAY),
        (&currencies, Type::TEXT_ARRAY),
    ];
    counted.changed += scope.execute(name, sql, &with).await?;
    Ok(true)
}

/// Gives segments on, so many at a time as are written at once, until nobody takes them any more.
fn batches_of(segments: impl Iterator<Item = Segment>, batches: &mpsc::Sender<Vec<Segment>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for segment in segments {
        bytes += segment.products.len() + segment.categories.len() + segment.quarters.len();
        batch.push(segment);
        if bytes >= WRITE_BYTES {
            bytes = 0;
            if batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    let _ = batches.blocking_send(batch);
}

/// Stores the totals of days, and returns how many are no longer what they were.
async fn write(scope: &mut Scope<'_>, segments: Vec<Segment>) -> Result<u64, Error> {
    if segments.is_empty() {
        return Ok(0);
    }
    let (mut of, mut currencies, mut sums, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut customers, mut quarters, mut products, mut categories) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for segment in segments {
        of.push(Day(segment.day));
        currencies.push(segment.currency);
        sums.push(money(segment.cents));
        numbers.push(i64::try_from(segment.orders).unwrap_or(i64::MAX));
        customers.push(segment.customers);
        quarters.push(segment.quarters);
        products.push(segment.products);
        categories.push(segment.categories);
    }
    let tenant = scope.tenant();
    let (name, sql) = sql!("write");
    let with: [Parameter<'_>; 9] = [
        (&tenant, Type::UUID),
        (&of, Type::DATE_ARRAY),
        (&currencies, Type::TEXT_ARRAY),
        (&sums, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&customers, Type::BYTEA_ARRAY),
        (&quarters, Type::BYTEA_ARRAY),
        (&products, Type::BYTEA_ARRAY),
        (&categories, Type::BYTEA_ARRAY),
    ];
    scope.execute(name, sql, &with).await
}

/// Which items are read when orders are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Items {
    /// None, as orders alone are asked for.
    None,
    /// Those of the orders.
    OfOrders,
    /// All that the tenant has, since most are of the orders: reading a table is cheaper than joining it.
    All,
}

/// Counts the orders of a span as they are now, in one currency or in all. Returns the totals of each day and currency, and how
/// many orders and items were counted; none where that takes more memory.
async fn count(
    scope: &Scope<'_>,
    period: Period,
    currency: Option<&str>,
    which: Items,
    about: usize,
    memory_bytes: usize,
) -> Result<Option<(impl Iterator<Item = Segment> + use<>, usize, usize)>, Error> {
    let bound = |sql: &str| {
        let with =
            [format!("uuid '{}'", scope.tenant()), Micros(period.start).to_string(), Micros(period.end).to_string()];
        (1..).zip(with).fold(sql.to_owned(), |sql, (at, value)| sql.replace(&format!("${at}"), &value))
    };
    let (name, sql) = sql!("orders");
    let orders = scope.copied(name, &bound(sql)).await?;
    let currency = currency.map(str::to_owned);
    let mut counter = as_a_task(count_orders(Counter::of_about(about), orders, currency)).await?;
    let (mut items, mut categories) = (0, HashMap::new());
    if which != Items::None && counter.orders() > 0 {
        let (name, sql) = if which == Items::All { sql!("all_items") } else { sql!("items") };
        let rows = scope.copied(name, &bound(sql)).await?;
        let counting = count_items(counter, rows, which == Items::OfOrders, memory_bytes);
        let Some(done) = as_a_task(counting).await? else { return Ok(None) };
        (counter, items, categories) = done;
    }
    if which == Items::All {
        categories = categories_of(scope, &counter.products().collect::<Vec<_>>()).await?;
    }
    let orders = counter.orders();
    Ok(Some((counter.finish(&categories), orders, items)))
}

async fn count_orders(mut counter: Counter, mut rows: Copied, currency: Option<String>) -> Result<Counter, Error> {
    while let Some(row) = rows.try_next().await? {
        let mut row = row.fields(5)?;
        let (id, at, of, cents, customer) =
            (row.uuid()?, row.micros()?, row.text()?, row.cents()?, row.uuid_or_none()?);
        if currency.as_ref().is_none_or(|currency| currency == of) {
            counter.order(&Order { id, at, currency: of, cents, customer });
        }
    }
    Ok(counter)
}

/// Returns how many there were as well, and the categories of their products where the rows tell them; nothing once they take more
/// memory than that.
async fn count_items(
    mut counter: Counter,
    mut rows: Copied,
    has_categories: bool,
    memory_bytes: usize,
) -> Result<Option<(Counter, usize, HashMap<Uuid, Uuid>)>, Error> {
    let (mut items, mut categories) = (0, HashMap::new());
    while let Some(row) = rows.try_next().await? {
        let mut row = row.fields(if has_categories { 5 } else { 4 })?;
        let (order, product, quantity, cents) = (row.uuid()?, row.uuid()?, row.int4()?, row.cents()?);
        items += usize::from(counter.item(&Item { order, product, quantity, cents }));
        if has_categories && let Some(category) = row.uuid_or_none()? {
            categories.insert(product, category);
        }
        if counter.size_bytes() > memory_bytes {
            return Ok(None);
        }
    }
    Ok(Some((counter, items, categories)))
}

/// Does the work as a task of its own, which ends with whoever waits for it. Millions of rows are read a tenth faster where their
/// connection is driven, too, than in a program's first thread.
async fn as_a_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    match tasks.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(ended(error)),
        None => Err(ABORTED),
    }
}

const ABORTED: Error = Error::Corrupt("a task that was called off");

/// What became of a task that did not end by itself: its panic is the caller's.
fn ended(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => ABORTED,
    }
}

/// The categories of those of these products that have one.
async fn categories_of(scope: &Scope<'_>, products: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    let mut categories = HashMap::new();
    let (name, sql) = sql!("categories_of");
    for products in products.chunks(PRODUCTS_AT_ONCE) {
        let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&products, Type::UUID_ARRAY)];
        let rows = scope.query(name, sql, &with).await?;
        categories.extend(rows.iter().map(|row| (row.get::<_, Uuid>(0), row.get::<_, Uuid>(1))));
    }
    Ok(categories)
}

/// Adds what is stored of these days, given in days since 1970, to a report, in one currency or in all.
pub async fn add_days(
    scope: &Scope<'_>,
    days: &Range<i32>,
    currency: Option<&str>,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let (name, sql) = match report.part() {
        Part::Days => sql!("totals"),
        Part::Quarters => sql!("quarters"),
        Part::Products => sql!("products"),
        Part::Categories => sql!("categories"),
    };
    let (tenant, first, end) = (scope.tenant(), Day(days.start), Day(days.end));
    let with: [Parameter<'_>; 4] =
        [(&tenant, Type::UUID), (&first, Type::DATE), (&end, Type::DATE), (&currency, Type::TEXT)];
    let mut rows = scope.rows(name, sql, &with).await?;
    while let Some(row) = rows.try_next().await? {
        let day = row.get::<_, Day>("day").0;
        if report.part() == Part::Days {
            let orders = u64::try_from(row.get::<_, i64>("num_orders")).unwrap_or_default();
            let customers = Sketch::read(&mut row.get("customers")).ok_or(Error::Corrupt("a sketch"))?;
            report.add_day(day, &Tally { cents: row.get::<_, Cents>("sum_sales").0, quantity: 0, orders, customers });
        } else {
            report.add_stored(day, row.get("totals")).map_err(unreadable)?;
        }
    }
    Ok(())
}

/// Adds the orders of a span as they are now to a report, in one currency or in all.
pub async fn add_period(
    scope: &Scope<'_>,
    period: Period,
    currency: Option<&str>,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let items = if matches!(report.part(), Part::Products | Part::Categories) { Items::OfOrders } else { Items::None };
    let counted = count(scope, period, currency, items, 0, usize::MAX).await?;
    let (mut segments, ..) = counted.ok_or(Error::Corrupt("more than there can be"))?;
    segments.try_for_each(|segment| report.add_counted(&segment)).map_err(unreadable)
}

fn unreadable(_: Unreadable) -> Error {
    Error::Corrupt("the totals of a day")
}

/// Counts one by one what a report tells of a span, customers included: in all, and of each group, in no order. `buckets` are
/// the days or hours of the report, if it is by such.
pub async fn scan(
    scope: &Scope<'_>,
    period: Period,
    currency: Option<&str>,
    part: Part,
    buckets: &[Bucket],
) -> Result<(Figures, Vec<(Key, Figures)>), Error> {
    let (tenant, start, end) = (scope.tenant(), Micros(period.start), Micros(period.end));
    let starts: Vec<_> = buckets.iter().map(|bucket| Micros(bucket.start)).collect();
    let mut with: Vec<Parameter<'_>> =
        vec![(&tenant, Type::UUID), (&start, Type::TIMESTAMPTZ), (&end, Type::TIMESTAMPTZ), (&currency, Type::TEXT)];
    let (name, sql) = match part {
        Part::Days | Part::Quarters => {
            with.push((&starts, Type::TIMESTAMPTZ_ARRAY));
            sql!("exact_buckets")
        }
        Part::Products => sql!("exact_products"),
        Part::Categories => sql!("exact_categories"),
    };
    let (mut total, mut groups) = (Figures::default(), Vec::new());
    for row in scope.query(name, sql, &with).await? {
        let figures = Figures {
            cents: row.get::<_, Option<Cents>>("sum_sales").map_or(0, |cents| cents.0),
            quantity: row.get::<_, Option<i64>>("quantity").unwrap_or_default().unsigned_abs(),
            orders: row.get::<_, i64>("num_orders").unsigned_abs(),
            customers: row.get::<_, i64>("customers").unsigned_abs(),
        };
        if row.get("is_total") {
            total = figures;
            continue;
        }
        let key = match part {
            // the first bucket has the number 1, and what begins before it is its own
            Part::Days | Part::Quarters => Key::Time(usize::try_from(row.get::<_, i32>("bucket") - 1).unwrap_or(0)),
            Part::Products => Key::Product(row.get("product_id")),
            Part::Categories => Key::Category(row.get("category_id")),
        };
        groups.push((key, figures));
    }
    Ok((total, groups))
}

/// Lets each statement of the transaction take no longer than that.
pub async fn limit_time(scope: &Scope<'_>, limit: Duration) -> Result<(), Error> {
    let (name, sql) = sql!("limit_time");
    let milliseconds = limit.as_millis().max(1).to_string();
    scope.query(name, sql, &[(&milliseconds, Type::TEXT)]).await.map(drop)
}

/// How far the stored totals are behind: whether days of this range, given in days since 1970, wait to be counted.
pub async fn is_behind(scope: &Scope<'_>, days: &Range<i32>) -> Result<bool, Error> {
    let (name, sql) = sql!("is_behind");
    let (tenant, first, end) = (scope.tenant(), Day(days.start), Day(days.end));
    let with: [Parameter<'_>; 3] = [(&tenant, Type::UUID), (&first, Type::DATE), (&end, Type::DATE)];
    Ok(scope.query_opt(name, sql, &with).await?.is_some_and(|row| row.get(0)))
}
