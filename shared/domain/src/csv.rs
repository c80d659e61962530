//! CSV (RFC 4180): the header, and from a record to a row. Where records end is the business of [`record`](crate::record).

use crate::dataset::{Dataset, Missing};
use crate::reject::{Code, RowError};
use crate::row::{Refused, Row, Slot, assemble};
use crate::value::{self, Kind, Value};
use std::collections::HashSet;
use uuid::Uuid;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the columns of a file are, in their order.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    names: Vec<String>,
    /// Which column holds what a slot asks for.
    fields: Vec<Option<usize>>,
    created_at: Option<usize>,
    tenant_id: Option<usize>,
}

/// Why a header cannot be used; its text says it to people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is not text.
    #[error("the header is not UTF-8, or holds U+0000")]
    NoText,
    /// It is none.
    #[error("the first line names no column of {0}; its columns are {1}")]
    NoColumn(&'static str, String),
    /// It says one thing twice.
    #[error("the header names the column {0} twice")]
    Twice(String),
    /// It lacks what every row must have.
    #[error("the header lacks the required columns {0}")]
    Missing(String),
}

impl Header {
    /// Reads the first record of a file of `dataset`. Columns of other names are ignored; any order will do.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(dataset: &'static Dataset, record: &[u8]) -> Result<Self, HeaderError> {
        let mut cells = Cells::default();
        cells.read(record).map_err(|_| HeaderError::NoText)?;
        let names: Vec<_> =
            cells.iter().map(|name| name.trim_start_matches(BYTE_ORDER_MARK).trim().to_owned()).collect();
        if names.iter().any(|name| name.contains('\0')) {
            return Err(HeaderError::NoText);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().filter(|name| !name.is_empty()).find(|name| !seen.insert(*name)) {
            return Err(HeaderError::Twice(twice.clone()));
        }
        let column = |wanted: &str| names.iter().position(|name| name == wanted);
        let fields: Vec<_> = dataset.fields.iter().map(|field| column(field.name)).collect();
        let list = |missing: &[&str]| missing.join(", ");
        if fields.iter().all(Option::is_none) {
            let known: Vec<_> = dataset.fields.iter().map(|field| field.name).collect();
            return Err(HeaderError::NoColumn(dataset.name, list(&known)));
        }
        let missing: Vec<_> = dataset
            .fields
            .iter()
            .zip(&fields)
            .filter(|(field, at)| field.missing == Missing::Refused && at.is_none())
            .map(|(field, _)| field.name)
            .collect();
        if !missing.is_empty() {
            return Err(HeaderError::Missing(list(&missing)));
        }
        let (created_at, tenant_id) = (column("created_at"), column("tenant_id"));
        Ok(Self { names, fields, created_at, tenant_id })
    }
}

/// The cells of one record. One is made for a file and used for all of its records.
#[derive(Debug, Default)]
pub struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Cells {
    /// Takes a record apart.
    ///
    /// # Errors
    /// What is wrong with it when it is not UTF-8.
    pub fn read(&mut self, record: &[u8]) -> Result<(), Refused> {
        self.count = 0;
        if str::from_utf8(record).is_err() {
            return Err(refuse(Code::InvalidUtf8, "the line is not UTF-8".to_owned()));
        }
        // unquoting makes nothing longer, and a cell has at least its comma or the record's end
        self.text.resize(record.len(), 0);
        self.ends.resize(record.len() + 1, 0);
        let mut reader = csv_core::Reader::new();
        let (_, read, written, ends) = reader.read_record(record, &mut self.text, &mut self.ends);
        // the record has no line end: one closes the last cell
        let (.., last) = reader.read_record(&record[read..], &mut self.text[written..], &mut self.ends[ends..]);
        let (.., closing) = reader.read_record(b"\n", &mut self.text[written..], &mut self.ends[ends + last..]);
        self.count = ends + last + closing;
        Ok(())
    }

    /// The cells, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.count).map(|at| self.get(at))
    }

    fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        // a record that is UTF-8 is cut at quotes, commas and line ends only
        str::from_utf8(&self.text[start..self.ends[at]]).unwrap_or_default()
    }
}

/// Makes a row of the cells of a record that `tenant` sent. An empty cell is null.
///
/// # Errors
/// All that is wrong with the row.
pub fn parse<'a>(
    dataset: &'static Dataset,
    tenant: Uuid,
    header: &Header,
    cells: &'a Cells,
) -> Result<Row<'a>, Refused> {
    if cells.count != header.names.len() {
        let detail = format!("{} cells under a header of {} columns", cells.count, header.names.len());
        return Err(refuse(Code::ColumnCount, detail));
    }
    assemble(dataset, tenant, |slot, kind| {
        let column = match slot {
            Slot::Field(at) => header.fields[at],
            Slot::CreatedAt => header.created_at,
            Slot::TenantId => header.tenant_id,
        };
        column.map_or(Ok(Value::Null), |at| value::read_cell(kind, cells.get(at)))
    })
}

