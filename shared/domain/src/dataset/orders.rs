//! Orders, unique by external order id within a tenant, over all months.

use super::{Dataset, Effect, Field, Lane, Missing, Reference, nothing_follows};
use crate::value::Kind;

/// The statuses that an order takes.
pub const STATUSES: &[&str] = &["pending", "confirmed", "processing", "shipped", "delivered", "cancelled", "refunded"];

pub(super) static ORDERS: Dataset = Dataset {
    name: "orders",
    fields: &[
        Field::required("order_id", Kind::Uuid),
        Field::required("external_order_id", Kind::Text(100)),
        Field::optional("customer_id", Kind::Uuid),
        Field::optional("customer_name_snapshot", Kind::Text(255)),
        Field::optional("customer_email_snapshot", Kind::Text(255)),
        Field::required("total_amount", Kind::Money),
        Field::optional("currency", Kind::Currency).or(Missing::Text("USD")),
        Field::optional("order_status", Kind::Choice(STATUSES)).or(Missing::Text("pending")),
        Field::required("order_date", Kind::Timestamp),
        Field::optional("raw_payload", Kind::Object),
    ],
    id: 0,
    natural_key: Some(1),
    month: Some(8),
    created_at: true,
    references: &[Reference { field: 2, to: "customers" }],
    lane: Lane::Bulk,
    effect: Effect::Kept,
    complete: nothing_follows,
};
