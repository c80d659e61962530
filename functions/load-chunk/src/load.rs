//! One chunk: read, validate, stage.

use bytes::{Bytes, BytesMut};
use intake_aws::messages::LoadChunk;
use intake_aws::{Error as AwsError, Objects, Queue};
use intake_domain::chunk::{self, ChunkRange, Line, MAX_LINE_BYTES, Owned};
use intake_domain::reject::{Code, RowError};
use intake_domain::row;
use intake_lambda::batch::Retry;
use intake_lambda::turn::{Wake, wake};
use intake_postgres::ledger::{self, ChunkCounts, File, Reject};
use intake_postgres::staged::{Place, Writer};
use intake_postgres::{Database, Scope};
use serde_json::value::RawValue;
use std::time::SystemTime;

/// How much is read at once past a chunk's end to find the end of its last line.
const READ_ON_BYTES: u64 = 64 << 10;

/// How much of a line that is no JSON object is kept as its record.
const KEPT_OF_NO_OBJECT: usize = 64 << 10;

/// How many rejects are kept in memory before they are written.
const REJECTS_AT_ONCE: usize = 1_000;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the function works with.
pub(crate) struct Loader {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) promotions: Queue,
}

impl Loader {
    /// Handles one message. Run again it stages nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.load(message).await,
            None => Ok(()),
        }
    }

    /// Ends the file of a chunk that could not be loaded.
    pub(crate) async fn give_up_message(&self, body: &str) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.give_up(message, "LOADING_FAILED", "a chunk could not be loaded in five tries").await,
            None => Ok(()),
        }
    }

    #[tracing::instrument(skip_all, fields(
        tenant_id = %message.tenant_id, file_id = %message.file_id, chunk_index = message.chunk_index,
    ))]
    async fn load(&self, message: LoadChunk) -> Result<(), Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        let look_up = async |scope: &mut Scope<'_>| ledger::chunk(scope, file_id, chunk_index).await;
        let Some((file, range, is_planned)) = self.database.run("chunk", tenant_id, look_up).await? else {
            tracing::error!("message names a chunk that is not in the ledger, dropped");
            return Ok(());
        };
        if is_planned && !file.state.is_terminal() {
            let etag = file.object_etag.as_deref().unwrap_or_default();
            let (lines, base) = match self.read(&file, etag, range).await {
                Err(AwsError::ObjectReplaced) => {
                    let detail = "another object was uploaded in the file's place while it was loaded";
                    return self.give_up(message, "OBJECT_REPLACED", detail).await;
                }
                other => other?,
            };
            let staged = self.stage(message, &file, &lines, base).await?;
            tracing::info!(accepted = staged.accepted, rejected = staged.rejected, "chunk staged");
        }
        // a transaction of its own: of two last chunks staged at the same time, neither would see the other
        let finish = async |scope: &mut Scope<'_>| ledger::finish_staging(scope, file_id).await;
        self.database.run("finish_staging", tenant_id, finish).await?;
        Ok(wake(&self.database, &self.promotions, &file, Wake::Itself).await?)
    }

    /// The lines that the chunk owns, and where they begin in the file.
    async fn read(&self, file: &File, etag: &str, range: ChunkRange) -> Result<(Bytes, u64), AwsError> {
        let key = file.key.to_string();
        let mut end = range.end;
        let mut buffer = BytesMut::with_capacity((range.end - range.start + READ_ON_BYTES) as usize);
        self.objects.read_range(&key, etag, range.start, end, &mut buffer).await?;
        loop {
            match chunk::owned(range, &buffer, end >= file.size_bytes) {
                Owned::Lines(part) => {
                    let base = range.start + part.start as u64;
                    return Ok((buffer.freeze().slice(part), base));
                }
                Owned::ReadOn => {
                    let more = (end + READ_ON_BYTES).min(file.size_bytes);
                    self.objects.read_range(&key, etag, end, more, &mut buffer).await?;
                    end = more;
                }
            }
        }
    }

    /// Validates the lines, and commits the rejects together with the chunk's new state, after its object is written.
    async fn stage(&self, message: LoadChunk, file: &File, lines: &[u8], base: u64) -> Result<ChunkCounts, Retry> {
        let LoadChunk { file_id, chunk_index, .. } = message;
        let scope: Scope<'_> = self.database.begin(message.tenant_id).await?;
        let mut validation = Validation::new(file, lines, base);
        if ledger::lock_planned_chunk(&scope, file_id, chunk_index).await? {
            // in batches, because a chunk may be nothing but rejects
            while let Some(rejects) = validation.next_rejects() {
                ledger::insert_rejects(&scope, file_id, chunk_index, &rejects).await?;
            }
            self.objects.put(&file.key.staged(chunk_index), validation.writer.finish()).await?;
            ledger::stage(&scope, file_id, chunk_index, validation.counts).await?;
        }
        scope.commit().await?;
        Ok(validation.counts)
    }

    /// Ends the file with its chunk, unless another delivery staged it, and lets the rest of the session go on.
    async fn give_up(&self, message: LoadChunk, code: &str, detail: &str) -> Result<(), Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        let fail = async |scope: &mut Scope<'_>| {
            if ledger::fail_chunk(scope, file_id, chunk_index, "planned", code).await? {
                ledger::fail_file(scope, file_id, code, detail).await?;
            }
            ledger::file(scope, file_id).await
        };
        match self.database.run("give_up", tenant_id, fail).await? {
            Some(file) if file.state.is_terminal() => {
                Ok(wake(&self.database, &self.promotions, &file, Wake::Next).await?)
            }
            Some(file) => Ok(wake(&self.database, &self.promotions, &file, Wake::Itself).await?),
            None => Ok(()),
        }
    }
}