/// The record as a JSON object under the header's names, so that it can be mended and sent again as a line of NDJSON;
/// `None` when it has another number of cells.
#[must_use]
pub fn to_json(dataset: &'static Dataset, header: &Header, cells: &Cells) -> Option<String> {
    if cells.count != header.names.len() {
        return None;
    }
    let kind = |name: &str| dataset.fields.iter().find(|field| field.name == name).map(|field| field.kind);
    let object = header.names.iter().zip(cells.iter()).map(|(name, cell)| {
        let token = match kind(name) {
            _ if cell.is_empty() => "null".to_owned(),
            Some(Kind::Bool) if value::truth(cell).is_some() => (value::truth(cell) == Some(true)).to_string(),
            Some(Kind::Object) if serde_json::from_str::<serde_json::Map<_, _>>(cell).is_ok() => cell.to_owned(),
            _ => quoted(cell),
        };
        format!("{}:{token}", quoted(name))
    });
    Some(format!("{{{}}}", object.collect::<Vec<_>>().join(",")))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn refuse(code: Code, detail: String) -> Refused {
    Refused { key: None, errors: vec![RowError::of_row(code, detail)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use crate::row;

    const TENANT: Uuid = Uuid::from_u128(0xA);
    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn products() -> &'static Dataset {
        dataset::by_name("products").expect("products")
    }

    fn header(text: &str) -> Result<Header, HeaderError> {
        Header::parse(products(), text.as_bytes())
    }

    fn cells(record: &str) -> Cells {
        let mut cells = Cells::default();
        cells.read(record.as_bytes()).expect("text");
        cells
    }

    #[test]
    fn cells_are_unquoted() {
        for (record, expected) in [
            ("a,b", &["a", "b"][..]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            ("\"a\nb\",\"x\"\"y\",5\" pipe", &["a\nb", "x\"y", "5\" pipe"]),
            ("\"\"", &[""]),
            ("x", &["x"]),
            ("ä,\"ö\"", &["ä", "ö"]),
        ] {
            assert_eq!(cells(record).iter().collect::<Vec<_>>(), expected, "{record}");
        }
        let mut cells = Cells::default();
        assert_eq!(cells.read(b"a,\xff").expect_err("not UTF-8").errors[0].code, Code::InvalidUtf8);
    }

    #[test]
    fn a_header_may_have_any_order_and_other_columns() {
        let header = header("\u{feff}price, name ,color,sku,product_id").expect("a header");
        let record = cells(&format!("12.50,\"Tea, green\",red,T-1,{ID}"));
        let row = parse(products(), TENANT, &header, &record).expect("a row");
        let line = format!(r#"{{"price":"12.50","name":"Tea, green","color":"red","sku":"T-1","product_id":"{ID}"}}"#);
        assert_eq!(row, row::parse(products(), TENANT, line.as_bytes()).expect("the same row"));
        assert_eq!(to_json(products(), &header, &record), Some(line));
    }

    #[test]
    fn a_header_that_cannot_be_used_is_named() {
        assert!(matches!(header("1,2,3"), Err(HeaderError::NoColumn("products", _))));
        assert_eq!(header("product_id,sku,sku"), Err(HeaderError::Twice("sku".to_owned())));
        assert_eq!(header("product_id,sku"), Err(HeaderError::Missing("name, price".to_owned())));
        assert!(matches!(header("product_id;sku;name;price"), Err(HeaderError::NoColumn(..))));
    }

    #[test]
    fn a_refused_record_can_be_sent_again_as_ndjson() {
        let header = header("product_id,sku,name,price,active").expect("a header");
        let record = cells(&format!("{ID},T-1,,x,TRUE"));
        let refused = parse(products(), TENANT, &header, &record).expect_err("refused");
        let json = to_json(products(), &header, &record).expect("an object");
        assert_eq!(json, format!(r#"{{"product_id":"{ID}","sku":"T-1","name":null,"price":"x","active":true}}"#));
        assert_eq!(row::parse(products(), TENANT, json.as_bytes()), Err(refused));
        assert_eq!(
            parse(products(), TENANT, &header, &cells("1,2")).expect_err("short").errors[0].code,
            Code::ColumnCount
        );
    }
}
