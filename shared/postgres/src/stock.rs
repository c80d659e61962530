//! Stock: events recorded and levels moved, all in one transaction.
//!
//! At READ COMMITTED, and only there: the levels of all products are locked first, and every statement after that sees
//! all that others committed before it got their locks. So whoever has a product sees its last level, and every event
//! of it that was recorded.
//!
//! A product without a row has nothing to lock. Its row is written last; who finds that somebody else wrote it
//! meanwhile was overtaken, and runs again.
//!
//! No two callers wait for each other in a circle: levels that are there are locked in the order of their products,
//! then new ones are inserted in that order, then events are recorded in the order of their ids, and nobody goes back
//! from one of the three to another. Who cannot keep to that, because one transaction takes several lots, is alone
//! among the tenant's.

use crate::database::{Parameter, Scope};
use crate::micros::Micros;
use crate::staged::StagedRow;
use crate::{Error, copy};
use futures_util::future::{join, join3};
use intake_domain::stock::{
    self, Bar, Change, Decision, Event, Kind, Known, Level, OnNegative, Outcome, Product, Record,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// An event, and what is kept of it besides what it does.
#[derive(Clone, Copy, Debug)]
pub struct Movement<'a> {
    /// What it does.
    pub event: Event,
    /// Whether its id was made for it just now, so that nobody can have seen it.
    pub has_new_id: bool,
    /// When it happened, in microseconds since 1970, if it says so.
    pub event_time: Option<i64>,
    /// Where it comes from.
    pub source: Option<&'a str>,
    /// The text of a JSON object.
    pub meta: Option<&'a str>,
    /// When it was received, in microseconds since 1970.
    pub created_at: i64,
}

impl<'a> Movement<'a> {
    /// That of a staged row of `stock_events`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a column is not what it must be.
    pub fn of_staged(row: &'a StagedRow) -> Result<Self, Error> {
        let corrupt = Error::Corrupt("a staged stock event of an unknown form");
        // columns in the order of the dataset's fields, after the tenant
        let integer = |at| row.column(at).map(|bytes| bytes.try_into().map(i32::from_be_bytes)).transpose();
        let time = |at| row.column(at).map(|bytes| bytes.try_into().map(copy::micros_of)).transpose();
        let text = |bytes: Option<&'a [u8]>| bytes.map(str::from_utf8).transpose();
        let read = || {
            let (delta, set) = (integer(3).ok()?, integer(8).ok()?);
            let change = set.map(Change::Set).or(delta.map(Change::Delta))?;
            let (event_time, created_at) = (time(5).ok()?, time(10).ok()??);
            let event = Event {
                id: row.id,
                product: row.uuid_in_column(2)?,
                change,
                expected: integer(9).ok()?,
                at: event_time.unwrap_or(created_at),
            };
            // jsonb has its version before its text
            let meta = text(row.column(7).and_then(|bytes| bytes.get(1..))).ok()?;
            Some(Self { event, has_new_id: false, event_time, source: text(row.column(6)).ok()?, meta, created_at })
        };
        read().ok_or(corrupt)
    }
}

/// Under what rules events apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// What happens to a level that would fall below 0.
    pub on_negative: OnNegative,
    /// Whether products that are not there have a conflict.
    pub refuses_unknown_products: bool,
    /// The file that the events are a part of.
    pub file: Option<Uuid>,
    /// Whether to wait until nobody else moves the tenant's stock, and keep the others waiting: for a transaction of
    /// several lots, and for one that was overtaken before.
    pub is_alone: bool,
}

/// Applies `movements` in their order: records their events and moves the levels of their products.
///
/// # Errors
/// Any [`Error`] of the database; the transaction must then be given up. [`Error::Overtaken`] when somebody wrote the
/// first level of one of the products meanwhile, or recorded one of the ids in another product: run again, it is seen.
pub async fn apply(scope: &Scope<'_>, movements: &[Movement<'_>], rules: Rules) -> Result<Decision, Error> {
    let asked = Asked::of(movements);
    let (levels, seen) = lock(scope, &asked, rules.is_alone).await?;
    let known = Known { levels, seen, barred: barred(scope, &asked.products, rules).await? };
    let decision = decide(movements, &known, rules);
    write(scope, movements, &decision, &known.levels).await?;
    note_conflicts(scope, &decision, rules).await?;
    Ok(decision)
}

