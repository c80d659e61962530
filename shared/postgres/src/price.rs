//! Prices: events recorded, the history kept and the products' prices changed, all in one transaction.
//!
//! At READ COMMITTED, and only there: the products are locked first, and every statement after that sees all that
//! others committed before it got their locks. So whoever has a product sees its last price, its history and every
//! event of it. An id is looked up after the lock, too; of two who record the same id of two products at once, one was
//! overtaken and runs again.
//!
//! Products are locked in the order of their ids. An upload of products replaces rows in an order of its own, so the
//! two may wait for each other in a circle: PostgreSQL ends one of them, which runs again.

use crate::database::{Parameter, Scope};
use crate::micros::Micros;
use crate::staged::StagedRow;
use crate::{Error, audit, copy};
use futures_util::future::{join, join3, join4};
use intake_domain::price::{
    Decision, Event, Hold, Outcome, Percent, Policy, PriceEvent, Product, RECENT, Reason, RecentPrice, Settled,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::SystemTime;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("price/", $name), include_str!(concat!("../queries/price/", $name, ".sql")))
    };
}

/// An event, and what is kept of it besides what it does.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What it does.
    pub event: Event,
    /// Whether its id was made for it just now, so that nobody can have seen it.
    pub has_new_id: bool,
    /// Where it comes from, in at most 50 characters.
    pub source: Option<&'a str>,
    /// The text of a JSON object.
    pub metadata: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// That of a staged row of `price_events`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a column is not what it must be.
    pub fn of_staged(row: &'a StagedRow) -> Result<Self, Error> {
        // columns in the order of the dataset's fields, after the tenant
        let time = |at| row.column(at).map(|bytes| bytes.try_into().map(copy::micros_of)).transpose();
        let text = |bytes: Option<&'a [u8]>| bytes.map(str::from_utf8).transpose();
        let read = || {
            let prices =
                PriceEvent { old_cents: copy::cents_of(row.column(3)?)?, new_cents: copy::cents_of(row.column(4)?)? };
            let (at, received_at) = (time(7).ok()?, time(8).ok()??);
            let event = Event { id: row.id, product: row.uuid_in_column(2)?, prices, at, received_at };
            // jsonb has its version before its text
            let metadata = text(row.column(6).and_then(|bytes| bytes.get(1..))).ok()?;
            Some(Self { event, has_new_id: false, source: text(row.column(5)).ok()?, metadata })
        };
        read().ok_or(Error::Corrupt("a staged price event of an unknown form"))
    }
}

/// What became of an event.
#[derive(Clone, Debug)]
pub enum Became {
    /// It was settled.
    Recorded(Told),
    /// Its id was seen before, and this is what became of that event.
    Duplicate(Told),
    /// Its product is not there.
    UnknownProduct,
}

/// An event that was settled.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it is known by.
    pub event_id: Uuid,
    /// Its product.
    pub product_id: Uuid,
    /// What became of it.
    pub outcome: Outcome,
    /// Of one that was held: what was decided.
    pub decision: Option<Decision>,
    /// Whether the product's history does not explain the price.
    pub suspect: bool,
    /// The words for what is wrong, if anything is.
    pub anomaly_reason: Option<String>,
    /// The text of a JSON array of reasons.
    pub reasons: String,
    /// By how much the price changes; none from zero.
    pub pct_change: Option<Percent>,
    /// What the product costs after it, in cents; none where the product is gone.
    pub price_cents: Option<i64>,
}

