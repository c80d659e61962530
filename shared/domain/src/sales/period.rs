//! Spans of time as shops ask for them, and the days and hours of a time zone that they consist of.

use super::{DAY_MICROS, QUARTER_MICROS, day_of};
use crate::value::with_plus;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use std::ops::Range;

/// How many days a span has of which neither end was said.
const DEFAULT_DAYS: i64 = 30;

/// How many days or hours an answer has at most: the hours of five years and a half.
pub const MAX_BUCKETS: usize = 50_000;

/// The years whose days are known.
const YEARS: Range<i16> = 1..10_000;

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// The time zone that the IANA database knows under that name, such as `Europe/Berlin` or `UTC`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // of the names that are no place's, this one is for tests of the database itself
        TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).map(Self)
    }

    /// Its name, spelt as the database has it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Whether its days are those of UTC.
    #[must_use]
    pub fn is_utc(&self) -> bool {
        self.name() == "UTC"
    }

    /// When a day begins, in microseconds since 1970: at midnight, or at the first moment after it that there is.
    fn beginning(&self, day: Date) -> Option<i64> {
        Some(day.to_zoned(self.0.clone()).ok()?.timestamp().as_microsecond())
    }

    fn local(&self, micros: i64) -> Option<(DateTime, Offset)> {
        let at = Timestamp::from_microsecond(micros).ok()?;
        let offset = self.0.to_offset(at);
        Some((offset.to_datetime(at), offset))
    }

    /// RFC 3339 with the zone's offset.
    #[must_use]
    pub fn show(&self, micros: i64) -> String {
        let at = Timestamp::from_microsecond(micros).map(|at| at.display_with_offset(self.0.to_offset(at)).to_string());
        at.unwrap_or_default()
    }
}

/// One end of a span as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Day(Date),
    Moment(i64),
}

impl End {
    /// Reads `2026-01-31`, `31-01-2026`, or an ISO 8601 date and time, which is of the zone unless it names an offset.
    fn parse(text: &str, zone: &Zone) -> Option<Self> {
        let is_short = text.len() == 10 && text.is_ascii();
        if is_short && text.as_bytes()[2] == b'-' {
            let (day, month, year) = (&text[..2], &text[3..5], &text[6..]);
            return date(&format!("{year}-{month}-{day}")).filter(|_| text.as_bytes()[5] == b'-').map(Self::Day);
        }
        if is_short {
            return date(text).map(Self::Day);
        }
        if text.contains('[') {
            // the zone of RFC 9557, which would be passed over
            return None;
        }
        let text = with_plus(text);
        let has_offset = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
        let at = if has_offset {
            text.parse::<Timestamp>().ok()?
        } else {
            zone.0.to_timestamp(text.parse::<DateTime>().ok().filter(|_| text.len() > 10)?).ok()?
        };
        let is_known = YEARS.contains(&Offset::UTC.to_datetime(at).year());
        is_known.then_some(Self::Moment(at.as_microsecond()))
    }

    fn as_start(self, zone: &Zone) -> Option<i64> {
        match self {
            Self::Day(day) => zone.beginning(day),
            Self::Moment(at) => Some(at),
        }
    }

    /// The end is meant, too: of a day all of its hours, and otherwise the moment itself.
    fn as_end(self, zone: &Zone) -> Option<i64> {
        match self {
            // no moment is known after the last days of the year 9999
            Self::Day(day) => {
                let next = day.tomorrow().ok().and_then(|next| zone.beginning(next));
                next.or_else(|| (day.year() == 9999).then(|| Timestamp::MAX.as_microsecond()))
            }
            Self::Moment(at) => Some(at + 1),
        }
    }
}

fn date(text: &str) -> Option<Date> {
    let is_date = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    let day: Date = text.bytes().enumerate().all(is_date).then(|| text.parse().ok())??;
    YEARS.contains(&day.year()).then_some(day)
}

/// A span of time: from its start on, and before its end; in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub start: i64,
    /// The first moment after it.
    pub end: i64,
}

