//! PostgreSQL's binary COPY format. <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4>

use intake_domain::promotion::RowHash;
use intake_domain::value::Value;
use uuid::Uuid;

/// What precedes the rows: signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What follows them.
pub const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// From 1970-01-01 to 2000-01-01, where PostgreSQL's time begins, in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Begins a row of so many columns.
pub fn begin_row(row: &mut Vec<u8>, columns: usize) {
    row.extend_from_slice(&i16::try_from(columns).unwrap_or(i16::MAX).to_be_bytes());
}

/// Appends a column.
pub fn value(row: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => row.extend_from_slice(&(-1_i32).to_be_bytes()),
        Value::Uuid(id) => uuid(row, *id),
        Value::Text(text) => bytes(row, text.as_bytes()),
        Value::Cents(cents) => numeric(row, *cents),
        Value::Integer(integer) => bytes(row, &integer.to_be_bytes()),
        Value::Bool(truth) => bytes(row, &[u8::from(*truth)]),
        Value::Micros(micros) => timestamp(row, *micros),
        Value::Json(text) => {
            length(row, text.len() + 1);
            row.push(1); // the version of the jsonb wire format
            row.extend_from_slice(text.as_bytes());
        }
    }
}

/// Appends a `uuid`.
pub fn uuid(row: &mut Vec<u8>, id: Uuid) {
    bytes(row, id.as_bytes());
}

/// Appends a `timestamptz` given in microseconds since 1970.
pub fn timestamp(row: &mut Vec<u8>, micros: i64) {
    bytes(row, &timestamp_bytes(micros));
}

/// The eight bytes of a `timestamptz`.
#[must_use]
pub fn timestamp_bytes(micros: i64) -> [u8; 8] {
    (micros - EPOCH_MICROS).to_be_bytes()
}

/// What [`timestamp_bytes`] wrote.
#[must_use]
pub fn micros_of(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) + EPOCH_MICROS
}

/// Appends a `bigint`.
pub fn bigint(row: &mut Vec<u8>, number: i64) {
    bytes(row, &number.to_be_bytes());
}

/// Appends a `bigint[]`: how many dimensions, no nulls, the type of its elements, how many there are, the number of the
/// first, and each with its length.
pub fn bigints(row: &mut Vec<u8>, numbers: &[i64]) {
    length(row, 20 + 12 * numbers.len());
    for part in [1, 0, BIGINT_TYPE, i32::try_from(numbers.len()).unwrap_or(i32::MAX), 1] {
        row.extend_from_slice(&part.to_be_bytes());
    }
    for number in numbers {
        bigint(row, *number);
    }
}

/// PostgreSQL's number of the type `bigint`.
const BIGINT_TYPE: i32 = 20;

/// Appends a `bytea`.
pub fn hash(row: &mut Vec<u8>, hash: &RowHash) {
    bytes(row, hash);
}

/// Appends a `text` or `varchar`.
pub fn text(row: &mut Vec<u8>, text: &str) {
    bytes(row, text.as_bytes());
}

fn length(row: &mut Vec<u8>, bytes: usize) {
    // a value is shorter than the longest line
    row.extend_from_slice(&i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes());
}

fn bytes(row: &mut Vec<u8>, value: &[u8]) {
    length(row, value.len());
    row.extend_from_slice(value);
}

/// The sign of a `numeric` below zero; that of one above is 0, and others are of what is no number.
const NEGATIVE: u16 = 0x4000;

/// Appends a `numeric` with two digits past the point: digits in base 10,000, the weight of the first, sign, scale.
pub(crate) fn numeric(row: &mut Vec<u8>, cents: i64) {
    let magnitude = cents.unsigned_abs();
    let (mut whole, fraction) = (magnitude / 100, (magnitude % 100) * 100);
    let mut digits = [0_u16; 8];
    let mut first = digits.len() - 1;
    digits[first] = fraction as u16;
    while whole > 0 {
        first -= 1;
        digits[first] = (whole % 10_000) as u16;
        whole /= 10_000;
    }
    let weight = digits.len() as i16 - 2 - first as i16;
    let end = if fraction == 0 { digits.len() - 1 } else { digits.len() };
    let digits = digits.get(first..end).unwrap_or_default();
    length(row, 8 + 2 * digits.len());
    let sign = if cents < 0 { NEGATIVE } else { 0 };
    for part in [digits.len() as u16, weight as u16, sign, 2] {
        row.extend_from_slice(&part.to_be_bytes());
    }
    for digit in digits {
        row.extend_from_slice(&digit.to_be_bytes());
    }
}

/// The cents of a `numeric` that was written so; `None` for bytes that were not.
#[must_use]
pub fn cents_of(bytes: &[u8]) -> Option<i64> {
    let mut parts = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // those before the point, and one after it; what is not there is 0
    let groups = usize::try_from(i32::from(weight.cast_signed()) + 2).ok()?;
    if usize::from(count) != parts.len() || parts.len() > groups || !matches!(sign, 0 | NEGATIVE) {
        return None;
    }
    let mut digits = parts.map(i64::from).chain(std::iter::repeat(0)).take(groups);
    let units = digits.try_fold(0_i64, |units, digit| units.checked_mul(10_000)?.checked_add(digit))?;
    Some(if sign == 0 { units / 100 } else { -units / 100 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(cents: i64) -> Vec<u16> {
        let mut row = Vec::new();
        numeric(&mut row, cents);
        row[4..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numerics_read_back() {
        for cents in [0, 5, 99, 100, 1_999, 1_000_000, 999_999_999_999, -100, -1_000_005] {
            let mut row = Vec::new();
            numeric(&mut row, cents);
            assert_eq!(cents_of(&row[4..]), Some(cents));
        }
        assert_eq!(cents_of(&[0; 7]), None);
    }

    #[test]
    fn numerics_are_digits_of_base_10_000() {
        assert_eq!(encoded(0), [0, u16::MAX, 0, 2], "zero has no digits");
        assert_eq!(encoded(5), [1, u16::MAX, 0, 2, 500], "0.05");
        assert_eq!(encoded(1999), [2, 0, 0, 2, 19, 9900], "19.99");
        assert_eq!(encoded(1_000_000), [2, 1, 0, 2, 1, 0], "10000.00");
        assert_eq!(encoded(999_999_999_999), [4, 2, 0, 2, 99, 9999, 9999, 9900]);
        assert_eq!(encoded(-100), [1, 0, 0x4000, 2, 1]);
    }
}
