//! From staged rows to the production tables: one slice inside one transaction.

use crate::contacts;
use crate::copy;
use crate::database::Scope;
use crate::metrics;
use crate::price::{self, Change};
use crate::staged::StagedRow;
use crate::statistics::Grown;
use crate::stock::{self, Movement, Rules};
use crate::{Error, LocalPending};
use bytes::Bytes;
use intake_domain::dataset::Effect;
use intake_domain::price::{Outcome as PriceOutcome, Product};
use intake_domain::promotion::{Created, Decision, Keys, Missing, Outcome, RowHash, decide};
use intake_domain::sales::day_of;
use intake_domain::stock::{Level, Outcome as Became};
use intake_domain::{Dataset, dataset};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Puts slices of one file into place, remembering between them what saves work.
pub struct Promoter {
    dataset: &'static Dataset,
    file: Uuid,
    /// Whether a row that refers to one that is not there is refused.
    refuses_missing_references: bool,
    /// In what transactions the slices go in.
    transactions: Transactions,
    /// Whether the slice before was overtaken: then the next try waits until nobody can.
    was_overtaken: bool,
    /// The remainder of the tenant's hash partitions; the same in every table, since all have the same modulus.
    leaf: Option<i32>,
    /// The orders' partitions that are known to exist.
    months: HashSet<String>,
    /// Whether the slice before was all new rows: then the next is written first and asked about only if that fails.
    expects_new_rows: bool,
    /// What looks wrong about the prices of the slice at hand.
    prices: WrongPrices,
    /// What of the sales the slice at hand changes.
    touched: Touched,
    /// The contacts of orders that the slice at hand replaces: those that none has then go with them.
    left_contacts: BTreeSet<i64>,
    /// What was put in, as far as the planner is not known to have heard of it.
    grown: Grown,
    /// How many rows that were when it was last asked.
    grown_when_asked: i64,
}

/// The planner is asked again what it knows after so many rows.
const ROWS_UNHEARD_OF: i64 = 100_000;

/// Sales that a slice changes.
#[derive(Debug, Default)]
struct Touched {
    /// Days, in days since 1970.
    days: BTreeSet<i32>,
    /// Products whose category is another.
    products: BTreeSet<Uuid>,
    /// The days of orders that rows refer to.
    of_orders: HashMap<Uuid, i32>,
}

/// What is known of a row that was removed.
struct Removed {
    /// When it was created, in microseconds since 1970.
    created_at: Option<i64>,
    /// Of an item its order, of a product its category.
    belongs_to: Option<Uuid>,
}

/// In what transactions the slices of a file go in.
#[derive(Debug)]
pub enum Transactions {
    /// Each in its own.
    OneASlice,
    /// All in one.
    OneAFile,
    /// All in one that is rolled back, and the slices of other files with them. So far they have led to this.
    Rehearsal(Rehearsed),
}

/// Where products stand after the slices that are to be rolled back.
#[derive(Clone, Debug, Default)]
pub struct Rehearsed {
    levels: HashMap<Uuid, Level>,
    prices: HashMap<Uuid, Product>,
}

/// What became of a slice.
#[derive(Debug, Default)]
pub struct Applied {
    /// What became of each row.
    pub outcomes: Vec<Outcome>,
    /// How many references of the rows that are in lead nowhere.
    pub dangling: u32,
    /// What looks wrong about the prices of the rows.
    pub prices: WrongPrices,
}

/// How many price events look wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct WrongPrices {
    /// That are suspect.
    pub suspect: u32,
    /// Of these, that wait for a decision.
    pub held: u32,
}

/// What is known of a stored row.
struct Stored {
    natural: Option<String>,
    hash: RowHash,
    month: Option<SystemTime>,
}

impl Promoter {
    /// A promoter for `file` of `dataset`.
    #[must_use]
    pub fn new(
        dataset: &'static Dataset,
        file: Uuid,
        refuses_missing_references: bool,
        transactions: Transactions,
    ) -> Self {
        Self {
            dataset,
            file,
            refuses_missing_references,
            transactions,
            was_overtaken: false,
            leaf: None,
            months: HashSet::new(),
            expects_new_rows: true,
            prices: WrongPrices::default(),
            touched: Touched::default(),
            left_contacts: BTreeSet::new(),
            grown: Grown::default(),
            grown_when_asked: 0,
        }
    }

