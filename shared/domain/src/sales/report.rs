//! From totals to an answer.

use super::period::{Bucket, bucket_of};
use super::tally::{Sum, Tally, read_categories, read_products, read_quarters};
use super::{DAY_MICROS, QUARTER_MICROS, Segment, Unreadable};
use std::collections::HashMap;
use uuid::Uuid;

/// What sales are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Days that are those of UTC.
    Days,
    /// Days or hours of a time zone.
    Quarters,
    /// Products.
    Products,
    /// Categories of products.
    Categories,
}

/// What sales are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A day or an hour, by its place among those of the answer.
    Time(usize),
    /// A product.
    Product(Uuid),
    /// A category, or all products without one.
    Category(Option<Uuid>),
}

/// What is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The sum of sales, in hundredths.
    pub cents: u128,
    /// How many pieces; 0 where orders are counted and not their items.
    pub quantity: u64,
    /// How many orders.
    pub orders: u64,
    /// How many customers.
    pub customers: u64,
}

impl From<Tally> for Figures {
    fn from(tally: Tally) -> Self {
        let Tally { cents, quantity, orders, customers } = tally;
        Self { cents, quantity, orders, customers: customers.estimate() }
    }
}

/// Adds up the totals of many days.
#[derive(Debug)]
pub struct Report<'a> {
    part: Part,
    buckets: &'a [Bucket],
    total: Sum,
    groups: HashMap<Key, Sum>,
}

impl<'a> Report<'a> {
    /// A report of nothing; `buckets` are the days or hours that it is by, if it is by any.
    #[must_use]
    pub fn new(part: Part, buckets: &'a [Bucket]) -> Self {
        Self { part, buckets, total: Sum::default(), groups: HashMap::new() }
    }

    /// What it is by.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    fn add(&mut self, key: Key, tally: &Tally) {
        self.groups.entry(key).or_default().add(tally);
    }

    /// Adds what was sold at some time, given in microseconds since 1970.
    fn add_at(&mut self, at: i64, tally: &Tally) {
        self.total.add(tally);
        self.add(Key::Time(bucket_of(self.buckets, at)), tally);
    }

    /// Adds a whole day of UTC, given in days since 1970, to a report by such days.
    pub fn add_day(&mut self, day: i32, tally: &Tally) {
        self.add_at(i64::from(day) * DAY_MICROS, tally);
    }

    /// Adds what is stored of a day for what the report is by.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn add_stored(&mut self, day: i32, bytes: &[u8]) -> Result<(), Unreadable> {
        match self.part {
            Part::Days | Part::Quarters => {
                for (quarter, tally) in read_quarters(bytes)? {
                    self.add_at(i64::from(day) * DAY_MICROS + i64::from(quarter) * QUARTER_MICROS, &tally);
                }
            }
            Part::Products => {
                let (all, products) = read_products(bytes)?;
                self.total.add(&all);
                products.iter().for_each(|(id, tally)| self.add(Key::Product(*id), tally));
            }
            Part::Categories => {
                let (all, categories) = read_categories(bytes)?;
                self.total.add(&all);
                categories.iter().for_each(|(id, tally)| self.add(Key::Category(*id), tally));
            }
        }
        Ok(())
    }

    /// Adds what was counted just now.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn add_counted(&mut self, segment: &Segment) -> Result<(), Unreadable> {
        let bytes = match self.part {
            Part::Days | Part::Quarters => &segment.quarters,
            Part::Products => &segment.products,
            Part::Categories => &segment.categories,
        };
        self.add_stored(segment.day, bytes)
    }

    /// What has come of it: in all, and of each group, in no order.
    #[must_use]
    pub fn finish(self) -> (Figures, Vec<(Key, Figures)>) {
        let groups = self.groups.into_iter().map(|(key, sum)| (key, sum.finish().into()));
        (self.total.finish().into(), groups.collect())
    }
}

/// Puts groups into the order in which they are told: times as they follow one another, all others by their sales, the largest
/// first, and at most so many of those. Returns how many there were.
pub fn arrange(groups: &mut Vec<(Key, Figures)>, limit: usize) -> usize {
    let found = groups.len();
    match groups.first() {
        Some((Key::Time(_), _)) | None => groups.sort_unstable_by_key(|(key, _)| *key),
        Some(_) => {
            groups.sort_unstable_by_key(|(key, figures)| (u128::MAX - figures.cents, *key));
            groups.truncate(limit);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_times_in_their_order() {
        let of = |cents| Figures { cents, ..Figures::default() };
        let id = Uuid::from_u128;
        let mut groups: Vec<_> =
            [(7, 5), (3, 9), (2, 9), (4, 0)].map(|(key, cents)| (Key::Product(id(key)), of(cents))).into();
        assert_eq!(arrange(&mut groups, 3), 4);
        assert_eq!(groups.iter().map(|group| group.0).collect::<Vec<_>>(), [2, 3, 7].map(|key| Key::Product(id(key))));
        let mut groups: Vec<_> = [(7, 5), (3, 9)].map(|(key, cents)| (Key::Time(key), of(cents))).into();
        assert_eq!(arrange(&mut groups, 1), 2);
        assert_eq!(groups.iter().map(|group| group.0).collect::<Vec<_>>(), [Key::Time(3), Key::Time(7)]);
    }
}
