//! What came into stock and went out of it, kept as it was sent.

use super::{Dataset, Field, Lane, Reference, nothing_follows};
use crate::value::Kind;

/// Where an event comes from.
const SOURCES: &[&str] = &["manual", "order", "receipt", "return", "adjustment", "system"];

pub(super) static STOCK_EVENTS: Dataset = Dataset {
    name: "stock_events",
    fields: &[
        // an event without an id gets one from its place in its file
        Field::optional("stock_event_id", Kind::Uuid),
        Field::required("product_id", Kind::Uuid),
        Field::required("delta", Kind::Integer(i32::MIN, i32::MAX)),
        Field::optional("resulting_level", Kind::Integer(i32::MIN, i32::MAX)),
        Field::optional("event_time", Kind::Timestamp),
        Field::optional("source", Kind::Choice(SOURCES)),
        Field::optional("meta", Kind::Object),
    ],
    id: 0,
    natural_key: None,
    month: None,
    created_at: true,
    references: &[Reference { field: 1, to: "products" }],
    lane: Lane::Urgent,
    complete: nothing_follows,
};
