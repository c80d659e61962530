//! One price and the next, in whole cents: nothing here is rounded before it is compared.

use super::{Code, Reason};
use std::fmt;

/// A share in hundredths of a percent, rounded half away from zero as PostgreSQL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(i64);

impl Percent {
    /// The change from one price to the next; none from zero.
    #[must_use]
    pub fn change(old: i64, new: i64) -> Option<Self> {
        // at most 10^16 for prices in range
        let (change, whole) = ((i128::from(new) - i128::from(old)) * 10_000, i128::from(old));
        let rounded = (2 * change + change.signum() * whole).checked_div(2 * whole)?;
        i64::try_from(rounded).ok().map(Self)
    }

    /// So many hundredths of a percent.
    #[must_use]
    pub fn of_hundredths(hundredths: i64) -> Self {
        Self(hundredths)
    }

    /// In hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> i64 {
        self.0
    }
}

/// As a decimal number, `-12.34`, without the sign for percent.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&money(self.0))
    }
}

/// Hundredths as a decimal number, `-12.34`.
#[must_use]
pub fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

/// The predecessor's thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threshold {
    Extreme,
    Significant,
    Notable,
}

impl Threshold {
    /// The highest that is crossed; to reach it is enough. From zero none is, as there is no share of it: the
    /// predecessor took such a change for 0 %.
    pub(super) fn crossed(old: i64, new: i64) -> Option<Self> {
        if old <= 0 {
            return None;
        }
        let reaches = |percent: i128| i128::from(old.abs_diff(new)) * 100 >= percent * i128::from(old);
        if reaches(50) {
            Some(Self::Extreme)
        } else if reaches(25) {
            Some(Self::Significant)
        } else if reaches(10) && old > 10_000 {
            Some(Self::Notable)
        } else {
            None
        }
    }

    /// The predecessor's words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Extreme => "Extreme price change",
            Self::Significant => "Significant price change",
            Self::Notable => "Notable price change for high-value item",
        }
    }

    pub(super) fn reason(self, old: i64, new: i64) -> Reason {
        let (code, limit) = match self {
            Self::Extreme => (Code::ThresholdExtreme, "50 % or more"),
            Self::Significant => (Code::ThresholdSignificant, "25 % or more"),
            Self::Notable => (Code::ThresholdNotable, "10 % or more of a price above 100"),
        };
        let percent = Percent::change(old, new).unwrap_or(Percent(0));
        let detail = format!("a change by {percent} %, which is {limit}");
        Reason::new(code, percent.0.unsigned_abs() as f64 / 100.0, detail)
    }
}

/// By how many places the decimal point seems to have moved; positive where the price has grown.
///
/// A price that was shifted may have changed as well, by less than what would be significant by itself: what lies
/// between 10 / 1.25 and 10 × 1.25 counts as ten. Of changes by any factor, evenly spread, one in five would be so
/// near.
pub(super) fn shift(from: i64, to: i64) -> Option<i32> {
    let (low, high) = (i128::from(from.min(to)), i128::from(from.max(to)));
    if low <= 0 {
        return None;
    }
    let is_near = |places: &i32| {
        let shifted = low * 10_i128.pow(places.unsigned_abs());
        4 * shifted <= 5 * high && 4 * high <= 5 * shifted
    };
    // the largest price has twelve digits
    let places = (1..=12).find(is_near)?;
    Some(if to > from { places } else { -places })
}

/// The power of ten of so many places, as a person says it.
pub(super) fn power_text(places: i32) -> String {
    let power = 10_i64.pow(places.unsigned_abs());
    if places > 0 { format!("{power} times") } else { format!("1/{power} of") }
}
