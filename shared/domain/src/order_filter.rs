//! Which orders are meant: by a search, or by an export.

use crate::dataset::{self, DAY_MICROS};
use crate::reject::{Code, RowError};
use crate::text_search::Needle;
use crate::value::{self, Kind, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How many products or statuses may be named.
pub const MAX_LIST: usize = 1_000;

/// How many characters a text that is looked for may have: no name or address has more.
const MAX_TEXT: usize = 255;

/// How long an object that a payload is to contain may be, in bytes.
const MAX_PAYLOAD_BYTES: usize = 4_096;

/// All of its conditions hold of an order that is meant; one that is not there asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// A text that the customer's name or e-mail address contains, in whatever case.
    pub text: Option<String>,
    /// The order has one of these statuses; none: any.
    pub statuses: Vec<String>,
    /// The order has an item of one of these products; none: any.
    pub products: Vec<Uuid>,
    /// The total is not less, in hundredths.
    pub min_total: Option<i64>,
    /// The total is not more, in hundredths.
    pub max_total: Option<i64>,
    /// The order is not older, in microseconds since 1970.
    pub start: Option<i64>,
    /// The order is older, in microseconds since 1970.
    pub end: Option<i64>,
    /// An object of JSON that `raw_payload` contains, as PostgreSQL's `@>` has it.
    pub payload: Option<String>,
}

/// The conditions as clients write them, each a text. A list has one text for each of its entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// A part of the customer's name or e-mail address.
    pub q: Option<&'a str>,
    /// Statuses.
    pub order_status: Option<&'a [&'a str]>,
    /// Products.
    pub product_ids: Option<&'a [&'a str]>,
    /// The least total, a decimal number.
    pub min_price: Option<&'a str>,
    /// The highest total.
    pub max_price: Option<&'a str>,
    /// The first day or instant.
    pub start_date: Option<&'a str>,
    /// The last day or instant; the order may be of it, too.
    pub end_date: Option<&'a str>,
    /// An object that the payload contains.
    pub payload: Option<&'a str>,
}

impl OrderFilter {
    /// Reads conditions.
    ///
    /// # Errors
    /// All that is wrong with them, each with a pointer that is the name of its condition behind a slash.
    pub fn read(conditions: &Conditions<'_>) -> Result<Self, Vec<RowError>> {
        let mut wrong = Vec::new();
        let mut keep = |name: &str, error: Refusal| wrong.push(RowError::of_field(error.0, name, error.1));
        let mut filter = Self::default();
        macro_rules! read {
            ($field:ident, $into:ident, $read:expr) => {
                match conditions.$field.map($read).transpose() {
                    Ok(read) => filter.$into = read,
                    Err(error) => keep(stringify!($field), error),
                }
            };
        }
        read!(q, text, text);
        read!(min_price, min_total, total);
        read!(max_price, max_total, total);
        read!(start_date, start, |text| when(text).map(|when| when.start));
        read!(end_date, end, |text| when(text).map(|when| when.end));
        read!(payload, payload, payload);
        match list(conditions.order_status, status) {
            Ok(statuses) => filter.statuses = statuses,
            Err(error) => keep("order_status", error),
        }
        match list(conditions.product_ids, product) {
            Ok(products) => filter.products = products,
            Err(error) => keep("product_ids", error),
        }
        if filter.min_total.zip(filter.max_total).is_some_and(|(min, max)| max < min) {
            keep("max_price", (Code::OutOfRange, "is less than min_price".to_owned()));
        }
        if filter.start.zip(filter.end).is_some_and(|(start, end)| end <= start) {
            keep("end_date", (Code::OutOfRange, "is before start_date".to_owned()));
        }
        if wrong.is_empty() { Ok(filter) } else { Err(wrong) }
    }

    /// What its text looks for in names and addresses.
    #[must_use]
    pub fn needle(&self) -> Option<Needle> {
        self.text.as_deref().map(Needle::new)
    }

