//! From rows to the bytes of a file, piece by piece.

use crate::parquet_file::{ParquetError, RowGroup};
use bytes::Bytes;
use flate2::write::GzEncoder;
use intake_domain::export::{Format, TextWriter};
use intake_domain::format::Compression;
use intake_postgres::Error as DatabaseError;
use intake_postgres::exports::{Order, Row};
use std::io::Write;

/// A piece ends after the row that takes it over so many bytes, uncompressed.
const PIECE_BYTES: usize = 512 << 10;

/// What is allocated for a piece: it need not grow for its last row, unless that is a long one.
const PIECE_CAPACITY: usize = PIECE_BYTES + PIECE_BYTES / 16;

/// A row group ends after the row that takes it over so many bytes, uncompressed.
const ROW_GROUP_BYTES: usize = 6 << 20;

/// zstd's own middle; and of gzip the level that still keeps up with the database.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 3;

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the compression failed")]
    Compression(#[from] std::io::Error),
    #[error("the row group cannot be written")]
    Parquet(#[from] ParquetError),
}

/// A part of a range of rows as it stands in the file.
pub(crate) enum Piece {
    /// So many rows, as they are.
    Bytes(Bytes, i64),
    /// So many rows, as columns.
    RowGroup(Bytes, i64),
}

/// Writes the rows of one range.
pub(crate) enum Encoder<'a> {
    Text { writer: TextWriter, compression: Compression, text: Vec<u8>, rows: i64 },
    Parquet(RowGroup<'a>),
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(order: &'a Order) -> Self {
        match TextWriter::new(order.format, &order.columns, order.spreadsheet_safe) {
            Some(writer) => {
                Self::Text { writer, compression: order.compression, text: Vec::with_capacity(PIECE_CAPACITY), rows: 0 }
            }
            None => Self::Parquet(RowGroup::new(&order.columns)),
        }
    }

    /// Writes a row. Gives a piece whenever there is enough for one.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> Result<Option<Piece>, EncodeError> {
        match self {
            Self::Text { writer, text, rows, .. } => {
                writer.row(text, row.cells())?;
                *rows += 1;
                if text.len() < PIECE_BYTES { Ok(None) } else { self.piece() }
            }
            Self::Parquet(group) => {
                group.push(row.cells())?;
                if group.size_bytes() < ROW_GROUP_BYTES { Ok(None) } else { self.piece() }
            }
        }
    }

    /// What there is, as a piece; none of nothing.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece>, EncodeError> {
        match self {
            Self::Text { compression, text, rows, .. } => {
                if text.is_empty() {
                    return Ok(None);
                }
                let text = std::mem::replace(text, Vec::with_capacity(PIECE_CAPACITY));
                Ok(Some(Piece::Bytes(compress(*compression, text)?, std::mem::take(rows))))
            }
            Self::Parquet(group) => Ok(group.take()?.map(|(group, rows)| Piece::RowGroup(group, rows))),
        }
    }
}

/// A member of gzip or a frame of zstd: any number of them in a row is a file.
pub(crate) fn compress(compression: Compression, text: Vec<u8>) -> std::io::Result<Bytes> {
    Ok(match compression {
        Compression::None => text.into(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(&text)?;
            encoder.finish()?.into()
        }
        Compression::Zstd => zstd::bulk::compress(&text, ZSTD_LEVEL)?.into(),
    })
}

/// What a file begins with.
pub(crate) fn header(order: &Order) -> std::io::Result<Bytes> {
    let writer = TextWriter::new(order.format, &order.columns, order.spreadsheet_safe);
    let header = writer.map(|writer| writer.header(&order.columns)).unwrap_or_default();
    // a compressed file without a row is no empty one
    let is_needed = !header.is_empty() || order.compression != Compression::None && order.format != Format::Parquet;
    if is_needed { compress(order.compression, header) } else { Ok(Bytes::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::io::Read;

    #[test]
    fn pieces_in_a_row_are_a_file() {
        let pieces = ["order_id\r\n", "", "1\r\n2\r\n"];
        let packed = |compression| {
            let pack = |text: &&str| compress(compression, text.as_bytes().to_vec()).expect("a piece");
            pieces.iter().map(pack).collect::<Vec<_>>().concat()
        };
        let mut text = String::new();
        MultiGzDecoder::new(packed(Compression::Gzip).as_slice()).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, pieces.concat());
        let unpacked = zstd::stream::decode_all(packed(Compression::Zstd).as_slice()).expect("zstd");
        assert_eq!(unpacked, pieces.concat().as_bytes());
        assert_eq!(packed(Compression::None), pieces.concat().as_bytes());
    }
}
