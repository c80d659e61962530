//! What a bulk update brings: the events of its lines, and what is wrong with the others.

use crate::answer::Answer;
use intake_domain::lot::{Line, lines};
use intake_domain::row::Row;
use intake_domain::stock::{Decision, Details, Event, details, event};
use intake_domain::value::Value;
use intake_domain::{Dataset, dataset};
use intake_lambda::line_error::LineError;
use intake_postgres::stock::Movement;
use uuid::Uuid;

/// How many lines a bulk update has at most, blank ones not counted. Its answer tells of each product, and fits into
/// the 4 MiB that a buffered answer may have.
pub(crate) const MAX_LINES: usize = 25_000;

/// How many entries each list of an answer has at most, but for `applied`, which has all. See [`MAX_LINES`].
pub(crate) const MAX_LISTED: usize = 5_000;

/// The lines of a body that can be read, and what is wrong with the others.
#[derive(Default)]
pub(crate) struct Lot<'a> {
    pub(crate) lines: Vec<Taken<'a>>,
    /// The first [`MAX_LISTED`] errors.
    pub(crate) errors: Vec<LineError>,
    /// How many more errors there are.
    pub(crate) errors_omitted: usize,
    /// How many lines have errors.
    pub(crate) bad_lines: usize,
    received_at: i64,
}

/// A line with an event.
pub(crate) struct Taken<'a> {
    pub(crate) number: u32,
    pub(crate) event: Event,
    row: Row<'a>,
    /// Whether the id was made here.
    has_new_id: bool,
}

/// There are more lines than [`MAX_LINES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLines;

fn stock_events() -> &'static Dataset {
    dataset::by_name("stock_events").unwrap_or(dataset::ALL[0])
}

impl<'a> Lot<'a> {
    /// Reads a body that `tenant` sent and that was received at `received_at`, in microseconds since 1970. Events
    /// without an id get one from `new_id`.
    pub(crate) fn read(
        tenant: Uuid,
        body: &'a [u8],
        received_at: i64,
        new_id: impl Fn() -> Uuid,
    ) -> Result<Self, TooManyLines> {
        let dataset = stock_events();
        let mut lot = Self { received_at, ..Self::default() };
        for Line { number, row } in lines(dataset, tenant, body, received_at) {
            if lot.line_count() == MAX_LINES {
                return Err(TooManyLines);
            }
            let taken = row.and_then(|mut row| {
                let has_new_id = row.values[dataset.id] == Value::Null;
                row.identify(dataset, &new_id);
                let event = event(&row, received_at).map_err(|error| vec![error])?;
                Ok(Taken { number, event, row, has_new_id })
            });
            match taken {
                Ok(line) => lot.lines.push(line),
                Err(errors) => {
                    lot.bad_lines += 1;
                    let room = MAX_LISTED.saturating_sub(lot.errors.len());
                    lot.errors_omitted += errors.len().saturating_sub(room);
                    lot.errors.extend(errors.into_iter().take(room).map(|error| LineError::new(number, error)));
                }
            }
        }
        Ok(lot)
    }

    /// How many lines there are, good or bad.
    pub(crate) fn line_count(&self) -> usize {
        self.lines.len() + self.bad_lines
    }

    /// What the lines do. An id that was made here has not been seen, unless `may_be_known`: the transaction that
    /// recorded it may have been committed although nobody said so.
    pub(crate) fn movements(&self, may_be_known: bool) -> Vec<Movement<'_>> {
        let movements = self.lines.iter().map(|line| {
            let Details { event_time, source, meta } = details(&line.row);
            Movement {
                event: line.event,
                has_new_id: line.has_new_id && !may_be_known,
                event_time,
                source,
                meta,
                created_at: line.row.created_at.unwrap_or(self.received_at),
            }
        });
        movements.collect()
    }

    /// The answer for people and machines.
    pub(crate) fn answer(&self, decision: &Decision) -> Answer<'_> {
        Answer::new(self, decision)
    }
}