    /// What tells it from other filters, and whose it is: the same for the same conditions, whatever their order was.
    #[must_use]
    pub fn digest(&self, tenant: Uuid) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(tenant.as_bytes());
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        for text in [&self.text, &self.payload] {
            part(&[u8::from(text.is_some())]);
            part(text.as_deref().unwrap_or_default().as_bytes());
        }
        for number in [self.min_total, self.max_total, self.start, self.end] {
            part(&[u8::from(number.is_some())]);
            part(&number.unwrap_or_default().to_be_bytes());
        }
        part(self.statuses.join(",").as_bytes());
        part(self.products.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<_>>().as_slice());
        digest.finalize().into()
    }
}

type Refusal = value::Refusal;

/// A day or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Its beginning, in microseconds since 1970.
    pub start: i64,
    /// What comes next after it.
    pub end: i64,
}

/// Reads a day, `YYYY-MM-DD` or `DD-MM-YYYY`, or an instant of ISO 8601. Days are those of UTC, and so is an instant that
/// names no zone.
///
/// # Errors
/// For anything else, the code and a sentence.
pub fn when(text: &str) -> Result<When, Refusal> {
    let day_first = match text.as_bytes() {
        [_, _, b'-', _, _, b'-', _, _, _, _] => {
            text.get(6..).zip(text.get(2..6)).zip(text.get(..2)).map(|((y, m), d)| format!("{y}{m}{d}"))
        }
        _ => None,
    };
    let iso = day_first.as_deref().unwrap_or(text);
    let is_day = matches!(iso.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _]);
    let unreadable = || (Code::InvalidTimestamp, "must be YYYY-MM-DD, DD-MM-YYYY or a time of ISO 8601".to_owned());
    // of ISO 8601 a day has other forms, too, which stand for its first moment elsewhere
    if !is_day && !iso.contains(['T', 't', ' ']) {
        return Err(unreadable());
    }
    match value::read_cell(Kind::Timestamp, &value::with_plus(iso)) {
        Ok(Value::Micros(start)) => Ok(When { start, end: start + if is_day { DAY_MICROS } else { 1 } }),
        Err((code @ Code::OutOfRange, detail)) => Err((code, detail)),
        _ => Err(unreadable()),
    }
}

fn text(text: &str) -> Result<String, Refusal> {
    match value::read_cell(Kind::Text(MAX_TEXT), text)? {
        Value::Text(text) => Ok(text.into_owned()),
        _ => Err(empty()),
    }
}

/// A bound of totals. It is not rounded: orders on the wrong side of it would be found.
fn total(text: &str) -> Result<i64, Refusal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = whole.trim_start_matches('-').bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_plain || fraction.trim_end_matches('0').len() > 2 {
        return Err((
            Code::InvalidDecimal,
            "must be a decimal number with at most two digits after its point".to_owned(),
        ));
    }
    match value::read_cell(Kind::Money, text)? {
        Value::Cents(cents) => Ok(cents),
        _ => Err(empty()),
    }
}

fn payload(text: &str) -> Result<String, Refusal> {
    if text.len() > MAX_PAYLOAD_BYTES {
        return Err((Code::TooLong, format!("has {} bytes, at most {MAX_PAYLOAD_BYTES} are taken", text.len())));
    }
    match value::read_cell(Kind::Object, text) {
        Ok(Value::Json(object)) => Ok(object.into_owned()),
        Ok(_) => Err((Code::WrongType, "must be an object".to_owned())),
        Err((Code::InvalidObject, detail)) if detail.contains("cell") => {
            Err((Code::InvalidObject, "must be an object of JSON".to_owned()))
        }
        Err(error) => Err(error),
    }
}

fn status(text: &str) -> Result<String, Refusal> {
    match value::read_cell(Kind::Choice(dataset::ORDER_STATUSES), text)? {
        Value::Text(status) => Ok(status.into_owned()),
        _ => Err(empty()),
    }
}

