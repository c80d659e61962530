//! Products, unique by sku within a tenant.

use super::{Dataset, Effect, Field, Lane, Missing, nothing_follows};
use crate::value::Kind;

pub(super) static PRODUCTS: Dataset = Dataset {
    name: "products",
    fields: &[
        Field::required("product_id", Kind::Uuid),
        Field::required("sku", Kind::Text(100)),
        Field::required("name", Kind::Text(255)),
        Field::required("price", Kind::Money),
        Field::optional("category_id", Kind::Uuid),
        Field::optional("active", Kind::Bool).or(Missing::Bool(true)),
    ],
    id: 0,
    natural_key: Some(1),
    month: None,
    created_at: true,
    references: &[],
    lane: Lane::Bulk,
    effect: Effect::Kept,
    complete: nothing_follows,
};
