//! One field of a row: what its column takes, and how a JSON token becomes that.

use crate::json;
use crate::reject::Code;
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// What a column takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A UUID, in any of its usual spellings.
    Uuid,
    /// Text of at most so many characters.
    Text(usize),
    /// `numeric(12,2)`, from 0 up; given as a number or a string, rounded half away from zero as PostgreSQL does.
    Money,
    /// A whole number between these, both included; given as a number or a string.
    Integer(i32, i32),
    /// `true` or `false`.
    Bool,
    /// An ISO 8601 date and time; UTC where it names no zone; microseconds.
    Timestamp,
    /// An ISO 4217 code.
    Currency,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A JSON object.
    Object,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// An id.
    Uuid(Uuid),
    /// A text.
    Text(Cow<'a, str>),
    /// Money in hundredths.
    Cents(i64),
    /// A whole number.
    Integer(i32),
    /// A truth value.
    Bool(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Micros(i64),
    /// A JSON object in its [one spelling](json::canonical).
    Json(Cow<'a, str>),
}

/// The largest `numeric(12,2)`, in hundredths.
pub const MAX_CENTS: i64 = 999_999_999_999;

/// Active ISO 4217 codes (list one, 2026).
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD \
    CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ \
    GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD \
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON \
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD \
    USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS XUA XXX YER \
    ZAR ZMW ZWG";

/// Why a token is no value of its kind: the code and a sentence.
pub type Refusal = (Code, String);

/// Reads one JSON token, `null` included, as a value of `kind`.
///
/// # Errors
/// The code and detail of what is wrong with it.
pub fn read<'a>(kind: Kind, token: &'a str) -> Result<Value<'a>, Refusal> {
    let first = token.as_bytes().first().copied().unwrap_or(b'n');
    if first == b'n' {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Bool => match first {
            b't' => Ok(Value::Bool(true)),
            b'f' => Ok(Value::Bool(false)),
            _ => Err(wrong_type("a boolean", first)),
        },
        Kind::Object => match first {
            b'{' => json::canonical(token).map(Value::Json).map_err(|why| (Code::InvalidObject, why.to_string())),
            _ => Err(wrong_type("an object", first)),
        },
        Kind::Money | Kind::Integer(..) => {
            let text = match first {
                b'"' => text(token)?,
                b'-' | b'0'..=b'9' => Cow::Borrowed(token),
                _ => return Err(wrong_type("a number", first)),
            };
            number(kind, &text)
        }
        _ if first != b'"' => Err(wrong_type("a string", first)),
        _ => string(kind, text(token)?),
    }
}

/// Reads one cell of a CSV record as a value of `kind`; an empty one is null.
///
/// # Errors
/// The code and detail of what is wrong with it.
pub fn read_cell(kind: Kind, cell: &str) -> Result<Value<'_>, Refusal> {
    if cell.is_empty() {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Bool => truth(cell).map(Value::Bool).ok_or_else(|| (Code::WrongType, "must be true or false".to_owned())),
        Kind::Object => match serde_json::from_str::<&RawValue>(cell) {
            Ok(token) => read(kind, token.get()),
            Err(_) => Err((Code::InvalidObject, "the cell does not hold JSON".to_owned())),
        },
        Kind::Money | Kind::Integer(..) => number(kind, cell),
        _ => string(kind, Cow::Borrowed(cell)),
    }
}

