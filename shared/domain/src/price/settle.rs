//! What becomes of price events: whether the product has the price from now on, and since when.

use super::{Known, PriceEvent, RecentPrice, Verdict, detect};
use crate::dataset::price_events::{EVENT_ID, EVENT_TIME, METADATA, NEW_PRICE, OLD_PRICE, PRODUCT_ID, SOURCE};
use crate::reject::{Code, RowError};
use crate::row::Row;
use crate::stock::MAX_SKEW_MICROS;
use crate::value::Value;
use uuid::Uuid;

/// How many of a product's prices are looked at.
pub const RECENT: usize = 200;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its word, in tables and in answers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// That of the word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

words! {
    /// What a tenant wants done about prices that look wrong.
    Policy {
        /// They go in, and are told.
        Warn = "warn",
        /// They wait until somebody decides.
        Hold = "hold",
        /// They are refused.
        Reject = "reject",
    }
}

words! {
    /// What became of an event.
    Outcome {
        /// It is, or was, the product's price.
        Applied = "applied",
        /// The price stays until somebody decides.
        Held = "held",
        /// It was refused, by the policy.
        Rejected = "rejected",
        /// The product has, or waits for, a price of a later time.
        StaleIgnored = "stale_ignored",
    }
}

words! {
    /// What became of a price that was held.
    Decision {
        /// It is, or was, the product's price since then.
        Approved = "approved",
        /// It never was.
        Rejected = "rejected",
        /// A newer event took its place before anybody decided.
        Superseded = "superseded",
    }
}

/// An event, as far as it decides. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is known by.
    pub id: Uuid,
    /// Whose price changes.
    pub product: Uuid,
    /// From what to what.
    pub prices: PriceEvent,
    /// When it happened, if it says so.
    pub at: Option<i64>,
    /// When it was received.
    pub received_at: i64,
}

impl Event {
    /// That of a row of `price_events` that was received at `received_at`.
    ///
    /// # Errors
    /// [`Code::ClockSkew`].
    pub fn of_row(row: &Row<'_>, received_at: i64) -> Result<Self, RowError> {
        let uuid = |at: usize| if let Value::Uuid(id) = row.values[at] { id } else { Uuid::nil() };
        let cents = |at: usize| if let Value::Cents(cents) = row.values[at] { cents } else { 0 };
        let at = if let Value::Micros(at) = row.values[EVENT_TIME] { Some(at) } else { None };
        if at.is_some_and(|at| at > received_at.saturating_add(MAX_SKEW_MICROS)) {
            let detail = "the time is more than five minutes ahead of the clock";
            return Err(RowError::of_field(Code::ClockSkew, "event_time", detail));
        }
        let prices = PriceEvent { old_cents: cents(OLD_PRICE), new_cents: cents(NEW_PRICE) };
        Ok(Self { id: uuid(EVENT_ID), product: uuid(PRODUCT_ID), prices, at, received_at })
    }
}

/// Where an event comes from, and the text of the object that came with it.
#[must_use]
pub fn details<'a>(row: &'a Row<'_>) -> (Option<&'a str>, Option<&'a str>) {
    let text = |at: usize| match &row.values[at] {
        Value::Text(text) | Value::Json(text) => Some(text.as_ref()),
        _ => None,
    };
    (text(SOURCE), text(METADATA))
}

/// Gives an event that says when it was created, and not when it happened, the one for the other.
pub(crate) fn date(row: &mut Row<'_>) {
    if let (Value::Null, Some(created_at)) = (&row.values[EVENT_TIME], row.created_at.take()) {
        row.values[EVENT_TIME] = Value::Micros(created_at);
    }
}

/// A price that waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The event.
    pub id: Uuid,
    /// Its time.
    pub at: i64,
}

