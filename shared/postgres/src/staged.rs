//! The staging store's object: the valid rows of one chunk, ready for COPY, each with what decides about it.
//!
//! Layout, integers big-endian: magic, the tenant, then for each row its [`RowHash`], month instant, place in the file,
//! natural key and COPY tuple, and at the end the number of rows, so that a truncated object is noticed.

use crate::{Error, copy};
use bytes::{Buf, Bytes};
use intake_domain::Dataset;
use intake_domain::promotion::{Keys, RowHash};
use intake_domain::row::Row;
use intake_domain::value::Value;
use sha2::{Digest, Sha256};
use std::ops::Range;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"intake\0\x01";
const NO_NATURAL_KEY: u16 = u16::MAX;

/// Where a row stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0-based line within the chunk.
    pub line: u32,
    /// Bytes from the start of the file to the line.
    pub offset: u64,
    /// Bytes of the line without its end.
    pub length: u32,
}

/// Writes a staged object, row by row.
pub struct Writer {
    dataset: &'static Dataset,
    tenant: Uuid,
    received_at: i64,
    rows: u32,
    object: Vec<u8>,
    tuple: Vec<u8>,
}

impl Writer {
    /// An object without rows. `received_at`, in microseconds since 1970, stands in for a `created_at` that a row does not
    /// give; it must be the same whenever the chunk is loaded again.
    #[must_use]
    pub fn new(dataset: &'static Dataset, tenant: Uuid, received_at: i64, capacity: usize) -> Self {
        let mut object = Vec::with_capacity(capacity);
        object.extend_from_slice(MAGIC);
        object.extend_from_slice(tenant.as_bytes());
        Self { dataset, tenant, received_at, rows: 0, object, tuple: Vec::new() }
    }

    /// Appends a row.
    pub fn push(&mut self, row: &Row<'_>, place: Place) {
        let dataset = self.dataset;
        self.tuple.clear();
        copy::begin_row(&mut self.tuple, columns(dataset));
        copy::uuid(&mut self.tuple, self.tenant);
        for value in &row.values {
            copy::value(&mut self.tuple, value);
        }
        // the time of an upload says nothing about the row: only a time that the row states makes it differ
        let hash = hash(&self.tuple[TENANT_END..], row.created_at);
        if dataset.created_at {
            copy::timestamp(&mut self.tuple, row.created_at.unwrap_or(self.received_at));
        }
        if dataset.month.is_none() {
            copy::hash(&mut self.tuple, &hash);
        }
        let month = match dataset.month.map(|at| &row.values[at]) {
            Some(Value::Micros(micros)) => *micros,
            _ => 0,
        };
        self.object.extend_from_slice(&hash);
        self.object.extend_from_slice(row.id(dataset).as_bytes());
        self.object.extend_from_slice(&month.to_be_bytes());
        self.object.push(u8::from(row.created_at.is_some()));
        self.object.extend_from_slice(&place.line.to_be_bytes());
        self.object.extend_from_slice(&place.offset.to_be_bytes());
        self.object.extend_from_slice(&place.length.to_be_bytes());
        let natural = row.natural_key(dataset);
        let length = natural.map_or(NO_NATURAL_KEY, |key| key.len() as u16);
        self.object.extend_from_slice(&length.to_be_bytes());
        self.object.extend_from_slice(natural.unwrap_or_default().as_bytes());
        self.object.extend_from_slice(&(self.tuple.len() as u32).to_be_bytes());
        self.object.extend_from_slice(&self.tuple);
        self.rows += 1;
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The finished object.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.object.extend_from_slice(&self.rows.to_be_bytes());
        self.object.into()
    }
}

/// The hash of a row's columns between the tenant and the time of creation, with that time where the row states it.
fn hash(columns: &[u8], created_at: Option<i64>) -> RowHash {
    let mut digest = Sha256::new_with_prefix(columns);
    if let Some(created_at) = created_at {
        digest.update(created_at.to_be_bytes());
    }
    let mut hash = RowHash::default();
    hash.copy_from_slice(&digest.finalize()[..16]);
    hash
}

/// The column count, the tenant's length and the tenant: with these every tuple begins.
const TENANT_END: usize = 2 + 4 + 16;

