//! Days and money as the rules have them.

use bytes::{Buf, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Failed = Box<dyn std::error::Error + Sync + Send>;

/// From 1970-01-01 to 2000-01-01, where PostgreSQL's time begins.
const EPOCH_DAYS: i32 = 10_957;

/// A `date` in days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day(pub(crate) i32);

impl ToSql for Day {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        out.extend_from_slice(&(self.0 - EPOCH_DAYS).to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::DATE
    }

    to_sql_checked!();
}

impl FromSql<'_> for Day {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Failed> {
        Ok(Self(i32::from_be_bytes(raw.try_into()?) + EPOCH_DAYS))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::DATE
    }
}

/// A `numeric` of money in hundredths, which is not below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cents(pub(crate) u128);

impl FromSql<'_> for Cents {
    /// The number is sent in digits of base 10,000, the first of which stands for a power of it.
    /// <https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/numeric.c> (`numeric_send`)
    fn from_sql(_: &Type, mut raw: &[u8]) -> Result<Self, Failed> {
        let digits = raw.try_get_u16()?;
        let weight = i32::from(raw.try_get_i16()?);
        let (sign, _scale) = (raw.try_get_u16()?, raw.try_get_u16()?);
        if sign != 0 {
            return Err("a sum of money below zero".into());
        }
        let mut cents = 0_u128;
        for power in (0..i32::from(digits)).map(|at| weight - at) {
            let digit = u128::from(raw.try_get_u16()?);
            let worth = match u32::try_from(power) {
                Ok(power) => 10_000_u128.checked_pow(power).and_then(|worth| (100 * digit).checked_mul(worth)),
                Err(_) if power == -1 => Some(digit / 100),
                Err(_) => Some(0),
            };
            cents = worth.and_then(|worth| cents.checked_add(worth)).ok_or("a sum of money beyond all numbers")?;
        }
        Ok(Self(cents))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::NUMERIC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_as_postgresql_sends_it() {
        let read = |digits: &[u16], weight: i16, sign: u16| {
            let mut raw = Vec::new();
            raw.extend((digits.len() as u16).to_be_bytes());
            raw.extend(weight.to_be_bytes());
            raw.extend(sign.to_be_bytes());
            raw.extend(2_u16.to_be_bytes());
            raw.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
            Cents::from_sql(&Type::NUMERIC, &raw).map(|cents| cents.0).ok()
        };
        assert_eq!(read(&[], 0, 0), Some(0));
        assert_eq!(read(&[500], -1, 0), Some(5), "0.05");
        assert_eq!(read(&[19, 9900], 0, 0), Some(19_99));
        assert_eq!(read(&[1], 1, 0), Some(1_000_000), "10000.00");
        assert_eq!(read(&[99, 9999, 9999, 9900], 2, 0), Some(999_999_999_999));
        assert_eq!(read(&[1], 0, 0x4000), None, "-1");
        assert_eq!(read(&[0], 0, 0xc000), None, "not a number");
        assert_eq!(read(&[1], 99, 0), None);
    }
}
