//! Times as the rules have them.

use crate::copy;
use intake_domain::sales::DAY_MICROS;
use std::fmt;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A `timestamptz` in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micros(pub(crate) i64);

/// The number that the first day of 1970 has among those that astronomers count.
const EPOCH_DAY: i64 = 2_440_588;

/// As a constant in the text of a statement, for one that takes no parameters: by its Julian day, which has no year to be spelt.
/// <https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-DATE-TABLE>
impl fmt::Display for Micros {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, of_day) = (EPOCH_DAY + self.0.div_euclid(DAY_MICROS), self.0.rem_euclid(DAY_MICROS));
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(out, "timestamptz 'J{day} {hour:02}:{minute:02}:{second:02}.{micros:06}Z'")
    }
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&copy::timestamp_bytes(self.0));
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl FromSql<'_> for Micros {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(copy::micros_of(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_a_day_and_a_time() {
        assert_eq!(Micros(1).to_string(), "timestamptz 'J2440588 00:00:00.000001Z'");
        assert_eq!(Micros(-1).to_string(), "timestamptz 'J2440587 23:59:59.999999Z'");
        assert_eq!(Micros(2 * DAY_MICROS + 3_723_000_000).to_string(), "timestamptz 'J2440590 01:02:03.000000Z'");
    }
}
