//! Customers, unique by e-mail within a tenant.

use super::{Dataset, Effect, Field, Lane, nothing_follows};
use crate::value::Kind;

pub(super) static CUSTOMERS: Dataset = Dataset {
    name: "customers",
    fields: &[
        Field::required("customer_id", Kind::Uuid),
        Field::required("name", Kind::Text(255)),
        Field::required("email", Kind::Text(255)),
        Field::optional("metadata", Kind::Object),
    ],
    id: 0,
    natural_key: Some(2),
    month: None,
    created_at: true,
    references: &[],
    lane: Lane::Bulk,
    effect: Effect::Kept,
    complete: nothing_follows,
};