/// A product as events find it. Each that is settled is known to the next.
#[derive(Clone, Debug)]
pub struct Product {
    price_cents: i64,
    /// The prices that took effect, newest first, and since when.
    recent: Vec<RecentPrice>,
    since: Vec<i64>,
    /// The time of the newest: `since`, but for an event that said an earlier one.
    newest_at: Option<i64>,
    pending: Option<Hold>,
}

/// What is thought of an event, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What is thought of it.
    pub verdict: Verdict,
    /// What becomes of it.
    pub outcome: Outcome,
    /// When it happened, in microseconds since 1970.
    pub at: i64,
    /// Since when the product had, or has, the price, if it is one of its history.
    pub since: Option<i64>,
    /// The pending hold whose place it takes.
    pub supersedes: Option<Uuid>,
}

impl Product {
    /// A product that costs `price_cents`. `history`: the prices that took effect, newest first, each with its time;
    /// `newest_at`: the time that the event behind the newest said, if there is such an event.
    #[must_use]
    pub fn new(
        price_cents: i64,
        history: impl Iterator<Item = (RecentPrice, i64)>,
        newest_at: Option<i64>,
        pending: Option<Hold>,
    ) -> Self {
        let (recent, since): (Vec<_>, Vec<_>) = history.take(RECENT).unzip();
        let newest_at = newest_at.or(since.first().copied());
        Self { price_cents, recent, since, newest_at, pending }
    }

    /// What it costs, in cents.
    #[must_use]
    pub fn price_cents(&self) -> i64 {
        self.price_cents
    }

    /// Settles an event.
    ///
    /// One that says no time is newer than all before it, since clocks differ and its sender has seen what came before.
    /// Of two that say the same time the later one to come is the newer.
    pub fn settle(&mut self, event: &Event, policy: Policy) -> Settled {
        let newest = self.newest_at.max(self.pending.map(|hold| hold.at)).unwrap_or(i64::MIN);
        let at = event.at.unwrap_or(event.received_at.max(newest));
        if self.newest_at.is_some_and(|newest| at < newest) {
            return self.settle_late(event, at);
        }
        let known = Known { price_cents: Some(self.price_cents), recent: &self.recent };
        let verdict = detect(&event.prices, &known);
        let outcome = match policy {
            Policy::Reject if verdict.suspect => Outcome::Rejected,
            Policy::Hold if verdict.suspect && self.pending.is_some_and(|hold| at < hold.at) => Outcome::StaleIgnored,
            Policy::Hold if verdict.suspect => Outcome::Held,
            _ => Outcome::Applied,
        };
        let takes_place = matches!(outcome, Outcome::Applied | Outcome::Held);
        let supersedes = self.pending.take_if(|hold| takes_place && hold.at <= at).map(|hold| hold.id);
        let since = match outcome {
            Outcome::Applied => Some(self.change(event.prices.new_cents, at, verdict.suspect)),
            Outcome::Held => {
                self.pending = Some(Hold { id: event.id, at });
                None
            }
            Outcome::Rejected | Outcome::StaleIgnored => None,
        };
        Settled { verdict, outcome, at, since, supersedes }
    }

    /// Gives it a price that was held, at `now`, and returns since when it has it.
    pub fn approve(&mut self, cents: i64, now: i64) -> i64 {
        self.pending = None;
        self.change(cents, now, false)
    }

    fn change(&mut self, cents: i64, at: i64, flagged: bool) -> i64 {
        // no two prices begin at once, so that the history says which of them is newer
        let since = self.since.first().map_or(at, |newest| at.max(newest + 1));
        self.recent.truncate(RECENT - 1);
        self.since.truncate(RECENT - 1);
        self.recent.insert(0, RecentPrice { cents, flagged });
        self.since.insert(0, since);
        self.newest_at = Some(at);
        self.price_cents = cents;
        since
    }