fn product(text: &str) -> Result<Uuid, Refusal> {
    match value::read_cell(Kind::Uuid, text)? {
        Value::Uuid(id) => Ok(id),
        _ => Err(empty()),
    }
}

/// A list without its doubles, in an order of its own.
fn list<T: Ord>(texts: Option<&[&str]>, read: fn(&str) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
    let Some(texts) = texts else { return Ok(Vec::new()) };
    if texts.is_empty() {
        return Err(empty());
    }
    if texts.len() > MAX_LIST {
        return Err((Code::OutOfRange, format!("has {} entries, at most {MAX_LIST} are taken", texts.len())));
    }
    let mut entries = texts.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
    entries.sort_unstable();
    entries.dedup();
    Ok(entries)
}

fn empty() -> Refusal {
    (Code::EmptyText, "is empty; without it nothing is asked of orders".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Conditions<'_> = Conditions {
        q: None,
        order_status: None,
        product_ids: None,
        min_price: None,
        max_price: None,
        start_date: None,
        end_date: None,
        payload: None,
    };

    fn refused(conditions: Conditions<'_>) -> Vec<(String, Code)> {
        let errors = OrderFilter::read(&conditions).expect_err("it is refused");
        errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn conditions_are_read() {
        let products = [
            "9F3B1C52-8C0E-4D57-8F6C-0A4E5B7D1C11",
            "00000000-0000-0000-0000-000000000001",
            "9f3b1c528c0e4d578f6c0a4e5b7d1c11",
        ];
        let filter = OrderFilter::read(&Conditions {
            q: Some("Ada"),
            order_status: Some(&["shipped", "pending", "shipped"]),
            product_ids: Some(&products),
            min_price: Some("1"),
            max_price: Some("19.990"),
            start_date: Some("31-01-1970"),
            end_date: Some("1970-01-31"),
            payload: Some(r#"{"source": "web"}"#),
        })
        .expect("it is right");
        assert_eq!(filter.statuses, ["pending", "shipped"]);
        assert_eq!(filter.products.len(), 2);
        assert_eq!((filter.min_total, filter.max_total), (Some(100), Some(1_999)));
        assert_eq!((filter.start, filter.end), (Some(30 * DAY_MICROS), Some(31 * DAY_MICROS)));
        assert_eq!(OrderFilter::read(&NONE), Ok(OrderFilter::default()));
    }

    #[test]
    fn the_last_day_or_instant_belongs_to_the_range() {
        let day = When { start: DAY_MICROS, end: 2 * DAY_MICROS };
        assert_eq!((when("1970-01-02"), when("02-01-1970")), (Ok(day), Ok(day)));
        assert_eq!(when("1970-01-01T00:00:01"), Ok(When { start: 1_000_000, end: 1_000_001 }));
        assert_eq!(when("1970-01-01T01:00:01+01:00"), Ok(When { start: 1_000_000, end: 1_000_001 }));
        for second in [
            "1970-01-01 00:00:01",
            "19700101T000001",
            "19700101T000001Z",
            "1970-01-01T01:00:01 01:00",
            "1970-01-01 01:00:01 01:00",
        ] {
            assert_eq!(when(second), Ok(When { start: 1_000_000, end: 1_000_001 }), "{second}");
        }
        for wrong in [
            "",
            "1970",
            "1970-1-2",
            "02/01/1970",
            "32-01-1970",
            "1970-02-30",
            "19700102",
            "+001970-01-02",
            "1970-W01-5",
            "1970-01-02T",
            "1970-01-02 ",
            "19700102T0",
            "19700102 ",
            "1970-01-02T00:00:00 ",
            "1970-01-02T00:00:00  01:00",
            "1970-01-02[UTC]",
            "1970-01-01T00:00:00[Europe/Berlin]",
            "yesterday",
            "dd-mm-yyyy",
            "é2-01-1970",
        ] {
            assert_eq!(when(wrong).expect_err(wrong).0, Code::InvalidTimestamp, "{wrong}");
        }
        assert_eq!(when("01-01-0000").expect_err("no year").0, Code::OutOfRange);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(256);
        let many = ["pending"; MAX_LIST + 1];
        for (conditions, pointer, code) in [
            (Conditions { q: Some(""), ..NONE }, "/q", Code::EmptyText),
            (Conditions { q: Some(&long), ..NONE }, "/q", Code::TooLong),
            (Conditions { q: Some("a\0"), ..NONE }, "/q", Code::NulCharacter),
            (Conditions { order_status: Some(&["lost"]), ..NONE }, "/order_status", Code::InvalidChoice),
            (Conditions { order_status: Some(&[""]), ..NONE }, "/order_status", Code::EmptyText),
            (Conditions { order_status: Some(&[]), ..NONE }, "/order_status", Code::EmptyText),
            (Conditions { order_status: Some(&many), ..NONE }, "/order_status", Code::OutOfRange),
            (Conditions { product_ids: Some(&["42"]), ..NONE }, "/product_ids", Code::InvalidUuid),
            (Conditions { min_price: Some("-1"), ..NONE }, "/min_price", Code::OutOfRange),
            (Conditions { min_price: Some("1.001"), ..NONE }, "/min_price", Code::InvalidDecimal),
            (Conditions { max_price: Some("1e3"), ..NONE }, "/max_price", Code::InvalidDecimal),
            (Conditions { max_price: Some(""), ..NONE }, "/max_price", Code::EmptyText),
            (Conditions { max_price: Some("99999999999999999999"), ..NONE }, "/max_price", Code::OutOfRange),
            (Conditions { min_price: Some("2"), max_price: Some("1"), ..NONE }, "/max_price", Code::OutOfRange),
            (Conditions { start_date: Some("soon"), ..NONE }, "/start_date", Code::InvalidTimestamp),
            (
                Conditions { start_date: Some("2026-02-01"), end_date: Some("2026-01-31"), ..NONE },
                "/end_date",
                Code::OutOfRange,
            ),
            (Conditions { payload: Some("[1]"), ..NONE }, "/payload", Code::WrongType),
            (Conditions { payload: Some("{"), ..NONE }, "/payload", Code::InvalidObject),
            (Conditions { payload: Some("null"), ..NONE }, "/payload", Code::WrongType),
            (Conditions { payload: Some(r#"{"a":"\u0000"}"#), ..NONE }, "/payload", Code::InvalidObject),
        ] {
            assert_eq!(refused(conditions), [(pointer.to_owned(), code)], "{conditions:?}");
        }
        assert_eq!(refused(Conditions { q: Some(""), min_price: Some("x"), ..NONE }).len(), 2, "all of it is named");
    }

    #[test]
    fn a_digest_tells_filters_and_tenants_apart() {
        let read = |conditions: Conditions<'_>| OrderFilter::read(&conditions).expect("it is right");
        let tenant = Uuid::from_u128(1);
        let different = [
            NONE,
            Conditions { q: Some("a"), ..NONE },
            Conditions { min_price: Some("0"), ..NONE },
            Conditions { max_price: Some("0"), ..NONE },
            Conditions { start_date: Some("1970-01-01"), ..NONE },
            Conditions { payload: Some("{}"), ..NONE },
            Conditions { order_status: Some(&["pending"]), ..NONE },
        ];
        let mut digests: Vec<_> = different.iter().map(|conditions| read(*conditions).digest(tenant)).collect();
        digests.push(read(NONE).digest(Uuid::from_u128(2)));
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
        let two = |list| read(Conditions { order_status: Some(list), ..NONE }).digest(tenant);
        assert_eq!(two(&["pending", "shipped"]), two(&["shipped", "pending"]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let texts = [text.as_str()];
            let all = Conditions {
                q: Some(&text),
                order_status: Some(&texts),
                product_ids: Some(&texts),
                min_price: Some(&text),
                max_price: Some(&text),
                start_date: Some(&text),
                end_date: Some(&text),
                payload: Some(&text),
            };
            let _ = OrderFilter::read(&all);
        }
    }
}
