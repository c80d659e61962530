//! What a slice of rows does to the rows that are already there.
//!
//! The meaning is that of applying the rows one after another in file order: a new id is inserted, a known id is updated
//! or, when nothing differs, left unchanged; a row whose natural key belongs to another id is refused. [`decide`] gives
//! that outcome for every row at once, and the few writes that lead to the same end.

use crate::stock::Reason;
use std::collections::HashMap;
use uuid::Uuid;

/// A digest of a row's contents, to tell whether a known row differs: the first half of a SHA-256.
pub type RowHash = [u8; 16];

/// What decides about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    /// What identifies it.
    pub id: Uuid,
    /// Its natural key, where the dataset has one.
    pub natural: Option<&'a str>,
    /// Its contents.
    pub hash: RowHash,
    /// Whether it says when it was created. A row that does not keeps the time of the one that it replaces.
    pub states_created_at: bool,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its id was new.
    Inserted,
    /// It replaced the row of its id.
    Updated,
    /// The row of its id is the same.
    Unchanged,
    /// Its natural key belongs to this id.
    NaturalKeyTaken(Uuid),
    /// It refers to rows that are not there, and such rows are refused.
    MissingReferences(Missing),
    /// It cannot move its product's stock; without a reason, because another event of the product cannot.
    StockConflict(Option<Reason>),
    /// Its price looks wrong, and the tenant wants such prices refused.
    SuspectPrice,
}

/// Which of a dataset's references of one row lead nowhere: a bit for each, in the order of
/// [`Dataset::references`](crate::Dataset::references).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing(u8);

impl Missing {
    /// Notes that reference `at` leads nowhere.
    pub fn add(&mut self, at: usize) {
        self.0 |= 1 << at;
    }

    /// Whether reference `at` leads nowhere.
    #[must_use]
    pub fn contains(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }

    /// How many lead nowhere.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The outcomes of a slice and the writes that bring them about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// One for each row, in order.
    pub outcomes: Vec<Outcome>,
    /// The ids of existing rows to remove before anything is written.
    pub remove: Vec<Uuid>,
    /// Which rows to write, in their order.
    pub write: Vec<Write>,
}

/// A row to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// Its place in the slice.
    pub at: usize,
    /// Whose time of creation it has.
    pub created: Created,
}

/// Whose time of creation a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Created {
    /// That of the stored row that it replaces.
    Stored,
    /// That of the row at this place of the slice, which may be the row itself.
    Row(usize),
}

struct Known<'a> {
    natural: Option<&'a str>,
    hash: RowHash,
    /// What is stored under this id before the slice.
    stored: Option<RowHash>,
    /// The row of the slice that is the newest.
    newest: Option<usize>,
    created: Created,
}

