//! What is told of a bulk update: the fields of the system before this one, and after them ours.

use crate::lot::{Lot, MAX_LISTED, Taken};
use intake_domain::reject::Code;
use intake_domain::stock::{Conflict, Counts, Decision, Kind, Outcome, Product, Record};
use intake_lambda::line_error::{LineError, RowErrorCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of a bulk update.
#[derive(Serialize, ToSchema)]
#[schema(as = StockUpdate, example = json!({
    "status": "partial_success",
    "applied": [
        {
            "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
            "events_processed": 2,
            "final_level": 2,
            "clamped": true,
        },
        {"product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c13", "events_processed": 0, "final_level": 8},
    ],
    "conflicts": [{
        "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c12",
        "reason": "the level is 5, expected was 7",
        "code": "EXPECTED_LEVEL",
        "pointer": "/expected",
        "line": 7,
        "current_level": 4,
        "events": 2,
    }],
    "total_events_processed": 2,
    "duplicates": [{
        "line": 5,
        "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11",
        "stock_event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    }],
    "stale_ignored": [{
        "line": 8,
        "product_id": "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c13",
        "stock_event_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a02",
    }],
    "errors": [
        {"line": 9, "code": "OUT_OF_RANGE", "pointer": "/set", "detail": "must be from 0 to 2147483647"},
        {"line": 10, "code": "INVALID_JSON", "pointer": "", "detail": "expected value at column 10"},
    ],
    "counts": {
        "lines": 9,
        "processed": 2,
        "clamped": 1,
        "unchanged": 1,
        "stale_ignored": 1,
        "duplicates": 1,
        "conflicting": 2,
        "errors": 2,
    },
    "omitted": {"conflicts": 0, "duplicates": 0, "stale_ignored": 0, "errors": 0},
}))]
pub(crate) struct Answer<'a> {
    status: Status,
    /// Every product without a conflict, in the order of its first event.
    applied: Vec<Applied>,
    /// Every product with one: none of its events apply, and the same events may be sent again.
    conflicts: Vec<Refused>,
    /// As `processed` of `counts`.
    total_events_processed: u32,
    /// Events whose id was seen before; they change nothing.
    duplicates: Vec<Ignored>,
    /// Events that set a level which was set at a later time before; they change nothing.
    stale_ignored: Vec<Ignored>,
    /// What is wrong with lines that cannot be read.
    errors: &'a [LineError],
    counts: Totals,
    omitted: Omitted,
}

/// Whether all of it is in.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StockUpdateStatus)]
enum Status {
    /// There are neither conflicts nor errors.
    Success,
    /// There are some.
    PartialSuccess,
}

/// A product whose events apply.
#[derive(Serialize, ToSchema)]
#[schema(as = StockApplied)]
struct Applied {
    product_id: Uuid,
    /// How many of its events apply, without those that add 0 or are ignored.
    events_processed: u32,
    #[schema(minimum = 0)]
    final_level: i32,
    /// Whether the level would have fallen below 0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    clamped: bool,
}

/// A product with a conflict.
#[derive(Serialize, ToSchema)]
#[schema(as = StockConflict)]
struct Refused {
    product_id: Uuid,
    /// One sentence for people.
    reason: String,
    #[schema(value_type = RowErrorCode)]
    code: Code,
    /// The field that it is about, as a JSON pointer.
    pointer: String,
    /// The line of the event that cannot apply.
    #[schema(minimum = 1)]
    line: u32,
    /// Where the product stands, now as before.
    #[schema(minimum = 0)]
    current_level: i32,
    /// How many of its events do not apply for that.
    events: u32,
}

/// An event that changes nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = StockEventIgnored)]
struct Ignored {
    #[schema(minimum = 1)]
    line: u32,
    product_id: Uuid,
    stock_event_id: Uuid,
}

/// Numbers of lines. `lines` is the sum of the others but `clamped`, which is a part of `processed`.
#[derive(Serialize, ToSchema)]
#[schema(as = StockUpdateCounts)]
struct Totals {
    /// Blank ones are not counted.
    lines: usize,
    processed: u32,
    clamped: u32,
    /// Events that add 0.
    unchanged: u32,
    stale_ignored: u32,
    duplicates: u32,
    /// Events of products with a conflict.
    conflicting: u32,
    /// Lines that cannot be read.
    errors: usize,
}

