//! How many rejects a file may have.

use std::fmt;

/// The most rejects with which a file is still promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Any number: the good rows go in.
    Any,
    /// So many.
    Count(u64),
    /// Such a share of the file's rows, in hundredths of a percent (0 to 10,000).
    BasisPoints(u32),
}

/// What a bad row does to its file, where no number is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The good rows go in.
    RejectRows,
    /// Nothing goes in.
    RejectFile,
}

impl OnError {
    /// Reads the word of a request.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "reject_rows" => Some(Self::RejectRows),
            "reject_file" => Some(Self::RejectFile),
            _ => None,
        }
    }
}

impl Tolerance {
    /// Not one: nothing is promoted of a file with a bad row.
    pub const NONE: Self = Self::Count(0);

    /// Reads `"5%"` or `"0.25%"`: a share with at most two digits past the point.
    #[must_use]
    pub fn parse_percent(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
            return None;
        }
        let hundredths = fraction.parse::<u32>().ok()? * if fraction.len() == 1 { 10 } else { 1 };
        let points = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
        (points <= 10_000).then_some(Self::BasisPoints(points))
    }

    /// What follows from what is asked for, of which any may be missing, where `self` holds otherwise; `None` when one
    /// contradicts the other.
    #[must_use]
    pub fn with(self, on_error: Option<OnError>, most: Option<Self>) -> Option<Self> {
        match (on_error, most) {
            (Some(OnError::RejectFile), Some(most)) if !most.is_none() => None,
            (Some(OnError::RejectRows), Some(most)) if most.is_none() => None,
            (_, Some(most)) => Some(most),
            (Some(OnError::RejectFile), None) => Some(Self::NONE),
            (Some(OnError::RejectRows), None) if self.is_none() => Some(Self::Any),
            (_, None) => Some(self),
        }
    }

    /// Whether it allows not one.
    fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::BasisPoints(0))
    }

    /// Whether a file of `rows` rows, `rejected` of them refused, is promoted.
    #[must_use]
    pub fn allows(self, rejected: u64, rows: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Count(most) => rejected <= most,
            // rejected / rows <= points / 10,000, without division
            Self::BasisPoints(points) => u128::from(rejected) * 10_000 <= u128::from(rows) * u128::from(points),
        }
    }
}

/// As requests have it: nothing for any number, else `7` or `5%`.
impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Count(most) => write!(f, "{most}"),
            Self::BasisPoints(points) if points % 100 == 0 => write!(f, "{}%", points / 100),
            Self::BasisPoints(points) => write!(f, "{}.{:02}%", points / 100, points % 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_read_back() {
        for (text, points) in
            [("5%", 500), ("0.5%", 50), ("0.25%", 25), ("100%", 10_000), ("0%", 0), ("12.34 %", 1_234)]
        {
            assert_eq!(Tolerance::parse_percent(text), Some(Tolerance::BasisPoints(points)), "{text}");
        }
        for text in ["5", "%", "-1%", "100.01%", "0.125%", ".5%", "5.%", "1e1%", "+5%"] {
            assert_eq!(Tolerance::parse_percent(text), None, "{text}");
        }
        assert_eq!(Tolerance::BasisPoints(25).to_string(), "0.25%");
        assert_eq!(Tolerance::BasisPoints(500).to_string(), "5%");
    }

    #[test]
    fn a_file_asks_for_more_or_less_than_its_session() {
        use OnError::{RejectFile, RejectRows};
        use Tolerance::{Any, BasisPoints, Count};
        assert_eq!(Any.with(None, None), Some(Any));
        assert_eq!(Any.with(Some(RejectFile), None), Some(Count(0)));
        assert_eq!(Count(5).with(Some(RejectFile), None), Some(Count(0)));
        assert_eq!(Count(5).with(Some(RejectRows), None), Some(Count(5)));
        assert_eq!(Count(0).with(Some(RejectRows), None), Some(Any));
        assert_eq!(Count(5).with(None, Some(BasisPoints(7))), Some(BasisPoints(7)));
        assert_eq!(Count(0).with(Some(RejectRows), Some(Count(7))), Some(Count(7)));
        assert_eq!(Any.with(Some(RejectFile), Some(BasisPoints(0))), Some(BasisPoints(0)));
        assert_eq!(Any.with(Some(RejectFile), Some(Count(1))), None);
        assert_eq!(Any.with(Some(RejectRows), Some(Count(0))), None);
    }

    #[test]
    fn a_share_is_exact_at_its_edge() {
        let one_in_three = Tolerance::BasisPoints(3_333);
        assert!(!one_in_three.allows(1, 3), "33.33 % is less than a third");
        assert!(Tolerance::BasisPoints(500).allows(5, 100) && !Tolerance::BasisPoints(500).allows(6, 100));
        assert!(Tolerance::NONE.allows(0, 0) && !Tolerance::NONE.allows(1, 1_000_000));
        assert!(Tolerance::BasisPoints(0).allows(0, 0) && Tolerance::Any.allows(u64::MAX, u64::MAX));
    }
}