/// What [`apply`] would do, for a transaction that is rolled back: nobody is kept waiting, since no level is locked or
/// moved. The ids are noted, to be seen by the lots that follow. `levels` is where the products stand that the lots
/// before moved.
///
/// # Errors
/// As [`apply`].
pub async fn rehearse(
    scope: &Scope<'_>,
    movements: &[Movement<'_>],
    rules: Rules,
    levels: &mut HashMap<Uuid, Level>,
) -> Result<Decision, Error> {
    let asked = Asked::of(movements);
    let sql = include_str!("../queries/stock/read_levels.sql");
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&asked.products, Type::UUID_ARRAY)];
    let (stored, seen) = join(scope.query("stock/read_levels", sql, &with), seen(scope, &asked.ids)).await;
    let mut known = Known { levels: read_levels(&stored?), seen: seen?, barred: HashMap::new() };
    known.levels.extend(asked.products.iter().filter_map(|product| Some((*product, *levels.get(product)?))));
    known.barred = barred(scope, &asked.products, rules).await?;
    let decision = decide(movements, &known, rules);
    let noted = movements.iter().zip(&decision.outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Recorded(_)));
    let (ids, products): (Vec<_>, Vec<_>) =
        noted.map(|(movement, _)| (movement.event.id, movement.event.product)).unzip();
    let sql = include_str!("../queries/stock/note_ids.sql");
    let with: [Parameter<'_>; 3] =
        [(&scope.tenant(), Type::UUID), (&ids, Type::UUID_ARRAY), (&products, Type::UUID_ARRAY)];
    scope.execute("stock/note_ids", sql, &with).await.map_err(overtaken)?;
    note_conflicts(scope, &decision, rules).await?;
    levels.extend(decision.products.iter().map(|product| (product.id, product.level)));
    Ok(decision)
}

/// What must be known before events apply.
struct Asked {
    /// The products, in the order in which everybody locks them.
    products: Vec<Uuid>,
    /// The ids that somebody may have seen.
    ids: Vec<Uuid>,
}

impl Asked {
    fn of(movements: &[Movement<'_>]) -> Self {
        let products: BTreeSet<_> = movements.iter().map(|movement| movement.event.product).collect();
        let ids = movements.iter().filter(|movement| !movement.has_new_id).map(|movement| movement.event.id);
        Self { products: products.into_iter().collect(), ids: ids.collect() }
    }
}

fn decide(movements: &[Movement<'_>], known: &Known, rules: Rules) -> Decision {
    let events: Vec<_> = movements.iter().map(|movement| movement.event).collect();
    stock::decide(&events, known, rules.on_negative)
}

/// Locks the products, and then sees where they stand and which ids were recorded.
async fn lock(
    scope: &Scope<'_>,
    asked: &Asked,
    is_alone: bool,
) -> Result<(HashMap<Uuid, Level>, HashSet<Uuid>), Error> {
    let key = lock_name(scope.tenant());
    let of_tenant: [Parameter<'_>; 1] = [(&key, Type::TEXT)];
    let of_products: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&asked.products, Type::UUID_ARRAY)];
    let (share, be_alone) = (include_str!("../queries/stock/share.sql"), include_str!("../queries/stock/be_alone.sql"));
    // sent together, run one after another, each with all that was committed when it began
    let (entered, locked, seen) = join3(
        scope.query("stock/enter", if is_alone { be_alone } else { share }, &of_tenant),
        scope.query("stock/lock_levels", include_str!("../queries/stock/lock_levels.sql"), &of_products),
        seen(scope, &asked.ids),
    )
    .await;
    // the first to fail says why; those after it fail because it did
    entered?;
    let (levels, seen) = (read_levels(&locked?), seen?);
    let new: Vec<_> = asked.products.iter().filter(|product| !levels.contains_key(*product)).collect();
    if !new.is_empty() && !seen.is_empty() {
        // an id may have been recorded after its product was looked for in vain: then both are looked at once more
        let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&new, Type::UUID_ARRAY)];
        let by_now = scope.query("stock/read_levels", include_str!("../queries/stock/read_levels.sql"), &with).await?;
        if !by_now.is_empty() {
            return Err(Error::Overtaken);
        }
    }
    Ok((levels, seen))
}

