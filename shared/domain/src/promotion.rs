//! What a slice of rows does to the rows that are already there.
//!
//! The meaning is that of applying the rows one after another in file order: a new id is inserted, a known id is updated
//! or, when nothing differs, left unchanged; a row whose natural key belongs to another id is refused. [`decide`] gives
//! that outcome for every row at once, and the few writes that lead to the same end.

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
    /// Which rows to write, by their place in the slice, in order.
    pub write: Vec<usize>,
}

struct Known<'a> {
    natural: Option<&'a str>,
    hash: RowHash,
    /// What is stored under this id before the slice.
    stored: Option<RowHash>,
    /// The row of the slice that is the newest.
    newest: Option<usize>,
}

/// Decides about `rows`, given every `existing` row that shares an id or a natural key with one of them.
#[must_use]
pub fn decide(rows: &[Keys<'_>], existing: &[Keys<'_>]) -> Decision {
    let mut by_id = HashMap::with_capacity(existing.len() + rows.len());
    let mut owner = HashMap::with_capacity(existing.len() + rows.len());
    for row in existing {
        by_id.insert(row.id, Known { natural: row.natural, hash: row.hash, stored: Some(row.hash), newest: None });
        owner.extend(row.natural.map(|natural| (natural, row.id)));
    }
    let mut decision = Decision { outcomes: Vec::with_capacity(rows.len()), ..Decision::default() };
    for (at, row) in rows.iter().enumerate() {
        let taken_by = row.natural.and_then(|natural| owner.get(natural)).filter(|id| **id != row.id);
        let outcome = match (taken_by, by_id.get_mut(&row.id)) {
            (Some(other), _) => Outcome::NaturalKeyTaken(*other),
            (None, None) => {
                let known = Known { natural: row.natural, hash: row.hash, stored: None, newest: Some(at) };
                by_id.insert(row.id, known);
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
        if let Some(at) = known.newest.filter(|_| known.stored != Some(known.hash)) {
            decision.write.push(at);
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

    type Table = BTreeMap<Uuid, (String, RowHash)>;

    /// One row at a time, as a person would.
    fn apply_one(table: &mut Table, id: Uuid, natural: &str, hash: RowHash) -> Outcome {
        if let Some((owner, _)) = table.iter().find(|(other, row)| **other != id && row.0 == natural) {
            return Outcome::NaturalKeyTaken(*owner);
        }
        match table.insert(id, (natural.to_owned(), hash)) {
            None => Outcome::Inserted,
            Some((_, old)) if old == hash => Outcome::Unchanged,
            Some(_) => Outcome::Updated,
        }
    }

    fn keys(table: &Table) -> Vec<Keys<'_>> {
        table.iter().map(|(id, (natural, hash))| Keys { id: *id, natural: Some(natural), hash: *hash }).collect()
    }

    proptest! {
        #[test]
        fn slices_end_where_single_rows_end(
            rows in proptest::collection::vec((0_u128..6, 0_u8..6, 0_u8..2), 0..40),
            slice in 1_usize..12,
        ) {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(id, natural, version)| {
                    let mut hash = [natural; 16];
                    hash[0] = version;
                    (Uuid::from_u128(id), natural.to_string(), hash)
                })
                .collect();
            let (mut expected, mut table) = (Table::new(), Table::new());
            for slice in rows.chunks(slice) {
                let outcomes: Vec<_> =
                    slice.iter().map(|(id, natural, hash)| apply_one(&mut expected, *id, natural, *hash)).collect();
                let input: Vec<_> =
                    slice.iter().map(|(id, natural, hash)| Keys { id: *id, natural: Some(natural), hash: *hash }).collect();
                let decision = decide(&input, &keys(&table));
                prop_assert_eq!(&decision.outcomes, &outcomes);
                for id in &decision.remove {
                    prop_assert!(table.remove(id).is_some());
                }
                for at in &decision.write {
                    let (id, natural, hash) = &slice[*at];
                    prop_assert!(!table.values().any(|row| row.0 == *natural), "a unique key would be broken");
                    prop_assert!(table.insert(*id, (natural.clone(), *hash)).is_none());
                }
                prop_assert_eq!(&table, &expected);
            }
        }
    }

    #[test]
    fn a_known_row_that_is_the_same_is_not_written() {
        let row = Keys { id: Uuid::from_u128(1), natural: None, hash: [1; 16] };
        let decision = decide(&[row, row], &[row]);
        assert_eq!(decision.outcomes, [Outcome::Unchanged, Outcome::Unchanged]);
        assert!(decision.write.is_empty() && decision.remove.is_empty());
    }
}
