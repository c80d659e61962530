//! The datasets: what a row of each consists of. One file holds one dataset; [`ALL`] is the list of them.

mod customers;
mod order_items;
mod orders;
pub(crate) mod price_events;
mod price_history;
mod products;
pub(crate) mod stock_events;

pub use orders::STATUSES as ORDER_STATUSES;

use crate::price::{self, Event};
use crate::reject::RowError;
use crate::row::{Refused, Row};
use crate::stock;
use crate::value::{Kind, Value};
use std::ops::Range;

/// Every dataset, in the order of promotion: what others refer to comes first.
pub static ALL: &[&Dataset] = &[
    &customers::CUSTOMERS,
    &products::PRODUCTS,
    &orders::ORDERS,
    &order_items::ORDER_ITEMS,
    &price_history::PRICE_HISTORY,
    &stock_events::STOCK_EVENTS,
    &price_events::PRICE_EVENTS,
];

/// A kind of row that shops send.
#[derive(Debug)]
pub struct Dataset {
    /// Its name in file names, requests and answers, and of its table.
    pub name: &'static str,
    /// Its fields, in the order of the table's columns between `tenant_id` and, where there are, `created_at` and
    /// `payload_hash`.
    pub fields: &'static [Field],
    /// Which field identifies a row within its tenant.
    pub id: usize,
    /// Which other field is unique within the tenant.
    pub natural_key: Option<usize>,
    /// Which field says the month of a row's partition; `None` where partitions go by tenant.
    pub month: Option<usize>,
    /// Whether rows carry `created_at`, which is the time of the upload where it is not given.
    pub created_at: bool,
    /// What its rows refer to, which comes before it in [`ALL`].
    pub references: &'static [Reference],
    /// What it waits behind.
    pub lane: Lane,
    /// What becomes of its rows.
    pub effect: Effect,
    /// Fills fields that follow from others, once all are read without an error.
    pub complete: fn(&mut [Value<'_>]) -> Result<(), RowError>,
}

/// A field that names a row of another dataset by its id.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Which field.
    pub field: usize,
    /// The dataset of the row that it names.
    pub to: &'static str,
}

/// Which queues a dataset's work goes through. Each lane has workers of its own, so that work in one never waits for work
/// in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Stock and prices: what shops act on within minutes.
    Urgent,
    /// Everything else.
    Bulk,
}

/// What becomes of a dataset's rows when they are promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are kept; one with a known id takes the place of the one that was there.
    Kept,
    /// They move the levels of their products, by the rules of [`stock`]; a known id does nothing.
    MovesStock,
    /// They change the prices of their products, by the rules of [`price`]; a known id does nothing.
    ChangesPrices,
}

/// A field of a dataset.
#[derive(Debug)]
pub struct Field {
    /// Its name in files and of its column.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What stands in its place when it is missing or null.
    pub missing: Missing,
}

/// What a missing field means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missing {
    /// The row is refused.
    Refused,
    /// The column is null, unless [`Dataset::complete`] knows better.
    Null,
    /// This text.
    Text(&'static str),
    /// This truth value.
    Bool(bool),
}

impl Field {
    const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, missing: Missing::Refused }
    }

    const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, missing: Missing::Null }
    }

    const fn or(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }
}

impl Dataset {
    /// Lets a valid row pass that was received at `received_at`, in microseconds since 1970. A price event that says when it
    /// was created, and not when it happened, has happened then.
    ///
    /// # Errors
    /// What is wrong with the row at that time.
    pub fn receive<'a>(&self, mut row: Row<'a>, received_at: i64) -> Result<Row<'a>, Refused> {
        let error = match self.effect {
            Effect::Kept => return Ok(row),
            Effect::MovesStock => match stock::event(&row, received_at) {
                Ok(_) => return Ok(row),
                Err(error) => error,
            },
            Effect::ChangesPrices => {
                price::date(&mut row);
                match Event::of_row(&row, received_at) {
                    Ok(_) => return Ok(row),
                    Err(error) => error,
                }
            }
        };
        let key = Some(row.id(self)).filter(|id| !id.is_nil()).map(|id| id.to_string());
        Err(Refused { key, errors: vec![error] })
    }

    /// Its place in [`ALL`].
    #[must_use]
    pub fn rank(&self) -> i16 {
        ALL.iter().zip(0..).find(|(known, _)| known.name == self.name).map_or(i16::MAX, |(_, rank)| rank)
    }

    /// The field that identifies a row.
    #[must_use]
    pub fn id_field(&self) -> &'static Field {
        &self.fields[self.id]
    }

    /// The other field that is unique.
    #[must_use]
    pub fn natural_field(&self) -> Option<&'static Field> {
        self.natural_key.map(|at| &self.fields[at])
    }
}

/// The dataset of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name == name)
}

fn nothing_follows(_: &mut [Value<'_>]) -> Result<(), RowError> {
    Ok(())
}

/// The end of the name of a monthly partition: `y2026m01` for an instant in microseconds since 1970. `None` outside of
/// the years that calendars know.
#[must_use]
pub fn month_suffix(micros: i64) -> Option<String> {
    let date = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(micros).ok()?);
    Some(format!("y{:04}m{:02}", date.year(), date.month()))
}

/// The month of an instant, both in microseconds since 1970: its beginning, and that of the next. `None` outside of the
/// years that calendars know.
#[must_use]
pub fn month_of(micros: i64) -> Option<Range<i64>> {
    let date = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(micros).ok()?).date();
    let first = date.first_of_month();
    let days = i64::from(date.days_in_month());
    let start = jiff::tz::Offset::UTC.to_timestamp(first.at(0, 0, 0, 0)).ok()?.as_microsecond();
    Some(start..start + days * DAY_MICROS)
}

/// A day of UTC, in microseconds.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days() {
        for (micros, days) in [(0, 0..31), (-1, -31..0), (59 * DAY_MICROS, 59..90), (31 * DAY_MICROS, 31..59)] {
            assert_eq!(month_of(micros), Some(days.start * DAY_MICROS..days.end * DAY_MICROS));
        }
        assert_eq!(month_of(i64::MAX), None);
    }

    #[test]
    fn what_a_dataset_refers_to_is_promoted_before_it() {
        for dataset in ALL {
            assert!(dataset.references.len() <= 8, "`promotion::Missing` has a bit for each");
            for reference in dataset.references {
                let to = by_name(reference.to).expect(reference.to);
                assert!(to.rank() < dataset.rank(), "{} refers to {}", dataset.name, to.name);
                assert!(matches!(dataset.fields[reference.field].kind, Kind::Uuid));
            }
        }
    }
}