/// What is wrong with a span: with which of its ends, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The start.
    Start(&'static str),
    /// The end.
    End(&'static str),
}

/// What is said of an end that cannot be read.
const UNREADABLE: &str =
    "must be a date (2026-01-31 or 31-01-2026) or an ISO 8601 date and time, of the years 1 to 9999";

impl Period {
    /// The span that was asked for, both ends included: one that is a day with all of it. Unless told, it ends with the day in which
    /// `now` lies, in microseconds since 1970, and has 30 days.
    ///
    /// # Errors
    /// Which end cannot be read, or that there is nothing between them.
    pub fn parse(start: Option<&str>, end: Option<&str>, zone: &Zone, now: i64) -> Result<Self, Wrong> {
        let end = match end {
            Some(text) => End::parse(text, zone).ok_or(Wrong::End(UNREADABLE))?,
            None => End::Day(zone.local(now).ok_or(Wrong::End(UNREADABLE))?.0.date()),
        };
        let end = end.as_end(zone).ok_or(Wrong::End(UNREADABLE))?;
        let start = match start {
            Some(text) => End::parse(text, zone).ok_or(Wrong::Start(UNREADABLE))?,
            None => {
                let last = zone.local(end - 1).ok_or(Wrong::End(UNREADABLE))?.0.date();
                let first = last.checked_sub(jiff::Span::new().days(DEFAULT_DAYS - 1));
                first.map(End::Day).map_err(|_| Wrong::End(UNREADABLE))?
            }
        };
        let start = start.as_start(zone).ok_or(Wrong::Start(UNREADABLE))?;
        if start < end { Ok(Self { start, end }) } else { Err(Wrong::End("must be after the start")) }
    }

    /// The days of UTC that lie in it whole, and what is left of it before and after them.
    #[must_use]
    pub fn days(&self) -> (Range<i32>, Vec<Self>) {
        let first = day_of(self.start + DAY_MICROS - 1);
        let last = day_of(self.end);
        if first >= last {
            return (first..first, vec![*self]);
        }
        let (from, to) = (i64::from(first) * DAY_MICROS, i64::from(last) * DAY_MICROS);
        let rests = [Self { start: self.start, end: from }, Self { start: to, end: self.end }];
        (first..last, rests.into_iter().filter(|rest| rest.start < rest.end).collect())
    }
}

/// What a span is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Days.
    Day,
    /// Hours.
    Hour,
}

/// A day or an hour of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins, in microseconds since 1970. An offset of the time before 1972 that is no multiple of a quarter of an
    /// hour is taken for the next one: a bucket never begins between two quarters.
    pub start: i64,
    /// A date, or the hour in RFC 3339 with its offset.
    pub key: String,
}

/// The days or hours of a zone that a span touches, in their order; `None` when there are more than [`MAX_BUCKETS`].
#[must_use]
pub fn buckets(period: Period, unit: Unit, zone: &Zone) -> Option<Vec<Bucket>> {
    let unit_micros = if unit == Unit::Day { DAY_MICROS } else { 4 * QUARTER_MICROS };
    if (period.end - period.start) / unit_micros > MAX_BUCKETS as i64 {
        return None;
    }
    let on_quarter = |micros: i64| micros.div_euclid(QUARTER_MICROS) * QUARTER_MICROS;
    let mut buckets: Vec<Bucket> = Vec::new();
    match unit {
        Unit::Day => {
            let (first, last) = (zone.local(period.start)?.0.date(), zone.local(period.end - 1)?.0.date());
            let mut day = first;
            while day <= last {
                let start = on_quarter(zone.beginning(day)?);
                // a day that a zone left out, crossing the date line
                if buckets.last().is_some_and(|before| before.start == start) {
                    buckets.pop();
                }
                buckets.push(Bucket { start, key: day.to_string() });
                let Ok(next) = day.tomorrow() else { break };
                day = next;
            }
        }
        Unit::Hour => {
            let mut before = None;
            let mut at = on_quarter(period.start);
            while at < period.end {
                let (local, offset) = zone.local(at)?;
                let hour = (local.date(), local.hour(), offset);
                if before != Some(hour) {
                    let key = format!("{}T{:02}:00:00{}", local.date(), local.hour(), offset_text(offset));
                    buckets.push(Bucket { start: at, key });
                    before = Some(hour);
                }
                at += QUARTER_MICROS;
            }
        }
    }
    (buckets.len() <= MAX_BUCKETS).then_some(buckets)
}

