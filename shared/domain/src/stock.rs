//! What stock events do to the levels of products.
//!
//! The events of one product apply one after another in file order, all of them or none: one that cannot apply is a
//! conflict of its product, and then nothing of that product changes. Products do not touch one another. An event whose
//! id was seen before does nothing. [`decide`] gives what became of every event and where every product ends.

use crate::dataset::stock_events::field;
use crate::reject::{Code, RowError};
use crate::row::Row;
use crate::value::Value;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The highest level that is kept; PostgreSQL's `integer`.
pub const MAX_LEVEL: i32 = i32::MAX;

/// How far the clock of whoever sets a level may be ahead of ours, in microseconds.
pub const MAX_SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

/// One thing that happened to the stock of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is known by, whatever product it names.
    pub id: Uuid,
    /// The product.
    pub product: Uuid,
    /// What it does.
    pub change: Change,
    /// Compare and set: the level that the product must have for the event to apply.
    pub expected: Option<i32>,
    /// When it happened, in microseconds since 1970; if it does not say, when it was created or received.
    pub at: i64,
}

/// What an event does to a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds so much, whenever it happened.
    Delta(i32),
    /// Puts the level there, unless a later one did before; of two at the same time the one that comes second holds.
    /// With [`Event::expected`] the level alone decides, and not the time.
    Set(i32),
}

/// Where the stock of a product stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// How much there is; never below 0.
    pub level: i32,
    /// When the latest [`Change::Set`] that applied happened, in microseconds since 1970.
    pub set_at: Option<i64>,
    /// How many events of the product are recorded. The last of them has this as its own number.
    pub sequence: i64,
}

/// What happens to a level that would fall below 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNegative {
    /// It is 0, and the answer says so.
    #[default]
    Clamp,
    /// The event is a conflict of its product.
    Reject,
}

/// What is known before any event applies.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where the products stand that the events name. One that is missing has nothing and never had.
    pub levels: HashMap<Uuid, Level>,
    /// The ids of the events that were recorded before.
    pub seen: HashSet<Uuid>,
    /// The products of which no event may apply.
    pub barred: HashMap<Uuid, Bar>,
}

/// Why no event of a product may apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// There is no such product, and such are refused.
    NoSuchProduct,
    /// It had a conflict further up in the same file. What follows there may rest on what did not apply.
    EarlierConflict,
}

/// What became of events, one by one and by product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// One for each event, in order.
    pub outcomes: Vec<Outcome>,
    /// One for each product that an event names, in the order of its first event.
    pub products: Vec<Product>,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is to be recorded.
    Recorded(Record),
    /// Its id was seen before: nothing changes, and nothing is recorded.
    Duplicate,
    /// Its product has a conflict: nothing changes, and nothing is recorded.
    Conflicting,
}

/// What is recorded of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it applied.
    pub kind: Kind,
    /// What it truly added to the level.
    pub change: i32,
    /// The level after it.
    pub level: i32,
    /// Its number among the recorded events of its product, from 1.
    pub sequence: i64,
}

/// How an event applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it says.
    Applied,
    /// The level would have fallen below 0, and is 0.
    Clamped,
    /// It adds 0.
    Unchanged,
    /// The level was set at a later time before.
    StaleIgnored,
}

/// What became of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Which.
    pub id: Uuid,
    /// Where it stands now; as before, if it has a conflict.
    pub level: Level,
    /// Why none of its events applied.
    pub conflict: Option<Conflict>,
    /// How many of its events became what.
    pub counts: Counts,
}

impl Product {
    /// Whether it had no level before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.level.sequence > 0 && self.level.sequence == i64::from(self.counts.recorded())
    }
}

/// How many events became what; together all there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Kind::Applied`] and [`Kind::Clamped`].
    pub processed: u32,
    /// Those of `processed` that are [`Kind::Clamped`]; the one count that is part of another.
    pub clamped: u32,
    /// [`Kind::Unchanged`].
    pub unchanged: u32,
    /// [`Kind::StaleIgnored`].
    pub stale_ignored: u32,
    /// [`Outcome::Duplicate`].
    pub duplicates: u32,
    /// [`Outcome::Conflicting`].
    pub conflicting: u32,
}

