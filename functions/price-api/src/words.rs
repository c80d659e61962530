//! What stands in paths, requests and answers more than once.

use intake_domain::price;
use intake_lambda::Problem;
use intake_lambda::problem::FieldCode;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// What the tenant's id is, in parameters of paths.
pub(crate) const TENANT: &str = "The tenant whose key is sent.";

/// What a product's id is.
pub(crate) const PRODUCT: &str = "The product, by the id that its shop gave it.";

/// A path that names a product. The tenant is known by its key: the edge has seen that the path is its own.
#[derive(Deserialize)]
pub(crate) struct OfProduct {
    pub(crate) product_id: Uuid,
}

/// A path that names an event.
#[derive(Deserialize)]
pub(crate) struct OfEvent {
    pub(crate) event_id: Uuid,
}

/// A number of hundredths, which is written as a decimal number and never held as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal(pub(crate) i64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(price::money(self.0)).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).examples([19.99]);
        number.description(Some("A decimal number with two digits after its point.")).into()
    }
}

impl ToSchema for Decimal {}

/// A price as it is sent.
pub(crate) enum Price {}

impl PartialSchema for Price {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(9_999_999_999.99));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[0-9]{1,10}(\.[0-9]{1,2})?$"));
        let either = OneOfBuilder::new().item(number).item(text).examples([19.99]);
        either
            .description(Some(
                "A decimal number, or a string of one; of more than two digits after its point it is rounded.",
            ))
            .into()
    }
}

impl ToSchema for Price {}

macro_rules! words {
    ($($name:ident $shown:literal = $description:literal: $words:expr;)*) => {$(
        #[doc = $description]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                words.description(Some($description)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $shown.into()
            }
        }
    )*};
}

words! {
    Policy "PricePolicy" = "What becomes of prices that look wrong: they go in and are told, they wait until somebody \
        decides, or they are refused.":
        price::Policy::ALL.iter().map(|policy| policy.as_str());
    Status "PriceEventStatus" = "What became of an event: the product has its price; the price waits until somebody decides; \
        it was refused, by the policy; the product has, or waits for, a price of a later time; its id was seen before.":
        ["processed", "held", "rejected", "stale_ignored", "duplicate"];
    FirstStatus "FirstPriceEventStatus" = "What became of the event whose id it is.":
        price::Outcome::ALL.iter().map(|outcome| status(*outcome));
    AnomalyStatus "PriceAnomalyStatus" = "What became of an event that looked wrong: the product has its price; the price \
        waits until somebody decides; somebody let it in; somebody or the policy refused it; a newer event took its \
        place; the product has had a price of a later time.":
        ["processed", "held", "approved", "rejected", "superseded", "stale_ignored"];
    HoldState "PriceHoldState" = "What became of a price that was held: it still waits; somebody let it in, or did not; a \
        newer event took its place.":
        ["pending", "approved", "rejected", "superseded"];
    ReasonCode "PriceReasonCode" = "What speaks against a price.":
        price::Code::ALL.iter().map(|(code, _)| code.as_str());
}

/// The word for what became of an event.
pub(crate) fn status(outcome: price::Outcome) -> &'static str {
    match outcome {
        price::Outcome::Applied => "processed",
        other => other.as_str(),
    }
}

/// Something that speaks against a price.
#[derive(ToSchema)]
#[schema(as = PriceReason)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
pub(crate) struct Reason {
    #[schema(value_type = ReasonCode)]
    code: String,
    /// One sentence for people.
    detail: String,
    /// How much: in percent, in robust standard deviations or in decimal places, as the code says.
    #[schema(minimum = 0, maximum = 9999)]
    score: f64,
}

/// The text of an array of reasons, as it is written.
pub(crate) fn reasons(text: &str) -> Box<RawValue> {
    // it was written as JSON
    RawValue::from_string(text.to_owned()).unwrap_or_default()
}

/// How many entries a page has: what was asked for, or what is usual.
pub(crate) fn limit(asked: Option<i64>, usual: i64, most: i64) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::query("limit", FieldCode::InvalidLimit, format!("must be from 1 to {most}")))
    }
}
