//! For how long things are kept: what is past its time by a tenant's policy, and what is past it by everybody's.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

/// For how long each kind of thing is kept; 0 is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whole calendar months (UTC) of orders besides the running one, by the date of the order.
    pub order_months: u16,
    /// Days of stock events, by when they were created or received.
    pub stock_event_days: u16,
    /// Days of price events, by when they were received.
    pub price_event_days: u16,
    /// Days of upload sessions with their files and rejects, from the day on which nothing could be sent any more.
    pub session_days: u16,
}

/// What a tenant wants to be otherwise than its deployment has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// See [`Policy::order_months`].
    pub order_months: Option<u16>,
    /// See [`Policy::stock_event_days`].
    pub stock_event_days: Option<u16>,
    /// See [`Policy::price_event_days`].
    pub price_event_days: Option<u16>,
    /// See [`Policy::session_days`].
    pub session_days: Option<u16>,
}

impl Policy {
    /// What holds for a tenant.
    #[must_use]
    pub fn with(self, wishes: &Wishes) -> Self {
        Self {
            order_months: wishes.order_months.unwrap_or(self.order_months),
            stock_event_days: wishes.stock_event_days.unwrap_or(self.stock_event_days),
            price_event_days: wishes.price_event_days.unwrap_or(self.price_event_days),
            session_days: wishes.session_days.unwrap_or(self.session_days),
        }
    }

    /// The first instant whose orders are kept, which begins a month: those before it are past their time. `None` where
    /// none ever is.
    #[must_use]
    pub fn orders_since(&self, now: Timestamp) -> Option<Timestamp> {
        let month = Offset::UTC.to_datetime(now).date().first_of_month();
        let first = month.checked_sub(i32::from(self.order_months).months()).ok()?;
        (self.order_months > 0).then_some(start_of(first))?
    }
}

/// The first instant from which on things are kept for so many `days`; `None` for ever.
#[must_use]
pub fn since(days: u16, now: Timestamp) -> Option<Timestamp> {
    // days of 24 hours: a Timestamp knows no calendar
    let hours = i64::from(days) * 24;
    (days > 0).then_some(now.checked_sub(hours.hours()).ok())?
}

/// The first instant whose orders somebody keeps, given that of each tenant: what lies before it is past for all. `None` where
/// one keeps them for ever, or nobody is there.
#[must_use]
pub fn orders_since_for_all(tenants: &[Option<Timestamp>]) -> Option<Timestamp> {
    let since: Option<Vec<_>> = tenants.iter().copied().collect();
    since?.into_iter().min()
}

/// Whether all of the month that begins on `first_day` (UTC) lies before `since`.
#[must_use]
pub fn is_past(first_day: Date, since: Timestamp) -> bool {
    let next = first_day.first_of_month().checked_add(1.month()).ok();
    next.and_then(start_of).is_some_and(|end| end <= since)
}

/// The first day of the month of a partition of orders, by the end of its name as
/// [`month_suffix`](crate::dataset::month_suffix) writes it.
#[must_use]
pub fn first_day(suffix: &str) -> Option<Date> {
    let (year, month) = suffix.strip_prefix('y')?.split_once('m')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if month.len() != 2 || !is_number(year) || !is_number(month) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()
}

fn start_of(day: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn whole_months_are_kept_besides_the_running_one() {
        let policy = |order_months| Policy { order_months, ..Policy::default() };
        let now = at("2026-11-27T23:59:59Z");
        assert_eq!(policy(1).orders_since(now), Some(at("2026-10-01T00:00:00Z")));
        assert_eq!(policy(12).orders_since(now), Some(at("2025-11-01T00:00:00Z")));
        assert_eq!(policy(0).orders_since(now), None);
    }

    #[test]
    fn days_have_24_hours_and_none_are_for_ever() {
        assert_eq!(since(30, at("2026-03-31T12:00:00Z")), Some(at("2026-03-01T12:00:00Z")));
        assert_eq!(since(0, at("2026-03-31T12:00:00Z")), None);
    }

    #[test]
    fn a_tenants_wish_goes_before_the_deployments_policy() {
        let deployment = Policy { order_months: 24, stock_event_days: 7, price_event_days: 30, session_days: 90 };
        let wishes = Wishes { order_months: Some(36), stock_event_days: Some(0), ..Wishes::default() };
        let policy = deployment.with(&wishes);
        assert_eq!(policy, Policy { order_months: 36, stock_event_days: 0, price_event_days: 30, session_days: 90 });
    }

    #[test]
    fn a_month_is_past_for_all_when_it_is_for_whoever_keeps_longest() {
        let (long, short) = (Some(at("2024-01-01T00:00:00Z")), Some(at("2026-01-01T00:00:00Z")));
        assert_eq!(orders_since_for_all(&[short, long]), long);
        assert_eq!(orders_since_for_all(&[short, None]), None);
        assert_eq!(orders_since_for_all(&[]), None);
        let month = |text: &str| text.parse::<Date>().expect(text);
        assert!(is_past(month("2023-12-01"), at("2024-01-01T00:00:00Z")));
        assert!(!is_past(month("2024-01-01"), at("2024-01-31T23:59:59Z")));
        assert!(!is_past(month("2024-01-01"), at("2024-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn the_month_of_a_partition_reads_back(seconds in -62_135_596_800_i64..253_402_207_200) {
            let micros = seconds * 1_000_000;
            let suffix = crate::dataset::month_suffix(micros).expect("a month");
            let day = first_day(&suffix).expect("a day");
            let instant = Timestamp::from_microsecond(micros).expect("an instant");
            let date = Offset::UTC.to_datetime(instant).date();
            prop_assert_eq!((day.year(), day.month()), (date.year(), date.month()));
            prop_assert!(!is_past(day, instant));
            prop_assert!(first_day(&suffix[1..]).is_none());
        }
    }
}
