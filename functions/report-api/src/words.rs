//! What stands in paths, requests and answers more than once.

use intake_domain::price;
use intake_lambda::Problem;
use intake_lambda::problem::{Code, FieldCode, FieldError};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// What the tenant's id is, in parameters of paths.
pub(crate) const TENANT: &str = "The tenant whose key is sent.";

/// How long the statements of an answer may take that is sent whole: API Gateway waits for 29 seconds
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>).
pub(crate) const PATIENCE: Duration = Duration::from_secs(24);

/// A number of hundredths, which is written as a decimal number and never held as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal(pub(crate) i64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(price::money(self.0)).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).examples([19.99]);
        number.description(Some("A decimal number with two digits after its point.")).into()
    }
}

impl ToSchema for Decimal {}

/// An instant in microseconds since 1970, which is written in RFC 3339, in UTC, with as many digits as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) i64);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let instant = jiff::Timestamp::from_microsecond(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&instant)
    }
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

impl ToSchema for Instant {}

/// The text of an object of JSON, as it is stored.
pub(crate) fn object(text: Option<&str>) -> Result<Option<&RawValue>, serde_json::Error> {
    text.map(serde_json::from_str).transpose()
}

/// What comes of statements, if it comes in time; what is dropped then is cancelled at the server.
///
/// # Errors
/// What they fail with; 503 `QUERY_TIMEOUT` after [`PATIENCE`].
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, intake_postgres::Error>>) -> Result<T, Problem> {
    timeout(PATIENCE, work).await.map_or_else(|_| Err(Problem::query_timeout()), |done| done.map_err(Problem::from))
}

/// How many entries a page has: what was asked for, or what is usual.
pub(crate) fn limit(asked: Option<i64>, usual: i64, most: i64) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::query("limit", FieldCode::InvalidLimit, format!("must be from 1 to {most}")))
    }
}

/// 400 for what is wrong with parameters of a query.
pub(crate) fn wrong_query(errors: impl IntoIterator<Item = impl Into<FieldError>>) -> Problem {
    Problem::of_fields(Code::InvalidQuery, errors.into_iter().map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_instants_are_exact() {
        for (cents, number) in [(1_999, "19.99"), (5, "0.05"), (999_999_999_999, "9999999999.99")] {
            assert_eq!(serde_json::to_string(&Decimal(cents)).expect("a number"), number);
        }
        for (micros, text) in [(0, "1970-01-01T00:00:00Z"), (1_500_001, "1970-01-01T00:00:01.500001Z")] {
            assert_eq!(serde_json::to_value(Instant(micros)).expect("a text"), text);
        }
    }
}