/// The advisory lock that all share who move a tenant's stock, unless one must be alone.
pub(crate) fn lock_name(tenant: Uuid) -> String {
    format!("stock/{tenant}")
}

async fn seen(scope: &Scope<'_>, ids: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = include_str!("../queries/stock/seen.sql");
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&ids, Type::UUID_ARRAY)];
    let found = scope.query("stock/seen", sql, &with).await?;
    Ok(found.iter().map(|row| row.get("stock_event_id")).collect())
}

fn read_levels(rows: &[Row]) -> HashMap<Uuid, Level> {
    let level = |row: &Row| Level {
        level: row.get("level"),
        set_at: row.get::<_, Option<Micros>>("set_at").map(|Micros(micros)| micros),
        sequence: row.get("sequence"),
    };
    rows.iter().map(|row| (row.get("product_id"), level(row))).collect()
}

/// The products of which nothing may apply.
async fn barred(scope: &Scope<'_>, products: &[Uuid], rules: Rules) -> Result<HashMap<Uuid, Bar>, Error> {
    let tenant = scope.tenant();
    let mut barred = HashMap::new();
    if rules.refuses_unknown_products {
        let sql = include_str!("../queries/stock/known_products.sql");
        let with: [Parameter<'_>; 2] = [(&tenant, Type::UUID), (&products, Type::UUID_ARRAY)];
        let found = scope.query("stock/known_products", sql, &with).await?;
        let found: HashSet<Uuid> = found.iter().map(|row| row.get("product_id")).collect();
        let unknown = products.iter().filter(|product| !found.contains(*product));
        barred.extend(unknown.map(|product| (*product, Bar::NoSuchProduct)));
    }
    if let Some(file) = rules.file {
        let sql = include_str!("../queries/stock/conflicts_of_file.sql");
        let with: [Parameter<'_>; 2] = [(&tenant, Type::UUID), (&file, Type::UUID)];
        let found = scope.query("stock/conflicts_of_file", sql, &with).await?;
        barred.extend(found.iter().map(|row| (row.get("product_id"), Bar::EarlierConflict)));
    }
    Ok(barred)
}

/// Keeps in mind which products have a conflict in a file.
async fn note_conflicts(scope: &Scope<'_>, decision: &Decision, rules: Rules) -> Result<(), Error> {
    let conflicts = decision.products.iter().filter(|product| product.conflict.is_some());
    let ids: Vec<_> = conflicts.map(|product| product.id).collect();
    if let Some(file) = rules.file.filter(|_| !ids.is_empty()) {
        let sql = include_str!("../queries/stock/insert_conflicts.sql");
        let with: [Parameter<'_>; 3] = [(&scope.tenant(), Type::UUID), (&file, Type::UUID), (&ids, Type::UUID_ARRAY)];
        scope.execute("stock/insert_conflicts", sql, &with).await?;
    }
    Ok(())
}

/// The columns of what is recorded.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    products: Vec<Uuid>,
    deltas: Vec<Option<i32>>,
    sets: Vec<Option<i32>>,
    expected: Vec<Option<i32>>,
    outcomes: Vec<&'static str>,
    changes: Vec<i32>,
    levels: Vec<i32>,
    sequences: Vec<i64>,
    event_times: Vec<Option<Micros>>,
    sources: Vec<Option<&'a str>>,
    metas: Vec<Option<&'a str>>,
    created: Vec<Micros>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, movement: &Movement<'a>, record: &Record) {
        let (delta, set) = match movement.event.change {
            Change::Delta(delta) => (Some(delta), None),
            Change::Set(to) => (None, Some(to)),
        };
        self.ids.push(movement.event.id);
        self.products.push(movement.event.product);
        self.deltas.push(delta);
        self.sets.push(set);
        self.expected.push(movement.event.expected);
        self.outcomes.push(word(record.kind));
        self.changes.push(record.change);
        self.levels.push(record.level);
        self.sequences.push(record.sequence);
        self.event_times.push(movement.event_time.map(Micros));
        self.sources.push(movement.source);
        self.metas.push(movement.meta);
        self.created.push(Micros(movement.created_at));
    }
}

async fn record(scope: &Scope<'_>, movements: &[Movement<'_>], decision: &Decision) -> Result<(), Error> {
    let recorded = movements.iter().zip(&decision.outcomes).filter_map(|(movement, outcome)| match outcome {
        Outcome::Recorded(record) => Some((movement, record)),
        Outcome::Duplicate | Outcome::Conflicting => None,
    });
    let mut recorded: Vec<_> = recorded.collect();
    if recorded.is_empty() {
        return Ok(());
    }
    recorded.sort_unstable_by_key(|(movement, _)| movement.event.id);
    let mut rows = Columns::default();
    for (movement, record) in recorded {
        rows.push(movement, record);
    }
    let with: [Parameter<'_>; 14] = [
        (&scope.tenant(), Type::UUID),
        (&rows.ids, Type::UUID_ARRAY),
        (&rows.products, Type::UUID_ARRAY),
        (&rows.deltas, Type::INT4_ARRAY),
        (&rows.sets, Type::INT4_ARRAY),
        (&rows.expected, Type::INT4_ARRAY),
        (&rows.outcomes, Type::TEXT_ARRAY),
        (&rows.changes, Type::INT4_ARRAY),
        (&rows.levels, Type::INT4_ARRAY),
        (&rows.sequences, Type::INT8_ARRAY),
        (&rows.event_times, Type::TIMESTAMPTZ_ARRAY),
        (&rows.sources, Type::TEXT_ARRAY),
        (&rows.metas, Type::TEXT_ARRAY),
        (&rows.created, Type::TIMESTAMPTZ_ARRAY),
    ];
    let sql = include_str!("../queries/stock/record.sql");
    scope.execute("stock/record", sql, &with).await.map(drop).map_err(overtaken)
}

