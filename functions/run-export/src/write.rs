//! All rows into one object: ranges of rows are found, read and encoded side by side, and written one after another.

use crate::encode::{EncodeError, Encoder, Piece, header};
use crate::object::{Object, ObjectError, PartSizes, Told, Written};
use crate::parquet_file::{ParquetError, ParquetFile};
use intake_domain::export::Format;
use intake_lambda::batch::describe;
use intake_lambda::fail_point;
use intake_postgres::exports::{Key, Order, Range, RangeOfRows, Reader, Snapshot};
use intake_postgres::{Database, Error as DatabaseError};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many transactions read rows at a time.
const READERS: usize = 2;

/// How many pieces of a range wait for their turn: what is read ahead of its turn is held back by that, however large rows
/// are.
const PIECES: usize = 8;

/// The same of row groups, which are larger.
const ROW_GROUPS: usize = 1;

/// The largest part.
const MAX_PART_BYTES: usize = 8 << 20;

/// A range has one row for so many bytes of a part. Of most rows a part has a few ranges, and the database puts one in order in
/// its memory.
const PART_BYTES_PER_ROW: usize = 1024;

/// How the work is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) parts: PartSizes,
    /// How many rows a range has.
    pub(crate) range_rows: i64,
}

impl Sizes {
    /// For parts of about so many bytes. S3 takes none under 5 MiB but the last, and memory is bounded by them.
    pub(crate) fn of_parts(bytes: u64) -> Self {
        let most = usize::try_from(bytes).unwrap_or(MAX_PART_BYTES).min(MAX_PART_BYTES);
        Self { parts: PartSizes { enough: most / 8 * 5, most }, range_rows: (most / PART_BYTES_PER_ROW).max(1) as i64 }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the file cannot be written")]
    Parquet(#[from] ParquetError),
    #[error("the file's begin cannot be compressed")]
    Compression(#[from] std::io::Error),
    #[error("a reader ended without a word")]
    Lost,
}

/// How far it came.
pub(crate) enum Ended {
    /// To the end.
    Written(Written),
    /// To the end of its time. What was told until then is there.
    OutOfTime,
}

/// A range to read, and where its pieces go; `None` is the last of them.
struct Job {
    range: Range,
    pieces: mpsc::Sender<Result<Option<Piece>, EncodeError>>,
}

/// A range whose pieces come.
struct Coming {
    to: Option<Key>,
    pieces: mpsc::Receiver<Result<Option<Piece>, EncodeError>>,
}

/// What is written.
pub(crate) struct Work<'a> {
    pub(crate) order: Arc<Order>,
    pub(crate) tenant: Uuid,
    /// Its transaction is the one whose state all others see.
    pub(crate) leader: &'a Reader<'a>,
    pub(crate) snapshot: Snapshot,
    pub(crate) database: &'a Database,
    pub(crate) object: Object,
    /// The first row.
    pub(crate) from: Key,
    pub(crate) sizes: Sizes,
    pub(crate) told: Told,
    pub(crate) until: SystemTime,
}

impl Work<'_> {
    /// Writes all rows from the first on.
    pub(crate) async fn write(self) -> Result<Ended, WriteError> {
        let Self { order, tenant, leader, snapshot, database, object, from, sizes, told, until } = self;
        let (jobs_in, jobs) = mpsc::channel(1);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (database, snapshot) = (database.another(), snapshot.clone());
            let (order, jobs) = (Arc::clone(&order), Arc::clone(&jobs));
            readers.spawn(async move { read(&database, tenant, &snapshot, &order, &jobs).await });
        }
        drop(jobs);
        // a range takes some 60 bytes, and they are found long before they are read
        let (found, ranges) = mpsc::unbounded_channel();
        let (coming_in, coming) = mpsc::channel(READERS);
        let rows_before = object.rows;
        let walking = async {
            let mut walk = leader.walk(&order, from, rows_before, sizes.range_rows).await?;
            while let Some(range) = walk.next().await? {
                told.tell(|told| told.rows_estimated = Some(range.rows_up_to));
                if found.send(range).is_err() {
                    break;
                }
            }
            drop(found);
            Ok(())
        };
        let giving = async {
            give(ranges, jobs_in, coming_in, order.format).await;
            Ok(())
        };
        let writing = put_together(&order, tenant, coming, object, until);
        let (.., ended) = tokio::try_join!(walking, giving, writing)?;
        Ok(ended)
    }
}