/// Why none of a product's events applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which of all events could not apply; the first of the product that is no duplicate, if it is barred.
    pub at: usize,
    /// Why.
    pub reason: Reason,
}

/// Why an event cannot apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The level is not what was expected.
    ExpectedLevel {
        /// What was.
        expected: i32,
        /// What it was when the event's turn came; events of the product before it in the same lot count.
        found: i32,
    },
    /// The level would be this, and levels below 0 are refused.
    NegativeLevel(i64),
    /// The level would be this, which is over [`MAX_LEVEL`].
    LevelTooHigh(i64),
    /// The product is barred.
    Barred(Bar),
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::ExpectedLevel { .. } => Code::ExpectedLevel,
            Self::NegativeLevel(_) => Code::NegativeLevel,
            Self::LevelTooHigh(_) => Code::LevelTooHigh,
            Self::Barred(Bar::NoSuchProduct) => Code::MissingReference,
            Self::Barred(Bar::EarlierConflict) => Code::ProductConflict,
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn detail(self) -> String {
        match self {
            Self::ExpectedLevel { expected, found } => format!("the level is {found}, expected was {expected}"),
            Self::NegativeLevel(would_be) => format!("the level would be {would_be}, and must not be below 0"),
            Self::LevelTooHigh(would_be) => format!("the level would be {would_be}, and must not be over {MAX_LEVEL}"),
            Self::Barred(Bar::NoSuchProduct) => "there is no such product".to_owned(),
            Self::Barred(Bar::EarlierConflict) => "the product has a conflict further up in the file".to_owned(),
        }
    }

    /// The field that it is about.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::ExpectedLevel { .. } => "expected",
            Self::NegativeLevel(_) | Self::LevelTooHigh(_) => "delta",
            Self::Barred(_) => "product_id",
        }
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Recorded(Record { kind: Kind::Applied, .. }) => self.processed += 1,
            Outcome::Recorded(Record { kind: Kind::Clamped, .. }) => {
                self.processed += 1;
                self.clamped += 1;
            }
            Outcome::Recorded(Record { kind: Kind::Unchanged, .. }) => self.unchanged += 1,
            Outcome::Recorded(Record { kind: Kind::StaleIgnored, .. }) => self.stale_ignored += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Conflicting => self.conflicting += 1,
        }
    }

    /// How many are recorded.
    #[must_use]
    pub fn recorded(&self) -> u32 {
        self.processed + self.unchanged + self.stale_ignored
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.recorded() + self.duplicates + self.conflicting
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            processed: sum.processed + one.processed,
            clamped: sum.clamped + one.clamped,
            unchanged: sum.unchanged + one.unchanged,
            stale_ignored: sum.stale_ignored + one.stale_ignored,
            duplicates: sum.duplicates + one.duplicates,
            conflicting: sum.conflicting + one.conflicting,
        })
    }
}

/// Decides about `events`, which stand in file order, given what is known of their ids and products.
///
/// Of events with the same id the first is the one that counts, whatever becomes of it.
#[must_use]
pub fn decide(events: &[Event], known: &Known, on_negative: OnNegative) -> Decision {
    let mut products = Vec::new();
    let mut places = HashMap::new();
    let mut ids = HashSet::with_capacity(events.len());
    let mut outcomes = Vec::with_capacity(events.len());
    let mut place_of = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        let place = match places.entry(event.product) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(free) => {
                let level = known.levels.get(&event.product).copied().unwrap_or_default();
                products.push(Product { id: event.product, level, conflict: None, counts: Counts::default() });
                *free.insert(products.len() - 1)
            }
        };
        place_of.push(place);
        let product = &mut products[place];
        let is_duplicate = known.seen.contains(&event.id) || !ids.insert(event.id);
        outcomes.push(if is_duplicate {
            Outcome::Duplicate
        } else if product.conflict.is_some() {
            Outcome::Conflicting
        } else {
            let bar = known.barred.get(&event.product).copied().map(Reason::Barred);
            match bar.map_or_else(|| apply(&mut product.level, event, on_negative), Err) {
                Ok(record) => Outcome::Recorded(record),
                Err(reason) => {
                    product.conflict = Some(Conflict { at, reason });
                    Outcome::Conflicting
                }
            }
        });
    }
    for (outcome, place) in outcomes.iter_mut().zip(place_of) {
        let product = &mut products[place];
        // what applied before the conflict does not either
        if product.conflict.is_some() && *outcome != Outcome::Duplicate {
            *outcome = Outcome::Conflicting;
        }
        product.counts.add(*outcome);
    }
    for product in products.iter_mut().filter(|product| product.conflict.is_some()) {
        product.level = known.levels.get(&product.id).copied().unwrap_or_default();
    }
    Decision { outcomes, products }
}