impl Told {
    fn of(event: &Event, settled: &Settled, price_cents: i64) -> Result<Self, Error> {
        Ok(Self {
            event_id: event.id,
            product_id: event.product,
            outcome: settled.outcome,
            decision: None,
            suspect: settled.verdict.suspect,
            anomaly_reason: settled.verdict.anomaly_reason.map(str::to_owned),
            reasons: text_of(&settled.verdict.reasons)?,
            pct_change: settled.verdict.pct_change,
            price_cents: Some(price_cents),
        })
    }

    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            event_id: row.get("price_event_id"),
            product_id: row.get("product_id"),
            outcome: Outcome::parse(row.get("outcome")).ok_or(Error::Corrupt("an unknown outcome"))?,
            decision: read_decision(row)?,
            suspect: row.get("suspect"),
            anomaly_reason: row.get("anomaly_reason"),
            reasons: row.get("reasons"),
            pct_change: row.get::<_, Option<i64>>("pct_change").map(Percent::of_hundredths),
            price_cents: row.get("price_cents"),
        })
    }
}

fn text_of(reasons: &[Reason]) -> Result<String, Error> {
    serde_json::to_string(reasons).map_err(|_| Error::Corrupt("reasons that cannot be written"))
}

fn read_decision(row: &Row) -> Result<Option<Decision>, Error> {
    let word: Option<&str> = row.get("decision");
    word.map(|word| Decision::parse(word).ok_or(Error::Corrupt("an unknown decision"))).transpose()
}

/// Settles `changes` in their order, under the tenant's policy, and tells what became of each.
///
/// # Errors
/// Any [`Error`] of the database; the transaction must then be given up. [`Error::Overtaken`] when a product was
/// replaced, or an id was used, meanwhile: run again, it is seen.
pub async fn apply(scope: &Scope<'_>, changes: &[Change<'_>]) -> Result<Vec<Became>, Error> {
    let asked = Asked::of(changes);
    let (policy, mut products, known) = find(scope, &asked, sql!("lock_products")).await?;
    if asked.products.iter().any(|product| !products.contains_key(product)) {
        // one that was replaced while its lock was waited for has a row that only another statement sees
        let (name, sql) = sql!("read_products");
        let missing: Vec<_> = asked.products.iter().filter(|product| !products.contains_key(*product)).collect();
        let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&missing, Type::UUID_ARRAY)];
        if !scope.query(name, sql, &with).await?.is_empty() {
            return Err(Error::Overtaken);
        }
    }
    let lot = settle(changes, policy, &mut products, known)?;
    lot.write(scope).await?;
    Ok(lot.became)
}

