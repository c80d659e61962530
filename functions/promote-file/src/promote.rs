//! One file's slices, in order, each in its own transaction with its ledger row.

use bytes::{Bytes, BytesMut};
use intake_aws::messages::PromoteFile;
use intake_aws::{Error as AwsError, Objects, Queue};
use intake_domain::promotion::Outcome;
use intake_domain::reject::{Code, RowError};
use intake_domain::state::FileState;
use intake_lambda::batch::{Delivery, Retry, describe};
use intake_lambda::turn::{Wake, wake};
use intake_postgres::ledger::{self, File, Reject, SliceCounts};
use intake_postgres::promotion::Promoter;
use intake_postgres::staged::{self, StagedRow};
use intake_postgres::{Database, Error, Scope};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

/// With less time than this left, the rest of a file is handed to another invocation.
const RESERVE: Duration = Duration::from_secs(60);

/// How often a slice is tried that met another writer or a new partition.
const TRIES: u32 = 5;

/// A byte order mark at the start of a file is no part of its first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the function works with.
pub(crate) struct Worker {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) promotions: Queue,
}

/// How the slices of a file went.
enum Progress {
    /// None is left.
    Done,
    /// Time is nearly up.
    HandOn,
    /// The file cannot go on.
    Refused(&'static str, String),
}

/// Why a slice was not promoted.
#[derive(Debug, thiserror::Error)]
enum SliceError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Objects(#[from] AwsError),
}

impl Worker {
    /// Handles one message. Run again it promotes nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.promote(message, delivery).await,
            None => Ok(()),
        }
    }

    #[tracing::instrument(skip_all, fields(tenant_id = %message.tenant_id, file_id = %message.file_id))]
    async fn promote(&self, message: PromoteFile, delivery: Delivery) -> Result<(), Retry> {
        let Some(file) = self.look_up(message).await? else {
            tracing::error!("message names a file that is not in the ledger, dropped");
            return Ok(());
        };
        if file.state != FileState::Promoting {
            // a message delivered twice wakes nobody twice; one that is tried again may not have woken anybody
            if file.state.is_terminal() && delivery.is_retry {
                self.empty_staging(&file).await;
                wake(&self.database, &self.promotions, &file, Wake::Next).await?;
            }
            return Ok(());
        }
        if file.dry_run {
            self.rehearse(&file).await?;
            return Ok(());
        }
        match self.promote_slices(&file, delivery).await? {
            Progress::Done => {
                let finish = async |scope: &mut Scope<'_>| ledger::finish_file(scope, file.key.file_id).await;
                if !self.database.run("finish_file", file.key.tenant_id, finish).await? {
                    // another worker has ended the file, or holds its last slice and will
                    return Ok(());
                }
                self.empty_staging(&file).await;
            }
            Progress::HandOn => {
                tracing::info!("time is nearly up, the rest is handed on");
                return Ok(self.promotions.send_all(&[message]).await?);
            }
            Progress::Refused(code, detail) => {
                tracing::error!(code, "file refused");
                self.fail(&file, code, &detail).await?;
            }
        }
        Ok(wake(&self.database, &self.promotions, &file, Wake::Next).await?)
    }

    async fn look_up(&self, message: PromoteFile) -> Result<Option<File>, Error> {
        let look_up = async |scope: &mut Scope<'_>| ledger::file(scope, message.file_id).await;
        self.database.run("file", message.tenant_id, look_up).await
    }

    /// Promotes what is staged.
    async fn promote_slices(&self, file: &File, delivery: Delivery) -> Result<Progress, Retry> {
        let staged = async |scope: &mut Scope<'_>| ledger::staged_chunks(scope, file.key.file_id).await;
        let chunks = self.database.run("staged_chunks", file.key.tenant_id, staged).await?;
        let mut promoter = Promoter::new(file.dataset);
        let mut coming = chunks.first().map(|index| self.fetch(file, *index));
        for (at, index) in chunks.iter().enumerate() {
            let Some(fetched) = coming.take() else { break };
            // the next object is on its way while this slice is written
            coming = chunks.get(at + 1).map(|next| self.fetch(file, *next));
            let object = fetched.await??;
            let rows = object.map(|object| staged::read(object, file.key.tenant_id)).transpose()?;
            match self.promote_slice(file, &mut promoter, *index, rows.as_deref()).await {
                Ok(()) => {}
                Err(SliceError::Objects(AwsError::ObjectReplaced)) => {
                    let detail = "another object lies in the file's place, so refused rows cannot be shown; \
                                  what was promoted stays";
                    return Ok(Progress::Refused("OBJECT_REPLACED", detail.to_owned()));
                }
                Err(SliceError::Database(error)) if error.is_refusal() => {
                    tracing::error!(chunk_index = index, error = describe(&error), "slice refused");
                    let state = error.sql_state_code().unwrap_or_default();
                    let detail = format!("PostgreSQL refused a row (SQLSTATE {state}); what was promoted stays");
                    return Ok(Progress::Refused("PROMOTION_REFUSED", detail));
                }
                Err(error) => return Err(error.into()),
            }
            let left = delivery.deadline.duration_since(SystemTime::now()).unwrap_or_default();
            if left < RESERVE && at + 1 < chunks.len() {
                return Ok(Progress::HandOn);
            }
        }
        Ok(Progress::Done)
    }

    /// Begins to read a staged object.
    fn fetch(&self, file: &File, index: i32) -> JoinHandle<Result<Option<Bytes>, AwsError>> {
        let (objects, key) = (self.objects.clone(), file.key.staged(index));
        tokio::spawn(async move { objects.get(&key).await })
    }

    /// One slice; `rows` is `None` when its object is gone.
    async fn promote_slice(
        &self,
        file: &File,
        promoter: &mut Promoter,
        index: i32,
        rows: Option<&[StagedRow]>,
    ) -> Result<(), SliceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_slice(file, promoter, index, rows).await {
                // a partition made meanwhile, or another writer of the same keys: both are there by now
                Err(SliceError::Database(error))
                    if tries < TRIES
                        && (error.is_transient() || error.is_wrong_partition() || error.is_unique_violation()) =>
                {
                    tracing::info!(chunk_index = index, error = describe(&error), "slice runs again");
                    promoter.forget_leaves();
                    tokio::time::sleep(Duration::from_millis(20 << tries)).await;
                }
                done => return done,
            }
        }
    }

    async fn try_slice(
        &self,
        file: &File,
        promoter: &mut Promoter,
        index: i32,
        rows: Option<&[StagedRow]>,
    ) -> Result<(), SliceError> {
        let mut scope = self.database.begin(file.key.tenant_id).await?;
        if !ledger::lock_staged_chunk(&scope, file.key.file_id, index).await? {
            return Ok(scope.rollback().await?);
        }
        let rows = rows.ok_or(Error::Corrupt("a staged chunk without its object"))?;
        let outcomes = promoter.apply(&mut scope, rows).await?;
        let (counts, rejects) = self.account(file, rows, &outcomes).await?;
        ledger::insert_rejects(&scope, file.key.file_id, index, &rejects).await?;
        ledger::promote_chunk(&scope, file.key.file_id, index, counts).await?;
        scope.commit().await?;
        let SliceCounts { inserted, updated, unchanged, rejected } = counts;
        tracing::info!(chunk_index = index, inserted, updated, unchanged, rejected, "slice promoted");
        Ok(())
    }

    /// Counts outcomes, and makes rejects of the rows that were refused.
    async fn account(
        &self,
        file: &File,
        rows: &[StagedRow],
        outcomes: &[Outcome],
    ) -> Result<(SliceCounts, Vec<Reject>), AwsError> {
        let mut counts = SliceCounts::default();
        let mut refused = Vec::new();
        for (row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                Outcome::Inserted => counts.inserted += 1,
                Outcome::Updated => counts.updated += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::NaturalKeyTaken(owner) => {
                    counts.rejected += 1;
                    refused.push((row, owner));
                }
            }
        }
        let (Some((first, _)), Some((last, _))) = (refused.first(), refused.last()) else {
            return Ok((counts, Vec::new()));
        };
        // the lines themselves are in the file: from the first refused one to the last, all within the chunk
        let (start, end) = (first.place.offset, last.place.offset + u64::from(last.place.length));
        let mut lines = BytesMut::new();
        let etag = file.object_etag.as_deref().unwrap_or_default();
        self.objects.read_range(&file.key.to_string(), etag, start, end, &mut lines).await?;
        let natural = file.dataset.natural_field().map_or("", |field| field.name);
        let rejects = refused.iter().map(|(row, owner)| {
            let at = (row.place.offset - start) as usize;
            let line = String::from_utf8_lossy(lines.get(at..at + row.place.length as usize).unwrap_or_default());
            let detail = format!("the {natural} belongs to {} {owner}", file.dataset.id_field().name);
            Reject {
                line: row.place.line,
                offset: row.place.offset,
                key: Some(row.id.to_string()),
                errors: vec![RowError::of_field(Code::NaturalKeyTaken, natural, detail)],
                record: line.trim_start_matches(BYTE_ORDER_MARK).to_owned(),
            }
        });
        Ok((counts, rejects.collect()))
    }

    /// A dry run: all open files of the session are promoted in one transaction, which is undone; only the counts and
    /// rejects are kept. So later files meet what earlier ones would have left, and the counts are those of a promotion.
    async fn rehearse(&self, file: &File) -> Result<(), SliceError> {
        let mut scope = self.database.begin(file.key.tenant_id).await?;
        let open = ledger::open_files(&scope, file.key.session_id).await?;
        if open.iter().any(|(_, state)| *state != FileState::Promoting) {
            return Ok(scope.rollback().await?);
        }
        let mut rehearsed = Vec::new();
        for (file_id, _) in &open {
            let Some(file) = ledger::file(&scope, *file_id).await? else { continue };
            let mut promoter = Promoter::new(file.dataset);
            let mut slices = Vec::new();
            for index in ledger::staged_chunks(&scope, *file_id).await? {
                let object = self.objects.get(&file.key.staged(index)).await?;
                let object = object.ok_or(Error::Corrupt("a staged chunk without its object"))?;
                let rows = staged::read(object, file.key.tenant_id)?;
                let outcomes = promoter.apply(&mut scope, &rows).await?;
                let (counts, rejects) = self.account(&file, &rows, &outcomes).await?;
                slices.push((index, counts, rejects));
            }
            rehearsed.push((file, slices));
        }
        scope.rollback().await?;
        let scope = self.database.begin(file.key.tenant_id).await?;
        for (file, slices) in &rehearsed {
            for (index, counts, rejects) in slices {
                if ledger::promote_chunk(&scope, file.key.file_id, *index, *counts).await? {
                    ledger::insert_rejects(&scope, file.key.file_id, *index, rejects).await?;
                }
            }
            ledger::finish_file(&scope, file.key.file_id).await?;
        }
        scope.commit().await?;
        for (file, _) in &rehearsed {
            self.empty_staging(file).await;
        }
        Ok(())
    }

    /// Removes a file's staged objects. What remains after an error is left to the bucket's lifecycle rule.
    async fn empty_staging(&self, file: &File) {
        let chunks = async |scope: &mut Scope<'_>| ledger::count_chunks(scope, file.key.file_id).await;
        let emptied = async {
            let count = self.database.run("count_chunks", file.key.tenant_id, chunks).await?;
            let keys: Vec<_> = (0..count).map(|index| file.key.staged(index)).collect();
            Ok::<_, SliceError>(self.objects.delete(&keys).await?)
        };
        if let Err(error) = emptied.await {
            tracing::warn!(error = describe(&error), "staged objects left to the lifecycle rule");
        }
    }

    async fn fail(&self, file: &File, code: &str, detail: &str) -> Result<(), Error> {
        let fail = async |scope: &mut Scope<'_>| ledger::fail_file(scope, file.key.file_id, code, detail).await;
        self.database.run("fail_file", file.key.tenant_id, fail).await
    }

    /// Ends a file that could not be promoted, and lets the rest of the session go on.
    pub(crate) async fn give_up(&self, body: &str) -> Result<(), Retry> {
        let Some(message) = read_message(body) else {
            return Ok(());
        };
        let Some(file) = self.look_up(message).await? else {
            return Ok(());
        };
        self.fail(&file, "PROMOTION_FAILED", "the file could not be promoted in five tries; what was promoted stays")
            .await?;
        Ok(wake(&self.database, &self.promotions, &file, Wake::Next).await?)
    }
}

fn read_message(body: &str) -> Option<PromoteFile> {
    let message = serde_json::from_str(body).ok();
    if message.is_none() {
        tracing::error!("message names no file, dropped");
    }
    message
}