fn apply(level: &mut Level, event: &Event, on_negative: OnNegative) -> Result<Record, Reason> {
    let before = level.level;
    if let Some(expected) = event.expected.filter(|expected| *expected != before) {
        return Err(Reason::ExpectedLevel { expected, found: before });
    }
    let is_compared = event.expected.is_some();
    let (kind, after) = match event.change {
        Change::Delta(0) => (Kind::Unchanged, before),
        Change::Delta(delta) => bound(i64::from(before) + i64::from(delta), on_negative)?,
        Change::Set(_) if !is_compared && level.set_at.is_some_and(|set_at| event.at < set_at) => {
            (Kind::StaleIgnored, before)
        }
        Change::Set(to) => {
            let bounded = bound(i64::from(to), on_negative)?;
            level.set_at = level.set_at.max(Some(event.at));
            bounded
        }
    };
    level.level = after;
    level.sequence += 1;
    // both are from 0 up, so the difference fits
    Ok(Record { kind, change: after - before, level: after, sequence: level.sequence })
}

/// What becomes of a level that would be `would_be`.
fn bound(would_be: i64, on_negative: OnNegative) -> Result<(Kind, i32), Reason> {
    match (i32::try_from(would_be), on_negative) {
        (Ok(level @ 0..), _) => Ok((Kind::Applied, level)),
        (Err(_), _) if would_be > 0 => Err(Reason::LevelTooHigh(would_be)),
        (_, OnNegative::Clamp) => Ok((Kind::Clamped, 0)),
        (_, OnNegative::Reject) => Err(Reason::NegativeLevel(would_be)),
    }
}

/// The event of a row of `stock_events` that was received at `received_at`, in microseconds since 1970.
///
/// # Errors
/// [`Code::ClockSkew`] when it sets a level in the future: no other could be set until then.
pub fn event(row: &Row<'_>, received_at: i64) -> Result<Event, RowError> {
    let integer = |at: usize| if let Value::Integer(value) = row.values[at] { Some(value) } else { None };
    let uuid = |at: usize| if let Value::Uuid(id) = row.values[at] { id } else { Uuid::nil() };
    let (at, said_by) = match (&row.values[field::EVENT_TIME], row.created_at) {
        (Value::Micros(at), _) => (*at, "event_time"),
        (_, Some(at)) => (at, "created_at"),
        _ => (received_at, ""),
    };
    let change = match integer(field::SET) {
        Some(to) => Change::Set(to),
        None => Change::Delta(integer(field::DELTA).unwrap_or_default()),
    };
    if matches!(change, Change::Set(_)) && at > received_at.saturating_add(MAX_SKEW_MICROS) {
        let detail = "a level cannot be set more than five minutes ahead of the clock";
        return Err(RowError::of_field(Code::ClockSkew, said_by, detail));
    }
    let (id, product) = (uuid(field::STOCK_EVENT_ID), uuid(field::PRODUCT_ID));
    Ok(Event { id, product, change, expected: integer(field::EXPECTED), at })
}