/// What [`apply`] would do, for a transaction that is rolled back: nobody is kept waiting, since no product is locked
/// or changed. The ids are noted, to be seen by the lots that follow. `products` is where those stand that the lots
/// before changed.
///
/// # Errors
/// As [`apply`].
pub async fn rehearse(
    scope: &Scope<'_>,
    changes: &[Change<'_>],
    products: &mut HashMap<Uuid, Product>,
) -> Result<Vec<Became>, Error> {
    let asked = Asked::of(changes);
    let (policy, mut known, ids) = find(scope, &asked, sql!("read_products")).await?;
    known.extend(asked.products.iter().filter_map(|id| Some((*id, products.remove(id)?))));
    let lot = settle(changes, policy, &mut known, ids)?;
    let noted = lot.records.iter().map(|record| (record.change.event.id, record.change.event.product));
    let (ids, of): (Vec<_>, Vec<_>) = noted.unzip();
    let (name, sql) = sql!("note_ids");
    let with: [Parameter<'_>; 3] = [(&scope.tenant(), Type::UUID), (&ids, Type::UUID_ARRAY), (&of, Type::UUID_ARRAY)];
    scope.execute(name, sql, &with).await.map_err(overtaken)?;
    products.extend(known);
    Ok(lot.became)
}

/// What must be known before events are settled.
struct Asked {
    /// The products, in the order in which everybody locks them.
    products: Vec<Uuid>,
    /// The ids that somebody may have seen.
    ids: Vec<Uuid>,
}

impl Asked {
    fn of(changes: &[Change<'_>]) -> Self {
        let products: BTreeSet<_> = changes.iter().map(|change| change.event.product).collect();
        let ids = changes.iter().filter(|change| !change.has_new_id).map(|change| change.event.id);
        Self { products: products.into_iter().collect(), ids: ids.collect() }
    }
}

/// What is known of the ids of events.
struct Ids {
    /// The events that were recorded.
    seen: HashMap<Uuid, Told>,
    /// Those that a row of the history has.
    taken: HashSet<Uuid>,
}

/// Locks the products, and then sees what they cost and cost before, and which ids were recorded.
async fn find(
    scope: &Scope<'_>,
    asked: &Asked,
    (name, sql): (&str, &str),
) -> Result<(Policy, HashMap<Uuid, Product>, Ids), Error> {
    let tenant = (&scope.tenant() as _, Type::UUID);
    let of_products = [tenant.clone(), (&asked.products as _, Type::UUID_ARRAY)];
    let recent = i64::try_from(RECENT).unwrap_or(i64::MAX);
    let of_recent = [&of_products[..], &[(&recent as _, Type::INT8)]].concat();
    let of_tenant = [tenant];
    let (enter, pending, history) = (sql!("enter"), sql!("pending"), sql!("recent"));
    // sent together, run one after another, each with all that was committed when it began
    let ((entered, products, pending), (recent, ids)) = join(
        join3(
            scope.query(enter.0, enter.1, &of_tenant),
            scope.query(name, sql, &of_products),
            scope.query(pending.0, pending.1, &of_products),
        ),
        join(scope.query(history.0, history.1, &of_recent), find_ids(scope, &asked.ids)),
    )
    .await;
    // the first to fail says why; those after it fail because it did
    let (entered, products, pending, recent) = (entered?, products?, pending?, recent?);
    let policy = entered.first().and_then(|row| Policy::parse(row.get("price_policy")));
    let mut holds: HashMap<Uuid, Hold> = HashMap::new();
    for row in &pending {
        let Micros(at) = row.get("event_time");
        holds.insert(row.get("product_id"), Hold { id: row.get("price_event_id"), at });
    }
    let mut histories: HashMap<Uuid, &Row> = recent.iter().map(|row| (row.get("product_id"), row)).collect();
    let products = products.iter().map(|row| {
        let id: Uuid = row.get("product_id");
        (id, product(row.get("price_cents"), histories.remove(&id), holds.remove(&id)))
    });
    Ok((policy.ok_or(Error::Corrupt("a tenant without a policy"))?, products.collect(), ids?))
}

fn product(price_cents: i64, history: Option<&Row>, pending: Option<Hold>) -> Product {
    let Some(row) = history else { return Product::new(price_cents, std::iter::empty(), None, pending) };
    let (cents, flagged): (Vec<i64>, Vec<bool>) = (row.get("cents"), row.get("flagged"));
    let since: Vec<Micros> = row.get("since");
    let newest_at: Option<Micros> = row.get("newest_at");
    let prices = cents.into_iter().zip(flagged).map(|(cents, flagged)| RecentPrice { cents, flagged });
    let since = since.into_iter().map(|Micros(at)| at);
    Product::new(price_cents, prices.zip(since), newest_at.map(|Micros(at)| at), pending)
}

async fn find_ids(scope: &Scope<'_>, ids: &[Uuid]) -> Result<Ids, Error> {
    if ids.is_empty() {
        return Ok(Ids { seen: HashMap::new(), taken: HashSet::new() });
    }
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&ids, Type::UUID_ARRAY)];
    let (seen, taken) = (sql!("seen"), sql!("taken"));
    let (seen, taken) = join(scope.query(seen.0, seen.1, &with), scope.query(taken.0, taken.1, &with)).await;
    let seen =
        seen?.iter().map(|row| Ok((row.get("price_event_id"), Told::read(row)?))).collect::<Result<_, Error>>()?;
    Ok(Ids { seen, taken: taken?.iter().map(|row| row.get("id")).collect() })
}

/// Events that are settled, and what is to be written of them.
struct Lot<'a> {
    became: Vec<Became>,
    /// What was recorded, with its place in the lot.
    records: Vec<Record<'a>>,
    /// Ids whose history's rows need others.
    taken: HashSet<Uuid>,
    /// Holds of events before the lot whose places were taken.
    superseded: Vec<Uuid>,
    /// What products cost that changed.
    prices: BTreeMap<Uuid, i64>,
}