/// How many entries of each list are left out: each has 5,000 at most.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = StockUpdateOmitted)]
struct Omitted {
    conflicts: usize,
    duplicates: usize,
    stale_ignored: usize,
    errors: usize,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(lot: &'a Lot<'_>, decision: &Decision) -> Self {
        let counts: Counts = decision.products.iter().map(|product| product.counts).sum();
        let mut omitted = Omitted { errors: lot.errors_omitted, ..Omitted::default() };
        let of = |is_wanted: fn(&Outcome) -> bool| {
            let lines = lot.lines.iter().zip(&decision.outcomes);
            lines.filter(move |(_, outcome)| is_wanted(outcome)).map(|(line, _)| Ignored::of(line))
        };
        let is_stale =
            |outcome: &Outcome| matches!(outcome, Outcome::Recorded(Record { kind: Kind::StaleIgnored, .. }));
        let duplicates = listed(of(|outcome| *outcome == Outcome::Duplicate), &mut omitted.duplicates);
        let stale_ignored = listed(of(is_stale), &mut omitted.stale_ignored);
        let refused = |product: &Product| Some(Refused::of(product, product.conflict?, lot));
        let conflicts = listed(decision.products.iter().filter_map(refused), &mut omitted.conflicts);
        let applied = decision.products.iter().filter(|product| product.conflict.is_none()).map(Applied::of).collect();
        let is_whole = conflicts.is_empty() && lot.bad_lines == 0;
        Self {
            status: if is_whole { Status::Success } else { Status::PartialSuccess },
            applied,
            conflicts,
            total_events_processed: counts.processed,
            duplicates,
            stale_ignored,
            errors: &lot.errors,
            counts: Totals {
                lines: lot.line_count(),
                processed: counts.processed,
                clamped: counts.clamped,
                unchanged: counts.unchanged,
                stale_ignored: counts.stale_ignored,
                duplicates: counts.duplicates,
                conflicting: counts.conflicting,
                errors: lot.bad_lines,
            },
            omitted,
        }
    }

    /// Counts the events for CloudWatch.
    pub(crate) fn measure(&self) {
        let Totals { lines, processed, unchanged, stale_ignored, duplicates, conflicting, errors, .. } = self.counts;
        tracing::info!(lines, processed, unchanged, stale_ignored, duplicates, conflicting, errors, "stock updated");
        for (outcome, count) in [
            ("Processed", processed),
            ("Unchanged", unchanged),
            ("StaleIgnored", stale_ignored),
            ("Duplicate", duplicates),
            ("Conflicting", conflicting),
            ("Error", errors as u32),
        ] {
            if count > 0 {
                metrics::counter!("StockEvents", "Outcome" => outcome).increment(count.into());
            }
        }
    }
}

/// The first of some entries; counts the others.
fn listed<T>(mut entries: impl Iterator<Item = T>, omitted: &mut usize) -> Vec<T> {
    let listed = entries.by_ref().take(MAX_LISTED).collect();
    *omitted = entries.count();
    listed
}

impl Applied {
    fn of(product: &Product) -> Self {
        Self {
            product_id: product.id,
            events_processed: product.counts.processed,
            final_level: product.level.level,
            clamped: product.counts.clamped > 0,
        }
    }
}

impl Refused {
    fn of(product: &Product, Conflict { at, reason }: Conflict, lot: &Lot<'_>) -> Self {
        Self {
            product_id: product.id,
            reason: reason.detail(),
            code: reason.code(),
            pointer: format!("/{}", reason.field()),
            line: lot.lines[at].number,
            current_level: product.level.level,
            events: product.counts.conflicting,
        }
    }
}

impl Ignored {
    fn of(line: &Taken<'_>) -> Self {
        Self { line: line.number, product_id: line.event.product, stock_event_id: line.event.id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lot::{MAX_LINES, TooManyLines};
    use intake_domain::stock::{Known, Level, OnNegative, decide};
    use serde_json::{Value, json};
    use std::cell::Cell;
    use std::collections::HashMap;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn read<'a>(body: &'a str) -> Result<Lot<'a>, TooManyLines> {
        let next = Cell::new(100);
        Lot::read(id(0xA), body.as_bytes(), 10_000_000, || id(next.replace(next.get() + 1) + 1))
    }

    fn answer(body: &str, known: &Known) -> Value {
        let lot = read(body).expect("few lines");
        let events: Vec<_> = lot.movements(false).iter().map(|movement| movement.event).collect();
        serde_json::to_value(lot.answer(&decide(&events, known, OnNegative::Clamp))).expect("an answer")
    }