    /// What was put in so far, if there is much that the planner may not have heard of, or, at the end, anything. It is for
    /// [`learn`](crate::statistics::learn) once it is committed.
    pub fn grown(&mut self, is_end: bool) -> Option<&Grown> {
        let more = self.grown.rows() - self.grown_when_asked;
        if more == 0 || more < ROWS_UNHEARD_OF && !is_end {
            return None;
        }
        self.grown_when_asked = self.grown.rows();
        Some(&self.grown)
    }

    /// Whether what becomes of the rows may change the sales of some days.
    fn touches_sales(&self) -> bool {
        !matches!(self.transactions, Transactions::Rehearsal(_)) && of_sales(self.dataset)
    }

    /// What a rehearsal has led to; nothing of any other promotion.
    #[must_use]
    pub fn into_rehearsed(self) -> Rehearsed {
        if let Transactions::Rehearsal(rehearsed) = self.transactions { rehearsed } else { Rehearsed::default() }
    }

    /// Applies `rows` in their order.
    ///
    /// # Errors
    /// Any [`Error`] of the database; the transaction must then be given up.
    pub fn apply<'a>(
        &'a mut self,
        scope: &'a mut Scope<'_>,
        rows: &'a [StagedRow],
    ) -> LocalPending<'a, Result<Applied, Error>> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(Applied::default());
            }
            // stock and prices have locks of their own
            if self.dataset.effect == Effect::Kept {
                wait_for_turn(scope, self.dataset.name).await?;
            }
            self.find_leaves(scope).await?;
            self.touched = Touched::default();
            self.left_contacts = BTreeSet::new();
            if self.touches_sales() && order_column(self.dataset).is_some() {
                metrics::follow_orders(scope).await?;
            }
            let missing = self.missing_references(scope, rows).await?;
            let outcomes = if self.refuses_missing_references && missing.iter().any(|missing| missing.count() > 0) {
                let kept: Vec<_> = rows
                    .iter()
                    .zip(&missing)
                    .filter(|(_, missing)| missing.count() == 0)
                    .map(|(row, _)| row.clone())
                    .collect();
                let mut outcomes = self.put(scope, &kept).await?.into_iter();
                let outcome_of = |missing: &Missing| match missing.count() {
                    0 => outcomes.next().ok_or(Error::Corrupt("a row without an outcome")),
                    _ => Ok(Outcome::MissingReferences(*missing)),
                };
                missing.iter().map(outcome_of).collect::<Result<_, _>>()?
            } else {
                self.put(scope, rows).await?
            };
            if self.touches_sales() {
                self.touch(scope, rows, &outcomes).await?;
            }
            let is_in =
                |outcome: &Outcome| matches!(outcome, Outcome::Inserted | Outcome::Updated | Outcome::Unchanged);
            let dangling = outcomes.iter().zip(&missing).filter(|(outcome, _)| is_in(outcome));
            let dangling = dangling.map(|(_, missing)| missing.count()).sum();
            Ok(Applied { outcomes, dangling, prices: std::mem::take(&mut self.prices) })
        })
    }

    /// Notes which sales are no longer what they were, now that the rows are in.
    async fn touch(&mut self, scope: &Scope<'_>, rows: &[StagedRow], outcomes: &[Outcome]) -> Result<(), Error> {
        let changed = rows.iter().zip(outcomes);
        let changed = changed.filter(|(_, outcome)| matches!(outcome, Outcome::Inserted | Outcome::Updated));
        let Touched { days, products, of_orders } = &mut self.touched;
        if self.dataset.month.is_some() {
            days.extend(changed.map(|(row, _)| day_of(row.month)));
        } else if let Some(category) = category_column(self.dataset) {
            // one that replaces another was compared when that was removed
            let is_new = |(row, outcome): &(&StagedRow, &Outcome)| {
                **outcome == Outcome::Inserted && row.uuid_in_column(category).is_some()
            };
            products.extend(changed.filter(is_new).map(|(row, _)| row.id));
        } else if let Some(order) = order_column(self.dataset) {
            let orders = changed.filter_map(|(row, _)| row.uuid_in_column(order));
            // an order that is not there touches its day when it comes
            days.extend(orders.filter_map(|order| of_orders.get(&order)));
        }
        metrics::touch(scope, days, products).await
    }

    /// Notes the sales that rows had part in which are about to be replaced by `written`.
    async fn touch_removed<'r>(
        &mut self,
        scope: &Scope<'_>,
        removed: &HashMap<Uuid, Removed>,
        written: impl Iterator<Item = &'r StagedRow>,
        stored: &HashMap<Uuid, Stored>,
    ) -> Result<(), Error> {
        if self.dataset.month.is_some() {
            let months = removed.keys().filter_map(|id| stored.get(id)?.month);
            self.touched.days.extend(months.map(|month| day_of(micros(month))));
        } else if let Some(category) = category_column(self.dataset) {
            let others = written.filter(|row| {
                let before = removed.get(&row.id).and_then(|removed| removed.belongs_to);
                before != row.uuid_in_column(category)
            });
            self.touched.products.extend(others.map(|row| row.id));
        } else {
            let orders: BTreeSet<_> = removed.values().filter_map(|removed| removed.belongs_to).collect();
            let known = |order: &Uuid| self.touched.of_orders.get(order).copied();
            let days: Vec<_> = orders.iter().filter_map(known).collect();
            let others: Vec<_> = orders.into_iter().filter(|order| known(order).is_none()).collect();
            self.touched.days.extend(days);
            if !others.is_empty() {
                self.touched.days.extend(metrics::days_of_orders(scope, &others).await?);
            }
        }
        Ok(())
    }

    /// Puts rows in place whose references do not matter.
    async fn put(&mut self, scope: &mut Scope<'_>, rows: &[StagedRow]) -> Result<Vec<Outcome>, Error> {
        match self.dataset.effect {
            Effect::Kept => {}
            Effect::MovesStock => return self.move_stock(scope, rows).await,
            Effect::ChangesPrices => return self.change_prices(scope, rows).await,
        }
        if self.expects_new_rows {
            scope.savepoint().await?;
            match self.write(scope, rows.iter().map(|row| (row, row.tuple()))).await {
                Ok(()) => return Ok(vec![Outcome::Inserted; rows.len()]),
                Err(error) if error.is_unique_violation() => scope.rollback_to_savepoint().await?,
                Err(error) => return Err(error),
            }
        }
        let mut stored = self.look_up(scope, rows).await?;
        self.recognise_creation(scope, rows, &mut stored).await?;
        let existing: Vec<_> = stored
            .iter()
            .map(|(id, row)| {
                let natural = row.natural.as_deref();
                Keys { id: *id, natural, hash: row.hash, states_created_at: false }
            })
            .collect();
        let Decision { outcomes, remove, write } =
            decide(&rows.iter().map(StagedRow::keys).collect::<Vec<_>>(), &existing);
        let removed = self.remove(scope, &remove, &stored).await?;
        if self.touches_sales() {
            self.touch_removed(scope, &removed, write.iter().map(|write| &rows[write.at]), &stored).await?;
        }
        let tuples = write.iter().map(|write| {
            let row = &rows[write.at];
            let created_at = match write.created {
                Created::Stored => removed.get(&row.id).and_then(|removed| removed.created_at),
                Created::Row(at) if at == write.at => None,
                Created::Row(at) => rows[at].created_at(self.dataset),
            };
            let tuple = created_at.map(|micros| row.tuple_created_at(self.dataset, micros));
            (row, tuple.unwrap_or_else(|| row.tuple()))
        });
        self.write(scope, tuples).await?;
        contacts::remove_unused(scope, &self.left_contacts).await?;
        self.expects_new_rows = outcomes.iter().all(|outcome| *outcome == Outcome::Inserted);
        Ok(outcomes)
    }

    /// Applies rows to the levels of their products. Of a row that was applied before nothing is written.
    async fn move_stock(&mut self, scope: &Scope<'_>, rows: &[StagedRow]) -> Result<Vec<Outcome>, Error> {
        let movements = rows.iter().map(Movement::of_staged).collect::<Result<Vec<_>, _>>()?;
        let is_alone = self.was_overtaken || matches!(self.transactions, Transactions::OneAFile);
        let rules = Rules { file: Some(self.file), is_alone, ..Rules::default() };
        let decision = match &mut self.transactions {
            Transactions::Rehearsal(rehearsed) => {
                stock::rehearse(scope, &movements, rules, &mut rehearsed.levels).await
            }
            Transactions::OneASlice | Transactions::OneAFile => stock::apply(scope, &movements, rules).await,
        };
        self.was_overtaken = matches!(decision, Err(Error::Overtaken));
        let decision = decision?;
        let recorded = decision.outcomes.iter().filter(|outcome| matches!(outcome, Became::Recorded(_))).count();
        self.grown.add(self.hash_leaf("stock_events"), recorded);
        self.grown
            .add(self.hash_leaf("stock_levels"), decision.products.iter().filter(|product| product.is_new()).count());
        let reasons = decision.products.iter().filter_map(|product| product.conflict);
        let reasons: HashMap<_, _> = reasons.map(|conflict| (conflict.at, conflict.reason)).collect();
        let outcome = |(at, outcome): (usize, &Became)| match outcome {
            Became::Recorded(_) => Outcome::Inserted,
            Became::Duplicate => Outcome::Unchanged,
            Became::Conflicting => Outcome::StockConflict(reasons.get(&at).copied()),
        };
        Ok(decision.outcomes.iter().enumerate().map(outcome).collect())
    }

    /// Settles rows that change prices. Of a row that was settled before nothing is written.
    async fn change_prices(&mut self, scope: &Scope<'_>, rows: &[StagedRow]) -> Result<Vec<Outcome>, Error> {
        let changes = rows.iter().map(Change::of_staged).collect::<Result<Vec<_>, _>>()?;
        let became = match &mut self.transactions {
            Transactions::Rehearsal(rehearsed) => price::rehearse(scope, &changes, &mut rehearsed.prices).await?,
            Transactions::OneASlice | Transactions::OneAFile => price::apply(scope, &changes).await?,
        };
        let recorded = became.iter().filter_map(|became| match became {
            price::Became::Recorded(told) => Some(told),
            _ => None,
        });
        self.prices = WrongPrices::default();
        let (mut events, mut prices) = (0, 0);
        for told in recorded {
            events += 1;
            prices += usize::from(told.outcome == PriceOutcome::Applied);
            self.prices.suspect += u32::from(told.suspect);
            self.prices.held += u32::from(told.outcome == PriceOutcome::Held);
        }
        self.grown.add(self.hash_leaf("price_events"), events);
        self.grown.add(self.hash_leaf("price_history"), prices);
        let outcome = |became| match became {
            price::Became::Recorded(told) if told.outcome == PriceOutcome::Rejected => Outcome::SuspectPrice,
            price::Became::Recorded(_) => Outcome::Inserted,
            price::Became::Duplicate(_) => Outcome::Unchanged,
            price::Became::UnknownProduct => {
                let mut missing = Missing::default();
                missing.add(0);
                Outcome::MissingReferences(missing)
            }
        };
        Ok(became.into_iter().map(outcome).collect())
    }

    /// Which references of each row lead nowhere. What they lead to is promoted before, never with them.
    async fn missing_references(&mut self, scope: &Scope<'_>, rows: &[StagedRow]) -> Result<Vec<Missing>, Error> {
        let mut missing = vec![Missing::default(); rows.len()];
        for (at, reference) in self.dataset.references.iter().enumerate() {
            let to = dataset::by_name(reference.to).ok_or(Error::Corrupt("a reference to an unknown dataset"))?;
            // the tenant stands before the fields
            let ids: Vec<_> = rows.iter().map(|row| row.uuid_in_column(1 + reference.field)).collect();
            let wanted: Vec<_> = ids.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
            if wanted.is_empty() {
                continue;
            }
            let sql = statement(to, include_str!("../queries/promotion/known_ids.sql"));
            let with = [(&scope.tenant() as _, Type::UUID), (&wanted as _, Type::UUID_ARRAY)];
            let found = scope.query("promotion/known_ids", &sql, &with).await?;
            let known: HashSet<Uuid> = found.iter().map(|row| row.get("id")).collect();
            if reference.to == ORDERS {
                let day = |row: &Row| Some((row.get("id"), day_of(micros(row.get::<_, Option<SystemTime>>("month")?))));
                self.touched.of_orders.extend(found.iter().filter_map(day));
            }
            if known.len() < wanted.len() {
                for (id, missing) in ids.iter().zip(&mut missing) {
                    if id.is_some_and(|id| !known.contains(&id)) {
                        missing.add(at);
                    }
                }
            }
        }
        Ok(missing)
    }

    async fn find_leaves(&mut self, scope: &Scope<'_>) -> Result<(), Error> {
        if self.leaf.is_none() {
            self.leaf = Some(leaf_of_tenant(scope).await?);
            if self.dataset.month.is_some() {
                let rows =
                    scope.query("promotion/months", include_str!("../queries/promotion/months.sql"), &[]).await?;
                self.months = rows.iter().map(|row| row.get(0)).collect();
            }
        }
        Ok(())
    }

    /// Forgets which partitions exist; they are looked up again. For when a month's partition was made or archived meanwhile.
    pub fn forget_leaves(&mut self) {
        self.leaf = None;
    }

    fn hash_leaf(&self, table: &str) -> String {
        format!("{table}_p{}", self.leaf.unwrap_or_default())
    }

    fn month_leaf(&self, month: i64) -> String {
        let leaf = dataset::month_suffix(month).map(|suffix| format!("{}_{suffix}", self.dataset.name));
        leaf.filter(|leaf| self.months.contains(leaf)).unwrap_or_else(|| format!("{}_default", self.dataset.name))
    }

    /// Writes rows none of whose keys is taken.
    async fn write<'r>(
        &mut self,
        scope: &mut Scope<'_>,
        rows: impl Iterator<Item = (&'r StagedRow, Bytes)>,
    ) -> Result<(), Error> {
        let name = self.dataset.name;
        if self.dataset.month.is_none() {
            let (leaf, mut count) = (self.hash_leaf(name), 0);
            let mut rows = rows.map(|(_, tuple)| tuple).inspect(|_| count += 1).peekable();
            if rows.peek().is_some() {
                scope.copy(&leaf, &columns(self.dataset), rows).await?;
                self.grown.add(leaf, count);
            }
            return Ok(());
        }
        let mut keys = Vec::new();
        let mut contacts = BTreeMap::new();
        let mut by_leaf = BTreeMap::<String, Vec<Bytes>>::new();
        for (row, tuple) in rows {
            let contact = contacts::of_order(row);
            let number = contact.number(scope.tenant());
            contacts.insert(number, contact);
            self.left_contacts.remove(&number);
            let mut key = Vec::with_capacity(160);
            copy::begin_row(&mut key, 6);
            copy::uuid(&mut key, scope.tenant());
            copy::text(&mut key, row.natural_key().unwrap_or_default());
            copy::uuid(&mut key, row.id);
            copy::timestamp(&mut key, row.month);
            copy::hash(&mut key, &row.hash);
            copy::bigint(&mut key, number);
            keys.push(Bytes::from(key));
            by_leaf.entry(self.month_leaf(row.month)).or_default().push(tuple);
        }
        if keys.is_empty() {
            return Ok(());
        }
        let (leaf, count) = (self.hash_leaf(KEYS_OF_ORDERS), keys.len());
        scope.copy(&leaf, COLUMNS_OF_KEYS, keys.into_iter()).await?;
        self.grown.add(leaf, count);
        let columns = columns(self.dataset);
        for (leaf, tuples) in by_leaf {
            let count = tuples.len();
            scope.copy(&leaf, &columns, tuples.into_iter()).await?;
            self.grown.add(leaf, count);
        }
        let leaf = self.hash_leaf(contacts::TABLE);
        let count = contacts::record(scope, &leaf, &contacts).await?;
        self.grown.add(leaf, count);
        Ok(())
    }

    /// Every stored row that shares an id or a natural key with one of `rows`.
    async fn look_up(&mut self, scope: &Scope<'_>, rows: &[StagedRow]) -> Result<HashMap<Uuid, Stored>, Error> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let tenant = scope.tenant();
        let sql = statement(self.dataset, include_str!("../queries/promotion/known_by_id.sql"));
        let mut found =
            scope.query("promotion/known_by_id", &sql, &[(&tenant, Type::UUID), (&ids, Type::UUID_ARRAY)]).await?;
        if self.dataset.natural_key.is_some() {
            let naturals: Vec<_> = rows.iter().filter_map(StagedRow::natural_key).collect();
            let sql = statement(self.dataset, include_str!("../queries/promotion/known_by_natural_key.sql"));
            found.extend(
                scope
                    .query(
                        "promotion/known_by_natural_key",
                        &sql,
                        &[(&tenant, Type::UUID), (&naturals, Type::TEXT_ARRAY)],
                    )
                    .await?,
            );
        }
        let mut stored = HashMap::with_capacity(found.len());
        for row in found {
            let hash = read_hash(row.get("payload_hash"))?;
            stored.insert(row.get("id"), Stored { natural: row.get("natural_key"), hash, month: row.get("month") });
        }
        self.forget_archived(scope, &mut stored).await?;
        Ok(stored)
    }

    /// A row that states when it was created is the same as a stored one that came without, if that has this very time: so are
    /// rows that come back from an export. Of a row that comes twice in a slice the file's order decides, as ever.
    async fn recognise_creation(
        &self,
        scope: &Scope<'_>,
        rows: &[StagedRow],
        stored: &mut HashMap<Uuid, Stored>,
    ) -> Result<(), Error> {
        let mut times = HashMap::<Uuid, usize>::with_capacity(rows.len());
        for row in rows {
            *times.entry(row.id).or_default() += 1;
        }
        let is_like = |row: &&StagedRow| {
            stored.get(&row.id).is_some_and(|known| {
                known.hash != row.hash && Some(known.hash) == row.hash_but_for_creation(self.dataset)
            })
        };
        let alike = rows.iter().filter(|row| times[&row.id] == 1).filter(is_like);
        let alike: HashMap<_, _> = alike.map(|row| (row.id, row)).collect();
        if alike.is_empty() {
            return Ok(());
        }
        let (tenant, ids) = (scope.tenant(), alike.keys().copied().collect::<Vec<_>>());
        let found = if self.dataset.month.is_some() {
            let months: Vec<_> = ids.iter().filter_map(|id| stored.get(id)?.month).collect();
            let bounds = (months.iter().min(), months.iter().max());
            let sql = statement(self.dataset, include_str!("../queries/promotion/created_by_month.sql"));
            let with: [crate::database::Parameter<'_>; 5] = [
                (&tenant, Type::UUID),
                (&ids, Type::UUID_ARRAY),
                (&months, Type::TIMESTAMPTZ_ARRAY),
                (&bounds.0, Type::TIMESTAMPTZ),
                (&bounds.1, Type::TIMESTAMPTZ),
            ];
            scope.query("promotion/created_by_month", &sql, &with).await?
        } else {
            let sql = statement(self.dataset, include_str!("../queries/promotion/created.sql"));
            scope.query("promotion/created", &sql, &[(&tenant, Type::UUID), (&ids, Type::UUID_ARRAY)]).await?
        };
        for row in found {
            let (id, created_at) = (row.get::<_, Uuid>("id"), micros(row.get("created_at")));
            if let (Some(sent), Some(known)) = (alike.get(&id), stored.get_mut(&id))
                && sent.created_at(self.dataset) == Some(created_at)
            {
                known.hash = sent.hash;
            }
        }
        Ok(())
    }

    /// Removes keys whose orders were archived with their month: they are there until `retention` comes to them, and stand for
    /// nothing.
    async fn forget_archived(&mut self, scope: &Scope<'_>, stored: &mut HashMap<Uuid, Stored>) -> Result<(), Error> {
        // what lies in the default partition may be there, or have been archived with a partition that is gone
        let default = format!("{}_default", self.dataset.name);
        let has_leaf = |month| self.month_leaf(micros(month)) != default;
        let doubtful = stored.iter().filter_map(|(id, stored)| Some((*id, stored.month?)));
        let (ids, dates): (Vec<_>, Vec<_>) = doubtful.filter(|(_, month)| !has_leaf(*month)).unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let tenant = scope.tenant();
        let bounds = (dates.iter().min(), dates.iter().max());
        let with: [crate::database::Parameter<'_>; 5] = [
            (&tenant, Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (&dates, Type::TIMESTAMPTZ_ARRAY),
            (&bounds.0, Type::TIMESTAMPTZ),
            (&bounds.1, Type::TIMESTAMPTZ),
        ];
        let sql = include_str!("../queries/promotion/live_orders.sql");
        let live = scope.query("promotion/live_orders", sql, &with).await?;
        let live: HashSet<Uuid> = live.iter().map(|row| row.get("order_id")).collect();
        let gone: Vec<_> = ids.into_iter().filter(|id| !live.contains(id)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        stored.retain(|id, _| !gone.contains(id));
        self.remove_keys(scope, &gone).await
    }

    /// Removes the keys of orders.
    async fn remove_keys(&mut self, scope: &Scope<'_>, orders: &[Uuid]) -> Result<(), Error> {
        let sql = statement(self.dataset, include_str!("../queries/promotion/remove_keys.sql"));
        let with: [crate::database::Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&orders, Type::UUID_ARRAY)];
        let removed = scope.query("promotion/remove_keys", &sql, &with).await?;
        // null: recorded before there were contacts
        self.left_contacts.extend(removed.iter().filter_map(|row| row.get::<_, Option<i64>>(0)));
        Ok(())
    }

    /// Removes rows that are about to be replaced and returns what must be known of each.
    async fn remove(
        &mut self,
        scope: &Scope<'_>,
        ids: &[Uuid],
        stored: &HashMap<Uuid, Stored>,
    ) -> Result<HashMap<Uuid, Removed>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let tenant = scope.tenant();
        let removed = if self.dataset.month.is_some() {
            let months: Vec<_> = ids.iter().filter_map(|id| stored.get(id)?.month).collect();
            let bounds = (months.iter().min(), months.iter().max());
            let sql = statement(self.dataset, include_str!("../queries/promotion/remove_by_month.sql"));
            let with: [crate::database::Parameter<'_>; 5] = [
                (&tenant, Type::UUID),
                (&ids, Type::UUID_ARRAY),
                (&months, Type::TIMESTAMPTZ_ARRAY),
                (&bounds.0, Type::TIMESTAMPTZ),
                (&bounds.1, Type::TIMESTAMPTZ),
            ];
            let removed = scope.query("promotion/remove_by_month", &sql, &with).await?;
            self.remove_keys(scope, ids).await?;
            removed
        } else {
            let sql = statement(self.dataset, include_str!("../queries/promotion/remove.sql"));
            scope.query("promotion/remove", &sql, &[(&tenant, Type::UUID), (&ids, Type::UUID_ARRAY)]).await?
        };
        if removed.len() != ids.len() {
            return Err(Error::Corrupt("a key without its row"));
        }
        Ok(removed
            .iter()
            .map(|row| {
                let created_at = row.get::<_, Option<SystemTime>>("created_at").map(micros);
                (row.get("id"), Removed { created_at, belongs_to: row.get("belongs_to") })
            })
            .collect())
    }
}