struct Record<'a> {
    place: usize,
    change: Change<'a>,
    settled: Settled,
    is_superseded: bool,
}

fn settle<'a>(
    changes: &[Change<'a>],
    policy: Policy,
    products: &mut HashMap<Uuid, Product>,
    ids: Ids,
) -> Result<Lot<'a>, Error> {
    let mut lot = Lot {
        became: Vec::with_capacity(changes.len()),
        records: Vec::with_capacity(changes.len()),
        taken: ids.taken,
        superseded: Vec::new(),
        prices: BTreeMap::new(),
    };
    let mut seen = ids.seen;
    let mut recorded: HashMap<Uuid, usize> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        let event = &change.event;
        if let Some(told) = seen.get_mut(&event.id) {
            if let Some(product) = products.get(&told.product_id) {
                told.price_cents = Some(product.price_cents());
            }
            lot.became.push(Became::Duplicate(told.clone()));
            continue;
        }
        let Some(product) = products.get_mut(&event.product) else {
            lot.became.push(Became::UnknownProduct);
            continue;
        };
        let settled = product.settle(event, policy);
        let told = Told::of(event, &settled, product.price_cents())?;
        if settled.outcome == Outcome::Applied {
            lot.prices.insert(event.product, product.price_cents());
        }
        match settled.supersedes.map(|hold| (hold, recorded.get(&hold))) {
            Some((_, Some(at))) => lot.records[*at].is_superseded = true,
            Some((hold, None)) => lot.superseded.push(hold),
            None => {}
        }
        recorded.insert(event.id, lot.records.len());
        lot.records.push(Record { place, change: *change, settled, is_superseded: false });
        seen.insert(event.id, told.clone());
        lot.became.push(Became::Recorded(told));
    }
    Ok(lot)
}

/// The columns of what is recorded.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    products: Vec<Uuid>,
    old: Vec<i64>,
    new: Vec<i64>,
    sources: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    event_times: Vec<Micros>,
    received: Vec<Micros>,
    outcomes: Vec<&'static str>,
    changes: Vec<Option<i64>>,
    anomalies: Vec<Option<&'static str>>,
    suspect: Vec<bool>,
    reasons: Vec<String>,
    decisions: Vec<Option<&'static str>>,
    places: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, record: &Record<'a>) -> Result<(), Error> {
        let Record { place, change, settled, is_superseded } = record;
        self.ids.push(change.event.id);
        self.products.push(change.event.product);
        self.old.push(change.event.prices.old_cents);
        self.new.push(change.event.prices.new_cents);
        self.sources.push(change.source);
        self.metadata.push(change.metadata);
        self.event_times.push(Micros(settled.at));
        self.received.push(Micros(change.event.received_at));
        self.outcomes.push(settled.outcome.as_str());
        self.changes.push(settled.verdict.pct_change.map(Percent::hundredths));
        self.anomalies.push(settled.verdict.anomaly_reason);
        self.suspect.push(settled.verdict.suspect);
        self.reasons.push(text_of(&settled.verdict.reasons)?);
        self.decisions.push(is_superseded.then_some(Decision::Superseded.as_str()));
        self.places.push(i32::try_from(*place).unwrap_or(i32::MAX));
        Ok(())
    }
}

/// The columns of rows of the history, and the products whose history has new ones, each with the first of them.
#[derive(Default)]
struct History {
    ids: Vec<Uuid>,
    products: Vec<Uuid>,
    cents: Vec<i64>,
    since: Vec<Micros>,
    flagged: Vec<bool>,
    first: BTreeMap<Uuid, i64>,
}

