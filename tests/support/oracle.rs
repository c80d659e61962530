//! What must come of an upload: its rows applied one after another, each to what the ones before it left.
//!
//! It shares with the system how a row is read and validated, and nothing of how rows are cut, staged and promoted.

use super::sheet::Written;
use anyhow::{Context, Result};
use intake_domain::dataset::{self, Dataset, Effect};
use intake_domain::object_key::FileKey;
use intake_domain::reject::Code;
use intake_domain::row::{self, Row};
use intake_domain::value::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use uuid::Uuid;

/// The production tables of one tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    tables: BTreeMap<&'static str, Table>,
    /// Where the stock of each product stands, and when it was set last.
    levels: BTreeMap<Uuid, (i32, Option<i64>)>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    rows: BTreeMap<Uuid, Stored>,
    /// Which id has a natural key.
    owners: BTreeMap<String, Uuid>,
}

/// A stored row.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) contents: Contents,
    pub(crate) created: Created,
}

/// What makes a row differ from another of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The text of each field, money as `0.00`, times in microseconds since 1970.
    pub(crate) cells: Vec<Option<String>>,
    /// When the row says it was created, in microseconds since 1970.
    stated: Option<i64>,
}

/// When a row was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// When it says, in microseconds since 1970.
    Stated(i64),
    /// When the object of this file arrived.
    With(Uuid),
}

/// A file as its session has it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) key: FileKey,
    pub(crate) name: String,
    pub(crate) dataset: &'static Dataset,
    pub(crate) rows: Vec<Written>,
    /// The most rejects with which it is promoted.
    pub(crate) max_rejects: Option<usize>,
    pub(crate) reject_missing_references: bool,
    /// With what it must fail whatever its rows are.
    pub(crate) fails_with: Option<Failure>,
}

/// How a file must fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    /// Whether all of it is staged by then, but nothing promoted.
    pub(crate) is_staged: bool,
}

/// A row that must be refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    /// 1-based, in the file.
    pub(crate) line: usize,
    pub(crate) byte_offset: usize,
    pub(crate) codes: Vec<&'static str>,
}

/// What must be told of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Accepted, inserted, updated, unchanged, rejected.
    pub(crate) counts: [i64; 5],
    pub(crate) dangling: i64,
    pub(crate) refused: Vec<Refusal>,
    /// With what it must fail.
    pub(crate) error: Option<&'static str>,
}

impl Due {
    /// The state in which the file must end.
    pub(crate) fn state(&self) -> &'static str {
        match (self.error, self.refused.is_empty()) {
            (Some(NEVER_ARRIVED), _) => "expired",
            (Some(_), _) => "failed",
            (None, true) => "completed",
            (None, false) => "completed_with_errors",
        }
    }
}

/// How a file ends that nobody sent.
pub(crate) const NEVER_ARRIVED: &str = "NEVER_ARRIVED";

const TOO_MANY_REJECTS: &str = "TOO_MANY_REJECTS";

const INSERTED: usize = 1;
const UPDATED: usize = 2;
const UNCHANGED: usize = 3;

impl Oracle {
    /// Promotes a file; with more rejects than it may have it changes nothing.
    pub(crate) fn promote(&mut self, file: &Sent) -> Due {
        let mut due = Self::validate(file);
        if due.error.is_none() {
            let mut after = self.clone();
            after.promote_rows(file, 0..file.rows.len(), &mut due);
            due.error = too_many(file, &due.refused);
            if due.error.is_some() {
                due.counts[INSERTED..=UNCHANGED].fill(0);
                due.dangling = 0;
            } else {
                *self = after;
            }
        }
        due.refused.sort();
        due.counts[4] = due.refused.len() as i64;
        due
    }

    /// What is known of a file before anything of it is promoted.
    pub(crate) fn validate(file: &Sent) -> Due {
        if let Some(Failure { code, is_staged: false }) = file.fails_with {
            return Due { error: Some(code), ..Due::default() };
        }
        let refused: Vec<_> = file.rows.iter().filter_map(|row| Some(refusal(row, read(file, row).err()?))).collect();
        Due {
            counts: [file.rows.len() as i64, 0, 0, 0, refused.len() as i64],
            dangling: 0,
            error: file.fails_with.map(|failure| failure.code).or_else(|| too_many(file, &refused)),
            refused,
        }
    }

    /// Promotes the good ones of some of a file's rows.
    pub(crate) fn promote_rows(&mut self, file: &Sent, rows: Range<usize>, due: &mut Due) {
        for written in &file.rows[rows] {
            let Ok(row) = read(file, written) else { continue };
            let missing = self.missing_references(file.dataset, &row);
            if file.reject_missing_references && missing > 0 {
                due.refused.push(refusal(written, vec![Code::MissingReference; missing as usize]));
            } else {
                match self.apply(file, &row) {
                    Some(outcome) => {
                        due.counts[outcome] += 1;
                        due.dangling += missing;
                    }
                    None => due.refused.push(refusal(written, vec![Code::NaturalKeyTaken])),
                }
            }
        }
    }