    /// Settles an event that comes after one of a later time. It is held against what was known at its own.
    fn settle_late(&mut self, event: &Event, at: i64) -> Settled {
        let place = self.since.iter().take_while(|since| **since > at).count();
        let recent = &self.recent[place..];
        let known = Known { price_cents: recent.first().map(|price| price.cents), recent };
        let verdict = detect(&event.prices, &known);
        let since = (!verdict.suspect).then_some(at);
        if since.is_some() && place < RECENT {
            self.recent.insert(place, RecentPrice { cents: event.prices.new_cents, flagged: false });
            self.since.insert(place, at);
            self.recent.truncate(RECENT);
            self.since.truncate(RECENT);
        }
        Settled { verdict, outcome: Outcome::StaleIgnored, at, since, supersedes: None }
    }
}

#[cfg(test)]
#[expect(clippy::inconsistent_digit_grouping, reason = "cents stand apart")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A_DAY: i64 = 86_400_000_000;
    const NOW: i64 = 1_000 * A_DAY;

    fn event(id: u128, new_cents: i64, at: Option<i64>) -> Event {
        let prices = PriceEvent { old_cents: 10_00, new_cents };
        Event { id: Uuid::from_u128(id), product: Uuid::nil(), prices, at, received_at: NOW }
    }

    /// A product that has cost 10.00 for some time.
    fn steady() -> Product {
        let price = RecentPrice { cents: 10_00, flagged: false };
        Product::new(10_00, (1..10).map(|day| (price, NOW - day * A_DAY)), None, None)
    }

    #[test]
    fn a_policy_is_about_what_is_suspect() {
        for (policy, outcome, price) in [
            (Policy::Warn, Outcome::Applied, 100_00),
            (Policy::Hold, Outcome::Held, 10_00),
            (Policy::Reject, Outcome::Rejected, 10_00),
        ] {
            let mut product = steady();
            let settled = product.settle(&event(1, 100_00, None), policy);
            assert!(settled.verdict.suspect);
            assert_eq!((settled.outcome, product.price_cents()), (outcome, price), "{policy:?}");
            assert_eq!(settled.since.is_some(), outcome == Outcome::Applied);
            let mut product = steady();
            let settled = product.settle(&event(1, 10_10, None), policy);
            assert_eq!((settled.outcome, product.price_cents()), (Outcome::Applied, 10_10), "{policy:?}");
        }
    }

    #[test]
    fn what_went_in_with_a_warning_teaches_nothing() {
        let mut product = steady();
        assert!(product.settle(&event(1, 100_00, None), Policy::Warn).verdict.suspect);
        assert!(product.settle(&event(2, 100_00, None), Policy::Warn).verdict.reasons.len() > 1);
        assert!(!product.settle(&event(3, 10_00, None), Policy::Warn).verdict.suspect);
    }

    #[test]
    fn a_newer_event_takes_the_place_of_a_hold() {
        let mut product = steady();
        let first = product.settle(&event(1, 100_00, Some(NOW)), Policy::Hold);
        assert_eq!((first.outcome, first.supersedes), (Outcome::Held, None));
        let older = product.settle(&event(2, 10_10, Some(NOW - 1)), Policy::Hold);
        assert_eq!((older.outcome, older.supersedes), (Outcome::Applied, None), "it says nothing of a later time");
        let older = product.settle(&event(3, 90_00, Some(NOW - 1)), Policy::Hold);
        assert_eq!(older.outcome, Outcome::StaleIgnored, "a later price waits");
        let second = product.settle(&event(4, 90_00, Some(NOW)), Policy::Hold);
        assert_eq!((second.outcome, second.supersedes), (Outcome::Held, Some(Uuid::from_u128(1))));
        let third = product.settle(&event(5, 10_20, None), Policy::Hold);
        assert_eq!((third.outcome, third.supersedes), (Outcome::Applied, Some(Uuid::from_u128(4))));
        let fourth = product.settle(&event(6, 10_00, None), Policy::Hold);
        assert_eq!(fourth.supersedes, None);
        let refused = product.settle(&event(7, 100_00, None), Policy::Hold).outcome;
        assert_eq!(refused, Outcome::Held);
        let refused = product.settle(&event(8, 100_00, None), Policy::Reject);
        assert_eq!((refused.outcome, refused.supersedes), (Outcome::Rejected, None), "the hold still waits");
    }

    #[test]
    fn an_event_of_the_past_leaves_the_price_and_has_its_place() {
        let mut product = steady();
        let since = product.settle(&event(1, 10_50, Some(NOW)), Policy::Warn).since;
        assert_eq!(since, Some(NOW));
        let late = product.settle(&event(2, 10_20, Some(NOW - A_DAY / 2)), Policy::Warn);
        assert_eq!((late.outcome, late.since), (Outcome::StaleIgnored, Some(NOW - A_DAY / 2)));
        assert!(late.verdict.reasons.is_empty(), "at its time the price was what it says: {late:?}");
        let wrong = product.settle(&event(3, 100_00, Some(NOW - A_DAY / 2)), Policy::Warn);
        assert_eq!((wrong.outcome, wrong.since, wrong.verdict.suspect), (Outcome::StaleIgnored, None, true));
        let ancient = product.settle(&event(4, 10_00, Some(-NOW)), Policy::Hold);
        assert_eq!((ancient.outcome, ancient.since), (Outcome::StaleIgnored, Some(-NOW)));
        assert_eq!(product.price_cents(), 10_50);
    }

    #[test]
    fn of_events_of_one_time_the_last_holds() {
        let mut product = steady();
        let since: Vec<_> = [(1, 10_10), (2, 10_20), (3, 10_30)]
            .map(|(id, cents)| product.settle(&event(id, cents, Some(NOW)), Policy::Warn).since)
            .into();
        assert_eq!(since, [Some(NOW), Some(NOW + 1), Some(NOW + 2)]);
        assert_eq!(product.price_cents(), 10_30);
        let untimed = Event { received_at: NOW - 7, ..event(4, 10_40, None) };
        let settled = product.settle(&untimed, Policy::Warn);
        assert_eq!((settled.outcome, settled.since), (Outcome::Applied, Some(NOW + 3)), "a clock that is behind");
    }

    #[test]
    fn an_approved_price_is_the_newest_and_is_learnt_from() {
        let mut product = steady();
        product.settle(&event(1, 17_00, None), Policy::Hold);
        assert_eq!(product.approve(17_00, NOW + 5), NOW + 5);
        assert_eq!(product.price_cents(), 17_00);
        let again = product.settle(&event(2, 17_10, None), Policy::Hold);
        assert_eq!((again.outcome, again.supersedes), (Outcome::Applied, None));
    }

    #[test]
    fn words_read_back() {
        for policy in Policy::ALL {
            assert_eq!(Policy::parse(policy.as_str()), Some(*policy));
        }
        assert_eq!(Outcome::parse("stale_ignored"), Some(Outcome::StaleIgnored));
        assert_eq!(Decision::parse("pending"), None);
    }

    proptest! {
        #[test]
        fn the_price_is_that_of_the_latest_time(
            events in proptest::collection::vec((10_00_i64..11_00, 0_i64..20), 1..60),
        ) {
            let mut product = Product::new(10_00, std::iter::empty(), None, None);
            let (mut newest, mut price) = (i64::MIN, 10_00);
            for (id, (cents, at)) in (1..).zip(events) {
                let settled = product.settle(&event(id, cents, Some(at)), Policy::Warn);
                prop_assert_eq!(settled.outcome == Outcome::StaleIgnored, at < newest);
                if at >= newest {
                    (newest, price) = (at, cents);
                }
                prop_assert_eq!(product.price_cents(), price);
                prop_assert!(product.since.is_sorted_by(|newer, older| newer >= older), "{:?}", product.since);
                prop_assert_eq!(product.recent[0].cents, price);
            }
        }
    }
}