impl History {
    fn push(&mut self, id: Uuid, product: Uuid, cents: i64, since: i64, flagged: bool) {
        self.ids.push(id);
        self.products.push(product);
        self.cents.push(cents);
        self.since.push(Micros(since));
        self.flagged.push(flagged);
        self.first.entry(product).and_modify(|first| *first = since.min(*first)).or_insert(since);
    }

    /// Writes the rows, and ends those before them.
    async fn write(&self, scope: &Scope<'_>) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let tenant = (&scope.tenant() as _, Type::UUID);
        let rows: [Parameter<'_>; 6] = [
            tenant.clone(),
            (&self.ids, Type::UUID_ARRAY),
            (&self.products, Type::UUID_ARRAY),
            (&self.cents, Type::INT8_ARRAY),
            (&self.since, Type::TIMESTAMPTZ_ARRAY),
            (&self.flagged, Type::BOOL_ARRAY),
        ];
        let (products, first): (Vec<_>, Vec<_>) =
            self.first.iter().map(|(product, at)| (*product, Micros(*at))).unzip();
        let touched: [Parameter<'_>; 3] = [tenant, (&products, Type::UUID_ARRAY), (&first, Type::TIMESTAMPTZ_ARRAY)];
        let (insert, link) = (sql!("insert_history"), sql!("link_history"));
        let (inserted, linked) =
            join(scope.execute(insert.0, insert.1, &rows), scope.execute(link.0, link.1, &touched)).await;
        inserted.map_err(overtaken)?;
        linked.map(drop)
    }
}

impl Lot<'_> {
    async fn write(&self, scope: &Scope<'_>) -> Result<(), Error> {
        let history = self.history();
        // a hold's place must be free before another takes it
        let (superseded, recorded, written, priced) =
            join4(self.supersede(scope), self.record(scope), history.write(scope), set_prices(scope, &self.prices))
                .await;
        superseded?;
        recorded?;
        written?;
        priced
    }

    async fn supersede(&self, scope: &Scope<'_>) -> Result<(), Error> {
        if self.superseded.is_empty() {
            return Ok(());
        }
        let (name, sql) = sql!("supersede");
        let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&self.superseded, Type::UUID_ARRAY)];
        scope.execute(name, sql, &with).await.map(drop)
    }

    async fn record(&self, scope: &Scope<'_>) -> Result<(), Error> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_unstable_by_key(|record| record.change.event.id);
        let mut rows = Columns::default();
        for record in records {
            rows.push(record)?;
        }
        let with: [Parameter<'_>; 16] = [
            (&scope.tenant(), Type::UUID),
            (&rows.ids, Type::UUID_ARRAY),
            (&rows.products, Type::UUID_ARRAY),
            (&rows.old, Type::INT8_ARRAY),
            (&rows.new, Type::INT8_ARRAY),
            (&rows.sources, Type::TEXT_ARRAY),
            (&rows.metadata, Type::TEXT_ARRAY),
            (&rows.event_times, Type::TIMESTAMPTZ_ARRAY),
            (&rows.received, Type::TIMESTAMPTZ_ARRAY),
            (&rows.outcomes, Type::TEXT_ARRAY),
            (&rows.changes, Type::INT8_ARRAY),
            (&rows.anomalies, Type::TEXT_ARRAY),
            (&rows.suspect, Type::BOOL_ARRAY),
            (&rows.reasons, Type::TEXT_ARRAY),
            (&rows.decisions, Type::TEXT_ARRAY),
            (&rows.places, Type::INT4_ARRAY),
        ];
        let (name, sql) = sql!("record");
        scope.execute(name, sql, &with).await.map(drop).map_err(overtaken)
    }

    fn history(&self) -> History {
        let mut history = History::default();
        for Record { change, settled, .. } in &self.records {
            let (event, Some(since)) = (&change.event, settled.since) else { continue };
            let id = if self.taken.contains(&event.id) { Uuid::now_v7() } else { event.id };
            history.push(id, event.product, event.prices.new_cents, since, settled.verdict.suspect);
        }
        history
    }
}

