//! The items of orders.

use super::{Dataset, Effect, Field, Lane, Reference};
use crate::reject::{Code, RowError};
use crate::value::{Kind, MAX_CENTS, Value};

const QUANTITY: usize = 3;
const UNIT_PRICE: usize = 4;
const LINE_TOTAL: usize = 5;

pub(super) static ORDER_ITEMS: Dataset = Dataset {
    name: "order_items",
    fields: &[
        Field::required("order_item_id", Kind::Uuid),
        Field::required("order_id", Kind::Uuid),
        Field::required("product_id", Kind::Uuid),
        Field::required("quantity", Kind::Integer(1, i32::MAX)),
        Field::required("unit_price", Kind::Money),
        Field::optional("line_total", Kind::Money),
    ],
    id: 0,
    natural_key: None,
    month: None,
    created_at: false,
    references: &[Reference { field: 1, to: "orders" }, Reference { field: 2, to: "products" }],
    lane: Lane::Bulk,
    effect: Effect::Kept,
    complete: multiply_out,
};

/// A missing line total is quantity × unit price.
fn multiply_out(values: &mut [Value<'_>]) -> Result<(), RowError> {
    if let (Value::Integer(quantity), Value::Cents(price), Value::Null) =
        (&values[QUANTITY], &values[UNIT_PRICE], &values[LINE_TOTAL])
    {
        let total = price.checked_mul(i64::from(*quantity)).filter(|total| *total <= MAX_CENTS).ok_or_else(|| {
            RowError::of_field(Code::OutOfRange, "line_total", "quantity × unit price is over 9999999999.99")
        })?;
        values[LINE_TOTAL] = Value::Cents(total);
    }
    Ok(())
}
