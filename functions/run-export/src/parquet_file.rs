//! Parquet: row groups are encoded side by side, each as a file of its own in memory, and their column chunks are put one after
//! another into the whole.

use bytes::{Bytes, BytesMut};
use intake_domain::export::{Cell, Column, Kind};
use intake_postgres::exports::Row;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter};
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError as Failed;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What a file says of who wrote it.
const CREATED_BY: &str = concat!("intake ", env!("CARGO_PKG_VERSION"));

const ID_BYTES: usize = 16;

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParquetError {
    #[error(transparent)]
    Parquet(#[from] Failed),
    #[error(transparent)]
    Database(#[from] intake_postgres::Error),
    #[error("a column of another type")]
    Column,
}

/// The schema of these columns.
fn schema(columns: &[Column]) -> Result<TypePtr, Failed> {
    let fields = columns.iter().map(|column| {
        let (physical, logical, length) = match column.kind {
            Kind::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), ID_BYTES as i32),
            // JSON is a text for most who read it
            Kind::Text | Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String), -1),
            Kind::Decimal(precision) => {
                let decimal = LogicalType::decimal(2, precision.into());
                (Physical::INT64, Some(decimal), -1)
            }
            Kind::Integer => (Physical::INT32, None, -1),
            Kind::Long => (Physical::INT64, None, -1),
            Kind::Bool => (Physical::BOOLEAN, None, -1),
            Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)), -1),
        };
        let mut field = Type::primitive_type_builder(column.name, physical)
            .with_repetition(if column.is_nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED })
            .with_logical_type(logical)
            .with_length(length);
        if let Kind::Decimal(precision) = column.kind {
            field = field.with_precision(precision.into()).with_scale(2);
        }
        field.build().map(Arc::new)
    });
    Type::group_type_builder("rows").with_fields(fields.collect::<Result<_, _>>()?).build().map(Arc::new)
}

fn properties(columns: &[Column]) -> Arc<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    // ids, prices and instants seldom come twice
    for column in columns.iter().filter(|column| matches!(column.kind, Kind::Text | Kind::Json)) {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column.name), true);
    }
    Arc::new(properties.build())
}

/// The values of a column, nulls apart.
enum Values {
    Ids(Vec<FixedLenByteArray>),
    /// Where each text ends.
    Texts(Vec<usize>, BytesMut),
    Integers(Vec<i32>),
    Longs(Vec<i64>),
    Truths(Vec<bool>),
}

/// Rows that become a row group.
pub(crate) struct RowGroup<'a> {
    columns: &'a [Column],
    values: Vec<Values>,
    /// Of each column, whether each row has a value there; of columns that may be null alone.
    levels: Vec<Vec<i16>>,
    rows: i64,
    size_bytes: usize,
}

impl<'a> RowGroup<'a> {
    pub(crate) fn new(columns: &'a [Column]) -> Self {
        let values = columns.iter().map(|column| match column.kind {
            Kind::Uuid => Values::Ids(Vec::new()),
            Kind::Text | Kind::Json => Values::Texts(Vec::new(), BytesMut::new()),
            Kind::Integer => Values::Integers(Vec::new()),
            Kind::Decimal(_) | Kind::Long | Kind::Timestamp => Values::Longs(Vec::new()),
            Kind::Bool => Values::Truths(Vec::new()),
        });
        Self { columns, values: values.collect(), levels: vec![Vec::new(); columns.len()], rows: 0, size_bytes: 0 }
    }

