//! From a line of NDJSON to a row of values, or to all that is wrong with it.

use crate::dataset::{Dataset, Missing};
use crate::reject::{Code, RowError};
use crate::value::{self, Kind, Refusal, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// A valid row.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// The values, one for each of the dataset's fields.
    pub values: Vec<Value<'a>>,
    /// When the row says it was created, in microseconds since 1970; `None` where it does not say.
    pub created_at: Option<i64>,
}

impl Row<'_> {
    /// What identifies the row.
    #[must_use]
    pub fn id(&self, dataset: &Dataset) -> Uuid {
        match self.values[dataset.id] {
            Value::Uuid(id) => id,
            _ => Uuid::nil(),
        }
    }

    /// Gives the row the id that `make` makes, where it brings none and its dataset asks for none.
    pub fn identify(&mut self, dataset: &Dataset, make: impl FnOnce() -> Uuid) {
        if self.values[dataset.id] == Value::Null {
            self.values[dataset.id] = Value::Uuid(make());
        }
    }

    /// Its natural key, where the dataset has one.
    #[must_use]
    pub fn natural_key(&self, dataset: &Dataset) -> Option<&str> {
        match &self.values[dataset.natural_key?] {
            Value::Text(key) => Some(key),
            _ => None,
        }
    }
}

/// A refused row.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its id or natural key as far as they could be read, for people to find it by.
    pub key: Option<String>,
    /// Everything that is wrong with it; at least one error.
    pub errors: Vec<RowError>,
}

/// Reads one line that `tenant` sent as a row of `dataset`.
///
/// Unknown fields are ignored. A line that is a reject of an earlier upload is taken for the `record` in it.
///
/// # Errors
/// All that is wrong with the row.
pub fn parse<'a>(dataset: &'static Dataset, tenant: Uuid, line: &'a [u8]) -> Result<Row<'a>, Refused> {
    let refuse = |code, detail: &str| Refused { key: None, errors: vec![RowError::of_row(code, detail)] };
    let text = str::from_utf8(line).map_err(|_| refuse(Code::InvalidUtf8, "the line is not UTF-8"))?;
    let mut tokens = read_tokens(dataset, text).map_err(|(code, detail)| refuse(code, &detail))?;
    while let Some(record) = tokens.wrapped_record() {
        // a record that was no JSON travels as a string: it can only be refused again
        tokens = read_tokens(dataset, record).map_err(|(code, detail)| refuse(code, &detail))?;
    }
    assemble(dataset, tenant, |slot, kind| {
        let token = match slot {
            Slot::Field(at) => tokens.fields[at],
            Slot::CreatedAt => tokens.created_at,
            Slot::TenantId => tokens.tenant_id,
        };
        token.map_or(Ok(Value::Null), |token| value::read(kind, token.get()))
    })
}

/// Reads a row of `dataset` that `tenant` sent in another form than a line: `token_of` gives the JSON of a field by its name.
///
/// # Errors
/// All that is wrong with the row.
pub fn of_fields<'a>(
    dataset: &'static Dataset,
    tenant: Uuid,
    token_of: impl Fn(&str) -> Option<&'a str>,
) -> Result<Row<'a>, Refused> {
    assemble(dataset, tenant, |slot, kind| match slot {
        Slot::Field(at) => token_of(dataset.fields[at].name).map_or(Ok(Value::Null), |token| value::read(kind, token)),
        Slot::CreatedAt | Slot::TenantId => Ok(Value::Null),
    })
}

/// The tokens of a line, one for each field.
struct Tokens<'a> {
    fields: Vec<Option<&'a RawValue>>,
    created_at: Option<&'a RawValue>,
    tenant_id: Option<&'a RawValue>,
    record: Option<&'a RawValue>,
    has_errors: bool,
}

impl<'a> Tokens<'a> {
    /// The row inside, when this is a reject and not a row: it has errors and a record, and no field of the dataset.
    fn wrapped_record(&self) -> Option<&'a str> {
        let is_reject = self.has_errors && self.fields.iter().all(Option::is_none);
        self.record.filter(|_| is_reject).map(RawValue::get)
    }
}

fn read_tokens<'a>(dataset: &'static Dataset, text: &'a str) -> Result<Tokens<'a>, (Code, String)> {
    if text.trim_start().as_bytes().first() != Some(&b'{') {
        return match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Err((Code::NotAnObject, "the line is JSON, but no object".to_owned())),
            Err(error) => Err((Code::InvalidJson, describe(&error))),
        };
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let tokens = TokensOf(dataset).deserialize(&mut reader).map_err(|error| (Code::InvalidJson, describe(&error)))?;
    reader.end().map_err(|error| (Code::InvalidJson, describe(&error)))?;
    Ok(tokens)
}

