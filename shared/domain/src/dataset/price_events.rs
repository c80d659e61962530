//! Prices that change, each with what it was before. What a row does to a price is decided in [`price`](crate::price).

use super::{Dataset, Effect, Field, Lane, Reference, nothing_follows};
use crate::value::Kind;

/// Where the values of a row stand that decide about it.
pub(crate) const EVENT_ID: usize = 0;
pub(crate) const PRODUCT_ID: usize = 1;
pub(crate) const OLD_PRICE: usize = 2;
pub(crate) const NEW_PRICE: usize = 3;
pub(crate) const SOURCE: usize = 4;
pub(crate) const METADATA: usize = 5;
pub(crate) const EVENT_TIME: usize = 6;

pub(super) static PRICE_EVENTS: Dataset = Dataset {
    name: "price_events",
    fields: &[
        // an event without an id gets one from its place in its file
        Field::optional("event_id", Kind::Uuid),
        Field::required("product_id", Kind::Uuid),
        Field::required("old_price", Kind::Money),
        Field::required("new_price", Kind::Money),
        Field::optional("source", Kind::Text(50)),
        Field::optional("metadata", Kind::Object),
        Field::optional("event_time", Kind::Timestamp),
    ],
    id: EVENT_ID,
    natural_key: None,
    month: None,
    created_at: true,
    references: &[Reference { field: PRODUCT_ID, to: "products" }],
    lane: Lane::Urgent,
    effect: Effect::ChangesPrices,
    complete: nothing_follows,
};