/// The advisory lock under which a tenant's rows of a dataset are promoted.
pub(crate) fn lock_name(tenant: Uuid, dataset: &str) -> String {
    format!("promotion/{tenant}/{dataset}")
}

/// Waits until no other transaction promotes rows of that dataset of the tenant; others wait for this one until it ends.
pub(crate) async fn wait_for_turn(scope: &Scope<'_>, dataset: &str) -> Result<(), Error> {
    let lock = lock_name(scope.tenant(), dataset);
    let sql = include_str!("../queries/promotion/lock.sql");
    scope.query("promotion/lock", sql, &[(&lock, Type::TEXT)]).await.map(drop)
}

/// The remainder of the tenant's hash partitions.
pub(crate) async fn leaf_of_tenant(scope: &Scope<'_>) -> Result<i32, Error> {
    let sql = include_str!("../queries/promotion/leaf_of_tenant.sql");
    let row = scope.query_opt("promotion/leaf_of_tenant", sql, &[(&scope.tenant(), Type::UUID)]).await?;
    Ok(row.ok_or(Error::Corrupt("no partition takes the tenant"))?.get(0))
}

/// Where the keys of orders are claimed, since partitions by month cannot keep them unique.
const KEYS_OF_ORDERS: &str = "order_keys";
const COLUMNS_OF_KEYS: &str = "tenant_id, external_order_id, order_id, order_date, payload_hash, contact";