/// Where in `buckets` a moment lies; one before the first lies in the first.
#[must_use]
pub fn bucket_of(buckets: &[Bucket], at: i64) -> usize {
    buckets.partition_point(|bucket| bucket.start <= at).saturating_sub(1)
}

fn offset_text(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap_or_else(|| panic!("{name}"))
    }

    fn micros(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_microsecond()
    }

    fn period(start: &str, end: &str, zone: &Zone) -> (String, String) {
        let period =
            Period::parse(Some(start), Some(end), zone, 0).unwrap_or_else(|wrong| panic!("{start} {end}: {wrong:?}"));
        (zone.show(period.start), zone.show(period.end))
    }

    #[test]
    fn ends_are_read_as_shops_write_them() {
        let (utc, india) = (zone("utc"), zone("Asia/Kolkata"));
        assert!(utc.is_utc() && !india.is_utc());
        for (start, end) in
            [("2026-01-02", "2026-01-03"), ("02-01-2026", "03-01-2026"), ("2026-01-02", "2026-01-03T23:59:59.999999")]
        {
            assert_eq!(
                period(start, end, &utc),
                ("2026-01-02T00:00:00+00:00".into(), "2026-01-04T00:00:00+00:00".into())
            );
            assert_eq!(
                period(start, end, &india),
                ("2026-01-02T00:00:00+05:30".into(), "2026-01-04T00:00:00+05:30".into())
            );
        }
        let exact = ("2026-01-02T03:04:05+05:30".to_owned(), "2026-01-02T05:30:00.000001+05:30".to_owned());
        assert_eq!(period("2026-01-02 03:04:05", "2026-01-02T00:00:00Z", &india), exact);
        assert_eq!(period("2026-01-02T03:04:05+05:30", "2026-01-02T00:00:00 00:00", &india), exact);
    }

    #[test]
    fn what_is_no_end_is_refused() {
        let utc = zone("UTC");
        for text in [
            "",
            "x",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "30-02-2026",
            "2026-1-1",
            "1-1-2026",
            "0000-01-01",
            "20260101",
            "2026/01/01",
            "2026-01-01T25:00:00",
            "2026-01-01T00:00:00+99:00",
            "2026-01-01T00:00:00[Europe/Berlin]",
            "-000001-01-01T00:00:00Z",
            "2026-W01-1",
            "٢٠٢٦-٠١-٠١",
            "2026-01-é",
        ] {
            assert_eq!(Period::parse(Some(text), None, &utc, 0), Err(Wrong::Start(UNREADABLE)), "{text}");
            assert_eq!(Period::parse(None, Some(text), &utc, 0), Err(Wrong::End(UNREADABLE)), "{text}");
        }
        let turned = Period::parse(Some("2026-01-02"), Some("2026-01-01"), &utc, 0);
        assert_eq!(turned, Err(Wrong::End("must be after the start")));
        for name in ["", "Mars/Olympus", "../etc/passwd", "+05:30", "Etc/Unknown"] {
            assert!(Zone::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_last_thirty_days_are_meant_unless_told() {
        let now = micros("2026-03-29T22:30:00Z");
        let berlin = zone("Europe/Berlin");
        let of = |start, end| {
            Period::parse(start, end, &berlin, now).map(|period| (berlin.show(period.start), berlin.show(period.end)))
        };
        let (march, april) = ("2026-03-01T00:00:00+01:00".to_owned(), "2026-03-31T00:00:00+02:00".to_owned());
        assert_eq!(of(None, None), Ok((march.clone(), april.clone())));
        assert_eq!(of(Some("2026-03-01"), None), Ok((march.clone(), april.clone())));
        assert_eq!(of(None, Some("30-03-2026")), Ok((march, april)));
    }

    #[test]
    fn days_and_hours_are_those_of_the_zone() {
        let keys = |name: &str, start: &str, end: &str, unit| {
            let zone = zone(name);
            let period = Period::parse(Some(start), Some(end), &zone, 0).expect("a period");
            buckets(period, unit, &zone).expect("few").into_iter().map(|bucket| bucket.key).collect::<Vec<_>>()
        };
        let hours = keys("Europe/Berlin", "2026-03-29", "2026-03-29", Unit::Hour);
        assert_eq!(hours.len(), 23, "an hour is left out");
        assert_eq!(hours[1..3], ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]);
        let hours = keys("Europe/Berlin", "2026-10-25", "2026-10-25", Unit::Hour);
        assert_eq!(hours.len(), 25, "an hour is there twice");
        assert_eq!(hours[2..4], ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]);
        assert_eq!(keys("Asia/Kathmandu", "2026-01-01", "2026-01-01", Unit::Hour)[0], "2026-01-01T00:00:00+05:45");
        assert_eq!(
            keys("Australia/Lord_Howe", "2026-04-05", "2026-04-05", Unit::Hour).len(),
            25,
            "half of one is there twice"
        );
        assert_eq!(keys("Pacific/Apia", "2011-12-29", "2011-12-31", Unit::Day), ["2011-12-29", "2011-12-31"]);
        assert_eq!(keys("UTC", "2026-01-01T23:59:00", "2026-01-02T00:00:00", Unit::Day), ["2026-01-01", "2026-01-02"]);
        assert_eq!(keys("UTC", "2026-01-01T23:59:00", "2026-01-02", Unit::Hour).len(), 25);
    }

    #[test]
    fn five_years_fit_and_a_lifetime_of_hours_does_not() {
        let utc = zone("UTC");
        let years = |years: i32| Period { start: 0, end: i64::from(years) * 366 * DAY_MICROS };
        assert!(buckets(years(5), Unit::Hour, &utc).is_some_and(|hours| hours.len() == 5 * 366 * 24));
        assert!(buckets(years(100), Unit::Day, &utc).is_some());
        assert!(buckets(years(6), Unit::Hour, &utc).is_none());
        let all = Period::parse(Some("0001-01-01"), Some("9999-12-31"), &utc, 0).expect("a period");
        assert!(buckets(all, Unit::Day, &utc).is_none());
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_one_bucket_of_its_own_day(
            name in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"]),
            start in 0_i64..2_000_000_000, length in 1_i64..4_000_000, at in 0_i64..4_000_000,
        ) {
            let zone = zone(name);
            let (start, at) = (start * 1_000_000, (start + at % length) * 1_000_000);
            let period = Period { start, end: start + length * 1_000_000 };
            let (local, offset) = zone.local(at).expect("a time");
            let days = buckets(period, Unit::Day, &zone).expect("few");
            prop_assert!(days.is_sorted_by(|one, next| one.start < next.start));
            prop_assert_eq!(&days[bucket_of(&days, at)].key, &local.date().to_string());
            let hours = buckets(period, Unit::Hour, &zone).expect("few");
            prop_assert!(hours.is_sorted_by(|one, next| one.start < next.start));
            let key = format!("{}T{:02}:00:00{}", local.date(), local.hour(), offset_text(offset));
            prop_assert_eq!(&hours[bucket_of(&hours, at)].key, &key);

            let (whole, rests) = period.days();
            let whole = i64::from(whole.end - whole.start) * DAY_MICROS;
            let rest: i64 = rests.iter().map(|rest| rest.end - rest.start).sum();
            prop_assert_eq!(whole + rest, period.end - period.start);
            prop_assert!(rests.iter().all(|rest| rest.end - rest.start < DAY_MICROS || whole == 0));
        }
    }
}
