//! Rows as shops send them.

use serde_json::{Value, json};
use std::fmt::Display;
use uuid::Uuid;

/// The id of row `number`.
pub(crate) fn id(number: u64) -> Uuid {
    Uuid::from_u128(0x1d00_0000_0000_4000_8000_0000_0000_0000 | u128::from(number))
}

pub(crate) fn customer(number: u64) -> Value {
    json!({"customer_id": id(number), "name": format!("Customer {number}"), "email": format!("c{number}@shop.example")})
}

pub(crate) fn product(number: u64) -> Value {
    json!({"product_id": id(number), "sku": format!("SKU-{number}"), "name": "Kettle", "price": 19.99})
}

/// An order of that day (`2026-01-31`).
pub(crate) fn order(number: u64, day: &str) -> Value {
    json!({
        "order_id": id(number), "external_order_id": format!("ORD-{number}"), "total_amount": "10.50",
        "order_date": format!("{day}T12:00:00"),
    })
}

pub(crate) fn item(number: u64) -> Value {
    json!({
        "order_item_id": id(number), "order_id": id(number), "product_id": id(number), "quantity": 3, "unit_price": 1.5,
    })
}

/// The row with another value in one of its fields.
pub(crate) fn at(mut row: Value, field: &str, value: impl Into<Value>) -> Value {
    row[field] = value.into();
    row
}

/// A file of these rows.
pub(crate) fn ndjson(rows: impl IntoIterator<Item = Value>) -> Vec<u8> {
    lines(rows)
}

/// A file of these lines, each with its end.
pub(crate) fn lines(lines: impl IntoIterator<Item = impl Display>) -> Vec<u8> {
    lines.into_iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}