/// Gives ranges to readers in their order, and their pieces to the writer in the same.
async fn give(
    mut ranges: mpsc::UnboundedReceiver<RangeOfRows>,
    jobs: mpsc::Sender<Job>,
    coming: mpsc::Sender<Coming>,
    format: Format,
) {
    while let Some(RangeOfRows { range, .. }) = ranges.recv().await {
        let (pieces_in, pieces) = mpsc::channel(if format == Format::Parquet { ROW_GROUPS } else { PIECES });
        let is_awaited = coming.send(Coming { to: range.to, pieces }).await.is_ok();
        if !is_awaited || jobs.send(Job { range, pieces: pieces_in }).await.is_err() {
            return;
        }
    }
}

/// Reads one range after another, until there are no more.
async fn read(
    database: &Database,
    tenant: Uuid,
    snapshot: &Snapshot,
    order: &Order,
    jobs: &Mutex<mpsc::Receiver<Job>>,
) {
    let begun = Reader::begin(database, tenant, Some(snapshot)).await;
    let mut begun = begun.map_err(Some);
    loop {
        let next = jobs.lock().await.recv().await;
        let Some(Job { range, pieces }) = next else { break };
        let done = match &mut begun {
            Ok(reader) => read_range(reader, order, range, &pieces).await,
            Err(error) => Err(error.take().unwrap_or(DatabaseError::Corrupt("a reader that did not begin")).into()),
        };
        // who is not there any more needs no word
        let _ = pieces.send(done.map(|()| None)).await;
    }
    if let Ok(reader) = begun
        && let Err(error) = reader.end().await
    {
        tracing::debug!(error = describe(&error), "a reader's transaction was not ended");
    }
}

async fn read_range(
    reader: &Reader<'_>,
    order: &Order,
    range: Range,
    pieces: &mpsc::Sender<Result<Option<Piece>, EncodeError>>,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(order);
    let mut rows = reader.rows(order, range).await?;
    while let Some(row) = rows.next().await? {
        if let Some(piece) = encoder.row(&row)?
            && pieces.send(Ok(Some(piece))).await.is_err()
        {
            return Ok(());
        }
    }
    if let Some(piece) = encoder.piece()? {
        let _ = pieces.send(Ok(Some(piece))).await;
    }
    Ok(())
}

/// Writes the pieces of all ranges in their order.
async fn put_together(
    order: &Order,
    tenant: Uuid,
    mut coming: mpsc::Receiver<Coming>,
    mut object: Object,
    until: SystemTime,
) -> Result<Ended, WriteError> {
    let mut parquet = match order.format {
        Format::Parquet => Some(ParquetFile::new(&order.columns)?),
        Format::Csv | Format::Json => None,
    };
    if object.bytes == 0 {
        object.write(&header(order)?, 0).await?;
    }
    while let Some(Coming { to, mut pieces }) = coming.recv().await {
        while let Some(piece) = pieces.recv().await.ok_or(WriteError::Lost)?? {
            match (piece, &mut parquet) {
                (Piece::RowGroup(group, rows), Some(file)) => object.write(&file.append(&group)?, rows).await?,
                (Piece::Bytes(bytes, rows) | Piece::RowGroup(bytes, rows), _) => object.write(&bytes, rows).await?,
            }
        }
        object.range_ended(to).await?;
        fail_point!("run-export.between-ranges", tenant);
        if to.is_some() && SystemTime::now() > until {
            object.settle().await?;
            return Ok(Ended::OutOfTime);
        }
    }
    if let Some(file) = parquet {
        object.write(&file.finish()?, 0).await?;
    }
    Ok(Ended::Written(object.finish().await?))
}