fn read_message(body: &str) -> Option<LoadChunk> {
    let message = serde_json::from_str(body).ok();
    if message.is_none() {
        tracing::error!("message names no chunk, dropped");
    }
    message
}

/// Goes through the lines of a chunk: rows into the staged object, the rest out as rejects.
struct Validation<'a> {
    file: &'a File,
    lines: Box<dyn Iterator<Item = Line<'a>> + Send + 'a>,
    /// Where the first line begins in the file.
    base: u64,
    writer: Writer,
    counts: ChunkCounts,
}

impl<'a> Validation<'a> {
    fn new(file: &'a File, lines: &'a [u8], base: u64) -> Self {
        let received_at = file.uploaded_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let received_at = received_at.map_or(0, |since| since.as_micros() as i64);
        let writer = Writer::new(file.dataset, file.key.tenant_id, received_at, lines.len() + lines.len() / 4);
        Self { file, lines: Box::new(chunk::lines(lines)), base, writer, counts: ChunkCounts::default() }
    }

    /// Goes on to the next [`REJECTS_AT_ONCE`] rejects or the end; `None` when there are no more.
    fn next_rejects(&mut self) -> Option<Vec<Reject>> {
        let mut rejects = Vec::new();
        while rejects.len() < REJECTS_AT_ONCE {
            let Some(line) = self.lines.next() else {
                break;
            };
            self.counts.lines += 1;
            let offset = self.base + line.offset as u64;
            let bytes = match line.bytes.strip_prefix(BYTE_ORDER_MARK) {
                Some(rest) if offset == 0 => rest,
                _ => line.bytes,
            };
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.counts.accepted += 1;
            let refused = if line.is_too_long() {
                let detail = format!("the line is over {MAX_LINE_BYTES} bytes");
                row::Refused { key: None, errors: vec![RowError::of_row(Code::LineTooLong, detail)] }
            } else {
                match row::parse(self.file.dataset, self.file.key.tenant_id, bytes) {
                    Ok(mut row) => {
                        row.identify(self.file.dataset, || self.file.key.row_id(offset));
                        let place = Place { line: line.number, offset, length: line.bytes.len() as u32 };
                        self.writer.push(&row, place);
                        continue;
                    }
                    Err(refused) => refused,
                }
            };
            self.counts.rejected += 1;
            // an object stands in the answer as it is; anything else as a string, which escapes may make six times as long
            let is_object = !line.is_too_long()
                && serde_json::from_slice::<&RawValue>(bytes).is_ok_and(|raw| raw.get().starts_with('{'));
            let kept = if is_object { bytes } else { &bytes[..bytes.len().min(KEPT_OF_NO_OBJECT)] };
            rejects.push(Reject {
                line: line.number,
                offset,
                key: refused.key,
                errors: refused.errors,
                record: String::from_utf8_lossy(kept).into_owned(),
            });
        }
        Some(rejects).filter(|rejects| !rejects.is_empty())
    }
}
