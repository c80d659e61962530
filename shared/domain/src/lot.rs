//! A lot: rows that are sent together in one request, and taken or refused line by line.

use crate::dataset::Dataset;
use crate::format::Layout;
use crate::record::Records;
use crate::reject::RowError;
use crate::row::{self, Row};
use uuid::Uuid;

/// Some programs begin a text with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line of a lot.
#[derive(Debug, PartialEq)]
pub struct Line<'a> {
    /// From 1; blank lines have numbers, too.
    pub number: u32,
    /// The row in it, or all that is wrong with it.
    pub row: Result<Row<'a>, Vec<RowError>>,
}

/// The lines of NDJSON that `tenant` sent as rows of `dataset` and that was received at `received_at`, in microseconds
/// since 1970. Blank lines are left out.
pub fn lines<'a>(
    dataset: &'static Dataset,
    tenant: Uuid,
    ndjson: &'a [u8],
    received_at: i64,
) -> impl Iterator<Item = Line<'a>> {
    let ndjson = ndjson.strip_prefix(BYTE_ORDER_MARK).unwrap_or(ndjson);
    Records::new(Layout::Ndjson, ndjson).filter_map(move |record| {
        let row = match record.broken {
            Some(broken) => Err(vec![broken.error()]),
            None if record.bytes.iter().all(u8::is_ascii_whitespace) => return None,
            None => {
                let row = row::parse(dataset, tenant, record.bytes);
                row.and_then(|row| dataset.receive(row, received_at)).map_err(|refused| refused.errors)
            }
        };
        Some(Line { number: record.line + 1, row })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use crate::reject::Code;

    #[test]
    fn every_line_has_its_number_and_its_own_errors() {
        let dataset = dataset::by_name("stock_events").expect("a dataset");
        let product = Uuid::from_u128(7);
        let good = format!(r#"{{"product_id":"{product}","delta":1}}"#);
        let ahead = format!(r#"{{"product_id":"{product}","set":1,"event_time":"2999-01-01T00:00:00Z"}}"#);
        let long = "x".repeat(2 << 20);
        let text = format!("\u{feff}{good}\r\n\n \t\n{{\"delta\":1.5}}\n{ahead}\n{long}\nx\n{good}");
        let lines: Vec<_> = lines(dataset, Uuid::nil(), text.as_bytes(), 0)
            .map(|line| {
                let codes = |errors: Vec<RowError>| errors.into_iter().map(|error| error.code).collect();
                (line.number, line.row.map_or_else(codes, |_| Vec::new()))
            })
            .collect();
        let due = [
            (1, vec![]),
            (4, vec![Code::MissingField, Code::InvalidInteger]),
            (5, vec![Code::ClockSkew]),
            (6, vec![Code::LineTooLong]),
            (7, vec![Code::InvalidJson]),
            (8, vec![]),
        ];
        assert_eq!(lines, due);
        assert_eq!(super::lines(dataset, Uuid::nil(), b"\n \n", 0).count(), 0);
    }
}