/// serde_json's message, with its "line 1 column n" said in the terms of a file of lines.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    format!("{text} at column {}", error.column())
}

struct TokensOf(&'static Dataset);

impl<'de> DeserializeSeed<'de> for TokensOf {
    type Value = Tokens<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tokens<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TokensOf {
    type Value = Tokens<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens<'de>, A::Error> {
        let dataset = self.0;
        let mut tokens = Tokens {
            fields: vec![None; dataset.fields.len()],
            created_at: None,
            tenant_id: None,
            record: None,
            has_errors: false,
        };
        let mut next = 0;
        while let Some(name) = map.next_key_seed(NameOf { dataset, next })? {
            let slot = match name {
                Name::Field(at) => {
                    next = at + 1;
                    &mut tokens.fields[at]
                }
                Name::CreatedAt => &mut tokens.created_at,
                Name::TenantId => &mut tokens.tenant_id,
                Name::Record => &mut tokens.record,
                Name::Errors => {
                    tokens.has_errors = true;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a field stands twice in the row"));
            }
        }
        Ok(tokens)
    }
}

enum Name {
    Field(usize),
    CreatedAt,
    TenantId,
    Record,
    Errors,
    Unknown,
}

/// Finds a field by its name, trying `next` first: rows of one file have their fields in one order.
struct NameOf {
    dataset: &'static Dataset,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameOf {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
        let fields = self.dataset.fields;
        if fields.get(self.next).is_some_and(|field| field.name == name) {
            return Ok(Name::Field(self.next));
        }
        Ok(match fields.iter().position(|field| field.name == name) {
            Some(at) => Name::Field(at),
            None => match name {
                "created_at" => Name::CreatedAt,
                "tenant_id" => Name::TenantId,
                "record" => Name::Record,
                "errors" => Name::Errors,
                _ => Name::Unknown,
            },
        })
    }
}

/// Where a value stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Field(usize),
    CreatedAt,
    TenantId,
}