fn columns(dataset: &Dataset) -> usize {
    1 + dataset.fields.len() + usize::from(dataset.created_at) + usize::from(dataset.month.is_none())
}

/// A row of a staged object.
#[derive(Clone, Debug)]
pub struct StagedRow {
    /// What identifies it.
    pub id: Uuid,
    natural: Option<Bytes>,
    /// What tells whether it differs.
    pub hash: RowHash,
    /// The instant whose month is its partition's, in microseconds since 1970; 0 where partitions go by tenant.
    pub month: i64,
    /// Where it stands in its file.
    pub place: Place,
    states_created_at: bool,
    tuple: Bytes,
}

impl StagedRow {
    /// What decides about it.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys { id: self.id, natural: self.natural_key(), hash: self.hash, states_created_at: self.states_created_at }
    }

    /// Its natural key.
    #[must_use]
    pub fn natural_key(&self) -> Option<&str> {
        self.natural.as_deref().and_then(|key| str::from_utf8(key).ok())
    }

    /// The bytes of column `at` of the COPY tuple (0 is the tenant's); `None` where it is null.
    #[must_use]
    pub fn column(&self, at: usize) -> Option<&[u8]> {
        let mut rest = self.tuple.get(2..)?;
        for _ in 0..at {
            rest = rest.get(column_bytes(rest)?..)?;
        }
        // of a null there is nothing but its length, which is below 0
        rest.get(4..column_bytes(rest)?).filter(|_| rest[0] < 0x80)
    }

    /// The id in column `at`, if it is a UUID.
    #[must_use]
    pub fn uuid_in_column(&self, at: usize) -> Option<Uuid> {
        Uuid::from_slice(self.column(at)?).ok()
    }

    /// Its COPY tuple.
    #[must_use]
    pub fn tuple(&self) -> Bytes {
        self.tuple.clone()
    }

    /// Its COPY tuple with another time of creation, in microseconds since 1970.
    #[must_use]
    pub fn tuple_created_at(&self, dataset: &Dataset, micros: i64) -> Bytes {
        let mut tuple = self.tuple.to_vec();
        if let Some(place) = self.created_at_place(dataset) {
            tuple[place].copy_from_slice(&copy::timestamp_bytes(micros));
        }
        tuple.into()
    }

    /// When it was created, in microseconds since 1970; `None` where the dataset does not keep that.
    #[must_use]
    pub fn created_at(&self, dataset: &Dataset) -> Option<i64> {
        let bytes = self.tuple.get(self.created_at_place(dataset)?)?;
        Some(copy::micros_of(bytes.try_into().ok()?))
    }

    /// The hash that it would have if it did not state when it was created; `None` where it does not.
    #[must_use]
    pub fn hash_but_for_creation(&self, dataset: &Dataset) -> Option<RowHash> {
        let place = self.created_at_place(dataset).filter(|_| self.states_created_at)?;
        Some(hash(self.tuple.get(TENANT_END..place.start.checked_sub(4)?)?, None))
    }

    /// The last column but for the hash with its length.
    fn created_at_place(&self, dataset: &Dataset) -> Option<Range<usize>> {
        let end = self.tuple.len().checked_sub(if dataset.month.is_none() { 4 + 16 } else { 0 })?;
        dataset.created_at.then(|| end.checked_sub(8).map(|start| start..end)).flatten()
    }
}

/// How many bytes the first column has with its length; a null has nothing but that.
fn column_bytes(columns: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(columns.get(..4)?.try_into().ok()?);
    Some(4 + usize::try_from(length).unwrap_or(0))
}

/// Reads a staged object.
///
/// # Errors
/// [`Error::Corrupt`] when it is not one, is cut off, or holds a row of another tenant than `tenant`.
pub fn read(mut object: Bytes, tenant: Uuid) -> Result<Vec<StagedRow>, Error> {
    let corrupt = Error::Corrupt("a staged object is cut off");
    if object.len() < MAGIC.len() + 16 + 4 || &object[..MAGIC.len()] != MAGIC {
        return Err(Error::Corrupt("a staged object of an unknown form"));
    }
    object.advance(MAGIC.len());
    if object.split_to(16) != tenant.as_bytes()[..] {
        return Err(Error::Corrupt("a staged object of another tenant"));
    }
    let mut rows = Vec::new();
    while object.remaining() > 4 {
        let row = read_row(&mut object).ok_or(Error::Corrupt("a staged object is cut off"))?;
        if row.tuple.get(TENANT_END - 16..TENANT_END) != Some(tenant.as_bytes()) {
            return Err(Error::Corrupt("a staged row of another tenant"));
        }
        rows.push(row);
    }
    let count = object.try_get_u32().map_err(|_| corrupt)?;
    if usize::try_from(count) == Ok(rows.len()) { Ok(rows) } else { Err(Error::Corrupt("a staged object is cut off")) }
}

