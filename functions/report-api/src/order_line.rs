//! An order as it is told, whole or in some of its fields.

use crate::words::{self, Decimal, Instant};
use intake_domain::dataset;
use intake_domain::json::without_spaces;
use intake_lambda::Problem;
use intake_lambda::problem::FieldCode;
use intake_postgres::orders::Order;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use uuid::Uuid;

/// An order. It has those of its fields that were asked for.
#[derive(ToSchema)]
#[schema(as = Order)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
pub(crate) struct OrderLine {
    #[schema(required = false)]
    order_id: Uuid,
    /// The id that its shop knows it by.
    #[schema(required = false)]
    external_order_id: String,
    customer_id: Option<Uuid>,
    /// What the customer was called then.
    customer_name_snapshot: Option<String>,
    customer_email_snapshot: Option<String>,
    #[schema(required = false)]
    total_amount: Decimal,
    /// Of ISO 4217.
    #[schema(required = false, min_length = 3, max_length = 3)]
    currency: String,
    #[schema(required = false, schema_with = status)]
    order_status: String,
    #[schema(required = false)]
    order_date: Instant,
    /// What its shop sent with it.
    #[schema(value_type = Option<Object>)]
    raw_payload: Option<String>,
    #[schema(required = false)]
    created_at: Instant,
}

fn status() -> RefOr<Schema> {
    let words = dataset::ORDER_STATUSES.iter().copied();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// The names of an order's fields, in the order in which they are told.
const NAMES: [&str; 11] = [
    "order_id",
    "external_order_id",
    "customer_id",
    "customer_name_snapshot",
    "customer_email_snapshot",
    "total_amount",
    "currency",
    "order_status",
    "order_date",
    "raw_payload",
    "created_at",
];

/// Which fields of orders are told: a bit for each of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields(u16);

impl Fields {
    /// All of them.
    pub(crate) const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// Those that a list names, separated by commas; all where there is none.
    ///
    /// # Errors
    /// 400 with what is no field.
    pub(crate) fn read(list: Option<&str>) -> Result<Self, Problem> {
        let Some(list) = list else { return Ok(Self::ALL) };
        let mut fields = Self(0);
        for name in list.split(',').map(str::trim) {
            let at = NAMES.iter().position(|known| *known == name).ok_or_else(|| {
                let detail = format!("`{name}` is no field of an order; they are {}", NAMES.join(", "));
                Problem::query("fields", FieldCode::UnknownField, detail)
            })?;
            fields.0 |= 1 << at;
        }
        Ok(fields)
    }

    /// Whether payloads are told, which are long.
    pub(crate) fn has_payload(self) -> bool {
        NAMES.iter().position(|name| *name == "raw_payload").is_some_and(|at| self.has(at))
    }

    /// What tells them from others.
    pub(crate) fn digest(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }

    fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

/// An order in some of its fields.
pub(crate) struct Shown<'a> {
    pub(crate) order: &'a Order,
    pub(crate) fields: Fields,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { order, fields } = *self;
        let mut map = serializer.serialize_map(None)?;
        for (_, name) in NAMES.iter().enumerate().filter(|(at, _)| fields.has(*at)) {
            match *name {
                "order_id" => map.serialize_entry(name, &order.id())?,
                "external_order_id" => map.serialize_entry(name, order.external_id())?,
                "customer_id" => map.serialize_entry(name, &order.customer())?,
                "customer_name_snapshot" => map.serialize_entry(name, &order.contact().name)?,
                "customer_email_snapshot" => map.serialize_entry(name, &order.contact().email)?,
                "total_amount" => map.serialize_entry(name, &Decimal(order.total()))?,
                "currency" => map.serialize_entry(name, order.currency())?,
                "order_status" => map.serialize_entry(name, order.status())?,
                "order_date" => map.serialize_entry(name, &Instant(order.date()))?,
                "raw_payload" => {
                    let payload = order.payload().map(without_spaces);
                    let payload = words::object(payload.as_deref()).map_err(S::Error::custom)?;
                    map.serialize_entry(name, &payload)?;
                }
                _ => map.serialize_entry(name, &Instant(order.created_at()))?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named() {
        assert_eq!(Fields::read(None).expect("all"), Fields::ALL);
        assert_eq!(Fields::read(Some(&NAMES.join(","))).expect("all"), Fields::ALL);
        let some = Fields::read(Some("total_amount, order_id,order_id")).expect("two");
        assert!(some.has(0) && some.has(5) && some.0.count_ones() == 2);
        assert!(Fields::ALL.has_payload() && !some.has_payload());
        for wrong in ["", "order_id,", "total", "ORDER_ID", "tenant_id"] {
            assert!(Fields::read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
