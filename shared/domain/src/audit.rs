//! What is written down of refused access and of keys, and how a flood of refusals becomes a few entries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Refusals that are alike and come within so long after the first are one entry with their number.
const WINDOW: Duration = Duration::from_secs(60);

/// How many kinds of refusals are told apart within a window. Each makes two entries at most: the first, and the number
/// of those after it. So this bounds what a flood can write, and what it can take of memory.
const KINDS: usize = 100;

/// Why a caller was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No key was sent.
    NoKey,
    /// What was sent cannot be a key.
    MalformedKey,
    /// Two keys were sent that differ.
    TwoKeys,
    /// Nobody holds the key.
    UnknownKey,
    /// The key was a tenant's once.
    RevokedKey,
    /// The path is another tenant's, or that of none.
    ForeignTenant,
}

impl Refusal {
    /// Its stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "NO_KEY",
            Self::MalformedKey => "MALFORMED_KEY",
            Self::TwoKeys => "TWO_KEYS",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::RevokedKey => "REVOKED_KEY",
            Self::ForeignTenant => "FOREIGN_TENANT",
        }
    }
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// Its tenant got it.
    Added,
    /// Its hash came from the predecessor.
    Imported,
    /// Its tenant got it beside an older one, which it is to replace.
    Rotated,
    /// It is refused from now on.
    Revoked,
}

impl KeyEvent {
    /// The action of its entry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "key_added",
            Self::Imported => "key_imported",
            Self::Rotated => "key_rotated",
            Self::Revoked => "key_revoked",
        }
    }
}

/// Refusals are alike that have the same source, reason and tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Where the request came from.
    pub source: Option<IpAddr>,
    /// Why it was refused.
    pub refusal: Refusal,
    /// Who asked, as far as that is known.
    pub tenant: Option<Uuid>,
}

/// What is to be done about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted<T> {
    /// It is the first of its kind: write it down.
    Write(T),
    /// It is counted, and written down with its number later.
    Counted,
    /// There are too many kinds: it is lost.
    Dropped,
}

/// Refusals that were counted: the last of them, and how many they are.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted<T> {
    /// Of what kind.
    pub kind: Kind,
    /// What is known of the last one.
    pub last: T,
    /// How many.
    pub count: u32,
}

struct Window<T> {
    ends: SystemTime,
    counted: Option<(T, u32)>,
}

/// Counts refusals. `T` is what is written down of one besides its kind.
pub struct Tally<T> {
    windows: HashMap<Kind, Window<T>>,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self { windows: HashMap::new() }
    }
}

impl<T> Tally<T> {
    /// Notes a refusal.
    pub fn note(&mut self, kind: Kind, refused: T, now: SystemTime) -> Noted<T> {
        if let Some(window) = self.windows.get_mut(&kind) {
            let count = window.counted.as_ref().map_or(0, |(_, count)| *count);
            window.counted = Some((refused, count.saturating_add(1)));
            return Noted::Counted;
        }
        if self.windows.len() >= KINDS {
            return Noted::Dropped;
        }
        self.windows.insert(kind, Window { ends: now + WINDOW, counted: None });
        Noted::Write(refused)
    }

    /// Closes the windows that have ended, and gives what was counted in them. Ask before [`note`](Self::note).
    pub fn ended(&mut self, now: SystemTime) -> Vec<Counted<T>> {
        let has_ended = |_: &Kind, window: &mut Window<T>| {
            // a clock that was set back ends a window, too: it would stay open for who knows how long
            window.ends <= now || window.ends > now + WINDOW
        };
        let ended = self.windows.extract_if(has_ended);
        ended.filter_map(|(kind, window)| window.counted.map(|(last, count)| Counted { kind, last, count })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn kind(tenant: u128) -> Kind {
        Kind { source: None, refusal: Refusal::UnknownKey, tenant: Some(Uuid::from_u128(tenant)) }
    }

    #[test]
    fn a_flood_is_two_entries_a_minute() {
        let mut tally = Tally::default();
        assert_eq!(tally.note(kind(1), 0, NOW), Noted::Write(0));
        for number in 1..1_000_000 {
            assert_eq!(tally.note(kind(1), number, NOW + WINDOW / 2), Noted::Counted);
        }
        assert_eq!(tally.ended(NOW + WINDOW / 2), []);
        assert_eq!(tally.ended(NOW + WINDOW), [Counted { kind: kind(1), last: 999_999, count: 999_999 }]);
        assert_eq!(tally.ended(NOW + WINDOW), []);
        assert_eq!(tally.note(kind(1), 7, NOW + WINDOW), Noted::Write(7));
        assert_eq!(tally.ended(NOW + 3 * WINDOW), [], "one alone needs no number");
    }

    #[test]
    fn kinds_are_told_apart_until_there_are_too_many() {
        let mut tally = Tally::default();
        for tenant in 0..KINDS as u128 {
            assert_eq!(tally.note(kind(tenant), (), NOW), Noted::Write(()));
        }
        assert_eq!(tally.note(kind(1_000), (), NOW), Noted::Dropped);
        assert_eq!(tally.note(kind(3), (), NOW), Noted::Counted);
        assert_eq!(tally.windows.len(), KINDS);
        assert_eq!(tally.ended(NOW + WINDOW).len(), 1);
        assert_eq!(tally.note(kind(1_000), (), NOW + WINDOW), Noted::Write(()));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_window_open() {
        let mut tally = Tally::default();
        tally.note(kind(1), (), NOW + 100 * WINDOW);
        tally.note(kind(1), (), NOW + 100 * WINDOW);
        assert_eq!(tally.ended(NOW).len(), 1);
    }
}
