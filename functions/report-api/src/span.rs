//! Spans of time in the parameters of a query, and keys in their order in an answer.

use intake_domain::sales::period::{self, Bucket, MAX_BUCKETS, Period, Unit, Wrong, Zone};
use intake_lambda::problem::{FieldCode, FieldError};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What a span is given by.
pub(crate) struct Named<'a> {
    pub(crate) start_date: Option<&'a str>,
    pub(crate) end_date: Option<&'a str>,
    pub(crate) time_zone: Option<&'a str>,
}

/// A span of time in a time zone.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) zone: Zone,
    pub(crate) period: Period,
}

/// What is wrong with a parameter of the query.
pub(crate) fn wrong(name: &str, code: FieldCode, detail: impl Into<String>) -> FieldError {
    FieldError::new(format!("/{name}"), code, detail)
}

impl Span {
    /// Reads a span at `now`, in microseconds since 1970; what is wrong with it goes into `errors`.
    pub(crate) fn read(named: &Named<'_>, now: i64, errors: &mut Vec<FieldError>) -> Option<Self> {
        let zone = Zone::named(named.time_zone.unwrap_or("UTC"));
        if zone.is_none() {
            errors.push(wrong("time_zone", FieldCode::InvalidValue, "is no time zone of the IANA database"));
        }
        let zone = zone.or_else(|| Zone::named("UTC"))?;
        match Period::parse(named.start_date, named.end_date, &zone, now) {
            Ok(period) => return Some(Self { zone, period }),
            Err(Wrong::Start(detail)) => errors.push(wrong("start_date", FieldCode::InvalidValue, detail)),
            Err(Wrong::End(detail)) => errors.push(wrong("end_date", FieldCode::InvalidValue, detail)),
        }
        None
    }

    /// Its days or hours; that there are too many of them goes into `errors`.
    pub(crate) fn buckets(&self, unit: Unit, errors: &mut Vec<FieldError>) -> Vec<Bucket> {
        period::buckets(self.period, unit, &self.zone).unwrap_or_else(|| {
            let detail = format!("is so early that the answer would have more than {MAX_BUCKETS} groups");
            errors.push(wrong("start_date", FieldCode::InvalidValue, detail));
            Vec::new()
        })
    }
}

/// An object whose keys stay in their order.
#[derive(Debug)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}