/// The dataset of orders.
const ORDERS: &str = "orders";

/// Which column has the category of a row's product, where one does.
fn category_column(dataset: &Dataset) -> Option<usize> {
    // the tenant stands before the fields
    dataset.fields.iter().position(|field| field.name == "category_id").map(|at| 1 + at)
}

/// Which column has the order of a row, where one does.
fn order_column(dataset: &Dataset) -> Option<usize> {
    dataset.references.iter().find(|reference| reference.to == ORDERS).map(|reference| 1 + reference.field)
}

/// Whether sales are counted from the rows of a dataset.
fn of_sales(dataset: &Dataset) -> bool {
    dataset.effect == Effect::Kept
        && (dataset.month.is_some() || category_column(dataset).is_some() || order_column(dataset).is_some())
}

/// The columns of a staged row: a table may have more.
fn columns(dataset: &Dataset) -> String {
    let fields = dataset.fields.iter().map(|field| field.name);
    let created_at = dataset.created_at.then_some("created_at");
    let hash = dataset.month.is_none().then_some("payload_hash");
    let names = ["tenant_id"].into_iter().chain(fields).chain(created_at).chain(hash);
    names.collect::<Vec<_>>().join(", ")
}

/// The hash of a stored row. A row that was changed otherwise than by an upload has none, which no upload's is like.
fn read_hash(stored: &[u8]) -> Result<RowHash, Error> {
    if stored.is_empty() {
        return Ok(RowHash::default());
    }
    RowHash::try_from(stored).map_err(|_| Error::Corrupt("a payload hash of another length"))
}

/// A statement of `queries/promotion` with the names of a dataset put in; they come from the code, never from a request.
fn statement(dataset: &Dataset, template: &str) -> String {
    let month = dataset.month.map(|at| dataset.fields[at].name);
    let belongs_to = category_column(dataset).or(order_column(dataset));
    let belongs_to = belongs_to.map_or("null::uuid", |column| dataset.fields[column - 1].name);
    template
        .replace("{table}", dataset.name)
        .replace("{keys}", if month.is_some() { KEYS_OF_ORDERS } else { dataset.name })
        .replace("{id}", dataset.id_field().name)
        .replace("{natural_key}", dataset.natural_field().map_or("null::text", |field| field.name))
        .replace("{month}", month.unwrap_or("null::timestamptz"))
        .replace("{created_at}", if dataset.created_at { "created_at" } else { "null::timestamptz" })
        .replace("{belongs_to}", belongs_to)
}

fn micros(at: SystemTime) -> i64 {
    let whole = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    at.duration_since(SystemTime::UNIX_EPOCH).map_or_else(|before| -whole(before.duration()), whole)
}
