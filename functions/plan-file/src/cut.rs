//! Reading a file through once, to cut it where no arithmetic can: between the records of CSV, and of what is compressed.
//!
//! Chunks of plain CSV are ranges of the file. What is unpacked is written as one object a chunk, so that no chunk needs
//! what lies before it.

use crate::plan::Refusal;
use crate::unpack::{UnpackError, Unpacker};
use bytes::{Bytes, BytesMut};
use intake_aws::{Error as AwsError, Objects};
use intake_domain::chunk::ChunkRange;
use intake_domain::csv::Header;
use intake_domain::cut::{Cut, Cutter};
use intake_domain::failure::Failure;
use intake_domain::format::{Compression, Layout, MAX_RATIO, MAX_UNPACKED_BYTES, is_suspicious};
use intake_domain::record::Records;
use intake_lambda::batch::Retry;
use intake_lambda::fail_point;
use intake_postgres::ledger::{self, File, PlannedChunk};
use intake_postgres::{Database, Scope};
use tokio::task::JoinHandle;

/// How much of the object is read at a time; the next block is on its way while one is cut.
const BLOCK_BYTES: u64 = 4 << 20;

/// How much is unpacked at a time: what comes of it may be a thousand times as much, and is held in memory.
const UNPACK_BYTES: usize = 4 << 10;

/// After so many chunks it is asked whether the file is still wanted.
const CHUNKS_BETWEEN_LOOKS: usize = 16;

/// How a file is cut.
pub(crate) struct Plan {
    /// The first record of a CSV file.
    pub(crate) csv_header: Option<String>,
    pub(crate) chunks: Vec<PlannedChunk>,
}

/// Reads a file through and cuts it into chunks of about `chunk_bytes`; `None` when somebody asked for its end meanwhile.
/// Done again, or by two at once, it finds the objects that were written, and writes none of them anew: where the bucket has a key
/// of one's own, the same bytes would be another version, and the plan names one.
pub(crate) async fn read_through(
    database: &Database,
    objects: &Objects,
    file: &File,
    chunk_bytes: u64,
) -> Result<Result<Option<Plan>, Refusal>, Retry> {
    let mut unpacker = Unpacker::new(file.format.compression)?;
    let mut cutter = Cutter::new(file.format.layout, usize::try_from(chunk_bytes).unwrap_or(usize::MAX));
    let mut pieces = Pieces { objects, file, plan: Plan { csv_header: None, chunks: Vec::new() } };
    let (mut packed, mut unpacked) = (0, 0);
    let mut looked_at = 0;
    let mut coming = Some(fetch(objects, file, 0));
    while let Some(fetched) = coming.take() {
        let block = match fetched.await? {
            Err(AwsError::ObjectReplaced) => return Ok(Err(Refusal::replaced())),
            block => block?,
        };
        let end = packed + block.len() as u64;
        coming = (end < file.size_bytes).then(|| fetch(objects, file, end));
        for part in block.chunks(UNPACK_BYTES) {
            packed += part.len() as u64;
            match unpacker.push(part) {
                Ok(bytes) => {
                    unpacked += bytes.len() as u64;
                    cutter.push(bytes);
                }
                Err(error) => return Ok(Err(corrupt(&error))),
            }
            if let Some(refusal) = judge(packed, unpacked) {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = pieces.add_all(&mut cutter, false).await? {
                return Ok(Err(refusal));
            }
        }
        if pieces.plan.chunks.len() >= looked_at + CHUNKS_BETWEEN_LOOKS {
            looked_at = pieces.plan.chunks.len();
            if !is_wanted(database, file).await? {
                return Ok(Ok(None));
            }
        }
    }
    match unpacker.finish() {
        Ok(bytes) => {
            unpacked += bytes.len() as u64;
            cutter.push(bytes);
        }
        Err(error) => return Ok(Err(corrupt(&error))),
    }
    if let Some(refusal) = judge(packed, unpacked) {
        return Ok(Err(refusal));
    }
    Ok(pieces.add_all(&mut cutter, true).await?.map(|()| Some(pieces.plan)))
}

/// Begins to read a block of the file's object.
fn fetch(objects: &Objects, file: &File, start: u64) -> JoinHandle<Result<Bytes, AwsError>> {
    let (objects, key) = (objects.clone(), file.key.to_string());
    let etag = file.object_etag.clone().unwrap_or_default();
    let end = (start + BLOCK_BYTES).min(file.size_bytes);
    tokio::spawn(async move {
        let mut block = BytesMut::new();
        objects.read_range(&key, &etag, start, end, &mut block).await?;
        Ok(block.freeze())
    })
}

fn corrupt(error: &UnpackError) -> Refusal {
    Refusal::new(Failure::CorruptCompression, error.to_string())
}

fn judge(packed: u64, unpacked: u64) -> Option<Refusal> {
    if unpacked > MAX_UNPACKED_BYTES {
        let detail = format!("the file unpacks to more than {MAX_UNPACKED_BYTES} bytes; send it in parts");
        return Some(Refusal::new(Failure::UnpackedTooLarge, detail));
    }
    is_suspicious(packed, unpacked).then(|| {
        let detail = format!("{packed} bytes unpack to {unpacked} and more, over {MAX_RATIO} times as many");
        Refusal::new(Failure::SuspiciousCompression, detail)
    })
}

/// Whether nobody asked for the file's end.
async fn is_wanted(database: &Database, file: &File) -> Result<bool, Retry> {
    let look_up = async |scope: &mut Scope<'_>| ledger::file(scope, file.key.file_id).await;
    let now = database.run("file", file.key.tenant_id, look_up).await?;
    Ok(now.is_some_and(|now| !now.is_cancelled))
}

/// The chunks as they are cut off.
struct Pieces<'a> {
    objects: &'a Objects,
    file: &'a File,
    plan: Plan,
}

impl Pieces<'_> {
    /// Takes every chunk that is whole; `complete` says that the file ends here.
    async fn add_all(&mut self, cutter: &mut Cutter, complete: bool) -> Result<Result<(), Refusal>, Retry> {
        while let Some(cut) = cutter.cut(complete) {
            if let Err(refusal) = self.add(cut).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    async fn add(&mut self, cut: Cut) -> Result<Result<(), Refusal>, Retry> {
        let format = self.file.format;
        if format.layout == Layout::Csv
            && self.plan.csv_header.is_none()
            && let Some(header) = Records::new(Layout::Csv, &cut.bytes).next()
        {
            if let Err(error) = Header::parse(self.file.dataset, header.bytes) {
                return Ok(Err(Refusal::new(Failure::InvalidHeader, error.to_string())));
            }
            self.plan.csv_header = Some(String::from_utf8_lossy(header.bytes).into_owned());
        }
        let range = ChunkRange { start: cut.start, end: cut.start + cut.bytes.len() as u64 };
        let piece_etag = if format.compression == Compression::None {
            None
        } else {
            fail_point!("plan-file.before-piece", self.file.key.tenant_id);
            let etag = self.objects.create(&self.file.key.piece(range), cut.bytes.into()).await?;
            fail_point!("plan-file.after-piece", self.file.key.tenant_id);
            Some(etag)
        };
        self.plan.chunks.push(PlannedChunk { range, piece_etag });
        Ok(Ok(()))
    }
}
