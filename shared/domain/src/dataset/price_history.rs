//! The prices that products had, and from when to when.

use super::{Dataset, Effect, Field, Lane, Reference, nothing_follows};
use crate::value::Kind;

pub(super) static PRICE_HISTORY: Dataset = Dataset {
    name: "price_history",
    fields: &[
        Field::required("id", Kind::Uuid),
        Field::required("product_id", Kind::Uuid),
        Field::required("price", Kind::Money),
        Field::required("effective_from", Kind::Timestamp),
        Field::optional("effective_to", Kind::Timestamp),
    ],
    id: 0,
    natural_key: None,
    month: None,
    created_at: false,
    references: &[Reference { field: 1, to: "products" }],
    lane: Lane::Urgent,
    effect: Effect::Kept,
    complete: nothing_follows,
};