/// Decides about `rows`, given every `existing` row that shares an id or a natural key with one of them.
#[must_use]
pub fn decide(rows: &[Keys<'_>], existing: &[Keys<'_>]) -> Decision {
    let mut by_id = HashMap::with_capacity(existing.len() + rows.len());
    let mut owner = HashMap::with_capacity(existing.len() + rows.len());
    for row in existing {
        let (stored, created) = (Some(row.hash), Created::Stored);
        by_id.insert(row.id, Known { natural: row.natural, hash: row.hash, stored, newest: None, created });
        owner.extend(row.natural.map(|natural| (natural, row.id)));
    }
    let mut decision = Decision { outcomes: Vec::with_capacity(rows.len()), ..Decision::default() };
    for (at, row) in rows.iter().enumerate() {
        let taken_by = row.natural.and_then(|natural| owner.get(natural)).filter(|id| **id != row.id);
        let outcome = match (taken_by, by_id.get_mut(&row.id)) {
            (Some(other), _) => Outcome::NaturalKeyTaken(*other),
            (None, None) => {
                let (newest, created) = (Some(at), Created::Row(at));
                by_id.insert(row.id, Known { natural: row.natural, hash: row.hash, stored: None, newest, created });
                Outcome::Inserted
            }
            (None, Some(known)) if known.hash == row.hash => Outcome::Unchanged,
            (None, Some(known)) => {
                if let Some(freed) = known.natural.filter(|freed| Some(*freed) != row.natural) {
                    owner.remove(freed);
                }
                known.natural = row.natural;
                known.hash = row.hash;
                known.newest = Some(at);
                if row.states_created_at {
                    known.created = Created::Row(at);
                }
                Outcome::Updated
            }
        };
        if !matches!(outcome, Outcome::NaturalKeyTaken(_)) {
            owner.extend(row.natural.map(|natural| (natural, row.id)));
        }
        decision.outcomes.push(outcome);
    }
    for (id, known) in by_id {
        // a row that was changed and changed back needs no write
        let is_as_stored = known.stored == Some(known.hash) && known.created == Created::Stored;
        if let Some(at) = known.newest.filter(|_| !is_as_stored) {
            decision.write.push(Write { at, created: known.created });
            decision.remove.extend(known.stored.map(|_| id));
        }
    }
    decision.write.sort_unstable();
    decision.remove.sort_unstable();
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Natural key, contents and time of creation by id.
    type Table = BTreeMap<Uuid, (String, RowHash, u8)>;

    /// When a row was created that does not say it: the time of the upload.
    const RECEIVED: u8 = 99;

    #[derive(Clone, Debug)]
    struct Row {
        id: Uuid,
        natural: String,
        hash: RowHash,
        created: Option<u8>,
    }

    fn row() -> impl Strategy<Value = Row> {
        (0_u128..6, 0_u8..6, 0_u8..2, proptest::option::of(0_u8..2)).prop_map(|(id, natural, version, created)| {
            let mut hash = [natural; 16];
            hash[0] = version;
            hash[1] = created.map_or(9, |created| created);
            Row { id: Uuid::from_u128(id), natural: natural.to_string(), hash, created }
        })
    }

    /// One row at a time, as a person would.
    fn apply_one(table: &mut Table, row: &Row) -> Outcome {
        if let Some((owner, _)) = table.iter().find(|(other, known)| **other != row.id && known.0 == row.natural) {
            return Outcome::NaturalKeyTaken(*owner);
        }
        let before = table.get(&row.id).cloned();
        if before.as_ref().is_some_and(|known| known.1 == row.hash) {
            return Outcome::Unchanged;
        }
        let created = row.created.unwrap_or(before.as_ref().map_or(RECEIVED, |known| known.2));
        table.insert(row.id, (row.natural.clone(), row.hash, created));
        if before.is_some() { Outcome::Updated } else { Outcome::Inserted }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn slices_end_where_single_rows_end(
            rows in proptest::collection::vec(row(), 0..40),
            slice in 1_usize..12,
        ) {
            let (mut expected, mut table) = (Table::new(), Table::new());
            for slice in rows.chunks(slice) {
                let outcomes: Vec<_> = slice.iter().map(|row| apply_one(&mut expected, row)).collect();
                let existing: Vec<_> = table
                    .iter()
                    .map(|(id, (natural, hash, _))| Keys { id: *id, natural: Some(natural), hash: *hash, states_created_at: false })
                    .collect();
                let input: Vec<_> = slice
                    .iter()
                    .map(|row| Keys {
                        id: row.id,
                        natural: Some(&row.natural),
                        hash: row.hash,
                        states_created_at: row.created.is_some(),
                    })
                    .collect();
                let decision = decide(&input, &existing);
                prop_assert_eq!(&decision.outcomes, &outcomes);
                let mut removed = Table::new();
                for id in &decision.remove {
                    removed.extend(table.remove(id).map(|row| (*id, row)));
                }
                prop_assert_eq!(removed.len(), decision.remove.len());
                for write in &decision.write {
                    let row = &slice[write.at];
                    prop_assert!(!table.values().any(|known| known.0 == row.natural), "a unique key would be broken");
                    let created = match write.created {
                        Created::Stored => removed[&row.id].2,
                        Created::Row(at) => slice[at].created.unwrap_or(RECEIVED),
                    };
                    prop_assert!(table.insert(row.id, (row.natural.clone(), row.hash, created)).is_none());
                }
                prop_assert_eq!(&table, &expected);
            }
        }
    }

    #[test]
    fn a_known_row_that_is_the_same_is_not_written() {
        let row = Keys { id: Uuid::from_u128(1), natural: None, hash: [1; 16], states_created_at: true };
        let decision = decide(&[row, row], &[row]);
        assert_eq!(decision.outcomes, [Outcome::Unchanged, Outcome::Unchanged]);
        assert!(decision.write.is_empty() && decision.remove.is_empty());
    }
}