    #[test]
    fn counts_add_up_to_the_lines_and_bad_lines_stop_nothing() {
        let (p, q, r) = (id(1), id(2), id(3));
        let lines = [
            format!(r#"{{"product_id":"{p}","delta":-9,"source":"order"}}"#),
            format!(r#"{{"product_id":"{p}","delta":0}}"#),
            String::new(),
            format!(r#"{{"product_id":"{p}","delta":2,"stock_event_id":"{}"}}"#, id(90)),
            format!(r#"{{"product_id":"{p}","delta":2,"stock_event_id":"{}"}}"#, id(90)),
            format!(r#"{{"product_id":"{q}","delta":1}}"#),
            format!(r#"{{"product_id":"{q}","delta":-1,"expected":7}}"#),
            format!(r#"{{"product_id":"{r}","set":5,"event_time":"1970-01-01T00:00:01Z"}}"#),
            r#"{"product_id":"42","set":-1}"#.to_owned(),
            r#"{"delta":,}"#.to_owned(),
        ];
        let level = |level, set_at| Level { level, set_at, sequence: 1 };
        let levels = HashMap::from([(p, level(5, None)), (q, level(4, None)), (r, level(8, Some(2_000_000)))]);
        assert_eq!(
            answer(&lines.join("\n"), &Known { levels, ..Known::default() }),
            json!({
                "status": "partial_success",
                "applied": [
                    {"product_id": p, "events_processed": 2, "final_level": 2, "clamped": true},
                    {"product_id": r, "events_processed": 0, "final_level": 8}
                ],
                "conflicts": [{
                    "product_id": q, "reason": "the level is 5, expected was 7", "code": "EXPECTED_LEVEL",
                    "pointer": "/expected", "line": 7, "current_level": 4, "events": 2
                }],
                "total_events_processed": 2,
                "duplicates": [{"line": 5, "product_id": p, "stock_event_id": id(90)}],
                "stale_ignored": [{"line": 8, "product_id": r, "stock_event_id": id(105)}],
                "errors": [
                    {"line": 9, "code": "INVALID_UUID", "pointer": "/product_id", "detail": "not a UUID"},
                    {"line": 9, "code": "OUT_OF_RANGE", "pointer": "/set", "detail": "must be from 0 to 2147483647"},
                    {"line": 10, "code": "INVALID_JSON", "pointer": "", "detail": "expected value at column 10"}
                ],
                "counts": {
                    "lines": 9, "processed": 2, "clamped": 1, "unchanged": 1, "stale_ignored": 1, "duplicates": 1,
                    "conflicting": 2, "errors": 2
                },
                "omitted": {"conflicts": 0, "duplicates": 0, "stale_ignored": 0, "errors": 0}
            })
        );
    }

    #[test]
    fn what_a_list_has_no_room_for_is_counted() {
        let lines = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
        let conflicts =
            lines(6_000, |at| format!("{{\"product_id\":\"{}\",\"delta\":1,\"expected\":9}}\n", id(at as u128)));
        let again =
            lines(5_501, |_| format!("{{\"product_id\":\"{0}\",\"delta\":1,\"stock_event_id\":\"{0}\"}}\n", id(9_999)));
        let bad = lines(4_000, |_| "{\"product_id\":1,\"delta\":1.5}\n".to_owned());
        let answer = answer(&[conflicts, again, bad].concat(), &Known::default());
        for (list, listed, omitted) in
            [("conflicts", 5_000, 1_000), ("duplicates", 5_000, 500), ("stale_ignored", 0, 0), ("errors", 5_000, 3_000)]
        {
            assert_eq!(answer[list].as_array().map(Vec::len), Some(listed), "{list}");
            assert_eq!(answer["omitted"][list], omitted, "{list}");
        }
        assert_eq!(answer["counts"]["errors"], 4_000, "lines, of which each has two errors");
    }

    #[test]
    fn the_longest_answer_is_under_4_mib() {
        let conflicts =
            (0..5_000).map(|at| format!("{{\"product_id\":\"{}\",\"delta\":1,\"expected\":{}}}\n", id(at), i32::MAX));
        let applied = (5_000..20_000).map(|at| format!("{{\"product_id\":\"{}\",\"delta\":-1}}\n", id(at)));
        let bad = (20_000..25_000).map(|_| "{\"product_id\":1,\"set\":-1,\"source\":\"x\"}\n".to_owned());
        let body: String = conflicts.chain(applied).chain(bad).collect();
        let longest = answer(&body, &Known::default()).to_string().len();
        assert!((2 << 20..4 << 20).contains(&longest), "{longest}");
    }

    #[test]
    fn lines_are_counted_whatever_is_in_them() {
        let lines = "x\n\n".repeat(MAX_LINES);
        assert_eq!(read(&lines).map(|lot| lot.line_count()).ok(), Some(MAX_LINES));
        assert_eq!(read(&format!("{lines}x")).err(), Some(TooManyLines));
    }
}
