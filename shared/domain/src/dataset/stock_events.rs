//! What comes into stock and goes out of it. What a row does to a level is decided in [`stock`](crate::stock).

use super::{Dataset, Effect, Field, Lane, Reference};
use crate::reject::{Code, RowError};
use crate::value::{Kind, Value};

/// Where an event comes from.
const SOURCES: &[&str] = &["manual", "order", "receipt", "return", "adjustment", "system"];

pub(super) static STOCK_EVENTS: Dataset = Dataset {
    name: "stock_events",
    fields: &[
        // an event without an id gets one from its place in its file
        Field::optional("stock_event_id", Kind::Uuid),
        Field::required("product_id", Kind::Uuid),
        Field::optional("delta", Kind::Integer(i32::MIN, i32::MAX)),
        // what the sender believes; the level that is recorded is ours
        Field::optional("resulting_level", Kind::Integer(i32::MIN, i32::MAX)),
        Field::optional("event_time", Kind::Timestamp),
        Field::optional("source", Kind::Choice(SOURCES)),
        Field::optional("meta", Kind::Object),
        Field::optional("set", Kind::Integer(0, i32::MAX)),
        Field::optional("expected", Kind::Integer(0, i32::MAX)),
    ],
    id: 0,
    natural_key: None,
    month: None,
    created_at: true,
    references: &[Reference { field: 1, to: "products" }],
    lane: Lane::Urgent,
    effect: Effect::MovesStock,
    complete: has_one_change,
};

/// The places of the fields that rules look at.
pub(crate) mod field {
    pub(crate) const STOCK_EVENT_ID: usize = 0;
    pub(crate) const PRODUCT_ID: usize = 1;
    pub(crate) const DELTA: usize = 2;
    pub(crate) const EVENT_TIME: usize = 4;
    pub(crate) const SOURCE: usize = 5;
    pub(crate) const META: usize = 6;
    pub(crate) const SET: usize = 7;
    pub(crate) const EXPECTED: usize = 8;
}

fn has_one_change(values: &mut [Value<'_>]) -> Result<(), RowError> {
    match (&values[field::DELTA], &values[field::SET]) {
        (Value::Null, Value::Null) => {
            Err(RowError::of_field(Code::MissingField, "delta", "one of delta and set is required"))
        }
        (Value::Null, _) | (_, Value::Null) => Ok(()),
        _ => Err(RowError::of_field(Code::ExclusiveFields, "set", "a row has delta or set, and not both")),
    }
}