/// A row of the values that `value_of` finds for each slot, whatever form they come in.
pub(crate) fn assemble<'a>(
    dataset: &'static Dataset,
    tenant: Uuid,
    mut value_of: impl FnMut(Slot, Kind) -> Result<Value<'a>, Refusal>,
) -> Result<Row<'a>, Refused> {
    let mut errors = Vec::new();
    match value_of(Slot::TenantId, Kind::Uuid) {
        Ok(Value::Null) => {}
        Ok(Value::Uuid(own)) if own == tenant => {}
        _ => {
            let detail = "the row belongs to another tenant than the one that sent it";
            errors.push(RowError::of_field(Code::TenantMismatch, "tenant_id", detail));
        }
    }
    let mut take = |name: &str, slot: Slot, kind: Kind, missing: Missing| {
        // an empty cell of CSV cannot be told from none, and a file means the same in every format
        let value = match value_of(slot, kind) {
            Ok(Value::Text(text)) if text.is_empty() && missing != Missing::Refused => Ok(Value::Null),
            value => value,
        };
        let refusal = match (value, missing) {
            (Ok(Value::Null), Missing::Refused) => (Code::MissingField, "the field is required".to_owned()),
            (Ok(Value::Null), Missing::Text(text)) => return Value::Text(Cow::Borrowed(text)),
            (Ok(Value::Null), Missing::Bool(truth)) => return Value::Bool(truth),
            (Ok(Value::Text(text)), Missing::Refused) if text.is_empty() => {
                (Code::EmptyText, "the text is empty".to_owned())
            }
            (Ok(value), _) => return value,
            (Err(refusal), _) => refusal,
        };
        errors.push(RowError::of_field(refusal.0, name, refusal.1));
        Value::Null
    };
    let mut values = Vec::with_capacity(dataset.fields.len());
    for (at, field) in dataset.fields.iter().enumerate() {
        values.push(take(field.name, Slot::Field(at), field.kind, field.missing));
    }
    let created_at = if dataset.created_at {
        take("created_at", Slot::CreatedAt, Kind::Timestamp, Missing::Null)
    } else {
        Value::Null
    };
    if errors.is_empty()
        && let Err(error) = (dataset.complete)(&mut values)
    {
        errors.push(error);
    }
    if errors.is_empty() {
        let created_at = if let Value::Micros(micros) = created_at { Some(micros) } else { None };
        return Ok(Row { values, created_at });
    }
    let key = match (&values[dataset.id], dataset.natural_key.map(|at| &values[at])) {
        (Value::Uuid(id), _) => Some(id.to_string()),
        (_, Some(Value::Text(text))) => Some(text.to_string()),
        _ => None,
    };
    Err(Refused { key, errors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;

    const TENANT: Uuid = Uuid::from_u128(0xA);
    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn codes(dataset: &str, line: &str) -> Vec<(Code, String)> {
        let dataset = dataset::by_name(dataset).expect("a dataset");
        let refused = parse(dataset, TENANT, line.as_bytes()).expect_err(line);
        refused.errors.into_iter().map(|error| (error.code, error.pointer)).collect()
    }

    #[test]
    fn defaults_stand_in_for_missing_fields_and_nulls() {
        let line = format!(
            r#"{{"order_id":"{ID}","external_order_id":"A-1","total_amount":0,"order_date":"2026-01-01T00:00:00","currency":null,"customer_name_snapshot":"","x":[1]}}"#
        );
        let row = parse(dataset::by_name("orders").expect("orders"), TENANT, line.as_bytes()).expect("a row");
        assert_eq!(row.values[6], Value::Text("USD".into()));
        assert_eq!(row.values[7], Value::Text("pending".into()));
        assert_eq!(row.values[9], Value::Null);
        assert_eq!(row.values[3], Value::Null, "an empty text is none, as in CSV");
        assert_eq!(row.created_at, None);
    }

    #[test]
    fn all_errors_of_a_row_are_named() {
        assert_eq!(
            codes("products", r#"{"product_id":"42","sku":"","price":-1,"active":"yes","created_at":"soon"}"#),
            [
                (Code::InvalidUuid, "/product_id".to_owned()),
                (Code::EmptyText, "/sku".to_owned()),
                (Code::MissingField, "/name".to_owned()),
                (Code::OutOfRange, "/price".to_owned()),
                (Code::WrongType, "/active".to_owned()),
                (Code::InvalidTimestamp, "/created_at".to_owned()),
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_object_is_named() {
        for (line, code) in [
            ("[1]", Code::NotAnObject),
            ("7", Code::NotAnObject),
            ("{", Code::InvalidJson),
            ("{} {}", Code::InvalidJson),
            ("hello", Code::InvalidJson),
            (r#"{"sku":"a","sku":"b"}"#, Code::InvalidJson),
        ] {
            assert_eq!(codes("products", line), [(code, String::new())], "{line}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(codes("products", &format!(r#"{{"x":{deep}}}"#)).len(), 4, "an ignored field may be deep");
        let broken = parse(dataset::by_name("products").expect("products"), TENANT, b"{\"sku\":\"\xff\"}");
        assert_eq!(broken.expect_err("not UTF-8").errors[0].code, Code::InvalidUtf8);
    }

    #[test]
    fn a_row_of_another_tenant_is_refused() {
        let line =
            |tenant: &str| format!(r#"{{"tenant_id":{tenant},"customer_id":"{ID}","name":"A","email":"a@b.c"}}"#);
        let dataset = dataset::by_name("customers").expect("customers");
        for own in [format!("\"{TENANT}\""), "null".to_owned()] {
            assert!(parse(dataset, TENANT, line(&own).as_bytes()).is_ok());
        }
        for other in [format!("\"{ID}\""), "7".to_owned(), "\"x\"".to_owned()] {
            assert_eq!(codes("customers", &line(&other)), [(Code::TenantMismatch, "/tenant_id".to_owned())]);
        }
    }

    #[test]
    fn a_missing_line_total_follows_or_is_out_of_range() {
        let items = dataset::by_name("order_items").expect("order_items");
        let line = |price: &str| {
            format!(
                r#"{{"order_item_id":"{ID}","order_id":"{ID}","product_id":"{ID}","quantity":3,"unit_price":{price}}}"#
            )
        };
        let row = line("1.5");
        assert_eq!(parse(items, TENANT, row.as_bytes()).expect("a row").values[5], Value::Cents(450));
        assert_eq!(codes("order_items", &line("9999999999")), [(Code::OutOfRange, "/line_total".to_owned())]);
    }

    #[test]
    fn a_reject_is_taken_for_its_record() {
        let line = format!(
            r#"{{"file":"a","line":1,"errors":[],"record":{{"customer_id":"{ID}","name":"A","email":"a@b.c"}}}}"#
        );
        let row = parse(dataset::by_name("customers").expect("customers"), TENANT, line.as_bytes()).expect("a row");
        assert_eq!(row.values[1], Value::Text("A".into()));
        let twice = format!(r#"{{"errors":[],"record":{line}}}"#);
        assert!(parse(dataset::by_name("customers").expect("customers"), TENANT, twice.as_bytes()).is_ok());
    }
}