async fn set_prices(scope: &Scope<'_>, prices: &BTreeMap<Uuid, i64>) -> Result<(), Error> {
    if prices.is_empty() {
        return Ok(());
    }
    let (products, cents): (Vec<Uuid>, Vec<i64>) = prices.iter().map(|(product, cents)| (*product, *cents)).unzip();
    let with: [Parameter<'_>; 3] =
        [(&scope.tenant(), Type::UUID), (&products, Type::UUID_ARRAY), (&cents, Type::INT8_ARRAY)];
    let (name, sql) = sql!("set_prices");
    match scope.execute(name, sql, &with).await? {
        touched if usize::try_from(touched) == Ok(prices.len()) => Ok(()),
        _ => Err(Error::Corrupt("a locked product is gone")),
    }
}

/// Somebody else wrote the same row first.
fn overtaken(error: Error) -> Error {
    if error.is_unique_violation() { Error::Overtaken } else { error }
}

/// A price that was held.
#[derive(Clone, Debug)]
pub struct HeldPrice {
    /// The event.
    pub event_id: Uuid,
    /// Its product.
    pub product_id: Uuid,
    /// What its sender took for the price, in cents.
    pub old_cents: i64,
    /// The price that is held, in cents.
    pub new_cents: i64,
    /// Where it comes from.
    pub source: Option<String>,
    /// The text of a JSON object.
    pub metadata: Option<String>,
    /// When it happened.
    pub event_time: SystemTime,
    /// When it was received.
    pub received_at: SystemTime,
    /// By how much the price would change; none from zero.
    pub pct_change: Option<Percent>,
    /// The words for what is wrong.
    pub anomaly_reason: Option<String>,
    /// The text of a JSON array of reasons.
    pub reasons: String,
    /// What was decided; none while it waits.
    pub decision: Option<Decision>,
    /// When.
    pub decided_at: Option<SystemTime>,
    /// What the product costs now, in cents; none where it is gone.
    pub price_cents: Option<i64>,
}

impl HeldPrice {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            event_id: row.get("price_event_id"),
            product_id: row.get("product_id"),
            old_cents: row.get("old_cents"),
            new_cents: row.get("new_cents"),
            source: row.get("source"),
            metadata: row.get("metadata"),
            event_time: row.get("event_time"),
            received_at: row.get("received_at"),
            pct_change: row.get::<_, Option<i64>>("pct_change").map(Percent::of_hundredths),
            anomaly_reason: row.get("anomaly_reason"),
            reasons: row.get("reasons"),
            decision: read_decision(row)?,
            decided_at: row.get("decided_at"),
            price_cents: row.get("price_cents"),
        })
    }
}

/// Which held prices are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holds<'a> {
    /// Only this event's.
    pub event: Option<Uuid>,
    /// `pending`, or what was decided; all where it is none.
    pub state: Option<&'a str>,
    /// Only those that come after this one: when it was received, and its event.
    pub after: Option<(SystemTime, Uuid)>,
}

/// At most `limit` held prices, the last received first.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn holds(scope: &Scope<'_>, asked: Holds<'_>, limit: i64) -> Result<Vec<HeldPrice>, Error> {
    let (at, id) = asked.after.unzip();
    let with: [Parameter<'_>; 6] = [
        (&scope.tenant(), Type::UUID),
        (&asked.event, Type::UUID),
        (&asked.state, Type::TEXT),
        (&at, Type::TIMESTAMPTZ),
        (&id, Type::UUID),
        (&limit, Type::INT8),
    ];
    let (name, sql) = sql!("holds");
    scope.query(name, sql, &with).await?.iter().map(HeldPrice::read).collect()
}

