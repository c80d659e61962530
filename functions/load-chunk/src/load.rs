//! One chunk: read, validate, stage.

use crate::validate::Validation;
use bytes::{Bytes, BytesMut};
use intake_aws::messages::LoadChunk;
use intake_aws::{Error as AwsError, Objects};
use intake_domain::chunk::{self, ChunkRange, Owned};
use intake_domain::failure::Failure;
use intake_domain::format::Layout;
use intake_domain::state::FileState;
use intake_lambda::batch::{Delivery, Retry};
use intake_lambda::lanes::Lanes;
use intake_lambda::telemetry::milliseconds;
use intake_lambda::turn::Turns;
use intake_lambda::{fail_point, trace};
use intake_postgres::ledger::{self, Chunk, ChunkCounts, File, PlannedChunk};
use intake_postgres::{Database, Scope};
use std::time::Instant;
use tracing::Span;

/// How much is read at once past a chunk's end to find the end of its last line.
const READ_ON_BYTES: u64 = 64 << 10;

/// What the function works with.
pub(crate) struct Loader {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) chunks: Lanes,
    pub(crate) turns: Turns,
}

impl Loader {
    /// Handles one message. Run again it stages nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.load(message, delivery).await,
            None => Ok(()),
        }
    }

    /// Ends the file of a chunk that could not be loaded.
    pub(crate) async fn give_up_message(&self, body: &str) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => {
                let detail = format!("chunk {} could not be read and staged in five tries", message.chunk_index);
                self.give_up(message, Failure::LoadingFailed, &detail).await
            }
            None => Ok(()),
        }
    }

    async fn load(&self, message: LoadChunk, delivery: Delivery) -> Result<(), Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        trace::about("tenant_id", tenant_id);
        trace::about("file_id", file_id);
        Span::current().record("chunk_index", chunk_index);
        let look_up = async |scope: &mut Scope<'_>| ledger::chunk(scope, file_id, chunk_index).await;
        let Some(chunk) = self.database.run("chunk", tenant_id, look_up).await? else {
            tracing::error!("message names a chunk that is not in the ledger, dropped");
            return Ok(());
        };
        let Chunk { file, plan, is_planned } = chunk;
        trace::follow(&file);
        if file.is_cancelled && !file.state.is_terminal() {
            return Ok(self.turns.end_cancelled(&self.database, &file).await?);
        }
        let is_due = is_planned && file.state == FileState::Loading;
        if is_due {
            let began = Instant::now();
            fail_point!("load-chunk.before-read", tenant_id);
            let (bytes, base) = match self.read(&file, chunk_index, &plan).await {
                Err(AwsError::ObjectReplaced) => {
                    let detail = "another object was uploaded in the file's place while it was loaded";
                    return self.give_up(message, Failure::ObjectReplaced, detail).await;
                }
                other => other?,
            };
            let staged = self.stage(message, &file, &bytes, base).await?;
            let (dataset, ChunkCounts { accepted, rejected, .. }) = (file.dataset.name, staged);
            tracing::info!(accepted, rejected, "chunk staged");
            metrics::counter!("AcceptedRows", "Dataset" => dataset).increment(accepted.into());
            metrics::counter!("RejectedRows", "Dataset" => dataset).increment(rejected.into());
            metrics::histogram!("ChunkLoadTime", "Dataset" => dataset).record(milliseconds(began.elapsed()));
        }
        // a transaction of its own: of two last chunks staged at the same time, neither would see the other
        let finish = async |scope: &mut Scope<'_>| {
            let has_moved = ledger::finish_staging(scope, file_id).await?;
            Ok((has_moved, ledger::next_in_window(scope, file_id, chunk_index).await?))
        };
        let (has_moved, next) = self.database.run("finish_staging", tenant_id, finish).await?;
        fail_point!("load-chunk.after-finish", tenant_id);
        // a message delivered twice sends nothing twice; one that is tried again may not have sent anything
        if is_due || delivery.is_retry {
            let next = next.map(|chunk_index| LoadChunk { tenant_id, file_id, chunk_index });
            self.chunks.of(file.dataset).send_all(next.as_slice()).await?;
            fail_point!("load-chunk.after-next", tenant_id);
        }
        if has_moved || delivery.is_retry {
            self.turns.wake(&self.database, &file).await?;
            fail_point!("load-chunk.after-wake", tenant_id);
        }
        Ok(())
    }

    /// The bytes that the chunk owns, and where they begin in the file, unpacked.
    async fn read(&self, file: &File, index: i32, plan: &PlannedChunk) -> Result<(Bytes, u64), AwsError> {
        let PlannedChunk { range, piece_etag } = plan;
        let mut buffer = BytesMut::new();
        match piece_etag {
            Some(etag) => {
                let key = file.piece(index, *range);
                self.objects.read_range(&key, etag, 0, range.end - range.start, &mut buffer).await?;
            }
            None if file.format.layout == Layout::Ndjson => return self.read_lines(file, *range).await,
            None => {
                let etag = file.object_etag.as_deref().unwrap_or_default();
                self.objects.read_range(&file.key.to_string(), etag, range.start, range.end, &mut buffer).await?;
            }
        }
        Ok((buffer.freeze(), range.start))
    }

    /// The lines that begin in a range that was cut without looking.
    async fn read_lines(&self, file: &File, range: ChunkRange) -> Result<(Bytes, u64), AwsError> {
        let (key, etag) = (file.key.to_string(), file.object_etag.as_deref().unwrap_or_default());
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

    /// Validates the records, and commits the rejects together with the chunk's new state, after its object is written.
    async fn stage(&self, message: LoadChunk, file: &File, bytes: &[u8], base: u64) -> Result<ChunkCounts, Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        let scope: Scope<'_> = self.database.begin(tenant_id).await?;
        let mut validation = Validation::new(file, bytes, base)?;
        if ledger::lock_planned_chunk(&scope, file_id, chunk_index).await? {
            // in batches, because a chunk may be nothing but rejects
            while let Some(rejects) = validation.next_rejects() {
                ledger::insert_rejects(&scope, file_id, chunk_index, &rejects).await?;
            }
            fail_point!("load-chunk.before-put", tenant_id);
            let (counts, object) = validation.finish();
            self.objects.put(&file.key.staged(chunk_index), object).await?;
            fail_point!("load-chunk.after-put", tenant_id);
            ledger::stage(&scope, file_id, chunk_index, counts).await?;
            scope.commit().await?;
            fail_point!("load-chunk.after-stage", tenant_id);
            return Ok(counts);
        }
        scope.rollback().await?;
        Ok(ChunkCounts::default())
    }

    /// Ends the file with its chunk, unless another delivery staged it, and lets the rest of the session go on.
    async fn give_up(&self, message: LoadChunk, failure: Failure, detail: &str) -> Result<(), Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        fail_point!("load-chunk.before-give-up", tenant_id);
        let fail = async |scope: &mut Scope<'_>| {
            if ledger::fail_chunk(scope, file_id, chunk_index, failure, detail).await? {
                ledger::fail_file(scope, file_id, failure, detail).await?;
            }
            ledger::file(scope, file_id).await
        };
        let file = self.database.run("give_up", tenant_id, fail).await?;
        fail_point!("load-chunk.after-give-up", tenant_id);
        if let Some(file) = file {
            self.turns.wake(&self.database, &file).await?;
        }
        Ok(())
    }
}

fn read_message(body: &str) -> Option<LoadChunk> {
    let message = serde_json::from_str(body).ok();
    if message.is_none() {
        tracing::error!("message names no chunk, dropped");
    }
    message
}