/// What a row of `stock_events` says besides what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details<'a> {
    /// When it happened, in microseconds since 1970, if it says so.
    pub event_time: Option<i64>,
    /// Where it comes from.
    pub source: Option<&'a str>,
    /// The text of a JSON object.
    pub meta: Option<&'a str>,
}

/// What a row says besides.
#[must_use]
pub fn details<'a>(row: &'a Row<'_>) -> Details<'a> {
    let text = |at: usize| match &row.values[at] {
        Value::Text(text) | Value::Json(text) => Some(text.as_ref()),
        _ => None,
    };
    let event_time = if let Value::Micros(at) = row.values[field::EVENT_TIME] { Some(at) } else { None };
    Details { event_time, source: text(field::SOURCE), meta: text(field::META) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dataset, row};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const P: Uuid = Uuid::from_u128(0xF);

    fn delta(id: u128, delta: i32) -> Event {
        Event { id: Uuid::from_u128(id), product: P, change: Change::Delta(delta), expected: None, at: 0 }
    }

    fn set(id: u128, to: i32, at: i64) -> Event {
        Event { change: Change::Set(to), at, ..delta(id, 0) }
    }

    fn at_level(level: i32) -> Known {
        let level = Level { level, set_at: Some(100), sequence: 7 };
        Known { levels: HashMap::from([(P, level)]), ..Known::default() }
    }

    fn one(events: &[Event], known: &Known, on_negative: OnNegative) -> Product {
        let decision = decide(events, known, on_negative);
        assert_eq!(decision.products.len(), 1);
        decision.products[0]
    }

    #[test]
    fn deltas_apply_in_order_and_are_numbered() {
        let decision = decide(&[delta(1, 5), delta(2, -7), delta(3, 0)], &at_level(3), OnNegative::Clamp);
        let record = |kind, change, level, sequence| Outcome::Recorded(Record { kind, change, level, sequence });
        assert_eq!(
            decision.outcomes,
            [record(Kind::Applied, 5, 8, 8), record(Kind::Applied, -7, 1, 9), record(Kind::Unchanged, 0, 1, 10)]
        );
        let counts = decision.products[0].counts;
        assert_eq!((counts.processed, counts.unchanged), (2, 1), "an event that adds 0 is not processed");
    }

    #[test]
    fn a_level_below_zero_is_zero_and_says_so() {
        let product = one(&[delta(1, -5), delta(2, 4)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.counts.processed, product.counts.clamped), (4, 2, 1));
        let product = one(&[delta(1, i32::MIN)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.counts.clamped), (0, 1));
    }

    #[test]
    fn a_level_below_zero_is_a_conflict_where_it_is_refused() {
        let product = one(&[delta(1, 4), delta(2, -9), delta(3, 100)], &at_level(3), OnNegative::Reject);
        assert_eq!(product.conflict, Some(Conflict { at: 1, reason: Reason::NegativeLevel(-2) }));
        assert_eq!((product.level.level, product.level.sequence, product.counts.conflicting), (3, 7, 3));
    }

    #[test]
    fn levels_do_not_overflow() {
        let product = one(&[delta(1, i32::MAX)], &at_level(1), OnNegative::Clamp);
        assert_eq!(product.conflict.map(|conflict| conflict.reason), Some(Reason::LevelTooHigh(1 << 31)));
        assert_eq!(one(&[delta(1, i32::MAX)], &at_level(0), OnNegative::Clamp).level.level, MAX_LEVEL);
    }

    #[test]
    fn an_older_set_is_ignored_and_a_second_of_the_same_time_holds() {
        let product = one(&[set(1, 50, 99)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.level.set_at, product.counts.stale_ignored), (3, Some(100), 1));
        let product = one(&[set(1, 50, 200), set(2, 60, 100), set(3, 70, 200)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.level.set_at, product.level.sequence), (70, Some(200), 10));
        assert_eq!((product.counts.processed, product.counts.stale_ignored), (2, 1));
    }

    #[test]
    fn what_is_expected_is_the_level_at_the_event_s_turn() {
        let expecting = |event: Event, expected| Event { expected: Some(expected), ..event };
        let product = one(&[delta(1, 2), expecting(delta(2, -1), 5)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.conflict), (4, None));
        let product = one(&[delta(1, 2), expecting(delta(2, -1), 3)], &at_level(3), OnNegative::Clamp);
        let reason = Reason::ExpectedLevel { expected: 3, found: 5 };
        assert_eq!(product.conflict, Some(Conflict { at: 1, reason }));
        assert_eq!(product.level.level, 3, "nothing of the product applies");
        let product = one(&[expecting(set(1, 9, 50), 3)], &at_level(3), OnNegative::Clamp);
        assert_eq!((product.level.level, product.level.set_at), (9, Some(100)), "the level decides, not the time");
        let product = one(&[expecting(delta(1, 0), 4)], &at_level(3), OnNegative::Clamp);
        assert!(product.conflict.is_some(), "an event that adds 0 may be a mere question");
    }

    #[test]
    fn products_do_not_touch_one_another() {
        let other = Event { product: Uuid::from_u128(1), ..delta(2, 8) };
        let decision = decide(&[delta(1, -9), other], &at_level(3), OnNegative::Reject);
        assert!(decision.products[0].conflict.is_some());
        assert_eq!((decision.products[1].level.level, decision.products[1].conflict), (8, None));
    }

    #[test]
    fn an_id_counts_once_whatever_became_of_it() {
        let mut known = at_level(3);
        known.seen.insert(Uuid::from_u128(9));
        let elsewhere = Event { product: Uuid::from_u128(1), ..delta(1, 8) };
        let decision = decide(&[delta(9, 1), delta(1, -9), elsewhere], &known, OnNegative::Reject);
        assert_eq!(decision.outcomes, [Outcome::Duplicate, Outcome::Conflicting, Outcome::Duplicate]);
    }

    #[test]
    fn nothing_of_a_barred_product_applies() {
        let mut known = at_level(3);
        known.barred.insert(P, Bar::EarlierConflict);
        known.seen.insert(Uuid::from_u128(1));
        let product = one(&[delta(1, 1), delta(2, 1)], &known, OnNegative::Clamp);
        assert_eq!(product.conflict, Some(Conflict { at: 1, reason: Reason::Barred(Bar::EarlierConflict) }));
        assert_eq!((product.counts.duplicates, product.counts.conflicting), (1, 1));
    }

    fn read(line: &str) -> Result<Event, RowError> {
        let dataset = dataset::by_name("stock_events").expect("stock_events");
        let row =
            row::parse(dataset, Uuid::from_u128(0xA), line.as_bytes()).map_err(|refused| refused.errors[0].clone())?;
        event(&row, 1_000)
    }

    #[test]
    fn a_row_says_what_it_does() {
        let line = |rest: &str| format!(r#"{{"stock_event_id":"{}","product_id":"{P}",{rest}}}"#, Uuid::from_u128(1));
        let event = Event { at: 1_000, ..delta(1, -3) };
        assert_eq!(read(&line(r#""delta":-3,"set":null,"x":1"#)), Ok(event));
        assert_eq!(read(&line(r#""delta":-3,"expected":"7""#)), Ok(Event { expected: Some(7), ..event }));
        let set = Event { change: Change::Set(5), at: 2_000_000, ..event };
        assert_eq!(read(&line(r#""set":5,"event_time":"1970-01-01T00:00:02Z""#)), Ok(set));
        for (rest, code, pointer) in [
            (r#""source":"order""#, Code::MissingField, "/delta"),
            (r#""delta":1,"set":1"#, Code::ExclusiveFields, "/set"),
            (r#""set":-1"#, Code::OutOfRange, "/set"),
            (r#""delta":1,"expected":-1"#, Code::OutOfRange, "/expected"),
            (r#""delta":2147483648"#, Code::OutOfRange, "/delta"),
            (r#""delta":1.5"#, Code::InvalidInteger, "/delta"),
            (r#""set":1,"event_time":"1970-01-01T00:06""#, Code::ClockSkew, "/event_time"),
        ] {
            let error = read(&line(rest)).expect_err(rest);
            assert_eq!((error.code, error.pointer.as_str()), (code, pointer), "{rest}");
        }
        let created = r#""set":1,"created_at":"1970-01-01T00:00:03Z""#;
        assert_eq!(read(&line(created)).map(|event| event.at), Ok(3_000_000));
        assert!(read(&line(r#""delta":1,"event_time":"2999-01-01T00:00""#)).is_ok(), "it decides nothing");
    }

    /// The oracle: one product at a time on a copy, with a retry of nothing, in numbers that cannot overflow.
    #[derive(Clone, Default)]
    struct Shop {
        levels: BTreeMap<Uuid, (i128, Option<i64>, i64)>,
        ids: HashSet<Uuid>,
    }

    impl Shop {
        /// Applies a lot as a person would: sorted into products, each product on a copy that is kept or thrown away.
        fn take(
            &mut self,
            events: &[Event],
            barred: &HashMap<Uuid, Bar>,
            on_negative: OnNegative,
        ) -> Vec<&'static str> {
            let mut words = vec![""; events.len()];
            let mut met = self.ids.clone();
            for (at, event) in events.iter().enumerate() {
                if !met.insert(event.id) {
                    words[at] = "duplicate";
                }
            }
            let named: HashSet<_> = events.iter().map(|event| event.product).collect();
            for product in named {
                let mine: Vec<usize> =
                    (0..events.len()).filter(|at| events[*at].product == product && words[*at].is_empty()).collect();
                let (mut level, mut set_at, mut number) = self.levels.get(&product).copied().unwrap_or_default();
                let mut said = Vec::new();
                let fine = (mine.is_empty() || !barred.contains_key(&product))
                    && mine.iter().all(|at| {
                        let event = &events[*at];
                        number += 1;
                        if event.expected.is_some_and(|expected| i128::from(expected) != level) {
                            return false;
                        }
                        let mut word = "applied";
                        match event.change {
                            Change::Delta(0) => word = "unchanged",
                            Change::Delta(delta) => level += i128::from(delta),
                            Change::Set(to) if event.expected.is_some() || set_at.is_none_or(|set| set <= event.at) => {
                                level = i128::from(to);
                                set_at = Some(set_at.map_or(event.at, |set| set.max(event.at)));
                            }
                            Change::Set(_) => word = "stale",
                        }
                        if level < 0 && on_negative == OnNegative::Clamp {
                            level = 0;
                            word = "clamped";
                        }
                        said.push(word);
                        (0..=i128::from(i32::MAX)).contains(&level)
                    });
                for (nth, at) in mine.iter().enumerate() {
                    words[*at] = if fine { said[nth] } else { "conflict" };
                }
                if fine {
                    self.levels.insert(product, (level, set_at, number));
                    self.ids.extend(mine.iter().map(|at| events[*at].id));
                }
            }
            words
        }
    }

    fn record_of(outcome: &Outcome) -> Option<Record> {
        if let Outcome::Recorded(record) = outcome { Some(*record) } else { None }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Recorded(Record { kind: Kind::Applied, .. }) => "applied",
            Outcome::Recorded(Record { kind: Kind::Clamped, .. }) => "clamped",
            Outcome::Recorded(Record { kind: Kind::Unchanged, .. }) => "unchanged",
            Outcome::Recorded(Record { kind: Kind::StaleIgnored, .. }) => "stale",
            Outcome::Duplicate => "duplicate",
            Outcome::Conflicting => "conflict",
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let change = prop_oneof![
            5 => (-6_i32..8).prop_map(Change::Delta),
            1 => prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(i32::MAX - 3)].prop_map(Change::Delta),
            2 => (0_i32..8).prop_map(Change::Set),
            1 => Just(Change::Set(i32::MAX)),
        ];
        (0_u128..60, 0_u128..4, change, proptest::option::weighted(0.2, 0_i32..6), 0_i64..5).prop_map(
            |(id, product, change, expected, at)| {
                let (id, product) = (Uuid::from_u128(id), Uuid::from_u128(product));
                Event { id, product, change, expected, at }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn lots_end_where_a_person_would_end(
            events in proptest::collection::vec(any_event(), 0..60),
            lot in 1_usize..20,
            rejects in any::<bool>(),
            barred in proptest::option::weighted(0.1, 0_u128..4),
        ) {
            let on_negative = if rejects { OnNegative::Reject } else { OnNegative::Clamp };
            let (mut shop, mut known) = (Shop::default(), Known::default());
            known.barred.extend(barred.map(|product| (Uuid::from_u128(product), Bar::NoSuchProduct)));
            for lot in events.chunks(lot) {
                let before = known.levels.clone();
                let decision = decide(lot, &known, on_negative);
                let expected = shop.take(lot, &known.barred, on_negative);
                prop_assert_eq!(decision.outcomes.iter().map(word).collect::<Vec<_>>(), expected);

                let counts: Counts = decision.products.iter().map(|product| product.counts).sum();
                prop_assert_eq!(counts.total() as usize, lot.len(), "counts add up");
                for product in &decision.products {
                    let stood = before.get(&product.id).copied().unwrap_or_default();
                    let records = lot.iter().zip(&decision.outcomes).filter(|(event, _)| event.product == product.id);
                    let records: Vec<Record> = records
                        .filter_map(|(_, outcome)| record_of(outcome))
                        .collect();
                    prop_assert!(records.iter().all(|record| record.level >= 0), "never below 0");
                    let sum: i64 = records.iter().map(|record| i64::from(record.change)).sum();
                    prop_assert_eq!(i64::from(stood.level) + sum, i64::from(product.level.level), "sums are conserved");
                    let numbers: Vec<_> = records.iter().map(|record| record.sequence).collect();
                    let due: Vec<_> = (stood.sequence + 1..=product.level.sequence).collect();
                    prop_assert_eq!(numbers, due, "every recorded event has its number");
                    if let Some(conflict) = product.conflict {
                        prop_assert_eq!(product.level, stood);
                        prop_assert_eq!(lot[conflict.at].product, product.id);
                        prop_assert_eq!(decision.outcomes[conflict.at], Outcome::Conflicting);
                    } else {
                        known.levels.insert(product.id, product.level);
                    }
                }
                for (event, outcome) in lot.iter().zip(&decision.outcomes) {
                    if matches!(outcome, Outcome::Recorded(_)) {
                        prop_assert!(known.seen.insert(event.id), "an id is recorded once");
                    }
                }
                prop_assert_eq!(&known.seen, &shop.ids);
                let levels: BTreeMap<_, _> = known
                    .levels
                    .iter()
                    .map(|(id, level)| (*id, (i128::from(level.level), level.set_at, level.sequence)))
                    .collect();
                prop_assert_eq!(&levels, &shop.levels);
            }
        }

        #[test]
        fn a_lot_sent_again_changes_nothing(events in proptest::collection::vec(any_event(), 0..60)) {
            let mut known = Known::default();
            let first = decide(&events, &known, OnNegative::Clamp);
            known.levels.extend(first.products.iter().map(|product| (product.id, product.level)));
            let recorded = events.iter().zip(&first.outcomes).filter(|(_, outcome)| record_of(outcome).is_some());
            known.seen.extend(recorded.map(|(event, _)| event.id));
            let is_whole = |event: &&Event| {
                first.products.iter().any(|product| product.id == event.product && product.conflict.is_none())
            };
            let whole: Vec<_> = events.iter().filter(is_whole).copied().collect();
            let again = decide(&whole, &known, OnNegative::Clamp);
            let ids_of_conflicts: HashSet<_> = events
                .iter()
                .zip(&first.outcomes)
                .filter(|(_, outcome)| **outcome == Outcome::Conflicting)
                .map(|(event, _)| event.id)
                .collect();
            for (event, outcome) in whole.iter().zip(&again.outcomes) {
                // an id whose first event fell to a conflict is free again
                prop_assert!(*outcome == Outcome::Duplicate || ids_of_conflicts.contains(&event.id));
            }
        }
    }
}