    fn missing_references(&self, dataset: &Dataset, row: &Row<'_>) -> i64 {
        let is_missing = |reference: &&dataset::Reference| match &row.values[reference.field] {
            Value::Uuid(id) => !self.tables.get(reference.to).is_some_and(|table| table.rows.contains_key(id)),
            _ => false,
        };
        dataset.references.iter().filter(is_missing).count() as i64
    }

    /// Moves the stock of a product and says which count that adds to. Rows by chance have no conflicts.
    fn move_stock(&mut self, file: &Sent, row: &Row<'_>) -> usize {
        let table = self.tables.entry(file.dataset.name).or_default();
        let id = row.id(file.dataset);
        if table.rows.contains_key(&id) {
            return UNCHANGED;
        }
        let field = |name: &str| file.dataset.fields.iter().position(|field| field.name == name).unwrap_or_default();
        let Value::Uuid(product) = row.values[field("product_id")] else { return UNCHANGED };
        let (level, set_at) = self.levels.entry(product).or_default();
        match (&row.values[field("delta")], &row.values[field("set")], &row.values[field("event_time")]) {
            (Value::Integer(delta), ..) => *level = (*level + delta).max(0),
            (_, Value::Integer(to), Value::Micros(at)) if set_at.is_none_or(|set_at| set_at <= *at) => {
                (*level, *set_at) = (*to, Some(*at));
            }
            _ => {}
        }
        let mut cells: Vec<_> = row.values.iter().map(text).collect();
        cells[field("resulting_level")] = Some(level.to_string());
        let created = row.created_at.map_or(Created::With(file.key.file_id), Created::Stated);
        table.rows.insert(id, Stored { contents: Contents { cells, stated: row.created_at }, created });
        INSERTED
    }

    /// Where the stock of each product must stand.
    pub(crate) fn levels(&self) -> BTreeMap<Uuid, i32> {
        self.levels.iter().map(|(product, (level, _))| (*product, *level)).collect()
    }

    /// Applies one row and says which count it adds to; `None` when its natural key belongs to another.
    fn apply(&mut self, file: &Sent, row: &Row<'_>) -> Option<usize> {
        if file.dataset.effect == Effect::MovesStock {
            return Some(self.move_stock(file, row));
        }
        let table = self.tables.entry(file.dataset.name).or_default();
        let (id, natural) = (row.id(file.dataset), row.natural_key(file.dataset));
        if natural.and_then(|natural| table.owners.get(natural)).is_some_and(|owner| *owner != id) {
            return None;
        }
        let contents = Contents { cells: row.values.iter().map(text).collect(), stated: row.created_at };
        let created = row.created_at.map_or(Created::With(file.key.file_id), Created::Stated);
        let outcome = match table.rows.get_mut(&id) {
            None => {
                table.rows.insert(id, Stored { contents, created });
                INSERTED
            }
            Some(stored) if stored.contents == contents => UNCHANGED,
            Some(stored) => {
                stored.contents = contents;
                if row.created_at.is_some() {
                    stored.created = created;
                }
                UPDATED
            }
        };
        table.owners.retain(|_, owner| *owner != id);
        table.owners.extend(natural.map(|natural| (natural.to_owned(), id)));
        Some(outcome)
    }

    /// The rows that must stand in a table.
    pub(crate) fn rows(&self, dataset: &Dataset) -> Vec<(Uuid, &Stored)> {
        let table = self.tables.get(dataset.name).into_iter();
        table.flat_map(|table| table.rows.iter().map(|(id, stored)| (*id, stored))).collect()
    }
}

fn too_many(file: &Sent, refused: &[Refusal]) -> Option<&'static str> {
    file.max_rejects.is_some_and(|most| refused.len() > most).then_some(TOO_MANY_REJECTS)
}

/// The row that was written, or why it is none.
fn read<'a>(file: &Sent, written: &'a Written) -> Result<Row<'a>, Vec<Code>> {
    let text = written.row.as_ref().map_err(|code| vec![*code])?;
    match row::parse(file.dataset, file.key.tenant_id, text.as_bytes()) {
        Ok(mut row) => {
            row.identify(file.dataset, || file.key.row_id(written.byte_offset as u64));
            Ok(row)
        }
        Err(refused) => Err(refused.errors.into_iter().map(|error| error.code).collect()),
    }
}

fn refusal(row: &Written, codes: Vec<Code>) -> Refusal {
    Refusal { line: row.line, byte_offset: row.byte_offset, codes: codes.into_iter().map(Code::as_str).collect() }
}

fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Uuid(id) => Some(id.to_string()),
        Value::Text(text) | Value::Json(text) => Some(text.to_string()),
        Value::Cents(cents) => Some(format!("{}.{:02}", cents / 100, cents % 100)),
        Value::Integer(integer) => Some(integer.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Micros(micros) => Some(micros.to_string()),
    }
}

/// A field's JSON, so that two spellings of one object are one.
pub(crate) fn json(cell: Option<&str>) -> Result<serde_json::Value> {
    cell.map_or(Ok(serde_json::Value::Null), |text| serde_json::from_str(text).with_context(|| text.to_owned()))
}