/// The columns of levels.
#[derive(Default)]
struct Levels {
    ids: Vec<Uuid>,
    levels: Vec<i32>,
    set_at: Vec<Option<Micros>>,
    sequences: Vec<i64>,
}

impl Levels {
    /// Those of `products`, in the order in which everybody locks them.
    fn of<'p>(products: impl Iterator<Item = &'p Product>) -> Self {
        let mut products: Vec<_> = products.collect();
        products.sort_unstable_by_key(|product| product.id);
        let mut levels = Self::default();
        for Product { id, level, .. } in products {
            levels.ids.push(*id);
            levels.levels.push(level.level);
            levels.set_at.push(level.set_at.map(Micros));
            levels.sequences.push(level.sequence);
        }
        levels
    }

    /// Writes them with a statement that touches each.
    async fn write(&self, scope: &Scope<'_>, name: &str, sql: &str) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let with: [Parameter<'_>; 5] = [
            (&scope.tenant(), Type::UUID),
            (&self.ids, Type::UUID_ARRAY),
            (&self.levels, Type::INT4_ARRAY),
            (&self.set_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.sequences, Type::INT8_ARRAY),
        ];
        match scope.execute(name, sql, &with).await.map_err(overtaken)? {
            touched if usize::try_from(touched) == Ok(self.ids.len()) => Ok(()),
            _ => Err(Error::Corrupt("a locked level is gone")),
        }
    }
}

/// Writes what was decided: new levels, events, and the levels that were there.
async fn write(
    scope: &Scope<'_>,
    movements: &[Movement<'_>],
    decision: &Decision,
    stored: &HashMap<Uuid, Level>,
) -> Result<(), Error> {
    let moved = decision.products.iter().filter(|product| product.counts.recorded() > 0);
    let (there, new): (Vec<_>, Vec<_>) = moved.partition(|product| stored.contains_key(&product.id));
    let (there, new) = (Levels::of(there.into_iter()), Levels::of(new.into_iter()));
    let (inserted, recorded, moved) = join3(
        new.write(scope, "stock/insert_levels", include_str!("../queries/stock/insert_levels.sql")),
        record(scope, movements, decision),
        there.write(scope, "stock/move_levels", include_str!("../queries/stock/move_levels.sql")),
    )
    .await;
    inserted?;
    recorded?;
    moved
}

/// Where the stock of a product stands, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The product.
    pub product: Uuid,
    /// How much there is.
    pub level: i32,
    /// When the latest `set` that applied happened.
    pub set_at: Option<SystemTime>,
    /// How many of its events are recorded.
    pub sequence: i64,
    /// When the last of them was; `None` of a product that never moved.
    pub updated_at: Option<SystemTime>,
}