/// The truth value that a cell says, as spreadsheets and languages write it.
pub(crate) fn truth(cell: &str) -> Option<bool> {
    let says = |words: [&str; 3]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
    match (says(["true", "t", "1"]), says(["false", "f", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn string(kind: Kind, text: Cow<'_, str>) -> Result<Value<'_>, Refusal> {
    match kind {
        Kind::Uuid => Uuid::try_parse(&text).map(Value::Uuid).map_err(|_| (Code::InvalidUuid, "not a UUID".to_owned())),
        Kind::Text(max) => {
            if text.len() > max && text.chars().count() > max {
                Err((Code::TooLong, format!("{} characters, at most {max} fit", text.chars().count())))
            } else if text.contains('\0') {
                Err((Code::NulCharacter, "the character U+0000 cannot be stored".to_owned()))
            } else {
                Ok(Value::Text(text))
            }
        }
        Kind::Currency => {
            if text.len() == 3 && CURRENCIES.split_ascii_whitespace().any(|known| known == text) {
                Ok(Value::Text(text))
            } else {
                Err((Code::InvalidCurrency, "not an ISO 4217 code".to_owned()))
            }
        }
        Kind::Choice(words) => {
            if words.contains(&text.as_ref()) {
                Ok(Value::Text(text))
            } else {
                Err((Code::InvalidChoice, format!("must be one of {}", words.join(", "))))
            }
        }
        _ => timestamp(&text).map(Value::Micros),
    }
}

fn number(kind: Kind, text: &str) -> Result<Value<'static>, Refusal> {
    let Kind::Integer(least, most) = kind else {
        return match hundredths(text) {
            Some(cents @ 0..=MAX_CENTS) => Ok(Value::Cents(cents)),
            Some(_) => Err((Code::OutOfRange, "must be from 0 to 9999999999.99".to_owned())),
            None => Err((Code::InvalidDecimal, "not a decimal number".to_owned())),
        };
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || fraction.bytes().any(|b| b != b'0') {
        return Err((Code::InvalidInteger, "not a whole number".to_owned()));
    }
    match whole.parse::<i32>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Value::Integer(value)),
        _ => Err((Code::OutOfRange, format!("must be from {least} to {most}"))),
    }
}

/// A decimal number in hundredths, rounded half away from zero. Out of range it saturates; `None` when the text is no
/// number.
fn hundredths(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // digits left of this position count, the one at it rounds
    let point = (whole.len() as i64) + i64::from(exponent) + 2;
    let mut units = 0_i64;
    let digits = whole.bytes().chain(fraction.bytes());
    for (digit, at) in digits.map(|b| i64::from(b - b'0')).zip(0_i64..) {
        if at < point {
            units = units.saturating_mul(10).saturating_add(digit);
        } else {
            units = units.saturating_add(i64::from(at == point && digit >= 5));
            break;
        }
    }
    for _ in (whole.len() + fraction.len()) as i64..point {
        if units == 0 || units == i64::MAX {
            break;
        }
        units = units.saturating_mul(10);
    }
    Some(if negative { -units } else { units })
}

/// A time of a query in which a `+` that nobody encoded has become a space, with the `+`.
pub(crate) fn with_plus(text: &str) -> Cow<'_, str> {
    let time = text.find(['T', 't', ' ']).map_or(text.len(), |at| at + 1);
    match text[time..].split_once(' ') {
        Some((clock, offset)) => format!("{}{clock}+{offset}", &text[..time]).into(),
        None => Cow::Borrowed(text),
    }
}

/// The first and last instant that is taken: the years 1 to 9999.
const YEARS: std::ops::RangeInclusive<i16> = 1..=9999;

fn timestamp(text: &str) -> Result<i64, Refusal> {
    let invalid = || (Code::InvalidTimestamp, "not an ISO 8601 time".to_owned());
    if text.contains('[') {
        // the zone of RFC 9557, which would be passed over
        return Err(invalid());
    }
    let has_zone = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
    let instant = if has_zone {
        text.parse::<jiff::Timestamp>().map_err(|_| invalid())?
    } else {
        let local = text.parse::<jiff::civil::DateTime>().map_err(|_| invalid())?;
        jiff::tz::Offset::UTC.to_timestamp(local).map_err(|_| invalid())?
    };
    if YEARS.contains(&jiff::tz::Offset::UTC.to_datetime(instant).year()) {
        Ok(instant.as_microsecond())
    } else {
        Err((Code::OutOfRange, "the year must be from 1 to 9999".to_owned()))
    }
}

/// The contents of a JSON string token.
fn text(token: &str) -> Result<Cow<'_, str>, Refusal> {
    if token.contains('\\') {
        // the token is well-formed: only a lone surrogate can fail
        serde_json::from_str(token)
            .map(Cow::Owned)
            .map_err(|_| (Code::InvalidJson, "an escape that stands for no character".to_owned()))
    } else {
        Ok(Cow::Borrowed(&token[1..token.len() - 1]))
    }
}

fn wrong_type(wanted: &str, first: u8) -> Refusal {
    let found = match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        _ => "a number",
    };
    (Code::WrongType, format!("must be {wanted}, is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(kind: Kind, token: &str) -> Code {
        read(kind, token).expect_err(token).0
    }

    fn micros(token: &str) -> i64 {
        match read(Kind::Timestamp, token) {
            Ok(Value::Micros(micros)) => micros,
            other => panic!("{token}: {other:?}"),
        }
    }

    #[test]
    fn money_is_exact_and_rounds_as_postgresql_does() {
        for (token, cents) in [
            ("0", 0),
            ("19.99", 1999),
            ("\"19.99\"", 1999),
            ("59.970000000000006", 5997),
            ("0.005", 1),
            ("0.0049999", 0),
            ("1e3", 100_000),
            ("1.5E-1", 15),
            ("-0", 0),
            ("\"+7.\"", 700),
            ("9999999999.99", MAX_CENTS),
        ] {
            assert_eq!(read(Kind::Money, token), Ok(Value::Cents(cents)), "{token}");
        }
        for token in ["-0.01", "10000000000", "9999999999.995", "1e999999999", "123456789012345678901234567890"] {
            assert_eq!(code(Kind::Money, token), Code::OutOfRange, "{token}");
        }
        for token in ["\"12,50\"", "\"\"", "\".\"", "\"1e\"", "\"NaN\"", "\"0x1\""] {
            assert_eq!(code(Kind::Money, token), Code::InvalidDecimal, "{token}");
        }
        assert_eq!(code(Kind::Money, "true"), Code::WrongType);
    }

    proptest! {
        #[test]
        fn any_number_of_cents_reads_back(cents in 0..=MAX_CENTS) {
            let token = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(read(Kind::Money, &token), Ok(Value::Cents(cents)));
        }

        #[test]
        fn no_token_panics(text in any::<String>()) {
            let token = serde_json::to_string(&text).expect("a string");
            for kind in [Kind::Uuid, Kind::Text(3), Kind::Money, Kind::Integer(0, 9), Kind::Timestamp, Kind::Currency] {
                let _ = read(kind, &token);
            }
        }
    }

    #[test]
    fn whole_numbers_are_whole() {
        let kind = Kind::Integer(1, i32::MAX);
        assert_eq!(read(kind, "3"), Ok(Value::Integer(3)));
        assert_eq!(read(kind, "\"3\""), Ok(Value::Integer(3)));
        assert_eq!(read(kind, "3.0"), Ok(Value::Integer(3)));
        assert_eq!(code(kind, "3.5"), Code::InvalidInteger);
        assert_eq!(code(kind, "3.04"), Code::InvalidInteger);
        assert_eq!(code(kind, "0"), Code::OutOfRange);
        assert_eq!(code(kind, "2147483648"), Code::OutOfRange);
        assert_eq!(code(kind, "99999999999999999999999"), Code::OutOfRange);
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        assert_eq!(micros("\"1970-01-01T00:00:01\""), 1_000_000);
        assert_eq!(micros("\"1970-01-01T00:00:01.000002\""), 1_000_002);
        assert_eq!(micros("\"1970-01-01 00:00:01Z\""), 1_000_000);
        assert_eq!(micros("\"1970-01-01T01:00:01+01:00\""), 1_000_000);
        assert_eq!(micros("\"1970-01-02\""), 86_400_000_000);
        assert_eq!(code(Kind::Timestamp, "\"01/02/2026\""), Code::InvalidTimestamp);
        assert_eq!(code(Kind::Timestamp, "\"2026-02-30T00:00:00\""), Code::InvalidTimestamp);
        assert_eq!(code(Kind::Timestamp, "\"2026-01-31T00:00:00[Europe/Berlin]\""), Code::InvalidTimestamp);
        assert_eq!(code(Kind::Timestamp, "\"0000-01-01T00:00:00\""), Code::OutOfRange);
        assert_eq!(code(Kind::Timestamp, "1700000000"), Code::WrongType);
    }

    #[test]
    fn objects_that_jsonb_refuses_are_refused_first() {
        assert!(read(Kind::Object, r#"{"a": {"b": [1, -2.5e3, null, "x\"{"]}}"#).is_ok());
        let deep = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
        for token in
            [deep.as_str(), r#"{"a": "\u0000"}"#, r#"{"a": "\ud800"}"#, r#"{"a": 1e301}"#, r#"{"a": 1e-99999999999}"#]
        {
            assert_eq!(code(Kind::Object, token), Code::InvalidObject, "{token}");
        }
        assert_eq!(code(Kind::Object, "\"{'a': None}\""), Code::WrongType);
    }

    #[test]
    fn cells_are_read_as_their_column_asks() {
        let cell = |kind, text| read_cell(kind, text);
        assert_eq!(cell(Kind::Text(9), ""), Ok(Value::Null));
        assert_eq!(cell(Kind::Text(9), "\"a\\"), Ok(Value::Text("\"a\\".into())), "no JSON escapes in a cell");
        assert_eq!(cell(Kind::Money, "12.5"), Ok(Value::Cents(1250)));
        assert_eq!(cell(Kind::Bool, "True"), Ok(Value::Bool(true)));
        assert_eq!(cell(Kind::Bool, "0"), Ok(Value::Bool(false)));
        assert_eq!(cell(Kind::Bool, "maybe").expect_err("no truth").0, Code::WrongType);
        assert_eq!(cell(Kind::Object, "{\"a\": 1}"), Ok(Value::Json("{\"a\":1}".into())));
        assert_eq!(cell(Kind::Object, "null"), Ok(Value::Null));
        for wrong in ["{'a': None}", "{\"a\": 1", "{\"a\": \"\\u0000\"}"] {
            assert_eq!(cell(Kind::Object, wrong).expect_err(wrong).0, Code::InvalidObject, "{wrong}");
        }
        assert_eq!(cell(Kind::Object, "[1]").expect_err("an array").0, Code::WrongType);
    }

    #[test]
    fn texts_are_counted_in_characters() {
        assert!(read(Kind::Text(3), "\"äöü\"").is_ok());
        assert_eq!(code(Kind::Text(3), "\"abcd\""), Code::TooLong);
        assert_eq!(code(Kind::Text(9), r#""a\u0000""#), Code::NulCharacter);
        assert_eq!(code(Kind::Currency, "\"usd\""), Code::InvalidCurrency);
        assert_eq!(read(Kind::Text(9), "null"), Ok(Value::Null));
    }
}