    /// About how much memory its rows take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn push(&mut self, row: &Row<'_>) -> Result<(), ParquetError> {
        for ((values, levels), cell) in self.values.iter_mut().zip(&mut self.levels).zip(row.cells()) {
            let cell = cell?;
            levels.push(i16::from(cell != Cell::Null));
            self.size_bytes += size_of::<i64>();
            match (values, cell) {
                (_, Cell::Null) => {}
                (Values::Ids(ids), Cell::Uuid(id)) => {
                    ids.push(FixedLenByteArray::from(id.as_bytes().to_vec()));
                    self.size_bytes += size_of::<FixedLenByteArray>() + ID_BYTES;
                }
                (Values::Texts(ends, texts), Cell::Text(text) | Cell::Json(text)) => {
                    texts.extend_from_slice(text.as_bytes());
                    ends.push(texts.len());
                    self.size_bytes += size_of::<ByteArray>() + text.len();
                }
                (Values::Integers(integers), Cell::Integer(integer)) => {
                    integers.push(i32::try_from(integer).map_err(|_| ParquetError::Column)?);
                }
                (Values::Longs(longs), Cell::Integer(long) | Cell::Decimal(long) | Cell::Micros(long)) => {
                    longs.push(long);
                }
                (Values::Truths(truths), Cell::Bool(truth)) => truths.push(truth),
                _ => return Err(ParquetError::Column),
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows as a file with one row group, and how many they are; none of no rows.
    pub(crate) fn take(&mut self) -> Result<Option<(Bytes, i64)>, ParquetError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let taken = std::mem::replace(self, Self::new(self.columns));
        let mut file = SerializedFileWriter::new(Vec::new(), schema(self.columns)?, properties(self.columns))?;
        let mut group = file.next_row_group()?;
        for ((column, values), levels) in self.columns.iter().zip(taken.values).zip(taken.levels) {
            let levels = column.is_nullable.then_some(levels.as_slice());
            let mut writer = group.next_column()?.ok_or(ParquetError::Column)?;
            match (writer.untyped(), values) {
                (ColumnWriter::FixedLenByteArrayColumnWriter(writer), Values::Ids(ids)) => {
                    writer.write_batch(&ids, levels, None)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Values::Texts(ends, texts)) => {
                    let (texts, mut from) = (texts.freeze(), 0);
                    let text = |to: usize| ByteArray::from(texts.slice(std::mem::replace(&mut from, to)..to));
                    let texts: Vec<_> = ends.into_iter().map(text).collect();
                    writer.write_batch(&texts, levels, None)?;
                }
                (ColumnWriter::Int32ColumnWriter(writer), Values::Integers(integers)) => {
                    writer.write_batch(&integers, levels, None)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), Values::Longs(longs)) => {
                    writer.write_batch(&longs, levels, None)?;
                }
                (ColumnWriter::BoolColumnWriter(writer), Values::Truths(truths)) => {
                    writer.write_batch(&truths, levels, None)?;
                }
                _ => return Err(ParquetError::Column),
            }
            writer.close()?;
        }
        group.close()?;
        Ok(Some((file.into_inner()?.into(), taken.rows)))
    }
}

/// Where a file is written to: what it says is taken from here.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that row groups are put into.
pub(crate) struct ParquetFile {
    writer: SerializedFileWriter<Shared>,
    written: Shared,
}

impl ParquetFile {
    pub(crate) fn new(columns: &[Column]) -> Result<Self, ParquetError> {
        let written = Shared::default();
        let writer = SerializedFileWriter::new(written.clone(), schema(columns)?, properties(columns))?;
        Ok(Self { writer, written })
    }

    /// Puts the row groups of a file behind those that are there. Gives the bytes that the file has more by now.
    pub(crate) fn append(&mut self, file: &Bytes) -> Result<Bytes, ParquetError> {
        let metadata =
            ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip).parse_and_finish(file)?;
        for group in metadata.row_groups() {
            let mut out = self.writer.next_row_group()?;
            for column in group.columns() {
                let chunk = ColumnCloseResult {
                    bytes_written: column.compressed_size().unsigned_abs(),
                    rows_written: group.num_rows().unsigned_abs(),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                out.append_column(file, chunk)?;
            }
            out.close()?;
        }
        self.writer.flush().map_err(Failed::from)?;
        Ok(self.written.take())
    }

    /// Ends the file, and gives its last bytes.
    pub(crate) fn finish(self) -> Result<Bytes, ParquetError> {
        self.writer.close()?;
        Ok(self.written.take())
    }
}