fn read_row(object: &mut Bytes) -> Option<StagedRow> {
    let take = |object: &mut Bytes, length: usize| (object.len() >= length).then(|| object.split_to(length));
    let hash = <RowHash>::try_from(&take(object, 16)?[..]).ok()?;
    let id = Uuid::from_slice(&take(object, 16)?).ok()?;
    let month = object.try_get_i64().ok()?;
    let states_created_at = object.try_get_u8().ok()? == 1;
    let line = object.try_get_u32().ok()?;
    let offset = object.try_get_u64().ok()?;
    let length = object.try_get_u32().ok()?;
    let natural = match object.try_get_u16().ok()? {
        NO_NATURAL_KEY => None,
        length => Some(take(object, usize::from(length))?),
    };
    let tuple_length = object.try_get_u32().ok()?;
    let tuple = take(object, usize::try_from(tuple_length).ok()?)?;
    Some(StagedRow { id, natural, hash, month, place: Place { line, offset, length }, states_created_at, tuple })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intake_domain::{dataset, row};

    fn staged(tenant: Uuid) -> Bytes {
        let customers = dataset::by_name("customers").expect("customers");
        let mut writer = Writer::new(customers, tenant, 0, 0);
        for (id, created) in [(1, ""), (2, r#","created_at":"2026-01-01T00:00:00""#)] {
            let id = Uuid::from_u128(id);
            let line = format!(r#"{{"customer_id":"{id}","name":"A","email":"{id}@x"{created}}}"#);
            let place = Place { line: 3, offset: 5, length: 7 };
            writer.push(&row::parse(customers, tenant, line.as_bytes()).expect("a row"), place);
        }
        writer.finish()
    }

    #[test]
    fn rows_read_back() {
        let tenant = Uuid::from_u128(9);
        let rows = read(staged(tenant), tenant).expect("rows");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].keys().natural, Some("00000000-0000-0000-0000-000000000001@x"));
        assert_eq!(rows[1].place, Place { line: 3, offset: 5, length: 7 });
    }

    #[test]
    fn a_reference_is_found_in_its_column() {
        let tenant = Uuid::from_u128(9);
        let rows = read(staged(tenant), tenant).expect("rows");
        assert_eq!(rows[1].uuid_in_column(0), Some(tenant));
        assert_eq!(rows[1].uuid_in_column(1), Some(Uuid::from_u128(2)));
        assert_eq!(rows[1].uuid_in_column(2), None, "the name is none");
        assert_eq!(rows[1].uuid_in_column(4), None, "null");
        assert_eq!(rows[1].uuid_in_column(99), None);
    }

    #[test]
    fn a_cut_or_foreign_object_is_refused() {
        let tenant = Uuid::from_u128(9);
        let whole = staged(tenant);
        for length in 0..whole.len() {
            assert!(read(whole.slice(..length), tenant).is_err(), "cut at {length}");
        }
        assert!(read(whole, Uuid::from_u128(8)).is_err());
    }

    #[test]
    fn the_time_of_creation_can_be_read_and_set() {
        let tenant = Uuid::from_u128(9);
        let customers = dataset::by_name("customers").expect("customers");
        let rows = read(staged(tenant), tenant).expect("rows");
        assert_eq!(rows[0].created_at(customers), Some(0));
        assert_eq!(rows[1].created_at(customers), Some(1_767_225_600_000_000));
        let keys: Vec<_> = rows.iter().map(|row| row.hash_but_for_creation(customers)).collect();
        assert!(keys[0].is_none() && keys[1].is_some_and(|hash| hash != rows[1].hash));
        assert_eq!(rows[0].tuple_created_at(customers, 0), rows[0].tuple());
        assert_ne!(rows[0].tuple_created_at(customers, 77), rows[0].tuple());
    }
}