impl Standing {
    fn of(product: Uuid, row: &Row) -> Self {
        Self {
            product,
            level: row.get("level"),
            set_at: row.get("set_at"),
            sequence: row.get("sequence"),
            updated_at: row.get("updated_at"),
        }
    }
}

/// Where a product stands; `None` of one that is not known and never moved.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn standing(scope: &Scope<'_>, product: Uuid) -> Result<Option<Standing>, Error> {
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&product, Type::UUID)];
    let row = scope.query_opt("stock/level", include_str!("../queries/stock/level.sql"), &with).await?;
    Ok(row.map(|row| Standing::of(product, &row)))
}

/// Products that have moved and stand below `below`, the lowest first, at most `limit` of them. `after` is the level
/// and the product that a page before ended with.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn low(
    scope: &Scope<'_>,
    below: i64,
    after: Option<(i32, Uuid)>,
    limit: i64,
) -> Result<Vec<Standing>, Error> {
    let (level, product) = after.unwrap_or((-1, Uuid::nil()));
    let with: [Parameter<'_>; 5] = [
        (&scope.tenant(), Type::UUID),
        (&below, Type::INT8),
        (&level, Type::INT4),
        (&product, Type::UUID),
        (&limit, Type::INT8),
    ];
    let rows = scope.query("stock/low", include_str!("../queries/stock/low.sql"), &with).await?;
    Ok(rows.iter().map(|row| Standing::of(row.get("product_id"), row)).collect())
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// What it is known by.
    pub id: Uuid,
    /// What it was to add.
    pub delta: Option<i32>,
    /// Where it was to put the level.
    pub set: Option<i32>,
    /// The level that it asked for.
    pub expected: Option<i32>,
    /// How it applied, see [`word`].
    pub outcome: String,
    /// What it truly added.
    pub change: i32,
    /// The level after it.
    pub resulting_level: i32,
    /// Its number among the events of its product.
    pub sequence: i64,
    /// When it happened, if it says so.
    pub event_time: Option<SystemTime>,
    /// Where it comes from.
    pub source: Option<String>,
    /// The text of a JSON object.
    pub meta: Option<String>,
    /// When it was created or received.
    pub created_at: SystemTime,
}

/// The recorded events of a product whose number is below `before`, the newest first, at most `limit` of them.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn events_of_product(
    scope: &Scope<'_>,
    product: Uuid,
    before: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, Error> {
    let with: [Parameter<'_>; 4] =
        [(&scope.tenant(), Type::UUID), (&product, Type::UUID), (&before, Type::INT8), (&limit, Type::INT8)];
    let sql = include_str!("../queries/stock/events_of_product.sql");
    let rows = scope.query("stock/events_of_product", sql, &with).await?;
    let event = |row: &Row| RecordedEvent {
        id: row.get("stock_event_id"),
        delta: row.get("delta"),
        set: row.get("set"),
        expected: row.get("expected"),
        outcome: row.get("outcome"),
        change: row.get("change"),
        resulting_level: row.get("resulting_level"),
        sequence: row.get("sequence"),
        event_time: row.get("event_time"),
        source: row.get("source"),
        meta: row.get("meta"),
        created_at: row.get("created_at"),
    };
    Ok(rows.iter().map(event).collect())
}

/// Somebody else wrote the same row first.
fn overtaken(error: Error) -> Error {
    if error.is_unique_violation() { Error::Overtaken } else { error }
}

/// The name of an outcome, in the table and in answers.
#[must_use]
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Applied => "applied",
        Kind::Clamped => "clamped",
        Kind::Unchanged => "unchanged",
        Kind::StaleIgnored => "stale_ignored",
    }
}
