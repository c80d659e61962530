//! What was sold, counted: how a day's orders become its totals ([`Counter`]), how the totals of many days become one answer
//! ([`Report`]), and which span of time an answer is about ([`period`]).
//!
//! A day is one of UTC. What is asked for in another time zone is put together from quarters of an hour, since every offset
//! that has been in use since 1972 is a multiple of one.

mod counter;
pub mod period;
mod report;
mod tally;

pub use counter::{Counter, Item, Order, Segment};
pub use report::{Figures, Key, Part, Report, arrange};
pub use tally::{OfAll, Sum, Tally, read_categories, read_products, read_quarters};

/// A day in microseconds.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// A quarter of an hour in microseconds.
pub const QUARTER_MICROS: i64 = 900_000_000;

/// The day of UTC in which an instant lies, given in microseconds since 1970, as the number of days since 1970.
#[must_use]
pub fn day_of(micros: i64) -> i32 {
    // 64 bits of microseconds are some 10^8 days
    i32::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX)
}

/// Totals that do not read as they were written.
#[derive(Debug, thiserror::Error)]
#[error("the totals of a day cannot be read")]
pub struct Unreadable;

/// A number of hundredths as a decimal number with two digits after its point.
#[must_use]
pub fn money(cents: u128) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