/// Decides about a held price, unless that was done, and tells how it stands: its decision is then `decision`, or that
/// which was taken before. An approved price is the product's from `now` on, in microseconds since 1970. `None` where
/// nothing of that id was held.
///
/// # Errors
/// As [`apply`].
pub async fn decide(scope: &Scope<'_>, event: Uuid, decision: Decision, now: i64) -> Result<Option<HeldPrice>, Error> {
    let tenant = (&scope.tenant() as _, Type::UUID);
    let of_event: [Parameter<'_>; 2] = [tenant.clone(), (&event, Type::UUID)];
    let (name, sql) = sql!("hold");
    let Some(row) = scope.query_opt(name, sql, &of_event).await? else { return Ok(None) };
    // whoever decides, or takes its place, has the product
    let asked = Asked { products: vec![row.get("product_id")], ids: vec![event] };
    let (_, mut products, ids) = find(scope, &asked, sql!("lock_products")).await?;
    let hold = one_hold(scope, event).await?.ok_or(Error::Corrupt("a hold that is gone"))?;
    if hold.decision.is_some() {
        return Ok(Some(hold));
    }
    let word = decision.as_str();
    let (name, sql) = sql!("decide");
    scope.execute(name, sql, &[tenant.clone(), (&event, Type::UUID), (&word, Type::TEXT)]).await?;
    if decision == Decision::Approved {
        let Some(product) = products.get_mut(&hold.product_id) else { return Err(Error::Overtaken) };
        let since = product.approve(hold.new_cents, now);
        let id = if ids.taken.contains(&event) { Uuid::now_v7() } else { event };
        let mut history = History::default();
        history.push(id, hold.product_id, hold.new_cents, since, false);
        history.write(scope).await?;
        set_prices(scope, &BTreeMap::from([(hold.product_id, hold.new_cents)])).await?;
    }
    one_hold(scope, event).await
}

async fn one_hold(scope: &Scope<'_>, event: Uuid) -> Result<Option<HeldPrice>, Error> {
    let asked = Holds { event: Some(event), ..Holds::default() };
    Ok(holds(scope, asked, 1).await?.pop())
}

/// What a tenant wants done about prices that look wrong, for the operator; where `wanted` says another, that from now
/// on. `None` for a tenant that is not there.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn operate_policy(owner: &mut Client, tenant: Uuid, wanted: Option<Policy>) -> Result<Option<Policy>, Error> {
    let failed = || Error::statement("operate_policy");
    let transaction = owner.transaction().await.map_err(failed())?;
    if let Some(wanted) = wanted.map(Policy::as_str) {
        let (_, set) = sql!("set_policy");
        if transaction.execute(set, &[&tenant, &wanted]).await.map_err(failed())? == 1 {
            let (_, noted) = audit::INSERT_PRICE_POLICY;
            transaction.execute(noted, &[&Uuid::now_v7(), &tenant, &wanted]).await.map_err(failed())?;
        }
    }
    let (_, sql) = sql!("policy");
    let row = transaction.query_opt(sql, &[&tenant]).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    Ok(row.and_then(|row| Policy::parse(row.get("price_policy"))))
}

/// What the tenant wants done about prices that look wrong.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn policy(scope: &Scope<'_>) -> Result<Policy, Error> {
    let (name, sql) = sql!("policy");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    let policy = row.and_then(|row| Policy::parse(row.get("price_policy")));
    policy.ok_or(Error::Corrupt("a tenant without a policy"))
}

/// Changes it for the events that come from now on, and writes down that it was. Returns whether it was another.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn set_policy(scope: &Scope<'_>, policy: Policy) -> Result<bool, Error> {
    let word = policy.as_str();
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&word, Type::TEXT)];
    let (name, sql) = sql!("set_policy");
    let is_another = scope.execute(name, sql, &with).await? == 1;
    if is_another {
        audit::price_policy(scope, policy).await?;
    }
    Ok(is_another)
}
